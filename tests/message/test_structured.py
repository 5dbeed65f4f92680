"""Structured MIME fields and Date: comments, blanks, pieces, and what breaks the grammar."""
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courierpy.message import dateheader, parameters
from courierpy.message.lexical import comments, masked
from courierpy.message.message import Message


def pairs(**values: str) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in values.items()]


@pytest.mark.parametrize("value", [
    "image/png; name=map.png; x-scale=3",
    "image/png;name=map.png;x-scale=3",
    " image / png ; name = map.png ; x-scale = 3 ; ",
    "(a) image (b) / (c) png (d) ; (e) name (f) = (g) map.png (h) ; (i) x-scale (j) = (k) 3 (l)",
    "image/png; (a (nested) one) name=map.png; x-scale=3",
    'image/png; (with a " and \\) in it) name="map.png" (so); x-scale=3',
    "image/png\t;\tname=map.png;;; ; x-scale=3",
    "IMAGE/PNG; NAME=map.png; X-Scale=3",
    # what breaks the grammar
    '"image/png"; name=map.png; x-scale=3', '"image"/"png"; name=map.png; x-scale=3',
    "image/png name=map.png x-scale=3", "image/png, name=map.png, x-scale=3",
    "image/png: name=map.png; x-scale=3", "image/png; name:map.png; x-scale:3",
    'image/png; name="map.png" x-scale="3"', 'image/png; name "map.png"; x-scale "3"',
    'image/png; "name"="map.png"; "x-scale"=3', 'image/png; name="map.png"x-scale="3"',
    'image/png; name="map".png; x-scale=3', 'image/png; name=map.png"; x-scale=3"',
    'image/png; name=\\"map.png\\"; x-scale=3', 'image/png; x-scale=3; name="map.png\\"',
    "image/png; = ; name=map.png; lonely; x-scale=3", 'image/png; "lonely; one"; name=map.png; x-scale=3',
    'image/png; name="map.png; x-scale=3', 'image/png; name="map.png""; x-scale=3',
    "image/png; name=map.png, ; x-scale=3,", "image/png/x; name=map.png; x-scale=3",
])
def test_one_type_in_many_spellings(value: str) -> None:
    kind, subkind, found = parameters.content_type(value.encode())
    assert (kind, subkind) == (b"image", b"png")
    assert sorted(found) == [(b"name", b"map.png"), (b"x-scale", b"3")]


@pytest.mark.parametrize(("value", "wanted"), [
    ("; name=a.pdf", "text/plain"), ("name=a.pdf", "text/plain"), ("/; name=a.pdf", "text/plain"),
    ("text; name=a.pdf", "text/plain"), ("text/; name=a.pdf", "text/plain"),
    ("/html; name=a.pdf", "text/plain"),
    ('"text"; name=a.pdf', "text/plain"), ("pdf; name=a.pdf", "text/plain"),
    ("(none); name=a.pdf", "text/plain"),
    ("application; name=a.pdf", "application/octet-stream"),
    ("image (what?); name=a.pdf", "application/octet-stream"), ("multipart; name=a.pdf", "multipart/mixed"),
])
def test_a_type_that_is_none_keeps_the_name(value: str, wanted: str) -> None:
    kind, subkind, found = parameters.content_type(value.encode())
    assert b"%s/%s" % (kind, subkind) == wanted.encode()
    assert found == [(b"name", b"a.pdf")]


