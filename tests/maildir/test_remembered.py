"""A host that has its Maildirs on a file server remembers for seconds what a file is, until somebody opens it
(nfs(5), close-to-open): what another host has numbered meanwhile is known to who has the lock."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from courierpy.maildir.formats import uiddb
from courierpy.maildir.index.asof import FILE as MODSEQS
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from courierpy.model.flags import ANSWERED, DELETED, FLAGGED, SEEN, FlagChange
from tests.conftest import fill

AN_HOUR_NS = 3600 * 10**9


class Host:
    """It sees of files of this name what they were before another host changed them, until it opens them.
    ``far``: what is done is that host's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str = uiddb.NAME) -> None:
        self._name = name
        self._stat, self._open = os.stat, os.open
        self._paths: set[str] = set()
        self._remembered: dict[str, os.stat_result] = {}
        self._far = False
        monkeypatch.setattr(os, "stat", self.stat)
        monkeypatch.setattr(os, "open", self.open)

    @contextmanager
    def far(self) -> Iterator[None]:
        self._remembered = {path: self.stat(path) for path in self._paths}
        self._far = True
        yield
        self._far = False

    def stat(self, path: Any, **how: Any) -> os.stat_result:
        if self._far or not isinstance(path, str) or os.path.basename(path) != self._name:
            return self._stat(path, **how)
        found = self._remembered.get(path) or self._stat(path, **how)
        self._paths.add(path)
        return found

    def open(self, path: Any, *how: Any, **more: Any) -> int:
        if not self._far and not how[0] & os.O_PATH:
            self._remembered.pop(path, None)
        return self._open(path, *how, **more)


@pytest.fixture
def root(tmp_path: Path) -> str:
    root = tmp_path / "Maildir"
    fill(root, 5)
    mailbox = Store(str(root), host="host").open("INBOX")
    mailbox.scan()
    mailbox.close(wait=True)
    for name in (uiddb.NAME, "cur", "new"):
        found = (root / name).stat()
        os.utime(root / name, ns=(found.st_atime_ns, found.st_mtime_ns - AN_HOUR_NS))
    return str(root)


def append(store: Store) -> int:
    mailbox = store.open("INBOX")
    draft = mailbox.draft()
    draft.write(b"Subject: new\r\n\r\n")
    return mailbox.append([draft])[1][0]


def expunge(store: Store, uid: int) -> None:
    mailbox = store.open("INBOX")
    mailbox.scan()
    mailbox.remove([uid])
    mailbox.close()


def test_two_hosts_bring_messages(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = Store(root, host="here"), Store(root, host="there")
    host = Host(monkeypatch)
    for store in (here, there):
        store.options.keep_file()
    for uid in range(6, 16, 2):
        assert append(here) == uid
        with host.far():
            assert append(there) == uid + 1
            expunge(there, uid + 1)
    for store in (here, there):
        store.options.end()


@pytest.mark.parametrize("watched", [False, True])
def test_a_session_that_has_it_open(root: str, monkeypatch: pytest.MonkeyPatch, watched: bool) -> None:
    there = Store(root, host="there")
    mailbox: Mailbox = Store(root, host="here").open("INBOX")
    mailbox.join()
    if watched:
        mailbox.watch()
    host = Host(monkeypatch)
    assert mailbox.scan().messages.uids.tolist() == [*range(1, 6)]
    with host.far():
        assert append(there) == 6
        expunge(there, 6)
    Path(root, "new", "1900000000.M1P1.host").write_bytes(b"Subject: new\n\n")
    assert mailbox.scan().messages.uids.tolist() == [*range(1, 6), 7]
    mailbox.close()


@pytest.mark.parametrize("uid", [1, 3])
def test_changes_on_two_hosts(root: str, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    """The log of their numbers goes on where the other host has left it."""
    here, there = Store(root, host="here").open("INBOX"), Store(root, host="there").open("INBOX")
    host = Host(monkeypatch, MODSEQS)

    def changed(mailbox: Mailbox, uid: int, flag: int) -> tuple[int, ...]:
        mailbox.store([uid], FlagChange("+", flag))
        return tuple(mailbox.scan().messages.modseqs or ())

    for mailbox in (here, there):
        mailbox.join()
        mailbox.number_changes()
        mailbox.scan()
    changed(here, 1, SEEN)
    size = os.path.getsize(here.index.file(MODSEQS))
    for flag in (FLAGGED, ANSWERED, DELETED):
        with host.far():
            told = changed(there, 2, flag)
        last = changed(here, uid, flag)
        assert last[1] == told[1] < last[uid - 1]
    with host.far():
        assert tuple(there.scan().messages.modseqs or ()) == last
        assert os.path.getsize(here.index.file(MODSEQS)) > size
    for mailbox in (here, there):
        mailbox.close()
