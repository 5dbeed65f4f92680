"""What a list of messages shows of each.  RFC 8970 3.3."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courierpy.message import Message
from courierpy.message import preview as preview_module
from courierpy.message.preview import MOST, READ_CHARS, preview


def of(data: bytes) -> str:
    return preview(Message(data).root)


def plain(text: str) -> str:
    return of(b"Content-Type: text/plain; charset=utf-8\n\n" + text.encode())


def html(text: str) -> str:
    return of(b"Content-Type: text/html; charset=utf-8\n\n" + text.encode())


@pytest.mark.parametrize(("text", "shown"), [
    ("Hello  Bob,\n\nhow are\tyou?\n", "Hello Bob, how are you?"),
    ("", ""), ("  \n\n", ""),
    ("> old\n> text\n\nmy answer\n", "my answer"),
    ("On Mon, 1 Jan 2024, Ann wrote:\n> old\n\nYes.\n", "Yes."),
    ("On Monday the first of January 2024 at 10:00, Ann Example\n<ann@example.org> wrote:\n>> old\n\nYes.",
     "Yes."),
    ("Am Montag schrieb Ann:\n\n> alt\nJa.", "Ja."),
    ("I say:\nno\n> old", "I say: no"),
    ("Mine.\n\n-----Original Message-----\nFrom: Ann\nold\n", "Mine."),
    ("Mine.\n-- \nBob\nThe Company", "Mine."),
    ("> only\n> quoted", "only quoted"),
    ("Title\n=======\n\n* * *\ntext ----- more", "Title * * * text more"),
    ("-----BEGIN PGP MESSAGE-----\n\nhQEMA\n", ""),
    ("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nsigned\n-----BEGIN PGP SIGNATURE-----\nx",
     "signed BEGIN PGP SIGNATURE x"),
    ("a\x00b\x1bc\x7fd", "a b c d"),
    ("<html><head><style>p { color: red }</style></head><p>Page in a plain part", "Page in a plain part"),
    ("1 < 2 and <b> is a tag", "1 < 2 and <b> is a tag"),
])
def test_plain_text(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(("text", "shown"), [
    ("<html><head><title>T</title><style>a{}</style></head><body><p>One</p><p>two&amp;three</p>",
     "One two&three"),
    ("<body><script>x()</script><!-- no -->Seen <b>b</b>old <a href='http://x'>link</a>", "Seen bold link"),
    ("<div>Mine</div><blockquote type=cite>old <blockquote>older</blockquote> old</blockquote>more",
     "Mine more"),
    ('<div>Mine</div><div class="gmail_quote">On Monday Ann wrote:<blockquote>old', "Mine"),
    ("<blockquote>only quoted</blockquote>", "only quoted"),
    ("Offer" + "&nbsp;&zwnj;" * 50 + "<p>text", "Offer text"),
    ("<img src='cid:x' alt='logo'>", ""),
])
def test_pages(text: str, shown: str) -> None:
    assert html(text) == shown


ALTERNATIVE = (b"Content-Type: multipart/alternative; boundary=x\n\n--x\n"
               b"Content-Type: text/html\n\n<p>page</p>\n"
               b"--x\nContent-Type: text/plain\n\n%s\n--x--\n")


def test_the_plain_one_of_alternatives_unless_it_is_empty() -> None:
    assert of(ALTERNATIVE % b"plain") == "plain"
    assert of(ALTERNATIVE % b"") == "page"
    assert of(ALTERNATIVE % b"> quoted") == "page"


def test_parts() -> None:
    mixed = (b"Content-Type: multipart/%s; boundary=y\n\n--y\n%s\n--y\n"
             b"Content-Type: text/plain\n\ntext\n--y--\n")
    assert of(mixed % (b"mixed", b"Content-Type: image/png\n\nx")) == "text"
    attached = b"Content-Type: text/plain\nContent-Disposition: ATTACHMENT; filename=a.txt\n\nattached"
    assert of(mixed % (b"mixed", attached)) == "text"
    assert of(mixed % (b"mixed", b"Content-Type: message/rfc822\n\nSubject: s\n\ninner")) == "inner"
    assert of(mixed % (b"encrypted", b"Content-Type: application/pgp-encrypted\n\nVersion: 1")) == ""
    assert of(b"Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: base64\n\nAAAA\n") == ""
    assert of(b"Content-Type: image/png\n\nAAAA\n") == ""


def test_encodings() -> None:
    head = b"Content-Type: text/plain; charset=%s%s\nContent-Transfer-Encoding: %s\n\n"
    assert of(head % (b"iso-8859-1", b"", b"quoted-printable") + b"Gr=FC=DFe =\nall") == "Gr\xfc\xdfe all"
    assert of(head % (b"utf-8", b"", b"base64") + b"R3LDvMOfZQ==") == "Gr\xfc\xdfe"
    assert of(head % (b"utf-8", b"; format=flowed", b"7bit") + b"one \ntwo\n> old \n> text\n") == "one two"
    assert of(b"\nno header at all \xfc") == "no header at all \xfc"


def test_it_is_cut_by_characters() -> None:
    assert plain("\U0001f600" * 300) == "\U0001f600" * MOST
    assert plain("word " * 100) == ("word " * 100)[:MOST].strip()


def test_a_head_of_styles_hides_nothing() -> None:
    assert html("<html><head><style>" + "a{} " * 20_000 + "</style></head><body>text") == "text"


@pytest.mark.parametrize("text", ["<blockquote>" * 100_000, ">" * READ_CHARS, "\n" * READ_CHARS,
                                  "\u200b" * 90_000, "<" * READ_CHARS,
                                  "=" * READ_CHARS,
                                  "x:\n>y\n" * 40_000, "a " * 200_000])
def test_long_ones(text: str) -> None:
    assert len(plain(text)) <= MOST
    assert len(html(text)) <= MOST


@given(st.text(max_size=500) | st.text("<>-=: \n\rab/&;", max_size=500))
def test_whatever_stands_there(text: str) -> None:
    octets = text.encode("utf-8", "replace")
    for shown in (of(b"\n" + octets), html(octets.decode())):
        assert len(shown) <= MOST
        assert not set("\0\r\n\t\x1b") & set(shown)
        shown.encode()


LINES = st.lists(st.sampled_from([
    "Hello there, how are you?", "", "   ", "> quoted words", ">> more of them", "On Monday Ann wrote:",
    "see below:", "----", "*** * ***", "\u034f\u200c \u034f\u200c", "a", "one two three four five six seven",
    "a long line that goes on and on, and then a bit further, to an end", "-- ", "\u00ad", "x=y; ~~~~~ z",
    "----- Original Message -----"]), max_size=40)


@given(LINES)
def test_what_is_shown_does_not_hang_on_how_far_is_looked(lines: list[str]) -> None:
    """A text is looked at from its beginning, and only as far as is needed."""
    text = "\n".join(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preview_module, "MOST", 40)
        patch.setattr(preview_module, "FIRST_CHARS", 1 << 20)
        whole = preview_module._of_text(text)
        patch.setattr(preview_module, "FIRST_CHARS", 20)
        patch.setattr(preview_module, "STEP_CHARS", 30)
        some = preview_module._of_text(text)
    assert some[0] == whole[0]
    if not some[0]:
        assert some == whole
