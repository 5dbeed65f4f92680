"""A session at another host: the octets between a client and that host, here, in a login process.

As login/between.py, for one of many: nothing waits.  Each side may be behind TLS.  What one side does not
take the other side is not asked for, so each way holds a mark of octets.  There is no deadline while both
are there, but for who takes hardly anything of what waits for it (Wire.by).  Who ends first is told to the
other when all that was said has gone out:

    the host has ended       what it said goes to the client, who has a moment to hang up
    the client has ended     a plain host is told, and may go on saying for a while; behind TLS it cannot be
                             told apart from the end, which comes when the host is silent for a moment
"""
from __future__ import annotations

import time

from courierpy.login.between import LAST_SECONDS, MOMENT_SECONDS, ROUNDS
from courierpy.login.relayed import seen_off
from courierpy.login.wire import MARK_OCTETS, READ_OCTETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from courierpy.login.wire import Wire


class Carried:
    """A session at another host, whose octets a login process carries.

    ``number``: as couriertcpd knows the connection.  ``wire``: to the client; ``host``: to the host.
    ``due``: on the monotonic clock, 0.0 for never.  ``events``, ``inner_events``: what the two are polled
    for.  ``over``: both can be closed.  ``who``, ``tail``: for the log."""

    __slots__ = ("_at_once", "_end", "_silent", "armed", "began", "due", "events", "host", "inner_events",
                 "number", "over", "received", "sent", "tail", "who", "wire")

    def __init__(self, number: int, wire: Wire, host: Wire, rest: bytes, who: str, tail: str) -> None:
        """``rest``: what the client has said for the host."""
        self.number = number
        self.wire = wire
        wire.piece = READ_OCTETS
        self.host = host
        self.who = who
        self.tail = tail
        self.began = time.monotonic()
        self.due, self.armed = 0.0, -1.0
        self.events = self.inner_events = 0
        self.over = False
        self.received, self.sent = wire.received - len(rest), wire.sent    # of the login
        self._silent = 0.0             # seconds that the host may be silent; 0.0: any time will do
        self._end = 0.0                # when it has been that; 0.0: never
        self._at_once = False          # there is more, and no event may tell
        host.write(rest)

    @property
    def inner(self) -> socket.socket:
        return self.host.socket

    def move(self) -> None:
        """Carry what there is, both ways."""
        wire, host = self.wire, self.host
        if not wire.last:
            self._at_once = False
            said = self._pass(host, wire)
            self._pass(wire, host)
            if host.broken or host.ended and not self._at_once:
                wire.close_after()
                self.due = wire.by
            else:
                if wire.ended and not host.waiting and not self._at_once:
                    self._say_end(said)
                self.due = time.monotonic() if self._at_once else min(self._ends(), default=0.0)
        if wire.last:
            self.due, ended = seen_off(wire, self.due)
            self.over = self.over or ended
        self.over = self.over or wire.broken

    def _pass(self, source: Wire, sink: Wire) -> bool:
        """What ``source`` says to ``sink``, as long as that takes it.  Was there anything?"""
        found = False
        sink.flush()
        for _ in range(ROUNDS):
            if sink.waiting >= MARK_OCTETS or sink.broken or sink.last:
                return found
            data = source.read()
            if not data:
                return found
            found = True
            sink.write(data)
            sink.flush()
        self._at_once = True
        return found

    def _say_end(self, said: bool) -> None:
        """The client says no more, and the host has heard all.  ``said``: the host has said something."""
        if not self._silent:
            self._silent = MOMENT_SECONDS
            if self.host.tls is None:
                self._silent = LAST_SECONDS
                self.host.close_after()
            said = True
        if said:
            self._end = time.monotonic() + self._silent

    def _ends(self) -> list[float]:
        """Moments when it is over."""
        return [end for end in (self._end, self.wire.by, self.host.by) if end]

    def clock(self) -> None:
        """The moment of ``due`` has come."""
        self.over = self.over or self.wire.last or min(self._ends(), default=float("inf")) <= time.monotonic()

    @property
    def wanted(self) -> tuple[int, int]:
        """What the client's socket and the host's are to be polled for."""
        wire, host = self.wire, self.host
        if wire.last:
            return wire.wants(not wire.waiting), 0
        return wire.wants(host.waiting < MARK_OCTETS), host.wants(wire.waiting < MARK_OCTETS)

    def line(self) -> str:
        """The last one of the log."""
        return (f"DISCONNECTED, {self.who}, rcvd={self.wire.received - self.received}, "
                f"sent={self.wire.sent - self.sent}, time={int(time.monotonic() - self.began)}{self.tail}")

    def close(self) -> None:
        self.wire.close()
        self.host.close()
