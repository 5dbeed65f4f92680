"""compare(view, snapshot), against a model that knows no shortcuts."""
from __future__ import annotations

import random
from array import array

from hypothesis import given
from hypothesis import strategies as st

from courierpy.imap.view import View, compare
from courierpy.model.messages import Snapshot
from courierpy.model.uidset import NO_UIDS

WORDS = st.frozensets(st.sampled_from([b"a", b"b", b"c"]), max_size=2)
FOLDERS = st.dictionaries(st.integers(1, 30), st.tuples(st.integers(0, 31), WORDS), max_size=12)


def snapshot(folder: dict[int, tuple[int, frozenset[bytes]]]) -> Snapshot:
    uids = sorted(folder)
    return Snapshot(1, 31, array("I", uids), bytes(folder[uid][0] for uid in uids),
                    {uid: folder[uid][1] for uid in uids if folder[uid][1]}, NO_UIDS)


@given(FOLDERS, FOLDERS)
def test_compare(before: dict[int, tuple[int, frozenset[bytes]]],
                 after: dict[int, tuple[int, frozenset[bytes]]]) -> None:
    changes = compare(View.of(snapshot(before)), snapshot(after))
    assert changes.gone == sorted(set(before) - set(after))
    assert changes.new == sorted(set(after) - set(before))
    assert changes.changed == sorted(uid for uid in set(before) & set(after) if before[uid] != after[uid])
    assert bool(changes) == (before != after)


def test_compare_long() -> None:
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
            found = compare(View.of(snapshot(before)), snapshot(after))
            assert found.gone == sorted(set(before) - set(after))
            assert found.new == sorted(set(after) - set(before))
            both = set(before) & set(after)
            assert found.changed == sorted(uid for uid in both if before[uid] != after[uid])


@given(FOLDERS, st.data())
def test_expunge_renumbers(folder: dict[int, tuple[int, frozenset[bytes]]], data: st.DataObject) -> None:
    view = View.of(snapshot(folder))
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
def test_uid_ranges(folder: dict[int, tuple[int, frozenset[bytes]]], one: int, two: int) -> None:
    view = View.of(snapshot(folder))
    low, high = sorted((one, two))
    assert [view.uids[seq - 1] for seq in view.seqs_of_uids([(low, high)])] == \
        [uid for uid in sorted(folder) if low <= uid <= high]
