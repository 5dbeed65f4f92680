"""SEARCH and UID SEARCH.  RFC 9051 6.4.4, RFC 3501 6.4.4.

A program is a tree of keys.  Keys that need no file are tried first, so that a
message is opened only when the rest still depends on it.
"""
from __future__ import annotations

import time

from courierpy import ext
from courierpy.commands import SELECTED, USES_SEQ, command
from courierpy.commands.cmd_fetch import Subject
from courierpy.kinds import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from courierpy.maildir.errors import Vanished
from courierpy.wire import out, searchkeys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from courierpy.session import Session
    from courierpy.wire.args import Args
    from courierpy.wire.searchkeys import Key

    Test = Callable[[Subject], bool]

# How dear a key is: 0 view only, 1 stat, 2 header, 3 whole file.
VIEW, STAT, HEADERS, WHOLE = range(4)

BITS = {b"SEEN": SEEN, b"ANSWERED": ANSWERED, b"FLAGGED": FLAGGED, b"DELETED": DELETED, b"DRAFT": DRAFT}


def _bit(bit: int, wanted: bool) -> Test:
    def test(subject: Subject) -> bool:
        return bool(subject.session.need_selected().view.bits(subject.seq) & bit) == wanted
    return test


def _recent(wanted: bool) -> Test:
    def test(subject: Subject) -> bool:
        return (subject.uid in subject.session.need_selected().view.recent) == wanted
    return test


def _keyword(word: bytes, wanted: bool) -> Test:
    lowered = word.lower()

    def test(subject: Subject) -> bool:
        words = subject.session.need_selected().view.words(subject.uid)
        return any(have.lower() == lowered for have in words) == wanted
    return test


def _day(when: Callable[[Subject], int | None], compare: Callable[[int, int], bool],
         day: int) -> Test:
    def test(subject: Subject) -> bool:
        own = when(subject)
        return own is not None and compare(own, day)
    return test


def _arrived(subject: Subject) -> int:
    """The day of INTERNALDATE in the server's time zone, as an ordinal."""
    from datetime import date
    local = time.localtime(subject.mtime)
    return date(local.tm_year, local.tm_mon, local.tm_mday).toordinal()


def _sent(subject: Subject) -> int | None:
    return subject.header.sent_day()


DAYS: dict[bytes, tuple[int, Callable[[Subject], int | None], Callable[[int, int], bool]]] = {
    b"BEFORE": (STAT, _arrived, int.__lt__), b"ON": (STAT, _arrived, int.__eq__),
    b"SINCE": (STAT, _arrived, int.__ge__), b"SENTBEFORE": (HEADERS, _sent, int.__lt__),
    b"SENTON": (HEADERS, _sent, int.__eq__), b"SENTSINCE": (HEADERS, _sent, int.__ge__),
}