@pytest.mark.parametrize(("value", "wanted"), [
    # names without quotes keep their blanks, parentheses and signs
    ("filename=my report (3).pdf", "my report (3).pdf"), ("filename=report(3).pdf", "report(3).pdf"),
    ("filename=report.pdf (final)", "report.pdf"), ("filename=a=b, c.txt", "a=b, c.txt"),
    ("filename=[a]/<b>@c?.txt", "[a]/<b>@c?.txt"), ("filename='a b'", "'a b'"),
    ("filename=a b c=d.txt", "a b c=d.txt"),
    # quotes inside, escapes, none that close
    ('filename="a \\"b\\" c"', 'a "b" c'), ('filename="a "b" c.txt"', 'a "b" c.txt'),
    ('filename="a;b,c.txt"', "a;b,c.txt"), ('filename="a b', "a b"), ('filename=""', ""), ("filename=", ""),
    ('filename="(c) 2024.txt"', "(c) 2024.txt"),
    # encoded words are the client's to decode
    ("filename==?utf-8?q?a_b?= =?utf-8?q?c?=", "=?utf-8?q?a_b?= =?utf-8?q?c?="),
])
def test_names_of_files(value: str, wanted: str) -> None:
    for tail in ("", "; size=3", " ; size=3"):
        told = parameters.disposition(f"attachment; {value}{tail}".encode())
        assert told is not None
        assert told[1][0] == (b"filename", wanted.encode())
        assert told[1][1:] == ([(b"size", b"3")] if tail else [])


@pytest.mark.parametrize(("value", "wanted"), [
    ("a=1; name*=utf-8'en'%e2%82%ac%20x; b=2", [("a", "1"), ("name*", "utf-8'en'%e2%82%ac%20x"), ("b", "2")]),
    ("name*0*=utf-8'de'%c3; name*1*=%a4; name*2*=.txt", [("name*", "utf-8'de'%c3%a4.txt")]),
    ('name*0="one "; name*1="two"; a=1', [("name", "one two"), ("a", "1")]),
    ("name*1=b; a=1; name*0=a", [("name", "ab"), ("a", "1")]),
    ("name*0*=utf-8''a%20; name*1=\"50% b;c\"", [("name*", "utf-8''a%2050%25%20b%3Bc")]),
    ("name*0=a; name*1*=%41", [("name*", "''a%41")]),
    ("NAME*0*=x''a; Name*1=b", [("name*", "x''ab")]),
    ("name *=x''a; b * = ''c", [("name*", "x''a"), ("b*", "''c")]),
    ("name *0=a; name *1=b", [("name", "ab")]),
    # both forms, two of one name: each is told
    ("name=x; name*=utf-8''y", [("name", "x"), ("name*", "utf-8''y")]), ("a=1; a=2", [("a", "1"),
                                                                                      ("a", "2")]),
    # pieces that are no whole: as they stand
    ("name*1=b; name*2=c", [("name*1", "b"), ("name*2", "c")]),
    ("name*0=a; name*2=c", [("name*0", "a"), ("name*2", "c")]),
    ("name*0=a; name*0*=b; name*1=c", [("name*0", "a"), ("name*0*", "b"), ("name*1", "c")]),
    ("name*01=a; name*99999=b; *0=c; name**=d", [("name*01", "a"), ("name*99999", "b"), ("*0", "c"),
                                                 ("name**", "d")]),
])
def test_parameters_are_told_as_they_stand(value: str, wanted: list[tuple[str, str]]) -> None:
    assert parameters.parameters(b"; " + value.encode()) == [(name.encode(), text.encode())
                                                             for name, text in wanted]


def test_no_reply_is_larger_than_its_header() -> None:
    """Also with one long piece and many parameters of its name."""
    value = b"text/plain; a*0=" + b"x" * 50_000 + b"; a=1" * 10_000 + b"; a*1*=%41"
    assert len(Message(b"Content-Type: " + value + b"\n\n").structure_bytes(True)) < 4 * len(value)


@pytest.mark.parametrize(("text", "boundary", "charset"), [
    ("multipart/mixed; boundary*=us-ascii'en'a%20b", b"a b", ""),
    ("multipart/mixed; boundary*0*=''a%3D; boundary*1=\"%3D\"", b"a=%3D", ""),
    ("multipart/mixed; boundary*0=a; boundary*1=b", b"ab", ""),
    ("multipart/mixed; (x) boundary (y) = z", b"z", ""),
    ("text/plain; charset*=''koi8%2Dr", b"", "koi8-r"),
    ("text/plain; (a) charset=(b) koi8-r (c)", b"", "koi8-r"),
    ("text/plain; charset=utf-8, format=flowed", b"", "utf-8"),
])
def test_what_we_need_ourselves_is_decoded(text: str, boundary: bytes, charset: str) -> None:
    part = Message(b"Content-Type: " + text.encode() + b"\n\n").root
    assert (part.boundary, part.charset) == (boundary, charset)


