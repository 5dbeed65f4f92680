"""New connections: taken, given a process each, or turned away with a word."""
from __future__ import annotations

import errno
import os
import socket
import time
from functools import partial

from courierpy.listener import sockets
from courierpy.listener.connections import Connection
from courierpy.listener.sockets import shown
from courierpy.model import measures
from courierpy.system import desk, log, metrics, proc
from courierpy.system.seldom import due

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.listener.admission import Address
    from courierpy.listener.connections import Connections

    # in the connection's process: client, remote and local end (None: not known yet), desk or -1
    Serve = Callable[[int, Address, Address | None, int], int]

HASTY = 1.0                    # seconds: a child that lives less than this and crashes was hasty
HASTY_ALLOWED = 20             # so many in a row, then accepting pauses
PAUSE = 1.0                    # seconds
LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN)


class Entrance:
    """Where couriertcpd accepts connections.

    ``desks``: each connection gets one, and if ``proxied`` says there who its client is.
    ``busy``: what a client hears that cannot be served.  ``above``: all descriptors of the
    listener are below it."""

    def __init__(self, connections: Connections, serve: Serve, desks: bool, proxied: bool,
                 busy: bytes) -> None:
        self.connections = connections
        self.desks = desks
        self.proxied = proxied
        self.busy = busy
        self.above = 3
        self._serve = serve
        self._ends: dict[socket.socket, Address | None] = {}       # of those that listen
        self._spare = sockets.Spare()
        self._hasty = 0
        self._paused_until = 0.0

    def opens(self) -> bool:
        """No pause, and room for one who has not logged in?"""
        return time.monotonic() >= self._paused_until and self.connections.room()

    def _pause(self, key: str, why: str) -> None:
        self._paused_until = time.monotonic() + PAUSE
        if due(key):
            log.crit(f"{why}; accepting pauses for {PAUSE:.0f} s")

    def take(self, listening: socket.socket) -> tuple[int, Address] | None:
        """The descriptor of a connection, and who it is from; None when there is none, or it was turned
        away."""
        try:
            fd, remote = listening._accept()  # type: ignore[attr-defined]
        except OSError as error:
            if error.errno in LIMITS and not isinstance(error, BlockingIOError):
                self._pause("accept", f"a connection cannot be taken: {error.strerror}")
                self._spare.turn_away(listening, self.busy)
                metrics.count(measures.REFUSED, "busy")
            return None
        metrics.count(measures.CONNECTIONS)
        return fd, remote[:2]

    def end(self, listening: socket.socket) -> Address | None:
        """Where it listens, which it does for its whole life; None for the wildcard."""
        if listening not in self._ends:
            self._ends[listening] = _one_address(listening)
        return self._ends[listening]

    def accept(self, listening: socket.socket) -> Connection | None:
        """Take a connection; None when there is none, or it was turned away."""
        taken = self.take(listening)
        if taken is None:
            return None
        fd, remote = taken
        # where it is not known yet who the client is, the client counts when that is told
        return self.begin(fd, remote, self.end(listening), remote, self._serve, self.proxied)

    def begin(self, fd: int, remote: Address, local: Address | None, peer: Address, serve: Serve,
              proxied: bool = False) -> Connection | None:
        """A process for a client, whose descriptor is closed here; None when it was turned away.  ``peer``:
        the other end of its socket.  ``proxied``: it does not count, as its proxy has to say who it is."""
        ours = theirs = None
        try:
            self.above = max(self.above, fd + 1)
            found = os.fstat(fd)
            if self.desks:
                ours, theirs = desk.pair()
                self.above = max(self.above, ours.fileno() + 1, theirs.fileno() + 1)
            pid = proc.fork(partial(self._child, serve, fd, remote, local,
                                    theirs.fileno() if theirs is not None else -1))
        except OSError as error:
            self._pause("fork", f"a connection cannot be served: {error.strerror}")
            if ours is not None:
                ours.close()
            sockets.turn_away(socket.socket(fileno=fd), self.busy)
            metrics.count(measures.REFUSED, "busy")
            fd = -1
            return None
        finally:
            if fd >= 0:
                os.close(fd)
            if theirs is not None:
                theirs.close()
        crowded = ours is not None and self.connections.make_room()
        if crowded:
            metrics.count(measures.REFUSED, "crowded")
        if crowded and due("waiting"):
            log.warn(f"{self.connections.bound} connections have not logged in; the oldest goes")
        connection = Connection("" if proxied else shown(remote[0]), peer, ours)
        connection.identity = found.st_dev, found.st_ino
        self.connections.add(pid, connection)
        return connection

    @staticmethod
    def _child(serve: Serve, fd: int, remote: Address, local: Address | None, at_desk: int) -> int:
        try:
            return serve(fd, remote, local, at_desk)
        except BaseException as error:  # the child must never return into the loop
            log.crit(f"connection from {shown(remote[0])}: {type(error).__name__}: {error}")
            return proc.CRASHED

    def ended(self, status: int, lived: float) -> None:
        """Processes that crash as soon as they start are not started ever faster."""
        crashed = os.WIFSIGNALED(status) or os.WEXITSTATUS(status) >= proc.CRASHED
        self._hasty = self._hasty + 1 if crashed and lived < HASTY else 0
        if self._hasty >= HASTY_ALLOWED:
            self._hasty = 0
            self._paused_until = time.monotonic() + PAUSE
            log.alert(f"connections die at once; accepting pauses for {PAUSE:.0f} s")


def _one_address(sock: socket.socket) -> Address | None:
    address, port = sock.getsockname()[:2]
    return None if address in ("0.0.0.0", "::") else (address, port)
