"""What SEARCH finds, and what it does not."""
from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from courierpy.message import transfer
from courierpy.message.flowed import FlowedDecoder
from courierpy.message.htmltext import HIDDEN, HtmlDecoder, html_text
from courierpy.message.message import Message
from tests.message.searched import in_body, in_header, in_text

# -- FROM, TO, CC, BCC: what ENVELOPE tells

FOUND = [
    # comments, white space, quotes and folding between the parts of an address
    ("ann(in Ghent)@(home)example.org", "ann@example.org"),
    ("ann.lee @ example . org", "ann.lee@example.org"),
    ("Ann <ann @ example.org (x)>", "ann@example.org"),
    ('"ann.lee"@example.org', "ann.lee@example.org"),
    ("<@relay,@hub:ann@example.org>", "ann@example.org"),
    ("Ann\n <ann@\n example.org>", "ann@example.org"),
    # names: quoted letters, comments as names, encoded words in them
    ('"Ann \\"Red\\" Lee" <ann@example.org>', 'ann "red" lee'),
    ("ann@example.org (=?utf-8?q?J=C3=B6rg?=)", "j\u00f6rg ann@example.org"),
    ("ann@example.org (Ann (\\(n\\)e) Lee)", "ann@example.org"),
    ('"=?utf-8?q?J=C3=B6rg?=, X" (c) <j@example.org>', "j\u00f6rg, x"),
    # what always was found: the field as it stands
    ("friends: ann@example.org, (c) bob@example.org;", "friends: ann"),
    ("friends: ann@example.org, (c) bob@example.org;", "bob@example.org"),
    ("ann(in Ghent)@example.org", "in ghent"),
    ("Ann Lee <ann@example.org>, bob@example.net", "lee <ann@example.org>, bob"),
]


@pytest.mark.parametrize("field", ["From", "To", "CC", "bcc"])
@pytest.mark.parametrize(("value", "text"), FOUND)
def test_addresses(field: str, value: str, text: str) -> None:
    message = Message(f"X: y\n{field}: {value}\n\n".encode())
    assert in_header(message, field.lower().encode(), text)
    assert not in_header(message, b"subject", text)


def test_addresses_are_not_glued_together() -> None:
    message = Message(b"To: a(c)@example.org, b(d)@example.net\n\n")
    for text in ("example.org b@", "a@example.net", "a@b"):
        assert not in_header(message, b"to", text)


# -- transfer encodings

@pytest.mark.parametrize(("octets", "text"), [
    (b"a long=  \n word, another lo=\t\nng one", b"a long word, another long one"),
    (b"a long= \t \r\n word", b"a long word"),
    (b"padded \t\nline  \r\nend =", b"padded\nline\r\nend "),
    (b"kept=20\nblank=09 \nend=  ", b"kept \nblank\t\nend"),
    (b"caf=C3=\n=A9 =3D = x", b"caf\xc3\xa9 = = x"),
    (b"=\n=  \n=\t\n", b""),
    (b"old=\r mac=\rs\rend=\r\r\n.", b"old macs\rend."),            # lines that end in CR alone, or in two
    # what was never encoded: the "=" stays, and so does what is behind it
    (b"a==b", b"a==b"), (b"a == b", b"a == b"), (b"id==41", b"id==41"),
    (b"if (a ===\n b) {", b"if (a == b) {"),
    (b"QUI==\nnext", b"QUI==\nnext"), (b"QUI== \r\nnext", b"QUI==\r\nnext"),
    (b"a==\rb", b"a==\rb"), (b"end==", b"end=="), (b"=3D==", b"==="),
    (b"", b""),
])
def test_quoted_printable(octets: bytes, text: bytes) -> None:
    assert transfer.transfer(octets, b"quoted-printable") == text
    pieces = transfer.QuotedPrintableDecoder()
    found = [pieces.decode(octets[at:at + 1]) for at in range(len(octets))]
    assert b"".join(found) + pieces.decode(b"", final=True) == text


