"""The mailbox that was open last in this process: what its next session need not read, and when it must."""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courierpy.maildir import lately, mailboxdirectory, saving
from courierpy.maildir.directory import GRAIN
from courierpy.maildir.index.columns import Stamps
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.mailboxdirectory import MailboxDirectory
from courierpy.maildir.store import Store
from courierpy.model.flags import FLAGGED, SEEN, FlagChange
from courierpy.model.messages import Snapshot
from tests.conftest import fill

COUNT = 5


@pytest.fixture
def maildir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "Maildir"
    fill(path, COUNT)
    lately.forget()
    yield path
    lately.turn_to("")
    lately.forget()
    lately._aside.clear()


def settle() -> None:
    """What happened shows in the stamps, and what comes will."""
    time.sleep(2 * GRAIN)


def session(maildir: Path, does: Callable[[Mailbox], object] = lambda mailbox: None,
            keywords: bool = True, read_only: bool = False) -> tuple[Snapshot, bool]:
    """What a session sees at last, and did it know the mailbox from the one before?"""
    settle()
    mailbox = Store(str(maildir), keywords=keywords, read_only=read_only).open("INBOX")
    mailbox.join()
    known = lately.find(mailbox.place, mailbox.place.stamps()) is not None
    mailbox.scan()
    does(mailbox)
    found = mailbox.scan()
    mailbox.close()
    return found, known


def told(found: Snapshot) -> tuple[list[int], bytes, dict[int, frozenset[bytes]]]:
    return list(found.messages.uids), bytes(found.messages.flags), dict(found.messages.keywords)


