"""A session at another host: the octets between a client and that host, both ways, in the login's process.

Each way has one piece in hand, and takes the next when that is gone: who takes nothing is not read for.  No
octet is looked at, and there is no deadline for who says nothing, as with Courier: a client may be idle for
days, and the kernel (SO_KEEPALIVE) sees who has gone without a word.  Who takes hardly anything of what waits
for it is let go.  Who ends first is told to the other when all that was said has gone out:

    the host has ended       what it said goes to the client; then it is over
    the client has ended     the host is told, and may go on saying for a while: what was asked is answered
"""
from __future__ import annotations

import select
from time import monotonic

from courierpy.system.conn import TAKES, WRITE_TIMEOUT
from courierpy.system.stream import Garbled
from courierpy.system.writers import Blocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from courierpy.system.conn import Conn
    from courierpy.system.stream import Stream

READ_OCTETS = 65536
ROUNDS = 16                    # pieces of one way before it is the other's turn
LAST_SECONDS = 60.0            # that the host may be silent when it knows that its client has ended
MOMENT_SECONDS = 5.0           # and when it does not


class _Way:
    """From ``source`` to ``sink``.  ``waits``: descriptor and event that it goes on with, None: it is over.
    ``octets``: that it has carried.  ``ended``: the source says no more, and all is out.  ``by``: when the
    sink must have taken TAKES octets more, or all, on the monotonic clock; 0.0 where nothing waits."""

    __slots__ = ("_before", "_data", "_no_more", "_sink", "_source", "by", "ended", "octets", "waits")

    def __init__(self, source: Stream, sink: Stream, first: bytes) -> None:
        self.octets = self._before = 0         # the latter: when ``by`` was set
        self.by = 0.0
        self.ended = False
        self.waits: tuple[int, int] | None = None
        self._source = source
        self._sink = sink
        self._data = memoryview(first)
        self._no_more = False

    def go(self) -> bool:
        """Carry what goes without waiting; is there more at once?  OSError, Garbled."""
        self.waits = None
        try:
            for _ in range(ROUNDS):
                if not self._step():
                    return False
        except Blocked as blocked:
            self.waits = blocked.fd, blocked.event
            return False
        finally:
            self._mind()
        return True

    def _mind(self) -> None:
        """When must the sink have taken more?"""
        if not (self._data or self._sink.held):
            self.by = 0.0
        elif not self.by or self.octets - self._before >= TAKES:
            self.by, self._before = monotonic() + WRITE_TIMEOUT, self.octets

    def _step(self) -> bool:
        """A piece.  False: there is none."""
        while self._data or self._sink.held:
            count = self._sink.write(self._data[:self._sink.most])
            self._data = self._data[count:]
            self.octets += count
        if self._no_more:
            self.ended = True
            return False
        wanted = Blocked(self._source.infd, select.POLLIN)
        if not self._source.buffered() and not wanted.wait(0):
            self.waits = wanted.fd, wanted.event
            return False
        data = self._source.read(READ_OCTETS)
        self._no_more = not data
        self._data = memoryview(data)
        return True


def carry(client: Conn, server: Conn, up: bytes, down: bytes,
          half_close: Callable[[], bool]) -> tuple[int, int]:
    """Until it is over; gives the octets to the host and those to the client.  ``up``, ``down``: what was
    said already.  ``half_close``: tells the host that its client says no more; False where that cannot be
    told."""
    upward = _Way(client.stream, server.stream, up)
    downward = _Way(server.stream, client.stream, down)
    seconds: float | None = None       # that there may be silence
    try:
        while True:
            more = downward.go()
            if downward.ended:
                break
            if not upward.ended:
                more = upward.go() or more
            if upward.ended and seconds is None:
                seconds = LAST_SECONDS if half_close() else MOMENT_SECONDS
            ends = [way.by - monotonic() for way in (upward, downward) if way.by]
            if min(ends, default=0.0) < 0.0:
                break
            if seconds is not None:
                ends.append(seconds)
            heard = _await((upward, downward), 0.0 if more else min(ends, default=None))
            if not heard and not more:
                break                  # it has nothing to say, and nobody to say it to; or does not listen
    except (OSError, Garbled):
        pass                           # one of the two is gone, and so is what was on its way
    return upward.octets, downward.octets


def _await(ways: Iterable[_Way], seconds: float | None) -> bool:
    """Until one of them can go on."""
    events: dict[int, int] = {}
    for way in ways:
        if way.waits is not None:
            fd, event = way.waits
            events[fd] = events.get(fd, 0) | event
    poll = select.poll()
    for fd, event in events.items():
        poll.register(fd, event)
    return bool(poll.poll(None if seconds is None else int(seconds * 1000)))
