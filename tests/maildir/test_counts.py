"""What STATUS keeps of all folders: true while nothing changed, and never believed longer."""
from __future__ import annotations

import os
import time
from pathlib import Path
from struct import pack

import pytest

from courierpy.maildir.errors import FolderMissing
from courierpy.maildir.store import Store
from courierpy.model.flags import SEEN, FlagChange

FILE = "courierpyindex/counts"


def settle(maildir: Path) -> None:
    """As if the last change were some minutes old."""
    old = time.time() - 300
    for path in (maildir / "cur", maildir / "new", maildir / "courierimapuiddb"):
        os.utime(path, (old, old))


def session(maildir: Path) -> Store:
    return Store(str(maildir), host="host")


def counts(tree: Store) -> tuple[int, int, int, int]:
    status = tree.status("INBOX")
    return status.messages, status.recent, status.uidnext, status.unseen


def learn(maildir: Path) -> tuple[int, int, int, int]:
    """A session that asked, and ended."""
    session(maildir).open("INBOX").scan()
    settle(maildir)
    tree = session(maildir)
    found = counts(tree)
    tree.save()
    return found


def test_next_session_opens_nothing(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = learn(maildir)
    tree = session(maildir)
    monkeypatch.setattr(Store, "open", None)
    assert counts(tree) == known == (3, 0, 4, 3)


def test_changes_show(maildir: Path) -> None:
    learn(maildir)
    folder = session(maildir).open("INBOX")
    folder.scan()
    folder.store([2], FlagChange("+", SEEN))
    assert counts(session(maildir)) == (3, 0, 4, 2)
    (maildir / "new" / "1800000000.M1P1.host").write_bytes(b"Subject: x\n\n")
    assert counts(session(maildir)) == (4, 1, 5, 3)


@pytest.mark.parametrize("damage", [b"", b"courierpy counts 2 00000000\n", b"courierpy counts 3 00000000\n",
                                    b"courierpy counts 3 2144df1c\n\0\0\0\0", b"\xff" * 99])
def test_damaged_file(maildir: Path, damage: bytes) -> None:
    known = learn(maildir)
    (maildir / FILE).write_bytes(damage)
    assert counts(session(maildir)) == known
    data = (maildir / FILE).read_bytes()
    learn(maildir)
    assert (maildir / FILE).read_bytes() != data
    data, wrong = (maildir / FILE).read_bytes(), pack("<qqq", 9, 0, 4)
    assert (changed := data.replace(pack("<qqq", 3, 0, 4), wrong)) != data
    (maildir / FILE).write_bytes(changed)
    assert counts(session(maildir)) == known


def test_folders_that_are_gone_leave_it(maildir: Path) -> None:
    tree = session(maildir)
    tree.create("INBOX.old")
    old = time.time() - 300
    for part in ("cur", "new", "courierimapuiddb"):
        os.utime(maildir / ".old" / part, (old, old))
    assert tree.status("INBOX.old").messages == 0
    tree.save()
    assert b".old" in (maildir / FILE).read_bytes()
    session(maildir).delete("INBOX.old")
    with pytest.raises(FolderMissing):
        session(maildir).status("INBOX.old")
    learn(maildir)
    assert b".old" not in (maildir / FILE).read_bytes()


def test_recent_that_may_be_claimed_is_not_kept(maildir: Path) -> None:
    """Who claims it changes nothing that the stamps show."""
    session(maildir).open("INBOX").scan(readonly=True)
    settle(maildir)
    tree = session(maildir)
    assert counts(tree)[1] == 3
    tree.save()
    session(maildir).open("INBOX").scan()
    settle(maildir)
    assert counts(session(maildir))[1] == 0


def test_what_nobody_has_claimed_is_counted_once(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that came by a command into a mailbox that nobody has selected since."""
    draft = session(maildir).open("INBOX").draft()
    draft.write(b"A: b\n")
    session(maildir).open("INBOX").append([draft])
    settle(maildir)
    old = time.time() - 300
    recent = maildir / "courierpyindex" / "recent"
    os.utime(recent, (old, old))
    tree = session(maildir)
    known = counts(tree)
    assert known == (4, 4, 5, 4)
    tree.save()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "open", None)
        assert counts(session(maildir)) == known
    session(maildir).open("INBOX").scan()              # claims them, and that shows in no directory
    settle(maildir)
    assert counts(session(maildir)) == (4, 0, 5, 4)
