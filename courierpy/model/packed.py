"""Plain values as octets, and again: what is to be kept of objects while there is no process.

None, bools, numbers, octets, texts, tuples, lists, frozensets, and objects of classes that both sides name,
by their ``__slots__``.  What is read is data: another class, or code, it cannot name.
"""
from __future__ import annotations

import struct
from array import array
from itertools import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

MAX_DEPTH = 400                        # of values in each other
_HEAD = struct.Struct("!cI")           # kind, octets that follow
_NONE, _TRUE, _FALSE, _INT, _FLOAT, _OCTETS, _TEXT = b"-", b"+", b"!", b"i", b"f", b"b", b"s"
_OBJECT = b"o"
_MANY: dict[bytes, type] = {b"(": tuple, b"[": list, b"{": frozenset}
_LETTERS = {kind: letter for letter, kind in _MANY.items()}


def pack(value: object, classes: Sequence[type] = ()) -> bytes:
    """Raises TypeError for what is neither plain nor of ``classes``."""
    kind = type(value)
    if value is None or value is True or value is False:
        return _HEAD.pack(_NONE if value is None else _TRUE if value else _FALSE, 0)
    if isinstance(value, int):
        return _whole(_INT, b"%d" % value)
    if isinstance(value, float):
        return _whole(_FLOAT, struct.pack("!d", value))
    if isinstance(value, bytes):
        return _whole(_OCTETS, value)
    if isinstance(value, str):
        return _whole(_TEXT, value.encode("utf-8", "surrogatepass"))
    if kind in _LETTERS:
        parts: Iterable[Any] = value  # type: ignore[assignment]
        octets = [pack(part, classes) for part in parts]
        return _whole(_LETTERS[kind], b"".join(sorted(octets) if kind is frozenset else octets))
    if kind not in classes:
        raise TypeError(f"{kind.__name__} is not kept")
    slots = [getattr(value, slot) for slot in kind.__slots__]  # type: ignore[attr-defined]
    return _whole(_OBJECT, bytes((classes.index(kind),)) + b"".join([pack(slot, classes) for slot in slots]))


def _whole(kind: bytes, data: bytes) -> bytes:
    return _HEAD.pack(kind, len(data)) + data


def unpack(data: bytes, classes: Sequence[type] = ()) -> Any:
    """Raises ValueError for what pack() does not give."""
    try:
        found = _values(data, classes, 0)
    except TypeError as error:         # a set of what cannot be in one
        raise ValueError(str(error)) from None
    if len(found) != 1:
        raise ValueError("not one value")
    return found[0]


def _values(data: bytes, classes: Sequence[type], depth: int) -> list[Any]:
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    found, at = [], 0
    while at < len(data):
        if len(data) - at < _HEAD.size:
            raise ValueError("a value is cut")
        kind, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if length > len(data) - at:
            raise ValueError("a value is cut")
        found.append(_value(kind, data[at:at + length], classes, depth))
        at += length
    return found


def _value(kind: bytes, data: bytes, classes: Sequence[type], depth: int) -> Any:
    if kind in (_NONE, _TRUE, _FALSE) and not data:
        return None if kind == _NONE else kind == _TRUE
    if kind == _INT:
        return int(data)
    if kind == _FLOAT and len(data) == 8:
        return struct.unpack("!d", data)[0]
    if kind == _OCTETS:
        return data
    if kind == _TEXT:
        return data.decode("utf-8", "surrogatepass")
    if kind in _MANY:
        return _MANY[kind](_values(data, classes, depth + 1))
    if kind == _OBJECT and data and data[0] < len(classes):
        return _object(classes[data[0]], _values(data[1:], classes, depth + 1))
    raise ValueError("no kind of value")


def _object(made: Any, values: list[Any]) -> object:
    if len(values) != len(made.__slots__):
        raise ValueError("an object of another class")
    found: object = made.__new__(made)
    for slot, value in zip(made.__slots__, values, strict=True):
        setattr(found, slot, value)
    return found


def numbers(kind: str, rows: Iterable[Iterable[int]]) -> bytes:
    """Rows of numbers, for rows(); ``kind``: of an array.  Many are had at once."""
    return array(kind, chain.from_iterable(rows)).tobytes()


def rows(kind: str, count: int, octets: bytes) -> list[Any]:
    """Those of numbers(), of ``count`` each.  Raises ValueError."""
    found = array(kind, octets)
    return list(zip(*[found[at::count] for at in range(count)], strict=True))
