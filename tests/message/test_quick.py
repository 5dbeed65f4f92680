"""The quick ways give what the plain ones give: addresses, parameters, replies, folded texts."""
from __future__ import annotations

import email.utils
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from courierpy.message import (
    address,
    collation,
    decode,
    headers,
    parameters,
)
from courierpy.message import (
    dateheader as sent,
)
from courierpy.message import (
    searchtext as folded,
)
from courierpy.message.charsets import charset_text
from courierpy.message.collation import _UNSEEN, fold, key
from courierpy.message.lexical import masked
from courierpy.message.message import Message, wire_form
from courierpy.message.mime import Limits, Part
from courierpy.message.transfer import Base64Decoder, base64
from courierpy.model.section import Section
from tests.message import plain
from tests.message.searched import everything, in_header, texts


def joined(*pieces: bytes, size: int = 20) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(pieces), max_size=size).map(b"".join)


ADDRESSES = joined(b"ann", b"bob ", b"  ", b"\t", b'"', b'"A, B" ', b"\\", b"<", b">", b"<a@b>", b"c@d",
                   b"@", b",", b"e.", b".",
                   b", ", b"(x)", b"(", b":", b";", b"[1.2]", b"\xc3\xa9", b"=?utf-8?q?x?=")


@settings(max_examples=400)
@given(ADDRESSES)
@example(b'Ann Lee <a@b>, "Lee, Ann" <a@b>, a@b')
@example(b'"  " <a@b>')
@example(b'"" <a@b>,')
def test_usual_addresses(value: bytes) -> None:
    assert address.parse(value) == address._Parser(value).run()


PARAMETERS = joined(b"; ", b";", b"a=b", b"charset=utf-8", b'name="a b"', b'""', b"name=", b'"', b"\\",
                    b" ", b"\t", b"=",
                    b"a*=x''%e9", b"a*0=b", b"a*1*=%c3", b"(c)", b"(", b")", b"A=B; ", b'; B="c"; ', b",",
                    b":", b"\\")


@settings(max_examples=400)
@given(PARAMETERS)
@example(b'; charset="utf-8"; format=flowed')
def test_plain_parameters(text: bytes) -> None:
    assert parameters.parameters(text) == parameters._joined(
        list(parameters._Parameters(text, 0, masked(text))))


LETTERS = st.text(st.sampled_from(
    "aAzZ \t\n\x1c\xa0\xad\u2028\u200b\xa8\xb4\u1fed\xdf\xe9\xc9\u0301\u0308\u0390\u03b9\u01c6\ufb00\u017f"
    "\u0131\u0130\u10d0\u0436\u0439\u65e5\uff21\U0001f600") | st.characters(), max_size=12)


@settings(max_examples=400)
@given(st.lists(LETTERS, min_size=1, max_size=8), st.sampled_from(
    ["x y ", "Wort  ", "\n", "\u0421\u043b\u043e\u0432\u043e \xa0", "\u0439\xad\u0451 \u2026 \u2116\u043e\t",
     "\u03ac\u03b1\u03c2 ", "\u05e9\u05dc\u05d5\u05dd ", "\u0623\u0627\u062a\xe9 "]))
@example(["\u0390\u03b9"], "x y ")                # one becomes what the other is, and is not folded twice
@example(["\ud800\xe9"], "x y ")
@example([" \xa8 \xa0"], "x y ")
@example([" \xb4 \xad\xa0"], "\u0421\u043b\u043e\u0432\u043e ")
def test_letters_are_folded_one_by_one(pieces: list[str], between: str) -> None:
    """A text with few letters beyond ASCII, as the table folds it."""
    text = (between * 60).join(["", *pieces, ""])
    found = text.translate(collation._FOLDED)
    while "\n\n" in found:
        found = found.replace("\n\n", "\n")
    assert fold(text) == found.replace("\n", " ")


@given(joined(b"QUJD", b"RA", b"=", b"==", b" ", b"\r\n", b"*", b"x"))
def test_base64_at_once(octets: bytes) -> None:
    assert base64(octets) == Base64Decoder().decode(octets, final=True)


