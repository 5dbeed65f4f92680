"""A file that another one takes the place of ends when no lock is held any more."""
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from courierpy.maildir import behind, errors
from courierpy.maildir.files import replace
from courierpy.maildir.formats.keywordlist import Keywords
from courierpy.maildir.index.columns import Index
from courierpy.maildir.locks import FolderLock
from tests.maildir.children import ended, process


@pytest.fixture
def lock(maildir: Path) -> FolderLock:
    return FolderLock(str(maildir), "host")


def living(where: Path) -> int:
    """Files from below there that have no name any more, and that this process has open."""
    number = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue
        number += target.startswith(str(where)) and target.endswith(" (deleted)")
    return number


def by_replacement(maildir: Path) -> None:
    replace(str(maildir / "file"), b"text\n", str(maildir / "tmp"), "host", "file", sync=False)


def by_list(maildir: Path) -> None:
    keywords = Keywords(str(maildir), "host")
    keywords.make()
    keywords.write_list({b"1": frozenset((b"word",))})


def by_update(maildir: Path) -> None:
    keywords = Keywords(str(maildir), "host")
    keywords.make()
    keywords.write(b"1", frozenset((b"word",)))


def by_index(maildir: Path) -> None:
    index = Index(str(maildir), "host")
    index.replace("counts", [b"text"])


WAYS = (by_replacement, by_list, by_update, by_index)


@pytest.mark.parametrize("way", WAYS)
def test_it_ends_behind_the_rename(way: Callable[[Path], None], maildir: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    real = os.rename

    def rename(old: str | bytes, new: str | bytes) -> None:
        real(old, new)
        ended.append(living(maildir))

    way(maildir)
    monkeypatch.setattr(os, "rename", rename)
    way(maildir)
    assert ended == [1] and living(maildir) == 0


@pytest.mark.parametrize("way", WAYS)
def test_it_ends_behind_the_lock(way: Callable[[Path], None], lock: FolderLock, maildir: Path) -> None:
    with lock:
        way(maildir)
        assert living(maildir) == 0
        for count in (1, 2):
            way(maildir)
            assert living(maildir) == count
    assert living(maildir) == 0
    way(maildir)
    assert living(maildir) == 0


def test_the_last_lock_counts(lock: FolderLock, maildir: Path) -> None:
    by_replacement(maildir)
    with FolderLock(str(maildir), "host", enabled=False):
        with lock, lock:
            by_replacement(maildir)
        assert living(maildir) == 1
    assert living(maildir) == 0


def test_few_are_kept(lock: FolderLock, maildir: Path) -> None:
    with lock:
        for _ in range(3 * behind.MOST):
            by_replacement(maildir)
        assert living(maildir) == behind.MOST
    assert living(maildir) == 0


def test_what_cannot_be_replaced(lock: FolderLock, maildir: Path) -> None:
    (maildir / "file").mkdir()
    with lock, pytest.raises(errors.StoreError):
        by_replacement(maildir)
    assert living(maildir) == 0
    assert (maildir / "file").is_dir()


def test_a_child_keeps_nothing(lock: FolderLock, maildir: Path) -> None:
    def has_none() -> None:
        assert living(maildir) == 0

    with lock:
        by_replacement(maildir)
        by_replacement(maildir)
        with process(has_none) as pid:
            assert ended(pid) == 0
        assert living(maildir) == 1