@pytest.mark.parametrize(("value", "wanted"), [
    ("inline", '("inline" NIL)'), ("INLINE (here)", '("inline" NIL)'), ("(here) inline", '("inline" NIL)'),
    ('"inline"', '("inline" NIL)'), ("inline; filename=a", '("inline" ("filename" "a"))'),
    ("inline filename=a", '("inline" ("filename" "a"))'),
    ("inline, filename=a", '("inline" ("filename" "a"))'),
    ("inline: filename=a", '("inline" ("filename" "a"))'),
    ("; filename=a", '("attachment" ("filename" "a"))'),
    ("filename=a", '("attachment" ("filename" "a"))'),
    ("filename*=''a", "(\"attachment\" (\"filename*\" \"''a\"))"),
    ("", "NIL"), ("(nothing)", "NIL"),
])
def test_dispositions(value: str, wanted: str) -> None:
    data = f"Content-Type: image/gif\nContent-Disposition: {value}\n\n".encode()
    assert Message(data).structure_bytes(True) == b'("image" "gif" NIL NIL NIL "7bit" 0 NIL %s NIL NIL)' % (
        wanted.encode())


@pytest.mark.parametrize(("value", "wanted"), [
    ("en", '"en"'), ("en, de", '("en" "de")'), ("en (English), (Deutsch) de-AT", '("en" "de-AT")'),
    ("en de", '("en" "de")'), ("en;de", '("en" "de")'), ("en;q=0.9, de;q=1", '("en" "de")'),
    ('"en"', '"en"'), ("en,,de,", '("en" "de")'),
    ("(en)", "NIL"),
    ("", "NIL"),
])
def test_languages(value: str, wanted: str) -> None:
    data = f"Content-Type: image/gif\nContent-Language: {value}\n\n".encode()
    assert Message(data).structure_bytes(True).endswith(b"NIL NIL %s NIL)" % wanted.encode())


@pytest.mark.parametrize(("value", "wanted"), [
    ("BASE64", "base64"), ("(why) base64 (not)", "base64"), ('"base64"', "base64"), ("base64;", "base64"),
    ("(a (nested) one) quoted-printable", "quoted-printable"), ("", "7bit"), ("(base64)", "7bit"),
    ("x-uuencode", "x-uuencode"),
    ("8 bit", "8bit"), ("7-bit", "7bit"), ("Quoted Printable", "quoted-printable"), ("base_64", "base64"),
])
def test_encodings(value: str, wanted: str) -> None:
    assert Message(f"Content-Transfer-Encoding: {value}\n\n".encode()).root.encoding == wanted.encode()


@pytest.mark.parametrize("value", [
    "Tue, 5 Mar 2024 14:05:09 +0130", "5 Mar 2024 14:05:09 +0130", "Tue,5 Mar 2024 14:05:09+0130",
    "(sent) Tue (2nd week), 5 (fifth) Mar (3) 2024 (leap) 14 (h) : 05 (m) : 09 (s) +0130 (zone)",
    "(1 Jan 1999) Tue, 5 Mar 2024 14:05:09 +0130", "Tue, 5 March 2024 14:05:09 +0130 (a (nested) one)",
    "Tue, 5 Mar 24\t14 : 05 : 09\t+0130",
])
def test_dates_with_comments(value: str) -> None:
    for text in (value, value.replace(" ", "\n ")):
        message = Message(f"Date: {text}\n\n".encode())
        assert message.sent_time() == 1709642109.0
        assert message.sent_day() == dateheader.day(b"5 Mar 2024")


def test_empty_is_not_absent() -> None:
    empty = Message(b"Date:\nSubject: \t\nIn-Reply-To:\n \nMessage-ID:\nFrom:\nTo: \nSender:\n\n")
    absent = Message(b"X: y\n\n")
    assert empty.envelope_bytes() == b'("" "" NIL NIL NIL NIL NIL NIL "" "")'
    assert absent.envelope_bytes() == b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"


