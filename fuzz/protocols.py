"""What is said by other protocols than IMAP, files of accounts and of back ends: fed as in targets.py."""
from __future__ import annotations

from courierpy.auth import Rejected, rcfile, scram, token
from courierpy.lmtp import grammar as lmtp
from courierpy.maildir.formats import acl, annotation, dovecot, maildirsize, pop3list, sharedmaildirs
from courierpy.model import packed
from courierpy.model.replies import Bad
from courierpy.mta import tongues, verdict
from courierpy.mta.question import Broken
from courierpy.newmail.event import Event
from courierpy.pop3 import lines as pop3
from courierpy.pop3 import wire
from courierpy.smap import grammar as smap
from courierpy.system import haproxy
from courierpy.system.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def smap_lines(data: bytes) -> None:
    """Words that are spelled are these words again; ranges are merged."""
    for line in data.split(b"\n"):
        try:
            words = smap.words(line)
        except Bad:
            continue
        assert smap.words(b" ".join(map(smap.quoted, words))) == words
        ranges, rest = smap.numbers(words)
        assert all(0 < low <= high for low, high in ranges)
        assert all(one[1] + 1 < other[0] for one, other in zip(ranges, ranges[1:], strict=False))
        assert rest == words[len(words) - len(rest):]
        for word in words:
            smap.literal(word)
            smap.contents(word)
            smap.bits(word)
            assert not any(octet in one for one in smap.keywords_of(word) for octet in b" ()\r\n")
            try:
                assert smap.text_of(word).isprintable() or not word.isascii()
            except Bad:
                pass


def pop3_lines(data: bytes) -> None:
    """A message is sent alike whether it comes whole or octet by octet; no dot ends it before its end."""
    octets = [data[at:at + 1] for at in range(len(data))]
    whole = b"".join(wire.whole(data))
    assert wire.size_of(data)[0] == len(whole)
    stuffed = b"".join(wire.stuffed([whole]))
    assert stuffed == b"".join(wire.stuffed(whole[at:at + 1] for at in range(len(whole))))
    assert (b"\r\n" + stuffed).find(b"\r\n.\r\n") == len(stuffed) - 3
    for count in (0, 1, 5):
        assert b"".join(wire.top([data], count)) == b"".join(wire.top(octets, count))
    for line in data.split(b"\n"):
        word, _ = pop3.words(line)
        assert word == word.upper()


def lmtp_lines(data: bytes) -> None:
    """A line is understood or refused."""
    parsers: Sequence[Callable[[bytes], object]] = (
        lmtp.verb, lmtp.client_name, lambda line: lmtp.path(line, b"FROM"),
        lambda line: lmtp.path(line, b"TO"), lambda line: lmtp.parameters(line, (b"SIZE", b"BODY", b"ORCPT")),
        lmtp.octets, lmtp.xclient, lmtp.original, lmtp.chunk, verdict.address)
    for line in data.split(b"\n"):
        for parse in parsers:
            try:
                parse(line)
            except lmtp.Reply as reply:
                assert reply.code >= 500
        try:
            found = lmtp.address(line, True)
        except lmtp.Reply:
            continue
        assert found.text.isprintable() and len(found.local.encode()) <= lmtp.MAX_LOCAL


def questions(data: bytes) -> None:
    """Each takes octets; in pieces it is the same question."""
    tongue = tongues.of(data)
    at = 0
    try:
        while at < len(data):
            question, taken = tongue.cut(data[at:])
            if question is None:
                assert taken == 0
                return
            assert taken > 0
            assert tongue.cut(data[at:at + taken])[1] == taken
            assert tongue.answer(question, None)
            at += taken
    except Broken as broken:
        assert broken.answer


def proxied(data: bytes) -> None:
    """Of a header of version 2 the first two octets are the command and the family."""
    parsers: Sequence[Callable[[bytes], object]] = (
        haproxy.parse_line, haproxy.cut, lambda octets: haproxy.cut(haproxy.SIGNATURE + octets),
        lambda octets: haproxy._ends_of_2(octets[0], octets[1], octets[2:]) if octets[1:] else None)
    for parse in parsers:
        try:
            parse(data)
        except haproxy.ProxyError:
            pass


def tokens(data: bytes) -> None:
    """What is said of an access token is refused or granted; so are the fields of SCRAM."""
    settings = Settings({"OAUTH_AUDIENCE": "imap"})
    header, _, claims = data.partition(b"\n")
    try:
        token._signed(".".join(map(_base64, (header, claims, b"x"))), [], settings)
    except token.Refused:
        pass
    text = data.decode("utf-8", "replace")
    for parse in (scram._fields, scram._saslname, scram._octets, scram.prepare):
        try:
            parse(text)
        except Rejected:
            pass


