"""What SEARCH compares: the texts of a message, decoded and folded.

A needle, folded too, is in one of the texts or in none: the texts are joined
by line ends, and folding leaves no line end in a text or a needle.
"""
from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from courierpy.message import address, charsets, decode, headers, parameters
from courierpy.message.charsets import charset_text
from courierpy.message.collation import fold, fold_ascii
from courierpy.message.eastasian import ESCAPE, is_iso_2022
from courierpy.message.flowed import FlowedDecoder
from courierpy.message.headers import CR, NUL
from courierpy.message.htmltext import html_text
from courierpy.message.transfer import transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from courierpy.message.mime import Part

_ADDRESSES = frozenset((b"from", b"to", b"cc", b"bcc"))
_META = re.compile(rb"<meta[^<>]*charset\s*=\s*[\"']?([A-Za-z0-9._:-]+)", re.I)
PAGE_HEAD = 4096                       # octets of a page in which its charset is looked for

# the beginning of a folded line that is no field with one blank behind the colon
_IRREGULAR = re.compile(rb"\n(?![!-9;-~]+: [^ \n])")


def field(header: bytes, name: bytes) -> str | None:
    """The values of one field of a header block; None when it has none.  Of From, To, Cc and
    Bcc, what ENVELOPE tells is there too, which is what a client shows and searches for."""
    found = headers.values(header, name)
    if not found:
        return None
    texts = [fold(decode.words(value)) for value in found]
    if name.lower() in _ADDRESSES:
        texts += [fold(text) for value in found for text in _told(value)]
    return "\n".join(texts)


def _told(value: bytes) -> list[str]:
    """``name mailbox@host`` of each address that does not stand so in the value."""
    if b"(" not in value and address.usual(value) is not None:
        return []
    told = []
    for name, _, mailbox, host in address.parse(value):
        words = [decode.words(name)] if name else []
        if mailbox is not None:
            words.append(charset_text(mailbox + b"@" + host if host else mailbox, ""))
        told.append(" ".join(words))
    return told


def lines(header: bytes) -> str:
    """``Name: value`` of each field of a header block."""
    block = header.replace(b"\r\n", b"\n") if CR in header else header
    flat = block.replace(b"\n ", b" ").replace(b"\n\t", b" ")
    odd = b""                          # lines in which something is to be decoded
    if ESCAPE in flat or not flat.isascii():
        plain: list[bytes] = []
        others: list[bytes] = []
        for line in flat.split(b"\n"):
            (others if b"=?" in line or ESCAPE in line or not line.isascii() else plain).append(line)
        flat, odd = b"\n".join(plain), b"\n".join(others)
    elif b"=?" in flat:
        flat, odd = _apart(flat)
    text = fold_ascii(flat, lines=True).rstrip(b"\n")
    if CR in block or NUL in block or not _is_regular(text):
        return _joined(_each(headers.fields(header)))
    return _joined([text.decode().strip("\n"), *_each(headers.fields(b"\n" + odd))])


def _apart(flat: bytes) -> tuple[bytes, bytes]:
    """(the other lines, those with an encoded word), each with the line end before it."""
    plain: list[bytes] = []
    odd: list[bytes] = []
    last, at = 0, flat.find(b"=?")
    while at >= 0:
        start, end = max(0, flat.rfind(b"\n", 0, at)), flat.find(b"\n", at)
        end = end if end >= 0 else len(flat)
        plain.append(flat[last:start])
        odd.append(flat[start:end])
        last, at = end, flat.find(b"=?", end)
    return b"".join([*plain, flat[last:]]), b"".join(odd)


def _is_regular(text: bytes) -> bool:
    """Are these folded lines all fields, with one blank behind the colon and none at the end?"""
    return text[:1] in b"\n" and b" \n" not in text and text[-1:] != b" " and _IRREGULAR.search(text) is None


def _joined(texts: Iterable[str]) -> str:
    return "\n".join(filter(None, texts))


def _each(fields: list[tuple[bytes, bytes]]) -> list[str]:
    return [fold(f"{name.decode()}: {decode.words(value)}") for name, value in fields]


def inner_lines(root: Part) -> str:
    """The same of the headers of all parts in ``root``; and of all what their parameters mean."""
    return _joined([part_lines(part, part is not root) for part in root.walk()])


def part_lines(part: Part, header: bool) -> str:
    """What the parameters of one part mean by RFC 2231, which is names of files, mostly: the header does not
    show them.  Before it, with ``header``, its lines."""
    texts = [lines(part.block)] if header else []
    pairs = part.params
    value = part.known.get(b"content-disposition", b"")
    if b"*" in value and (found := parameters.disposition(value)) is not None:
        pairs = pairs + found[1]
    texts += [fold(_meant(value)) for name, value in pairs if name.endswith(b"*")]
    return _joined(texts)


def _meant(value: bytes) -> str:
    """The text that the value of a parameter ``name*`` stands for, by its charset."""
    charset, _, rest = value.partition(b"'")
    _, quote, text = rest.partition(b"'")
    if not quote:
        charset, text = b"", value
    return charset_text(unquote_to_bytes(text), charset.decode("ascii", "replace"))


def values(message: Part) -> str:
    """Of all fields of a message inside."""
    return fold("\n".join([decode.words(value) for _, value in message.fields]))


def is_searched(part: Part) -> bool:
    """Is it a text, or a report for machines that people read too, as why mail was not delivered?"""
    return part.kind == b"text" or part.kind == b"message" and not part.children


def body(root: Part) -> str:
    """The text parts, HTML without its tags, and the headers of inner messages."""
    texts = []
    for part in root.walk():
        if part.message is not None:
            texts.append(values(part.message))
        if is_searched(part):
            texts.append(_text(part))
    return "\n".join(texts)


def _text(part: Part) -> str:
    charset = part.charset
    html, flowed = part.subkind == b"html", parameters.find(part.params, b"format").lower() == b"flowed"
    # where ASCII is itself, line ends that are others change no more than white space
    if charsets.holds_ascii(charset):
        octets = transfer(part.data[part.body:part.stop], part.encoding)
        if octets.isascii() and ESCAPE not in octets and not html and not flowed:
            return fold_ascii(octets).decode()
    else:
        octets = part.octets()
    if html:
        if charsets.find(charset) in (None, charsets.ASCII):
            charset = _charset_of_page(octets)
        return fold(html_text(charset_text(octets, charset)))
    text = charset_text(octets, charset)
    if flowed:
        delsp = parameters.find(part.params, b"delsp").lower() == b"yes"
        text = FlowedDecoder(delsp).decode(text, final=True)
    return fold(text)


def _charset_of_page(octets: bytes) -> str:
    """What a page says of itself; "" where it is ASCII, ISO 2022 or UTF-8, or says nothing."""
    try:
        octets.decode()
    except UnicodeDecodeError:
        return "" if is_iso_2022(octets) else named_in_page(octets)
    return ""


def named_in_page(octets: bytes) -> str:
    """The charset that stands at the beginning of a page, if the page can be read by it."""
    named = _META.search(octets, 0, PAGE_HEAD)
    name = "" if named is None else named[1].decode()
    return name if charsets.holds_ascii(name) else ""              # it was just read as ASCII
