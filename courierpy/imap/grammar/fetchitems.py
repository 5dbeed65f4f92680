"""The items of FETCH.  RFC 9051 6.4.5, RFC 3501 6.4.5."""
from __future__ import annotations

import re

from courierpy.imap.grammar.args import ERROR, Args
from courierpy.imap.grammar.out import quoted
from courierpy.model.replies import Bad
from courierpy.model.section import Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

ITEMS = frozenset((b"UID", b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODY",
                   b"BODYSTRUCTURE", b"RFC822", b"RFC822.HEADER", b"RFC822.TEXT"))
FAST = (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE")
MACROS = {b"FAST": FAST, b"ALL": (*FAST, b"ENVELOPE"), b"FULL": (*FAST, b"ENVELOPE", b"BODY")}
_NAME = re.compile(rb"[A-Za-z0-9.=_-]+")
_PART = re.compile(rb"[1-9]\d{0,8}(?:\.[1-9]\d{0,8})*")
_KIND = re.compile(rb"HEADER(?:\.FIELDS(?:\.NOT)?)?|TEXT|MIME", re.I)
_PARTIAL = re.compile(rb"<(\d{1,19})(?:\.([1-9]\d{0,18}))?>")
_OPEN, _DOT, _CLOSE = re.compile(rb"\["), re.compile(rb"\."), re.compile(rb"\]")
MAX_DEPTH = 1000


class FetchItem:
    """``section`` is set for BODY[...]; ``partial``: (first octet, count or None)."""

    __slots__ = ("name", "partial", "peek", "section")

    def __init__(self, name: bytes, section: Section | None = None,
                 partial: tuple[int, int | None] | None = None, peek: bool = True) -> None:
        self.name = name
        self.section = section
        self.partial = partial
        self.peek = peek

    def label(self) -> bytes:
        """What stands before the value in the reply."""
        section = self.section
        if section is None:
            return self.name
        words = b".".join([b"%d" % number for number in section.part]
                          + ([section.kind] if section.kind else []))
        if section.fields:
            words += b" (" + b" ".join(map(quoted, section.fields)) + b")"
        label = b"BODY[" + words + b"]"
        return label if self.partial is None else label + b"<%d>" % self.partial[0]

    def __repr__(self) -> str:
        return f"FetchItem({self.label()!r}, partial={self.partial}, peek={self.peek})"


def parse(args: Args, known: Container[bytes]) -> list[FetchItem]:
    """One item, a macro, or a list of items, each once; ``known``: what extensions add."""
    if not args.at(b"("):
        name = args.take(_NAME).upper()
        if name in MACROS:
            return [FetchItem(word) for word in MACROS[name]]
        return [_item(args, name, known)]
    args.open()
    args.maybe_sp()
    items: dict[object, FetchItem] = {}
    while True:
        item = _item(args, args.take(_NAME).upper(), known)
        same = items.setdefault((item.label(), item.partial), item)
        same.peek = same.peek and item.peek
        if not args.maybe_sp() or args.at(b")"):
            break
    args.close()
    return [*items.values()]


def _item(args: Args, name: bytes, known: Container[bytes]) -> FetchItem:
    if name in (b"BODY", b"BODY.PEEK"):
        peek = name.endswith(b"PEEK")
        if args.at(b" [") and not args.at(b"["):
            args.sp()                          # Pine writes BODY [TEXT]
        if args.at(b"["):
            return _section(args, peek)
        if not peek:
            return FetchItem(name)
    elif name in ITEMS or name in known:
        return FetchItem(name)
    raise Bad(ERROR)


def _section(args: Args, peek: bool) -> FetchItem:
    args.take(_OPEN)
    part: tuple[int, ...] = ()
    kind = b""
    fields: tuple[bytes, ...] = ()
    if not args.at(b"]"):
        if args.rest_text()[:1].isdigit():
            part = tuple(map(int, args.take(_PART).split(b".")))
            if len(part) > MAX_DEPTH:
                raise Bad(ERROR)
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
    partial = None
    if args.at(b"<"):
        match = _PARTIAL.match(args.rest_text())
        if match is None:
            raise Bad(ERROR)
        args.take(_PARTIAL)
        partial = int(match[1]), int(match[2]) if match[2] else None
    return FetchItem(b"BODY[]", Section(part, kind, fields), partial, peek)


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