def _base64(octets: bytes) -> str:
    from base64 import urlsafe_b64encode
    return urlsafe_b64encode(octets).decode().rstrip("=")


def account_files(data: bytes) -> None:
    """Files of a Maildir that Courier, Dovecot and others write, of back ends, and what processes tell."""
    try:
        entries = annotation.parse(data)
        assert annotation.parse(annotation.render(entries)) == entries
    except annotation.Damaged:
        pass
    uidlist = dovecot.parse_uidlist(data)
    assert uidlist is None or 0 < uidlist.uidvalidity < 1 << 32
    quota = maildirsize.parse(data)
    if quota is not None and max(quota.there.octets, quota.there.messages) < 10 ** 15:
        again = maildirsize.parse(quota.octets())
        assert again is not None and (again.limits, again.there) == (quota.limits, quota.there)
    listed = pop3list.parse(data, 1)
    assert len({pop3list.uidl(line) for line in listed.lines.values()}) == len(listed.lines)
    sharedmaildirs.parse(data)
    acl.AccessList.parse(data)
    rcfile.parse(data.decode("utf-8", "surrogateescape"))
    for read in (packed.unpack, Event.of):
        try:
            read(data)
        except ValueError:
            pass


SMAP = [b'FETCH 1 3-5 FLAGS UID "CONTENTS.PEEK=HEADERS[1.2](subject,:envelope)"',
        b'ADD FOLDER "a""b" {.30} {30/400}',
        b'STORE 1-9 +FLAGS=SEEN,MARKED "KEYWORDS=a,b"\nSEARCH ALL MARKED "x y"']
POP3 = [b"Subject: a\n\n.b\n..c\r\nd\r\n.\r\n", b"TOP 1 5\nRETR 2\nUSER a b", b"\r\n.\r\n.",
        b"a: \xe4\r\r\n\n."]
LMTP = [b'LHLO a.b\nFROM:<@a,@b:"x\\"y"@c.d> SIZE=5 BODY=8BITMIME\nTO:<a+b@c> ORCPT=rfc822;a+2Bb@c',
        b"ADDR=192.0.2.1 NAME=[UNAVAILABLE] PORT=5\n5 LAST\n99\n<a@[192.0.2.1]>"]
QUESTIONS = [b"12:exists a@b.c,5:q x@y,",
             b"request=smtpd_access_policy\nrecipient=a@b\nsize=99\n\nrequest=x\n\n"]
PROXIED = [b"\x21\x11" + bytes(range(12)), b"\x21\x21" + bytes(36), b"\x20\0",
           b"\x21\x11\0\x0c" + bytes(range(12)) + b"a LOGIN", b"PROXY TCP6 ::1 ::2 1 2\r\n"]
TOKENS = [b'{"alg":"RS256","kid":"r"}\n{"aud":"imap","exp":2000000000}', b'["alg"]\n{}',
          b"n,a=x,n=user=2C=3D,r=abc", b"c=biws,r=abc,p=AAAA"]
FILES = [b"owner aceilrstw\nuser=a lr\n-anyone x\n", b"3 V1700000000 N5 G00\n1 W5 :a\n2 :b\n",
         b"1 1700000000 5\n1 a\n", b"1000S,10C\n   5 1\n-5 -1\n", b"/2 1700000000 5\na 1 2:3 UTF-8\n",
         b"name\t/path\n", b"SERVER a\\\n b\n#c\n", annotation.render({b"/private/comment": b"a\nb"}),
         packed.pack([1, None, (b"x", True), "a"]), Event("a", "b", 5, about={"subject": "s"}).encode()]
MORE = [b"9" * 30, b"\xff" * 4, b"\r\n", b"..", b"-", b"={", b"[" * 30]
# as in targets.py: what is fed, its seeds, more tokens, inputs of about a second
ALL: dict[str, tuple[Callable[[bytes], None], list[bytes], list[bytes], int]] = {
    "smap_lines": (smap_lines, SMAP, [b" 3-7", b" {.5}", b'""', b"FLAGS=", b"KEYWORDS="], 3000),
    "pop3_lines": (pop3_lines, POP3, [b"\n.", b"\r\n.\r\n", b"\r"], 1000),
    "lmtp_lines": (lmtp_lines, LMTP, [b"<>", b"@", b'"\\"', b" SIZE=", b"FROM:", b"+2B"], 1500),
    "questions": (questions, QUESTIONS, [b"1:", b",", b"\n\n", b"size="], 15000),
    "proxied": (proxied, PROXIED, [b"PROXY ", b" UNKNOWN", haproxy.SIGNATURE], 15000),
    "tokens": (tokens, TOKENS, [b'"alg"', b"null", b"[[", b"{}", b"=2C", b",m="], 300),
    "account_files": (account_files, FILES, [b"\n", b"\t", b" :", b"S,", b"{}"], 4000)}
