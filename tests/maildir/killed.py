"""Killed at each step: work is done in children, each of which dies one call of the kernel later."""
from __future__ import annotations

import builtins
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

CALLS = ("link", "rename", "mkdir", "makedirs", "rmdir", "unlink", "open", "close", "write", "fsync", "utime",
         "chmod", "fchmod", "ftruncate")
MOST = 3000                        # steps


UNDONE = 3                         # exit status of a child whose own child was killed


def at_each_step(work: Callable[[], int], every: int = 1) -> Iterator[int]:
    """Gives the number of each step at which the work was killed, when that is done; ends when a child came
    to the end.  ``work``: a tool, gives its exit status; ``every``: that many steps are between two."""
    for step in range(1, MOST, every):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _count_down(step)
                status = UNDONE if work() else 0
            finally:
                os._exit(status)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code in (0, UNDONE, -signal.SIGKILL), code
        if code == 0:
            return
        yield step
    raise AssertionError("there is no end")


def _count_down(step: int) -> None:
    left = [step]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def one(*args: Any, **words: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **words)
        return one
    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    builtins.open = counted(open)      # type: ignore[assignment]