HEADER = joined(b"Subject: x\n", b"subject : again\n", b"From: A <a@b>\n", b"To: a@b,\n c@d\n", b"TO: e@f\n",
                b"Cc: \xc3\xa9 <a@b>\n", b"Date: Mon, 1 Jan 2024 10:00:00 +0100\n", b"Date: x\r\n",
                b" folded\n",
                b"\tfolded\r\n", b"no colon\n", b"A:\n", b"A:  two\n", b"X: \0\n", b"X: \r \n",
                b"X: =?utf-8?q?=C3=A9?=\n",
                b"Content-Type: text/html; charset=latin1\n", b"Content-Type: message/rfc822\n", b" \n",
                b"Content-Type: multipart/mixed; boundary=b\n",
                b"Content-Type: multipart/digest; boundary=\"bb\"\n",
                b"Content-Type: text/plain; name*=utf-8''%c3%a9%0a\n", b"Content-Transfer-Encoding: BASE64\n",
                b"Content-Transfer-Encoding: quoted-printable\n", b"Content-Language: en, de\n",
                b"Content-Disposition: attachment; filename=\"a\\\"b\"\n", b"Content-ID: <x@y>\n", size=6)
BODY = joined(b"--b\n", b"--b\r\n", b"--b--\n", b"--bb\n", b"--bb--\n", b"--b \t\n", b"--b\r", b"--b",
              b"\n", b"\r\n", b"\r",
              b"text \t\n", b"<b>x</b>&nbsp;y<style>z</style>\n", b"=C3=A9=\n", b"w6k=\n", b"QQ==\nQQ",
              b"\xe9\n", b"\0",
              b"Content-Type: multipart/mixed; boundary=b\n\n",
              b"Content-Type: multipart/mixed; boundary=bb\n\n",
              b"Content-Type: message/rfc822\n\n", b"Subject: inner\nFrom: a@b\n\n")
MESSAGES = st.tuples(HEADER, st.sampled_from([b"\n", b"\r\n", b""]), BODY).map(b"".join)
LIMITS = st.none() | st.builds(Limits, st.integers(1, 5), st.integers(1, 4),
                               st.sampled_from([10, 40, 100, 400]))


def made(data: bytes, limits: Limits | None) -> Message:
    return Message(data) if limits is None else Message(data, limits)


@settings(max_examples=300)
@given(MESSAGES, LIMITS)
def test_replies(data: bytes, limits: Limits | None) -> None:
    message = made(data, limits)
    for utf8 in (False, True):
        assert made(data, limits).envelope_bytes(utf8) == plain.render(plain.envelope(message, utf8), utf8)
        for extended in (False, True):
            assert message.structure_bytes(extended, utf8) == plain.render(
                plain.structure(message, extended, utf8), utf8)
    assert message.size == len(wire_form(data))


@settings(max_examples=300)
@given(MESSAGES)
def test_line_ends_make_no_difference(data: bytes) -> None:
    """A file is served the same with LF as with the CRLF that its client sent."""
    one, two = Message(data), Message(wire_form(data))
    assert one.envelope_bytes() == two.envelope_bytes()
    assert one.structure_bytes(extended=True) == two.structure_bytes(extended=True)
    assert [(part.kind, part.subkind) for part in one.root.walk()] == [
        (part.kind, part.subkind) for part in two.root.walk()]
    for part in ((1,), (2,), (1, 1), (2, 1)):
        for kind in (b"", b"MIME", b"HEADER", b"TEXT"):
            assert one.section(Section(part, kind)) == two.section(Section(part, kind))
    assert list(texts(one)) == list(texts(two))
    assert sorted(everything(one).split("\n")) == sorted(everything(two).split("\n"))


def meant(part: Part) -> Iterator[str]:
    """The texts of parameters by RFC 2231."""
    found = parameters.disposition(part.known.get(b"content-disposition", b""))
    for name, value in part.params + (found[1] if found is not None else []):
        if name.endswith(b"*"):
            pieces = value.split(b"'", 2)
            charset = pieces[0].decode("ascii", "replace") if len(pieces) == 3 else ""
            yield charset_text(unquote_to_bytes(pieces[2] if len(pieces) == 3 else value), charset)


