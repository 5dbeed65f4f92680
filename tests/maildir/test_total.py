"""The octets of a mailbox are added up again when something changed, and only then."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from courierpy.maildir.errors import FolderMissing
from courierpy.maildir.index.total import FILE, total
from courierpy.maildir.store import Store


def old(path: Path) -> None:
    """What changed in it is long ago."""
    for part in ("cur", "new"):
        os.utime(path / part, (1700000000, 1700000000))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    for part in ("cur", "new", "tmp"):
        (tmp_path / part).mkdir()
    old(tmp_path)
    return Store(str(tmp_path), host="host")


def never() -> int:
    raise AssertionError("it is known")


def test_it_is_kept_while_nothing_changes(store: Store, tmp_path: Path) -> None:
    path = store.path_of("INBOX")
    assert total(store.options.index(path), path, lambda: 5_000_000_000) == 5_000_000_000
    assert total(store.options.index(path), path, never) == 5_000_000_000
    os.utime(tmp_path / "new", (1700000001, 1700000001))
    assert total(store.options.index(path), path, lambda: 7) == 7
    assert total(store.options.index(path), path, never) == 7


def test_what_changes_while_it_is_added_up_is_not_kept(store: Store, tmp_path: Path) -> None:
    path = store.path_of("INBOX")

    def delivered() -> int:
        os.utime(tmp_path / "new", (1700000002, 1700000002))
        return 3
    assert total(store.options.index(path), path, delivered) == 3
    assert total(store.options.index(path), path, lambda: 4) == 4
    (tmp_path / "cur" / "1.M1P1.host:2,").write_bytes(b"young")
    assert total(store.options.index(path), path, lambda: 5) == 5
    assert total(store.options.index(path), path, lambda: 6) == 6   # the clock may not have moved since


@pytest.mark.parametrize("damage", [b"", b"x", b"courierpy total 1 ", b"\0" * 500])
def test_a_damaged_line_is_none(store: Store, tmp_path: Path, damage: bytes) -> None:
    path = store.path_of("INBOX")
    total(store.options.index(path), path, lambda: 12)
    [file] = tmp_path.rglob(FILE)
    whole = file.read_bytes()
    for content in (damage, whole[:-1], whole + b"1\n", whole.replace(b"12\n", b"-2\n")):
        file.write_bytes(content)
        old(tmp_path)
        assert total(store.options.index(path), path, lambda: 13) == 13


def test_a_mailbox_that_is_not_there(store: Store) -> None:
    path = store.path_of("INBOX.none")
    with pytest.raises(FolderMissing):
        total(store.options.index(path), path, never)
