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
    """A signal ends a wait as a descriptor does: its handler only notes it.

    What is heard *beside* ends no wait: it is heard when a turn is over, and by who needs to know
    (catch_up)."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._beside = select.epoll()
        self._hurries = self._catches_up = False
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

    def wait_for_room(self, fd: int, wanted: bool) -> None:
        """Is the handler of ``fd`` to be called when ``fd`` can be written, and not when it can be read?"""
        if fd in self._handlers:
            self._poll.modify(fd, select.POLLOUT if wanted else select.POLLIN)

    def hear_beside(self, fd: int, handler: Callable[[], object]) -> None:
        """The same, but a wait does not end for it."""
        self._handlers[fd] = handler
        self._beside.register(fd, select.EPOLLIN)

    def catch_up(self) -> None:
        """Hear what there is beside by now.  Who is just hearing it hears no more of it by that."""
        if self._catches_up:
            return
        self._catches_up = True
        try:
            for fd, _ in self._beside.poll(0):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler()
        finally:
            self._catches_up = False

    def saying(self, *fds: int) -> list[int]:
        """Those of them that have something to read now, or may have, as they are not heard."""
        ready = dict(self._poll.poll(0))
        return [fd for fd in fds if fd in ready or fd not in self._handlers]

    def hurry(self, wanted: bool) -> None:
        """Is a wait to end for what is heard beside as well?"""
        if wanted != self._hurries:
            self._hurries = wanted
            if wanted:
                self._poll.register(self._beside.fileno(), select.POLLIN)
            else:
                self._poll.unregister(self._beside.fileno())

    def forget(self, fds: Iterable[int]) -> None:
        """Before they are closed; descriptors that are not heard are no error."""
        for fd in fds:
            if self._handlers.pop(fd, None) is not None:
                try:
                    self._poll.unregister(fd)
                except KeyError:
                    self._beside.unregister(fd)

    def turn(self, seconds: float) -> bool:
        """Wait, and do what is to be done.  Was there a signal?"""
        self._signalled = False
        for fd, _ in self._poll.poll(seconds * 1000):
            handler = self._handlers.get(fd)
            if handler is not None:    # else another one's work has ended it
                handler()
        self.catch_up()
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
