"""Base subjects, threads and the collation."""
from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courierpy.message import Message, collation, subject, threads
from courierpy.message.message import ANCESTORS
from courierpy.message.threads import Mail


@pytest.mark.parametrize(("text", "base", "reply"), [
    ("plan", "plan", False), ("  the \t plan ", "the plan", False),
    ("Re: plan", "plan", True), ("RE : plan", "plan", True), ("Fw: Fwd: re: plan", "plan", True),
    ("re[2]: plan", "plan", True), ("Re [x] : plan", "plan", True), ("[list] Re: [list] plan", "plan", True),
    ("[list] plan", "plan", False), ("[a] [b]", "[b]", False), ("[a]", "[a]", False), ("[a] ", "[a]", False),
    ("plan (fwd)", "plan", True), ("plan (FWD) (fwd)  ", "plan", True), ("(fwd)", "", True),
    ("[Fwd: plan]", "plan", True), ("[fwd: re: [l] plan (fwd)]", "plan", True), ("[fwd: a] b", "b", False),
    ("Re:", "", True), ("", "", False), ("Reply: plan", "Reply: plan", False),
    ("[a[b]] c", "[a[b]] c", False),
    ("re: fwd plan", "fwd plan", True),
])
def test_base_subjects(text: str, base: str, reply: bool) -> None:
    assert subject.base(text) == (base, reply)


@given(st.text(st.sampled_from("re:RE[]fwd() aW:"), max_size=40))
def test_a_base_subject_is_its_own(text: str) -> None:
    base, _ = subject.base(text)
    assert subject.base(base)[0] == base


def test_message_ids() -> None:
    assert threads.message_ids(b'<"01KF8JCEOCBS0045PS"@xxx.yyy.com> x <a@b><c> < d @ e >') == [
        b"01KF8JCEOCBS0045PS@xxx.yyy.com", b"a@b", b"d@e"]
    assert threads.message_ids(b"no <id> here <a b@c>") == []


def mails(*rows: tuple[str | None, str], subjects: str = "") -> list[Mail]:
    """(own ID, references) of each; ``subjects``: a letter each, upper case for replies."""
    subjects = subjects or "".join(chr(97 + at) for at in range(len(rows)))
    return [Mail(at, float(at), subjects[at - 1].lower().strip("-"), subjects[at - 1].isupper(),
                 own.encode() if own else None, refs.encode().split())
            for at, (own, refs) in enumerate(rows, 1)]


@pytest.mark.parametrize(("given", "wanted"), [
    (mails(("a", ""), ("b", "a"), ("c", "a b"), ("d", "a")), b"(1 (2 3)(4))"),
    # a parent that is not there: one child takes its place, several share it
    (mails(("a", "x")), b"(1)"), (mails(("a", "x"), ("b", "x")), b"((1)(2))"),
    (mails(("a", "x y"), ("b", "x z"), ("c", "")), b"((1)(2))(3)"),
    # circles, itself, the same ID twice, none
    (mails(("a", "b"), ("b", "a")), b"(2 1)"), (mails(("a", "a")), b"(1)"),
    (mails(("a", "a b c a"), ("b", "c"), ("c", "b a")), b"(2 1 3)"),
    (mails(("a", ""), ("a", ""), ("b", "a")), b"(1 3)(2)"), (mails((None, "a"), ("a", "")), b"(2 1)"),
    # truncated references: the message's own last one counts
    (mails(("a", ""), ("b", ""), ("c", "a b"), ("b2", "b")), b"(1 2 (3)(4))"),
    # one subject: a reply below its original, equals below nobody
    (mails(("a", ""), ("b", ""), subjects="pP"), b"(1 2)"),
    (mails(("a", ""), ("b", ""), subjects="Pp"), b"(2 1)"),
    (mails(("a", ""), ("b", ""), subjects="pp"), b"((1)(2))"),
    (mails(("a", ""), ("b", ""), ("c", ""), subjects="PPp"), b"(3 (1)(2))"),
    (mails(("a", "x"), ("b", "x"), ("c", ""), subjects="ppp"), b"((1)(2)(3))"),
    (mails(("a", ""), ("b", ""), subjects="--"), b"(1)(2)"),
    ([], b""),
])
def test_references(given: list[Mail], wanted: bytes) -> None:
    assert b"".join(threads.render(threads.references(given))) == wanted


@pytest.mark.parametrize(("rows", "dates", "wanted"), [
    # as Dovecot tells these: sent dates, the latest of a thread counts, one is without its root
    ([("a", ""), ("a2", "a"), ("b", ""), ("b2", "b"), ("b3", "b"), ("c", ""), ("d", "x"), ("d2", "x"),
      ("e", "")],
     [1, 2, 5, 3, 10, 7, 20, 19, 15], b"(1 2)(6)(3 (4)(5))(9)((8)(7))"),
    ([("a", ""), ("b", ""), ("a2", "a")], [1, 2, 3], b"(2)(1 3)"),
    ([("a", ""), ("b", "")], [5, 5], b"(1)(2)"), ([("a", "x")], [1], b"(1)"), ([], [], b""),
])
def test_refs(rows: list[tuple[str, str]], dates: list[float], wanted: bytes) -> None:
    found = threads.by_latest(range(1, len(rows) + 1), dates, [own for own, _ in rows],
                              [refs.split() for _, refs in rows])
    assert b"".join(threads.render(found)) == wanted


