"""The MODSEQs of a mailbox: who gives them, to what, and what it costs those who did not ask."""
from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from courierpy.maildir import modseqs
from courierpy.maildir.errors import Denied
from courierpy.maildir.highest import highest
from courierpy.maildir.index.asof import FILE, as_of
from courierpy.maildir.index.columns import Index, Stamps
from courierpy.maildir.index.modseqlog import ModseqLog
from courierpy.maildir.locks import FolderLock
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from courierpy.model.flags import DELETED, FLAGGED, SEEN, FlagChange
from tests.conftest import fill
from tests.maildir.children import process


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    fill(tmp_path / "Maildir", 3)
    return tmp_path / "Maildir"


def opened(maildir: Path, numbered: bool = True, **settings: bool) -> Mailbox:
    mailbox = Store(str(maildir), **settings).open("INBOX")
    mailbox.join()
    if numbered:
        mailbox.number_changes()
    mailbox.scan()
    return mailbox


def numbers(mailbox: Mailbox) -> list[int]:
    return list(mailbox.scan().messages.modseqs or ())


def test_nobody_pays_who_did_not_ask(maildir: Path) -> None:
    mailbox = opened(maildir, numbered=False)
    mailbox.store([1, 2], FlagChange("+", SEEN))
    assert mailbox.scan().messages.modseqs is None
    mailbox.close()
    assert not os.path.exists(mailbox.index.file(FILE))


def unasked(maildir: Path) -> int:
    """What a session that gives no numbers says of them, if it need not give some for that."""
    mailbox = opened(maildir, numbered=False)
    try:
        number = mailbox.as_of()
    finally:
        mailbox.close()
    assert number is not None
    return number


def aged(maildir: Path, seconds: int) -> None:
    """As if all that happened to the mailbox had been so long ago."""
    when = time.time_ns() - seconds * 10 ** 9
    for name in ("cur", "new", "courierimapkeywords", "courierimapuiddb"):
        if (maildir / name).exists():
            os.utime(maildir / name, ns=(when, when))


def test_who_did_not_ask_hears_when_the_last_change_was(maildir: Path) -> None:
    """RFC 7162 3.1.2.1: the same as long as nothing changes, what the log says where there is one, more
    behind a change; and what is numbered later is higher."""
    unasked(maildir)                                   # which gives the messages their UIDs
    aged(maildir, 30)
    first = unasked(maildir)
    assert unasked(maildir) == first > 1
    aged(maildir, 20)
    second = unasked(maildir)
    assert second > first
    mailbox = opened(maildir)
    assert min(numbers(mailbox)) > second
    mailbox.store([1], FlagChange("+", SEEN))
    assert unasked(maildir) == max(numbers(mailbox))
    mailbox.close()
    aged(maildir, 20)
    log = time.time_ns() - 15 * 10 ** 9
    os.utime(mailbox.index.file(FILE), ns=(log, log))
    assert unasked(maildir) == log // 1000
    aged(maildir, 10)                                  # by who gives no numbers
    assert unasked(maildir) > log // 1000


def test_what_is_said_unasked_is_not_later_than_the_look(maildir: Path) -> None:
    """What happens to the mailbox between the look and the answer, and in the same tick as it, is told to a
    client that asks for what came since."""
    mailbox = opened(maildir, numbered=False)
    time.sleep(0.01)                                   # the look was in a tick before
    other = opened(maildir)
    other.store([1], FlagChange("+", SEEN))
    number = mailbox.as_of()
    assert number is not None and number < min(numbers(other))
    os.utime(maildir / "cur", ns=(2 ** 62, 2 ** 62))
    number = mailbox.as_of()
    assert number is not None and number < min(numbers(other))
    other.close()
    mailbox.close()


@pytest.mark.parametrize("tick", [4_000_000, 10 ** 9])
def test_what_is_said_unasked_rises(tick: int, tmp_path: Path) -> None:
    """RFC 7162 3.1.2.1: a client knows by a higher number that something has changed.  ``tick``: nanoseconds
    in which the file system's times are the same."""
    rand = random.Random(tick)
    now, index = 1_700_000_000_000_000_000, Index(str(tmp_path), "host")
    first = 1_234_567 if tick % 10 ** 9 else 0         # fine times are seldom whole seconds

    def stamp() -> int:
        return (now - first) // tick * tick + first
    cur = database = stamp()
    told = 1
    for _ in range(3000):
        now += int(10 ** rand.uniform(5, 10))          # from a tenth of a millisecond to ten seconds
        changed = rand.random() < 0.7
        if changed:
            cur = stamp()
        now += int(10 ** rand.uniform(4, 7))
        looked = now
        if rand.random() < 0.5:                        # the numbers are written when it has been looked at
            now += 2_000_000
            database = stamp()
        number = as_of(index, Stamps(cur, 1, 0, 0, (1, database, 1)), looked)
        assert (number > told if changed else number >= told), (number, told, looked, cur, database)
        told = number


