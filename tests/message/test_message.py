"""Messages: against the email package for the well-formed, and bounds for the rest."""
from __future__ import annotations

import datetime
import email
import email.policy
import gc
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courierpy.message.message import Message, wire_form
from courierpy.model.section import Section
from tests.message import plain
from tests.message.searched import in_body, in_header, in_text

NAMED = (b"From: Ann <ann@example.org>\nSubject: =?utf-8?q?caf=C3=A9?=\nMIME-Version: 1.0\n"
         b"Content-Type: multipart/mixed; boundary=b\n\npreamble\n--b\n\nfirst\n--b\n"
         b"Content-Type: message/rfc822\n\nSubject: inner\n"
         b"Content-Type: multipart/alternative; boundary=c\n\n"
         b"--c\nContent-Type: text/plain\n\nplain\n--c\nContent-Type: text/html\n\n<b>html</b>\n--c--\n"
         b"--b--\nepilogue\n")


def body(message: Message, part: tuple[int, ...] = (), kind: bytes = b"",
         fields: tuple[bytes, ...] = ()) -> bytes:
    found = message.section(Section(part, kind, fields))
    assert found is not None
    return found


def test_sections() -> None:
    message = Message(NAMED)
    assert body(message) == wire_form(NAMED)
    assert body(message, (1,)) == b"first"
    assert body(message, (2, 1)) == b"plain"
    assert body(message, (2, 2)) == b"<b>html</b>"
    assert body(message, (2, 2), b"MIME") == b"Content-Type: text/html\r\n\r\n"
    assert body(message, (2,), b"HEADER").startswith(b"Subject: inner\r\n")
    assert body(message, (2,), b"TEXT").startswith(b"--c\r\n")
    assert body(message, (), b"HEADER.FIELDS", (b"subject",)) == b"Subject: =?utf-8?q?caf=C3=A9?=\r\n\r\n"
    assert b"Subject" not in body(message, (), b"HEADER.FIELDS.NOT", (b"subject",))
    for part in ((3,), (1, 1, 1), (2, 3), (2, 1, 2)):
        assert message.section(Section(part)) is None
    assert message.section(Section((1,), b"HEADER")) is None


def tree(message: EmailMessage) -> object:
    """The shape of a message as the email package sees it."""
    if message.is_multipart() and message.get_content_maintype() == "multipart":
        return [message.get_content_subtype(), *(tree(part) for part in message.iter_parts())]
    return f"{message.get_content_maintype()}/{message.get_content_subtype()}"


def shape(structure: tuple[object, ...]) -> object:
    """The same of a BODY value; a multipart begins with its parts."""
    first = structure[0]
    if isinstance(first, bytes):
        return f"{first.decode()}/{structure[1].decode()}"  # type: ignore[attr-defined]
    parts = first if isinstance(first, tuple) and first and isinstance(first[0], tuple) else structure[:-1]
    kind = next(item for item in structure if isinstance(item, bytes))
    return [kind.decode(), *(shape(part) for part in parts if isinstance(part, tuple))]


def build(spec: object) -> EmailMessage:
    message = EmailMessage(policy=email.policy.SMTP)
    if isinstance(spec, str):
        message.set_content(spec)
        return message
    assert isinstance(spec, list)
    message["Subject"] = "many"
    message.make_mixed()
    for inner in spec:
        message.attach(build(inner))
    return message


words = st.text(st.characters(codec="ascii", categories=("L", "N", "Zs")), min_size=1, max_size=20)
specs = st.recursive(words, lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=12)


@settings(max_examples=60)
@given(specs)
def test_parts_as_the_email_package_sees_them(spec: object) -> None:
    made = build(spec)
    data = made.as_bytes()
    message = Message(data)
    assert shape(plain.structure(message, extended=False)) == tree(made)
    assert message.size == len(body(message)) == len(wire_form(data))
    stack = [(made, ())]
    while stack:
        part, numbers = stack.pop()
        if part.get_content_maintype() == "multipart":
            stack += [(inner, (*numbers, at)) for at, inner in enumerate(part.iter_parts(), 1)]
        else:
            payload = part.get_payload()
            assert body(message, numbers or (1,)).replace(b"\r\n", b"\n").strip() == (
                payload.replace("\r\n", "\n").strip().encode())


@settings(max_examples=60)
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    message = Message(data)
    assert message.size == len(body(message))
    assert body(message, (), b"HEADER") + body(message, (), b"TEXT") == body(message)
    for told in (message.envelope_bytes(), message.structure_bytes(extended=False),
                 message.structure_bytes(extended=True)):
        assert told.startswith(b"(")
    in_text(message, "x")
    message.sent_day()


pieces = st.sampled_from([b"--b\n", b"--b--\n", b"--bb\n", b"--c\n", b"\n", b"text\n", b"--b",
                          b"Content-Type: message/rfc822\n\n", b" folded\n", b"\r\n", b"--c--\n",
                          b"Content-Type: multipart/mixed; boundary=c\n\n",
                          b"Content-Type: multipart/digest; boundary=bb\n\n"])


@settings(max_examples=150)
@given(st.lists(pieces, max_size=30))
def test_any_delimiters(lines: list[bytes]) -> None:
    message = Message(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"".join(lines))
    assert message.structure_bytes(extended=True).startswith(b"(")
    assert message.section(Section((1,))) is not None


@pytest.mark.parametrize(("field", "wanted"), [
    (b"Ann <ann@example.org>", b'(("Ann" NIL "ann" "example.org"))'),
    (b'"A, B" <a@b>, c@d', b'(("A, B" NIL "a" "b")(NIL NIL "c" "d"))'),
    (b"ann@example.org (Ann)", b'(("Ann" NIL "ann" "example.org"))'),
    (b"group: a@b, c@d;", b'((NIL NIL "group" NIL)(NIL NIL "a" "b")(NIL NIL "c" "d")(NIL NIL NIL NIL))'),
    (b"undisclosed-recipients:;", b'((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL))'),
    (b"<@a,@b:c@d>", b'((NIL "@a,@b" "c" "d"))'),
])
def test_addresses(field: bytes, wanted: bytes) -> None:
    envelope = Message(b"From: " + field + b"\n\n").envelope_bytes()
    assert envelope.startswith(b"(NIL NIL " + wanted + b" " + wanted)


def test_dates() -> None:
    day = Message(b"Date: Wed, 31 Dec 2025 23:59:00 -1200\n\n").sent_day()
    assert day is not None
    assert datetime.date.fromordinal(day) == datetime.date(2025, 12, 31)
    for text in (b"", b"nonsense", b"99 Foo 2020", b"Mon, 32 Jan 2020 00:00:00 +0000"):
        assert Message(b"Date: " + text + b"\n\n").sent_day() is None


def test_search_in_text() -> None:
    message = Message(NAMED)
    assert in_header(message, b"subject", "CAFÉ")
    assert in_body(message, "HTML")
    assert not in_body(message, "<b>")
    assert in_text(message, "ann@EXAMPLE")
    assert not in_body(message, "ann@")


def test_a_message_leaves_nothing_for_the_collector() -> None:
    """Sessions run without it."""
    data = (b"Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--a\nContent-Type: message/rfc822\n\n"
            b"Subject: y\n\nz\n--a--\n")
    gc.collect()
    gc.disable()
    try:
        message = Message(data)
        assert message.structure_bytes(True)
        assert message.section(Section((2,), b"HEADER")) == b"Subject: y\r\n\r\n"
        del message
        assert gc.collect() == 0
    finally:
        gc.enable()
