"""What is fed, with what it begins, and what must hold.

A target takes any octets; it fails by an exception that nobody expects, or by an assertion.
"""
from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
import time
from array import array

from bench.shapes import SHAPES
from courierpy.auth import Rejected, TemporaryFailure, protocol
from courierpy.hibernate import record as records
from courierpy.imap import fetch, returns, search
from courierpy.imap.attributes import KINDS
from courierpy.imap.grammar import dates, fetchitems, searchkeys
from courierpy.imap.grammar.args import Args
from courierpy.imap.grammar.framer import Frame, Framer, LiteralAhead
from courierpy.imap.grammar.pattern import Pattern
from courierpy.maildir import uidvalidity
from courierpy.maildir.formats import uiddb
from courierpy.maildir.store import Store
from courierpy.message import (
    Message,
    address,
    charsets,
    dateheader,
    decode,
    mime,
    parameters,
    rendered,
    straight,
    subject,
    threads,
)
from courierpy.message.collation import fold
from courierpy.message.headers import wire_form
from courierpy.message.htmltext import html_text
from courierpy.message.lexical import masked
from courierpy.message.mime import Limits
from courierpy.model import utf7
from courierpy.model.flags import SEEN, FlagChange
from courierpy.model.messages import Messages
from courierpy.model.replies import Reply
from courierpy.model.section import Section
from courierpy.model.uidset import UidSet
from courierpy.system import haproxy
from fuzz import protocols
from fuzz.oracles import groups_are_closed, read_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SMALL = Limits(parts=40, depth=20, header=2048)
PLACES = [(1,), (2,), (1, 1), (2, 1, 1)]


class Target:
    """``seeds`` and ``tokens``: what is changed, and by what.  ``few``: inputs of about a second."""

    def __init__(self, run: Callable[[bytes], None], seeds: Sequence[bytes], tokens: Sequence[bytes],
                 few: int) -> None:
        self.run = run
        self.seeds = list(seeds)
        self.tokens = list(tokens)
        self.few = few


def message(data: bytes) -> None:
    """All that is told and searched of it; what is told can be read, and is no larger than it may be."""
    for limits in (Limits(), SMALL):
        one = Message(data, limits)
        for _, compute in KINDS.values():
            assert isinstance(compute(one), bytes)
        for utf8 in (False, True):
            for told in (one.envelope_bytes(utf8), one.structure_bytes(True, utf8),
                         one.structure_bytes(False, utf8)):
                assert read_back(told) == 1
                assert len(told) < 100 * len(data) + 2000
        whole = one.section(Section()) or b""
        assert one.size == len(whole)
        assert whole == wire_form(data)
        halves = [one.section(Section((), kind)) or b"" for kind in (b"HEADER", b"TEXT")]
        assert b"".join(halves) == whole
        for place in PLACES:
            for kind in (b"", b"MIME", b"HEADER", b"TEXT", b"HEADER.FIELDS", b"HEADER.FIELDS.NOT"):
                one.section(Section(place, kind, (b"subject",) if b"FIELDS" in kind else ()))
        for extended, utf8 in ((True, False), (False, True)):
            usual = straight.structure(data, limits, extended, utf8)
            assert usual in (None, rendered.structure(mime.parse(data, limits), extended, utf8))
    text = Message(data).as_text()
    assert read_back(text.structure_bytes(True)) == 1
    assert text.structure_bytes(True).startswith(b'("text" "plain" ')


def addresses(data: bytes) -> None:
    """Fields of a name are told one after another; groups are closed; nothing is made up."""
    fields = data.split(b"\n")[:4]
    found = address.parse(b"\n".join(fields))
    assert found == [one for field in fields for one in address.parse(field)]
    groups_are_closed(found)
    for field in fields:
        # as the usual forms are read, and a third that has no regular expression
        assert address.parse(field) == address._Parser(field).run()
        for _, _, local, host in address.parse(field):
            if host:
                assert local is not None
                assert sum(map(len, (local, host))) <= len(field)
        assert len([one for one in address.parse(field) if one[3]]) <= field.count(b"@")
    told = b"\n".join(fields).replace(b"\0", b"").replace(b"\r", b" ")    # as headers are read
    assert read_back(rendered._people(told, False) or b"NIL") == 1


def structured(data: bytes) -> None:
    value = data.replace(b"\n", b" ").replace(b"\r", b" ")
    kind, subkind, pairs = parameters.content_type(value)
    assert kind and subkind and kind == kind.lower()
    assert sum(len(name) + len(text) for name, text in pairs) <= 3 * len(value) + 4 * len(pairs)
    assert parameters.parameters(value) == parameters._joined(
        list(parameters._Parameters(value, 0, masked(value))))
    parameters.disposition(value)
    parameters.languages(value)
    parameters.word(value)
    dateheader.day(value)
    dateheader.moment(value)


