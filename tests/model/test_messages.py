"""The columns of a mailbox: what is made of them, how two differ, their octets."""
from __future__ import annotations

import random
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from courierpy.imap.view import View
from courierpy.model import messages as model
from courierpy.model.flags import DELETED
from courierpy.model.messages import Changes, Messages
from courierpy.model.uidset import NO_UIDS, UidSet

WORDS = st.frozensets(st.sampled_from([b"a", b"b", b"c"]), max_size=2)
FOLDERS = st.dictionaries(st.integers(1, 30), st.tuples(st.integers(0, 31), WORDS), max_size=12)


Mailbox = dict[int, tuple[int, frozenset[bytes]]]


def columns(folder: Mailbox) -> Messages:
    uids = sorted(folder)
    return Messages(array("I", uids), bytes(folder[uid][0] for uid in uids),
                    {uid: folder[uid][1] for uid in uids if folder[uid][1]})


@given(FOLDERS, FOLDERS)
def test_changed_since(before: Mailbox, after: Mailbox) -> None:
    changes = columns(after).changed_since(columns(before))
    assert changes.gone == sorted(set(before) - set(after))
    assert changes.new == sorted(set(after) - set(before))
    assert changes.changed == sorted(uid for uid in set(before) & set(after) if before[uid] != after[uid])
    assert bool(changes) == (before != after)


def test_changed_since_in_long_columns() -> None:
    """Beyond the lengths that are compared as one run."""
    rng = random.Random(5)
    for count in (15, 16, 17, 80, 81, 500, 513, 3000):
        before = {uid: (rng.randrange(32), frozenset[bytes]()) for uid in rng.sample(range(1, 9999), count)}
        for changes in (1, 2, 40):
            after = dict(before)
            for uid in rng.sample(sorted(before), min(changes, count)):
                what = rng.randrange(3)
                if what == 0:
                    del after[uid]
                elif what == 1:
                    after[uid] = after[uid][0] ^ 1, frozenset()
                else:
                    after[10000 + uid] = 0, frozenset()
            found = columns(after).changed_since(columns(before))
            assert found.gone == sorted(set(before) - set(after))
            assert found.new == sorted(set(after) - set(before))
            both = set(before) & set(after)
            assert found.changed == sorted(uid for uid in both if before[uid] != after[uid])


@given(FOLDERS, st.data())
def test_expunge_renumbers(folder: Mailbox, data: st.DataObject) -> None:
    view = View(columns(folder))
    left = sorted(folder)
    while left:
        uids = sorted(data.draw(st.sets(st.sampled_from(left), min_size=1)))
        numbers = []
        for uid in uids:
            numbers.append(left.index(uid) + 1)
            left.remove(uid)
        assert view.expunge(uids) == numbers
        assert list(view.uids) == left
        assert view.flags == bytes(folder[uid][0] for uid in left)
        assert view.keywords == {uid: folder[uid][1] for uid in left if folder[uid][1]}
        assert [view.seq(other) for other in left] == list(range(1, len(left) + 1))
        assert all(view.seq(uid) == 0 for uid in uids)


@given(FOLDERS, st.integers(1, 31), st.integers(1, 31))
def test_uid_ranges(folder: Mailbox, one: int, two: int) -> None:
    view = View(columns(folder))
    low, high = sorted((one, two))
    assert [view.uids[seq - 1] for seq in view.seqs_of_uids([(low, high)])] == \
        [uid for uid in sorted(folder) if low <= uid <= high]


@given(FOLDERS)
def test_the_same_generation_is_the_same(folder: Mailbox) -> None:
    messages = columns(folder)
    assert messages.changed_since(messages) == Changes()
    assert columns(folder) == messages and columns(folder).generation != messages.generation


@given(FOLDERS, st.data())
def test_others_are_made_of_it(folder: Mailbox, data: st.DataObject) -> None:
    messages, before = columns(folder), repr(columns(folder))
    some = st.sets(st.sampled_from(sorted(folder))) if folder else st.just(set[int]())
    gone = data.draw(some)
    assert messages.without([messages.find(uid) for uid in sorted(gone)]) == \
        columns({uid: state for uid, state in folder.items() if uid not in gone})
    states = {uid: data.draw(st.tuples(st.integers(0, 31), WORDS)) for uid in sorted(data.draw(some))}
    assert messages.changed(states) == columns({**folder, **states})
    more = {uid + 30: state for uid, state in sorted(states.items())}
    assert messages.extended(more) == columns({**folder, **more})
    assert {uid: messages.state(uid) for uid in folder} == folder
    assert [uid for uid in range(40) if messages.find(uid) >= 0] == sorted(folder)
    assert repr(messages) == before


