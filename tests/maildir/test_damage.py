"""Every file that we keep beside the messages, damaged in every way: the messages are served, their
numbers come back from what else knows them, or UIDVALIDITY changes and open sessions are told."""
from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from courierpy.maildir.formats import uiddb
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from courierpy.model.flags import FLAGGED, SEEN, FlagChange
from courierpy.model.uidset import UidSet
from tests.conftest import MAIL, fill, octets
from tests.realtime.windows import Window, over_pipe

INDEX = "courierpyindex"
FILES = ["courierimapuiddb", "courierimapkeywords/:list", "courierimapkeywords/1700000002.M2P1.host",
         "courierimapkeywords/.N.1700000001.M1P1.host", f"{INDEX}/columns", f"{INDEX}/uids",
         f"{INDEX}/recent"]


def _garbage(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _changed(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = change(path.read_bytes())
        path.unlink()                                    # as a program does that writes anew
        path.write_bytes(data)
    return damage


def _in_place(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))
    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "empty": _changed(lambda data: b""),
    "half": _changed(lambda data: data[:len(data) // 2]),
    "cut in place": _in_place(lambda data: data[:len(data) * 2 // 3]),
    "without its end": _changed(lambda data: data[:-1]),
    "garbage": _changed(lambda data: _garbage(len(data) + 1)),
    "zeros": _in_place(lambda data: bytes(len(data))),
    "garbage at its end": _changed(lambda data: data + _garbage(50)),
    "a newer version": _changed(lambda data: re.sub(rb"^(courierpy )?\d+", rb"\g<1>99", data)),
    "twice": _changed(lambda data: data * 2),
    "nonsense": _changed(lambda data: b"4294967296 x:-1 \n\n" * 3),
    "a directory": _directory,
    "a link to itself": _link,
}


def wire(number: int) -> bytes:
    return (MAIL % (number, number, number)).replace(b"\n", b"\r\n")


def made(tmp_path: Path, count: int) -> Path:
    """A folder that sessions used, with all the files there are."""
    maildir = tmp_path / "Maildir"
    fill(maildir, count)
    folder = Store(str(maildir), host="host").open("INBOX")
    folder.scan()
    folder.store([1], FlagChange("+", FLAGGED, frozenset({b"one"})))
    folder.store([3], FlagChange("+", SEEN, frozenset({b"two", b"three"})))
    folder.close()
    folder = Store(str(maildir), host="host").open("INBOX")
    folder.scan()                                        # merges the keywords
    folder.store([2], FlagChange("+", 0, frozenset({b"update"})))
    time.sleep(0.03)
    folder.scan()
    folder.close(wait=True)
    folder.index.set_unclaimed(UidSet([(2, 2)]))
    return maildir


def file_of(maildir: Path, name: str) -> Path:
    if ".N." in name:
        return next((maildir / "courierimapkeywords").glob(f".*.{name.partition('.N.')[2]}"))
    return maildir / name


def validity(lines: list[str]) -> int:
    return next(int(match[1]) for line in lines if (match := re.search(r"UIDVALIDITY (\d+)", line)))


def bodies(window: Window) -> dict[int, bytes]:
    window.send("b UID FETCH 1:* (BODY.PEEK[])")
    found = {}
    while not (line := window.response()).startswith(b"b "):
        if match := re.match(rb"\* \d+ FETCH \(UID (\d+) BODY\[\] \{\d+\}\r\n(.*)\)$", line, re.S):
            found[int(match[1])] = match[2]
    assert line.startswith(b"b OK"), line
    return found


@pytest.mark.server
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("count", "name"), [
    *((5, name) for name in FILES if not name.endswith("columns")),          # which small folders have not
    *((300, name) for name in FILES if "keywords" not in name)])
def test_one_file(count: int, name: str, damage: str, tmp_path: Path) -> None:
    """With a session open meanwhile, and with one that comes after."""
    maildir = made(tmp_path, count)
    path = file_of(maildir, name)
    opened = over_pipe(maildir)
    first = validity(opened.do("SELECT INBOX"))
    if not path.exists():                                # the session used it up
        assert name.endswith(("recent", "1700000002.M2P1.host"))
        path.write_bytes(b"2\n")
    DAMAGES[damage](path)
    after = over_pipe(maildir)
    messages = {number: wire(number) for number in range(1, count + 1)}
    unreadable = damage.startswith("a ") and damage != "a newer version"
    if name == "courierimapuiddb" and unreadable:        # not a lost file but a sick disk: no new numbers
        after.send("s SELECT INBOX")
        assert after.until("s ")[-1].startswith("s NO [UNAVAILABLE]")
        assert bodies(opened) == messages
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        opened.do("NOOP")
    assert validity(after.do("SELECT INBOX")) == first
    assert bodies(after) == messages
    assert bodies(opened) == messages
    assert opened.do("NOOP")[-1:] != ["* BYE"]
    for number, window in enumerate((opened, after, opened), count + 1):
        window.send("a APPEND INBOX {4+}\r\nA: b")
        assert f"[APPENDUID {first} {number}]" in window.until("a ")[-1]
        window.send("f STORE 4 +FLAGS.SILENT (\\Answered word)")
        # what others have cannot be kept when it cannot be read
        wanted = "NO [UNAVAILABLE]" if "keywords/:list" in name and unreadable else "OK"
        assert window.until("f ")[-1].startswith(f"f {wanted}")
    for window in (opened, after):
        window.do("NOOP")
        assert bodies(window) == {**messages, **{count + more: b"A: b" for more in (1, 2, 3)}}
        flags = "\n".join(window.do("UID FETCH 1:4 (FLAGS)"))
        assert re.search(r"UID 1 FLAGS \([^)]*\\Flagged", flags)
        assert re.search(r"UID 3 FLAGS \([^)]*\\Seen", flags)
        for word in (r"\\Answered", "word"):             # all of it, or nothing
            assert bool(re.search(rf"UID 4 FLAGS \([^)]*{word}", flags)) == (wanted == "OK")
        if "keywords" not in name:
            assert re.search(r"UID 1 FLAGS \([^)]* one", flags)
        window.close()
    assert over_pipe_once(maildir) == (first, count + 3)


def over_pipe_once(maildir: Path) -> tuple[int, int]:
    """(UIDVALIDITY, number of messages) for one session more."""
    window = over_pipe(maildir)
    lines = window.do("SELECT INBOX")
    window.close()
    there = re.search(r"\* (\d+) EXISTS", "\n".join(lines))
    assert there
    return validity(lines), int(there[1])


@pytest.mark.server
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "garbage", "zeros", "a newer version",
                                    "nonsense"])
@pytest.mark.parametrize("how", ["between", "idle"])
@pytest.mark.parametrize("count", [5, 300])
def test_nothing_knows_the_numbers_any_more(count: int, how: str, damage: str, tmp_path: Path) -> None:
    """UIDVALIDITY changes once; the open session is told to open again, or goes on with what it knows."""
    maildir = made(tmp_path, count)
    opened = over_pipe(maildir)
    first = validity(opened.do("SELECT INBOX"))
    before = bodies(opened)
    if how == "idle":
        opened.idle()
        opened.done()
    shutil.rmtree(maildir / INDEX)
    DAMAGES[damage](maildir / "courierimapuiddb")
    second, there = over_pipe_once(maildir)
    assert there == count
    if damage == "half":                                 # lines are left, and the header
        assert second == first
    else:
        assert second > first
    assert over_pipe_once(maildir) == (second, count)
    (maildir / "new" / "1800000000.M1P1.host").write_bytes(b"A: b\n")
    opened.send("n NOOP")
    told = [opened.line()]
    while not told[-1].startswith(("n ", "* BYE")):
        told.append(opened.line())
    if told[-1].startswith("n "):
        assert second == first
        after = bodies(opened)
        assert all(after[uid] == text for uid, text in before.items() if uid in after)
        assert sorted(after.values()) == sorted([*before.values(), b"A: b\r\n"])
    else:
        assert second != first
    opened.close()


def inbox(maildir: Path) -> Mailbox:
    return Store(str(maildir), host="host").open("INBOX")


def held(folder: Mailbox) -> tuple[int, dict[int, bytes]]:
    snapshot = folder.scan()
    return snapshot.uidvalidity, {uid: octets(folder, uid) for uid in snapshot.messages.uids}


@pytest.mark.parametrize("log", [True, False])
def test_the_uiddb_is_cut_at_every_octet(log: bool, tmp_path: Path) -> None:
    maildir = made(tmp_path, 4)
    path = maildir / uiddb.NAME
    data = path.read_bytes()
    first, messages = held(inbox(maildir))
    saved = {file.name: file.read_bytes() for file in (maildir / INDEX).iterdir()}
    for size in range(len(data)):
        shutil.rmtree(maildir / INDEX)
        if log:
            (maildir / INDEX).mkdir(mode=0o700)
            for name, content in saved.items():
                (maildir / INDEX / name).write_bytes(content)
        path.unlink()
        path.write_bytes(data[:size])
        uidvalidity, now = held(inbox(maildir))
        assert sorted(now.values()) == sorted(messages.values())
        if log and data[:size].count(b"\n") < 1:
            assert (uidvalidity, now) == (first, messages)
        elif uidvalidity == first:
            for uid, text in now.items():
                assert messages.get(uid, text) == text, (size, uid)
        else:
            assert not log
            assert uidvalidity > first
        assert held(inbox(maildir)) == (uidvalidity, now)            # and that is how it stays


def test_the_uiddb_may_not_be_read(tmp_path: Path) -> None:
    """Its owner is another: the numbers come from our log, as another user."""
    if os.getuid():
        pytest.skip("not root: cannot be another user")
    maildir = made(tmp_path, 4)
    first, messages = held(inbox(maildir))
    (maildir / uiddb.NAME).chmod(0)
    os.chown(maildir / uiddb.NAME, 0, 0)
    for path in (maildir, *maildir.rglob("*")):
        if path.name != uiddb.NAME:
            os.chown(path, 65534, 65534)
    for parent in maildir.parents:
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 1:
            parent.chmod(parent.stat().st_mode | 0o111)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            status = 0 if held(inbox(maildir)) == (first, messages) else 2
        finally:
            os._exit(status)
    for fd in (reader, writer):
        os.close(fd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
