"""updates(known, snapshot): what a client is to hear, as values, in the order in which it may be said."""
from __future__ import annotations

from array import array

import pytest
from hypothesis import given

from courierpy.imap.updates import (
    Arrived,
    Expunged,
    FlagsChanged,
    KeywordsLeft,
    NewKeywords,
    Sizes,
    updates,
)
from courierpy.model.flags import FLAGGED, NO_KEYWORDS, SEEN
from courierpy.model.messages import Messages
from courierpy.model.replies import Bye
from tests.model.test_messages import FOLDERS, Mailbox, columns

PLAIN = (0, NO_KEYWORDS)


def held(**flags: int) -> Messages:
    uids = [int(name[1:]) for name in flags]
    return Messages(array("I", uids), bytes(flags.values()), {})


def test_nothing_changed() -> None:
    there = held(u1=0, u2=SEEN)
    assert updates(there, there, expunges=True) == []


def test_all_that_can_happen_in_its_order() -> None:
    before, now = held(u1=0, u2=0, u3=0), held(u2=SEEN, u3=0, u7=FLAGGED)
    now = now.changed({3: (0, frozenset([b"work"]))})
    assert updates(before, now, expunges=True) == [
        NewKeywords([b"work"]), Expunged([1]), Arrived({7: (FLAGGED, NO_KEYWORDS)}), Sizes(),
        FlagsChanged({2: (SEEN, NO_KEYWORDS), 3: (0, frozenset([b"work"]))}), KeywordsLeft()]


def test_expunge_waits_while_sequence_numbers_are_in_use() -> None:
    """RFC 9051 7.5.1; what came meanwhile may be told."""
    known = held(u1=0, u2=0)
    assert updates(known, held(u2=0), expunges=False) == [NewKeywords([]), KeywordsLeft()]
    assert updates(known, held(u2=0, u3=0), expunges=False) == [
        NewKeywords([]), Arrived({3: PLAIN}), Sizes(), KeywordsLeft()]


def test_flags_of_what_came_where_they_are_wanted() -> None:
    known = held(u1=0)
    assert updates(known, held(u1=0, u2=SEEN), expunges=True, flags_of_new=True)[3:] == [
        FlagsChanged({2: (SEEN, NO_KEYWORDS)}), KeywordsLeft()]


def test_a_uid_that_comes_late_ends_the_session() -> None:
    with pytest.raises(Bye, match="renumbered"):
        updates(held(u1=0, u5=0), held(u1=0, u3=0, u5=0), expunges=True)


@given(FOLDERS, FOLDERS)
def test_nothing_is_told_of_what_is_the_same(before: Mailbox, after: Mailbox) -> None:
    after = {uid: state for uid, state in after.items() if uid in before or uid > max(before, default=0)}
    said = updates(columns(before), columns(after), expunges=True)
    assert bool(said) == (before != after)
    changed = {uid: state for update in said if isinstance(update, FlagsChanged)
               for uid, state in update.states.items()}
    assert changed == {uid: state for uid, state in after.items() if uid in before and before[uid] != state}
