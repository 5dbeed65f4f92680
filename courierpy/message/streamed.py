"""What SEARCH BODY and TEXT compare, of a message that is too large to be decoded at once.

The same texts as in ``searchtext``, but a piece after the other: transfer encoding, charset,
HTML and folding are stages, each of which holds back the little at the end of a piece that
may belong together with what follows.  A text is an iterator of folded UTF-8; joined, its
pieces are what ``searchtext`` makes of the whole.
"""
from __future__ import annotations

from codecs import getincrementaldecoder

from courierpy.message import charsets, parameters, searchtext, transfer
from courierpy.message.collation import fold
from courierpy.message.eastasian import ESCAPE_OCTETS, ISO_2022, is_iso_2022
from courierpy.message.flowed import FlowedDecoder
from courierpy.message.htmltext import HtmlDecoder
from courierpy.message.wire import PIECE_OCTETS, Extent, Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from courierpy.message.mime import Part

    Taken = TypeVar("Taken")
    Given = TypeVar("Given")
    Texts = Iterable[Iterable[bytes]]

LATIN = "cp1252"                   # of what is not UTF-8 and names no charset, as in charset_text
SEARCHED = 32 * 1024               # octets of pieces that are searched together


# -- the texts of a message

def body(root: Part) -> Iterator[Iterator[bytes]]:
    """As searchtext.body."""
    for part in root.walk():
        if part.message is not None:
            yield iter([_encoded(searchtext.values(part.message))])
        if searchtext.is_searched(part):
            yield _folded(_text(part))


def inner_lines(root: Part) -> Iterator[Iterator[bytes]]:
    """As searchtext.inner_lines."""
    for part in root.walk():
        found = searchtext.part_lines(part, part is not root)
        if found:
            yield iter([_encoded(found)])


def joined(texts: Texts, most: int) -> bytes | None:
    """The texts with a line end between them; None when that has more than ``most`` octets."""
    pieces: list[bytes] = []
    size = 0
    for number, text in enumerate(texts):
        if number:
            pieces.append(b"\n")
        for piece in text:
            pieces.append(piece)
            size += len(piece) + 1
            if size > most:
                return None
    return b"".join(pieces)


def contains(texts: Texts, needle: bytes) -> bool:
    """Is the needle, which has no line end in it, in one of the texts?"""
    for text in texts:
        held = b""
        for piece in text:
            held += piece
            if len(held) >= SEARCHED + len(needle):
                if needle in held:
                    return True
                held = held[len(held) - len(needle) + 1:]
        if needle in held:
            return True
    return False


# -- one text part, stage by stage

def characters(part: Part) -> Iterator[str]:
    """The text of a part by its charset, as it stands: HTML with its tags."""
    codec = charsets.find(part.charset) or charsets.ASCII
    if codec == charsets.ASCII:
        codec = (ISO_2022 if _is_iso_2022(part) else charsets.UTF_8 if _is_utf8(part)
                 else _codec_of_page(part) if part.subkind == b"html" else LATIN)
    return _through(_octets(part), charsets.decoder(codec).decode, b"")


def _text(part: Part) -> Iterator[str]:
    text = characters(part)
    if part.subkind == b"html":
        return _through(text, HtmlDecoder().decode, "")
    if parameters.find(part.params, b"format").lower() == b"flowed":
        delsp = parameters.find(part.params, b"delsp").lower() == b"yes"
        return _through(text, FlowedDecoder(delsp).decode, "")
    return text


def _through(pieces: Iterable[Taken], decode: Callable[[Taken, bool], Given], end: Taken) -> Iterator[Given]:
    for piece in pieces:
        yield decode(piece, False)
    yield decode(end, True)


def _octets(part: Part) -> Iterator[bytes]:
    """The content, its transfer encoding undone."""
    # where ASCII is itself, line ends that are others change no more than white space
    pieces = (_as_it_stands(part) if charsets.holds_ascii(part.charset)
              else iter(Extent(Wire(part.data), part.body, part.stop)))
    if part.encoding == b"base64":
        return _through(pieces, transfer.Base64Decoder().decode, b"")
    if part.encoding == b"quoted-printable":
        return _through(pieces, transfer.QuotedPrintableDecoder().decode, b"")
    return pieces


def _as_it_stands(part: Part) -> Iterator[bytes]:
    for at in range(part.body, part.stop, PIECE_OCTETS):
        yield part.data[at:min(at + PIECE_OCTETS, part.stop)]


def _is_iso_2022(part: Part) -> bool:
    held = b""
    for piece in _octets(part):
        piece = held + piece
        if is_iso_2022(piece):
            return True
        held = piece[1 - ESCAPE_OCTETS:]
    return False


def _is_utf8(part: Part) -> bool:
    decoder = getincrementaldecoder(charsets.UTF_8)()
    try:
        for piece in _octets(part):
            decoder.decode(piece)
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True


def _codec_of_page(part: Part) -> str:
    """Of a page that is not UTF-8."""
    head = b""
    for piece in _octets(part):
        head += piece
        if len(head) >= searchtext.PAGE_HEAD:
            break
    codec = charsets.find(searchtext.named_in_page(head)) or charsets.ASCII
    return LATIN if codec == charsets.ASCII else codec


def _folded(texts: Iterable[str]) -> Iterator[bytes]:
    """As collation.fold: a run of white space is one blank, also across two pieces."""
    blank = ""
    for text in texts:
        if text:
            text = blank + text
            seen = text.rstrip()
            blank = " " if len(seen) < len(text) else ""
            if seen:
                yield _encoded(fold(seen))
    if blank:
        yield b" "


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
