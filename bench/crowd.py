"""Many clients in one INBOX at the same time, each with random commands and short sessions.

What a client does is drawn from its own generator with a fixed seed: the mix is the same for
every server and in every run, though what a command meets is not.  One process drives them all.
A ``Probe`` is one more program that wants the folder's lock now and then, and measures how long
it waits.
"""
from __future__ import annotations

import os
import random
import re
import select
import socket
import subprocess
import sys
import time

from bench.client import TIMEOUT, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SEED = 20240229
MIX = (("fetch", 24), ("body", 12), ("store", 20), ("search", 8), ("append", 12), ("delete", 6),
       ("expunge", 8), ("copy", 6), ("logout", 4))
CHOICES = [word for word, share in MIX for _ in range(share)]
FLAGS = (b"\\Seen", b"\\Flagged", b"\\Answered", b"\\Draft", b"$Label1", b"$Junk")
WORDS = (b"UNSEEN", b"FLAGGED", b"FROM example.net", b"SUBJECT mi", b"DELETED")
MAIL = (b"From: Ann <ann@example.org>\r\nTo: bench@example.net\r\nSubject: crowd %d.%d\r\n"
        b"Date: Mon, 1 Jan 2024 10:00:00 +0000\r\nMessage-ID: <%d.%d@example.org>\r\n\r\n"
        + b"The quick brown fox jumps over the lazy dog.\r\n" * 40)
CHANGE = re.compile(rb"^\* (\d+) (EXISTS|EXPUNGE)\r$", re.M)
FINISH = 30.0                      # seconds that the last answers may take


