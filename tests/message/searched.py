"""What SEARCH looks for a text in."""
from __future__ import annotations

from collections.abc import Iterator

from courierpy.message import decode, searchtext
from courierpy.message.charsets import charset_text
from courierpy.message.collation import fold
from courierpy.message.htmltext import html_text
from courierpy.message.message import Message


def everything(message: Message) -> str:
    """As TEXT: the headers, the body, the headers of the parts."""
    return "\n".join([searchtext.lines(message.block), message.folded_body(),
                      searchtext.inner_lines(message.root)])


def texts(message: Message) -> Iterator[str]:
    """The text parts, decoded; HTML without its tags; headers of inner messages."""
    for part in message.root.walk():
        if part.message is not None:
            yield "\n".join([decode.words(value) for _, value in part.message.fields])
        if searchtext.is_searched(part):
            text = charset_text(part.octets(), part.charset)
            yield html_text(text) if part.subkind == b"html" else text


def in_body(message: Message, text: str) -> bool:
    return fold(text) in message.folded_body()


def in_header(message: Message, name: bytes, text: str) -> bool:
    """Some field of this name holds the text; "" asks whether there is one."""
    found = message.folded_header(name)
    return found is not None and fold(text) in found


def in_text(message: Message, text: str) -> bool:
    return fold(text) in everything(message)
