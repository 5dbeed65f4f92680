"""updates(known, snapshot): what a client is to hear, as values, in the order in which it may be said."""
from __future__ import annotations

from array import array

import pytest
from hypothesis import given

from courierpy.imap.modseqs import Numbered
from courierpy.imap.updates import (
    Arrived,
    Expunged,
    FlagsChanged,
    KeywordsLeft,
    NewKeywords,
    Sizes,
    updates,
)
from courierpy.imap.view import View
from courierpy.model.flags import FLAGGED, NO_KEYWORDS, SEEN
from courierpy.model.messages import Messages
from courierpy.model.replies import Bye
from courierpy.model.uidset import UidSet
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


@pytest.mark.parametrize("numbered", [True, False])
def test_what_is_told_of_many(numbered: bool) -> None:
    """Each line has what it would have alone; who knows its flags is left out."""
    work = frozenset([b"work"])
    view = View(held(u1=0, u2=SEEN, u5=0, u6=0, u9=SEEN), UidSet([(5, 6)]))
    view.numbered = numbered
    states = {1: (0, work), 5: (FLAGGED, NO_KEYWORDS), 6: (SEEN, work), 9: (0, NO_KEYWORDS)}
    said = FlagsChanged(states, silent={9})
    said.apply(view)
    assert view.messages.changed_since(held(u1=0, u2=SEEN, u5=0, u6=0, u9=SEEN)).changed == [1, 5, 6, 9]
    heads = [b"* 1 FETCH", b"* 3 FETCH", b"* 4 FETCH"] if numbered else [
        b"* 1 UIDFETCH", b"* 5 UIDFETCH", b"* 6 UIDFETCH"]
    flags = [rb"(FLAGS (work))", rb"(FLAGS (\Flagged \Recent))", rb"(FLAGS (\Seen \Recent work))"]
    assert said.lines(view, said.told()).splitlines() == [
        b"%s %s" % pair for pair in zip(heads, flags, strict=True)]
    assert Numbered(states, {9}, {1: 7, 5: 8, 6: 9, 9: 9}).lines(view, states).splitlines()[-1] == (
        b"* 5 FETCH (UID 9 MODSEQ (9))" if numbered else b"* 9 UIDFETCH (MODSEQ (9))")
