"""A compressed layer over another stream: raw DEFLATE (RFC 1951) both ways, as RFC 4978 has it.

What is written at once ends at an octet's border (Z_SYNC_FLUSH), so that the client can read all
of it.  Memory is bounded, whatever the client sends: a few octets can stand for many, and no more
of these are made than are asked for; the rest waits, compressed.  The layer has some 200 kB: the
compressor 128, with a window of 16 kB, the decompressor a window of the 32 kB that a client may
use, and a piece of output.  At rest there is no compressor: another one goes on at the octet's border,
and only does not know what it could refer to.

Another process can go on where the client is at such a border too: with what the client may refer to, the
last octets that it said.  Where a decompressor is in its stream, zlib does not say; a copy of it is asked
(``_at_border``).
"""
from __future__ import annotations

import select
import struct
import zlib
from time import monotonic

from courierpy.system.stream import Garbled
from courierpy.system.writers import Blocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.system.stream import Stream

NAME = "deflate"
LEVEL = 5                      # 3 % more octets than with 6, a third faster
OUR_WINDOW, MEMORY = 14, 7     # logarithms: 2 ** (14 + 2) + 2 ** (7 + 9) octets
THEIR_WINDOW = 15              # logarithm of the largest that RFC 1951 has
PIECE = 32 * 1024              # octets that are compressed, and read, at once
WINDOW = 1 << THEIR_WINDOW     # octets that a client may refer to
FLUSHED = b"\0\0\xff\xff"      # the last octets of a flush (RFC 1951 3.2.4); others may be the same by chance
NO_FLUSH = "a compressed stream that is over was expected to end in a flush"
LEAVING = 10.0                 # seconds that a client has for its last flush
_WORD = b"at an octet's border?"


def _blocks() -> tuple[bytes, bytes]:
    """Two that say _WORD, by RFC 1951 3.2.4 and 3.2.6.  The bits that fill the first one's first octet are
    ones: what still waits for some bits of its block takes them for other than the begin of a block.  What
    has bits of the next block already takes the second one for a block of another kind."""
    stored = b"\xf8" + struct.pack("<HH", len(_WORD), len(_WORD) ^ 0xFFFF) + _WORD
    fixed = zlib.compressobj(LEVEL, zlib.DEFLATED, -OUR_WINDOW, MEMORY, zlib.Z_FIXED)
    return stored, fixed.compress(_WORD) + fixed.flush(zlib.Z_SYNC_FLUSH)


class Deflate:
    """``ahead``: compressed octets of the client that were read already.  ``heard``: what the client said
    last, as kept() gave it to another process.  ``finishing``: what is written next is the last of it."""

    most = PIECE

    def __init__(self, lower: Stream, ahead: bytes = b"", heard: bytes = b"") -> None:
        self.infd = lower.infd
        self.outfd = lower.outfd
        self.layers = (*lower.layers, NAME)
        self._lower = lower
        self._deflate: zlib._Compress | None = None
        # an empty dictionary is none
        self._inflate = zlib.decompressobj(-THEIR_WINDOW, heard) if heard \
            else zlib.decompressobj(-THEIR_WINDOW)
        self._heard = heard            # what the client said, as far as it may refer to it
        self.finishing = self._over = False        # what is written next is the last; it is written
        self._ahead = ahead            # of the client, behind what follows
        self._part = b""               # compressed, to be read: as far as the next flush
        self._fed = b""                # the last octets of what was read
        self._full = False             # the decompressor may have more without further input
        self._out = b""                # compressed, to be written
        self._at = 0                   # so much of it is

    @property
    def held(self) -> bool:
        return self._at < len(self._out) or self._lower.held

    def buffered(self) -> bool:
        return bool(self._part or self._ahead) or self._full or self._inflate.eof or self._lower.buffered()

    def read(self, size: int) -> bytes:
        lower = self._lower
        while True:
            if self._inflate.eof:      # the client's last block: it says nothing more
                return b""
            if not self._part and not self._full:
                self._ahead = self._ahead or lower.read(PIECE)
                if not self._ahead:
                    return b""
                self._go_ahead()
            found = self._inflated(size)
            if found:
                return found
            if not (self._ahead or lower.buffered() or self._inflate.eof):     # to read again might wait
                raise Blocked(self.infd, select.POLLIN)

    def _go_ahead(self) -> None:
        """The next piece is read as far as a flush and not farther: what is behind a client's last one is no
        compressed data, see leave()."""
        before = self._fed[1 - len(FLUSHED):]
        at = (before + self._ahead).find(FLUSHED)
        end = at + len(FLUSHED) - len(before) if at >= 0 else len(self._ahead)
        self._part, self._ahead = self._ahead[:end], self._ahead[end:]
        self._fed = (self._fed + self._part)[-len(FLUSHED):]

    def _inflated(self, size: int) -> bytes:
        """As many octets of ``_part``.  Raises Garbled."""
        try:
            found = self._inflate.decompress(self._part, size)
        except zlib.error:
            raise Garbled("it is no compressed data") from None
        self._part, self._full = self._inflate.unconsumed_tail, len(found) == size
        self._heard = (self._heard + found)[-WINDOW:]
        return found

    def leave(self) -> tuple[Stream, bytes]:
        """The client has said its last word through this layer: the stream below, and what was read of that
        already.  RFC 8437 4.1.  Raises Garbled where the client does not flush what it said, and OSError."""
        end = monotonic() + LEAVING
        while not self._inflate.eof and not (self._fed == FLUSHED and not self._part and self._at_border()):
            left = end - monotonic()
            if left <= 0:
                raise Garbled(NO_FLUSH)
            if not self._part:
                if not self._ahead:
                    if not Blocked(self.infd, select.POLLIN).wait(left):
                        raise Garbled(NO_FLUSH)
                    self._ahead = self._lower.read(PIECE)
                if not self._ahead:
                    break              # the client is gone
                self._go_ahead()
            self._inflated(PIECE)
        return self._lower, self._inflate.unused_data + self._ahead

    def write(self, data: bytes | memoryview) -> int:
        while self.held:
            if self._at < len(self._out):
                self._at += self._lower.write(memoryview(self._out)[self._at:self._at + self._lower.most])
            else:
                self._lower.write(memoryview(b""))
        piece = data[:PIECE]
        if piece and not self._over:   # else it was the last word
            if self._deflate is None:
                self._deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -OUR_WINDOW, MEMORY)
            self._out = self._deflate.compress(piece) + self._deflate.flush(
                zlib.Z_FINISH if self.finishing else zlib.Z_SYNC_FLUSH)
            self._at = 0
            self._over = self.finishing
        return len(piece)

    def rest(self) -> None:
        self._deflate = None
        self._lower.rest()

    def kept(self) -> dict[str, bytes] | None:
        lower = self._lower.kept()
        if lower is None or self.held or self.buffered() or not self._at_border():
            return None
        return {**lower, NAME: self._heard}

    def _at_border(self) -> bool:
        """Does the client's next block begin with its next octet?"""
        for block in _blocks():
            asked = self._inflate.copy()
            try:
                if asked.decompress(block) != _WORD:
                    return False
            except zlib.error:
                return False
        return True

    def last(self) -> None:
        """What is below is not told: it goes as at any other time."""

    def end(self) -> bool:
        return self._lower.end()


def again(stream: Stream, kept: dict[str, bytes]) -> Stream:
    """The layers over ``stream``, as another process had them by its kept().  Raises ValueError for what it
    cannot have given."""
    for layer, state in kept.items():
        if layer != NAME:
            raise ValueError(f"no layer that can go on: {layer}")
        stream = Deflate(stream, heard=state)
    return stream
