"""Children of the tests of the lock, and waiting for them."""
from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def process(act: Callable[[], object]) -> Iterator[int]:
    """A child that does this; it is gone afterwards.  Its exit status is 0 when nothing was raised."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    try:
        yield pid
    finally:
        if os.waitpid(pid, os.WNOHANG) == (0, 0):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def ended(pid: int) -> int:
    """The exit code of a child.  It stays a zombie."""
    done = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert done is not None
    return done.si_status


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)