class Program:
    """A search tree compiled against one session's view."""

    def __init__(self, session: Session) -> None:
        self.session = session
        view = session.need_selected().view
        self.count = len(view)
        self.largest = view.uids[-1] if view.uids else 0

    def build(self, key: Key) -> tuple[int, Test]:
        """(dearness, test) of a key."""
        name, value = key.name, key.value
        if name == b"AND":
            return self._all([self.build(part) for part in value])
        if name == b"OR":
            first, second = sorted((self.build(part) for part in value), key=lambda pair: pair[0])
            one, two = first[1], second[1]
            return second[0], lambda subject: one(subject) or two(subject)
        if name == b"NOT":
            cost, inner = self.build(value)
            return cost, lambda subject: not inner(subject)
        return self._leaf(name, value)

    @staticmethod
    def _all(parts: list[tuple[int, Test]]) -> tuple[int, Test]:
        parts.sort(key=lambda pair: pair[0])
        tests = [test for _, test in parts]
        return (parts[-1][0] if parts else VIEW), lambda subject: all(test(subject) for test in tests)

    def _leaf(self, name: bytes, value: Any) -> tuple[int, Test]:
        if name == b"ALL":
            return VIEW, lambda subject: True
        if name in BITS:
            return VIEW, _bit(BITS[name], True)
        if name.startswith(b"UN") and name[2:] in BITS:
            return VIEW, _bit(BITS[name[2:]], False)
        if name in (b"KEYWORD", b"UNKEYWORD"):
            return VIEW, _keyword(value, name == b"KEYWORD")
        if name in (b"RECENT", b"OLD"):
            return VIEW, _recent(name == b"RECENT")
        if name == b"NEW":
            return self._all([(VIEW, _recent(True)), (VIEW, _bit(SEEN, False))])
        if name in (b"SEQSET", b"UID"):
            return VIEW, self._numbers(name == b"UID", value)
        if name in DAYS:
            cost, when, compare = DAYS[name]
            return cost, _day(when, compare, value)
        if name == b"LARGER":
            return WHOLE, lambda subject: subject.message.size > value
        if name == b"SMALLER":
            return WHOLE, lambda subject: subject.message.size < value
        if name == b"HEADER":
            field, text = value
            return HEADERS, lambda subject: subject.header.header_contains(field, text)
        if name == b"BODY":
            return WHOLE, lambda subject: subject.message.body_contains(value)
        if name == b"TEXT":
            return WHOLE, lambda subject: subject.message.text_contains(value)
        if name in (b"BCC", b"CC", b"FROM", b"SUBJECT", b"TO"):
            return HEADERS, lambda subject: subject.header.header_contains(name, value)
        test: Callable[[Session, int, Any], bool] = ext.find("search_keys", name)[1]
        return HEADERS, lambda subject: test(self.session, subject.seq, value)

    def _numbers(self, by_uid: bool, numbers: Any) -> Test:
        ranges = numbers.resolve(self.largest if by_uid else self.count)
        if by_uid:
            return lambda subject: any(low <= subject.uid <= high for low, high in ranges)
        return lambda subject: any(low <= subject.seq <= high for low, high in ranges)


def run(session: Session, key: Key, seqs: Iterable[int] | None = None) -> Iterator[int]:
    """Sequence numbers of the messages that match, in the order of ``seqs``
    (default: ascending).

    A message that vanished matches nothing that needs its file.
    """
    test = Program(session).build(key)[1]
    if seqs is None:
        seqs = range(1, len(session.need_selected().view) + 1)
    for seq in seqs:
        try:
            if test(Subject(session, seq)):
                yield seq
        except Vanished:
            continue


def keys_of_extensions() -> dict[bytes, Callable[[Args], Any]]:
    """What extensions add to the grammar of search keys."""
    return {name: ext.find("search_keys", name)[0] for name in ext.keys("search_keys")}


def numbers(session: Session, seqs: Iterable[int], by_uid: bool) -> list[int]:
    """What the client is told: the sequence numbers, or their UIDs."""
    if not by_uid:
        return list(seqs)
    uids = session.need_selected().view.uids
    return [uids[seq - 1] for seq in seqs]


def search(session: Session, args: Args) -> str:
    args.sp()
    options = searchkeys.take_returns(args, ext.keys("search_returns"))
    key = searchkeys.parse(args, keys_of_extensions())
    args.end()

    by_uid = args.command == b"UID SEARCH"
    if options is None:
        found = numbers(session, run(session, key), by_uid)
        session.write(b"* SEARCH%s\r\n" % b"".join(b" %d" % number for number in found))
        return "SEARCH done."
    options = options or [b"ALL"]
    found = numbers(session, _ends(session, key, options), by_uid)
    line = b"* ESEARCH (TAG %s)%s" % (out.quoted(args.tag), b" UID" if by_uid else b"")
    for option in dict.fromkeys(options):
        value = ext.find("search_returns", option)(found)
        if value is not None:
            line += b" " + option + b" " + value
    session.write(line + b"\r\n")
    return "SEARCH done."


def _ends(session: Session, key: Key, options: list[bytes]) -> list[int]:
    """The matches that the options need: for MIN and MAX alone only the first and the last."""
    if not {b"MIN", b"MAX"}.issuperset(options):
        return list(run(session, key))
    found = []
    if b"MIN" in options:
        found += [seq for seq, _ in zip(run(session, key), (1,), strict=False)]
    if b"MAX" in options:
        backwards = range(len(session.need_selected().view), 0, -1)
        found += [seq for seq, _ in zip(run(session, key, backwards), (1,), strict=False)]
    return found


command(b"SEARCH", when=SELECTED, flags=USES_SEQ)(search)
command(b"UID SEARCH", when=SELECTED)(search)