@given(st.lists(st.sampled_from([b"=", b"==", b"4", b"1", b"a", b"\xe0", b"=41", b"=\n", b"=\r\n", b"\n"]),
                max_size=30), st.integers(2, 16), st.integers(1, 5))
def test_quoted_printable_in_pieces(parts: list[bytes], longest: int, step: int) -> None:
    """Whatever was never encoded, and wherever a line that is too long is cut."""
    octets = b"".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "LINE_OCTETS", longest)
        pieces = transfer.QuotedPrintableDecoder()
        found = [pieces.decode(octets[at:at + step]) for at in range(0, len(octets), step)]
        found.append(pieces.decode(b"", final=True))
        assert b"".join(found) == transfer.transfer(octets, b"quoted-printable")


@pytest.mark.parametrize(("octets", "text"), [
    (b"SGVsbG8=\nIHdvcmxk\n", b"Hello world"),                # each piece has its own padding
    (b"SGVsbG8=IHdvcmxk", b"Hello world"),
    (b"SGVsbA==\r\nbyB3bw==\r\ncmxk", b"Hello world"),
    (b"5pel5p8=\n5pys", "\u65e5".encode() + b"\xe6\x9f" + "\u672c".encode()),
    (b"SGVsbG8=  IHdv\tcmxk", b"Hello"), (b"SGVsbG8= \t IHdvcmxk", b"Hello world"),
    (b"SGVs*bG8=\n-- \nlist footer, https://example.org/\n", b"Hello"),          # rubbish, a footer
    (b"SGVsbG8gd29ybGQ\n", b"Hello world"),                   # no padding at all
    (b"SGVsbG8=\n\nIHdv\ncmxk\n\n_______\nSGVs", b"Hello world"),
    (b"S", b""), (b"=", b""), (b"", b""),
])
def test_base64(octets: bytes, text: bytes) -> None:
    assert transfer.base64(octets) == text


class Decoder(Protocol):
    def decode(self, piece: bytes, final: bool = False, /) -> bytes: ...


CUTS = st.lists(st.integers(0, 60), max_size=3)


@pytest.mark.parametrize("decoder", [transfer.Base64Decoder, transfer.QuotedPrintableDecoder])
@settings(max_examples=300)
@given(st.lists(st.sampled_from([b"QUJD", b"Q", b"=", b"==", b"=\n", b"=  \n", b"\r\n", b" ", b"\t", b"=C3",
                                 b"*", b"=\r"]), max_size=15).map(b"".join), CUTS)
def test_octets_in_pieces(decoder: Callable[[], Decoder], octets: bytes, cuts: list[int]) -> None:
    ours, found, at = decoder(), b"", 0
    for cut in sorted(cuts):
        found, at = found + ours.decode(octets[at:cut]), max(at, cut)
    assert found + ours.decode(octets[at:], True) == decoder().decode(octets, True)


def test_encoded_bodies() -> None:
    head = b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: %s\n\n"
    assert in_body(Message(head % b"quoted-printable" + b"some=   \n times ca=C3=\t\n=A9"),
                   "some times ca\u00e9")
    assert in_body(Message(head % b"quoted-printable" + b"before=\r the\rrest"), "before the rest")
    assert in_body(Message(head % b"base64" + b"SGVsbG8=\nIHdvcmxk"), "hello world")


def test_reports_for_machines() -> None:
    """Why mail was not delivered, and whether it was read."""
    report = b"""Content-Type: multipart/report; report-type=delivery-status; boundary=x

--x
Content-Type: message/delivery-status
Content-Transfer-Encoding: quoted-printable

Final-Recipient: rfc822; no=
body@x.example
--x
Content-Type: message/disposition-notification

Disposition: manual-action; displayed
--x
Content-Type: application/pdf

hidden
--x--
"""
    message = Message(report)
    assert in_body(message, "nobody@x.example")
    assert in_body(message, "manual-action; displayed")
    assert not in_body(message, "hidden")