@settings(max_examples=300)
@given(MESSAGES, LIMITS)
def test_folded_texts(data: bytes, limits: Limits | None) -> None:
    message = made(data, limits)
    assert message.folded_body() == "\n".join([fold(text) for text in texts(message)])
    blocks = [message.block, *[part.block for part in message.root.walk() if part is not message.root]]
    wanted = {fold(f"{name.decode()}: {decode.words(value)}")
              for block in blocks for name, value in headers.fields(block)}
    wanted.update(message.folded_body().split("\n"))
    wanted.update(fold(text) for part in message.root.walk() for text in meant(part))
    assert set(everything(message).split("\n")) - {""} == wanted - {""}
    assert set(folded.lines(message.block).split("\n")) - {""} <= wanted
    addresses = message.folded_header(b"from")
    assert addresses is None or set(map(fold, map(decode.words, message.header(b"from")))) <= {
        *addresses.split("\n")}
    decoded = list(map(decode.words, message.header(b"subject")))
    assert message.folded_header(b"subject") == ("\n".join(map(fold, decoded)) if decoded else None)


@given(st.text(st.sampled_from("aZ \t\n\r\x0b\x1f\x85\xa0\u3000\u00ad\u200b\u00a8\u00e9\u00df\u01c6\ufb01")
               | st.characters(), max_size=30))
def test_folding(text: str) -> None:
    seen = "".join(char for char in text if ord(char) not in _UNSEEN)
    assert fold(text) == key(re.sub(r"\s+", " ", seen))
    assert "\n" not in fold(text)


@settings(max_examples=300)
@given(HEADER, st.frozensets(st.sampled_from([b"subject", b"to", b"a", b"x", b"content-type"]), min_size=1))
def test_chosen_fields(header: bytes, names: frozenset[bytes]) -> None:
    """A name that no field can have makes them be chosen line by line."""
    chosen = headers.raw_fields(header, 0, len(header), names, negate=False)
    assert chosen == headers.raw_fields(header, 0, len(header), names | {b"no name"}, negate=False)
    for name in names:
        assert headers.values(headers.block(header, 0, len(header)), name) == [
            value for own, value in headers.fields(headers.block(header, 0, len(header)))
            if own.lower() == name]


@given(joined(b"QUJD", b"Q", b"=", b"==", b"\n", b"\r\n", b" ", b"*", size=12))
def test_base64_with_any_line_ends(data: bytes) -> None:
    assert base64(data) == base64(wire_form(data))


@given(st.integers(0, 4_000_000_000), st.integers(-23, 23), st.booleans())
def test_sent(when: int, zone: int, seconds: bool) -> None:
    text = email.utils.format_datetime(email.utils.datetime.datetime.fromtimestamp(
        when, email.utils.datetime.timezone(email.utils.datetime.timedelta(hours=zone))))
    assert sent.moment(text.encode()) == when
    if seconds:
        assert sent.moment(re.sub(r":\d\d ", " ", text, count=1).encode()) == when - when % 60


def test_repeated_recipients_cost_no_squares() -> None:
    data = b"To: a@b\n" * 60_000 + b"\n"
    assert Message(data).envelope_bytes().count(b'"a"') == address.MOST


@pytest.mark.parametrize("name", [b"", b"a b", b"a:b", b"subject ", b"\xe9"])
def test_names_that_no_field_has(name: bytes) -> None:
    message = Message(b"a b: x\na:b: y\nsubject : z\n\xe9: w\n: v\n\n")
    assert message.header(name) == []
    assert not in_header(message, name, "")


def test_thread_ids() -> None:
    data = b"Message-ID: <a@b> <c@d>\nReferences: <e@f>\n <g@h>\nIn-Reply-To: <i@j>\n\n"
    assert Message(data).thread_ids() == (b"a@b", [b"e@f", b"g@h"])
    assert Message(b"In-Reply-To: <i@j> <k@l>\n\n").thread_ids() == (None, [b"i@j"])


@settings(max_examples=200)
@given(HEADER, st.frozensets(st.sampled_from([b"subject", b"to", b"a", b"x", b"content-type"]), min_size=1),
       st.booleans())
def test_large_headers_are_read_as_small_ones(header: bytes, names: frozenset[bytes], negate: bool) -> None:
    block = headers.block(header, 0, len(header))
    small = (headers.told(block), headers.fields(block), [headers.values(block, name) for name in names],
             headers.raw_fields(header, 0, len(header), names, negate))
    before = headers.LARGE_OCTETS
    headers.LARGE_OCTETS = 0
    try:
        assert small == (headers.told(block), headers.fields(block),
                         [headers.values(block, name) for name in names],
                         headers.raw_fields(header, 0, len(header), names, negate))
    finally:
        headers.LARGE_OCTETS = before
