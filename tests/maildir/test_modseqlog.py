"""The log of MODSEQs: one number a change, whoever looks; what is lost is never claimed to be known."""
from __future__ import annotations

import os
import random
import time
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from courierpy.maildir.index import history as values
from courierpy.maildir.index import modseqlog
from courierpy.maildir.index.asof import FILE
from courierpy.maildir.index.columns import Index
from courierpy.maildir.index.history import MOST, Expunged, History, Record
from courierpy.maildir.index.modseqlog import ModseqLog
from courierpy.model.messages import Messages
from courierpy.model.uidset import NO_UIDS, UidSet
from tests.conftest import fill
from tests.model.test_messages import FOLDERS, Mailbox, columns

VALIDITY = 700000001


def with_numbers(folder: Mailbox, modseqs: list[int]) -> Messages:
    found = columns(folder)
    return Messages(found.uids, found.flags, found.keywords, array("Q", modseqs))


def histories() -> st.SearchStrategy[History]:
    @st.composite
    def build(draw: st.DrawFn) -> History:
        folder = draw(FOLDERS)
        modseqs = [draw(st.integers(1, MOST)) for _ in folder]
        expunged = Expunged(draw(st.integers(0, 9)))
        for number in range(10, 10 + draw(st.integers(0, 3))):
            gone = sorted(draw(st.sets(st.integers(1, 99), min_size=1)))
            expunged = expunged.and_then(number, UidSet.of(gone))
        return History(VALIDITY, 100, draw(st.integers(1, MOST)), with_numbers(folder, modseqs), expunged)
    return build()


def same(one: History, two: History) -> bool:
    return all(getattr(one, name) == getattr(two, name) for name in History.__slots__ if name[0] != "_")


@given(histories(), st.integers(0, 400))
def test_base_is_what_it_was(history: History, cut: int) -> None:
    data = history.pack()
    assert same(History.unpack(memoryview(data)), history)
    if cut < len(data):
        with pytest.raises(ValueError):
            History.unpack(memoryview(data[:cut]))


@given(FOLDERS, st.sets(st.integers(1, 99)), st.integers(1, MOST), st.integers(0, 300))
def test_record_is_what_it_was(folder: Mailbox, gone: set[int], number: int, cut: int) -> None:
    record = Record(number, 100, UidSet.of(sorted(gone)), columns(folder))
    data = record.pack()
    assert Record.unpack(memoryview(data)) == record
    if cut < len(data):
        with pytest.raises(ValueError):
            Record.unpack(memoryview(data[:cut]))


@given(FOLDERS, FOLDERS, st.integers(0, 5))
def test_what_is_recorded_is_what_is_there(before: Mailbox, now: Mailbox, more: int) -> None:
    """Whatever changed, and also where a UID that was missing is back."""
    uidnext = max([0, *before]) + 1
    later = max(uidnext, max([0, *now]) + 1) + more
    begun = History.begun(VALIDITY, uidnext, columns(before), 5)
    record = begun.record(columns(now), later, 9)
    if record is None:
        assert before == now and later == uidnext
        return
    assert record == Record.unpack(memoryview(record.pack()))
    after = begun.followed(record)
    assert after.agrees(columns(now), later) and after.highest == 9
    assert after.record(columns(now), later, 10) is None
    for uid in now:
        assert after.modseq(uid) == (5 if before.get(uid) == now[uid] else 9)
    assert after.changed_since(5) == [uid for uid in sorted(now) if before.get(uid) != now[uid]]
    assert after.changed_since(4) == sorted(now) and after.changed_since(9) == []
    asked = UidSet([(1, 0xFFFFFFFF)])
    gone = {*before, *range(uidnext, later)} - {*now}
    assert set(after.vanished_since(5, asked)) == gone
    assert set(after.vanished_since(4, asked)) == {*range(1, later)} - {*now}
    assert set(after.vanished_since(5, UidSet([(3, 7)]))) == {uid for uid in gone if 3 <= uid <= 7}
    assert after.vanished_since(9, asked) == NO_UIDS


def test_numbers_are_small_enough_for_floating_point() -> None:
    first = values.after(0, time.time_ns())
    assert 1_700_000_000_000_000 < first < 9_000_000_000_000_000 < MOST
    assert values.after(first + 10 ** 12, time.time_ns()) == first + 10 ** 12 + 1        # the clock is behind
    assert values.after(first, 10 ** 30) == first + 1