# -- lines to be joined

@pytest.mark.parametrize(("delsp", "lines", "text"), [
    (True, "\u4eca\u65e5 \n\u306f\n", "\u4eca\u65e5\u306f"),
    (True, "one  \ntwo \n\nthree", "one two"),
    (True, "\u4eca \r\n\u65e5 \r\n\u306f", "\u4eca\u65e5\u306f"),
    (True, "> \u4eca \n> \u65e5\n", "\u4eca\u65e5"),
    (True, "  \u4eca \n \u65e5", "\u4eca\u65e5"),                # stuffed
    (False, "> a quoted \n> line\n", "a quoted line"),
    (False, ">> deeper \n>> down", "deeper down"),
])
def test_flowed(delsp: bool, lines: str, text: str) -> None:
    assert text in FlowedDecoder(delsp).decode(lines, final=True)
    kind = f"Content-Type: text/plain; charset=utf-8; Format=Flowed; DelSp={'Yes' if delsp else 'no'}\n\n"
    assert in_body(Message((kind + lines).encode()), text)


@pytest.mark.parametrize(("lines", "text"), [
    ("-- \nAnn", "--Ann"), ("\u4eca \n> \u65e5", "\u4eca\u65e5"), ("> \u4eca \n\u65e5", "\u4eca\u65e5"),
    ("\u4eca\n\u65e5", "\u4eca\u65e5")])
def test_what_does_not_flow(lines: str, text: str) -> None:
    kind = "Content-Type: text/plain; charset=utf-8; format=flowed; delsp=yes\n\n"
    assert not in_body(Message((kind + lines).encode()), text)
    plain = "Content-Type: text/plain; charset=utf-8; delsp=yes\n\n"
    assert not in_body(Message((plain + "\u4eca \n\u65e5").encode()), "\u4eca\u65e5")


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["a", " ", "\n", " \n", "\r\n", ">", "> ", "-- \n", "x y"]),
                max_size=15).map("".join), CUTS, st.booleans())
@example("x\na", [2], False)
def test_lines_in_pieces(text: str, cuts: list[int], delsp: bool) -> None:
    ours, found, at = FlowedDecoder(delsp), "", 0
    for cut in sorted(cuts):
        found, at = found + ours.decode(text[at:cut]), max(at, cut)
    whole = FlowedDecoder(delsp).decode(text, True)
    assert " ".join((found + ours.decode(text[at:], True)).split()) == " ".join(whole.split())


# -- HTML

SEEN = {
    "<b>": "", "</b>": "", "<span class='x y'>": "", "<wbr>": "", "<WBR/>": "", "<o:p>": "",
    "<font\ncolor=red>": "", "<strong>": "", "<a>": "", "</a>": "", "<!-- <p>no</p> -->": "", "<!-->": "",
    "<!--[if mso]><i>9<![endif]-->": "",
    "<!DOCTYPE html>": "", "<x-foo>": "", "<abbr>": "",
    "<p>": " ", "<br>": " ", "<br/>": " ", "</TD>": " ", "<h1 id=a>": " ", "<img width=9>": " ", "<li>": " ",
    "<script>if (a<b) x()</script>": " ", "<STYLE a>p > b {}</style >": " ", "<style><!-- x --></style>": " ",
    "text": "text", "w": "w", " ": " ", "< 3": "< 3", ">": ">", "a<1": "a<1",
    "&amp;": "&", "&eacute;": "\u00e9", "&#65;": "A", "&#0000000000065;": "A", "&#x00000041;": "A",
    "&nbsp;": " ", "&#" + "9" * 5000 + ";": "\ufffd", "&#x" + "f" * 5000 + ";": "\ufffd",
    "&#9999999;": "\ufffd", "&#x;": "&#x;",
}