@pytest.mark.parametrize("count", [ANCESTORS - 1, ANCESTORS, ANCESTORS + 1, 50_000])
def test_of_endless_references_the_first_and_the_last_count(count: int) -> None:
    ids = [b"%d@b" % number for number in range(count)]
    own, refs = Message(b"Message-ID: <x@y>\nReferences:" + b"".join(b"\n <%s>" % one for one in ids)
                        + b"\n\n").thread_ids()
    assert own == b"x@y"
    assert len(refs) == min(count, ANCESTORS)
    assert refs == ids[:1] + ids[1:][1 - ANCESTORS:]


def test_a_thread_of_any_depth() -> None:
    count = 20_000
    chain = [Mail(at, float(at), "s", at > 1, b"%d" % at, [b"%d" % (at - 1)] if at > 1 else [])
             for at in range(1, count + 1)]
    assert b"".join(threads.render(threads.references(chain))) == b"(" + b" ".join(
        b"%d" % at for at in range(1, count + 1)) + b")"


ids = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"i", b"j", b"k", b"l"])


def latest(rows: list[Mail]) -> Iterator[object]:
    return threads.by_latest([row.number for row in rows], [row.date for row in rows],
                             [row.own for row in rows], [row.refs for row in rows])


@settings(max_examples=300)
@given(st.lists(st.tuples(st.none() | ids, st.lists(ids, max_size=4), st.sampled_from(["", "p", "q"]),
                          st.booleans()), max_size=40))
def test_every_message_is_told_once(rows: list[tuple[bytes | None, list[bytes], str, bool]]) -> None:
    given_mails = [Mail(at, float(-at), text, reply, own, refs)
                   for at, (own, refs, text, reply) in enumerate(rows, 1)]
    for algorithm in (threads.references, threads.ordered_subject, latest):
        told = b"".join(threads.render(algorithm(given_mails)))
        numbers = sorted(int(word) for word in told.replace(b"(", b" ").replace(b")", b" ").split())
        assert numbers == list(range(1, len(rows) + 1))
        assert told.count(b"(") == told.count(b")")


@given(st.lists(st.tuples(st.none() | ids, st.lists(ids, max_size=4), st.sampled_from(["", "p", "q"]),
                          st.booleans(), st.integers(0, 9)), max_size=20))
def test_message_ids_may_be_numbers(
        rows: list[tuple[bytes | None, list[bytes], str, bool, int]]) -> None:
    given_mails = [Mail(at, float(date), text, reply, own, refs)
                   for at, (own, refs, text, reply, date) in enumerate(rows, 1)]
    told = threads.by_references(
        [row.number for row in given_mails], [row.date for row in given_mails],
        [row.subject for row in given_mails], [row.reply for row in given_mails],
        [None if row.own is None else ord(row.own) for row in given_mails],
        [[ord(ref) for ref in row.refs] for row in given_mails])
    assert [*told] == threads.references(given_mails)


def test_equal_dates_stay_in_order() -> None:
    rows = [Mail(at, 5.0, "s", False, b"%d" % at, [b"0"]) for at in range(1, 5)]
    assert b"".join(threads.render(threads.references(rows))) == b"((1)(2)(3)(4))"


@pytest.mark.parametrize(("one", "two", "equal"), [
    ("Straße", "STRAßE", True), ("strasse", "straße", False), ("ÄÖÜ", "äöü", True),
    ("ΑΘΗΝΑ", "αθηνα", True), ("МОСКВА", "москва", True), ("e\u0301", "\u00e9", True), ("a", "b", False),
    ("Ǆ", "ǆ", True), ("Ａ", "a", True), ("", "", True),
])
def test_collation(one: str, two: str, equal: bool) -> None:
    assert (collation.key(one) == collation.key(two)) is equal


@pytest.mark.parametrize(("name", "same", "other"), [
    ("i;unicode-casemap", "aBc \u00c4", "AbC \u00e4"), ("i;ascii-casemap", "aBc \u00c4", "AbC \u00c4"),
    ("i;octet", "aBc \u00c4", "aBc \u00c4")])
def test_each_comparator(name: str, same: str, other: str) -> None:
    """What is equal by one, and what is only by those that fold more; a run of white space is one blank."""
    at = [each.name for each in collation.COMPARATORS].index(name)
    for each in collation.COMPARATORS[:at + 1]:
        assert each.key(same) == each.key(other)
        assert each.fold(f"x {same}\r\n\t{same}") == each.fold(f"x {other} {other}")
    for each in collation.COMPARATORS[at + 1:]:
        assert each.key(same) != each.key(other)
    assert collation.OCTET.fold("a  B\u00e4\u00a0 c") == "a B\u00e4 c"
    assert collation.OCTET.fold_ascii(b"a \t B\nc", lines=True) == b"a B\nc"
    assert collation.ASCII.fold("ab\u00e4 c") == "AB\u00e4 C"


@given(st.text(max_size=20), st.text(st.characters(codec="ascii"), max_size=5))
def test_collation_keeps_substrings(text: str, other: str) -> None:
    assert collation.key(text) in collation.key(other + text + other)
