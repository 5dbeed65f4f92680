"""BINARY.  RFC 3516: parts without their transfer encoding; APPEND of any octets."""
from __future__ import annotations

import re

from courierpy.imap.ext import Extension
from courierpy.imap.fetch import Item
from courierpy.imap.grammar import fetchitems
from courierpy.imap.grammar.fetchitems import FetchItem
from courierpy.message import mime
from courierpy.message.binary import UnknownEncoding, storable
from courierpy.message.message import AT_ONCE_OCTETS
from courierpy.message.source import MessageSource
from courierpy.model.replies import No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.fetch import Subject
    from courierpy.imap.grammar.args import Args
    from courierpy.maildir.draft import Draft
    from courierpy.message import Message
    from courierpy.message.binary import Decoded
    from courierpy.message.message import Content

_OPEN, _CLOSE = re.compile(rb"\["), re.compile(rb"\]")


def _part(args: Args) -> tuple[tuple[int, ...], bytes]:
    """The brackets, and how they are told."""
    args.take(_OPEN)
    numbers = () if args.at(b"]") else fetchitems.part(args)
    args.take(_CLOSE)
    return numbers, b"[" + b".".join([b"%d" % number for number in numbers]) + b"]"


def _content(args: Args, name: bytes) -> FetchItem:
    numbers, label = _part(args)
    partial = fetchitems.span(args)
    if partial is not None:
        label += b"<%d>" % partial[0]
    return FetchItem(name, (numbers, partial), b"BINARY" + label, sees=name == b"BINARY")


def _size_of(args: Args, name: bytes) -> FetchItem:
    numbers, label = _part(args)
    return FetchItem(name, numbers, name + label)


def _decoded(subject: Subject, numbers: tuple[int, ...]) -> Decoded | None:
    """Raises No for a content that cannot be decoded; None where there is no such part."""
    def found(message: Message) -> Decoded | No | None:
        try:
            return message.decoded(numbers)
        except UnknownEncoding:
            return No("The content cannot be decoded.", b"UNKNOWN-CTE")
    decoded = subject.told(found)
    if isinstance(decoded, No):
        raise decoded
    return decoded


def _tell(subject: Subject, item: FetchItem) -> list[Content]:
    numbers, partial = item.value
    whole = _decoded(subject, numbers)
    if whole is None:
        return [b"{0}\r\n"]            # no such part
    some = whole.cut(*(partial or (0, None)))
    size = len(some)
    subject.session.body += size
    if size > min(subject.room, AT_ONCE_OCTETS):
        return [b"~{%d}\r\n" % size if some.nul else b"{%d}\r\n" % size, some]
    subject.room -= size
    octets = b"".join(some)
    return [b"~{%d}\r\n" % size if b"\0" in octets else b"{%d}\r\n" % size, octets]


def _tell_size(subject: Subject, item: FetchItem) -> list[Content]:
    whole = _decoded(subject, item.value)
    return [b"%d" % (0 if whole is None else whole.size)]


def _stored(draft: Draft) -> None:
    """The same message with what is no text in base64."""
    data = MessageSource(draft.came(), draft.read)
    pieces = storable(data, mime.parse(data))
    if pieces is not None:
        draft.rewrite(pieces)


EXTENSION = Extension(b"BINARY", append_literals={b"~": _stored}, fetch_items={
    b"BINARY": Item(_tell, parse=_content), b"BINARY.PEEK": Item(_tell, parse=_content),
    b"BINARY.SIZE": Item(_tell_size, parse=_size_of)})