@settings(max_examples=300)
@given(st.lists(st.sampled_from(sorted(SEEN)), max_size=14), st.lists(st.integers(0, 400), max_size=3))
def test_html(pieces: list[str], cuts: list[int]) -> None:
    page, seen = "".join(pieces), "".join(map(SEEN.__getitem__, pieces))
    assert html_text(page) == seen
    ours, found, at = HtmlDecoder(), "", 0
    for cut in sorted(cuts):
        found, at = found + ours.decode(page[at:cut]), max(at, cut)
    found += ours.decode(page[at:], True)
    if not any(piece.startswith("&#") and len(piece) > 100 for piece in pieces):        # longer than is held
        assert found == seen


@pytest.mark.parametrize(("page", "texts", "others"), [
    ("un<b>believ</b>able", ["unbelievable"], ["un believ"]),
    ("<td>one</td><td>two</td>", ["one two"], ["onetwo"]),
    ("soft&shy;ly zero&#8203;width join&zwnj;ed \ufeffmark", ["softly", "zerowidth", "joined", "mark"], []),
    ('see <a href="https://example.org/?a=1&amp;b=2">here</a>now',
     ["see herenow", "https://example.org/?a=1&b=2"], ["<a", "href"]),
    ("<A class=x HREF='mailto:ann@example.org'>Ann</A>", ["mailto:ann@example.org"], []),
    ("<a href=http://plain.example/x>p</a> <area href='//map.example/'>",
     ["http://plain.example/x", "//map.example/"], []),
    # what leads somewhere in other ways
    ("<a href='https://cut.exam\nple/\tpath'>x</a>", ["https://cut.example/path"], []),
    ("<body background=https://back.example/><td BACKGROUND='https://cell.example/'>x",
     ["https://back.example/", "https://cell.example/"], []),
    ("<td style=\"color:red;background:url( 'https://style.example/a.png')\">x", ["https://style.example/a.png"],
     ["color"]),
    ("<meta http-equiv=refresh content='3; URL=https://next.example/'><meta name=Generator content=Office>x",
     ["https://next.example/"], ["office"]),
    ("<blockquote cite='mid:1@x.example'>said</blockquote>", ["mid:1@x.example", "said"], []),
    ("<img srcset='https://wide.example/ 2x' alt=''><video poster=https://still.example/></video>",
     ["https://wide.example/ 2x", "https://still.example/"], []),
    ("<svg><a xlink:href='https://drawn.example/'>x</a></svg>", ["https://drawn.example/"], []),
    ("<button formaction=https://press.example/>x</button>", ["https://press.example/"], []),
    # texts that only show when one points at them, or are read aloud
    ("<abbr title='in full'>abbr</abbr>eviated <p TITLE=hint>x", ["in full", "abbreviated", "hint"], []),
    ("<div aria-label='read\naloud'>x</div><input placeholder='your name'>", ["read aloud", "your name"], []),
    ("<div class=title data-url='//kept.example/' id='label'>x</div>", ["x"], ["kept.example", "title"]),
    ('<img alt="a red bicycle" src="cid:1"><a title="the title">x</a>',
     ["a red bicycle", "the title"], ["cid:1"]),
    # angles in the values of a tag
    ('un<span title="a > b">believ</span>able', ["unbelievable"], ["b\">"]),
    ('un<a title="a > b" href="x">believ</a>able', ["unbelievable", "a > b"], ["b\">"]),
    ("un<span title='a < b'>believ</span>able", ["unbelievable"], ["<span"]),
    ('un<a title="<b>x</b>">believ</a>able', ["unbelievable", "<b>x</b>"], []),
    ('x = "1 < 2" and y = "3 > 4" <b>or</b>', ['x = "1 < 2" and y = "3 > 4" or'], []),
    ('<script>a="</script> "<p>shown', ["shown"], ["a="]),
    # what else leads somewhere, or can be read
    ('<img src="https://img.example/a.png"><img src="data:image/png;base64,QUJD">', ["https://img.example/a.png"],
     ["QUJD"]),
    ('<form action="https://form.example/"><input type=submit value="Send it">',
     ["https://form.example/", "send it"], []),
    ('<iframe src="//frame.example/"></iframe><v:rect href="https://vml.example/"/>',
     ["//frame.example/", "https://vml.example/"], []),
    ('<a class="x"href="https://glued.example/"><a/href="https://slash.example/">',
     ["https://glued.example/", "https://slash.example/"], []),
    ('<a data-href="https://data.example/">x', ["x"], ["data.example"]),
    ("<script>var x = '<a href=hidden.example>'</script>y", ["y"], ["hidden.example"]),
    ("<!-- <a href=comment.example> -->y", ["y"], ["comment.example"]),
    ("<script>never ends <p>text", ["never ends text"], []),
    ("<style>never <!-- ends <b>te</b>xt", ["never ends text"], []),
    # names are found in any spelling, and nothing is a tag only because one in it went
    ("<<b></b>kept > here<P\nid=x>a<IMG\nALT='one > two'>b<td-x>c", ["<kept > here a bc", "one > two"], []),
    ("<p>a" + "&#" + "1" * 5000 + ";b", ["b"], []),
])
def test_pages(page: str, texts: list[str], others: list[str]) -> None:
    message = Message(("Content-Type: text/html; charset=utf-8\n\n" + page).encode())
    for text in texts:
        assert in_body(message, text), text
        assert in_text(message, text)
    for text in others:
        assert not in_body(message, text), text


