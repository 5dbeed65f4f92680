"""How far work is that may take long: loops say it at each step, and who asked for it hears it now and then.

A step costs next to nothing.  Nothing is said that holds a lock: whoever hears may talk to a client.
"""
from __future__ import annotations

import os
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 5.0                  # between two words
_hears: Callable[[int, int], None] | None = None
_due = 0.0                     # 0: no step was done yet


def hear(hears: Callable[[int, int], None] | None) -> None:
    """``hears`` is called SECONDS after the first step, and each time so many later, with what is done
    and what all of it is.  None: nobody is."""
    global _hears, _due
    _hears, _due = hears, 0.0


def step(done: int, goal: int) -> None:
    """So much of it is done."""
    global _due
    if _hears is None:
        return
    now = monotonic()
    _due = _due or now + SECONDS
    if now >= _due:
        _hears(done, goal)
        _due = monotonic() + SECONDS


def _silent() -> None:
    """A child that does a part of the work has nothing to tell."""
    global _hears
    if _hears is not None:
        _hears = None


os.register_at_fork(after_in_child=_silent)
