"""The items of FETCH.  RFC 9051 6.4.5, RFC 3501 6.4.5."""
from __future__ import annotations

import re

from courierpy.imap.grammar.args import ERROR, Args
from courierpy.imap.grammar.out import string
from courierpy.model.replies import Bad
from courierpy.model.section import Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any, Protocol

    Grammar = Callable[[Args, bytes], "FetchItem"]

    class Record(Protocol):
        """What is known of an item: here, what may stand behind its name."""

        @property
        def parse(self) -> Grammar: ...

    Find = Callable[[bytes], Record | None]

SECTION = b"BODY.PEEK"
FAST = (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE")
MACROS = {b"FAST": FAST, b"ALL": (*FAST, b"ENVELOPE"), b"FULL": (*FAST, b"ENVELOPE", b"BODY")}
_NAME = re.compile(rb"[A-Za-z0-9.=_-]+")
_PART = re.compile(rb"[1-9]\d{0,8}(?:\.[1-9]\d{0,8})*")
_KIND = re.compile(rb"HEADER(?:\.FIELDS(?:\.NOT)?)?|TEXT|MIME", re.I)
_PARTIAL = re.compile(rb"<(\d{1,19})(?:\.([1-9]\d{0,18}))?>")
_OPEN, _DOT, _CLOSE = re.compile(rb"\["), re.compile(rb"\."), re.compile(rb"\]")
MAX_DEPTH = 1000               # numbers of a part


class FetchItem:
    """An item that a client asks for, as its grammar read it.

    ``name``: of its record.  ``value``: what stood behind the name, hashable; of BODY[...] (Section,
    (first octet, count or None) or None).  ``label``: what stands before the value in the reply.
    ``sees``: does it set \\Seen?
    """

    __slots__ = ("label", "name", "sees", "value")

    def __init__(self, name: bytes, value: Hashable = None, label: bytes = b"", sees: bool = False) -> None:
        self.name = name
        self.value: Any = value
        self.label = label or name
        self.sees = sees

    def __repr__(self) -> str:
        return f"FetchItem({self.label!r}, {self.value!r}, sees={self.sees})"


def parse(args: Args, find: Find) -> list[FetchItem]:
    """One item, a macro, or a list of items, each once.  ``find``: function of an item's name giving its
    record, None where there is none.  Raises Bad."""
    if not args.at(b"("):
        name = args.take(_NAME).upper()
        if name in MACROS:
            return [FetchItem(word) for word in MACROS[name]]
        return [_item(args, name, find)]
    args.open()
    args.maybe_sp()
    items: dict[object, FetchItem] = {}
    while True:
        item = _item(args, args.take(_NAME).upper(), find)
        same = items.setdefault((item.label, item.value), item)
        same.sees = same.sees or item.sees
        if not args.maybe_sp() or args.at(b")"):
            break
    args.close()
    return [*items.values()]


def _item(args: Args, name: bytes, find: Find) -> FetchItem:
    record = find(name)
    if record is None:
        raise Bad(ERROR)
    return record.parse(args, name)


# -- the grammars

def plain(args: Args, name: bytes) -> FetchItem:
    """Nothing stands behind the name."""
    return FetchItem(name)


def old(kind: bytes, *, sees: bool) -> Grammar:
    """The RFC822 items in terms of sections.  RFC 3501 6.4.5."""
    return lambda args, name: FetchItem(name, (Section((), kind), None), sees=sees)


def body(args: Args, name: bytes) -> FetchItem:
    """BODY[...], or BODY alone, which is the structure."""
    return section(args, name) if _at_section(args) else FetchItem(name)


def _at_section(args: Args) -> bool:
    if args.at(b" ["):
        args.sp()                          # Pine writes BODY [TEXT]
    return args.at(b"[")


def section(args: Args, name: bytes) -> FetchItem:
    """The brackets of BODY[...] and BODY.PEEK[...], and which octets of the section."""
    _at_section(args)
    found = _section(args)
    partial = span(args)
    label = _label(found)
    if partial is not None:
        label += b"<%d>" % partial[0]
    return FetchItem(SECTION, (found, partial), label, sees=name != SECTION)


def _label(found: Section) -> bytes:
    words = b".".join([b"%d" % number for number in found.part] + ([found.kind] if found.kind else []))
    if found.fields:
        words += b" (" + b" ".join(map(string, found.fields)) + b")"
    return b"BODY[" + words + b"]"


def part(args: Args) -> tuple[int, ...]:
    """The numbers of a part, as in ``1.2.1``."""
    numbers = tuple(map(int, args.take(_PART).split(b".")))
    if len(numbers) > MAX_DEPTH:
        raise Bad(ERROR)
    return numbers


def span(args: Args) -> tuple[int, int | None] | None:
    """``<first octet.count>``; the count may be missing, and all of it."""
    if not args.at(b"<"):
        return None
    match = _PARTIAL.match(args.rest_text())
    if match is None:
        raise Bad(ERROR)
    args.take(_PARTIAL)
    return int(match[1]), int(match[2]) if match[2] else None


def _section(args: Args) -> Section:
    args.take(_OPEN)
    numbers: tuple[int, ...] = ()
    kind = b""
    fields: tuple[bytes, ...] = ()
    if not args.at(b"]"):
        if args.rest_text()[:1].isdigit():
            numbers = part(args)
            if args.at(b"."):
                args.take(_DOT)
                kind = args.take(_KIND).upper()
        else:
            kind = args.take(_KIND).upper()
            if kind == b"MIME":
                raise Bad(ERROR)
        if kind.startswith(b"HEADER.FIELDS"):
            fields = _fields(args)
    args.take(_CLOSE)
    return Section(numbers, kind, fields)


def _fields(args: Args) -> tuple[bytes, ...]:
    args.maybe_sp()
    args.open()
    args.maybe_sp()
    names = []
    while True:
        names.append(args.astring())
        if not args.maybe_sp() or args.at(b")"):
            break
    args.close()
    return tuple(names)
