"""What it costs that each connection is a process: python -m bench.turns [CLIENTS [COMMANDS]].

Clients that have one mailbox open change it by turns, at random, and each looks then at what the others did:
as so many objects of one process, and as a process each, of which one gives the turn to the next by a pipe.
The same functions do the same to the same files; there is no IMAP, nobody waits for a lock, and nothing is
synced.  Told are milliseconds of CPU a command, in the program and in the kernel, by turns.
"""
from __future__ import annotations

import gc
import os
import random
import resource
import shutil
import signal
import statistics
import struct
import sys
import tempfile
from functools import partial

from courierpy.maildir.store import Store
from courierpy.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, FlagChange
from courierpy.system import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.maildir.mailbox import Mailbox

MESSAGES = 200
ROUNDS = 3
WARM = 5                           # turns of each client before what they cost is counted
SEED = 20240229
MIX = (("look", 36), ("store", 28), ("append", 12), ("delete", 6), ("expunge", 8), ("copy", 6))
CHOICES = [word for word, share in MIX for _ in range(share)]
FLAGS = (SEEN, FLAGGED, ANSWERED, DRAFT, b"$Label1", b"$Junk")
TEXT = b"From: Ann <ann@example.org>\r\nSubject: turns\r\n\r\n" + b"The quick brown fox.\r\n" * 80


class Client:
    """One who has the mailbox of this Maildir open."""

    def __init__(self, path: str, number: int) -> None:
        self.random = random.Random(SEED + number)
        self.mailbox: Mailbox = Store(path, host="turns", fsync="never").open("INBOX")
        self.mailbox.join()
        self.mailbox.watch()
        self.known = self.mailbox.scan().messages
        self.mailbox.told()

    def turn(self) -> None:
        """One command, and a look at what the others did."""
        mailbox, uids, chance = self.mailbox, list(self.known.uids), self.random
        what = chance.choice(CHOICES)
        few = chance.randint(1, 3)
        first = chance.randint(0, max(0, len(uids) - few))
        if what == "append" or len(uids) < few:
            draft = mailbox.draft()
            draft.flags = SEEN
            draft.write(TEXT)
            mailbox.append([draft])
        elif what == "store":
            flag, mode = chance.choice(FLAGS), chance.choice("+-")
            bits, words = (flag, frozenset[bytes]()) if isinstance(flag, int) else (0, frozenset({flag}))
            mailbox.store(uids[first:first + few], FlagChange(mode, bits, words), [])
        elif what == "delete":
            more = max(1, min(len(uids) - MESSAGES, 12))
            mailbox.store(uids[first:first + more], FlagChange("+", DELETED), [])
        elif what == "expunge":
            flags = self.known.flags
            mailbox.expunge([uid for uid, bits in zip(uids, flags, strict=True) if bits & DELETED], [])
        elif what == "copy":
            mailbox.copy(uids[first:first + few], mailbox, [])
        self.known = mailbox.scan().messages
        mailbox.told()


class Spent:
    """CPU of this process since it was made."""

    def __init__(self) -> None:
        self.before = resource.getrusage(resource.RUSAGE_SELF)

    def octets(self) -> bytes:
        now = resource.getrusage(resource.RUSAGE_SELF)
        return struct.pack("=dd", now.ru_utime - self.before.ru_utime, now.ru_stime - self.before.ru_stime)


def together(path: str, clients: int, commands: int) -> bytes:
    """All clients in one process."""
    here = [Client(path, number) for number in range(clients)]
    pipe = os.pipe()
    for number in range(clients * WARM):
        here[number % clients].turn()
    spent = Spent()
    for number in range(commands):
        here[number % clients].turn()
        os.write(pipe[1], b"x")            # as those do who give the turn to another process
        os.read(pipe[0], 1)
    return spent.octets()


def apart(path: str, clients: int, commands: int) -> bytes:
    """A process for each client."""
    first = Client(path, clients)          # all that they call is loaded before they are forked
    for _ in range(100):
        first.turn()
    first.mailbox.close()
    pipes = [os.pipe() for _ in range(clients)]
    answers, answer = os.pipe()
    last = clients * WARM + commands

    def serve(number: int) -> int:
        client = Client(path, number)
        os.write(answer, b"r")
        spent = Spent()
        while True:
            (turn,) = struct.unpack("=I", os.read(pipes[number][0], 4))
            if turn // clients == WARM:
                spent = Spent()
            if turn < last:
                client.turn()
            os.write(pipes[(number + 1) % clients][1], struct.pack("=I", turn + 1))
            if turn >= last:               # and so it ends for the next one
                os.write(answer, spent.octets())
                return 0

    gc.freeze()
    pids = [proc.fork(partial(serve, number), signal.SIGKILL) for number in range(clients)]
    for _ in pids:
        os.read(answers, 1)
    os.write(pipes[0][1], struct.pack("=I", 0))
    found = [struct.unpack("=dd", os.read(answers, 16)) for _ in pids]
    for pid in pids:
        os.waitpid(pid, 0)
    for fd in (answers, answer, *(fd for pipe in pipes for fd in pipe)):
        os.close(fd)
    return struct.pack("=dd", *map(sum, zip(*found, strict=True)))


WAYS = together, apart


def measured(way: Callable[[str, int, int], bytes], clients: int, commands: int) -> tuple[float, float]:
    """Milliseconds of CPU a command: in the program, and in the kernel.  Of a child, so that none begins
    with what another one has loaded."""
    folder = tempfile.mkdtemp(prefix="courierpy-turns-")
    told, tell = os.pipe()
    try:
        path = os.path.join(folder, "Maildir")
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(path, part))
        for number in range(MESSAGES):
            with open(os.path.join(path, "cur", f"{1_700_000_000 + number}.M1P1.turns:2,"), "wb") as file:
                file.write(TEXT.replace(b"\r\n", b"\n"))
        pid = proc.fork(lambda: os.write(tell, way(path, clients, commands)), signal.SIGKILL)
        os.close(tell)
        answer = os.read(told, 16)
        os.waitpid(pid, 0)
        user, system = struct.unpack("=dd", answer)
        return 1000 * user / commands, 1000 * system / commands
    finally:
        os.close(told)
        shutil.rmtree(folder)


def main(words: list[str]) -> int:
    clients = int(words[0]) if words else 20
    commands = int(words[1]) if len(words) > 1 else 1000
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(ROUNDS if len(words) < 2 else 1):
        for way in WAYS:
            found.setdefault(way.__name__, []).append(measured(way, clients, commands))
    for name, rows in found.items():
        user, system = map(statistics.median, zip(*rows, strict=True))
        print(f"{name:9} {user:.3f} + {system:.3f} ms a command")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