def test_expunged_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "EXPUNGED_RUNS", 8)
    uids = range(1, 201)
    history = History.begun(VALIDITY, 201, Messages(array("I", uids), bytes(200), {}), 10)
    left = set(uids)
    for number in range(11, 60):
        gone = set(random.Random(number).sample(sorted(left), 3))
        left -= gone
        now = Messages(array("I", sorted(left)), bytes(len(left)), {})
        record = history.record(now, 201, number)
        assert record is not None
        history = History.unpack(memoryview(history.followed(record).pack()))
        assert len(history.expunged) <= 8
        for since in (9, 10, history.expunged.horizon - 1, history.expunged.horizon, number - 1, number):
            said = set(history.vanished_since(since, UidSet([(1, 200)])))
            assert said.isdisjoint(left)
            went = {uid for uid in uids if uid not in left} if since < history.expunged.horizon else None
            if went is not None:
                assert said == went
        assert gone <= set(history.vanished_since(number - 1, UidSet([(1, 200)])))
    assert history.expunged.horizon > 10


def test_long_mailbox_is_stamped_where_it_changed() -> None:
    uids = array("I", range(1, 20001))
    flags = bytearray(20000)
    history = History.begun(VALIDITY, 20001, Messages(uids, bytes(flags), {}), 100)
    flags[500] = flags[12345] = 1
    record = history.record(Messages(uids, bytes(flags), {12: frozenset([b"a"])}), 20001, 101)
    assert record is not None
    history = history.followed(record)
    again = History.unpack(memoryview(history.pack()))     # which looks at all of them
    for known in history, again:
        assert known.changed_since(100) == [12, 501, 12346]
        assert known.changed_since(99) == list(uids)
    assert len(record.pack()) < 200


# -- the file

@pytest.fixture
def index(tmp_path: Path) -> Index:
    fill(tmp_path / "Maildir", 0)
    return Index(str(tmp_path / "Maildir"), "host")


def test_another_session_reads_only_what_is_new(index: Index) -> None:
    one, two = ModseqLog(index), ModseqLog(index)
    assert not one.catch_up() and one.lost
    folder: Mailbox = {1: (0, frozenset()), 2: (0, frozenset([b"a"]))}
    assert one.stamp(VALIDITY, 3, columns(folder), time.time_ns())
    assert two.catch_up() and not two.catch_up()
    assert one.history is not None and two.history is not None and same(one.history, two.history)
    folder[1] = (1, frozenset())
    assert one.stamp(VALIDITY, 3, columns(folder), time.time_ns())
    first = one.history.highest
    assert two.stamp(VALIDITY, 3, columns(folder), time.time_ns())  # seen again: it has its number
    assert two.history.highest == first == two.history.modseq(1) > two.history.modseq(2)
    assert one.stamp(VALIDITY, 3, columns(folder), time.time_ns()) and one.history.highest == first
    one.close(), two.close()


def test_another_mailbox_of_this_name(index: Index) -> None:
    one = ModseqLog(index)
    assert one.stamp(VALIDITY, 2, columns({1: (0, frozenset())}), time.time_ns())
    first = one.history.highest if one.history else 0
    two = ModseqLog(index)
    assert two.stamp(VALIDITY + 1, 2, columns({1: (0, frozenset())}), time.time_ns())
    assert two.history is not None and two.history.highest > first
    assert two.history.uidvalidity == VALIDITY + 1
    one.close(), two.close()


def test_file_is_written_anew_when_it_has_grown(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modseqlog, "SLACK_OCTETS", 300)
    one, two = ModseqLog(index), ModseqLog(index)
    folder: Mailbox = {uid: (0, frozenset()) for uid in range(1, 6)}
    largest = 0
    for turn in range(100):
        folder[1 + turn % 5] = (turn % 32, frozenset())
        assert one.stamp(VALIDITY, 6, columns(folder), time.time_ns())
        largest = max(largest, os.path.getsize(index.file(FILE)))
        if turn % 7 == 0:
            two.catch_up()
            assert one.history is not None and two.history is not None and same(one.history, two.history)
    assert largest < 1500
    one.close(), two.close()


class Client:
    """What a client keeps of a mailbox, as RFC 7162 6 says."""

    def __init__(self) -> None:
        self.highest = 0
        self.copy: Mailbox = {}

    def resync(self, history: History, uidnext: int) -> None:
        known = UidSet([(1, uidnext - 1)]) if uidnext > 1 else NO_UIDS
        changed = history.changed_since(self.highest)
        vanished = history.vanished_since(self.highest, known)
        assert not vanished.within(history.messages.uids)
        for uid in vanished:
            self.copy.pop(uid, None)
        self.copy.update({uid: history.messages.state(uid) for uid in changed})
        self.highest = history.highest


