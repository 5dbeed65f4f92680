"""The file that a session links to a lock's name again and again, and what is left of it."""
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.maildir import keptfile
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from tests.conftest import fill
from tests.maildir.children import ended, process


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(keptfile, "SOON", 3600.0)
    fill(tmp_path / "Maildir", 1)
    store = Store(str(tmp_path / "Maildir"), host="host")
    for name in ("INBOX.One", "INBOX.Two"):
        store.create(name)
    store.options.keep_file()
    yield store
    store.options.end()


def append(store: Store, name: str) -> None:
    mailbox = store.open(name)
    draft = mailbox.draft()
    draft.write(b"Subject: new\r\n\r\n")
    mailbox.append([draft])


def kept(store: Store, name: str) -> list[Path]:
    return [*Path(store.open(name).path, "tmp").glob("*courierlock*")]


def test_it_is_made_for_the_second_lock_in_a_row(store: Store) -> None:
    append(store, "INBOX.One")
    assert kept(store, "INBOX.One") == []
    append(store, "INBOX.One")
    [file] = kept(store, "INBOX.One")
    assert file.read_text() == f"{os.getpid()}:{os.uname().nodename}"
    for _ in range(3):
        append(store, "INBOX.One")
        assert kept(store, "INBOX.One") == [file] and file.stat().st_nlink == 1
    assert len(store.open("INBOX.One").scan().messages.uids) == 5
    store.options.end()
    assert kept(store, "INBOX.One") == []


def test_another_mailbox_takes_its_place(store: Store) -> None:
    for name in ("INBOX.One", "INBOX.Two", "INBOX.One", "INBOX.One", "INBOX.Two"):
        append(store, name)
    assert kept(store, "INBOX.One") == kept(store, "INBOX.Two") == []


def test_it_does_not_go_along_with_a_mailbox_that_is_renamed(store: Store) -> None:
    append(store, "INBOX.One")
    append(store, "INBOX.One")
    store.rename("INBOX.One", "INBOX.Two.Three")
    assert kept(store, "INBOX.Two.Three") == []
    append(store, "INBOX.Two.Three")
    store.options.end()
    assert kept(store, "INBOX.Two.Three") == []


def test_much_later_it_is_made_anew_and_removed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keptfile, "SOON", -1.0)
    for _ in range(3):
        append(store, "INBOX.One")
        assert kept(store, "INBOX.One") == []


def test_one_that_was_cleaned_away_is_not_missed(store: Store) -> None:
    append(store, "INBOX.One")
    append(store, "INBOX.One")
    [file] = kept(store, "INBOX.One")
    file.unlink()
    append(store, "INBOX.One")
    [another] = kept(store, "INBOX.One")
    assert another.name != file.name and another.stat().st_nlink == 1
    assert len(store.open("INBOX.One").scan().messages.uids) == 3


def test_a_child_has_none_and_leaves_ours(store: Store) -> None:
    append(store, "INBOX.One")
    append(store, "INBOX.One")
    before = kept(store, "INBOX.One")

    def child() -> None:
        append(store, "INBOX.One")
        assert kept(store, "INBOX.One") == before
        store.options.end()

    with process(child) as pid:
        assert ended(pid) == 0
    assert kept(store, "INBOX.One") == before


def test_the_lock_of_who_keeps_it_holds_others_off(store: Store) -> None:
    append(store, "INBOX.One")
    append(store, "INBOX.One")
    mine: Mailbox = store.open("INBOX.One")
    with mine.locked():
        assert mine.place.lock.is_held()
        with process(lambda: _finds_it_held(store.root)) as pid:
            assert ended(pid) == 0
    assert not mine.place.lock.is_held()


def test_it_is_lent_to_one_lock_at_a_time(store: Store) -> None:
    append(store, "INBOX.One")
    append(store, "INBOX.One")
    file = store.options.kept_file
    assert file is not None
    with store.open("INBOX.One").locked() as lock:
        assert file.at(lock.tmp) == ""
    assert file.at(lock.tmp) == str(kept(store, "INBOX.One")[0])


def _finds_it_held(root: str) -> None:
    assert not Store(root, host="host").open("INBOX.One").locked().attempt()