def test_the_first_field_that_says_something_counts() -> None:
    message = Message(b"Subject:\nSubject: b\nSubject: c\nDate: \nDate: 5 Mar 2024 14:05:09 +0130\n"
                      b"Content-Type:\nContent-Type: text/html\n\n")
    assert message.envelope_bytes().startswith(b'("5 Mar 2024 14:05:09 +0130" "b" ')
    assert message.base_subject() == ("B", False)
    assert message.sent_time() == 1709642109.0
    assert message.root.subkind == b"html"


WORDS = st.lists(st.sampled_from([b"(", b")", b'"', b"\\", b"a", b" ", b"(x)", b'"("', b"\\("]),
                 max_size=24).map(b"".join)


@settings(max_examples=300)
@given(WORDS)
def test_comments_are_whole(value: bytes) -> None:
    last = 0
    for start, end in comments(value).items():
        assert last <= start < end <= len(value)
        assert value[start:start + 1] == b"("
        assert value[end - 1:end] == b")"
        last = end
    assert len(masked(value)) == len(value)


@pytest.mark.parametrize(("value", "moment"), [
    # RFC 850, asctime(3) with a zone and without, the month first, ISO 8601
    ("Tue, 5-Mar-2024 12:35:09 GMT", 1709642109), ("Tuesday, 05-Mar-24 12:35:09 GMT", 1709642109),
    ("Tue Mar  5 12:35:09 2024", 1709642109), ("Tue Mar 5 12:35:09 EST 2024", 1709660109),
    ("Tue Mar 05 12:35:09 +0100 2024", 1709638509), ("Mar 5, 2024 12:35:09 +0000", 1709642109),
    ("March 5 2024", 1709596800), ("2024-03-05T12:35:09Z", 1709642109),
    ("2024-03-05 12:35:09.25 +01:00", 1709638509), ("2024-03-05", 1709596800),
    # zones and times as some write them
    ("Tue, 5 Mar 2024 12:35:09 -500", 1709660109), ("Tue, 5 Mar 2024 12:35:09 +01:00", 1709638509),
    ("Tue, 5 Mar 2024 12.35.09 +0000", 1709642109), ("Tue, 5 Mar 2024 12:35:09-0500", 1709660109),
    # no days
    ("2024-13-05", None), ("Mar 32, 2024", None), ("Tue Foo 5 12:35:09 2024", None), ("5 UTC 2024", None),
])
def test_dates_of_other_forms(value: str, moment: int | None) -> None:
    assert dateheader.moment(value.encode()) == moment
    assert (dateheader.day(value.encode()) is None) == (moment is None)


@pytest.mark.parametrize("shape", ["a", "a ", "1", "1 ", "Jan ", "Jan 1 ", "1 Jan ", "2024-", "1:", " ", ":"])
def test_no_date_takes_long(shape: str) -> None:
    """As many as fit into a header; what grew with the square would take hours."""
    dateheader.moment(shape.encode() * ((1 << 20) // len(shape)))


@pytest.mark.parametrize("unit", [b"; a=b", b'; a="b c"', b"; a*0=b", b' a="b"c', b"; (a) b=c"])
def test_the_beginning_of_an_endless_field_is_read(unit: bytes) -> None:
    value = b"text/html; charset=utf-8" + unit * 100_000
    kind, subkind, pairs = parameters.content_type(value)
    assert (kind, subkind, pairs[0]) == (b"text", b"html", (b"charset", b"utf-8"))
    assert (kind, subkind, pairs) == parameters.content_type(value[:parameters.MOST_OCTETS])
    assert sum(len(name) + len(text) for name, text in pairs) < parameters.MOST_OCTETS
    assert parameters.disposition(value.replace(b"text/html", b"inline", 1)) is not None
    assert len(parameters.languages(b"en, " * 100_000)) <= parameters.MOST_OCTETS // 4
