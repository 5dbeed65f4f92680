"""All mailboxes are held at one moment, and changes wait that need no lock otherwise."""
from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from courierpy.maildir import locks, moment
from courierpy.maildir.errors import Busy
from courierpy.maildir.expunged import Readers
from courierpy.maildir.mailboxdirectory import STILL
from courierpy.maildir.moment import Moment
from courierpy.maildir.store import Store
from courierpy.maildir.trash import empty
from courierpy.model.flags import DELETED, FLAGGED, FlagChange
from tests.conftest import fill
from tests.maildir.children import ended, process, wait_until

NAMES = ["INBOX", "INBOX.A", "INBOX.A.b", "INBOX.Trash"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    monkeypatch.setattr(moment, "SHORT", 0.05)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    fill(tmp_path / "M", 3)
    found = Store(str(tmp_path / "M"), host="host")
    for name in NAMES[1:]:
        found.create(name)
    found.open("INBOX").scan()
    return found


def held(store: Store, end: Callable[[], bool]) -> Callable[[], None]:
    """What a child does: it holds all mailboxes until the end."""
    def hold() -> None:
        with Moment(store, store.names, 10):
            wait_until(end)
    return hold


def marks(store: Store) -> int:
    """How many mailboxes are held."""
    return len([name for name in NAMES if os.path.exists(os.path.join(store.path_of(name), "tmp", STILL))])


def test_what_changes_waits(store: Store, tmp_path: Path) -> None:
    folder, other = store.open("INBOX"), store.open("INBOX.A")
    folder.scan()
    folder.store([3], FlagChange("+", DELETED))
    fill(tmp_path / "M" / ".Trash", 1)
    files = sorted(os.listdir(folder.place.cur))
    over = tmp_path / "over"
    with process(held(store, over.exists)) as pid:
        wait_until(lambda: marks(store) == len(NAMES))
        changes: list[Callable[[], object]] = [
            lambda: folder.store([1], FlagChange("+", FLAGGED)),
            lambda: folder.store([1], FlagChange("+", 0, frozenset([b"Later"]))),
            lambda: folder.expunge([3]), lambda: folder.remove([1]),
            lambda: folder.move([1], other), lambda: folder.copy([1], other),
            lambda: store.subscribe("INBOX.A", True), lambda: store.create("INBOX.New"),
            lambda: store.delete("INBOX.A"), lambda: store.rename("INBOX.A", "INBOX.New")]
        for change in changes:
            with pytest.raises(Busy):
                change()
        assert not empty(store, "Trash:1", lambda: True)
        assert sorted(os.listdir(folder.place.cur)) == files
        over.touch()
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert marks(store) == 0
    assert not [name for name in NAMES if os.listdir(os.path.join(store.path_of(name), "tmp"))]
    assert folder.expunge([3]) == [3]
    assert len(folder.move([1, 2], other)[1]) == 2
    assert empty(store, "Trash:1", lambda: True)


def test_a_holder_that_is_killed_holds_up_nobody(store: Store) -> None:
    folder = store.open("INBOX")
    folder.scan()
    with process(held(store, lambda: False)) as pid:
        wait_until(lambda: marks(store) == len(NAMES))
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert folder.store([1], FlagChange("+", FLAGGED))[1][0] & FLAGGED
        assert marks(store) == len(NAMES) - 1          # the first who came has removed that one
        with Moment(store, store.names, 10) as again:
            assert sorted(again.places) == NAMES
    assert marks(store) == 0


def test_nothing_is_held_while_a_lock_is_waited_for(store: Store, tmp_path: Path) -> None:
    """Who holds that lock may need another one to let it go."""
    over, free = tmp_path / "over", locks.FolderLock(store.path_of("INBOX"), "host")
    ready = tmp_path / "ready"

    def hold() -> None:
        locks.PATIENCE = 10.0          # of this process: the other one would keep it for twice as long
        with store.open("INBOX.A.b").locked():
            ready.touch()
            wait_until(over.exists)
            with free:                 # busy, if the other one had it
                pass

    with process(hold) as pid:
        wait_until(ready.exists)
        with pytest.raises(Busy, match=r"A\.b"), Moment(store, store.names, 0.3):
            pass
        assert marks(store) == 0
        over.touch()
        with Moment(store, store.names, 20) as found:
            assert len(found.places) == len(NAMES)
        done = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert done is not None and done.si_status == 0


def test_a_lock_that_is_taken_just_then_is_not_waited_for(store: Store, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one takes it between our look at it and our try, and wants one that we hold."""
    monkeypatch.setattr(locks, "PATIENCE", 14.0)
    monkeypatch.setattr(moment, "SHORT", 0.2)
    tries, has = tmp_path / "tries", tmp_path / "has"
    path = store.path_of("INBOX.A.b")

    def take() -> None:
        locks.PATIENCE = 10.0          # of this process: less than the other one's
        wait_until(tries.exists)
        with locks.FolderLock(path, "host"):
            has.touch()
            with locks.FolderLock(store.path_of("INBOX"), "host"):
                pass

    queue = os.open(os.path.join(path, "tmp"), os.O_RDONLY)
    fcntl.flock(queue, fcntl.LOCK_EX)  # somebody is before us, and nobody has the lock
    own = Readers.own

    def ours(readers: Readers) -> str:
        if os.path.dirname(os.fsdecode(readers.tmp)) == path and not tries.exists():
            tries.touch()
            wait_until(has.exists)
            os.close(queue)
        return own(readers)

    with process(take) as pid:
        monkeypatch.setattr(Readers, "own", ours)
        with Moment(store, store.names, 60) as found:
            assert len(found.places) == len(NAMES)
        assert ended(pid) == 0


def test_locks_are_kept_young(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "RENEWED", 0.0)
    with Moment(store, store.names, 10) as found:
        files = [place.lock.lock for place in found.places.values()]
        for file in files:
            os.utime(file, (0, 0))
        found.renew()
        assert all(os.stat(file).st_mtime > 1e9 for file in files)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_mark_of_who_was_killed_keeps_no_trash(tmp_path: Path, enabled: bool) -> None:
    """With and without IMAP_USELOCKS."""
    fill(tmp_path / "M", 1)
    store = Store(str(tmp_path / "M"), host="host", locks=enabled)
    for name in NAMES[1:]:
        store.create(name)
    with process(held(store, lambda: False)) as pid:
        wait_until(lambda: marks(store) == len(NAMES))
        assert not empty(store, "Trash:1")
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert marks(store) == len(NAMES)
        assert empty(store, "Trash:1")


def test_a_mailbox_of_two_names_is_held_once(store: Store, tmp_path: Path) -> None:
    (tmp_path / "M" / ".Link").symlink_to(".A")
    with Moment(store, store.names, 5) as found:
        assert {"INBOX.A", "INBOX.Link"} <= set(found.places)
    assert marks(store) == 0


def test_mailboxes_that_are_made_meanwhile_are_held_too(store: Store) -> None:
    times = iter(range(100))

    def names() -> list[str]:
        if next(times) == 1:
            store.create("INBOX.New")
        return store.names()

    with Moment(store, names, 10) as found:
        assert "INBOX.New" in found.places
