"""How all messages of a mailbox hang together is kept in its index, and holds for just these messages."""
from __future__ import annotations

import os
import re
import shlex
import sys
import time
from array import array
from pathlib import Path

import pytest

from courierpy.maildir.index import threadshape
from courierpy.maildir.index.columns import Index
from courierpy.maildir.index.threadshape import FEWEST, Shape
from tests.conftest import plain_environ
from tests.view.test_searches import Client

ALGORITHMS = ("ORDEREDSUBJECT", "REFERENCES", "REFS")
MANY = FEWEST + 40


def made(root: Path, count: int) -> Path:
    for part in ("cur", "new", "tmp"):
        (root / part).mkdir(parents=True)
    for number in range(count):
        deliver(root, number)
    return root


def deliver(root: Path, number: int, folder: str = "cur") -> None:
    """Every third message answers the one before it, every seventh the first of all."""
    above = number - 1 if number % 3 == 0 else 0 if number % 7 == 0 else -1
    refs = f"References: <{above}@x>\r\n" if above >= 0 else ""
    path = root / folder / (f"{1700000000 + number}.M{number}P1.host" + (":2,S" if folder == "cur" else ""))
    subject = number % 50 * (not refs)
    path.write_bytes(f"Message-ID: <{number}@x>\r\n{refs}Subject: about {subject}\r\n\r\nx\r\n".encode())
    os.utime(path, (1700000000 + number, 1700000000 + number))


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    return made(tmp_path / "Maildir", MANY)


def session(root: Path) -> Client:
    environ = " ".join(f"{name}={shlex.quote(value)}" for name, value in
                       plain_environ(AUTHENTICATED="demo", IMAP_CAPABILITY="all").items())
    imap = Client(f"env -i {environ} {shlex.quote(sys.executable)} -m courierpy.imapd {root}")
    imap.select()
    return imap


def told(root: Path, *commands: str) -> list[bytes]:
    imap = session(root)
    found = [line for command in commands for line in imap.told(command, b"THREAD")]
    imap.logout()
    return found


def both(algorithm: str) -> tuple[str, str]:
    return f"THREAD {algorithm} UTF-8 ALL", f"UID THREAD {algorithm} UTF-8 ALL"


def files(root: Path) -> list[Path]:
    return sorted(root.rglob("courierpyindex/threads.*"))


def afresh(root: Path, *commands: str) -> list[bytes]:
    for file in files(root):
        file.unlink()
    return told(root, *commands)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_next_session_is_told_the_same(maildir: Path, algorithm: str) -> None:
    first = told(maildir, *both(algorithm))
    [file] = files(maildir)
    assert sorted(map(int, re.findall(rb"\d+", first[0]))) == [*range(1, MANY + 1)]
    # what it is made of is there no more: the answer can only be the one that was kept
    for kind in ("ids", "subject"):
        next(maildir.rglob(f"courierpyindex/cache.{kind}")).unlink()
    for each in (maildir / "cur").iterdir():
        when = each.stat().st_mtime
        each.write_bytes(b"Subject: another\r\n\r\nx\r\n")
        os.utime(each, (when, when))
    assert told(maildir, *both(algorithm)) == first
    file.unlink()
    assert told(maildir, *both(algorithm)) != first


def test_it_holds_for_just_these_messages(maildir: Path) -> None:
    commands = both("REFERENCES")
    before = told(maildir, *commands)
    deliver(maildir, MANY, "new")
    imap = session(maildir)
    imap.store("5:9", "+FLAGS", "\\Deleted")
    imap.expunge()
    imap.logout()
    now = told(maildir, *commands)
    assert len(re.findall(rb"\d+", now[0])) == MANY + 1 - 5 and now != before
    assert told(maildir, *commands) == now == afresh(maildir, *commands)
    # of some messages, and by another order, nothing is kept
    [some] = told(maildir, "THREAD REFERENCES UTF-8 1:20")
    assert sorted(map(int, re.findall(rb"\d+", some))) == [*range(1, 21)]


def test_what_may_be_written_to_yet_is_not_kept(maildir: Path) -> None:
    deliver(maildir, MANY)
    written = next((maildir / "cur").glob(f"{1700000000 + MANY}.*"))
    os.utime(written, (time.time() + 3600,) * 2)
    first = told(maildir, *both("REFERENCES"))
    assert not files(maildir) and len(first) == 2
    os.utime(written, (1700000000, 1700000000))
    told(maildir, *both("REFERENCES"))
    assert len(files(maildir)) == 1


def test_a_small_mailbox_has_no_such_file(tmp_path: Path) -> None:
    root = made(tmp_path / "Maildir", FEWEST - 1)
    told(root, *both("REFERENCES"))
    assert not files(root)


def test_what_is_not_as_it_was_written_is_found_anew(maildir: Path) -> None:
    [first] = told(maildir, "THREAD REFERENCES UTF-8 ALL")
    [file] = files(maildir)
    whole = file.read_bytes()
    for damaged in (b"", whole[:60], whole[:-1], whole + b" ", whole[:2000] + b"\xff" + whole[2001:],
                    whole.replace(b"threads 1", b"threads 0")):
        file.write_bytes(damaged)
        assert told(maildir, "THREAD REFERENCES UTF-8 ALL") == [first]
        assert file.read_bytes() == whole


@pytest.mark.parametrize("form", [b"(%d)" * (MANY - 1), b"(%d)" * MANY + b"(%1000000000d)", b"(%s)" * MANY,
                                  b"(%d)" * (MANY - 1) + b"(%%d)", b"(%d)" * MANY + b"\r\n* BYE"])
def test_no_other_text_is_made_of_it(tmp_path: Path, form: bytes) -> None:
    index, uids = Index(str(made(tmp_path / "Maildir", 0)), "host"), array("I", range(1, MANY + 1))
    threadshape.write(index, "x", 7, uids, Shape(b"(%d)" * MANY, array("I", range(MANY))))
    shape = threadshape.read(index, "x", 7, uids)
    assert shape is not None and b"".join(shape.told(uids)) == b"".join(b"(%d)" % uid for uid in uids)
    assert threadshape.read(index, "x", 8, uids) is None
    assert threadshape.read(index, "x", 7, uids[1:]) is None
    threadshape.write(index, "x", 7, uids, Shape(form, array("I", range(MANY))))
    assert threadshape.read(index, "x", 7, uids) is None
    threadshape.write(index, "x", 7, uids, Shape(b"(%d)" * MANY, array("I", [MANY] * MANY)))
    assert threadshape.read(index, "x", 7, uids) is None


def test_long_threads_are_told_whole() -> None:
    count = 70_000
    shape = Shape(b"(" + b" ".join([b"%d"] * count) + b")", array("I", reversed(range(count))))
    pieces = [*shape.told(range(1, count + 1))]
    assert len(pieces) > 2 and b"".join(pieces) == b"(" + b" ".join(
        [b"%d" % number for number in range(count, 0, -1)]) + b")"


def test_who_needs_room_removes_them(maildir: Path) -> None:
    told(maildir, "THREAD REFS UTF-8 ALL")
    assert len(files(maildir)) == 1
    assert Index(str(maildir), "host").give_up() and not files(maildir)
