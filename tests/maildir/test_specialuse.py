"""Which mailbox is for what: by the file in it, else by its name; one mailbox for each use."""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from courierpy.imap.commands import cmd_mailbox
from courierpy.imap.grammar.args import Args
from courierpy.imap.grammar.framer import Frame
from courierpy.maildir import specialuse
from courierpy.maildir.errors import DiskFull
from courierpy.maildir.specialuse import FILE, NAMES, USES, give, table_of, uses
from courierpy.maildir.store import Store


def store_with(root: Path, *folders: str, choice: str = "auto") -> Store:
    for folder in ("", *folders):
        for part in ("cur", "new", "tmp"):
            (root / folder / part).mkdir(parents=True)
    return Store(str(root), host="host", fsync="never", choice=choice)


def told(store: Store, table: Any = NAMES) -> dict[str, list[bytes]]:
    return uses(store, store.names(), table)


def test_the_table_names_nothing_twice() -> None:
    names = [name.casefold() for spellings in NAMES.values() for name in spellings]
    assert sorted(names) == sorted(set(names))
    assert set(NAMES) <= set(USES)


@pytest.mark.parametrize(("folders", "owners"), [
    ([".Sent", ".Gesendet"], {"INBOX.Sent": [b"\\Sent"]}),
    ([".Gesendet", ".Sent Items"], {"INBOX.Sent Items": [b"\\Sent"]}),
    ([".SENT", ".sent"], {"INBOX.SENT": [b"\\Sent"]}), ([".sent", ".Sent"], {"INBOX.Sent": [b"\\Sent"]}),
    ([".Brouillons"], {"INBOX.Brouillons": [b"\\Drafts"]}), ([".a.Sent"], {}), ([".INBOX.Sent"], {}),
    ([".Éléments envoyés", ".Corbeille", ".Courrier indésirable", ".Archives"],
     {"INBOX.Éléments envoyés": [b"\\Sent"], "INBOX.Corbeille": [b"\\Trash"],
      "INBOX.Courrier indésirable": [b"\\Junk"], "INBOX.Archives": [b"\\Archive"]}),
    ([".éléments ENVOYÉS"], {"INBOX.éléments ENVOYÉS": [b"\\Sent"]})])
def test_by_name(tmp_path: Path, folders: list[str], owners: dict[str, list[bytes]]) -> None:
    assert told(store_with(tmp_path, *folders)) == owners


def test_by_name_as_mailboxes_come_and_go(tmp_path: Path) -> None:
    store = store_with(tmp_path, ".Gesendet", ".a")
    assert told(store) == told(store) == {"INBOX.Gesendet": [b"\\Sent"]}
    store.create("INBOX.Sent")
    assert told(store) == {"INBOX.Sent": [b"\\Sent"]}
    store.delete("INBOX.Sent")
    assert told(store) == {"INBOX.Gesendet": [b"\\Sent"]}


def test_by_name_where_mailboxes_lie_in_each_other(tmp_path: Path) -> None:
    store = store_with(tmp_path, "Sent", "INBOX/Drafts", "Work/Trash", choice="fs")
    assert told(store) == {"Sent": [b"\\Sent"], "INBOX/Drafts": [b"\\Drafts"]}
    give(store, "Work/Trash", [b"\\Trash"])
    assert told(store)["Work/Trash"] == [b"\\Trash"]


def test_what_was_given_last_counts(tmp_path: Path) -> None:
    store = store_with(tmp_path, ".Sent", ".a", ".b")
    give(store, "INBOX.b", [b"\\Sent", b"\\Drafts"])
    assert told(store) == {"INBOX.b": [b"\\Drafts", b"\\Sent"]}
    give(store, "INBOX.a", [b"\\Sent"])
    assert told(store) == {"INBOX.a": [b"\\Sent"], "INBOX.b": [b"\\Drafts"]}
    store.rename("INBOX.a", "INBOX.c")
    assert told(store)["INBOX.c"] == [b"\\Sent"]
    store.delete("INBOX.c")
    assert told(store) == {"INBOX.b": [b"\\Drafts", b"\\Sent"]}
    store.delete("INBOX.b")
    assert told(store) == {"INBOX.Sent": [b"\\Sent"]}


@pytest.mark.parametrize("content", [b"", b"\n", b"x\n\\Sent", b"\\Sent\n", b"1\n\\All\n\\Sen\n",
                                     b"9" * 9000])
def test_a_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    store = store_with(tmp_path, ".a", ".b", ".Drafts")
    give(store, "INBOX.b", [b"\\Drafts"])
    (tmp_path / ".a" / FILE).write_bytes(content)
    assert told(store)["INBOX.b"] == [b"\\Drafts"]
    (tmp_path / ".b" / FILE).unlink()
    (tmp_path / ".b" / FILE).mkdir()
    assert told(store)["INBOX.Drafts"] == [b"\\Drafts"]


def test_no_mailbox_is_looked_into_where_nobody_gave_one(tmp_path: Path) -> None:
    store = store_with(tmp_path, ".a")
    (tmp_path / ".a" / FILE).write_bytes(b"1\n\\Sent\n")
    assert told(store) == {}
    give(store, "INBOX.a", [b"\\Junk"])
    assert told(store) == {"INBOX.a": [b"\\Junk"]}


def test_the_setting() -> None:
    assert table_of(" none ", "Trash") == {}
    table = table_of("sent=A, b ;\\Junk=;Memos=Notes", "Eimer")
    assert [*table[b"\\Sent"]][:3] == ["A", "b", "Sent"]
    assert [*table[b"\\Trash"]][:2] == ["Eimer", "Trash"]
    assert (table[b"\\Junk"], table[b"\\Memos"]) == ((), ("Notes",))
    for wrong in ("Sent", "Sended=x", "Sent:x", "All=x"):
        with pytest.raises(ValueError, match="expected"):
            table_of(wrong, "Trash")


def test_a_mailbox_that_cannot_have_its_use_is_not_made(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6154 3: as it was asked for, or not at all."""
    store = store_with(tmp_path)

    def full(*arguments: object) -> None:
        raise DiskFull("no room")
    monkeypatch.setattr(specialuse, "_write", full)
    session: Any = SimpleNamespace(folders=store, separator=".", utf8=False, enabled=frozenset())
    frame = Frame([b"a CREATE INBOX.x (USE (\\Sent))"], [])
    with pytest.raises(DiskFull):
        cmd_mailbox.create(session, Args(frame))
    assert store.names() == ["INBOX"]
