"""Another process goes on with a client that compresses (RFC 4978), where that can be."""
from __future__ import annotations

import random
import zlib

import pytest

from courierpy.system.deflate import WINDOW, Deflate, again
from courierpy.system.writers import Blocked


class Below:
    """What the client sent, in the pieces in which it came; and what it gets."""

    infd = outfd = -1
    most = 1 << 20
    held = False
    layers: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.sent = b""

    def buffered(self) -> bool:
        return False

    def read(self, size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def write(self, data: memoryview) -> int:
        self.sent += data
        return len(data)

    def rest(self) -> None:
        pass

    def kept(self) -> dict[str, bytes] | None:
        return {}

    def end(self) -> bool:
        return False


def heard(below: Below, stream: Deflate, piece: bytes) -> bytes:
    """All that these octets of the client say."""
    below.pieces.append(piece)
    said = b""
    while below.pieces or stream.buffered():
        try:
            said += stream.read(65536)
        except Blocked:
            break
    return said


def text(chance: random.Random, octets: int) -> bytes:
    return bytes(chance.choices(b"abc NOOP\r\n", k=octets))


@pytest.mark.parametrize("seed", range(6))
def test_the_client_notices_nothing(seed: int) -> None:
    """Whatever it compresses by, and wherever its octets are cut: who cannot go on is not asked to."""
    chance = random.Random(seed)
    gone_on = stayed = 0
    for _ in range(20):
        squeeze = zlib.compressobj(chance.choice([0, 1, 6, 9]), zlib.DEFLATED, -chance.choice([9, 12, 15]),
                                   chance.choice([1, 8, 9]),
                                   chance.choice([0, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY]))
        below = Below()
        stream = Deflate(below)  # type: ignore[arg-type]
        said = wanted = b""
        for _ in range(6):
            line = text(chance, chance.choice([3, 30, 300, WINDOW + 100]))
            flush = chance.choice([zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, 1])       # 1: Z_PARTIAL_FLUSH
            wanted += line
            octets = squeeze.compress(line) + squeeze.flush(flush)
            cut = chance.choice([len(octets), chance.randint(1, len(octets))])
            said += heard(below, stream, octets[:cut])
            kept = stream.kept()
            assert kept is not None or cut < len(octets) or flush == 1
            if kept is not None:
                below = Below()
                stream = again(below, kept)  # type: ignore[arg-type, assignment]
                gone_on += 1
            else:
                stayed += 1
            if cut < len(octets):
                said += heard(below, stream, octets[cut:])
        said += heard(below, stream, squeeze.flush(zlib.Z_SYNC_FLUSH))
        assert said == wanted
    assert gone_on > 20 and stayed > 20


def test_what_it_is_told_goes_on_too() -> None:
    below, inflate = Below(), zlib.decompressobj(-15)
    stream = Deflate(below)  # type: ignore[arg-type]
    for line in (b"* 1 EXISTS\r\n", b"* 2 EXISTS\r\n"):
        stream.write(memoryview(line))
        stream.write(memoryview(b""))
        kept = stream.kept()
        assert kept == {"deflate": b""}
        assert inflate.decompress(below.sent) == line
        below = Below()
        stream = again(below, kept)  # type: ignore[arg-type, assignment]


def test_what_was_not_read_or_written_keeps_it_here() -> None:
    below = Below()
    stream = Deflate(below, zlib.compress(b"x" * 100, wbits=-15))  # type: ignore[arg-type]
    assert stream.kept() is None                       # there is something to read
    stream = Deflate(Below())  # type: ignore[arg-type]
    stream.write(memoryview(b"line\r\n"))
    assert stream.kept() is None                       # and to write


def test_layers_that_nobody_kept() -> None:
    with pytest.raises(ValueError, match="tls"):
        again(Below(), {"tls": b""})  # type: ignore[arg-type]
