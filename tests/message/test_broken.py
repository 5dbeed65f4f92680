"""Mail as it is in the wild: what it is taken for, and that nothing of it breaks a reply."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from courierpy.message.message import Message, wire_form
from courierpy.message.mime import Limits
from courierpy.model.section import Section
from fuzz.oracles import read_back
from tests.message.searched import in_header, in_text


def shape(message: Message) -> object:
    """The tree as nested lists of subtypes; the inside of a message part behind it."""
    def of(part: object) -> object:
        inner = [of(child) for child in part.children]  # type: ignore[attr-defined]
        kind: str = part.subkind.decode()  # type: ignore[attr-defined]
        return [kind, *inner] if inner else kind
    return of(message.root)


def body(message: Message, *part: int) -> bytes | None:
    return message.section(Section(part))


def multipart(boundary: str, *parts: str, head: str = "", tail: str = "") -> str:
    lines = [f"Content-Type: multipart/mixed; boundary={boundary}", "", head]
    for part in parts:
        lines += [f"--{boundary.strip(chr(34))}", part]
    return "\n".join([*lines, f"--{boundary.strip(chr(34))}--", tail])


LEAF = "Content-Type: text/plain\n\none"


@pytest.mark.parametrize(("text", "wanted"), [
    # boundaries: quoted, with blanks, folded, in pieces, one the beginning of another
    (multipart('"a b"', LEAF), ["mixed", "plain"]),
    ("Content-Type: multipart/mixed;\n boundary=\n\t\"x\"\n\n--x\n\none\n--x--\n", ["mixed", "plain"]),
    ("Content-Type: multipart/mixed; boundary*0=a; boundary*1=b\n\n--ab\n\none\n--ab--\n",
     ["mixed", "plain"]),
    ("Content-Type: multipart/mixed; boundary*=us-ascii''a%62\n\n--ab\n\none\n", ["mixed", "plain"]),
    (multipart("x", multipart("xy", LEAF, LEAF), LEAF), ["mixed", ["mixed", "plain", "plain"], "plain"]),
    (multipart("xy", multipart("x", LEAF, LEAF), LEAF), ["mixed", ["mixed", "plain", "plain"], "plain"]),
    # delimiters: blanks behind them, the same one inside, none at the end, none at all
    ("Content-Type: multipart/mixed; boundary=x\n\n--x  \n\none\n--x-- \t\n", ["mixed", "plain"]),
    ("Content-Type: multipart/mixed; boundary=\"x \"\n\n--x \n\none\n--x --\n\n--x\n\ntwo",
     ["mixed", "plain"]),
    (multipart("x", multipart("x", LEAF, LEAF), LEAF), ["mixed", ["mixed", "plain", "plain"], "plain"]),
    ("Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x\n\ntwo", ["mixed", "plain", "plain"]),
    ("Content-Type: multipart/mixed; boundary=x\n\nnothing", "mixed"),
    ("Content-Type: multipart/mixed\n\n--x\n\none\n--x--\n", "mixed"),
    # an inner multipart that never ends is ended by the outer one
    (multipart("x", "Content-Type: multipart/mixed; boundary=y\n\n--y\n\none", LEAF),
     ["mixed", ["mixed", "plain"], "plain"]),
    # what stands before the first and behind the last delimiter is in no part
    (multipart("x", LEAF, head="--y\npreamble", tail="--x\n\nepilogue\n"), ["mixed", "plain"]),
    # parts of header only, of body only, of nothing
    ("Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: image/png\n--x\n\nbody\n--x\n--x--\n",
     ["mixed", "png", "plain", "plain"]),
    # messages in messages, a digest's own default, a part that only says that it is one
    ("Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nSubject: x\n\ny\n",
     ["rfc822", ["rfc822", "plain"]]),
    ("Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: a\n\nb\n--x\nContent-Type: text/html\n\n"
     "c\n--x--\n", ["digest", ["rfc822", "plain"], "html"]),
    ("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeAoKeQo=\n", "rfc822"),
    # content types that are none
    ("Content-Type: text\n\nx", "plain"), ("Content-Type: ;;;=\n\nx", "plain"),
    ("Content-Type: \n\nx", "plain"),
    ("Content-Type: text/html; charset; format=flowed\n\nx", "html"),
])
def test_trees(text: str, wanted: object) -> None:
    assert shape(Message(text.encode())) == wanted
    assert shape(Message(text.replace("\n", "\r\n").encode())) == wanted


def test_content_of_parts() -> None:
    message = Message(multipart("x", LEAF, "\n", "Subject: y", head="pre", tail="post\n").encode())
    assert [body(message, at) for at in (1, 2, 3, 4)] == [b"one", b"", b"", None]
    assert message.section(Section((1,), b"MIME")) == b"Content-Type: text/plain\r\n\r\n"
    assert message.section(Section((3,), b"MIME")) == b"Subject: y"
    assert message.section(Section((1,), b"HEADER")) is None
    assert body(message, 1, 1) is None


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n", b"x", b"Subject: x", b"Subject: x\n", b"\nbody\n",
                                  b"\0\0\0", b"\r", b"a: b\r\rc", b"a\xff: b\n\n\x80\n",
                                  b"From x\nA: b\n\nc"])
def test_little_is_served_whole(data: bytes) -> None:
    message = Message(data)
    header = message.section(Section((), b"HEADER"))
    text = message.section(Section((), b"TEXT"))
    assert header is not None
    assert text is not None
    assert header + text == body(message) == wire_form(data)
    assert message.size == len(wire_form(data))
    assert_grammatical(message)


def assert_grammatical(message: Message) -> None:
    """ENVELOPE and structures can be read back, whatever is in them."""
    for utf8 in (False, True):
        for told in (message.envelope_bytes(utf8), message.structure_bytes(extended=True, utf8=utf8),
                     message.structure_bytes(extended=False, utf8=utf8)):
            assert read_back(told) == 1


def hostile() -> Iterator[bytes]:
    evil = b'")\r\n* BYE x\r\n\0\x80\xff\\ {3}\r\n'
    for name in (b"Subject", b"From", b"To", b"Date", b"Message-ID", b"Content-Type", b"Content-ID",
                 b"Content-Disposition", b"Content-Transfer-Encoding", b"Content-Language", b"Content-MD5",
                 b"Content-Location", b"Content-Description"):
        for value in (evil, evil.replace(b"\r\n", b"\r\n "), b'"' + evil,
                      b"multipart/mixed; boundary=" + evil, b"text/plain; name*0*=" + evil,
                      b"attachment; x=" + evil, b"=?x?b?" + evil + b"?="):
            yield name + b": " + value + b"\n\nbody"


def test_no_text_ends_a_reply() -> None:
    for data in hostile():
        assert_grammatical(Message(data))


def test_300_levels() -> None:
    text = "\ndeep"
    for level in range(300):
        text = multipart(f"b{level}", text) if level % 2 else f"Content-Type: message/rfc822\n\n{text}"
    message = Message(text.encode())
    assert_grammatical(message)
    path = []
    part = message.root
    while part.children:
        if part.multipart:
            path.append(1)
        part = part.children[0]
    assert body(message, *path, 1) == b"deep"


def test_5000_parts() -> None:
    message = Message(multipart("x", *[f"\n{number}" for number in range(5000)]).encode())
    assert len(message.root.children) == 5000
    assert body(message, 5000) == b"4999"
    assert_grammatical(message)


def test_5000_parts_without_an_empty_line() -> None:
    message = Message(multipart("x", *["A: b"] * 5000).encode())
    assert len(message.root.children) == 5000
    assert message.section(Section((5000,), b"MIME")) == b"A: b"


def test_long_headers() -> None:
    people = b", ".join(b"p%d <p%d@example.org>" % (at, at) for at in range(8000))
    data = (b"To: " + people + b"\nSubject: " + b"w" * 200_000 + b"\n" + b"X-A: b\n" * 5000
            + b"Cc: last@x\n\nbody\n")
    message = Message(data)
    envelope = message.envelope_bytes()
    assert b" {200000}\r\nwww" in envelope
    assert b'((NIL NIL "last" "x"))' in envelope
    assert in_header(message, b"cc", "last")
    assert envelope.count(b'"example.org"') == 8000
    assert_grammatical(message)


def test_beyond_the_limits_the_bytes_are_served() -> None:
    text = multipart("x", *[f"\n{number}" for number in range(9)])
    message = Message(text.encode(), Limits(parts=4))
    assert len(message.root.children) == 3
    assert body(message, 3) is not None
    assert b"\r\n8\r\n" in (body(message, 3) or b"")
    deep = Message(multipart("x", multipart("y", multipart("z", LEAF))).encode(), Limits(depth=2))
    assert shape(deep) == ["mixed", "mixed"]
    assert b"--z" in (body(deep, 1) or b"")
    assert_grammatical(deep)
    wide = Message(b"Subject: a\n" + b"X: y\n" * 100 + b"To: b@c\n\nbody", Limits(header=60))
    assert wide.envelope_bytes() == b'(NIL "a"' + b" NIL" * 8 + b")"
    assert b"To: b@c" in (wide.section(Section((), b"HEADER")) or b"")


@pytest.mark.parametrize("data", [
    b"Content-Type: text/plain;" + b" " * 200_000 + b'"', b"Content-Type: text/plain; a" + b"\t" * 200_000,
    b"Content-Type: x/y" + b"; a=b" * 20_000, b"Content-Type: " + b"(" * 200_000,
    b"From: " + b"(" * 100_000, b"From: " + b"<" * 100_000, b"From: " + b'"' * 100_001,
    b"To: " + b"," * 100_000,
    b"Subject: " + b"[a]" * 50_000, b"Subject: " + b"[fwd:" * 40_000 + b"]" * 40_000,
    b"Subject: " + b"=?" * 100_000,
    b"Subject: " + b"Re: " * 50_000, b"Date: " + b"1 " * 100_000,
    b"References: " + b'<"' * 50_000, b"References: " + b"<a@b" * 50_000,
    b"Content-Type: text/html\n\n" + b"<script>" * 20_000, b"Content-Type: text/html\n\n" + b"<" * 200_000,
    b"Content-Type: text/plain; charset=punycode\n\n" + b"a-b" * 60_000,
])
def test_nothing_takes_long(data: bytes) -> None:
    """Work grows with the size, not with its square: the time limit of the tests would tell."""
    from courierpy.message.threads import message_ids
    message = Message(data)
    assert_grammatical(message)
    message.base_subject()
    message.sent_time()
    for value in message.header(b"references"):
        message_ids(value)
    assert not in_text(message, "nowhere to be found")


@pytest.mark.parametrize(("line", "wanted"), [
    ("J\u00f6rg <j@x>", b'(("=?utf-8?B?SsO2cmc=?=" NIL "j" "x"))'),
    ("J\u00f6rg <j\u00f6@x>",
     b'(("=?utf-8?B?SsO2cmcgasO2QHg=?=" NIL "invalid" "internationalized-address.invalid"))'),
    ("j\u00f6@x", b'(("=?utf-8?B?asO2QHg=?=" NIL "invalid" "internationalized-address.invalid"))'),
])
def test_downgraded_addresses(line: str, wanted: bytes) -> None:
    message = Message(f"From: {line}\n\n".encode())
    assert message.envelope_bytes() == b"(NIL NIL %s %s %s" % (wanted, wanted, wanted) + b" NIL" * 5 + b")"
    name = line.partition(" <")[0] if " <" in line else None
    assert message.envelope_bytes(True).startswith(b"(NIL NIL ((%s " % (
        f'"{name}"'.encode() if name else b"NIL"))
