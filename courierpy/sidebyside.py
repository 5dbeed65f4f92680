"""What sessions call is moved to one place of the memory that they share until they write to it.

To call a function counts references of it and of its code, and so a forked process copies the pages that
these lie in.  Modules lay theirs as they are loaded, what a session calls among what it does not; copies of
what was called, made one after the other, fill a fourth of the pages.  What a function does stays the same.
Its code is moved in any case; the function itself only where modules and classes have all references to it,
so that nobody is left with the one before.
"""
from __future__ import annotations

import gc
import sys
from types import CodeType, FunctionType, ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType
    from typing import Any

    Place = tuple[type | ModuleType, str, Any]     # who has it, by which name, and what stands there

# references of what a list has and a loop goes through, while it is asked: interpreters count some or not
COUNTED, = [sys.getrefcount(each) for each in [object()]]


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
    """Give all functions that have one of these codes a copy of it, the copies side by side, and move these
    functions too.  The interpreter rewrites code as it is called (PEP 659), and will do so anew."""
    moving = {id(code): code for code in codes}
    fill = [code.replace() for code in moving.values()]        # takes the room that is left here and there
    copies: dict[int, CodeType] = {}
    for code in moving.values():
        _copy(code, copies, moving)
    fill.clear()
    gc.collect()                       # what is over has methods of them
    _move([each for each in gc.get_objects() if isinstance(each, FunctionType)
           and id(each.__code__) in copies], copies)


def _copy(code: CodeType, copies: dict[int, CodeType], moving: Mapping[int, CodeType]) -> CodeType:
    """With the code within it that is to move: of functions that are made when it runs."""
    if id(code) not in copies:
        copies[id(code)] = code.replace(co_consts=tuple(
            _copy(each, copies, moving) if isinstance(each, CodeType) and id(each) in moving else each
            for each in code.co_consts))
    return copies[id(code)]


def _move(functions: list[FunctionType], codes: Mapping[int, CodeType]) -> None:
    """``codes``: the new ones, by id() of the old."""
    places = _places(set(map(id, functions)))
    copies: list[tuple[FunctionType, list[Place]]] = []
    for function in functions:
        function.__code__ = codes[id(function.__code__)]
        found = places.get(id(function), [])
        if found and sys.getrefcount(function) == COUNTED + len(found):
            copy = FunctionType(function.__code__, function.__globals__, function.__name__,
                                function.__defaults__, function.__closure__)
            copy.__kwdefaults__ = function.__kwdefaults__
            copy.__dict__.update(function.__dict__)
            copies.append((copy, found))
    for copy, found in copies:         # behind all of them, which else would take each other's places
        for holder, name, value in found:
            setattr(holder, name, copy if value is None else _wrapped(copy, value))


def _places(numbers: set[int]) -> dict[int, list[Place]]:
    """Where functions of these id() are held, as such (None) or by what wraps them."""
    places: dict[int, list[Place]] = {}
    for holder in gc.get_objects():
        if isinstance(holder, (type, ModuleType)):
            for name, value in vars(holder).items():
                if type(value) is property:
                    number = id(value.fget)
                elif type(value) in (classmethod, staticmethod):
                    number = id(value.__func__)
                else:
                    number, value = id(value), None
                if number in numbers:
                    places.setdefault(number, []).append((holder, name, value))
    return places


def _wrapped(function: FunctionType, like: Any) -> object:
    return property(function, like.fset, like.fdel) if type(like) is property else type(like)(function)