def test_a_column_of_modseqs_goes_along() -> None:
    messages = Messages(array("I", [2, 5, 9]), b"\0\1\2", {}, array("Q", [7, 8, 1 << 40]))
    assert messages.without([1]).modseqs == array("Q", [7, 1 << 40])
    assert messages.changed({5: (3, frozenset())}).modseqs == messages.modseqs
    assert messages.extended({12: (0, frozenset())}).modseqs == array("Q", [7, 8, 1 << 40, 0])
    assert Messages.unpack(messages.pack()).modseqs == messages.modseqs


@given(FOLDERS)
@example({uid: (uid % 32, frozenset()) for uid in range(1, 3000) if uid % 700})
@example({uid: (0, frozenset()) for uid in range(1, 3000, 2)})
@example({(1 << 32) - 1: (31, frozenset([b"x"]))})
def test_the_codec(folder: Mailbox) -> None:
    messages = columns(folder)
    assert Messages.unpack(messages.pack()) == messages
    assert Messages.unpack(memoryview(messages.pack())) == messages


def test_runs_are_small() -> None:
    assert len(Messages(array("I", range(1, 100_001)), bytes(100_000), {}).pack()) < 100_100


@pytest.mark.parametrize("gone", [[], [model.ROWS], [model.ROWS + 1], [5, model.ROWS, 2 * model.ROWS, 9000],
                                  range(64, 9000, 128), range(64, 9000, 32)], ids=str)
def test_uids_are_runs_where_these_are_few(gone: Sequence[int]) -> None:
    """``gone``: UIDs that are missing, none of them next to another or at an end."""
    messages = columns({uid: (0, frozenset()) for uid in range(1, 9_500) if uid not in gone})
    as_runs = len(gone) < len(messages) // model.FEW_RUNS
    usual = len(Messages(messages.uids[:0], b"", {}).pack()) + len(messages)
    assert len(messages.pack()) == usual + (8 * (len(gone) + 1) if as_runs else 4 * len(messages))
    assert Messages.unpack(messages.pack()) == messages


@given(FOLDERS)
def test_deleted(folder: Mailbox) -> None:
    assert columns(folder).deleted() == [uid for uid, (bits, _) in sorted(folder.items()) if bits & DELETED]


@given(FOLDERS, st.data())
def test_damage_is_refused_or_is_another_value(folder: Mailbox, data: st.DataObject) -> None:
    octets = bytearray(columns(folder).pack())
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = Messages.unpack(bytes(octets[:data.draw(st.just(len(octets)) | st.integers(0, len(octets)))]))
    except ValueError:
        return
    assert len(found.uids) == len(found.flags)
    assert list(found.uids) == sorted(set(found.uids)) and 0 not in found.uids


@pytest.mark.parametrize("octets", [b"", b"\3" * 12, b"\1" + b"\xff" * 12, b"\0\1" + bytes(20)])
def test_what_nobody_packed(octets: bytes) -> None:
    with pytest.raises(ValueError):
        Messages.unpack(octets)


def test_the_recent_go_with_the_messages() -> None:
    view = View(columns({1: (0, frozenset()), 2: (0, frozenset())}), UidSet.of([1, 2]))
    view.expunge([1, 2])
    assert view.recent == NO_UIDS


@pytest.mark.parametrize("first", [1, 255, 256, 257, 65_500, 65_536, 2 ** 24 - 700, 2 ** 32 - 140_001])
@pytest.mark.parametrize("count", [1, 2, 2048, 2049, 5000, 65_536, 140_000])
@pytest.mark.parametrize("prepared", [False, True])
def test_a_long_run_of_uids_comes_back(first: int, count: int, prepared: bool,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_all_lower", memoryview(b""))
    if prepared:
        model.prepare()
    uids = array("I", range(first, first + count))
    messages = Messages(uids, bytes(count), {})
    again = Messages.unpack(messages.pack())
    assert again.uids == uids
    assert again == messages
