"""Numbers that were told while the disk was full, and what the disk says later."""
from __future__ import annotations

import pytest

from courierpy.maildir.errors import Renumbered
from courierpy.maildir.formats.uiddb import UidDb
from courierpy.maildir.lent import Lent

BEFORE = UidDb.of(7, 3, [(1, b"a"), (2, b"b")])


def lent() -> Lent:
    made = Lent()
    made.lend([b"c", b"d"], [3, 4])
    return made


def test_nobody_wrote_them() -> None:
    numbers = lent()
    found = numbers.added(BEFORE)
    assert (list(found.uids), found.names(), found.uidnext) == ([1, 2, 3, 4], [b"a", b"b", b"c", b"d"], 5)
    assert numbers
    numbers.lend([b"e"], [5])
    assert list(numbers.added(BEFORE).uids) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("others", [[(3, b"c"), (4, b"d")], [(3, b"c"), (4, b"d"), (5, b"e")],
                                    [(4, b"d"), (5, b"e")], [(5, b"e")]])
def test_another_session_gave_the_same_ones(others: list[tuple[int, bytes]]) -> None:
    """Some of them may be gone since."""
    numbers = lent()
    found = UidDb.of(7, 6, [(1, b"a"), (2, b"b"), *others])
    assert numbers.added(found) is found
    assert not numbers


def test_another_session_wrote_some() -> None:
    numbers = lent()
    found = numbers.added(UidDb.of(7, 4, [(1, b"a"), (2, b"b"), (3, b"c")]))
    assert (list(found.uids), found.uidnext) == ([1, 2, 3, 4], 5)
    assert numbers


@pytest.mark.parametrize("others", [[(3, b"d"), (4, b"c")], [(3, b"x"), (4, b"c"), (5, b"d")], [(3, b"x")],
                                    [(5, b"c")]])
def test_another_session_gave_other_ones(others: list[tuple[int, bytes]]) -> None:
    numbers = lent()
    found = UidDb.of(7, 6, [(1, b"a"), (2, b"b"), *others])
    for _ in range(2):                 # whoever asks, as long as the session has not ended
        with pytest.raises(Renumbered):
            numbers.added(found)
