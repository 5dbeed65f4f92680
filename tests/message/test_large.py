"""A message that is read by offset is the same as one that is held: its parts, sections, pieces, texts."""
from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courierpy.message import Message, charsets, mime, searchtext, sections, source, streamed, wire
from courierpy.message.flowed import FlowedDecoder
from courierpy.message.headers import wire_form
from courierpy.message.mime import Limits, Part
from courierpy.message.source import MessageSource
from courierpy.message.wire import Extent
from courierpy.model.section import Section

EDGES = {(source, "WINDOW_OCTETS"): [4, 7, 16, 50], (sections, "WINDOW_OCTETS"): [8, 16, 50],
         (mime, "LINE_OCTETS"): [2, 8, 100], (wire, "STEP_OCTETS"): [3, 8, 64],
         (wire, "PIECE_OCTETS"): [2, 5, 64], (streamed, "PIECE_OCTETS"): [1, 3, 10, 100],
         (streamed, "SEARCHED"): [0, 5, 1000]}
WORDS = [
    b"\n", b"\r\n", b"\r", b"\n\n", b"--x", b"--x--", b"--xy", b"\n--x\n", b"\r\n--x\r\n\r\n",
    b"\n--xy\n", b"--", b"Content-Type: multipart/mixed; boundary=x\n",
    b"Content-Type: multipart/mixed; boundary=xy\n\n", b"Content-Type: message/rfc822\n\n",
    b"Content-Type: text/html\n", b"Content-Type: text/plain; charset=koi8-r\n",
    b"Content-Type: text/html; charset=utf-16\n", b"Content-Type: text/plain; charset=iso-2022-jp\n",
    b"Content-Transfer-Encoding: base64\n", b"Content-Transfer-Encoding: quoted-printable\n\n",
    b"Subject: x\n", b"To: y\n z\n", b"A:", b"<meta charset=koi8-r>", b"<script>", b"</script>",
    b"<style a=b>", b"</style>", b"<b>", b"</b>", b"<", b">", b"&amp;", b"&nbsp;", b"&#65;", b"&", b"=",
    b"=41", b"=\n", b"==", b"QUJD", b"QQ==", b"  ", b"\t", b" ", b"hello", b"\0", b"\xff", b"\x1b$B8l\x1b(B",
    "\u00e9\xa0\u2003\u00b4\u00df\ufdfa".encode()]
SEEDS = st.integers(0, 1 << 30)
MAIL = st.lists(st.sampled_from(WORDS), max_size=60).map(b"".join)
MULTIPART = MAIL.map(lambda data: b"Content-Type: multipart/mixed; boundary=x\n\n--x\n" + data)
SECTIONS = [Section(part, kind, (b"Subject", b"A", b"to") if kind.startswith(b"HEADER.F") else ())
            for part in ((), (1,), (2,), (1, 1), (1, 2), (2, 1))
            for kind in (b"", b"HEADER", b"TEXT", b"MIME", b"HEADER.FIELDS", b"HEADER.FIELDS.NOT")
            if part or kind != b"MIME"]


@pytest.fixture(autouse=True)
def _as_they_were() -> Iterator[None]:
    before = {place: getattr(*place) for place in EDGES}
    yield
    for place, value in before.items():
        setattr(*place, value)


def small(seed: int) -> None:
    """Windows and steps of a few octets, so that everything falls on an edge."""
    chance = random.Random(seed)
    for place, values in EDGES.items():
        setattr(*place, chance.choice(values))


def from_file(data: bytes) -> Message:
    def read(start: int, count: int) -> bytes:
        assert start >= 0
        assert start + count <= len(data)
        return data[start:start + count]
    return Message(MessageSource(len(data), read))


def tree(part: Part) -> object:
    return part.start, part.body, part.stop, part.kind, part.known, [tree(child) for child in part.children]


@settings(max_examples=300)
@given(MAIL | MULTIPART, SEEDS)
def test_parts(data: bytes, seed: int) -> None:
    small(seed)
    held, read = Message(data), from_file(data)
    assert read.size == held.size == len(wire_form(data))
    assert tree(read.root) == tree(held.root)
    assert read.structure_bytes(True) == held.structure_bytes(True)
    assert read.envelope_bytes() == held.envelope_bytes()


@settings(max_examples=300)
@given(MAIL | MULTIPART, SEEDS, st.sampled_from(SECTIONS), st.integers(0, 200),
       st.none() | st.integers(1, 100))
def test_sections_and_pieces(data: bytes, seed: int, section: Section, start: int,
                             count: int | None) -> None:
    small(seed)
    whole = Message(data).section(section)
    for message in (Message(data), from_file(data)):
        content = message.content(section, -1)
        if whole is None or content is None:
            assert content is whole is None
            continue
        assert not isinstance(content, bytes)
        piece = content.cut(start, count)
        wanted = whole[start:] if count is None else whole[start:start + count]
        assert len(piece) == len(wanted)
        assert b"".join(piece) == wanted
        assert b"".join(content) == message.section(section) == whole
        assert len(content) == len(whole)


