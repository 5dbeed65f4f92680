"""A uiddb that another server wrote, and that has the inode of the one that we know: was that one cut?"""
from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from courierpy.maildir.formats import uiddb
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from tests.conftest import fill


def inbox(maildir: Path) -> Mailbox:
    return Store(str(maildir), host="host").open("INBOX")


def uids(folder: Mailbox) -> list[int]:
    return list(folder.scan().messages.uids)


def without(maildir: Path, went: tuple[int, ...]) -> None:
    """The uiddb has no lines of these any more, and its inode."""
    path = maildir / uiddb.NAME
    head, *lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(head + b"".join(line for line in lines if int(line.split()[0]) not in went))
    time.sleep(0.03)                           # so that it is trusted


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("went", [(6, 5), (1, 2), (3,), (1, 2, 3, 4, 5, 6)])
def test_lines_of_messages_that_went(tmp_path: Path, capfd: pytest.CaptureFixture[str], log: bool,
                                     opened: bool, went: tuple[int, ...]) -> None:
    """Nothing is damaged, and nothing is restored; what is really cut is."""
    maildir = tmp_path / "M"
    fill(maildir, 6)
    inbox(maildir).scan()
    time.sleep(0.03)
    first = inbox(maildir)
    assert uids(first) == [1, 2, 3, 4, 5, 6]
    first.close(wait=True)
    ours = inbox(maildir)
    if opened:
        ours.scan()
    for uid in went:
        (file,) = (maildir / "cur").glob(f"{1700000000 + uid}.*")
        file.unlink()
    without(maildir, went)
    if not log:
        shutil.rmtree(maildir / "courierpyindex")
    left = [uid for uid in range(1, 7) if uid not in went]
    assert uids(ours) == uids(inbox(maildir)) == left
    assert capfd.readouterr().err == ""
    if log or opened:
        time.sleep(0.03)
        assert uids(ours) == left
        without(maildir, tuple(left))
        assert uids(ours) == left
        assert ("restored" in capfd.readouterr().err) == bool(left)
