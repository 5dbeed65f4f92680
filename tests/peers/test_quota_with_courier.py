"""One maildirsize, kept by the real Courier and by us: side by side on copies, and at the same time."""
from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from courierpy.maildir.errors import QuotaExceeded
from courierpy.maildir.formats import maildirsize
from courierpy.maildir.store import Store
from tests.conftest import need, plain_environ
from tests.peers.counted import deliver, make, recounted

pytestmark = pytest.mark.peers

MAIL = b"Subject: x\r\n\r\nhello\r\n"
APPEND = b"APPEND %s {21+}\r\n" + MAIL


def posted(maildir: Path, octets: int) -> int:
    """Exit code of deliverquota for a message of so many octets."""
    return deliver(maildir, b"x" * (octets - 1) + b"\n")


class Talk:
    """A PREAUTH session, a command at a time; literals as {n+}."""

    def __init__(self, program: str, maildir: Path) -> None:
        words = ([need("/usr/bin/imapd"), str(maildir)] if program == "courier"
                 else [sys.executable, "-m", "courierpy.imapd", str(maildir)])
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=plain_environ(AUTHENTICATED="demo", IMAP_KEYWORDS="1", IMAP_ACL="0", IMAP_USELOCKS="1",
                              HOSTNAME="host", IMAP_EMPTYTRASH=""), cwd=maildir.parent)
        self.line()

    def line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def say(self, command: bytes) -> bytes:
        """The tagged line."""
        assert self.process.stdin is not None
        first, literal, rest = command.partition(b"{21+}\r\n")
        self.process.stdin.write(b"a " + first + (b"{21}\r\n" if literal else b"\r\n"))
        self.process.stdin.flush()
        while not (line := self.line()).startswith((b"a ", b"+")):
            assert line, "the server ended"
        if line.startswith(b"+"):
            self.process.stdin.write(rest + b"\r\n")
            self.process.stdin.flush()
            while not (line := self.line()).startswith(b"a "):
                assert line, "the server ended"
        return line

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)


def test_same_commands_same_octets(tmp_path: Path) -> None:
    """All that Courier's imapd does; the file is compared after each command."""
    commands = [*[APPEND % b"INBOX"] * 3, b"SELECT INBOX", b"STORE 1:2 +FLAGS (\\Deleted)",
                b"STORE 1 -FLAGS (\\Deleted)", b"STORE 3 +FLAGS (\\Seen)", b"EXPUNGE", b"CREATE INBOX.a",
                b"CREATE INBOX.Trash", b"COPY 1:2 INBOX.a", b"COPY 1 INBOX.Trash", b"DELETE INBOX.a",
                b"APPEND INBOX (\\Deleted) {21+}\r\n" + MAIL, APPEND % b"INBOX.Trash", b"CREATE INBOX.b",
                b"COPY 1 INBOX.b", b"RENAME INBOX.b INBOX.c", b"NOOP", b"COPY 3 INBOX.c",
                *[APPEND % b"INBOX"] * 4, b"COPY 1:2 INBOX.c", b"COPY 1:2 INBOX.Trash"]
    seen: dict[str, list[tuple[bool, bytes]]] = {}
    for program in ("courier", "ours"):
        maildir = make(tmp_path / program, "100S,5C")
        talk = Talk(program, maildir)
        seen[program] = [(talk.say(command).startswith(b"a OK"), (maildir / "maildirsize").read_bytes())
                         for command in commands]
        talk.end()
    assert seen["ours"] == seen["courier"]
    assert not all(done for done, _ in seen["ours"])


def test_counts_the_same_of_any_names(tmp_path: Path) -> None:
    chance = random.Random(16)
    maildir = make(tmp_path / "Maildir", "1000000000S")
    for folder in (".a", ".Trash", ".Trash.old", ".trash", "..b", "c"):
        for part in ("cur", "new"):
            (maildir / folder / part).mkdir(parents=True)
    (maildir / "file").write_bytes(b"x" * 1234)
    pieces = [",S=", "1", "7", "23", ":2,", ":1,", "T", "S", "DT", "t", ",", "W=5", "x", ".", ":", "=", "!"]
    for at in range(300):
        name = str(at) + "".join(chance.choices(pieces, k=chance.randrange(8)))
        place = maildir / chance.choice((".", ".", ".a", ".Trash", ".Trash.old", ".trash", "..b", "c")) \
            / chance.choice(("cur", "new")) / name
        kind = chance.randrange(12)
        if kind == 0:
            place.symlink_to(maildir / chance.choice(("file", "nothing")))
        else:
            place.write_bytes(b"x" * chance.randrange(1000))
    theirs = recounted(maildir)
    quota = Store(str(maildir), host="host").quota()
    assert quota is not None
    quota.recount_quietly()
    assert (maildir / "maildirsize").read_bytes() == theirs