@settings(max_examples=300)
@given(MAIL | MULTIPART, SEEDS, st.integers(0, 200), st.integers(1, 30))
def test_texts(data: bytes, seed: int, at: int, length: int) -> None:
    small(seed)
    for whole, texts in ((searchtext.body, streamed.body), (searchtext.inner_lines, streamed.inner_lines)):
        folded = whole(Message(data).root).encode("utf-8", "surrogatepass")
        root = from_file(data).root
        assert streamed.joined(texts(root), len(data) * 40) == folded
        for text in filter(None, folded.split(b"\n")):
            needle = text[at % len(text):][:length]
            assert streamed.contains(texts(root), needle)
        assert streamed.contains(texts(root), b"HELLO") == (b"HELLO" in folded)


def test_a_text_that_is_long() -> None:
    root = from_file(b"\n" + b"word " * 1000).root
    assert streamed.joined(streamed.body(root), 4000) is None
    assert streamed.joined(streamed.body(root), 6000) == b"WORD " * 1000


def test_a_piece_costs_the_piece() -> None:
    """However far it is from the beginning, once the positions are known."""
    data = b"Subject: x\n\n" + b"line\n" * 2_000_000
    octets = 0

    def read(start: int, count: int) -> bytes:
        nonlocal octets
        octets += count
        return data[start:start + count]
    message = Message(MessageSource(len(data), read))
    content = message.content(Section())
    assert isinstance(content, Extent)
    assert b"".join(content.cut(0, 1000)).startswith(b"Subject: x\r\n\r\nline\r\n")
    assert octets < 600_000
    assert message.size == len(data) + 2_000_002
    octets = 0
    for start in range(1_000_000, 11_000_000, 1_000_000):
        assert b"".join(content.cut(start, 1000)) == piece_of_lines(start, 1000)
    assert octets < 10 * 400_000


def piece_of_lines(start: int, count: int) -> bytes:
    """Of ``line`` and CRLF again and again, behind 14 octets."""
    first = (start - 14) % 6
    return (b"line\r\n" * (count // 6 + 2))[first:first + count]


def test_headers_are_looked_into_as_far_as_all_may_have_together() -> None:
    part = b"--x\nContent-Description: " + b"d" * 900 + b"\n\nbody\n"
    data = b"Content-Type: multipart/mixed; boundary=x\n\n" + part * 50
    for message in (Message(data, Limits(header=1000)), from_file(data)):
        message.limits = Limits(header=1000)
        children = message.root.children
        assert 4 <= len(children) < 10
        assert children[-1].stop == len(data)        # the last one holds the rest


ENDLESS = {                            # Content-Type, transfer encoding, what stands there again and again
    "flowed": (b"text/plain; format=flowed", b"7bit", b"word " * 13),
    "flowed without blanks": (b"text/plain; format=flowed; delsp=yes", b"7bit", b"wordword"),
    "quotes": (b"text/plain; format=flowed", b"7bit", b">" * 64),
    "soft broken": (b"text/plain; format=flowed", b"quoted-printable", b"=41word=\n"),
    "padding": (b"text/plain", b"quoted-printable", b" \t" * 32),
    "no digits": (b"text/plain", b"quoted-printable", b"=" * 64),
    "shifted": (b"text/plain; charset=utf-7", b"7bit", b"AGEAYgBj" * 8),
    "kanji": (b"text/plain; charset=iso-2022-jp", b"7bit", b"0!0\"" * 16),
    "base64": (b"text/plain", b"base64", b"QUJD" * 16), "no letters": (b"text/plain", b"base64", b"!" * 64),
    "tag": (b"text/html", b"7bit", b" a=b" * 16), "open tags": (b"text/html", b"7bit", b"<" * 64),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_does_not_end_is_not_held(name: str) -> None:
    """A line, shift, tag or run of blanks: no stage keeps more than a few pieces of it."""
    kind, encoding, piece = ENDLESS[name]
    head = b"Content-Type: %s\nContent-Transfer-Encoding: %s\n\n" % (kind, encoding)
    begun = {"shifted": b"+", "kanji": b"\x1b$B", "tag": b"<a"}.get(name, b"")
    size = 2_500_000

    def read(start: int, count: int) -> bytes:
        made = head + begun
        at = (start - len(made)) % len(piece) if start >= len(made) else 0
        before = made[start:] if start < len(made) else b""
        return (before + (piece * (count // len(piece) + 2))[at:])[:count]
    tracemalloc.start()
    try:
        root = Message(MessageSource(size, read)).root
        assert not streamed.contains(streamed.body(root), b"ZEBRA")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_long_line_goes_on() -> None:
    """What is cut into pieces says the same; where a paragraph ends is known at the end of its line."""
    for line in ("> " + "word " * 40_000, "word " * 40_000 + "x", ">>" + "word " * 40_000 + "x"):
        text = f"first \n{line}\nlast\n"
        whole = FlowedDecoder(False).decode(text + ">", final=True)[:-2]
        decoder = FlowedDecoder(False)
        found = "".join([decoder.decode(text[at:at + 1000]) for at in range(0, len(text), 1000)])
        assert whole.startswith(found + decoder.decode("", final=True).removesuffix("\n "))
    letters = "\u0161\u65e5\u672c" * 30_000
    data = letters.encode("utf-7")
    for codec, octets in (("utf_7", data), ("iso2022_jp", ("\u65e5\u672c" * 60_000).encode("iso2022_jp"))):
        reader = charsets.decoder(charsets.find(codec) or "")
        pieces = [reader.decode(octets[at:at + 1000]) for at in range(0, len(octets), 1000)]
        assert "".join(pieces) + reader.decode(b"", True) == octets.decode(codec)
