"""The queue for a folder's lock: the kernel calls the processes of this host one after the other.

What counts is ``tmp/courier.lock``, for Courier and for other hosts too; but who waits
for it can only look again and again, and whoever looks at the right moment has it.  So
before that a process takes flock(2) on the directory ``tmp/`` itself, which needs no file
of ours and no right but to read, and goes with the process.  Who has it is the next to try
the lock, and keeps it as long as the lock.  The kernel wakes one of those who wait, the
one that came first.

For some of those who wait the one who has the lock does what they want it for (lobby.py).
One after the other they would only find out, each as late as it gets a processor.  They wait
for a shared flock, which all of them get at the same moment, when it is let go.

The queue decides nothing and only saves work.  Where there is none, everybody is next:
NFS wants to write to what is locked, the descriptors may be used up, another thread than
the first cannot be woken by a timer.  And no wait for a turn is long: a process that was
stopped at the wrong moment, or another program that locks the directory, holds up nobody
for more than a moment, and after a few times nobody asks it any more for a while.
"""
from __future__ import annotations

import fcntl
import os
import time

from courierpy.model import fresh

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    # what signal wraps in enumerations, which would cost 2 us at each wait
    import _signal

ALARM = frozenset({_signal.SIGALRM})
DOUBTS = 3                         # turns that did not come though the lock was free: the queue does not move
DISTRUST = 60.0                    # seconds that such a queue is not asked
RING_AGAIN = 0.05                  # seconds between alarms: one that comes before flock() does not end it

# by directory: turns that did not come, one after the other, and when that was last
_doubts: dict[str, tuple[int, float]] = {}
fresh.forgets(_doubts.clear)


class Queue:
    """Our place in the queue of one folder.  ``tmp``: its directory.  ``first``: nobody is before
    us, as far as there is a queue."""

    __slots__ = ("_fd", "first", "tmp")

    def __init__(self, tmp: str) -> None:
        self.tmp = tmp
        self.first = False
        self._fd = -1

    def attempt(self) -> bool:
        """Be the next if nobody is.  True where there is no queue."""
        self.first = self._is_stuck() or not self._open() or self._try()
        return self.first

    def _is_stuck(self) -> bool:
        times, last = _doubts.get(self.tmp, (0, 0.0))
        return times >= DOUBTS and time.monotonic() - last < DISTRUST

    def _open(self) -> bool:
        try:
            self._fd = os.open(self.tmp, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        return True

    def _try(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            self._close()              # there are no such locks here
        return True

    def again(self) -> bool:
        """As attempt(), behind pass_by()."""
        self.first = self._fd < 0 and self.attempt() or self._fd >= 0 and self._try()
        return self.first

    def pass_by(self, seconds: float) -> bool:
        """Until one of those before us has let go what it had.  False after ``seconds``."""
        self._wait(fcntl.LOCK_SH, seconds)
        return self._fd >= 0

    def wait(self, seconds: float) -> bool:
        """Until we are the next.  False after ``seconds``: the place is lost."""
        if self._fd < 0 and self.attempt():
            return True
        self.first = self._wait(fcntl.LOCK_EX, seconds)
        return self.first

    def _wait(self, kind: int, seconds: float) -> bool:
        """False after ``seconds``: the descriptor is closed.  True too where nothing would end the wait."""
        try:
            before = _signal.signal(_signal.SIGALRM, self._elapsed)
        except ValueError:
            self._close()              # not the first thread: nothing would end the wait
            return True
        blocked = _signal.pthread_sigmask(_signal.SIG_UNBLOCK, ALARM)
        left = _signal.setitimer(_signal.ITIMER_REAL, seconds, RING_AGAIN)
        try:
            fcntl.flock(self._fd, kind)
        except (OSError, ValueError):
            pass                       # time is up, also before flock(), or there are no such locks here
        finally:
            _signal.setitimer(_signal.ITIMER_REAL, *left)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, blocked)
            _signal.signal(_signal.SIGALRM, _signal.SIG_DFL if before is None else before)
        return self._fd >= 0

    def _elapsed(self, number: int, frame: object) -> None:
        # flock() is called again after each signal whose handler raises nothing: without a
        # descriptor it fails, and if the turn came in this very moment, it is given back
        self._close()

    def doubt(self) -> None:
        """Our turn did not come, but the lock could be had."""
        times, last = _doubts.get(self.tmp, (0, 0.0))
        now = time.monotonic()
        _doubts[self.tmp] = (times + 1 if now - last < DISTRUST else 1), now

    def leave(self) -> None:
        """The next one's turn.  Without effect when we are in no queue."""
        if self.first and self._fd >= 0:
            _doubts.pop(self.tmp, None)          # it moves
        self._close()
        self.first = False

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
