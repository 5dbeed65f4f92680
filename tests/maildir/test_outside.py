"""Changes by other programs, under an open session: they are normal, and nothing is lost or invented."""
from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.maildir import names
from courierpy.maildir.formats import uiddb
from tests.conftest import fill
from tests.realtime.windows import over_pipe

pytestmark = pytest.mark.server
SMALL, LARGE = 3, 300
STRANGE = [b"1700000001.M1P1.a:b:2,", b"1700000002,S=5,W=6:2,S", b"with blank and\ttab", b" leading blank",
           b"\xff\xfe 8bit \xe9:2,F", "ümlaut:2,".encode(), b"x" * 250 + b":2,", b"y" * 255, b"odd:2,zaQ9-S",
           b"one:1,x", b"twice:2,S:2,F", b"colon:", b":2,", b":2,S", b":", b"?12", b"12", b"%41", b"a\\b\"c",
           b"empty info:2", b"long-flags:2," + b"S" * 100, b"nul\x01\x7f", b"courierimapuiddb", b"~", b"*"]
NO_MESSAGES = [b".hidden", b"line\nfeed", b".:2,S"]


def body(name: bytes) -> bytes:
    return b"Subject: %s\n\n%s\n" % (name.hex().encode()[:60], name.hex().encode())


class Look:
    """A session with INBOX open; "live": in IDLE while it happens, "outside": between commands."""

    def __init__(self, maildir: Path, how: str) -> None:
        self.how = how
        self.window = over_pipe(maildir)
        self.count = self.exists(self.window.do("SELECT INBOX"))
        if how == "watched":
            self.window.idle()
            self.window.done()
        if how == "live":
            self.window.idle()

    @staticmethod
    def exists(lines: list[str], default: int = -1) -> int:
        found = [int(match[1]) for line in lines if (match := re.fullmatch(r"\* (\d+) EXISTS", line))]
        return found[-1] if found else default

    def until(self, count: int) -> list[str]:
        """What is told until there are ``count`` messages."""
        told: list[str] = []
        if self.how == "live":
            while self.count != count:
                told.append(self.window.line())
                self.count = self.exists(told[-1:], self.count)
            told += self.window.done()
        else:
            told = self.window.do("NOOP")
        self.count = self.exists(told, self.count)
        assert self.count == count
        return told

    def messages(self, items: str = "BODY.PEEK[]") -> dict[int, bytes]:
        """By UID."""
        self.window.send(f"m UID FETCH 1:* ({items})")
        found = {}
        while not (line := self.window.response()).startswith(b"m "):
            if match := re.match(rb"\* \d+ FETCH \(UID (\d+) (.*)\)$", line, re.S):
                found[int(match[1])] = match[2].partition(b"}\r\n")[2] or match[2]
        assert line.startswith(b"m OK"), line
        return found