def test_one_that_is_unchanged_is_not_read(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session(maildir)
    first, _ = session(maildir)
    with monkeypatch.context() as patch:
        for name in ("by_listing", "from_index"):
            patch.setattr(f"courierpy.maildir.survey.Survey.{name}", None)
        second, known = session(maildir)
    assert known and told(first) == told(second) and second.uidnext == first.uidnext
    assert second.uidvalidity == first.uidvalidity and len(second.messages) == COUNT


def test_its_directories_are_looked_at_once(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By who finds it as it was; what changes behind that look is seen by the next."""
    session(maildir)
    session(maildir)
    settle()
    mailbox = Store(str(maildir)).open("INBOX")
    mailbox.join()
    looks: list[str] = []
    real = os.stat

    def stat(path: str, **words: bool) -> os.stat_result:
        looks.append(str(path))
        return real(path, **words)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        assert len(mailbox.scan().messages) == COUNT
    assert len(looks) == len(set(looks))
    (maildir / "cur" / "1700000077.M77P1.host:2,").write_bytes(b"A: b\n\n")
    assert len(mailbox.scan().messages) == COUNT + 1
    mailbox.close()


def test_garbage_is_looked_for_now_and_then(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by each session that has the mailbox after another one; but by who comes later, and in another."""
    garbage = maildir / "tmp" / "1.old.host"

    def cleans(path: Path) -> bool:
        garbage.write_bytes(b"")
        monkeypatch.setattr(mailboxdirectory, "TMP_AGE", -3600)
        session(path, lambda mailbox: lately.clean_tmp(mailbox.place))
        monkeypatch.undo()
        return not garbage.exists()

    session(maildir)                   # which numbers the mail, so that the next one reads it
    assert cleans(maildir)
    assert not cleans(maildir) and not cleans(maildir)
    monkeypatch.setattr(lately, "CLEAN_SECONDS", 0.0)
    assert cleans(maildir)
    lately.forget()
    assert cleans(maildir)


def test_what_a_session_changes_is_not_what_the_next_one_knows(maildir: Path) -> None:
    """Neither where that shows on the disk, nor where it did not come so far."""
    session(maildir)
    session(maildir)

    def spoils(mailbox: Mailbox) -> None:
        held = mailbox.contents.held
        held.flags[0] ^= SEEN
        held.odd[held.database.uids[0]] = b"other"
        held.database.uidnext += 7
        mailbox.contents.departed[1] = b"gone"
        mailbox.forget()

    plain, known = session(maildir)
    assert known
    _, known = session(maildir, spoils)
    assert known
    after, known = session(maildir)
    assert told(after) == told(plain) and after.uidnext == plain.uidnext
    uid = plain.messages.uids[1]
    change = FlagChange("+", FLAGGED, frozenset([b"$x"]))
    changed, _ = session(maildir, lambda mailbox: mailbox.store([uid], change))
    after, _ = session(maildir)
    assert told(after) == told(changed) != told(plain)
    assert any(session(maildir)[1] for _ in range(3))


def _renames(maildir: Path) -> None:
    path = sorted((maildir / "cur").iterdir())[0]
    path.rename(path.with_name(path.name.partition(":")[0] + ":2,FS"))


def _adds(maildir: Path) -> None:
    (maildir / "new" / "1800000000.new").write_bytes(b"Subject: new\n\n")


def _removes(maildir: Path) -> None:
    os.unlink(sorted((maildir / "cur").iterdir())[-1])


def _labels(maildir: Path) -> None:
    folder = maildir / "courierimapkeywords"
    folder.mkdir(exist_ok=True)
    name = sorted((maildir / "cur").iterdir())[0].name.partition(":")[0]
    (folder / name).write_bytes(b"label\n\n")


def _renumbers(maildir: Path) -> None:
    os.unlink(maildir / "courierimapuiddb")


@pytest.mark.parametrize("change", [_renames, _adds, _removes, _labels, _renumbers])
def test_what_others_change_is_seen(maildir: Path, change: Callable[[Path], None]) -> None:
    session(maildir)
    before, _ = session(maildir)
    settle()
    change(maildir)
    after, known = session(maildir)
    assert not known
    lately.forget()
    fresh, _ = session(maildir)
    assert told(fresh) == told(after) and fresh.uidvalidity == after.uidvalidity
    assert change is _renumbers or told(after) != told(before)


def test_another_mailbox_is_another(maildir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same name, in a process that was in another directory; and one without keywords."""
    other = tmp_path / "other" / "Maildir"
    other.parent.mkdir()
    fill(other, 2)
    counts = []
    for place in (maildir, other, maildir, other) * 2:
        monkeypatch.chdir(place.parent)
        found, _ = session(Path("Maildir"))
        counts.append(len(found.messages))
    assert counts == [COUNT, 2] * 4
    session(other)
    assert not session(other, keywords=False)[1]
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    session(other)
    assert not session(other)[1]


def test_what_is_not_kept(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names with two files, a mailbox that only is read, and a large one."""
    session(maildir)
    monkeypatch.setattr(saving, "MOST", COUNT - 1)
    session(maildir)
    assert not session(maildir)[1]
    monkeypatch.undo()
    session(maildir)
    assert session(maildir)[1]
    assert not session(maildir, read_only=True)[1] or lately._last is None
    session(maildir)
    path = sorted((maildir / "cur").iterdir())[0]
    os.link(path, path.with_name(path.name.partition(":")[0] + ":2,FRS"))
    session(maildir)
    assert not session(maildir)[1]


def test_what_is_heard_while_the_stamps_are_compared(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session(maildir)
    session(maildir)
    settle()
    mailbox = Store(str(maildir)).open("INBOX")
    mailbox.join()
    mailbox.watch()
    real, moments = MailboxDirectory.stamps, iter([True])

    def stamps(self: MailboxDirectory, sure: bool = True) -> Stamps | None:
        found = real(self, sure)
        if next(moments, False):
            (maildir / "cur" / "1700000077.M77P1.host:2,").write_bytes(b"A: b\n\n")
        return found

    monkeypatch.setattr(MailboxDirectory, "stamps", stamps)
    assert len(mailbox.scan().messages) == COUNT + 1
    mailbox.close()


def test_each_account_has_its_own(maildir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a process serves several."""
    other = tmp_path / "other"
    fill(other, COUNT)
    for path in (maildir, other):
        session(path)                  # which numbers the mail
    lately.forget()
    for account, path, known in (("ann", maildir, False), ("bob", other, False), ("ann", maildir, True),
                                 ("bob", other, True), ("bob", maildir, False), ("ann", maildir, True)):
        lately.turn_to(account)
        assert session(path)[1] is known, (account, path)
    lately.turn_to("bob")
    (maildir / "new/more").write_bytes(b"Subject: more\n\nx\n")
    lately.turn_to("ann")
    found, known = session(maildir)
    assert len(found.messages) == COUNT + 1 and not known


def test_little_is_put_aside(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle()
    monkeypatch.setattr(lately, "ACCOUNTS", 2)
    for account in ("ann", "bob", "carol", "dave"):
        lately.turn_to(account)
        session(maildir)
    assert list(lately._aside) == ["bob", "carol"]
    monkeypatch.setattr(lately, "MESSAGES", COUNT)
    lately.turn_to("erin")
    assert list(lately._aside) == ["dave"]
    monkeypatch.setattr(lately, "MESSAGES", COUNT - 1)
    session(maildir)
    lately.turn_to("dave")
    assert lately._last is not None and not lately._aside


def test_mail_that_is_heard_before_the_index_is_found_is_numbered(tmp_path: Path) -> None:
    """A look that begins under the lock needs no other lock: else nothing at all would be there."""
    path = tmp_path / "Many"
    fill(path, 300)
    settle()
    mailbox = Store(str(path)).open("INBOX")
    mailbox.join()
    mailbox.scan()
    settle()
    mailbox.scan()
    mailbox.close(wait=True)
    lately.forget()
    (path / "new" / "1900000000.M1P1.host").write_bytes(b"Subject: new\n\nx\n")
    settle()
    other, again = Store(str(path)).open("INBOX"), Store(str(path)).open("INBOX")
    other.join()                       # where two are, the index is worth a watch
    again.join()
    with again.locked():
        assert again._looker.update(True)
    assert len(again._looker.snapshot.messages) == 301
    for each in (again, other):
        each.close()
