"""What outlives a session in the modules of its process, when that serves another session.

A module that keeps something of a session says by ``forgets`` how it is forgotten.  What may stay are
counters, and what is the same whoever asks (the values of a pure function, a setting's table).  Where
somebody cannot tell what is left behind, he says so by ``spoil``, and the process serves no other.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Forget = TypeVar("Forget", bound=Callable[[], object])

_forgetting: list[Callable[[], object]] = []
_spoiled = False


def forgets(forget: Forget) -> Forget:
    """``forget`` is called between two sessions; gives it back, so that it can stand above a function."""
    _forgetting.append(forget)
    return forget


def forget() -> None:
    """A session is over, and another one may come."""
    for each in _forgetting:
        each()


def spoil() -> None:
    """No session comes after this one."""
    global _spoiled
    _spoiled = True


def is_spoiled() -> bool:
    return _spoiled
