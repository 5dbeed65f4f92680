"""What a row could come to: a program outside of any server that answers the same client by the same system
calls, or with the same octets, and knows nothing of IMAP.
"""
from __future__ import annotations

import os
import select
import shutil
import socket
import statistics
import tempfile
from contextlib import contextmanager
from zlib import crc32

from bench import durable, renames
from bench.client import AGAIN, Client, now, timed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Answer = Callable[[bytes], Iterable[bytes]]        # of a command, what comes before the tagged line

AT_ONCE = 128 * 1024                   # octets that are written at once, as courierpy does
LOOKS = ("new", "cur", "courierimapuiddb")     # what says that a mailbox is as it was
WATCHED = 0x3C0                        # IN_CREATE, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO


@contextmanager
def _answering(answer: Answer) -> Iterator[Client]:
    """A client whose commands another process answers so."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        child = os.fork()
        if not child:
            try:
                _answer_all(listening, answer)
            finally:
                os._exit(0)
        port = int(listening.getsockname()[1])
    try:
        client = Client(port)
        try:
            yield client
        finally:
            client.close()
    finally:
        os.waitpid(child, 0)


def _answer_all(listening: socket.socket, answer: Answer) -> None:
    """Until the client closes."""
    connection, _ = listening.accept()
    listening.close()
    connection.sendall(b"* OK\r\n")
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    rest = b""
    while True:
        poll.poll()
        data = connection.recv(65536)
        if not data:
            return
        *commands, rest = (rest + data).split(b"\r\n")
        held = b""
        for said in commands:
            tag, _, command = said.partition(b" ")
            for piece in answer(command):
                held += piece
                if len(held) >= AT_ONCE:
                    connection.sendall(held)
                    held = b""
            held += tag + b" OK done\r\n"
        connection.sendall(held)


def seconds_of(reply: bytes) -> float:
    """For the client to get these octets, which are in memory ready to be written."""
    pieces = [reply[start:start + AT_ONCE] for start in range(0, len(reply), AT_ONCE)]
    with _answering(lambda command: pieces) as client:
        return statistics.median(timed(client, b"FETCH")[0] for _ in range(AGAIN))


@contextmanager
def _on_one_processor() -> Iterator[None]:
    """Who begins here stays on one processor.  A short answer is had soonest so, as nobody has to be woken on
    another one; where the kernel puts the two is chance, and decides by more than a half."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def looks_a_second(maildir: str, folders: Sequence[str]) -> float:
    """Mailboxes a second of which is told that they are as they were, after the looks that say so."""
    def answer(command: bytes) -> list[bytes]:
        path = f"{maildir}/.{folders[int(command)]}"
        os.access(f"{path}/courierimapacl", os.F_OK)
        for name in LOOKS:
            os.stat(f"{path}/{name}")
        return [b'* STATUS "INBOX.%s" (MESSAGES 20 UIDNEXT 21 UIDVALIDITY 1700000000 UNSEEN 2)\r\n' % command]

    with _on_one_processor(), _answering(answer) as client:
        start = now()
        for number in range(len(folders)):
            client.drain(b"%d" % number)
        return len(folders) / (now() - start)


def seconds_to_watch(maildir: str, folders: Sequence[str]) -> float:
    """For a client to hear that so many mailboxes are watched, and were looked at."""
    import pyinotify  # nothing else needs it
    instance = pyinotify.INotifyWrapper.create()
    directories = [f"{maildir}/.{folder}" for folder in folders]
    looks = [path for path in (f"{directory}/{name}" for directory in directories for name in LOOKS)
             if os.path.exists(path)]          # no numbers are kept where nobody has opened it

    def answer(command: bytes) -> list[bytes]:
        heard = instance.inotify_init()
        for path in directories:
            os.access(f"{path}/courierimapacl", os.F_OK)
            for part in ("new", "cur"):
                if instance.inotify_add_watch(heard, f"{path}/{part}", WATCHED) < 0:
                    raise OSError(instance.get_errno(), part)
        for path in looks:
            os.stat(path)
        return []

    with _answering(answer) as client:
        return statistics.median(timed(client, b"NOTIFY")[0] for _ in range(AGAIN))


