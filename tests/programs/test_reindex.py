"""courierpy reindex, and that what the index says is what the messages say."""
from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bench.corpus import Writer
from courierpy.admin import reindex
from courierpy.imap import attributes
from courierpy.maildir.store import Store
from courierpy.message import Message
from courierpy.message.mime import Limits
from tests.conftest import account_ids, fill, plain_environ

ODD = [
    b"", b"\n", b"no header at all", b"Subject: no body", b"Subject: x\n\n", b"\xff\xfe\0\0\n\n\0\n",
    b"From: \xe9t\xe9 <a@b>\nSubject: =?utf-8?q?=C3=A9?= =?x-none?b?!!?=\n\nraw \xe9\n",
    b"Subject: caf\xc3\xa9\nFrom: \"\xc3\xa4\" <\xc3\xa4@example.org>\nTo: group: a@b, c@d;, <>\n\nutf8\n",
    b"Date: nonsense\nMessage-ID: <a@b>\nReferences: <x@y> junk <z\n\nx\r\ny\n",
    b"Date: Thu, 31 Feb 2021 25:61:61 +9999\nCc:\nBcc: hidden@example.org\n\n.",
    b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: text/html\n\n<p>t&amp;wo",
    b"Content-Type: multipart/mixed\n\n--b\n\none\n--b--\n",
    b"Content-Type: multipart/mixed; boundary=\"a\"\n\n--a\nContent-Type: message/rfc822\n\nSubject: inner\n"
    b"Content-Type: multipart/alternative; boundary=\"ab\"\n\n--ab\n\n1\n--ab\n\n2\n--ab--\n--a--\n",
    b"Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\n/v8AQQBC*\n",
    b"Content-Type: text/plain; charset=no\nContent-Transfer-Encoding: quoted-printable\n\n=E9=\n=XX=3D\n",
    b"Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nSubject: deep\n\nend\n",
    b"X: " + b"y" * 3000 + b"\n folded\n\ttwice\nsubject: Re: Fwd: [l] re: base\nIn-Reply-To: <a@b>\n\nz\n",
]
FETCHES = ["ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "INTERNALDATE", "UID FLAGS ENVELOPE INTERNALDATE",
           "ENVELOPE BODYSTRUCTURE RFC822.SIZE INTERNALDATE FLAGS", "BODY",
           "BODY.PEEK[HEADER.FIELDS (From Subject Date)]", "BODY.PEEK[HEADER.FIELDS.NOT (Received)]"]
SETS = ["1:*", "5", "2:7", "1,3,9:11,20", "*", "40:55"]
SEARCHES = ["FROM a", "FROM \"\"", "TO example", "CC org", "BCC hidden", "SUBJECT re", "SUBJECT \"\"",
            "TEXT example", "BODY on", "TEXT {5+}\r\ncaf\xc3\xa9", "HEADER Message-ID a@b", "HEADER X folded",
            "SENTSINCE 1-Jan-2018", "SENTON 1-Mar-2017", "SENTBEFORE 1-Jan-2019", "SINCE 1-Jan-2018",
            "BEFORE 2-Jan-2020", "LARGER 2000", "SMALLER 700", "NOT FROM a", "OR FROM a TO b",
            "3:9 TEXT e", "UID 4 BODY o", "FLAGGED SUBJECT e"]
SORTS = ["SUBJECT", "REVERSE DATE", "FROM SIZE", "TO", "CC", "ARRIVAL", "REVERSE SIZE SUBJECT"]
COMMANDS = ([f"FETCH {numbers} ({items})" for items in FETCHES for numbers in SETS]
            + [f"SEARCH CHARSET UTF-8 {key}" if "{" in key else f"UID SEARCH {key}" for key in SEARCHES]
            + [f"SORT ({key}) UTF-8 {what}" for key in SORTS for what in ("ALL", "2:30", "1,5,9:20 FROM a")]
            + [f"THREAD {algorithm} UTF-8 {what}" for algorithm in ("REFERENCES", "ORDEREDSUBJECT")
               for what in ("ALL", "3:40")])


