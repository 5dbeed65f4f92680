"""A session behind TLS: its octets go between the client's TLS and a socketpair, here, in a login process.

The session knows nothing of it, and may sleep.  What one side does not take the other side is not
asked for, so that a client that stops reading holds a mark of octets here, and a session that
is busy holds one piece.  Who ends first is told to the other when all that was said has gone out:

    the client has ended     the socketpair is shut down for that direction; the session may go on saying
    the session has ended    the client is told by close_notify, and has a moment to hang up

A client that takes hardly anything of what waits for it (Wire.by) is let go, as by a session without TLS.
"""
from __future__ import annotations

import select
import socket
import time

from courierpy.login.wire import MARK_OCTETS, READ_OCTETS, Wire
from courierpy.system import passing

LINGER_SECONDS = 1.0           # that a client has to hang up


class Relay:
    """A session behind TLS, whose octets a login process carries.

    ``number``: as couriertcpd knows the connection.  ``inner``: our end of the socketpair.  ``due``: on
    the monotonic clock, 0.0 for never.  ``events``, ``inner_events``: what the two are polled for.
    ``over``: both can be closed."""

    __slots__ = ("_inward", "_told", "armed", "due", "events", "inner", "inner_events", "number",
                 "over", "wire")

    def __init__(self, number: int, wire: Wire, inner: socket.socket, rest: bytes) -> None:
        self.number = number
        self.wire = wire
        wire.piece = READ_OCTETS
        self.inner = inner
        self.due, self.armed = 0.0, -1.0       # armed: the moment that the clock is set for
        self.events = self.inner_events = 0
        self.over = False
        self._inward: bytes | memoryview = rest
        self._told = False             # the session knows that the client has ended

    def move(self) -> None:
        """Carry what there is, both ways."""
        self._move(inward=True)

    def answer(self) -> None:
        """The same, where it is the session that was heard: nobody looks whether the client says more."""
        self._move(inward=bool(self._inward))

    def _move(self, inward: bool) -> None:
        wire = self.wire
        if not wire.last:
            if inward:
                self._in()
            self._out()
            self.due = wire.by
        if wire.last:
            self.due, ended = seen_off(wire, self.due)
            self.over = self.over or ended
        self.over = self.over or wire.broken

    def _in(self) -> None:
        """From the client to the session."""
        wire = self.wire
        try:
            while self._inward or not wire.ended:
                if not self._inward:
                    self._inward = wire.read()
                    if not self._inward:
                        if wire.ended:
                            break
                        return
                count = self.inner.send(self._inward, passing.SENDING)
                self._inward = self._inward[count:]
            if not self._told:
                self._told = True
                self.inner.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError:                # the session has closed its end; what it said is there still
            self._inward, self._told, wire.ended = b"", True, True

    def _out(self) -> None:
        """From the session to the client."""
        wire = self.wire
        wire.flush()
        while wire.waiting < MARK_OCTETS and not wire.broken:
            try:
                data = self.inner.recv(READ_OCTETS, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionResetError:           # it ended with octets unread; what it said comes yet
                continue
            if not data:
                self.inner.close()
                wire.close_after()
                return
            wire.write(data)
            wire.flush()

    def clock(self) -> None:
        """The moment of ``due`` has come."""
        self.over = True

    @property
    def wanted(self) -> tuple[int, int]:
        """What the client's socket and the inner one are to be polled for."""
        wire = self.wire
        if wire.last:
            return wire.wants(not wire.waiting), 0
        return wire.wants(not self._inward), (select.EPOLLIN if wire.waiting < MARK_OCTETS else 0) \
            | (select.EPOLLOUT if self._inward else 0)

    def close(self) -> None:
        self.wire.close()
        self.inner.close()


def seen_off(wire: Wire, due: float) -> tuple[float, bool]:
    """What a session has said last goes out, and the client has a moment to hang up.  ``due``: when that has
    to be over, on the monotonic clock, 0.0 for never.  Gives when it has to be now, and whether it is."""
    wire.flush()
    if wire.waiting:
        return wire.by, False
    wire.pass_over()
    linger = time.monotonic() + LINGER_SECONDS
    return min(due or linger, linger), wire.ended
