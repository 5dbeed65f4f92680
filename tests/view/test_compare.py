"""compare(view, snapshot), against a model that knows no shortcuts."""
from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from courierpy.kinds import Snapshot
from courierpy.view import View, compare

WORDS = st.frozensets(st.sampled_from([b"a", b"b", b"c"]), max_size=2)
FOLDERS = st.dictionaries(st.integers(1, 30), st.tuples(st.integers(0, 31), WORDS), max_size=12)


def snapshot(folder: dict[int, tuple[int, frozenset[bytes]]]) -> Snapshot:
    uids = sorted(folder)
    return Snapshot(1, 31, array("I", uids), bytes(folder[uid][0] for uid in uids),
                    {uid: folder[uid][1] for uid in uids if folder[uid][1]}, frozenset())


@given(FOLDERS, FOLDERS)
def test_compare(before: dict[int, tuple[int, frozenset[bytes]]],
                 after: dict[int, tuple[int, frozenset[bytes]]]) -> None:
    changes = compare(View.of(snapshot(before)), snapshot(after))
    assert changes.gone == sorted(set(before) - set(after))
    assert changes.new == sorted(set(after) - set(before))
    assert changes.changed == sorted(uid for uid in set(before) & set(after) if before[uid] != after[uid])
    assert bool(changes) == (before != after)


@given(FOLDERS, st.data())
def test_expunge_renumbers(folder: dict[int, tuple[int, frozenset[bytes]]], data: st.DataObject) -> None:
    view = View.of(snapshot(folder))
    left = sorted(folder)
    while left:
        uid = data.draw(st.sampled_from(left))
        assert view.expunge(uid) == left.index(uid) + 1
        left.remove(uid)
        assert list(view.uids) == left
        assert [view.seq(other) for other in left] == list(range(1, len(left) + 1))
        assert view.seq(uid) == 0


@given(FOLDERS, st.integers(1, 31), st.integers(1, 31))
def test_uid_ranges(folder: dict[int, tuple[int, frozenset[bytes]]], one: int, two: int) -> None:
    view = View.of(snapshot(folder))
    low, high = sorted((one, two))
    assert [view.uids[seq - 1] for seq in view.seqs_of_uids([(low, high)])] == \
        [uid for uid in sorted(folder) if low <= uid <= high]
