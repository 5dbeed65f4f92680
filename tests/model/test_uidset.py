"""A UidSet is a set, whatever runs it is made of."""
from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from courierpy.model.uidset import NO_UIDS, UidSet, places, runs

MOST = 0xFFFFFFFF
uids = st.sets(st.integers(1, 40) | st.integers(MOST - 3, MOST))


def made(numbers: set[int]) -> UidSet:
    return UidSet.of(array("I", sorted(numbers)))


@given(uids, uids)
def test_as_sets(one: set[int], other: set[int]) -> None:
    first, second = made(one), made(other)
    assert list(first) == sorted(one)
    assert len(first) == len(one)
    assert bool(first) == bool(one)
    assert (first == second) == (one == other)
    assert first != second or hash(first) == hash(second)
    assert [uid in first for uid in range(1, 43)] == [uid in one for uid in range(1, 43)]
    assert (first | second, first - second) == (made(one | other), made(one - other))
    assert first.within(array("I", sorted(other))) == made(one & other)
    assert first.within(sorted(other)) == made(one & other)
    assert first.marks(sorted(other)) == bytes(uid in one for uid in sorted(other))


@given(uids, uids)
def test_places(there: set[int], wanted: set[int]) -> None:
    column = array("I", sorted(there))
    assert list(places(column, sorted(wanted))) == [
        column.index(uid) if uid in there else -1 for uid in sorted(wanted)]
    assert places(column, sorted(there)[2:9]) in (range(2, len(there))[:7], [*range(2, len(there))[:7]])


@given(uids)
def test_runs_have_gaps_between_them(numbers: set[int]) -> None:
    found = made(numbers).runs
    assert all(last + 1 < first for (_, last), (first, _) in zip(found, found[1:], strict=False))
    assert UidSet(found) == made(numbers)


def test_runs_of_a_part() -> None:
    numbers = [1, 2, 3, 7, 8, 20]
    assert runs(numbers) == [(1, 3), (7, 8), (20, 20)]
    assert runs(numbers, 1, 5) == [(2, 3), (7, 8)]
    assert runs(numbers, 3, 3) == []


def test_runs_that_meet_or_overlap() -> None:
    assert UidSet([(1, 4), (2, 3), (5, 6), (8, 9)]).runs == [(1, 6), (8, 9)]


def test_a_set_is_not_changed_by_what_is_made_of_it() -> None:
    some = UidSet([(1, 5)])
    other = some
    other |= UidSet([(9, 9)])
    assert (some.runs, other.runs, NO_UIDS.runs) == ([(1, 5)], [(1, 5), (9, 9)], [])