def bodies_a_second(maildir: str, folders: Sequence[str]) -> float:
    """Messages a second that are read, have CRLF put in and are sent, each asked for alone, all of a mailbox
    at once."""
    files = [sorted(entry.path for entry in os.scandir(f"{maildir}/.{folder}/cur")) for folder in folders]

    def answer(command: bytes) -> list[bytes]:
        folder, number = map(int, command.split())
        fd = os.open(files[folder][number], os.O_RDONLY)
        data = os.read(fd, os.fstat(fd).st_size).replace(b"\n", b"\r\n")
        os.close(fd)
        return [b"* %d FETCH (UID %d BODY[] {%d}\r\n" % (number, number, len(data)), data, b")\r\n"]

    with _answering(answer) as client:
        start = now()
        for folder, found in enumerate(files):
            first, client.number = client.number, client.number + len(found)
            client.sock.sendall(b"".join(b"zq%dx %d %d\r\n" % (first + 1 + number, folder, number)
                                         for number in range(len(found))))
            client.drain_reply(b"zq%dx" % client.number)
        return sum(map(len, files)) / (now() - start)


def seconds_to_select(maildir: str, told: bytes, count: int) -> float:
    """For a client to be told this of a mailbox of ``count`` messages that is as it was: who has it open is
    a file, and looked after; what was kept of it is read with its checksum."""
    own = f"{maildir}/tmp/{os.getpid()}_limit"

    def answer(command: bytes) -> list[bytes]:
        os.listdir(f"{maildir}/tmp")
        with open(own, "xb", buffering=0) as file:
            file.write(b"%d" % os.getpid())
        _look(maildir)
        with open(f"{maildir}/courierpyindex/columns", "rb", buffering=0) as file:
            crc32(file.read(os.fstat(file.fileno()).st_size - 4 * count))
        _look(maildir)
        os.unlink(own)
        return [told]

    with _answering(answer) as client:
        return statistics.median(timed(client, b"SELECT")[0] for _ in range(AGAIN))


def _look(maildir: str) -> None:
    for name in LOOKS:
        os.stat(f"{maildir}/{name}")


def seconds_to_number(maildir: str) -> float:
    """For a client to hear that the messages of a mailbox have numbers, which are on the disk twice, for
    Courier and as a log: the names of its files are read and sorted, and written."""
    with tempfile.TemporaryDirectory(prefix="limit-", dir=f"{maildir}/tmp") as folder:
        def answer(command: bytes) -> list[bytes]:
            with os.scandir(os.fsencode(f"{maildir}/cur")) as found:
                names = sorted([entry.name for entry in filter(os.DirEntry.is_file, found)])
            text = b"".join([b"%d %s\n" % (uid, name.rpartition(b":")[0])
                             for uid, name in enumerate(names, 1)])
            with open(f"{folder}/log", "wb", buffering=0) as file:
                file.write(text)
                file.write(b"= %08x\n" % crc32(text))
            with open(f"{folder}/new", "wb", buffering=0) as file:
                file.write(b"1 1700000000 %d\n" % (len(names) + 1))
                file.write(text)
                os.fsync(file.fileno())
            os.rename(f"{folder}/new", f"{folder}/courierimapuiddb")
            return [b"* %d EXISTS\r\n" % len(names)]

        with _answering(answer) as client:
            return timed(client, b"SELECT")[0]


def flags_a_second(where: str, count: int, at_once: bool) -> float:
    """Messages a second whose files get other names, which is heard, all of them at one command or each at
    one that is told what it has now.  ``where``: a directory on the disk with the mail."""
    folder = tempfile.mkdtemp(prefix="limit-", dir=where)

    def answer(command: bytes) -> list[bytes]:
        if not heard:
            heard.append(renames.Heard(folder))
        files.turn(heard[0].hear)
        return [] if at_once else [b"* 1 FETCH (FLAGS (\\Seen))\r\n"]

    heard: list[renames.Heard] = []
    try:
        files = renames.Files(folder, count if at_once else 1)
        with _answering(answer) as client:
            client.drain(b"STORE")
            start = now()
            for _ in range(2 if at_once else count):
                client.drain(b"STORE")
            return (2 if at_once else 1) * count / (now() - start)
    finally:
        shutil.rmtree(folder)


def appends_a_second(where: str, count: int) -> float:
    """Messages of 5 kB a second that are durably in a mailbox with their names, and have no numbers: what any
    server does that loses none.  ``where``: a directory on the disk with the mail."""
    folder = tempfile.mkdtemp(prefix="limit-", dir=where)
    place = durable.Place(folder)

    def answer(command: bytes) -> list[bytes]:
        durable.unnumbered(place)
        return []

    try:
        with _answering(answer) as client:
            start = now()
            for _ in range(count):
                client.drain(b"APPEND")
            return count / (now() - start)
    finally:
        place.close()
        shutil.rmtree(folder)