def texts(data: bytes) -> None:
    """Encoded words, charsets, HTML, subjects."""
    label, _, octets = data.partition(b"\n")
    text = charsets.charset_text(octets, label.decode("latin-1"))
    for one in (text, decode.words(data.replace(b"\n", b" ")), html_text(text)):
        assert "\n" not in fold(one)
    base, _ = subject.base(decode.words(data.replace(b"\n", b" ")))
    assert subject.base(base)[0] == base
    encoded = decode.encode_8bit(octets.replace(b"\n", b" "))
    assert encoded.isascii()
    decode.utf_8(octets)


def threading(data: bytes) -> None:
    """A line is a message, its first ID its own; each is told once."""
    mails = []
    for number, line in enumerate(data.split(b"\n")[:60], 1):
        found = threads.message_ids(line)
        mails.append(threads.Mail(number, len(line) % 3, "" if b"a" in line else "s", b"b" in line,
                                  found[0] if found else None, found[1:]))
    told = b"".join(threads.render(threads.references(mails)))
    assert sorted(map(int, told.replace(b"(", b" ").replace(b")", b" ").split())) == [*range(1,
                                                                                             len(mails) + 1)]


def _frames(data: bytes) -> Iterator[Frame]:
    """Fed in two pieces."""
    framer = Framer(65536)
    for piece in (data[:len(data) // 2], data[len(data) // 2:]):
        framer.feed(piece)
        for _ in range(len(data) + 10):
            event = framer.next()
            if event is None:
                break
            if isinstance(event, LiteralAhead):
                framer.accept() if event.size < 200 else framer.refuse()
            elif isinstance(event, Frame):
                yield event
        else:
            raise AssertionError("the framer does not end")


def command(data: bytes) -> None:
    """Commands are understood or refused."""
    for frame in _frames(data):
        for utf8 in (False, True):
            try:
                args = Args(frame, utf8)
                word = args.command
                args.sp()
                if word.endswith(b"SEARCH"):
                    searchkeys.take_returns(args, returns.RETURNS.find)
                    searchkeys.parse(args, search.KEYS.find)
                elif word.endswith(b"FETCH"):
                    args.numset().resolve(1000)
                    args.sp()
                    fetchitems.parse(args, fetch.ITEMS.find)
                elif word == b"LIST":
                    args.mailbox()
                    args.sp()
                    Pattern(args.list_mailbox()).matches("INBOX.a")
                elif word == b"STORE":
                    args.numset()
                    args.sp()
                    args.flags()
                else:
                    args.mailbox()
                args.end()
            except Reply:
                pass
    for parse in (dates.parse_date, dates.parse_datetime, utf7.decode):
        try:
            parse(data)
        except (ValueError, Reply):
            pass


def before_login(data: bytes) -> None:
    """What the listener and the password helper read."""
    for parse in (haproxy.parse_line, haproxy.cut, lambda octets: protocol.parse_request(octets, {})):
        try:
            parse(data)
        except (haproxy.ProxyError, ValueError):
            pass
    try:
        account = protocol.parse_reply(bytes(bytearray(data)))       # it is wiped
    except (Rejected, TemporaryFailure):
        return
    assert 0 <= account.uid < 1 << 32
    protocol.render_account(account, True)


def asleep(data: bytes) -> None:
    """A record is what it was, or damaged."""
    import zlib
    for record in (data, records.MAGIC + records.PLAIN + data,
                   records.MAGIC + records.PACKED + zlib.compress(data, 1)):
        try:
            known = records.unpack(record)
        except records.Damaged:
            continue
        assert records.unpack(records.pack(known)) == known


def uiddb_file(data: bytes) -> None:
    """A UID is one name's, UIDs ascend, the next is above all."""
    database = uiddb.parse(data)
    uids = list(database.uids)
    assert uids == sorted(set(uids))
    assert all(0 < uid <= uiddb.MAX_UID for uid in uids)
    assert not uids or database.damaged or uids[-1] < database.uidnext
    names = database.names()
    assert len(set(names)) == len(uids)
    for row, name in enumerate(names):
        assert database.name(row) == name
        assert database.find(name) == row


COUNT = 4


@functools.cache
def _maildir() -> tuple[str, list[str]]:
    """A Maildir that sessions used; the files in it that are no messages."""
    root = tempfile.mkdtemp(prefix="courierpy-fuzz-")
    atexit.register(shutil.rmtree, root, True)
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(root, "made", part))
    for number in range(1, COUNT + 1):
        path = os.path.join(root, "made", "cur", f"{1700000000 + number}.M{number}P1.host:2,")
        with open(path, "wb") as file:
            file.write(b"Subject: %d\n\n%d\n" % (number, number))
        os.utime(path, (1700000000, 1700000000))
    # UIDVALIDITY is of the clock only where it is greater
    with open(os.path.join(root, "made", uidvalidity.HIGHEST), "wb") as file:
        file.write(b"2000000000\n")
    for keyword in (b"one", b"two"):
        folder = Store(os.path.join(root, "made"), host="host").open("INBOX")
        folder.scan()
        folder.store([1, 2], FlagChange("+", SEEN, frozenset({keyword})))
        folder.close(wait=True)
    folder.index.set_unclaimed(UidSet([(2, 2)]))
    paths = [os.path.relpath(os.path.join(where, name), os.path.join(root, "made"))
             for where, _, names in os.walk(os.path.join(root, "made")) for name in names]
    return root, sorted(path for path in paths if not path.startswith(("cur", "new", "tmp")))


def kept_files(data: bytes) -> None:
    """The first octet says which file of a Maildir the rest is; its messages are served all the same."""
    root, files = _maildir()
    if not data:
        return
    work = os.path.join(root, "work")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(os.path.join(root, "made"), work)
    path = os.path.join(work, files[data[0] % len(files)])
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(data[1:])
    store = Store(work, host="host")
    folder = store.open("INBOX")
    try:
        found = folder.scan()
        uids = list(found.messages.uids)
        assert len(uids) == COUNT
        assert uids == sorted(set(uids))
        assert 0 < found.uidvalidity <= uiddb.MAX_UID
        assert uids[-1] < found.uidnext
        octets = []
        for uid in uids:
            with folder.finder.open(uid) as one:
                octets.append(one.whole())
        assert sorted(octets) == [b"Subject: %d\n\n%d\n" % (number, number) for number in range(1, COUNT + 1)]
        for words in found.messages.keywords.values():
            assert not any(octet in word for word in words for octet in b" ()\r\n")
        folder.store(uids[:1], FlagChange("+", SEEN, frozenset({b"three"})))
        assert folder.scan().messages.flags[0] & SEEN
    finally:
        folder.close(wait=True)


def _records() -> list[bytes]:
    known = records.Known()
    known.tag, known.name, known.path = b"a", "INBOX", "."
    known.messages = Messages(array("I", (1, 2)), b"\0\1", {1: frozenset((b"k",))})
    known.words, known.environ = [b"k"], {"MAILDIR": "x"}
    record = records.pack(known)
    return [record, record[len(records.MAGIC + records.PLAIN):]]


def _kept_seeds() -> list[bytes]:
    root, files = _maildir()
    seeds = []
    for number, name in enumerate(files):
        with open(os.path.join(root, "made", name), "rb") as file:
            seeds.append(bytes([number]) + file.read()[:3000])
    return seeds


MESSAGES = [shape(300) for shape in SHAPES.values()] + [
    b'From: "A b" <a@b>, g: c@d;\nSubject: =?utf-8?q?Re:_=C3=A4?=\nReferences: <a@b> <"c d"@e>\n'
    b"Content-Type: multipart/mixed; boundary=\"x\"; a*0*=utf-8''%41; a*1=b\n\n--x\n"
    b"Content-Type: message/rfc822\n\nTo: x\n\nb\n--x\nContent-Type: text/html; charset=utf-8\n"
    b"Content-Transfer-Encoding: base64\n\nPGI+\n--x--\n",
    b"Content-Type: multipart/digest; boundary=a\r\nDate: 1 Jan 2020 00:00:00 +0000 (x)\r\n\r\n"
    b"--a\r\n\r\nSubject: x\r\n\r\ny\r\n--a--\r\n"]
SIGNS = [bytes([sign]) for sign in b"()<>@,;:\\\"/[]?=*%'. \t\n\r\0\xe4"] + [b"\r\n ", b"\xc3\xa4", b"(c)",
                                                                             b'"a"', b"\n\n"]
FIELDS = [b"Content-Type: ", b"Content-Disposition: ", b"From: ", b"Subject: ", b"Date: ", b"charset=",
          b"boundary=x",
          b"name*0*=", b"multipart/mixed", b"message/rfc822", b"text/html", b"\n--x\n", b"--x--", b"base64",
          b"quoted-printable", b"=?utf-8?q?", b"?=", b"&#", b"<script>", b"utf-7", b"punycode"]
COMMANDS = [b'a FETCH 1:*,3 (UID BODY.PEEK[1.2.HEADER.FIELDS (X "y")]<0.9> FLAGS)\r\n',
            b'a UID SEARCH RETURN (ALL) CHARSET UTF-8 OR (NOT TEXT "a" HEADER b c) SINCE 1-Jan-2020\r\n',
            b'a APPEND x (\\Seen k) "01-Jan-2020 00:00:00 +0000" {3}\r\nabc\r\n',
            b'a LIST "" "a%*b&AOQ-"\r\n',
            b"a STORE 1,2:3 +FLAGS.SILENT (\\Seen $x)\r\n", b"1-Jan-2020", b"01-Jan-2020 00:00:00 +0100",
            b"INBOX.&AOQ-&-x"]

TARGETS: dict[str, Target] = {
    "message": Target(message, MESSAGES, SIGNS + FIELDS, 400),
    "addresses": Target(addresses, [b'"A b" <a@b>, g: c@d;, <@r:e@f> (x)\n"A, B" <a@b>', b"a@b c@d; e <f@g",
                                    *[shape(300)[6:] for title,
                                      shape in SHAPES.items() if title.startswith("From")]],
                        [*SIGNS, b"a@b", b"mailto:", b" via ", b"=?utf-8?q?a?="], 300),
    "structured": Target(structured, [b"text/plain; charset=utf-8; name*0*=a''b; name*1=c (d)",
                                      b"inline; filename=a b",
                                      b"Mon (x), 1 Jan 2024 10 : 00:00 +0000 (d)",
                                      *[shape(300).partition(b": ")[2] for title, shape in SHAPES.items()
                                        if title.startswith(("Content", "Date"))]], SIGNS + FIELDS, 600),
    "texts": Target(texts, [b"koi8-r\n\xd0\xd2", b"utf-8\n=?utf-8?q?=C3?= =?utf-8?b?pA==?= Re: [a] b",
                            b"iso-2022-jp\n\x1b$B$\"",
                            b"\n<a href='x'>b</a>&auml;&#228;<style>a</style>", b"utf-16\n\xff\xfea\0",
                            *[b"windows-1252\n" + shape(300) for title,
                              shape in SHAPES.items() if title.startswith("HTML")]],
                    [*SIGNS, *FIELDS, *charsets.known()], 4000),
    "threading": Target(threading, [b"<a@b> <c@d>\n<c@d> <a@b>\n<e@f> <c@d>\na\nb",
                                    b'<"c d"@e> <a@b> <"c d"@e>\n<a@b>'],
                        [*SIGNS, b"<a@b>", b"<c@d>", b"<e@f>", b"\n"], 8000),
    "command": Target(command, COMMANDS, [*SIGNS, b"{3}\r\nabc", b"{9+}", b"NIL", b"OR ", b"NOT ", b"BODY[",
                                          b"1:*", b"~{2}"], 8000),
    "before_login": Target(before_login, [
        b"PROXY TCP4 127.0.0.1 127.0.0.2 1 2\r\n", b"PROXY TCP6 ::1 ::2 1 2\r\n",
        b"TCPREMOTEIP=x\nAUTH 21\nimap\nlogin\nuser\npassw\n",
        b"PRE . imap x\n", b"UID=1\nGID=1\nHOME=/x\nADDRESS=a\n.\n",
        b"USERNAME=root\nHOME=/\nADDRESS=b\n.\n", b"FAIL\n"],
        [*SIGNS, b"UID=", b"GID=", b"PROXY ", b"AUTH "], 20000),
    "asleep": Target(asleep, _records(), [bytes(4), b"\1\0\0\0", b"\xff" * 4, b"a=b"], 15000),
    "uiddb_file": Target(uiddb_file, [b"1 5 7\n1 a\n3 b:c\n6 d\n", b"1 5 7\n1 a\n1 a\n6 d"],
                         [b"\n", b" ", b"1 ", b"\n7 x\n", b"\0"], 15000),
    "kept_files": Target(kept_files, _kept_seeds(), [b"\n", b" ", b":", b"= 00000000\n", bytes(8),
                                                     b"\xff" * 8], 150),
    **{name: Target(run, seeds, [*SIGNS, *protocols.MORE, *tokens], few)
       for name, (run, seeds, tokens, few) in protocols.ALL.items()},
}


def run_for(name: str, seed: int, seconds: float = 0) -> int:
    """Feeds a target with what our own mutator makes, ``few`` inputs and more for ``seconds``; gives how
    many inputs that were.  What an assertion or exception leaves behind has the input in a note."""
    from fuzz.mutate import Mutator
    target = TARGETS[name]
    made = Mutator(target.seeds, target.tokens, seed)
    end = time.monotonic() + seconds
    count = 0
    while count < target.few or time.monotonic() < end:
        data = made.next() if count >= len(target.seeds) else target.seeds[count]
        try:
            target.run(data)
        except Exception as error:
            error.add_note(f"target {name}, seed {seed}, input {count}: {data!r}")
            raise
        count += 1
    return count
