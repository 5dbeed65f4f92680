"""Commands cut from the stream: whole, byte by byte, with a tail."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courierpy.imap.grammar.framer import Frame, Framer, LiteralAhead, TooLong

STREAMS = {
    b"a NOOP\r\n": [([b"a NOOP"], [])],
    b"a NOOP\nb NOOP\r\n": [([b"a NOOP"], []), ([b"b NOOP"], [])],
    b"a LOGIN {4}\r\ndemo {3+}\r\na\nb\r\n": [([b"a LOGIN ", b" ", b""], [b"demo", b"a\nb"])],
    b"a X {0+}\r\n\r\nb Y\r\n": [([b"a X ", b""], [b""]), ([b"b Y"], [])],
    b"a X {000000000002+}\r\nab\r\nb Y\r\n": [([b"a X ", b""], [b"ab"]), ([b"b Y"], [])],
    b"a APPEND x ~{2+}\r\n\0\n\r\n": [([b"a APPEND x ", b""], [b"\0\n"])],
}


def drain(framer: Framer) -> list[tuple[list[bytes], list[bytes | None]]]:
    found = []
    while (event := framer.next()) is not None:
        if isinstance(event, LiteralAhead):
            framer.accept()
        else:
            assert isinstance(event, Frame)
            found.append((event.lines, [literal.data for literal in event.literals]))
    return found


@pytest.mark.parametrize("stream", STREAMS)
def test_whole_in_pieces_and_with_a_tail(stream: bytes) -> None:
    framer = Framer()
    framer.feed(stream)
    assert drain(framer) == STREAMS[stream]
    framer = Framer()
    found = []
    for at in range(len(stream)):
        framer.feed(stream[at:at + 1])
        found += drain(framer)
    assert found == STREAMS[stream]
    framer = Framer()
    framer.feed(stream + b"tail {5")
    assert drain(framer) == STREAMS[stream]
    assert framer.rest() == b"tail {5"


@pytest.mark.parametrize(("data", "whole"), [
    (b"a NOOP\r\n", True), (b"a NOOP\n", True), (b"\r\n", True), (b"\n", True), (b"\r\r\n", True),
    (b"a NOOP", False), (b"a NOOP\r", False), (b"a NOOP\r\nb", False), (b"a NOOP\r\nb NOOP\r\n", False),
    (b"a APPEND x {3}\r\n", False), (b"a LOGIN {1+}\r\n", False), (b"a X }\r\n", False),
    (b"a " + b"x" * 97 + b"\r\n", True), (b"a " + b"x" * 200 + b"\r\n", False)])
def test_one_line_alone_is_what_comes_of_it_by_pieces(data: bytes, whole: bool) -> None:
    alone, fed = Framer(line_limit=100), Framer(line_limit=100)
    frame = alone.whole(data)
    assert (frame is not None) == whole
    fed.feed(data)
    event = fed.next()
    if frame is None:
        assert repr(alone.next().__class__) == repr(event.__class__)
    else:
        assert isinstance(event, Frame)
        assert (frame.lines, frame.literals) == (event.lines, event.literals)
        assert not alone.midway
    assert alone.rest() == fed.rest()


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.lists(st.integers(1, 9), max_size=30))
def test_any_literals_in_any_pieces(texts: list[bytes], cuts: list[int]) -> None:
    stream = b"a X" + b"".join(b" {%d+}\r\n%s" % (len(text), text) for text in texts) + b"\r\n"
    framer = Framer()
    found = []
    at = 0
    for cut in [*cuts, len(stream)]:
        framer.feed(stream[at:at + cut])
        at += cut
        found += drain(framer)
    assert len(found) == 1
    assert found[0][1] == texts


def test_refused_literals() -> None:
    framer = Framer()
    framer.feed(b"a APPEND x {99}\r\nb NOOP\r\n")
    assert isinstance(framer.next(), LiteralAhead)
    framer.refuse()
    assert drain(framer) == [([b"b NOOP"], [])]
    framer.feed(b"c APPEND x {4+}\r\nabcd (x) {2+}\r\nyz tail\r\nd NOOP\r\n")
    assert isinstance(framer.next(), LiteralAhead)
    framer.refuse()
    assert drain(framer) == [([b"d NOOP"], [])]


def test_what_is_announced_beyond_all_limits_is_no_command() -> None:
    """RFC 9051 9: number64.  A client that has announced so much sends it, whatever it is told."""
    framer = Framer()
    framer.feed(b"a APPEND x {%d+}\r\nb EXPUNGE\r\n" % (2 ** 63 - 1))
    assert isinstance(framer.next(), LiteralAhead)
    framer.refuse()
    assert drain(framer) == []


def test_long_lines_are_skipped_and_memory_stays_bounded() -> None:
    framer = Framer(line_limit=100)
    for _ in range(1000):
        framer.feed(b"a NOOP " + b"x" * 1000)
        event = framer.next()
        assert event is None or isinstance(event, TooLong)
        assert len(framer._buffer) < 3000
    framer.feed(b"\r\nb NOOP\r\n")
    assert drain(framer) == [([b"b NOOP"], [])]


def test_a_sink_gets_the_octets() -> None:
    class Sink:
        data = b""

        def write(self, data: bytes) -> None:
            self.data += data

    sink = Sink()
    framer = Framer()
    framer.feed(b"a APPEND x {10+}\r\n01234")
    assert isinstance(framer.next(), LiteralAhead)
    framer.accept(sink)
    assert framer.next() is None
    assert sink.data == b"01234"
    framer.feed(b"56789\r\n")
    frame = framer.next()
    assert isinstance(frame, Frame)
    assert sink.data == b"0123456789"
    assert frame.literals[0].sink is sink