class World:
    """A mailbox, sessions that look at it and clients that come and go."""

    def __init__(self, index: Index, rng: random.Random) -> None:
        self.index, self.rng = index, rng
        self.folder: Mailbox = {}
        self.uidnext = 1
        self.sessions = [ModseqLog(index), ModseqLog(index)]
        self.clients = [Client() for _ in range(4)]
        self.told = 0

    @property
    def file(self) -> Path:
        return Path(self.index.file(FILE))

    def change(self) -> None:
        rng = self.rng
        what = rng.randrange(4)
        if what == 0 or not self.folder:
            self.uidnext += rng.randrange(2)       # one came and went
            self.folder[self.uidnext] = rng.randrange(32), frozenset()
            self.uidnext += 1
        elif what == 1:
            del self.folder[rng.choice(sorted(self.folder))]
        else:
            words = frozenset(rng.sample([b"a", b"b", b"$c"], rng.randrange(3)))
            self.folder[rng.choice(sorted(self.folder))] = rng.randrange(4), words

    def look(self) -> History:
        log = self.rng.choice(self.sessions)
        log.catch_up()
        now = columns(self.folder)
        if log.lost or log.torn or log.history is None or not log.history.agrees(now, self.uidnext):
            assert log.stamp(VALIDITY, self.uidnext, now, time.time_ns())
        history = log.history
        assert history is not None and history.agrees(now, self.uidnext)
        assert history.highest >= max(history.modseqs, default=1)
        return history

    def damage(self) -> None:
        """What a crash, an administrator or a full disk does to the file."""
        rng, size = self.rng, self.file.stat().st_size if self.file.exists() else 0
        what = rng.randrange(5)
        if what == 0 and size:
            self.file.unlink()
        elif what == 1 and size:
            with self.file.open("ab") as file:
                file.write(rng.randbytes(rng.randrange(1, 40)))
        elif what == 2 and size:
            os.truncate(self.file, rng.randrange(size))
        elif what == 3 and size:
            data = bytearray(self.file.read_bytes())
            data[rng.randrange(size)] ^= 1 + rng.randrange(255)
            self.file.write_bytes(data)
        self.sessions[rng.randrange(2)].close()    # one was killed
        self.sessions[rng.randrange(2)] = ModseqLog(self.index)


@pytest.mark.parametrize("seed", range(25))
def test_clients_that_come_and_go(seed: int, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has what is there after each resync, whatever happened to the log between."""
    rng = random.Random(seed)
    monkeypatch.setattr(values, "EXPUNGED_RUNS", 6)
    monkeypatch.setattr(modseqlog, "SLACK_OCTETS", 200)
    world = World(index, rng)
    for _ in range(150):
        for _ in range(rng.randrange(4)):
            world.change()
        if rng.random() < 0.1 * (seed % 3):
            world.damage()             # which a session that has read it may see later
        history = world.look()
        again = world.look()           # by any session: nothing new happened
        assert seed % 3 or again.highest == history.highest and again.messages == history.messages
        assert history.highest >= world.told       # never down
        world.told = history.highest
        client = rng.choice(world.clients)
        client.resync(history, world.uidnext)
        assert client.copy == world.folder
    for log in world.sessions:
        log.close()


def test_one_change_has_one_number(index: Index) -> None:
    """A message has another number when, and only when, it is not as it was at the last look."""
    rng = random.Random(3)
    world = World(index, rng)
    seen: Mailbox = {}
    numbers: dict[int, int] = {}
    for _ in range(400):
        if rng.random() < 0.5:
            world.change()
        history = world.look()
        now = dict(zip(history.messages.uids, history.modseqs, strict=True))
        for uid, number in now.items():
            assert (numbers.get(uid) == number) == (seen.get(uid) == world.folder[uid])
        seen, numbers = dict(world.folder), now


def test_numbers_that_a_full_disk_did_not_take(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told, and are given to nothing else."""
    one, two = ModseqLog(index), ModseqLog(index)
    folder: Mailbox = {1: (0, frozenset())}
    assert one.stamp(VALIDITY, 2, columns(folder), time.time_ns())

    def full(fd: int, data: bytes) -> None:
        os.write(fd, data[:5])
        raise OSError(28, "No space left on device")
    with monkeypatch.context() as patched:
        patched.setattr(modseqlog, "write_all", full)
        folder[1] = 1, frozenset()
        assert not one.stamp(VALIDITY, 2, columns(folder), time.time_ns())
    assert one.history is not None
    told = one.history.highest
    assert one.history.modseq(1) == told
    assert two.catch_up() and not two.torn         # what was written of it is gone
    assert two.stamp(VALIDITY, 2, columns(folder), time.time_ns())
    assert two.history is not None and two.history.highest > told
    one.catch_up()
    assert same(one.history, two.history)
    one.close(), two.close()


def test_without_a_place_for_it(tmp_path: Path) -> None:
    """The directory of the index cannot be made: nothing is kept, and whoever asks is told so."""
    (tmp_path / "Maildir").write_text("")
    log = ModseqLog(Index(str(tmp_path / "Maildir"), "host"))
    assert not log.stamp(VALIDITY, 1, columns({}), time.time_ns()) and log.lost