class Visitor:
    """One client: the greeting, LOGIN, SELECT, random commands, LOGOUT, and then it comes again.

    ``count``: messages that it was told of; ``size``: how many the mailbox had at first, which
    it tends to.  ``done``: commands that were answered with OK.  ``longest``: seconds of the
    slowest answer.  ``ended``: sessions that the server ended.
    """

    def __init__(self, number: int, port: int, login: bytes, size: int, copies: bytes) -> None:
        self.random = random.Random(SEED + number)
        self.number = number
        self.port = port
        self.first = [b"LOGIN " + login, b"SELECT INBOX"]
        self.size = size
        self.copies = copies
        self.count = 0
        self.serial = 0
        self.done = 0
        self.refused = 0
        self.ended = 0
        self.longest = 0.0
        self.stopping = False
        self.connect()

    def connect(self) -> None:
        self.sock = socket.create_connection(("127.0.0.1", self.port), TIMEOUT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ahead = [*self.first]
        self.awaited = b"* "
        self.literal = b""
        self.data = b""
        self.asked = time.perf_counter()

    def read(self) -> bool:
        """Take what came, and say the next command when an answer is whole.  False: the
        connection ended."""
        piece = self.sock.recv(1 << 18)
        if not piece:
            self.ended += self.awaited != b""
            return False
        self.data += piece
        if not self.data.endswith(b"\r\n"):
            return True
        last = self.data[self.data.rfind(b"\n", 0, -1) + 1:]
        if self.literal and last.startswith(b"+"):
            self.sock.sendall(self.literal)
            self.literal = self.data = b""
        elif self.awaited and last.startswith(self.awaited):
            self._answered(last[len(self.awaited):])
        return True

    def _answered(self, word: bytes) -> None:
        if word.startswith(b"BAD") or self.ahead and not word.startswith(b"OK") and self.awaited != b"* ":
            raise Refused(word.decode("ascii", "replace"))
        self.longest = max(self.longest, time.perf_counter() - self.asked)
        if self.awaited != b"* ":
            self.done += word.startswith(b"OK")
            self.refused += word.startswith(b"NO")
        for number, kind in CHANGE.findall(self.data):
            self.count = int(number) if kind == b"EXISTS" else self.count - 1
        self.data = b""
        self._say(self.ahead.pop(0) if self.ahead else self._next())

    def _say(self, command: bytes) -> None:
        self.serial += 1
        tag = b"v%dx" % self.serial
        self.awaited = tag + b" " if command != b"LOGOUT" else b""
        self.asked = time.perf_counter()
        self.sock.sendall(b"%s %s\r\n" % (tag, command))

    def _next(self) -> bytes:
        if self.stopping:
            return b"LOGOUT"
        what = self.random.choice(CHOICES)
        few = self.random.randint(1, 3)
        seq = self.random.randint(1, max(1, self.count - few + 1))
        span = b"%d:%d" % (seq, seq + few - 1)
        if what == "append" or self.count < few:
            text = MAIL % (self.number, self.serial, self.number, self.serial)
            self.literal = text + b"\r\n"
            return b"APPEND INBOX (\\Seen) {%d}" % len(text)
        if what == "fetch":
            return b"FETCH %s (UID FLAGS INTERNALDATE ENVELOPE)" % span
        if what == "body":
            return b"FETCH %d (UID BODY.PEEK[])" % seq
        if what == "store":
            return b"STORE %s %sFLAGS (%s)" % (span, self.random.choice((b"+", b"-")),
                                              self.random.choice(FLAGS))
        if what == "search":
            return b"SEARCH " + self.random.choice(WORDS)
        if what == "copy":
            return b"COPY %s %s" % (span, self.copies)
        if what == "delete":
            # as many as came, so that the mailbox keeps its size
            more = max(1, min(self.count - self.size, 12))
            return b"STORE %d:%d +FLAGS.SILENT (\\Deleted)" % (seq, min(self.count, seq + more - 1))
        if what == "expunge":
            return b"EXPUNGE"
        return b"LOGOUT"


class Crowd:
    """What came of it: ``done`` commands in ``seconds``; ``refused``: with NO, as some were of
    messages that another client had expunged; ``longest``: seconds of the slowest answer; ``ended``: sessions
    that the server ended by itself."""

    def __init__(self, visitors: list[Visitor], seconds: float) -> None:
        self.seconds = seconds
        self.done = sum(visitor.done for visitor in visitors)
        self.refused = sum(visitor.refused for visitor in visitors)
        self.ended = sum(visitor.ended for visitor in visitors)
        self.longest = max(visitor.longest for visitor in visitors)


def visit(port: int, login: bytes, clients: int, seconds: float, size: int, copies: bytes) -> Crowd:
    """Let ``clients`` do what they do for so many seconds.  Raises Refused."""
    visitors = [Visitor(number, port, login, size, copies) for number in range(clients)]
    poller = select.poll()
    here: dict[int, Visitor] = {}

    def enter(visitor: Visitor) -> None:
        here[visitor.sock.fileno()] = visitor
        poller.register(visitor.sock, select.POLLIN)

    for visitor in visitors:
        enter(visitor)
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        _turn(poller, here, enter)
    spent = time.perf_counter() - start
    crowd = Crowd(visitors, spent)
    for visitor in visitors:
        visitor.stopping = True
    while here and time.perf_counter() - start < spent + FINISH:
        _turn(poller, here, lambda visitor: None)
    return crowd


def _turn(poller: select.poll, here: dict[int, Visitor], enter: Callable[[Visitor], None]) -> None:
    """Serve those who have something to read; ``enter`` what comes after the end of a session."""
    for fd, _ in poller.poll(1000):
        visitor = here[fd]
        if visitor.read():
            continue
        poller.unregister(fd)
        visitor.sock.close()
        del here[fd]
        if not visitor.stopping:
            visitor.connect()
            enter(visitor)


PROBE = """
import os, select, sys, time
from courierpy.maildir.locks import FolderLock
from courierpy.system.inotify import binding
binding()
uid, gid = map(int, sys.argv[2:])
if os.getuid() != uid:                 # not before: the interpreter may lie where only root may go
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
lock = FolderLock(sys.argv[1], "probe")
longest = 0.0
print("ready", flush=True)
while not select.select([0], [], [], 0.02)[0]:
    start = time.perf_counter()
    with lock:
        longest = max(longest, time.perf_counter() - start)
print(longest)
"""


class Probe:
    """Takes the lock of a Maildir every 20 milliseconds and lets it go at once; ``end`` gives
    the longest wait in seconds."""

    def __init__(self, maildir: str, owner: tuple[int, int] | None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROBE, maildir, *map(str, owner or (os.getuid(), os.getgid()))], cwd="/",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={"PYTHONPATH": REPO, "PATH": os.environ["PATH"]})
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def end(self) -> float:
        return float(self.process.communicate(b"\n", timeout=TIMEOUT)[0] or "nan")