@pytest.mark.parametrize("first", [b"5C,100S", b"", b"0S", b"0S,5C", b"3C,4C", b"1S,2S", b"007S", b"10S 5C",
                                   b"1e5S"])
def test_first_line_is_made_anew_the_same(first: bytes, tmp_path: Path) -> None:
    maildir = make(tmp_path / "Maildir", "1S")
    damaged = first + b"\n          -1            0\n"
    (maildir / "maildirsize").write_bytes(damaged)
    posted(maildir, 1)
    theirs = (maildir / "maildirsize").read_bytes()
    shutil.rmtree(maildir)
    make(maildir, "1S")
    (maildir / "maildirsize").write_bytes(damaged)
    mailbox = Store(str(maildir), host="host").open("INBOX")
    draft = mailbox.draft()
    draft.write(b"x")
    mailbox.append([draft])
    assert (maildir / "maildirsize").read_bytes() == theirs


def test_full_for_one_is_full_for_the_other(tmp_path: Path) -> None:
    maildir = make(tmp_path / "Maildir", "100S")
    mailbox = Store(str(maildir), host="host").open("INBOX")
    assert posted(maildir, 60) == 0
    draft = mailbox.draft()
    draft.write(b"x" * 41)
    with pytest.raises(QuotaExceeded):
        mailbox.append([draft])
    draft = mailbox.draft()
    draft.write(b"x" * 40)
    mailbox.append([draft])
    assert posted(maildir, 1) != 0
    assert os.listdir(maildir / "tmp") == []


def test_all_at_the_same_time(tmp_path: Path) -> None:
    """Courier's imapd and deliverquota, our imapd, and what counts again in between: each line is whole, and
    when all is at rest the sum of a count by either is what is there."""
    maildir = make(tmp_path / "Maildir", "100000000S")
    store = Store(str(maildir), host="host")
    quota = store.quota()
    assert quota is not None

    def imap(program: str) -> None:
        talk = Talk(program, maildir)
        for at in range(25):
            done = talk.say(APPEND % b"INBOX")
            assert done.startswith(b"a OK") or program == "courier", done
            if at % 5 == 0:
                talk.say(b"SELECT INBOX")
                talk.say(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
                talk.say(b"EXPUNGE")
        talk.end()

    def delivered(octets: int) -> None:
        for _ in range(25):
            posted(maildir, octets)   # it gives up where it counts again while mail comes

    def counted() -> None:
        for _ in range(10):
            quota.recount_quietly()
    with ThreadPoolExecutor(8) as pool:
        works = [pool.submit(imap, "courier"), pool.submit(imap, "ours"), pool.submit(imap, "ours"),
                 pool.submit(delivered, 10), pool.submit(delivered, 100), pool.submit(counted)]
        for work in works:
            work.result(300)
    for line in (maildir / "maildirsize").read_bytes().splitlines()[1:]:
        assert re.fullmatch(rb" *-?\d+ +-?\d+", line), line
    theirs = recounted(maildir)
    quota.recount_quietly()
    assert (maildir / "maildirsize").read_bytes() == theirs
    found = maildirsize.parse(theirs)
    assert found is not None
    names = [*os.listdir(maildir / "cur"), *os.listdir(maildir / "new")]
    assert found.there.messages == len([name for name in names if "T" not in name.partition(":2,")[2]])


def test_writers_without_a_count_lose_nothing(tmp_path: Path) -> None:
    maildir = make(tmp_path / "Maildir", "100000000S")

    def imap() -> None:
        talk = Talk("ours", maildir)
        for _ in range(20):
            assert talk.say(APPEND % b"INBOX").startswith(b"a OK")
        talk.end()

    def delivered(octets: int) -> None:
        for _ in range(20):
            assert posted(maildir, octets) == 0
    with ThreadPoolExecutor(4) as pool:
        for work in [pool.submit(imap), pool.submit(imap), pool.submit(delivered, 700),
                     pool.submit(delivered, 9)]:
            work.result(300)
    # 82 lines are less than 5120 octets: nobody has counted
    found = maildirsize.parse((maildir / "maildirsize").read_bytes())
    assert found is not None
    assert (found.changes, found.there.octets, found.there.messages) == (81, 20 * (18 + 18 + 700 + 9), 80)
