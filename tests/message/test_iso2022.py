"""Japanese as it was sent before MIME, and still is: ISO 2022 in fields that nobody encoded.

The octets of its letters are those of quotes, backslashes, parentheses and commas.
"""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courierpy.message import Message, address, parameters
from courierpy.message.lexical import lettered, masked
from tests.message.searched import in_body, in_header, in_text

NAME = "山本 花子"
SIGNS = "“引用”、（括弧）＠，ー〈角〉；"           # each of them has an octet that means something in a field


def raw(text: str) -> bytes:
    return text.encode("iso2022_jp")


@pytest.mark.parametrize("name", [NAME, SIGNS, "㈱株", "山", f"Mr. {NAME} (x)"])
def test_names(name: str) -> None:
    spelled = raw(name) if "㈱" not in name else b"\x1b$B-j3t\x1b(B"
    field = b'%s <h@x.example>, "%s" <y@x.example>,z@x.example (%s), plain@x.example, %s: a@x.example;' % (
        (spelled,) * 4 if "(" not in name else (spelled.replace(b"(x)", b""), spelled, spelled, spelled[:-4]))
    found = address.parse(field)
    assert [local for _, _, local, host in found if host] == [b"h", b"y", b"z", b"plain", b"a"]
    assert [shown for shown, *_ in found[1:3]] == [spelled] * 2
    assert found[3] == (None, None, b"plain", b"x.example")
    assert (found[0][0] or b"").startswith(spelled[:10])


@pytest.mark.parametrize(("value", "wanted"), [
    # a quote or backslash in a letter that the sender took for one, and made a pair
    (b'"\x1b$B!\\"\x1b(B" <a@x.example>', [(b'\x1b$B!"\x1b(B', None, b"a", b"x.example")]),
    (b'"\x1b$B!\\\x1b(B \\"Al\\"" <a@x.example>', [(b'\x1b$B!\\\x1b(B "Al"', None, b"a", b"x.example")]),
    (b'"\x1b(I1\\2\x1b(B\\\\" <a@x.example>', [(b"\x1b(I1\\2\x1b(B\\", None, b"a", b"x.example")]),
    # what ends a run is missing: the address behind it is one
    (b"\x1b$B;3K\\ <a@x.example>, b@x.example",
     [(b"\x1b$B;3K\\", None, b"a", b"x.example"), (None, None, b"b", b"x.example")]),
    (b"\x1b$B;3K\\<a@x.example>", [(b"\x1b$B;3K\\", None, b"a", b"x.example")]),
    (b"\x1b$B;3 <a@x.example>, \x1b$B(K\x1b(B <b@x.example>",
     [(b"\x1b$B;3", None, b"a", b"x.example"), (b"\x1b$B(K\x1b(B", None, b"b", b"x.example")]),
    # blanks inside, other sets, shifts, an escape that is none
    (b"\x1b$B;3K\\ 2V@,\x1b(J <a@x.example>", [(b"\x1b$B;3K\\ 2V@,\x1b(J", None, b"a", b"x.example")]),
    (b"\x1b$(C10@,\x1b(B <a@x.example>", [(b"\x1b$(C10@,\x1b(B", None, b"a", b"x.example")]),
    (b"\x1b$)C\x0e10@,\x0f <a@x.example>", [(b"\x1b$)C\x0e10@,\x0f", None, b"a", b"x.example")]),
    (b"\x1b[1mEve\x1b[0m <a@x.example>", [(b"\x1b1mEve\x1b0m", None, b"a", b"x.example")]),
    # an address there is only in the octets of letters
    (b"\x1b$B<+@=>l\x1b(B", [(None, None, b"\x1b$B<+@=>l\x1b(B", b"")]),
])
def test_lists(value: bytes, wanted: list[address.Address]) -> None:
    if value.startswith(b"\x1b["):
        assert [one[1:] for one in address.parse(value)] == [one[1:] for one in wanted]
    else:
        assert address.parse(value) == wanted


