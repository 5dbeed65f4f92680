"""A host that has its Maildirs on a file server remembers for seconds what a file is, until somebody opens it
(nfs(5), close-to-open): what another host has numbered meanwhile is known by who has the lock."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from courierpy.maildir.formats import uiddb
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from tests.conftest import fill

AN_HOUR_NS = 3600 * 10**9


class Host:
    """Where the uiddb looks as it did when it was opened last.  ``far``: what is done is another host's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stat, self._open = os.stat, os.open
        self._known: dict[str, os.stat_result] = {}
        self._far = False
        monkeypatch.setattr(os, "stat", self.stat)
        monkeypatch.setattr(os, "open", self.open)

    @contextmanager
    def far(self) -> Iterator[None]:
        self._far = True
        yield
        self._far = False

    def stat(self, path: Any, **how: Any) -> os.stat_result:
        if self._far or not str(path).endswith(uiddb.NAME):
            return self._stat(path, **how)
        return self._known.setdefault(path, self._stat(path, **how))

    def open(self, path: Any, *how: Any, **more: Any) -> int:
        if not self._far and not how[0] & os.O_PATH:
            self._known.pop(path, None)
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
