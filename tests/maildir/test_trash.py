"""Emptying the trash, and the other sweeps of a login and a SELECT: what they meet keeps nobody out."""
from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from courierpy.maildir import trash
from courierpy.maildir.mailboxdirectory import TMP_AGE
from courierpy.maildir.store import Store
from tests.account import account
from tests.conftest import fill
from tests.maildir.test_entries import NOTHING, UNREADABLE

AT_ONCE = "import courierpy.maildir.trash\ncourierpy.maildir.trash.DAY = -9\n"      # a day is nothing


@pytest.fixture
def tree(tmp_path: Path) -> Store:
    fill(tmp_path / "Maildir", 0)
    tree = Store(str(tmp_path / "Maildir"), host="host")
    for name in ("INBOX.Trash", "INBOX.Spam"):
        tree.create(name)
        fill(Path(tree.path_of(name)), 3)
        tree.open(name).scan()
        fill(Path(tree.path_of(name)), 1)                # and one in new/
    trash._told.clear()
    return tree


def days_later(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    later = time.time() + days * 86400
    monkeypatch.setattr(time, "time", lambda: later)


def count(tree: Store, name: str) -> int:
    return tree.open(name).status().messages


def test_what_is_old_goes(tree: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    trash.empty(tree, "Trash:7,Spam:30")
    assert [count(tree, name) for name in ("INBOX.Trash", "INBOX.Spam")] == [4, 4]
    days_later(monkeypatch, 8)
    trash.empty(tree, "Trash:7, Spam:30, No.Such:1, a..b:1, /:1")
    assert [count(tree, name) for name in ("INBOX.Trash", "INBOX.Spam")] == [0, 4]
    days_later(monkeypatch, 23)
    trash.empty(tree, "7")
    assert count(tree, "INBOX.Spam") == 4
    for spec in ("Trash:x", "x", "Trash:-1", "Trash:7:", "Trash:" + "9" * 5000):
        with pytest.raises(ValueError, match="expected"):
            trash.empty(tree, "Spam:1," + spec)
    assert count(tree, "INBOX.Spam") == 4                # nothing happens by half a spec
    trash.empty(tree, "Spam:0")
    assert count(tree, "INBOX.Spam") == 0


@pytest.mark.parametrize("missing", ["cur", "new", "tmp"])
def test_a_folder_of_which_parts_are_missing(missing: str, tree: Store,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(tree.path_of("INBOX.Trash"))
    for file in (path / missing).iterdir():
        file.unlink()
    (path / missing).rmdir()
    days_later(monkeypatch, 8)
    trash.empty(tree, "Trash:7")
    assert [len(list((path / part).glob("*"))) for part in ("cur", "new") if part != missing] == \
        [0] * (1 + (missing == "tmp"))
    (path / "new").rename(path / "old") if missing != "new" else None
    (path / "new").write_text("a file")
    trash.empty(tree, "Trash:7")


def test_two_at_once(tree: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(Path(tree.path_of("INBOX.Trash")), 2000)
    days_later(monkeypatch, 8)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            trash.empty(tree, "Trash:7")
        except BaseException as error:
            failed.append(error)
    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not failed
    assert count(tree, "INBOX.Trash") == 0


def test_another_removes_it_first(tree: Store, monkeypatch: pytest.MonkeyPatch,
                                  capfd: pytest.CaptureFixture[str]) -> None:
    """Between the look and the removal; that is no news."""
    real = os.unlink

    def unlink(path: str | bytes, **named: int) -> None:
        real(path, **named)
        real(path, **named)
    days_later(monkeypatch, 8)
    monkeypatch.setattr(os, "unlink", unlink)
    trash.empty(tree, "Trash:7")
    assert count(tree, "INBOX.Trash") == 0
    assert "removed" not in capfd.readouterr().err


@pytest.mark.server
@pytest.mark.parametrize("place", ["cur", "new"])
@pytest.mark.parametrize("kind", [*NOTHING, *UNREADABLE])
def test_a_login_goes_on(kind: str, place: str, tmp_path: Path) -> None:
    """All else goes, at the login; the log hears of it once."""
    with account() as owner:
        owner.folder()
        owner.folder(".Trash")
        owner.mail(3, ".Trash/cur")
        owner.mail(3, ".Trash/new")
        path = (NOTHING | UNREADABLE)[kind](owner, f".Trash/{place}")
        window = owner.window(hook=AT_ONCE)
        assert "* 0 EXISTS" in window.do("SELECT INBOX")
        left = [name for part in ("cur", "new") for name in os.listdir(owner.home / f"Maildir/.Trash/{part}")]
        assert left == ([os.fsdecode(os.path.basename(path))] if kind in NOTHING else [])
        window.do("LOGOUT")
        assert sum("not removed" in line for line in owner.logged.splitlines()) == (kind in NOTHING)


@pytest.mark.server
def test_what_may_not_be_removed(tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("not root: everything here is ours")
    with account() as owner:
        owner.folder()
        owner.folder(".Trash")
        owner.mail(3, ".Trash/cur")
        cur = owner.home / "Maildir/.Trash/cur"
        os.chown(next(cur.iterdir()), 0, 0)
        os.chmod(cur, 0o1777)
        os.chown(cur, 0, 0)
        os.chown(owner.home / "Maildir/.Trash/new", 0, 0)
        os.chmod(owner.home / "Maildir/.Trash/new", 0)
        window = owner.window(hook=AT_ONCE)
        assert "* 0 EXISTS" in window.do("SELECT INBOX")
        window.do("LOGOUT")
        assert len(os.listdir(cur)) == 1
        assert sum("not removed" in line for line in owner.logged.splitlines()) == 2


def test_garbage_that_another_session_cleans(tree: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry that goes in the middle of it does not end the sweep."""
    tmp = os.path.join(tree.root, "tmp")
    for number in range(5):
        Path(tmp, f"170000000{number}.M1P1.host").write_text("x")
    Path(tmp, "1700000009.d").mkdir()
    days_later(monkeypatch, TMP_AGE // 86400 + 2)
    gone: list[str] = []
    real = os.unlink

    def unlink(path: str, **named: int) -> None:
        for other in sorted(os.listdir(tmp)) if not gone else ():
            if other.endswith("host") and os.path.join(tmp, other) != path and len(gone) < 2:
                gone.append(other)
                real(os.path.join(tmp, other))
        real(path, **named)
    monkeypatch.setattr(os, "unlink", unlink)
    tree.open("INBOX").place.clean_tmp()
    assert len(gone) == 2
    assert os.listdir(tmp) == []


def test_it_ends_where_it_is_told_to(tree: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """In lots; and the next time it goes on."""
    monkeypatch.setattr(trash, "AT_ONCE", 2)
    days_later(monkeypatch, 8)
    asked: list[int] = []

    def goes_on() -> bool:
        asked.append(count(tree, "INBOX.Trash"))
        return False
    assert not trash.empty(tree, "Trash:7,Spam:7", goes_on)
    assert asked == [2]
    assert [count(tree, name) for name in ("INBOX.Trash", "INBOX.Spam")] == [2, 4]
    assert trash.empty(tree, "Trash:7", lambda: True)
    assert count(tree, "INBOX.Trash") == 0
    assert trash.empty(tree, "Trash:7", lambda: True)


def test_what_goes_is_told(tree: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cur = os.path.join(tree.path_of("INBOX.Trash"), "cur")
    there = set(os.listdir(cur))
    days_later(monkeypatch, 8)
    told: list[tuple[bytes, bytes]] = []
    trash.empty(tree, "7", lambda: True, lambda *paths: told.append(paths))
    assert len(told) == 4 and not any(there for _, there in told)
    assert {os.fsdecode(os.path.basename(path)) for path, _ in told} > there


def test_a_login_waits_a_moment_only(tree: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest goes when the client has gone, with or without LOGOUT."""
    from courierpy.imapd import _Imapd
    from courierpy.system.conn import Conn
    monkeypatch.setattr(trash, "AT_ONCE", 2)
    days_later(monkeypatch, 8)
    read, write = os.pipe()
    daemon = _Imapd(["imapd"], {"IMAP_EMPTYTRASH": "Trash:7,Spam:7"}, Conn(read, write))
    daemon.folders = tree
    monkeypatch.setattr(trash, "MOMENT", -1.0)
    daemon._empty_trash()
    assert daemon.trash_is_left
    assert [count(tree, name) for name in ("INBOX.Trash", "INBOX.Spam")] == [2, 4]
    daemon._session()
    daemon.close()
    assert [count(tree, name) for name in ("INBOX.Trash", "INBOX.Spam")] == [0, 0]
    os.close(read)
    os.close(write)


def test_what_names_no_days_is_told_also_where_no_folder_is(tree: Store,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    from courierpy import imapd
    from courierpy.system.conn import Conn
    read, write = os.pipe()
    daemon = imapd._Imapd(["imapd"], {"IMAP_EMPTYTRASH": "Nobody:7,Nobody:x"}, Conn(read, write))
    daemon.folders = tree
    said: list[str] = []
    monkeypatch.setattr(imapd.log, "err", said.append)
    daemon._empty_trash()
    assert said == ["IMAP_EMPTYTRASH: folder:days is expected, not Nobody:x"]
    os.close(read)
    os.close(write)


def test_the_trash_of_a_short_session_is_looked_at_once(tree: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in it gets too old so soon after the login; behind a longer session it does."""
    from courierpy import imapd
    from courierpy.system.conn import Conn
    read, write = os.pipe()
    daemon = imapd._Imapd(["imapd"], {"IMAP_EMPTYTRASH": "Trash:7"}, Conn(read, write))
    daemon.folders = tree
    daemon._empty_trash()
    session = daemon._session()
    days_later(monkeypatch, 8)
    daemon._over(session)
    assert count(tree, "INBOX.Trash") == 4
    monkeypatch.setattr(imapd, "EMPTIED_SECONDS", -1.0)
    daemon._over(session)
    assert count(tree, "INBOX.Trash") == 0
    os.close(read)
    os.close(write)