@pytest.fixture(params=[SMALL, LARGE], ids=["small", "large"])
def maildir(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "Maildir"
    fill(path, request.param)
    window = over_pipe(path)
    window.do("SELECT INBOX")
    window.close()
    return path


@pytest.fixture(params=["between", "watched", "live"])
def look(request: pytest.FixtureRequest, maildir: Path) -> Iterator[Look]:
    looking = Look(maildir, request.param)
    yield looking
    looking.window.close()


def put(maildir: Path, place: str, name: bytes, data: bytes) -> None:
    """As a delivery agent does."""
    file = os.path.join(os.fsencode(maildir / "tmp"), name)
    with open(file, "wb") as stream:
        stream.write(data)
    os.rename(file, os.path.join(os.fsencode(maildir / place), name))


@pytest.mark.parametrize("place", ["new", "cur"])
def test_strange_names(place: str, maildir: Path, look: Look) -> None:
    """Each is a message: it is read, flagged as far as its name can hold it, and expunged."""
    before = look.count
    for name in (*STRANGE, *NO_MESSAGES):
        put(maildir, place, name, body(name))
    look.until(before + len(STRANGE))
    bodies = {uid: text for uid, text in look.messages().items() if uid > before}
    assert sorted(bodies.values()) == sorted(body(name).replace(b"\n", b"\r\n") for name in STRANGE)
    for uid in bodies:
        look.window.send(f"f UID STORE {uid} +FLAGS (\\Flagged \\Seen word)")
        assert re.match("f (OK|NO)", look.window.until("f ")[-1])
    look.window.do("NOOP")
    assert {uid: text for uid, text in look.messages().items() if uid > before} == bodies
    flags = look.messages("FLAGS")
    assert sum(b"\\Flagged" in flags[uid] for uid in bodies) >= len(STRANGE) - 4
    again = Look(maildir, "between")
    assert {uid: text for uid, text in again.messages().items() if uid > before} == bodies
    for uid in bodies:
        again.window.send(f"d UID STORE {uid} +FLAGS.SILENT (\\Deleted)")
        again.window.until("d ")
    again.window.do("EXPUNGE")
    left = [uid for uid in again.messages("FLAGS") if uid > before]
    assert len(left) <= 4
    look.window.do("NOOP")
    assert [uid for uid in look.messages("FLAGS") if uid > before] == left
    again.window.close()
    for name in NO_MESSAGES:                             # nothing that is no message is touched
        assert os.path.exists(os.path.join(os.fsencode(maildir / place), name))


def test_removed(maildir: Path, look: Look) -> None:
    cur = maildir / "cur"
    for number in (1, 2):
        next(cur.glob(f"170000000{number}.*")).unlink()
    told = look.until(look.count - 2)
    assert [line for line in told if line.endswith("EXPUNGE")] == ["* 1 EXPUNGE", "* 1 EXPUNGE"]
    assert min(look.messages("FLAGS")) == 3


def test_renamed(maildir: Path, look: Look) -> None:
    """Flags of another program; also by link and unlink, and with letters that are its own."""
    cur = maildir / "cur"
    one, two, three = (next(cur.glob(f"170000000{number}.*")) for number in (1, 2, 3))
    one.rename(one.with_name(one.name.partition(":")[0] + ":2,FS"))
    os.link(two, two.with_name(two.name.partition(":")[0] + ":2,S"))
    two.unlink()
    three.rename(three.with_name(three.name.partition(":")[0] + ":2,PRa"))
    look.until(look.count)
    look.window.do("NOOP")
    flags = look.messages("FLAGS")
    plain = {uid: flags[uid].replace(b" \\Recent", b"") for uid in (1, 2, 3)}
    assert plain == {1: b"FLAGS (\\Flagged \\Seen)", 2: b"FLAGS (\\Seen)", 3: b"FLAGS (\\Answered)"}
    look.window.do("UID STORE 3 +FLAGS.SILENT (\\Seen)")
    assert [name for name in os.listdir(cur) if name.startswith("1700000003")][0].endswith(":2,PRSa")


def test_renamed_to_another_message(maildir: Path, look: Look) -> None:
    """Another base name is another message, with another number."""
    cur = maildir / "cur"
    one = next(cur.glob("1700000001.*"))
    text = one.read_bytes().replace(b"\n", b"\r\n")
    one.rename(cur / "1700000001.other:2,")
    told = look.window.done() if look.how == "live" else []
    told += look.window.do("NOOP")
    assert "* 1 EXPUNGE" in told
    after = look.messages()
    assert 1 not in after
    assert after[max(after)] == text


def test_duplicates_of_a_base_name(maildir: Path, look: Look) -> None:
    """One of them is shown.  What a UID means does not change while its file is there."""
    cur = maildir / "cur"
    one = next(cur.glob("1700000001.*"))
    count = look.count
    twin = one.with_name(one.name.partition(":")[0] + ":2,S")
    shutil.copy(one, twin)
    look.until(count)
    look.window.do("NOOP")
    bodies = look.messages()
    assert len(bodies) == count
    twin.unlink()
    told = look.window.do("NOOP")
    assert not any("EXPUNGE" in line for line in told)
    assert look.messages() == bodies
    shutil.copy(one, twin)
    one.unlink()
    look.window.do("NOOP")
    assert look.messages() == bodies


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("numbers", ["1", "1:*"])
def test_flags_that_make_the_name_of_a_duplicate(numbers: str, copied: bool, maildir: Path,
                                                 look: Look) -> None:
    """Where that is another message, which was not shown, it is shown from then on."""
    cur = maildir / "cur"
    one = next(cur.glob("1700000001.*"))
    one = one.rename(one.with_name(one.name.partition(":")[0] + ":2,"))
    hidden = one.read_bytes().replace(b"\n", b"\r\n")
    twin = hidden if copied else b"Subject: twin\r\n\r\n"
    one.with_name(one.name + "S").write_bytes(twin.replace(b"\r\n", b"\n"))
    look.until(look.count)
    assert twin in look.messages().values()
    look.window.do(f"UID STORE {numbers} -FLAGS (\\Seen)")
    look.window.do("NOOP")
    bodies = look.messages()
    assert len(bodies) == look.count + (not copied)
    assert bodies[max(bodies)] == hidden or copied
    assert twin in bodies.values()
    assert len(os.listdir(cur)) == len(bodies)


def test_a_folder_is_removed_under_a_session(maildir: Path, look: Look) -> None:
    window = look.window
    if look.how == "live":
        window.done()
    window.do("CREATE INBOX.a")
    window.do("APPEND INBOX.a {4+}\r\nA: b")
    window.do("SELECT INBOX.a")
    if look.how != "between":
        window.idle()
    if look.how == "watched":
        window.done()
    shutil.rmtree(maildir / ".a")
    if look.how != "live":
        window.send("n NOOP")
    told = window.line()
    if told == "* 1 EXPUNGE":          # it was heard before the folder had gone too
        told = window.line()
    assert told.startswith("* BYE [NONEXISTENT]")


@pytest.mark.parametrize("part", ["cur", "new", "tmp"])
def test_a_part_of_a_folder_is_removed(part: str, maildir: Path) -> None:
    """Told, or made again; nothing crashes."""
    window = over_pipe(maildir)
    window.do("CREATE INBOX.a")
    window.do("SELECT INBOX.a")
    shutil.rmtree(maildir / ".a" / part)
    window.send("n NOOP")
    assert re.match(r"n OK|\* BYE \[NONEXISTENT\]", window.line())
    window.close()
    again = over_pipe(maildir)
    assert "* 0 EXISTS" in again.do("SELECT INBOX.a")
    assert "APPENDUID" not in again.do("APPEND INBOX.a {4+}\r\nA: b")
    assert "* 1 EXISTS" in again.do("SELECT INBOX.a")
    again.close()


@pytest.mark.parametrize("part", ["", "cur", "new", "tmp", ".a"])
def test_directories_that_are_links(part: str, maildir: Path, tmp_path: Path) -> None:
    """A Maildir, a part of it, a folder; a folder also to another file system, where there is one."""
    far = part == ".a" and os.access("/dev/shm", os.W_OK)
    away = Path("/dev/shm") / f"courierpy-{os.getpid()}" if far else tmp_path / "away"
    here = maildir / part
    first = over_pipe(maildir)
    first.do("CREATE INBOX.a")
    first.close()
    shutil.copytree(here, away)
    shutil.rmtree(here)
    here.symlink_to(away)
    try:
        look = Look(maildir, "live")
        put(maildir, "new", b"1800000000.M1P1.host", b"A: b\n\nx\n")
        look.until(look.count + 1)
        count = look.count
        look.window.do("APPEND INBOX (word \\Seen) {4+}\r\nA: b")
        look.window.do(f"COPY {count}:* INBOX")
        look.window.do(f"COPY {count} INBOX.a")
        look.window.do(f"MOVE {count} INBOX.a")
        look.window.do("STORE 1 +FLAGS.SILENT (\\Deleted word)")
        look.window.do("EXPUNGE")
        bodies = look.messages()
        assert len(bodies) == count + 1
        again = Look(maildir, "between")
        assert again.messages() == bodies
        again.window.do("SELECT INBOX.a")
        assert list(again.messages().values()) == [b"A: b\r\n\r\nx\r\n"] * 2
        for window in (look.window, again.window):
            window.close()
    finally:
        shutil.rmtree(away)


def test_a_hundred_thousand_files_at_once(tmp_path: Path) -> None:
    """Dropped into cur/ under a session, more than the kernel keeps events for."""
    maildir = tmp_path / "Maildir"
    fill(maildir, 1)
    look = Look(maildir, "live")
    source = next((maildir / "cur").iterdir())
    count = 100_000
    links = 0
    for number in range(count):
        try:
            os.link(source, maildir / "cur" / f"{1800000000 + number}.M{number}P1.host:2,")
            links += 1
        except OSError:                                  # a file has no more names on this file system
            source = maildir / "cur" / f"{1900000000 + number}.M{number}P1.host:2,"
            source.write_bytes(b"A: b\n\nx\n")
            links += 1
    look.until(links + 1)
    told = look.window.do(f"UID SEARCH UID {links}:*")
    assert told[0] == f"* SEARCH {links} {links + 1}"
    look.window.do(f"UID STORE {links} +FLAGS.SILENT (\\Deleted)")
    assert f"* {links} EXPUNGE" in look.window.do("EXPUNGE")
    look.window.close()
    database = uiddb.read(str(maildir / uiddb.NAME))
    assert database is not None
    assert len(database) == links
    assert set(database.names()) == {names.base(name) for name in os.listdir(os.fsencode(maildir / "cur"))}


def test_flags_by_link_and_unlink_again_and_again(maildir: Path, look: Look) -> None:
    """At each moment the message has a name, and often two: it is never gone, whenever a session looks."""
    cur = maildir / "cur"
    files = [next(cur.glob(f"170000000{number}.*")) for number in (1, 2)]
    told: list[str] = []
    for turn in range(200):
        for at, file in enumerate(files):
            other = file.with_name(file.name.partition(":")[0] + (":2,F" if turn % 2 == 0 else ":2,"))
            os.link(file, other)
            if look.how != "live" and turn % 20 == at:
                told += look.window.do("NOOP")           # in the middle of it
            file.unlink()
            files[at] = other
    told += look.until(look.count)
    told += look.window.do("NOOP")
    assert not any(line.endswith(("EXPUNGE", "EXISTS")) for line in told)
    assert {1, 2} <= set(look.messages("FLAGS"))
