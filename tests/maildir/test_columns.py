"""Many messages are changed and removed at once: what is odd among them fares as it does alone."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from courierpy.maildir.errors import StoreError
from courierpy.maildir.files import failures
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from courierpy.model.flags import DELETED, FLAGGED, SEEN, FlagChange
from tests.conftest import fill

COUNT = 60
GONE, ELSEWHERE, LONG, ODD, HAS = 7, 13, 22, 31, 44    # rows; the last has the flag already


def opened(maildir: Path, watch: bool) -> Mailbox:
    mailbox = Store(str(maildir)).open("INBOX")
    mailbox.join()
    mailbox.scan()
    if watch:
        mailbox.watch()
        mailbox.scan()
    return mailbox


def mixed(maildir: Path, letters: str, count: int = COUNT) -> None:
    """Messages of which some are odd.  ``letters``: flags of the one at HAS."""
    fill(maildir, count)
    for row, file in enumerate(sorted((maildir / "new").iterdir())):
        base = file.name
        if row == LONG:
            base += "x" * (255 - len(base + ":2,S"))       # no room for one more letter
        file.rename(maildir / "cur" / (base + {ODD: ":2,Sa", HAS: ":2," + letters}.get(row, ":2,S")))


def disturb(maildir: Path) -> None:
    """What others do to two of them."""
    files = sorted((maildir / "cur").iterdir())
    files[GONE].unlink()
    files[ELSEWHERE].rename(files[ELSEWHERE].with_name(files[ELSEWHERE].name.replace(":2,S", ":2,RS")))


def letters(maildir: Path) -> list[str]:
    return [file.name.partition(":2,")[2] for file in sorted((maildir / "cur").iterdir())]


@pytest.mark.parametrize("watch", [False, True])
def test_flags_of_many(maildir: Path, watch: bool) -> None:
    mixed(maildir, "FS")
    mailbox = opened(maildir, watch)
    uids = list(mailbox.scan().messages.uids)
    disturb(maildir)
    refused: list[StoreError] = []
    done = mailbox.store(uids, FlagChange("+", FLAGGED), refused)

    assert len(refused) == 1
    assert list(done) == [uid for row, uid in enumerate(uids) if row not in (GONE, LONG)]
    there = letters(maildir)
    assert there.pop(LONG - 1) == "S"
    assert there.pop(ELSEWHERE - 1) == "FRS"
    assert there.count("FSa") == 1
    assert set(there) == {"FS", "FSa"}
    # what is known is what is there
    assert mailbox.scan().messages.flags == opened(maildir, False).scan().messages.flags
    mailbox.close()


@pytest.mark.parametrize("watch", [False, True])
def test_a_change_that_is_refused_is_taken_back(maildir: Path, watch: bool) -> None:
    mixed(maildir, "FS")
    mailbox = opened(maildir, watch)
    before = letters(maildir)
    with pytest.raises(StoreError):
        mailbox._store(list(mailbox.scan().messages.uids), FlagChange("+", FLAGGED), None)
    assert letters(maildir) == before
    mailbox.close()


@pytest.mark.parametrize("watch", [False, True])
def test_many_are_removed(maildir: Path, watch: bool) -> None:
    mixed(maildir, "S")
    mailbox = opened(maildir, watch)
    uids = list(mailbox.scan().messages.uids)
    mailbox.store([uid for row, uid in enumerate(uids) if row != HAS], FlagChange("+", DELETED), [])
    files = sorted((maildir / "cur").iterdir())
    files[GONE].unlink()
    files[ELSEWHERE].rename(files[ELSEWHERE].with_name(files[ELSEWHERE].name.replace(":2,ST", ":2,S")))
    gone = mailbox.expunge(uids, [])

    # one has the flag no more, and one never had room for it
    left = [uids[row] for row in (ELSEWHERE, LONG, HAS)]
    assert gone == [uid for row, uid in enumerate(uids) if uid not in left and row != GONE]
    assert letters(maildir) == ["S"] * 3
    assert list(mailbox.scan().messages.uids) == left
    assert mailbox.scan().messages.flags == bytes([SEEN] * 3)
    mailbox.close()


def test_no_step_for_each(maildir: Path) -> None:
    mixed(maildir, "FS", 660)
    mailbox = opened(maildir, True)
    uids = list(mailbox.scan().messages.uids)

    def calls(deed: Callable[[], object]) -> int:
        found = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal found
            found += event == "call"

        sys.setprofile(count)
        try:
            deed()
        finally:
            sys.setprofile(None)
        return found

    change, back = FlagChange("+", FLAGGED), FlagChange("-", FLAGGED)
    for some in (uids[-200:], uids[-401::2]):
        assert calls(lambda some=some: mailbox.store(some, change, [])) < len(some)  # type: ignore[misc]
        mailbox.store(some, back, [])
    mailbox.store(uids, FlagChange("+", DELETED), [])
    assert calls(lambda: mailbox.expunge(uids[-200:], [])) < 200
    mailbox.close()


def test_failures(tmp_path: Path) -> None:
    names = [os.fsencode(tmp_path / str(number)) for number in range(6)]
    for number in (1, 2, 4):
        (tmp_path / str(number)).touch()
    there = [name + b".there" for name in names]
    assert failures(os.rename, names, there) == [0, 3, 5]
    assert failures(os.unlink, there) == [0, 3, 5]
    assert failures(os.unlink, []) == []