def test_parameters() -> None:
    name, signs = raw(NAME.replace(" ", "")), raw(SIGNS)
    plain = parameters.content_type(b'Application/PDF (%s); name=%s.pdf; x="%s"; charset=us-ascii' % (
        signs, name, signs))
    assert plain == (b"application", b"pdf",
                     [(b"name", name + b".pdf"), (b"x", signs), (b"charset", b"us-ascii")])
    assert parameters.disposition(b'attachment; filename="%s.txt"; size=7' % signs) == (
        b"attachment", [(b"filename", signs + b".txt"), (b"size", b"7")])
    assert parameters.disposition(b"attachment; filename=%s" % signs) == (
        b"attachment", [(b"filename", signs)])


def test_what_is_told_and_found() -> None:
    message = Message(b"From: %s <h@x.example>\nSubject: Re: %s =?utf-8?q?=C3=A9t=C3=A9?= %s\n"
                      b'To: "%s" <t@x.example>\n\n'
                      b"%s\n%s\n" % (raw(NAME), raw(SIGNS), raw("会議"), raw(SIGNS), raw(SIGNS), raw(NAME)))
    assert b'(("%s" NIL "h" "x.example"))' % raw(NAME).replace(b"\\", b"\\\\") in message.envelope_bytes()
    assert message.envelope_bytes() == message.envelope_bytes(utf8=True)
    for name, text in ((b"from", NAME), (b"subject", "会議"), (b"subject", "été"), (b"subject", SIGNS[1:3]),
                       (b"to", "括弧")):
        assert in_header(message, name, text)
        assert in_text(message, text)
    assert message.first_shown(b"from") == NAME
    assert message.base_subject()[1]
    assert in_body(message, SIGNS)
    assert in_body(message, NAME)


def test_pages_and_what_another_charset_says() -> None:
    assert in_body(Message(b"Content-Type: text/html\n\n<p>%s</p>" % raw(NAME)), NAME)
    flowed = b"Content-Type: text/plain; format=flowed; delsp=yes\n\n%s \n%s\n"
    assert in_body(Message(flowed % (raw("引用"), raw("符号"))), "引用符号")
    colours = Message("Subject: \x1b[1mé\n\n\x1b[32mok\x1b(B é\n".encode())
    assert in_body(colours, "ok")
    assert in_body(colours, "é")
    assert not in_body(Message(b"Content-Type: text/plain; charset=utf-8\n\n" + raw("引用")), "引用")


PIECES = st.sampled_from([b"\x1b$B", b"\x1b(B", b"\x1b(I", b"\x1b$(", b"\x1b", b"\x0e", b"\x0f", b'"', b"\\",
                          b"(", b")", b"<", b">", b"@", b",", b";", b" ", b"\n", b"a@x", b"=", b"ab",
                          b"\xc3\xa9"])


@given(st.lists(PIECES, max_size=40).map(b"".join))
def test_any_octets(value: bytes) -> None:
    """Nothing moves, and each way to read them ends."""
    assert len(lettered(value)) == len(masked(value)) == len(value)
    for one in address.parse(value.replace(b"\n", b" ")):
        assert all(part is None or isinstance(part, bytes) for part in one)
    parameters.content_type(value)
    Message(b"From: %s\nSubject: %s\n\n%s" % ((value.replace(b"\n", b" "),) * 2 + (value,))).folded_body()


@pytest.mark.parametrize("shape", [b"\x1b$B", b"\x1b$B ", b"\x1b$B <", b"\x1b$B<", b"\x1b$Ba a", b"\x1b(B",
                                   b"\x0e", b"\x1b$B<a", b"\x1b$(", b"\x1b$B\\", b"<"])
def test_nothing_takes_long(shape: bytes) -> None:
    """What grew with the square would take hours."""
    for value in (shape * (100_000 // len(shape)), b'"\x1b$B' + shape[-1:] * 100_000):
        address.parse(value)
        parameters.content_type(b"text/plain; name=" + value)
