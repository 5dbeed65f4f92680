"""The listener's wait: descriptors, and what is to be done when one has something to read."""
from __future__ import annotations

import os
import select
import signal
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Loop:
    """A signal ends a wait as a descriptor does: its handler only notes it."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], object]] = {}
        wake_in, wake_out = os.pipe()
        for fd in (wake_in, wake_out):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)      # the descriptor wakes the loop
        self._signalled = False
        self.hear(wake_in, partial(self._hear_signals, wake_in))

    def hear(self, fd: int, handler: Callable[[], object]) -> None:
        """From now on ``handler`` is called when ``fd`` can be read."""
        self._handlers[fd] = handler
        self._poll.register(fd, select.POLLIN)

    def forget(self, fds: Iterable[int]) -> None:
        """Before they are closed; descriptors that are not heard are no error."""
        for fd in fds:
            if self._handlers.pop(fd, None) is not None:
                self._poll.unregister(fd)

    def turn(self, seconds: float) -> bool:
        """Wait, and do what is to be done.  Was there a signal?"""
        self._signalled = False
        for fd, _ in self._poll.poll(seconds * 1000):
            handler = self._handlers.get(fd)
            if handler is not None:    # else another one's work has ended it
                handler()
        return self._signalled

    def _hear_signals(self, wake_in: int) -> None:
        self._signalled = True
        _drain(wake_in)


def _drain(fd: int) -> None:
    while True:
        try:
            if not os.read(fd, 512):
                return
        except BlockingIOError:
            return