def test_a_change_just_behind_the_last_number_is_not_hidden_by_it(maildir: Path) -> None:
    """A client that comes back in the same moment, and asks for what came since only where the number is not
    the one that it keeps."""
    kept = highest(Store(str(maildir)), "INBOX")
    for flag in "FSR":
        assert unasked(maildir) == kept
        found = sorted((maildir / "cur").iterdir())[0]
        found.rename(found.with_name(found.name.partition(":")[0] + ":2," + flag))
        assert unasked(maildir) == 0                   # it has to be numbered first
        kept, before = highest(Store(str(maildir)), "INBOX"), kept
        assert kept > before


@pytest.mark.parametrize(("early", "late"), [(0.0, 0.0), (0.0, 0.1), (0.1, 0.0)])
def test_a_change_while_it_is_numbered_is_not_hidden(early: float, late: float, maildir: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind the look that is numbered is later than its number, however long that takes, or it
    has to be numbered first."""
    stamp = ModseqLog.stamp

    def slow(log: ModseqLog, *values: Any, **others: Any) -> bool:
        time.sleep(early)
        found = sorted((maildir / "cur").iterdir())[0]
        found.rename(found.with_name(found.name.partition(":")[0] + ":2,F"))
        time.sleep(late)
        return stamp(log, *values, **others)
    one = opened(maildir, numbered=False)
    monkeypatch.setattr(ModseqLog, "stamp", slow)
    one.number_changes()
    kept = max(one.scan().messages.modseqs or ())
    one.close()
    monkeypatch.undo()
    for _ in range(2):
        number = unasked(maildir)
        assert number == 0 or number > kept
        time.sleep(0.1)
    assert number or highest(Store(str(maildir)), "INBOX") > kept


def test_numbers_behind_a_clock_that_was_set_back_say_no_time(maildir: Path) -> None:
    one = opened(maildir)
    aged(maildir, 10)
    when = one.index.file(FILE)
    assert os.stat(when).st_mtime_ns // 1000 == max(numbers(one))
    with pytest.MonkeyPatch.context() as patched:
        now = time.time_ns()
        patched.setattr(time, "time_ns", lambda: now - 3600 * 10 ** 9)
        one.store([1], FlagChange("+", SEEN))
    one.close()
    assert unasked(maildir) == max(numbers(opened(maildir)))


@pytest.mark.parametrize("setting", ["locks", "read_only"])
def test_there_is_no_number_where_nothing_can_be_kept(setting: str, maildir: Path) -> None:
    mailbox = opened(maildir, numbered=False, **{setting: setting == "read_only"})
    assert mailbox.as_of() is None
    mailbox.close()


def test_two_sessions_and_one_change(maildir: Path) -> None:
    one, two, plain = opened(maildir), opened(maildir), opened(maildir, numbered=False)
    assert numbers(one) == numbers(two)
    first = numbers(one)[0]
    one.store([1], FlagChange("+", FLAGGED))
    assert numbers(one) == numbers(two) and numbers(one)[0] > first
    plain.store([2], FlagChange("+", SEEN))            # by one that gives no numbers
    plain.store([2], FlagChange("+", FLAGGED, frozenset([b"$Todo"])))
    assert numbers(two) == numbers(one) and numbers(one)[1] > numbers(one)[0]
    before = numbers(one)
    two.store([1], FlagChange("+", FLAGGED))           # it has it
    assert numbers(one) == numbers(two) == before
    plain.store([3], FlagChange("+", DELETED))
    plain.expunge([3])
    assert numbers(one) == numbers(two)
    assert one.modseqs is not None and two.modseqs is not None
    assert one.modseqs.history.highest == two.modseqs.history.highest > max(before)
    for mailbox in one, two, plain:
        mailbox.close()


def test_snapshot_stays_the_same_when_nothing_happened(maildir: Path) -> None:
    mailbox = opened(maildir)
    mailbox.scan()
    assert mailbox.scan() is mailbox.scan()
    mailbox.close()


def test_recent_is_told_once(maildir: Path) -> None:
    """Also where it was found by the look before a change of our own."""
    mailbox = opened(maildir)
    mailbox.scan()
    (maildir / "new" / "1800000000.M1P1.late").write_text("Subject: late\n\nx\n")
    mailbox.store([1], FlagChange("+", SEEN))
    assert list(mailbox.scan().recent) == [4]
    assert list(mailbox.scan().recent) == []
    mailbox.close()


def test_status_rises_with_each_change(maildir: Path) -> None:
    store = Store(str(maildir))
    seen = [highest(store, "INBOX")]

    def rose() -> bool:
        seen.append(highest(store, "INBOX"))
        assert highest(store, "INBOX") == highest(Store(str(maildir)), "INBOX") == seen[-1]
        return seen[-1] > seen[-2]
    assert not rose()
    (maildir / "new" / "1800000000.M1P1.late").write_text("Subject: late\n\nx\n")
    assert rose() and not rose()
    file = next((maildir / "cur").glob("*late*"))
    file = file.rename(file.with_name(file.name + "S"))
    assert rose() and not rose()
    file.unlink()
    assert rose() and not rose()
    opened(maildir, numbered=False).store([1], FlagChange("+", 0, frozenset([b"$Todo"])))
    assert rose() and not rose()
    # mail is recent still
    (maildir / "new" / "1800000001.M1P1.later").write_text("Subject: later\n\nx\n")
    assert rose()
    assert list(store.open("INBOX").scan().recent) != []


def test_lost_index_moves_up(maildir: Path) -> None:
    store = Store(str(maildir))
    first = highest(store, "INBOX")
    shutil.rmtree(maildir / "courierpyindex")
    second = highest(store, "INBOX")
    assert second > first
    mailbox = opened(maildir)
    assert numbers(mailbox) == [second] * 3
    assert mailbox.modseqs is not None and mailbox.modseqs.history.expunged.horizon == second
    mailbox.close()


def test_lost_while_open(maildir: Path) -> None:
    """What the session knows is not lost."""
    mailbox = opened(maildir)
    mailbox.store([2], FlagChange("+", SEEN))
    before = numbers(mailbox)
    os.unlink(mailbox.index.file(FILE))
    assert numbers(mailbox) == before
    other = opened(maildir)
    assert numbers(other) == before
    mailbox.close(), other.close()


def test_renamed_and_made_again(maildir: Path) -> None:
    store = Store(str(maildir))
    store.create("INBOX.a")
    first = highest(store, "INBOX.a")
    store.rename("INBOX.a", "INBOX.b")
    assert highest(Store(str(maildir)), "INBOX.b") == first        # its index came along
    store.delete("INBOX.b")
    store.create("INBOX.b")
    assert highest(Store(str(maildir)), "INBOX.b") > first


@pytest.mark.parametrize("why", ["no locks", "no place", "locks are refused"])
def test_where_nothing_can_be_kept(why: str, maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "no place":
        (maildir / "courierpyindex").write_text("")
    mailbox = Store(str(maildir), locks=why != "no locks").open("INBOX")
    if why == "locks are refused":
        mailbox.scan()
    modseqs = mailbox.number_changes()
    if why == "locks are refused":
        def refuse(self: FolderLock, *words: object, **more: object) -> bool:
            raise Denied("no lock")
        monkeypatch.setattr(FolderLock, "take", refuse)
    assert mailbox.scan().messages.modseqs is None and not modseqs.kept
    mailbox.close()


def test_store_is_one_number_whatever_happens_beside(maildir: Path) -> None:
    """A foreign change that is found by the look before has its own."""
    mailbox = opened(maildir)
    before = numbers(mailbox)
    other = opened(maildir, numbered=False)
    other.store([3], FlagChange("+", FLAGGED))
    mailbox.store([1, 2], FlagChange("+", SEEN))
    after = numbers(mailbox)
    assert after[0] == after[1] > after[2] > max(before)
    mailbox.close(), other.close()


def test_module_is_loaded_when_somebody_asks() -> None:
    code = "import courierpy.imapd, courierpy.maildir.mailbox, sys; " \
           "print([name for name in sys.modules if 'modseq' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert done.stdout.strip() == b"[]"


def test_flags_are_fetched_with_what_others_did_before_though_they_hold_the_lock(
        maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that has no number yet is waited for, for a moment; not while the lock is held for long."""
    mailbox, other = opened(maildir), opened(maildir, numbered=False)
    other.store([1], FlagChange("+", SEEN))
    mailbox.scan()                         # others are at work in it
    held, release = os.pipe(), os.pipe()

    def hold() -> None:
        with FolderLock(str(maildir), "host"):
            os.write(held[1], b"h")
            os.read(release[0], 1)

    with process(hold):
        os.read(held[0], 1)
        other.store([2], FlagChange("+", FLAGGED))
        assert mailbox.overhear(False) is None
        monkeypatch.setattr(modseqs, "A_MOMENT", 60.0)
        take = FolderLock.take

        def takes(lock: FolderLock, *words: Any, **more: Any) -> bool:
            os.write(release[1], b"r")     # it is let go while we wait
            return take(lock, *words, **more)
        monkeypatch.setattr(FolderLock, "take", takes)
        found = mailbox.overhear(False)
        os.write(release[1], b"r")
    assert found is not None and found.messages.state(2)[0] == FLAGGED
    for each in (mailbox, other):
        each.close()
