"""What a look numbers is put behind the lines that are there, in the uiddb itself, where these are known."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from courierpy.maildir.formats import uiddb
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from tests.conftest import fill

AN_HOUR_NS = 3600 * 10**9


@pytest.fixture
def store(tmp_path: Path) -> Store:
    root = tmp_path / "Maildir"
    fill(root, 40)
    store = Store(str(root), host="host")
    mailbox = store.open("INBOX")
    mailbox.join()
    mailbox.scan()
    mailbox.close(wait=True)
    return store


def aged(store: Store) -> int:
    """The uiddb, and what is beside it, is as old as it mostly is; its inode."""
    path = Path(store.root, uiddb.NAME)
    for each in (path, path.parent / "cur", path.parent / "new"):
        found = each.stat()
        os.utime(each, ns=(found.st_atime_ns, found.st_mtime_ns - AN_HOUR_NS))
    return path.stat().st_ino


def deliver(store: Store, name: str) -> None:
    Path(store.root, "new", name).write_bytes(b"Subject: new\n\n")


def opened(store: Store) -> Mailbox:
    mailbox = store.open("INBOX")
    mailbox.join()
    return mailbox


def check(store: Store, inode: int, uids: list[int]) -> None:
    found = uiddb.read(os.path.join(store.root, uiddb.NAME))
    assert found is not None and not found.damaged
    assert found.uids.tolist() == uids and found.uidnext == uids[-1] + 1
    assert os.stat(os.path.join(store.root, uiddb.NAME)).st_ino == inode
    names = {name.partition(":")[0] for name in os.listdir(os.path.join(store.root, "cur"))}
    assert {os.fsdecode(name) for name in found.names()} == names


@pytest.mark.parametrize("watched", [False, True])
def test_a_session_that_stays(store: Store, watched: bool) -> None:
    inode = aged(store)
    mailbox = opened(store)
    if watched:
        mailbox.watch()
    mailbox.scan()
    for uid in range(41, 44):
        deliver(store, f"170000{uid}.new")
        assert mailbox.scan().messages.uids.tolist() == [*range(1, uid + 1)]
        check(store, inode, [*range(1, uid + 1)])
        aged(store)
        mailbox.scan()
    mailbox.close()


def test_a_session_that_finds_it(store: Store) -> None:
    """By the index, or by reading all."""
    inode = aged(store)
    for uid in range(41, 44):
        deliver(store, f"170000{uid}.new")
        mailbox = opened(store)
        assert mailbox.scan().messages.uids.tolist() == [*range(1, uid + 1)]
        mailbox.close(wait=True)
        check(store, inode, [*range(1, uid + 1)])
        aged(store)


def test_lines_of_what_went_are_not_left(store: Store) -> None:
    inode = aged(store)
    # while it is held its inode is nobody else's
    held = os.open(os.path.join(store.root, uiddb.NAME), os.O_PATH | os.O_CLOEXEC)
    mailbox = opened(store)
    mailbox.scan()
    mailbox.remove([3])
    mailbox.told()
    deliver(store, "17000041.new")
    assert mailbox.scan().messages.uids.tolist() == [1, 2, *range(4, 42)]
    mailbox.close()
    found = uiddb.read(os.path.join(store.root, uiddb.NAME))
    assert found is not None and found.uids.tolist() == [1, 2, *range(4, 42)]
    assert os.stat(os.path.join(store.root, uiddb.NAME)).st_ino != inode
    os.close(held)


def test_what_is_another_one_by_then_is_written_anew(store: Store) -> None:
    aged(store)
    mailbox = opened(store)
    mailbox.scan()
    path = Path(store.root, uiddb.NAME)
    text = path.read_bytes()
    (path.parent / "tmp" / "other").write_bytes(text)
    (path.parent / "tmp" / "other").rename(path)
    aged(store)
    deliver(store, "17000041.new")
    assert mailbox.scan().messages.uids.tolist() == [*range(1, 42)]
    mailbox.close()
    found = uiddb.read(str(path))
    assert found is not None and found.uids.tolist() == [*range(1, 42)]
