"""The ways to write to a descriptor without waiting in the kernel.

A client that takes nothing must not hold a process, so no write may block; but descriptors 0 and 1
are shared with whoever started us, who may not expect O_NONBLOCK on them.  So a socket is written
to with MSG_DONTWAIT, and a pipe or terminal through an open file of our own.

Each writer has ``write(data)``, which gives the octets that were taken or raises Blocked or OSError;
``most``: octets to offer at once; and ``end()``, which closes our side in order and is False
where there is nothing to close.
"""
from __future__ import annotations

import os
import select
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

OFFERED = 256 * 1024           # octets
PIPE_ROOM = 4096               # for so many a pipe that is ready has room: PIPE_BUF


class Blocked(Exception):
    """Nothing is taken, or there, now; ``wait`` until that may have changed."""

    def __init__(self, fd: int, event: int = select.POLLOUT) -> None:
        self.fd = fd
        self.event = event

    def wait(self, seconds: float | None) -> bool:
        """False when it is as it was after so many seconds; None: for ever."""
        poll = select.poll()
        poll.register(self.fd, self.event)
        return bool(poll.poll(None if seconds is None else max(0, int(seconds * 1000 + 0.999))))


class SocketWriter:
    """Writes to a socket without waiting: as much as it takes now."""

    most = OFFERED

    def __init__(self, fd: int) -> None:
        from _socket import MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_STREAM, socket  # not all of socket.py
        self._flags = MSG_DONTWAIT | MSG_NOSIGNAL
        # a descriptor of its own, which it may close; any family will do
        self._socket = socket(1, SOCK_STREAM, 0, os.dup(fd))

    def write(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data, self._flags)
        except BlockingIOError:
            raise Blocked(self._socket.fileno()) from None

    def last(self) -> None:
        """The end follows what is written from now on: one segment of TCP has both, which wakes the client
        once."""
        from _socket import MSG_MORE
        self._flags |= MSG_MORE

    def end(self) -> bool:
        self._socket.shutdown(1)       # SHUT_WR
        return True


class OwnWriter:
    """A pipe or terminal, opened once more without blocking."""

    most = OFFERED

    def __init__(self, own: int) -> None:
        self._own = own

    def write(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._own, data)
        except BlockingIOError:
            raise Blocked(self._own) from None

    def last(self) -> None:
        """Here the end is no message."""

    def end(self) -> bool:
        return False

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self._own)


class GivenWriter:
    """The descriptor as it was given: a file, which never waits, or a pipe that cannot be opened again."""

    most = PIPE_ROOM

    def __init__(self, fd: int, waits: bool) -> None:
        self._fd = fd
        self._waits = waits
        if not waits:
            self.most = OFFERED

    def write(self, data: bytes | memoryview) -> int:
        blocked = Blocked(self._fd)
        if self._waits and not blocked.wait(0):
            raise blocked
        try:
            return os.write(self._fd, data)
        except BlockingIOError:        # who gave it to us does not want it to block
            raise blocked from None

    def last(self) -> None:
        """Here the end is no message."""

    def end(self) -> bool:
        return False


if TYPE_CHECKING:
    Writer = SocketWriter | OwnWriter | GivenWriter


def writer_of(fd: int) -> Writer:
    """The way for this descriptor.  OSError."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        return SocketWriter(fd)
    if stat.S_ISREG(mode):
        return GivenWriter(fd, False)
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return OwnWriter(os.open(f"/proc/self/fd/{fd}", flags))
    except OSError:
        return GivenWriter(fd, True)
