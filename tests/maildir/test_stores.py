"""The Maildir that an account had in its last session: when it is had again, and what it knows then."""
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.maildir import stores
from courierpy.maildir.store import Store
from courierpy.model.flags import FlagChange
from courierpy.system.settings import Settings
from tests.conftest import fill
from tests.programs.lives import table

HOST = "host"


@pytest.fixture
def maildir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "Maildir"
    fill(path, 3)
    monkeypatch.chdir(path)
    stores._kept.clear()
    yield path
    stores._kept.clear()


def opened(user: str = "ann", host: str = HOST, **environ: str) -> Store:
    store, is_whole = stores.opened(Settings(environ), host, user)
    assert is_whole
    return store


def use(store: Store) -> None:
    """All that a session may do, and what it keeps of that."""
    store.create("INBOX.a.b")
    store.subscribed.change(["INBOX.a.b"], True)
    store.lists().change("a", lambda before: before.changed("owner", "=", "alr"))
    for name in ("INBOX", "INBOX.a", "INBOX.a.b", "INBOX.none"):
        store.rights(name), store.exists(name)
    assert store.names() == ["INBOX", "INBOX.a.b"] and store.status("INBOX").messages == 3
    store.highest["INBOX"] = (), 7
    store.used = (1,), {"INBOX.a.b": [b"\\Sent"]}
    store.passed_over()
    store.need_quota()
    store.options.keep_file()
    mailbox = store.open("INBOX")
    mailbox.join()
    uids = mailbox.scan().messages.uids
    mailbox.store(list(uids), FlagChange("+", 0, frozenset([b"word"])))
    mailbox.close()
    store.uidvalidities._unrecorded["x"] = 1, 1
    store.meet = lambda: None  # type: ignore[assignment, return-value]
    assert store.neighbours is None


def known(store: Store) -> dict[str, str]:
    """But where the mailboxes of names are, which no session changes."""
    found: dict[str, str] = {}
    store._known.clear()
    store.namespaces._found.clear()
    table(store, "store", found, {})
    return found


def test_it_is_the_same_and_knows_nothing(maildir: Path) -> None:
    first = opened()
    fresh = known(first)
    use(first)
    changed = known(first)
    assert {name for name in {*fresh, *changed} if fresh.get(name) != changed.get(name)}
    second = opened()
    assert second is first
    assert known(second) == fresh == known(Store.of(Settings({}), HOST, "ann"))
    assert second.rights("INBOX.a") == frozenset("alr") and second.names() == ["INBOX", "INBOX.a.b"]
    assert not [name for name in os.listdir("tmp") if not name.startswith("courier")]


@pytest.mark.parametrize("other", [
    {"user": "bob"}, {"host": "other"}, {"OPTIONS": "disableshared=1"}, {"HOME": "/"},
    {"MAILDIRQUOTA": "1000S"}, {"IMAP_FSYNC": "always"}, {"IMAP_NO_PREFIX": "1"}, {"IMAP_READONLY": "1"}])
def test_of_something_else_it_is_another(maildir: Path, other: dict[str, str]) -> None:
    first = opened()
    second = opened(**other)
    assert second is not first
    assert known(second) == known(Store.of(
        Settings({name: value for name, value in other.items() if name.isupper()}),
        other.get("host", HOST), other.get("user", "ann")))


def test_a_directory_that_is_a_maildir_no_more_is_looked_into(maildir: Path) -> None:
    assert opened().layout.name == "maildir++"
    for part in ("cur", "new", "tmp"):
        (maildir / "INBOX").mkdir(exist_ok=True)
        (maildir / part).rename(maildir / "INBOX" / part)
    assert opened().layout.name == "fs"
    assert opened() is not opened()            # a layout that was found out is found out each time
    (maildir / "INBOX").rename(maildir.parent / "elsewhere")
    assert stores.opened(Settings({}), HOST, "ann")[1] is False


def test_few_are_kept(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "ACCOUNTS", 2)
    first = opened("ann")
    for user in ("bob", "ann", "carol"):
        opened(user)
    assert [*stores._kept] == ["ann", "carol"] and opened("ann") is first
    assert opened("dave", IMAP_INDEXDIR=str(maildir)) is not opened("dave", IMAP_INDEXDIR=str(maildir))
