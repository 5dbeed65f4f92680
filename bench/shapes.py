"""Shapes of mail whose cost may grow faster than they do: what ``bench.growth_of_messages`` doubles.

A shape is a function of a number of octets that gives a message of about that size.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Shape = Callable[[int], bytes]


def _filled(unit: bytes, octets: int) -> bytes:
    """As many of the units as the octets hold."""
    return unit * (octets // len(unit))


def _field(name: str, unit: bytes, before: bytes = b"", behind: bytes = b"", fold: bool = False) -> Shape:
    """A header field of one value: many units between two texts.  ``fold``: each on a line of its own."""
    if fold:
        unit += b"\n "

    def make(octets: int) -> bytes:
        return b"%s: %s%s%s\nX-Last: y\n\nbody\n" % (name.encode(), before, _filled(unit, octets), behind)
    return make


def _nested(name: str, left: bytes, right: bytes) -> Shape:
    def make(octets: int) -> bytes:
        return b"%s: %s%s\n\nbody\n" % (name.encode(), _filled(left, octets // 2),
                                        _filled(right, octets // 2))
    return make


def _fields(unit: bytes) -> Shape:
    """Many lines of a header."""
    return lambda octets: _filled(unit, octets) + b"X-Last: y\n\nbody\n"


def _body(unit: bytes, kind: str = "text/plain", encoding: str = "8bit", before: bytes = b"",
          behind: bytes = b"") -> Shape:
    head = f"Content-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n".encode()
    return lambda octets: head + before + _filled(unit, octets) + behind


def _numbered(unit: bytes) -> Shape:
    """A body of units each with its own number at each %d."""
    def make(octets: int) -> bytes:
        pieces = []
        size = number = 0
        count = unit.count(b"%d")
        while size < octets:
            pieces.append(unit % ((number,) * count))
            size += len(pieces[-1])
            number += 1
        return b"".join(pieces)
    return make


def _between(before: bytes, middle: Shape, behind: bytes = b"") -> Shape:
    return lambda octets: before + middle(octets) + behind


def _halves(first: Shape, second: Shape) -> Shape:
    return lambda octets: first(octets // 2) + second(octets // 2)


def _closed(octets: int) -> bytes:
    """Multiparts in each other, then their ends."""
    numbers = range(octets // 60)
    unit = b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n"
    opened = [unit % (number, number) for number in numbers]
    return b"".join([*opened, *[b"--%d--\n" % number for number in reversed(numbers)]])


MIXED = b"Content-Type: multipart/mixed; boundary=a\n\n"

STRUCTURED: dict[str, Shape] = {
    "Content-Type ;;;": _field("Content-Type", b";", b"text/plain"),
    "Content-Type ; ; ;": _field("Content-Type", b"; ", b"text/plain"),
    "Content-Type ,,,": _field("Content-Type", b",", b"text/plain; a=b"),
    "Content-Type blanks": _field("Content-Type", b" ", b"text/plain; a", b"b"),
    "Content-Type tabs behind the type": _field("Content-Type", b"\t", b"text", b"x"),
    "Content-Type words": _field("Content-Type", b"; a", b"text/plain"),
    "Content-Type words without separators": _field("Content-Type", b"a ", b"text/plain; a=b "),
    "Content-Type parameters": _field("Content-Type", b"; a=b", b"text/plain"),
    "Content-Type parameters, folded": _field("Content-Type", b"; a=b", b"text/plain", fold=True),
    "Content-Type parameters without separators": _field("Content-Type", b" a=b", b"text/plain"),
    "Content-Type quoted parameters without separators": _field("Content-Type", b' a="b"', b"text/plain"),
    "Content-Type text behind quotes": _field("Content-Type", b' a="b"c', b"text/plain"),
    "Content-Type quotes": _field("Content-Type", b'"', b"text/plain; a="),
    "Content-Type open quotes": _field("Content-Type", b'; a="b', b"text/plain"),
    "Content-Type open quotes of escapes": _field("Content-Type", b'; a\\"', b'text/plain; a="'),
    "Content-Type escapes": _field("Content-Type", b"\\a", b'text/plain; a="', b'"'),
    "Content-Type = = =": _field("Content-Type", b"= ", b"text/plain; a"),
    "Content-Type one long name": _field("Content-Type", b"a", b"text/plain; "),
    "Content-Type one long value": _field("Content-Type", b"a", b"text/plain; a="),
    "Content-Type one long type": _field("Content-Type", b"a"),
    "Content-Type slashes": _field("Content-Type", b"/a", b"text"),
    "Content-Type 8 bit": _field("Content-Type", b"\xc3\xa4", b"text/plain; name="),
    "Content-Type comments": _field("Content-Type", b"(a)", b"text/plain; b=c "),
    "Content-Type nested comments": _nested("Content-Type", b"(", b")"),
    "Content-Type open comments": _field("Content-Type", b"(", b"text/plain; a=b "),
    "Content-Type comments and quotes crossed": _field("Content-Type", b'("(")', b"text/plain; a=b "),
    "Content-Type quotes that hide an end of a comment": _field("Content-Type", b'(")"', b"text/plain; a=b "),
    "Content-Type comments before the type": _field("Content-Type", b"(a)", b"", b"text/plain"),
    "Content-Type pieces": lambda octets: b"Content-Type: text/plain%s\n\nbody\n" % b"".join(
        b"; a%d*%d=b" % divmod(number, 1000) for number in range(octets // 11)),
    "Content-Type pieces, the last first": lambda octets: b"Content-Type: text/plain%s\n\nbody\n" % b"".join(
        b"; a%d*%d*=b" % divmod(number, 1000) for number in range(octets // 12, -1, -1)),
    "Content-Type one long piece and its name": lambda octets: b"Content-Type: x/y; a*0=%s%s\n\nbody\n" % (
        b"x" * (octets // 2), _filled(b"; a=1", octets // 2)),
    "Content-Type pieces to be escaped": _field("Content-Type", b"%", b'x/y; a*0*=b; a*1="', b'"'),
    "Content-Type twice the same piece": _field("Content-Type", b"; a*0=b; b*0*=c", b"text/plain"),
    "boundary of percent signs": _field("Content-Type", b"%41", b"multipart/mixed; boundary*=''"),
    "Content-Disposition ;;;": _field("Content-Disposition", b";", b"inline"),
    "Content-Disposition words": _field("Content-Disposition", b" a b;", b"inline; filename="),
    "Content-Disposition names": _field("Content-Disposition", b" name=b", b"inline; filename=a"),
    "Content-Language tags": _field("Content-Language", b"en, "),
    "Content-Language comments": _field("Content-Language", b"en (a), "),
    "Content-Transfer-Encoding (((": _field("Content-Transfer-Encoding", b"("),
    "Content-Transfer-Encoding blanks": _field("Content-Transfer-Encoding", b" ", b"(a)", b"base64"),
}
ADDRESSES: dict[str, Shape] = {
    f"From {title}": _field("From", unit, before, behind) for title, unit, before, behind in (
        ("a@b", b"a@b, ", b"", b""), ("A <a@b>", b"Ann Lee <a@b>, ", b"", b""),
        ("a@b without commas", b"a@b ", b"", b""), ("<a@b> without commas", b"A <a@b> ", b"", b""),
        ("<<<", b"<", b"", b""), (">>>", b">", b"a@b", b""), ("<a<a", b"<a", b"", b""),
        ('"a', b'"a ', b"", b""), ("unclosed quotes", b'"a" "b ', b"", b""),
        ("unclosed quotes of escapes", b'a\\" ', b'"', b""), ("quotes in words", b'a"b ', b"", b""),
        ("(((", b"(", b"a@b ", b""), ("))) ", b")", b"a@b ", b""), ("comments", b"(a)", b"a@b ", b""),
        ("[[[", b"[", b"a@", b""), ("[a,", b"[a,", b"", b""), ("@@@", b"@", b"", b""),
        ("a@a@", b"a@", b"", b"b"),
        ("a@b. c", b"a@b. ", b"", b""), (",,,", b",", b"", b""), ("a,", b"a,", b"", b""),
        (";;;", b";", b"", b""), (":::", b":", b"", b""), ("g:", b"g:", b"", b""), ("g:;", b"g:;", b"", b""),
        (": : :", b": ", b"g:", b""), ("words", b"a ", b"", b""),
        ("words, then an address", b"a ", b"", b"a@b"),
        ("words, then an angle", b"a ", b"", b"<a@b>"), ("dots", b". ", b"a", b"@b"),
        ("dots of a host", b". a", b"a@b", b""),
        ("blanks", b" ", b"a", b"b"), ("\\\\\\", b"\\", b"", b""), ("routes", b"<@a,@b:c@d>", b"", b""),
        ("a long route", b"@a,", b"<", b":b@c>"), ("open routes", b"<@a,", b"", b""),
        ("mailto:", b"mailto:", b"", b""),
        ("a@b via", b"a@b via ", b"", b"<c@d>"), ("8 bit", b"\xc3\xa4 ", b"", b"<a@b>"),
        ("8 bit hosts", b"a@\xc3\xa4, ", b"", b""), ("encoded words", b"=?utf-8?q?a?= ", b"", b"<a@b>"))}
ADDRESSES |= {
    "To fields": _fields(b"To: a@b\n"), "To fields, each left open": _fields(b'To: "a, (b <c\n'),
    "From nested comments": _nested("From", b"(", b")"),
    "From quotes and comments crossed": _field("From", b'("(")', b"a@b "),
}
TEXTS: dict[str, Shape] = {
    f"Subject {title}": _field("Subject", unit, before, behind) for title, unit, before, behind in (
        ("8 bit", b"\xc3\xa4", b"", b""), ("8 bit, 3 octets", b"\xe4\xbd\xa0", b"", b""),
        ("8 bit, 4 octets", b"\xf0\x9f\x98\x80", b"", b""), ("Latin-1", b"\xe4", b"", b""),
        ("NULs", b"\0", b"a", b"b"),
        ("encoded words", b"=?utf-8?q?a?= ", b"", b""), ("base64 words", b"=?utf-8?b?w6Q=?= ", b"", b""),
        ("words of two charsets", b"=?utf-8?q?a?= =?koi8-r?b?wQ==?= ", b"", b""),
        ("words cut in letters", b"=?utf-8?q?=C3?= =?utf-8?q?=A4?= ", b"", b""),
        ("open words", b"=?a?q?", b"", b""), ("=?=?", b"=?", b"", b""),
        ("one long word", b"=C3=A4", b"=?utf-8?q?", b"?="),
        ("one long base64 word", b"w6TD", b"=?utf-8?b?", b"?="),
        ("words of punycode", b"=?punycode?q?a-b9k?= ", b"", b""),
        ("one word of punycode", b"b9k", b"=?punycode?q?a-", b"?="),
        ("words of utf-7", b"=?utf-7?q?+AOQ-?= ", b"", b""),
        ("words of no charset", b"=?no-such?q?a?= ", b"", b""),
        ("[[[", b"[", b"", b""), ("[a][a]", b"[a]", b"", b""), ("Re: Re:", b"Re: ", b"", b""),
        ("Re [a]:", b"re [a]: ", b"", b""), ("re re", b"re ", b"", b""), ("(fwd)", b"(fwd)", b"a", b""),
        ("blanks", b" ", b"Re", b":"), ("tabs", b"\t", b"a", b"b"),
        ("letters that fold to several", b"\xef\xac\x83", b"", b""))}
TEXTS |= {
    "Subject [fwd: ]": _nested("Subject", b"[fwd: ", b"]"),
    "Subject [fwd: [a] ]": _nested("Subject", b"[fwd:[a]", b"]"),
    "Subject fields": _fields(b"Subject: a\n"), "Subject folded": _field("Subject", b"a", fold=True),
    "Date numbers": _field("Date", b"1 "), "Date digits": _field("Date", b"1"),
    "Date days": _field("Date", b"1 Jan ", b"", b"2024"),
    "Date blanks": _field("Date", b" ", b"1 Jan 2024 10", b":00"),
    "Date letters": _field("Date", b"a", b"1 Jan", b" 2024"),
    "Date (((": _field("Date", b"(", b"1 Jan 2024 "),
    "Date comments": _field("Date", b"(a)", b"1 Jan ", b"2024"), "Date fields": _fields(b"Date:\n"),
    "References": _between(b"References:", _numbered(b" <%d@b>\n"), b"\nbody\n"),
    "References of one ID": _field("References", b" <a@b>"), "References <a@b": _field("References", b"<a@b"),
    "References <<<": _field("References", b"<"), 'References <"': _field("References", b'<"\\'),
    "References blanks": _field("References", b" ", b"<a"),
    "References blanks of a host": _field("References", b" ", b"<a@b"),
    "References quoted": _field("References", b'<"\\a"@b> '),
    "References @@@": _field("References", b"@", b"<a"),
    # a chain, then its ends again and again: each time a loop is to be seen
    "References around in a loop": _between(b"References:", _halves(_numbered(b" <%d@b>\n"),
                                                                    _numbered(b" <%d@b> <0@b>\n")),
                                            b"\nbody\n"),
    "References fields": _fields(b"References: <a@b>\n"), "In-Reply-To": _field("In-Reply-To", b"<a@b> "),
    "Message-ID": _field("Message-ID", b"<a@b> "),
}
LINES: dict[str, Shape] = {
    "header without colons": _fields(b"to\n"), "header of names": _fields(b"a:\n"),
    "header of one name": _fields(b"X-Last: a\n"), "header of blanks": _fields(b" \n"),
    "header of colons": _fields(b":\n"), "header of names with blanks": _field("to" + " " * 9, b" "),
    "header name without an end": lambda octets: b"a" * octets,
    "header name, then blanks": lambda octets: b"to" + b" " * octets,
    "header folded": lambda octets: b"To:" + _filled(b"\n ", octets) + b"a@b\n\nbody",
    "header folded with CR": lambda octets: b"To:" + _filled(b"\r\n ", octets) + b"a@b\r\n\r\nbody",
    "header of CR": lambda octets: b"To:" + b"\r" * octets + b"\n\nbody",
    "header of NUL": lambda octets: b"To:" + b"\0" * octets + b"\n\nbody",
    "header of CR CR LF": _fields(b"a: b\r\r\n"), "header of 8 bit": _fields(b"X: \xc3\xa4\n"),
    "header of encoded words": _fields(b"X: =?utf-8?q?a?=\n"), "header of form feeds": _fields(b"\x0c\n"),
}
BODIES: dict[str, Shape] = {
    "empty lines": _body(b"\n"), "CR": _body(b"\r"), "CRLF": _body(b"\r\n"),
    "LF and CRLF by turns": _body(b"a\nb\r\n"),
    "one line": _body(b"a"), "blanks": _body(b" "), "NULs": _body(b"\0"), "dashes": _body(b"-"),
    "lines of dashes": _body(b"--\n"), "8 bit": _body(b"\xc3\xa4", "text/plain; charset=utf-8"),
    "broken UTF-8": _body(b"\xc3", "text/plain; charset=utf-8"),
    "flowed": _body(b"a \n", "text/plain; format=flowed; delsp=yes"),
    "flowed quotes": _body(b"> > a \n>", "text/plain; format=flowed"),
    "flowed blanks": _body(b" \n", "text/plain; format=flowed"),
    "base64": _body(b"w6TDpMOk\n", "text/plain; charset=utf-8", "base64"),
    "base64 of one line": _body(b"YWFh", encoding="base64"),
    "base64 in pieces": _body(b"YQ==\n", encoding="base64"), "base64 of =": _body(b"=", encoding="base64"),
    "base64 of rubbish": _body(b"a*", encoding="base64"), "base64 of lines": _body(b"a\n", encoding="base64"),
    "base64 in pieces of CRLF": _body(b"YQ==\r\n", encoding="base64"),
    "base64 in pieces with blanks": _body(b"YQ== YWE=\n", encoding="base64"),
    "base64 in pieces of one line": _body(b"YQ==", encoding="base64"),
    "base64 with noise in each line": _body(b"w6TDpMOk\x80*w6T~\n", "text/plain; charset=utf-8", "base64"),
    "base64 in pieces, then noise": _body(b"YQ==\n", encoding="base64", behind=b"~~\n"),
    "base64 of HTML": _body(b"PHNjcmlwdD4K\n", "text/html", "base64"),      # <script>
    "base64 of comments of HTML": _body(b"PCEt\nLTwh\nLS08\nIS0t\n", "text/html", "base64"),
    "quoted-printable = at each place": _body(b"=a=\nb=4=41=\r\n=\t \n=", encoding="quoted-printable"),
    "quoted-printable HTML": _body(b"=3Cscript=3E=\n", "text/html", "quoted-printable"),
    "quoted-printable": _body(b"=C3=A4", "text/plain; charset=utf-8", "quoted-printable"),
    "quoted-printable =": _body(b"=", encoding="quoted-printable"),
    "quoted-printable soft breaks": _body(b"=\n", encoding="quoted-printable"),
    "quoted-printable blanks": _body(b" ", encoding="quoted-printable"),
    "quoted-printable soft breaks with blanks": _body(b"= \t\n", encoding="quoted-printable"),
    "quoted-printable = and blanks": _body(b" ", encoding="quoted-printable", before=b"a=", behind=b"b"),
    "quoted-printable =X": _body(b"=X", encoding="quoted-printable"),
    "x-uuencode": _body(b"a\n", encoding="x-uuencode"),
}
BODIES |= {f"charset {name}": _body(unit, f"text/plain; charset={name}", before=b"a-") for name, unit in (
    ("punycode", b"b9k"), ("punycode-", b"b9k"), ("idna", b"xn--b9k."), ("idna-", b"b9k."),
    ("utf-7", b"+AOQ-"),
    ("unicode-escape", b"\\u00e4"), ("unicode--escape", b"\\N{A}"), ("raw_unicode_escape", b"\\u00e4"),
    ("undefined", b"a"), ("mbcs", b"a"), ("rot13", b"a"), ("zlib", b"x\x9c"), ("base64", b"YWFh"),
    ("uu", b"a\n"),
    ("hz", b"~{VPND~}"), ("hz-gb-2312", b"~"), ("iso-2022-jp", b"\x1b$B$\"\x1b(B"),
    ("iso2022_jp_2004", b"\x1b"),
    ("iso-2022-kr", b"\x0e!\x0f"), ("iso-2022-cn", b"\x1b$A"), ("gb18030", b"\x81\x30\x81\x30"),
    ("big5-hkscs", b"\x88\x62"),
    ("euc-jis-2004", b"\xa4\xab"), ("shift_jisx0213", b"\x82\xf5"), ("euc-kr", b"\xa4\xd4"),
    ("utf-16", b"\0a\xd8"),
    ("utf-32", b"a\0\0\0"), ("x-user-defined", b"\xe4"), ("no-such", b"\xe4"), ("", b"\xe4"))}
HTML: dict[str, Shape] = {f"HTML {title}": _body(unit, "text/html; charset=utf-8", before=before,
                                                 behind=behind)
                          for title, unit, before, behind in (
    ("tags", b"<b>a</b>", b"", b""), ("<a", b"<a", b"", b""), ("<<<", b"<", b"", b""),
    (">>>", b">", b"", b""),
    ("<script", b"<script ", b"", b""), ("<script>", b"<script>", b"", b""),
    ("<script></script", b"<script></script", b"", b""),
    ("<style></script>", b"<style></script>", b"", b""),
    ("<script></script>", b"<script>a</script>", b"", b""),
    ("<!--", b"<!--", b"", b""), ("comments", b"<!-- a -->", b"", b""), ("<!-", b"<!-", b"", b""),
    ("--", b"-", b"<!--", b""),
    ("<![CDATA[", b"<![CDATA[", b"", b""), ("<?", b"<?", b"", b""), ("</", b"</", b"", b""),
    ("attributes", b" a=b", b"<a", b">"), ("attributes in quotes", b' a="b"', b"<a", b">"),
    ("open quotes", b"<a b='", b"", b""),
    ("links", b'<a href="http://x.org/">a</a>', b"", b""), ("open links", b'<a href="', b"", b""),
    ("links with blanks", b"<a href ", b"", b""), ("one long link", b"a", b'<a href="', b'">a</a>'),
    ("= = =", b"= ", b"<a href", b">"),
    ("images", b'<img alt="a" src=b>', b"", b""), ("inline tags in a word", b"a<i>b</i>", b"", b""),
    ("&", b"&", b"", b""), ("&a", b"&a", b"", b""), ("&amp;", b"&amp;", b"", b""),
    ("&nbsp;", b"&nbsp;", b"", b""),
    ("&lt", b"&lt", b"", b""), ("one long entity", b"a", b"&", b";"), ("a number", b"1", b"&#", b";"),
    ("a number of 16", b"f", b"&#x", b";"), ("numbers", b"&#228;", b"", b""), ("&#", b"&#", b"", b""),
    ("&#1", b"&#1", b"", b""),
    ("blanks in a tag", b" ", b"<b", b">"), ("blanks", b" \n", b"<b>", b"</b>"),
    ("8 bit", b"<b>\xc3\xa4", b"", b""),
    ("nested", b"<div>", b"", b""), ("conditional comments", b"<!--[if a]>b<![endif]-->", b"", b""),
    ("<title>", b"<title>", b"", b""), ("<textarea>", b"<textarea>", b"", b""),
    ("<plaintext>", b"<plaintext>", b"", b""),
    ("<script>, then text", b"<script>a ", b"", b""), ("<style>, then text", b"<style>a ", b"", b""),
    ("<script><style><!--", b"<script><style><!--", b"", b""),
    ("<script> in comments", b"<!--<script>-->", b"", b""),
    ("comments in <script>", b"<!---->", b"<script>", b""),
    ("the end of <script> alone", b"</script>", b"", b""),
    ("half the end of <script>", b"</scrip", b"<script>", b""),
    ("half the end of a comment", b"-- >", b"<!--", b""), ("tags in each other", b"<div><p><b>", b"", b""),
    ("tags that close", b"</div></p></b>", b"", b""), ("open values", b'<a href="x>', b"", b""),
    ("values that hold tags", b'<a b="<">c</a>', b"", b""),
    ("quotes of both kinds", b"<a href='\"", b"", b""),
    ("&#x", b"&#x", b"", b""), ("&#1;", b"&#1;", b"", b""),
    ("long names of entities", b"&notanentity", b"", b""))}
PARTS: dict[str, Shape] = {
    "parts": _between(MIXED, _fields(b"--a\n\n")), "parts, all open": _between(MIXED, _fields(b"--a\n")),
    "parts without blank lines": _between(MIXED, _fields(b"--a\nb: c\n")),
    "parts of text": _between(MIXED, _fields(b"--a\nContent-Type: text/plain\n\nb\n")),
    "parts of CRLF": _between(MIXED.replace(b"\n", b"\r\n"), _fields(b"--a\r\n\r\n")),
    "lines that are no delimiters": _between(MIXED, _fields(b"--b\n")),
    "lines that nearly are": _between(MIXED, _fields(b"--ab\n")),
    "closing delimiters": _between(MIXED, _fields(b"--a--\n")),
    "delimiters with blanks": _between(MIXED, _fields(b"--a   \n")), "one delimiter, then blanks": _between(
        MIXED, lambda octets: b"--a" + b" " * octets),
    "a long boundary": lambda octets: b'Content-Type: multipart/mixed; boundary="%s"\n\n--%s\n\nb\n' % (
        b"a" * (octets // 2), b"a" * (octets // 2)),
    "one long line of dashes": _between(MIXED, lambda octets: b"--" + b"-" * octets),
    "parts of one long field": _between(MIXED + b"--a\nX: ", lambda octets: b"a" * octets),
    "nested multiparts": _numbered(b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n"),
    "nested multiparts of one boundary": lambda octets: _filled(MIXED + b"--a\n", octets),
    "nested multiparts, boundaries that begin alike": _numbered(
        b"Content-Type: multipart/mixed; boundary=aaaaaaaaaaaaaaaaaaaa%d\n\n--aaaaaaaaaaaaaaaaaaaa%d\n"),
    "nested multiparts, then lines": lambda octets: b"".join(
        b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (number, number)
        for number in range(min(900, octets // 100))) + _filled(b"--z\n", octets // 2),
    "nested multiparts, each closed": _closed,
    "nested messages": lambda octets: _filled(b"Content-Type: message/rfc822\n\n", octets),
    "nested messages, with fields": lambda octets: _filled(
        b"Content-Type: message/rfc822\nSubject: a\nFrom: a@b\nX: y\n\n", octets),
    "messages in multiparts": _numbered(
        b"Content-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=%d\n\n--%d\n"),
    "digest": _between(b"Content-Type: multipart/digest; boundary=a\n\n",
                       _fields(b"--a\n\nSubject: b\n\nc\n")),
    "digest without blank lines": _between(b"Content-Type: multipart/digest; boundary=a\n\n",
                                           _fields(b"--a\nb: c\n")),
    "message in base64": _body(b"YWFh\n", "message/rfc822", "base64"),
    "HTML parts": _between(MIXED, _fields(b"--a\nContent-Type: text/html\n\n<script>\n")),
}
SHAPES: dict[str, Shape] = {**STRUCTURED, **ADDRESSES, **TEXTS, **LINES, **BODIES, **HTML, **PARTS}
