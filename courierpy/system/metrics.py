"""The counts of this process, and the way by which they go to the process that keeps them all.

``current`` is None where nothing is counted (METRICS), and whoever counts looks at that first.  A process
adds up in its own memory; it sends when it ends, when it sleeps, and in between each minute at most (a
listener or a login process: each second), in one message or a few, over a socket that the listener's
statistics process reads (listener/statistics.py).  It never waits: where there is no room the sums stay,
and go with the next.
"""
from __future__ import annotations

import os
import stat
from time import monotonic

from courierpy.model import measures
from courierpy.model.numbers import PID_MOST, decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    class Octets(Protocol):
        """As system/conn.py counts them."""

        rcvd: int
        sent: int

VARIABLE = "COURIERPY_METRICS"         # descriptor that counts are sent to, and the inode that it is of
READER = "COURIERPY_METRICS_READER"    # the same of the other end, for whoever starts who reads
SETTING = "METRICS"
MINUTE = 60.0
MESSAGE_OCTETS = 16384                 # of a message, about
current: Meter | None = None


class Meter:
    """``sums``: not sent yet.  ``conn``: whose octets are counted, None for none."""

    def __init__(self, fd: int, protocol: str, every: float = MINUTE) -> None:
        """``every``: seconds between two messages."""
        self.sums = measures.Sums()
        self.protocol = protocol
        import socket  # where nothing is counted it is not needed
        self._end = socket.socket(fileno=fd)
        self._how = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        self._every = every
        self._due = monotonic() + every
        self._conn: Octets | None = None
        self._before = 0, 0

    def fileno(self) -> int:
        return self._end.fileno()

    def add(self, name: str, *labels: str, value: float = 1) -> None:
        """``labels``: in the order of the table."""
        self.sums.add((name, *labels), value)

    def set(self, name: str, *labels: str, value: float) -> None:
        """How it is now, of a gauge."""
        self.sums.numbers[name, *labels] = value

    def octets_of(self, conn: Octets) -> None:
        """From now on those of this connection are counted, from what it has now."""
        self._conn, self._before = conn, (conn.rcvd, conn.sent)

    def command(self, name: str, result: str, seconds: float | None) -> None:
        """A command of the client was answered.  ``seconds``: None for one that waits for the client."""
        self.sums.add((measures.COMMANDS, self.protocol, name, result))
        if seconds is not None:
            self.sums.observe((measures.COMMAND_SECONDS, self.protocol, name), seconds)

    def push(self, seconds: float) -> None:
        """A client that idles was told of a change."""
        self.sums.observe((measures.PUSH,), seconds)

    def turn(self, look: Callable[[Meter], object] | None = None) -> None:
        """Now and then: sends, if it is time.  ``look``: sets gauges before that."""
        now = monotonic()
        if now >= self._due:
            self._due = now + self._every
            if look is not None:
                look(self)
            self.send()

    def send(self) -> None:
        """All sums that are not sent yet."""
        if self._conn is not None:
            rcvd, sent = self._conn.rcvd, self._conn.sent
            for name, more in ((measures.RECEIVED, rcvd - self._before[0]),
                               (measures.SENT, sent - self._before[1])):
                if more > 0:
                    self.sums.add((name, self.protocol), more)
            self._before = rcvd, sent
        if not self.sums:
            return
        sums, self.sums = self.sums, measures.Sums()
        piece: list[bytes] = []
        for line in (*sums.lines(), b""):
            if piece and (not line or sum(map(len, piece)) + len(piece) + len(line) > MESSAGE_OCTETS):
                self._message(piece)
                piece = []
            piece.append(line)

    def _message(self, lines: list[bytes]) -> None:
        try:
            self._end.send(b"\n".join(lines), self._how)
        except OSError:
            for line in lines:         # with the next ones
                self.sums.take(line)
            self.sums.add((measures.DROPPED,))

    def let_go(self) -> None:
        """The descriptor stays open: it is whoever's who said it."""
        self._end.detach()


def pair() -> tuple[str, str]:
    """Two ends that are inherited by whatever is started: values of READER and of VARIABLE.  OSError."""
    import socket
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (reader, writer):
        end.setblocking(False)
        end.set_inheritable(True)
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return _said(reader.detach()), _said(writer.detach())


def _said(fd: int) -> str:
    return f"{fd}:{os.fstat(fd).st_ino}"


def descriptor(word: str) -> int:
    """The one that a value of VARIABLE or READER names; -1 where that is gone, or another socket now."""
    number, _, inode = word.partition(":")
    fd = decimal(number, PID_MOST)
    try:
        found = os.fstat(-1 if fd is None else fd)
    except OSError:
        return -1
    return fd if fd is not None and stat.S_ISSOCK(found.st_mode) and str(found.st_ino) == inode else -1


def begin(environ: Mapping[str, str], protocol: str, every: float = MINUTE) -> Meter | None:
    """Counts from zero in this process, where METRICS wants it: what a parent has not sent is its own."""
    global current
    if current is not None:
        current.let_go()
        current = None
    fd = descriptor(environ.get(VARIABLE, "")) if environ.get(SETTING) else -1
    if fd >= 0:
        current = Meter(fd, protocol, every)
    return current


def end() -> None:
    """Sends what is left; nothing is counted any more."""
    global current
    if current is not None:
        current.send()
        current.let_go()
        current = None


def count(name: str, *labels: str) -> None:
    """One more, where that is counted.  For what happens seldom."""
    if current is not None:
        current.add(name, *labels)
