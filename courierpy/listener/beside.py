"""A process beside couriertcpd that waits for others in its stead: it is asked, and answers when it can.

A question is a number and octets; so is the answer, which may have a descriptor with it.  Where there is
none, since the process ended or takes too long, who has asked is told that.
"""
from __future__ import annotations

import struct
import time
from functools import partial

from courierpy.system import log, passing, proc
from courierpy.system.seldom import due

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from courierpy.listener.loop import Loop

    # octets and descriptors, which are closed behind it; None: there is no answer
    Then = Callable[[bytes | None, list[int]], object]

NUMBER = struct.Struct("!Q")
RESTART_AFTER = 1.0            # seconds between two starts of a process that ends
MOST = 1024                    # that wait for an answer


class Beside:
    """A process that waits for others in the place of couriertcpd.

    ``open``: who waits for an answer, by number, with the moment from which on it waits no more.
    ``above``: our descriptor is below this.  ``pid``: 0 while there is no process."""

    def __init__(self, does: str, work: Callable[[socket.socket], int], loop: Loop) -> None:
        """``does``: what the process does, for the log: it ...  ``work``: that, with its end of the
        channel."""
        self.open: dict[int, tuple[float, Then]] = {}
        self.above = 3
        self.pid = 0
        self._does = does
        self._work = work
        self._loop = loop
        self._channel: socket.socket | None = None
        self._next_start = 0.0
        self._last = 0

    def tend(self) -> None:
        """Start the process when it is missing; who has waited long enough waits no more."""
        now = time.monotonic()
        for number in [number for number, (until, _) in self.open.items() if until <= now]:
            self._answered(number, None)
        if not self.pid and now >= self._next_start:
            self._next_start = now + RESTART_AFTER
            try:
                self._start()
            except OSError as error:
                if due(self._does):
                    log.crit(f"no process that {self._does} can be started: {error.strerror}")

    def _start(self) -> None:
        """OSError."""
        ours, theirs = passing.pair()
        with theirs:
            try:
                self.pid = proc.fork(partial(self._work, theirs))
            except OSError:
                ours.close()
                raise
        self._channel = ours
        self.above = max(self.above, ours.fileno() + 1)
        self._loop.hear(ours.fileno(), self._answers)

    def ended(self, pid: int) -> bool:
        """Was it this one?  What it was asked has no answer then."""
        if not pid or pid != self.pid:
            return False
        log.crit(f"the process that {self._does} ended")
        self.pid = 0
        self._close()
        self.finish()
        return True

    def _close(self) -> None:
        if self._channel is not None:
            self._loop.forget((self._channel.fileno(),))
            self._channel.close()
            self._channel = None

    def finish(self) -> None:
        """Nobody waits any more."""
        for number in list(self.open):
            self._answered(number, None)

    def put(self, question: bytes, seconds: float, then: Then) -> None:
        """``then`` is called with the answer, maybe at once."""
        self._last += 1
        self.open[self._last] = time.monotonic() + seconds, then
        try:
            if self._channel is None or len(self.open) > MOST:
                raise BlockingIOError(0, "there are too many questions, or nobody answers")
            passing.send(self._channel, [NUMBER.pack(self._last), question])
        except OSError as error:
            if due(f"ask who {self._does}"):
                log.err(f"the process that {self._does} is not asked: {error.strerror}")
            self._answered(self._last, None)

    def _answered(self, number: int, data: bytes | None, fds: list[int] | None = None) -> None:
        _, then = self.open.pop(number, (0.0, None))
        if then is not None:
            then(data, fds or [])

    def _answers(self) -> None:
        if self._channel is None:
            return
        for data, fds in passing.waiting(self._channel, f"the process that {self._does}"):
            try:
                if len(data) < NUMBER.size:
                    self._close()      # it ends, and is reaped soon
                    return
                number, = NUMBER.unpack_from(data)
                self._answered(number, data[NUMBER.size:], fds)
            finally:
                passing.close(fds)
