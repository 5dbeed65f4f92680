"""The code that sessions run is moved to one place of the memory that they share until they write to it.

To call a function counts references of its code, and so a forked process copies the page that the code lies
in.  Modules lay theirs as they are loaded, what a session calls among what it does not; a copy of each code
that was called, made one after the other, fills a fourth of the pages.  What a function does stays the same.
"""
from __future__ import annotations

import gc
import sys
from types import CodeType, FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType


def called(work: Callable[[], object]) -> list[CodeType]:
    """The code of all functions that ``work`` calls, in the order of their first calls."""
    found: dict[int, CodeType] = {}        # by id, as code of other files may be equal

    def profile(frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            found.setdefault(id(frame.f_code), frame.f_code)

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return list(found.values())


def move(codes: Iterable[CodeType]) -> None:
    """Give all functions that have one of these codes a copy of it, the copies side by side.  The interpreter
    rewrites code as it is called (PEP 659), and will do so anew."""
    moving = {id(code): code for code in codes}
    fill = [code.replace() for code in moving.values()]        # takes the room that is left here and there
    copies: dict[int, CodeType] = {}
    for code in moving.values():
        _copy(code, copies, moving)
    fill.clear()
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and id(function.__code__) in copies:
            function.__code__ = copies[id(function.__code__)]


def _copy(code: CodeType, copies: dict[int, CodeType], moving: Mapping[int, CodeType]) -> CodeType:
    """With the code within it that is to move: of functions that are made when it runs."""
    if id(code) not in copies:
        copies[id(code)] = code.replace(co_consts=tuple(
            _copy(each, copies, moving) if isinstance(each, CodeType) and id(each) in moving else each
            for each in code.co_consts))
    return copies[id(code)]