@pytest.mark.parametrize("shape", [
    "<", "<a", "<a ", "<script>", "<style>", "<!--", "<!-->", "&", "&#", "&#0", "&#x0", "&amp", "<a href=",
    '<a href="', "<a title='", '="<', "='>", '="><" ', '<a b="<" ', "</script>", "<script><!--<style>",
    "<a href=x>", "<a href=" + "x" * 100 + ">",
    " = ", "=", "= ", "\t", "-->", "<p " + "x" * 50, "&" + "x" * 30])
def test_nothing_takes_long(shape: str) -> None:
    """As many as fit into a megabyte; what grew with the square would take hours."""
    page = shape * ((1 << 20) // len(shape))
    pieces = [page[at:at + 65536] for at in range(0, 1 << 20, 65536)]
    for ours in (html_text(page), "".join(map(HtmlDecoder().decode, pieces))):
        assert len(ours) <= 3 * len(page)
    transfer.transfer(page.encode(), b"quoted-printable")
    transfer.base64(page.encode())
    FlowedDecoder(True).decode(page.replace("=", " \n"), True)


def test_a_script_that_is_longer_than_any_hides_nothing() -> None:
    for kind in ("script", "style"):
        page = f"<{kind}>" + "x " * HIDDEN + f"</{kind}>end"
        assert html_text(page).split()[-1] == "end"
        assert "x x" in html_text(page)


@pytest.mark.parametrize(("field", "text"), [
    (b"Content-Disposition: attachment; filename*=utf-8''%E2%82%AC%20rates.txt", "€ rates.txt"),
    (b"Content-Disposition: attachment; filename*0*=latin1'de'%DCber; filename*1=sicht.pdf", "Übersicht.pdf"),
    (b"Content-Type: application/pdf;\n name*=koi8-r''%D3%CC%CF%D7%CF.pdf", "слово.pdf"),
    (b"Content-Type: application/pdf; name*=%C3%A9t%C3%A9.pdf", "été.pdf"),
    (b"Content-Type: application/pdf; name*=x-nobody-knows-it''%C3%A9t%C3%A9.pdf", "été.pdf"),
    (b"Content-Type: application/pdf; name*0=\"long \"; name*1=\"name.pdf\"; x*=''y", "y")])
def test_names_of_files_by_rfc_2231(field: bytes, text: str) -> None:
    inside = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + field + b"\n\nx\n--b--\n"
    for whole in (field + b"\n\nx", inside):
        assert in_text(Message(whole), text)
        assert not in_text(Message(whole), text + "?")