class Client:
    """imapd over pipes, one command after another."""

    def __init__(self, maildir: Path, utf8: bool = False, **environ: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "courierpy.imapd", str(maildir)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=plain_environ(AUTHENTICATED="demo", **environ))
        assert self.process.stdout is not None
        self.process.stdout.readline()
        if utf8:
            self.do("ENABLE UTF8=ACCEPT")
        self.do("SELECT INBOX")

    def do(self, command: str) -> bytes:
        """The whole answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"a " + command.encode("latin-1") + b"\r\n")
        self.process.stdin.flush()
        lines = [b""]
        while not re.match(rb"a (?:OK|NO|BAD) ", lines[-1]):       # no message has a line that begins so
            lines.append(self.process.stdout.readline())
            assert lines[-1], lines
        answer = b"".join(lines)
        # RFC 6855 3: no CHARSET with UTF8=ACCEPT
        assert re.search(rb"(?:\A|\n)a (?:OK|BAD CHARSET)[^\n]*\n\Z", answer), (command, answer)
        return answer

    def all(self) -> dict[str, bytes]:
        return {command: self.do(command) for command in COMMANDS}

    def end(self) -> None:
        self.do("LOGOUT")
        self.process.communicate(timeout=20)


def ask(maildir: Path, utf8: bool = False, **environ: str) -> dict[str, bytes]:
    client = Client(maildir, utf8, **environ)
    found = client.all()
    client.end()
    return found


def deliver(maildir: Path, number: int, data: bytes) -> None:
    name = f"{1_500_000_000 + number}.M{number}P1.host:2,{'F' if number % 3 else 'S'}"
    (maildir / "cur" / name).write_bytes(data)
    when = 1_450_000_000 + number * 2_000_000
    os.utime(maildir / "cur" / name, (when, when))


@pytest.fixture
def mailbox(tmp_path: Path) -> Path:
    path = tmp_path / "Maildir"
    fill(path, 0)
    writer = Writer()
    for number in range(60):
        deliver(path, number, ODD[number] if number < len(ODD) else writer.message(number, 60)[0])
    return path


@pytest.fixture
def visited(mailbox: Path) -> Path:
    """Nothing in it is recent any more, and there is no index."""
    Client(mailbox).end()
    shutil.rmtree(mailbox / "courierpyindex", ignore_errors=True)
    return mailbox


def run(*words: str, status: int = 0, **environ: str) -> str:
    done = subprocess.run([sys.executable, "-m", "tests.programs.test_reindex", *words], capture_output=True,
                          text=True, env=plain_environ(**environ), check=False, timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


NEVER = {"IMAP_INDEXDIR": "/nonexistent"}


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("ahead", [False, True])
def test_answers_are_those_of_the_messages(visited: Path, utf8: bool, ahead: bool) -> None:
    """From the files; by the cache that fills; from it in the same and in a new session; after changes."""
    live = ask(visited, utf8, **NEVER)
    assert not (visited / "courierpyindex").exists()
    if ahead:
        run("--text", "--utf8", str(visited))
        assert (visited / "courierpyindex" / "cache.find-body").exists()
    client = Client(visited, utf8)
    assert client.all() == live
    assert client.all() == live
    client.end()
    assert ask(visited, utf8) == live
    assert {"cache.envelope-utf8" if utf8 else "cache.envelope", "cache.structure-utf8" if utf8 else
            "cache.structure", "cache.find-body", "cache.ids"} <= {*os.listdir(visited / "courierpyindex")}

    client = Client(visited, utf8)             # one that knows the messages that go
    client.do("FETCH 1:* (ENVELOPE)")
    other = Client(visited, utf8)
    other.do("STORE 2,9,30:33,60 +FLAGS (\\Deleted)")
    other.do("EXPUNGE")
    other.end()
    for number in (70, 71, 72):
        deliver(visited, number, ODD[number - 60])
    Client(visited).end()                      # they are recent to nobody
    past = time.time() - 100
    os.utime(visited / "cur", (past, past))
    client.do("NOOP")
    live = ask(visited, utf8, **NEVER)
    assert client.all() == live
    assert client.all() == live
    client.end()
    assert ask(visited, utf8) == live
    assert ask(visited, utf8) == live


def test_a_message_that_is_not_whole_yet(mailbox: Path) -> None:
    """What a program still writes to is told as it is, and not kept."""
    path = mailbox / "cur" / "1600000000.M1P1.host:2,"
    path.write_bytes(b"Subject: half")
    client = Client(mailbox)
    assert b"half NIL" not in client.do("FETCH 61 (ENVELOPE)")
    assert b'"half"' in client.do("FETCH 61 (ENVELOPE)")
    with path.open("ab") as file:
        file.write(b" and whole\n\ntext\n")
    for which in (client, Client(mailbox)):
        assert b'"half and whole"' in which.do("FETCH 61 (ENVELOPE)")
        assert b"RFC822.SIZE 33" in which.do("FETCH 61 (RFC822.SIZE)")
        assert b" 61" in which.do("SEARCH SUBJECT \"and whole\"")
        which.end()


def test_other_limits_are_other_values(visited: Path) -> None:
    plain = ask(visited)
    other = ask(visited, IMAP_MIME_PARTS="2", IMAP_HEADER_BYTES="40")
    assert other != plain
    assert other == ask(visited, IMAP_MIME_PARTS="2", IMAP_HEADER_BYTES="40", **NEVER)
    assert ask(visited) == plain


@pytest.mark.parametrize(("asked", "answered", "kept"), [
    ("FETCH 20:30 (BODY.PEEK[HEADER.FIELDS (Subject X-{})])", "Subject: ",
     "cache.fields.HEADER.FIELDS.SUBJECT.X-{}"),
    ("SEARCH 20:30 NOT HEADER X-{} a", " 20 21 22 23 24 25 26 27 28 29 30", "cache.find-field.X-{}")])
def test_a_client_that_asks_ever_differently_does_not_fill_the_disk(mailbox: Path, asked: str, answered: str,
                                                                    kept: str) -> None:
    client = Client(mailbox)
    for number in range(3 * attributes.ASKED):
        assert answered in client.do(asked.format(number)).decode("latin-1")
        client.do("SELECT INBOX")              # what is known is written
    client.end()
    found = {path.name for path in (mailbox / "courierpyindex").glob(kept.format("*"))}
    assert len(found) == attributes.ASKED
    assert kept.format(3 * attributes.ASKED - 1) in found


def test_the_version_is_raised_when_a_rendering_changes() -> None:
    """If this fails because a value is meant to be another one now: raise attributes.VERSION, and
    put the new pair here.  Else an old index would go on telling the old value."""
    digest = hashlib.sha256()
    for data in ODD:
        for kind in sorted(attributes.KINDS):
            value = attributes.KINDS[kind][1](Message(data))
            digest.update(b"%s %d\n" % (kind.encode(), len(value)))
            digest.update(value)
    assert (attributes.VERSION, digest.hexdigest()[:16]) == (10, "f6cd6cc6fc3f0dd7")


def test_what_was_not_looked_up_is_not_written_twice(mailbox: Path) -> None:
    folder = Store(str(mailbox), host="host").open("INBOX")
    uids = folder.scan().messages.uids
    mine = attributes.Attributes(folder, Limits())
    first = mine.take(["find-subject"], uids[10:20])
    folder.cache.flush()
    size = os.path.getsize(folder.index.file("cache.find-subject"))
    assert [*mine.pieces(["find-subject"], uids[10:20], 10, known=False)] == [(0, 10, first)]
    folder.cache.flush()
    assert os.path.getsize(folder.index.file("cache.find-subject")) == size
    [_] = mine.pieces(["find-subject"], uids[:30], 30, known=False)        # also those before and behind
    folder.cache.flush()
    assert 0 not in folder.cache.known("find-subject", uids[:30])
    assert folder.cache.sound("find-subject") == ""


def test_what_it_says(mailbox: Path) -> None:
    said = run(str(mailbox))
    assert "INBOX: 60 messages, 60 of them computed" in said
    assert re.search(r"FETCH \(.*\) of 60 messages: \d+\.\d ms without the index, \d+\.\d ms with it", said)
    assert "\r" not in said
    assert "INBOX: 60 messages, 0 of them computed" in run(str(mailbox))
    assert "60 messages, 60 of them computed" in run("--text", str(mailbox))
    assert "60 messages, 0 of them computed" in run("--text", str(mailbox))
    assert "would be computed: envelope-utf8 of 60, structure-utf8 of 60" in run("--utf8", "--check",
                                                                                 str(mailbox))


def test_new_mail_stays_recent_for_the_next_session(mailbox: Path) -> None:
    (mailbox / "new" / "1600000001.M1P1.host").write_bytes(b"Subject: new\n\n")
    run(str(mailbox))
    client = Client(mailbox)
    assert client.do("SEARCH RECENT").startswith(b"* SEARCH " + b" ".join(
        b"%d" % number for number in range(1, 62)))
    client.end()


def test_check_finds_what_is_damaged_and_a_run_mends_it(mailbox: Path) -> None:
    run("--text", str(mailbox))
    index = mailbox / "courierpyindex"
    before = {path.name: path.read_bytes() for path in index.iterdir()}
    assert "made anew" not in run("--text", "--check", str(mailbox))
    for path in index.iterdir():
        if path.name.startswith("cache."):
            path.write_bytes(path.read_bytes()[:-1] + b"!")
    (index / "cache.ids").write_bytes(before["cache.ids"][:-9])
    (index / "cache.to").write_bytes(b"other")
    said = run("--text", "--check", str(mailbox), status=1)
    assert "cache.envelope: damaged" in said
    assert "cache.ids: torn at its end" in said
    assert "cache.to: of another version" in said
    run("--text", str(mailbox))
    assert "made anew" not in run("--text", "--check", str(mailbox))
    assert {path.name for path in index.iterdir()} == set(before)


def test_other_limits_and_another_place(mailbox: Path, tmp_path: Path) -> None:
    (tmp_path / "indexes").mkdir()
    (tmp_path / "indexes").chmod(0o1777)
    (tmp_path / "imapd").write_text(f"IMAP_INDEXDIR={tmp_path}/indexes\nIMAP_MIME_PARTS=3\n")
    run("-C", str(tmp_path / "imapd"), str(mailbox))
    assert not (mailbox / "courierpyindex").exists()
    (where,) = (tmp_path / "indexes").glob("*/*")
    assert (where / "cache.envelope").exists()
    assert "made anew" not in run("-C", str(tmp_path / "imapd"), "--check", str(mailbox))
    (tmp_path / "imapd").write_text(f"IMAP_INDEXDIR={tmp_path}/indexes\nIMAP_MIME_PARTS=4\n")
    assert "cache.envelope: of another version, UIDVALIDITY or limits" in run(
        "-C", str(tmp_path / "imapd"), "--check", str(mailbox), status=1)
    run("-C", str(tmp_path / "imapd"), "--drop", str(mailbox))
    assert not where.exists()


def test_several_maildirs_and_folders(mailbox: Path, tmp_path: Path) -> None:
    fill(tmp_path / "two", 2)
    fill(mailbox / ".Sub", 3)
    said = run(str(mailbox), str(tmp_path / "two"), str(tmp_path / "none"), status=1)
    assert "INBOX: 60 messages" in said
    assert "INBOX.Sub: 3 messages" in said
    assert "INBOX: 2 messages" in said
    assert "none: " in said
    assert said.count("without the index") == 4            # two lines for the largest of each
    said = run("--drop", str(mailbox))
    assert "INBOX.Sub" in said
    assert list(mailbox.rglob("courierpyindex")) == []


def test_an_index_that_cannot_be_saved_is_a_failure(mailbox: Path) -> None:
    (mailbox / "courierpyindex").write_bytes(b"")
    assert "nothing could be saved" in run(str(mailbox), status=1)


def test_root_works_with_the_rights_of_the_owner(mailbox: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can")
    uid, gid = account_ids()
    with tempfile.TemporaryDirectory() as name:        # where the owner may go too
        top = Path(name)
        top.chmod(0o755)
        (top / "indexes").mkdir()
        (top / "indexes").chmod(0o1777)
        (top / "imapd").write_text(f"IMAP_INDEXDIR={top}/indexes\n")
        shutil.move(mailbox, top / "Maildir")
        for path in (top / "Maildir", *(top / "Maildir").rglob("*")):
            os.chown(path, uid, gid)
        for words in ((), ("-C", f"{top}/imapd")):
            run(*words, "--text", f"{top}/Maildir")
        files = [*(top / "Maildir" / "courierpyindex").iterdir(), *(top / "indexes").rglob("*")]
        assert len(files) > 20
        assert {(path.stat().st_uid, path.stat().st_mode & 0o077) for path in files} == {(uid, 0)}


def test_an_interrupted_run_keeps_what_it_has(mailbox: Path) -> None:
    for number in range(100, 1500):
        deliver(mailbox, number, b"Subject: %d\n\n" % number + b"text %d\n" % number * 3000)
    done = subprocess.run([sys.executable, "-m", "tests.programs.test_reindex", "--text", str(mailbox)],
                          capture_output=True, timeout=60, check=False,
                          env=plain_environ(INTERRUPTED=str(mailbox / "courierpyindex" / "cache.find-body")))
    assert (done.returncode, done.stderr) == (130, b"courierpy: interrupted; what was computed is kept\n")
    said = run("--text", "--check", str(mailbox))
    assert "made anew" not in said
    left = re.search(r"find-body of ([\d,]+)", said)
    assert left is not None
    assert 0 < int(left[1].replace(",", "")) < 1460
    shutil.rmtree(mailbox / "tmp")             # nothing needs what a session may have left there
    assert "made anew" not in run("--text", "--check", str(mailbox))


def interrupted(kept: str) -> None:
    """From now on this process is interrupted as soon as there is the file ``kept``."""
    signal.signal(signal.SIGINT, signal.default_int_handler)       # who started the tests may ignore it
    show = reindex.Bar.show

    def shown(self: reindex.Bar, done: int, total: int) -> None:
        show(self, done, total)
        if os.path.exists(kept):
            os.kill(os.getpid(), signal.SIGINT)
    reindex.Bar.show = shown  # type: ignore[method-assign]


if __name__ == "__main__":
    if "INTERRUPTED" in os.environ:
        interrupted(os.environ["INTERRUPTED"])
    sys.exit(reindex.main(sys.argv[1:]))
