"""Where what is expunged goes: the trash, whose names and letters are Courier's."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from courierpy.maildir import totrash
from courierpy.maildir.disposal import Disposal
from courierpy.maildir.errors import DiskTrouble
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from courierpy.maildir.totrash import Trash
from courierpy.model.uidset import NO_UIDS, UidSet
from tests.conftest import fill


def put(directory: Path, *names: str) -> None:
    for name in names:
        (directory / "cur" / name).write_text(f"Subject: {name}\n\nx\n")


@pytest.fixture
def tree(tmp_path: Path) -> Store:
    fill(tmp_path / "Maildir", 0)
    return Store(str(tmp_path / "Maildir"), host="host")


def expunged(tree: Store, name: str, spared: UidSet = NO_UIDS) -> tuple[list[int], list[tuple[bytes, bytes]]]:
    """(UIDs, what was told) of what is expunged there."""
    box: Mailbox = tree.open(name)
    uids = [*box.scan().messages.uids]
    told: list[tuple[bytes, bytes]] = []
    trash = Trash.beside(tree, box.path, len(uids))
    return box.expunge(uids, [], Disposal(trash, spared, lambda *paths: told.append(paths))), told


def in_trash(tree: Store) -> set[str]:
    return set(os.listdir(os.path.join(tree.path_of("INBOX.Trash"), "cur")))


@pytest.mark.parametrize("few", [0, 100])
def test_names(few: int, tree: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totrash, "FEW", few)
    root = Path(tree.root)
    put(root, "1.a:2,T", "2.b,S=9:2,DFST", "3.c:2,RTXab", "4.d:2,S", "5.\u00e4:2,T")
    gone, told = expunged(tree, "INBOX")
    assert gone == [1, 2, 3, 5]
    assert in_trash(tree) == {"1.a:2,", "2.b,S=9:2,FS", "3.c:2,RXab", "5.\u00e4:2,"}
    assert os.listdir(root / "cur") == ["4.d:2,S"]
    assert len(told) == 8
    assert [os.path.basename(path) for path, there in told if there] == \
        [os.path.basename(path) for path, there in told if not there]
    assert tree.open("INBOX.Trash").status().messages == 4


@pytest.mark.parametrize("few", [0, 100])
def test_a_name_that_is_there_is_not_taken_twice(few: int, tree: Store,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totrash, "FEW", few)
    tree.create("INBOX.Trash")
    put(Path(tree.path_of("INBOX.Trash")), "1.a:2,", "2.b,S=9:2,F", "3.c")
    put(Path(tree.root), "1.a:2,T", "2.b,S=9:2,ST", "3.c:2,T")
    expunged(tree, "INBOX")
    names = in_trash(tree)
    assert {"1.a:2,", "2.b,S=9:2,F", "3.c"} < names
    assert len({name.partition(":")[0] for name in names}) == 6
    assert sorted(name.partition("host")[2] for name in names if "host" in name) == [",S=9:2,S", ":2,", ":2,"]
    for name in ("1.a:2,", "2.b,S=9:2,F", "3.c"):
        assert name in (Path(tree.path_of("INBOX.Trash")) / "cur" / name).read_text()


def test_what_is_spared_and_the_trash_itself_go_for_good(tree: Store) -> None:
    put(Path(tree.root), "1.a:2,T", "2.b:2,T")
    assert expunged(tree, "INBOX", UidSet.of([2]))[0] == [1, 2]
    assert in_trash(tree) == {"1.a:2,"}
    os.rename(os.path.join(tree.path_of("INBOX.Trash"), "cur", "1.a:2,"),
              os.path.join(tree.path_of("INBOX.Trash"), "cur", "1.a:2,T"))
    assert expunged(tree, "INBOX.Trash")[0] == [1]
    assert in_trash(tree) == set()


def test_a_link_to_the_trash_is_the_trash(tree: Store) -> None:
    tree.create("INBOX.Trash")
    os.symlink(".Trash", os.path.join(tree.root, ".link"))
    put(Path(tree.path_of("INBOX.Trash")), "1.a:2,T")
    assert expunged(tree, "INBOX.link")[0] == [1]
    assert in_trash(tree) == set()


def test_the_trash_that_goes_meanwhile_is_made_again(tree: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(Path(tree.root), "1.a:2,T", "2.b:2,T")
    bring, brought = totrash.rename_or_copy, []

    def deleted(source: bytes, target: bytes) -> None:
        brought.append(target)
        if len(brought) == 1:
            tree.delete("INBOX.Trash")
        bring(source, target)
    monkeypatch.setattr(totrash, "rename_or_copy", deleted)
    assert expunged(tree, "INBOX")[0] == [1, 2]
    assert in_trash(tree) == {"1.a:2,", "2.b:2,"}
    assert len(brought) == 3


def test_what_cannot_be_moved_stays(tree: Store) -> None:
    Path(tree.path_of("INBOX.Trash")).write_text("no directory")
    put(Path(tree.root), "1.a:2,T")
    with pytest.raises(DiskTrouble, match="Trash: no mailbox"):
        expunged(tree, "INBOX")
    assert os.listdir(Path(tree.root, "cur")) == ["1.a:2,T"]


def test_flags_that_others_change_meanwhile(tree: Store) -> None:
    """The file is found again, and is in one of the two mailboxes at any time."""
    root = Path(tree.root)
    put(root, "1.a:2,T", "2.b:2,T")
    box = tree.open("INBOX")
    box.scan()
    (root / "cur" / "1.a:2,T").rename(root / "cur" / "1.a:2,FT")
    (root / "cur" / "2.b:2,T").rename(root / "cur" / "2.b:2,S")
    assert box.expunge([1, 2], [], Disposal(Trash.beside(tree, box.path, 2), NO_UIDS, None)) == [1]
    assert in_trash(tree) == {"1.a:2,F"}
    assert os.listdir(root / "cur") == ["2.b:2,S"]


def test_who_was_not_told_reads_on(tree: Store) -> None:
    put(Path(tree.root), "1.a:2,T")
    other = tree.open("INBOX")
    other.join()
    other.scan()
    expunged(tree, "INBOX")
    other.scan()
    with other.finder.open(1) as file:
        assert b"1.a:2,T" in file.whole()
    other.close()


def test_to_another_file_system(tree: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    put(Path(tree.root), "1.a:2,T")
    tree.create("INBOX.Trash")
    rename = os.rename

    def beyond(source: bytes, target: bytes) -> None:
        if b"/.Trash/cur/" in os.fsencode(target) and b"/tmp/" not in os.fsencode(source):
            raise OSError(errno.EXDEV, "beyond")
        rename(source, target)
    monkeypatch.setattr(os, "rename", beyond)
    assert expunged(tree, "INBOX")[0] == [1]
    assert in_trash(tree) == {"1.a:2,"}
    assert os.listdir(Path(tree.root, "cur")) == []


def test_the_disk_is_told_once_by_command(tree: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.create("INBOX.Trash")
    put(Path(tree.root), *[f"{at}.a:2,T" for at in range(20)])
    box = tree.open("INBOX")
    uids = [*box.scan().messages.uids]
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    assert len(box.expunge(uids, [], Disposal(Trash.beside(tree, box.path, 20), NO_UIDS, None))) == 20
    assert len(synced) == 1
