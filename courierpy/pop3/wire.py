"""A message as POP3 sends it.  RFC 1939 3.  Sans-IO: the wire form comes in pieces, and goes in pieces."""
from __future__ import annotations

from courierpy.maildir.index import pop3sizes
from courierpy.message.wire import Extent, Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from courierpy.maildir.index.pop3sizes import Size
    from courierpy.message.source import Octets

HEADER_OCTETS = 1 << 20        # that are looked into for octets above 127


def size_of(data: Octets) -> Size:
    """Of a message as it is on disk."""
    size, feeds = len(data), data.count(b"\n", 0, len(data))
    ends = not size or data[size - 1:size] == b"\n"
    return pop3sizes.size(Wire(data).size + (0 if ends else 2), size + feeds, not _header(data).isascii())


def _header(data: Octets) -> bytes:
    head = data[:HEADER_OCTETS]
    ends = [at for at in (head.find(b"\n\n"), head.find(b"\n\r\n")) if at >= 0]
    return head[:min(ends, default=len(head))]


def whole(data: Octets) -> Iterator[bytes]:
    """The wire form; it ends in CRLF, if there is anything."""
    yield from Extent(Wire(data), 0, len(data))
    if len(data) and data[len(data) - 1:len(data)] != b"\n":
        yield b"\r\n"


def top(pieces: Iterable[bytes], count: int) -> Iterator[bytes]:
    """Of a wire form the header, the empty line behind it, and so many lines more.  RFC 1939 7."""
    before, in_header = b"\r\n", True          # an empty line may be the first
    for piece in pieces:
        data, start = before + piece, len(before)
        at = start
        if in_header:
            found = data.find(b"\r\n\r\n")
            if found < 0:
                yield piece
                before = data[-3:]
                continue
            at, in_header, before = found + 4, False, b""
        while count and (end := data.find(b"\n", at)) >= 0:
            at, count = end + 1, count - 1
        if not count:
            yield data[start:at]
            return
        yield piece


def stuffed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """With a dot more before each line that begins with one, and the line that ends it all.  A CR alone ends
    no line: what is sent is what is there."""
    before, size = b"\r\n", 0
    for piece in pieces:
        data = before + piece
        yield data.replace(b"\r\n.", b"\r\n..")[len(before):]
        before, size = data[-2:], size + len(piece)
    yield b".\r\n" if before == b"\r\n" else b"\r\n.\r\n"
