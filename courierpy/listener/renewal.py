"""SIGHUP: a child tries what a new start would find, then the listener goes on as a new image.

In the same process: the listening sockets, the connections' processes and their count
stay.  The settings in force stay when the trial fails.
"""
from __future__ import annotations

import os
import signal
import time

from courierpy.listener.handover import VARIABLE
from courierpy.system import log, notify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from courierpy.listener.handover import Handover

TRIAL = "COURIERPY_TRIAL"      # pid of the listener for which this program and these settings are only tried
TRIAL_TIME = 60.0              # seconds
REFUSED = 78                   # exit status of a trial that has said why (EX_CONFIG)
STAYS = "the settings in force stay"


class Renewal:
    """The way to another image: it is tried before it takes over.

    ``image``: the words that start the program anew.  ``pid``: of the trial, 0 without one."""

    def __init__(self, image: list[str]) -> None:
        self.image = image
        self.wanted = False
        self.pid = 0
        self._until = 0.0

    def tend(self) -> None:
        """Start the trial that is wanted; one that takes too long is ended."""
        if self.pid:
            if time.monotonic() > self._until:
                os.kill(self.pid, signal.SIGKILL)      # reaped, and spoken of, as any that fails
        elif self.wanted:
            self.wanted = False
            notify.reloading()
            try:
                self.pid = os.posix_spawn(self.image[0], self.image, {**os.environ, TRIAL: str(os.getpid())})
            except OSError as error:
                log.err(f"{self.image[0]}: {error.strerror}; {STAYS}")
                notify.ready(STAYS)
                return
            self._until = time.monotonic() + TRIAL_TIME

    def tried(self, status: int) -> bool:
        """The trial has ended: may the new image begin?"""
        self.pid = 0
        if status and os.waitstatus_to_exitcode(status) != REFUSED:
            log.err(f"the program does not start again (status {status}); {STAYS}")
        return status == 0

    def begin(self, left: Callable[[], Handover], unless: Callable[[], bool],
              signals: Sequence[signal.Signals]) -> None:
        """Go on as the new image; a signal that comes meanwhile waits for its handlers.

        Returns when that is not possible, or ``unless`` is true: what was heard until the
        signals are held back only we know.
        """
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        kept: list[int] = []
        try:
            if not unless():
                found = left()
                kept = [*found.descriptors(), found.save()]
                for fd in kept:
                    os.set_inheritable(fd, True)
                os.execve(self.image[0], self.image, {**os.environ, VARIABLE: str(kept[-1])})
        except OSError as error:
            log.err(f"{self.image[0]}: {error.strerror}; {STAYS}")
        finally:
            for fd in kept:
                os.set_inheritable(fd, False)
            if kept:
                os.close(kept[-1])
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
