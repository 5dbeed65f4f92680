"""A message that went, was told as gone and came back under its old name is a new one."""
from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from courierpy.maildir.locks import FolderLock
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from courierpy.model.flags import DELETED, FlagChange
from tests.conftest import fill

SECOND = "1700000002.M2P1.host:2,"


@pytest.fixture
def outside(maildir: Path, tmp_path: Path) -> Path:
    """Where the second message is moved to."""
    Store(str(maildir), host="host").open("INBOX").scan()
    return tmp_path / SECOND


def opened(maildir: Path, watch: bool = False) -> Mailbox:
    folder = Store(str(maildir), host="host").open("INBOX")
    folder.join()
    folder.scan()
    if watch:
        folder.watch()
    return folder


def uids(folder: Mailbox) -> list[int]:
    """What the client is told."""
    found = list(folder.scan().messages.uids)
    folder.told()
    return found


def out(maildir: Path, outside: Path) -> None:
    (maildir / "cur" / SECOND).rename(outside)


def back(maildir: Path, outside: Path) -> None:
    outside.rename(maildir / "cur" / SECOND)


def lines(maildir: Path) -> list[bytes]:
    rows = (maildir / "courierimapuiddb").read_bytes().split(b"\n")[1:-1]
    return [row.partition(b" ")[0] for row in rows]


@pytest.mark.parametrize("watch", [False, True])
def test_in_one_session(maildir: Path, outside: Path, watch: bool) -> None:
    folder = opened(maildir, watch)
    assert uids(folder) == [1, 2, 3]
    for last in (4, 5, 6):
        gone = [uid for uid in uids(folder) if uid != last - 1] if last > 4 else [1, 3]
        out(maildir, outside)
        assert uids(folder) == gone
        back(maildir, outside)
        assert uids(folder) == [1, 3, last]
    assert lines(maildir) == [b"1", b"3", b"6"]


@pytest.mark.parametrize("watch", [False, True])
def test_while_another_program_has_the_lock(maildir: Path, outside: Path, watch: bool) -> None:
    folder = opened(maildir, watch)
    lock = FolderLock(str(maildir), "host")
    out(maildir, outside)
    with lock:
        assert uids(folder) == [1, 3]
        assert lines(maildir) == [b"1", b"2", b"3"]
    back(maildir, outside)
    assert uids(folder) == [1, 3, 4]
    out(maildir, outside)
    with lock:
        assert uids(folder) == [1, 3]
    folder.close()
    assert lines(maildir) == [b"1", b"3"]
    back(maildir, outside)
    assert uids(opened(maildir)) == [1, 3, 5]


@pytest.mark.parametrize("closed", [False, True])
def test_in_a_session_that_comes_later(maildir: Path, outside: Path, closed: bool) -> None:
    folder = opened(maildir)
    out(maildir, outside)
    assert uids(folder) == [1, 3]
    if closed:
        folder.close()
    back(maildir, outside)
    assert uids(opened(maildir)) == [1, 3, 4]
    if not closed:
        assert uids(folder) == [1, 3, 4]


def test_a_session_that_never_saw_it_there(maildir: Path, outside: Path) -> None:
    out(maildir, outside)
    folder = opened(maildir)
    assert uids(folder) == [1, 3]
    back(maildir, outside)
    assert uids(folder) == [1, 3, 4]


def test_not_told_yet_it_is_the_same(maildir: Path, outside: Path) -> None:
    folder = opened(maildir)
    out(maildir, outside)
    assert list(folder.scan().messages.uids) == [1, 3]
    back(maildir, outside)
    assert uids(folder) == [1, 2, 3]


def test_two_sessions(maildir: Path, outside: Path) -> None:
    first, second = opened(maildir), opened(maildir, watch=True)
    out(maildir, outside)
    assert uids(first) == uids(second) == [1, 3]
    back(maildir, outside)
    assert uids(second) == uids(first) == [1, 3, 4]


@pytest.mark.parametrize("damage", [None, b"", b"1 7"])
@pytest.mark.parametrize("by", ["others", "us"])
def test_the_log_of_numbers_does_not_give_it_back(maildir: Path, outside: Path, by: str,
                                                  damage: bytes | None) -> None:
    folder = opened(maildir)
    if by == "others":
        out(maildir, outside)
    else:
        shutil.copy(maildir / "cur" / SECOND, outside)
        folder.store([2], FlagChange("+", DELETED))
        assert folder.expunge([2]) == [2]
    assert uids(folder) == [1, 3]
    validity = folder.scan().uidvalidity
    folder.close()
    back(maildir, outside)
    if damage is None:
        (maildir / "courierimapuiddb").unlink()
    else:
        (maildir / "courierimapuiddb").write_bytes(damage)
    again = opened(maildir)
    assert uids(again) == [1, 3, 4]
    assert again.scan().uidvalidity == validity


def test_of_many(maildir: Path, tmp_path: Path) -> None:
    fill(maildir, 300)
    folder = opened(maildir)
    before = uids(folder)
    moved = sorted(os.listdir(maildir / "cur"))[50:250]
    for name in moved:
        (maildir / "cur" / name).rename(tmp_path / name)
    left = uids(folder)
    assert len(left) == len(before) - 200
    for name in moved:
        (tmp_path / name).rename(maildir / "cur" / name)
    now = uids(folder)
    assert now[:len(left)] == left
    assert now[len(left):] == list(range(before[-1] + 1, before[-1] + 201))
    folder.close()
    assert uids(opened(maildir)) == now


def test_nothing_is_written_while_nothing_is_gone(maildir: Path, outside: Path) -> None:
    folder = opened(maildir)
    stamp = (maildir / "courierimapuiddb").stat()
    for _ in range(3):
        uids(folder)
    folder.close()
    assert (maildir / "courierimapuiddb").stat().st_ino == stamp.st_ino
