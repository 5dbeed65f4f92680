"""BINARY: a part without its transfer encoding, whole and by pieces; any octets as text.  RFC 3516."""
from __future__ import annotations

from binascii import b2a_base64, b2a_qp

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from courierpy.message import Message, binary
from courierpy.message.binary import Decoded, UnknownEncoding, storable
from courierpy.message.mime import parse

CONTENT = st.binary(max_size=300) | st.text("ab=\r\n \t\u00e9", max_size=200).map(str.encode)


def decoded(octets: bytes, encoding: bytes) -> Decoded:
    return Decoded(octets, 0, len(octets), encoding)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places are remembered often."""
    monkeypatch.setattr(binary, "MARK_OCTETS", 1)


@given(CONTENT, st.integers(0, 320), st.integers(0, 320))
def test_base64_comes_back_whole_and_by_pieces(content: bytes, skip: int, count: int) -> None:
    lines = [b2a_base64(content[at:at + 57]) for at in range(0, len(content), 57)]
    found = decoded(b"".join(lines), b"base64")
    assert (found.size, found.nul) == (len(content), b"\0" in content)
    assert b"".join(found.cut(0, None)) == content
    some = found.cut(skip, count)
    assert b"".join(some) == content[skip:skip + count] and len(some) == len(content[skip:skip + count])
    assert b"".join(some.cut(3, 5)) == content[skip:skip + count][3:8]


@given(CONTENT, st.integers(0, 320), st.integers(0, 320))
def test_quoted_printable_comes_back(content: bytes, skip: int, count: int) -> None:
    found = decoded(b2a_qp(content, istext=False), b"quoted-printable")
    assert b"".join(found.cut(0, None)) == content
    assert b"".join(found.cut(skip, count)) == content[skip:skip + count]


@pytest.mark.parametrize("encoding", [b"7bit", b"8bit", b"binary"])
def test_what_is_not_encoded_is_the_wire_form(encoding: bytes) -> None:
    found = decoded(b"a\nb\0c", encoding)
    assert (found.size, found.nul, b"".join(found.cut(1, 3))) == (6, True, b"\r\nb")


@pytest.mark.parametrize(("octets", "encoding"), [
    (b"QUJD*QUJD", b"base64"), (b"QUJDR", b"base64"), (b"QUI=QUI=", b"base64"), (b"QUI===", b"base64"),
    (b"QUJD\n_____\nfooter\n", b"base64"), (b"QU=", b"base64"), (b"Q===", b"base64"),
    (b"=XY", b"quoted-printable"), (b"a=3", b"quoted-printable"), (b"a==41", b"quoted-printable"),
    (b"abc", b"x-uuencode"), (b"", b"uuencode")])
def test_nothing_is_guessed(octets: bytes, encoding: bytes) -> None:
    with pytest.raises(UnknownEncoding):
        decoded(octets, encoding)


@pytest.mark.parametrize(("octets", "encoding", "content"), [
    (b"QUI", b"base64", b"AB"), (b" Q U\tI=\n\n", b"base64", b"AB"), (b"", b"base64", b""),
    (b"a =\nb=", b"quoted-printable", b"a b"), (b"=c3=9f  \nx", b"quoted-printable", b"\xc3\x9f\r\nx")])
def test_what_is_plain_all_the_same(octets: bytes, encoding: bytes, content: bytes) -> None:
    assert b"".join(decoded(octets, encoding).cut(0, None)) == content


def multipart(*parts: bytes) -> bytes:
    return (b"Content-Type: multipart/mixed; boundary=xx\r\nContent-Transfer-Encoding: binary\r\n\r\n"
            + b"".join([b"--xx\r\n" + part + b"\r\n" for part in parts]) + b"--xx--\r\n")


def part(content: bytes, kind: bytes = b"image/png") -> bytes:
    return b"Content-Type: %s\r\ncontent-transfer-encoding: binary\r\n\r\n%s" % (kind, content)


OCTETS = st.binary(max_size=200).filter(lambda octets: b"--xx" not in octets)


@given(st.lists(OCTETS, min_size=1, max_size=3))
@example([b"\0", b"plain\r\n", b"\n"])
@example([b"a\r", b"\nb"])
def test_any_octets_come_back_as_they_were_appended(contents: list[bytes]) -> None:
    data = multipart(*map(part, contents))
    pieces = storable(data, parse(data))
    stored = data if pieces is None else b"".join(pieces)
    assert b"\0" not in stored and stored.count(b"\n") == stored.count(b"\r\n") == stored.count(b"\r")
    for message in (Message(stored), Message(stored.replace(b"\r\n", b"\n"))):
        assert message.root.subkind == b"mixed" and len(message.root.children) == len(contents)
        for number, content in enumerate(contents, 1):
            found = message.decoded((number,))
            assert found is not None and b"".join(found.cut(0, None)) == content


def test_what_is_text_stays_as_it_came() -> None:
    for data in (multipart(part(b"text\r\n")), b"A: b\r\n\r\n\xff\r\n", b"", b"A: b"):
        assert storable(data, parse(data)) is None


def test_headers_say_what_the_parts_are_then() -> None:
    data = multipart(part(b"\0"), part(b"text"), part(part(b"\n"), b"message/rfc822"))
    stored = b"".join(storable(data, parse(data)) or [])
    root = Message(stored).root
    assert [each.encoding for each in root.walk()] == [b"8bit", b"base64", b"binary", b"8bit", b"base64"]
