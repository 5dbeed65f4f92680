"""SORT and UID SORT.  RFC 5256 BASE.6.4.SORT; texts are compared by RFC 5051."""
from __future__ import annotations

from array import array

from courierpy.imap import ext
from courierpy.imap.commands import NUMBERS, SELECTED, USES_SEQ, Done, command
from courierpy.imap.commands.cmd_search import check, refused, tell_numbers, tell_returns
from courierpy.imap.commands.ordered import Sorting, allowed, sent, take_program
from courierpy.imap.ext import Extension
from courierpy.imap.grammar.searchkeys import uses_numbers
from courierpy.imap.records import Records
from courierpy.imap.returns import Found
from courierpy.imap.search import run
from courierpy.maildir.errors import StoreError
from courierpy.message.collation import kind
from courierpy.model import packed
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.searchkeys import Key
    from courierpy.imap.session import Session

    Values = Callable[[Sorting, array[int]], Sequence[Any]]


def _number(kind: str, typecode: str) -> Callable[[Sorting, array[int]], Sequence[float]]:
    # a message that vanished comes before all others
    return lambda sorting, uids: [value or 0 for value in sorting.attributes.numbers(kind, uids, typecode)]


def _text(name: str) -> Callable[[Sorting, array[int]], Sequence[bytes]]:
    # keys in UTF-8: octets are in order as the characters are
    return lambda sorting, uids: [value or b"" for value in sorting.attributes.values(kind(name), uids)]


def _subject(sorting: Sorting, uids: array[int]) -> Sequence[bytes]:
    return [value[1:] if value else b"" for value in sorting.attributes.values(kind("subject"), uids)]


def _sent(sorting: Sorting, uids: array[int]) -> Sequence[float]:
    return sent(sorting.attributes, uids)


SORT = b"SORT"
CRITERIA: Records[Values] = Records("sort_keys", {
    b"ARRIVAL": _number("date", "d"), b"CC": _text("cc"), b"DATE": _sent, b"FROM": _text("from"),
    b"SIZE": _number("size", "q"), b"SUBJECT": _subject, b"TO": _text("to"),
})


def _criteria(args: Args) -> list[tuple[bytes, bool]]:
    """(key, is it reversed) of each, in order; one that comes again tells no more apart."""
    found: dict[bytes, bool] = {}
    args.open()
    args.maybe_sp()
    while True:
        word = args.word()
        backwards = word == b"REVERSE"
        if backwards:
            args.sp()
            word = args.word()
        if CRITERIA.find(word) is None:
            raise Bad("Unknown sort criterion.")
        found.setdefault(word, backwards)
        if not args.maybe_sp() or args.at(b")"):
            break
    args.close()
    return [*found.items()]


class Order:
    """By which ``criteria`` messages are ordered: (key, is it reversed) of each, the first one first."""

    __slots__ = ("_criteria",)

    def __init__(self, criteria: Sequence[tuple[bytes, bool]]) -> None:
        self._criteria = criteria

    def sorted(self, sorting: Sorting, seqs: Sequence[int]) -> array[int]:
        """Sequence numbers, which ascend, in this order."""
        uids = sorting.session.need_selected().view.uids
        chosen = uids if len(seqs) == len(uids) else array("I", [uids[seq - 1] for seq in seqs])
        order = list(range(len(seqs)))
        # each sort keeps the order of the one before: the first criterion comes last, ties
        # stay in the order of their sequence numbers, reversed or not
        for word, backwards in reversed(self._criteria):
            order.sort(key=CRITERIA.need(word)(sorting, chosen).__getitem__, reverse=backwards)
        sorting.attributes.refuse(denied=False)
        return array("I", map(seqs.__getitem__, order))

    def place(self, session: Session, key: Key, known: Sequence[int], uid: int) -> int:
        """Behind how many of the messages ``known``, UIDs in this order, does this one stand?"""
        sorting = Sorting(session, key)
        lost = sorting.attributes.lost
        own = self._values(sorting, uid)
        low, high = 0, len(known)
        while low < high:
            middle = at = (low + high) // 2
            others = self._values(sorting, known[at])
            while known[at] in lost and at + 1 < high:     # nothing can be said of what has just gone
                at += 1
                others = self._values(sorting, known[at])
            if known[at] in lost or self._before(own, uid, others, known[at]):
                high = middle
            else:
                low = at + 1
        return low

    def packed(self) -> tuple[bytes, bytes]:
        """For ``woken``."""
        return SORT, packed.pack([*self._criteria])

    def _values(self, sorting: Sorting, uid: int) -> list[Any]:
        return [CRITERIA.need(word)(sorting, array("I", [uid]))[0] for word, _ in self._criteria]

    def _before(self, own: list[Any], uid: int, others: list[Any], other: int) -> bool:
        for mine, others_own, (_, backwards) in zip(own, others, self._criteria, strict=True):
            if mine != others_own:
                return bool((mine < others_own) is not backwards)
        return uid < other


def sort(session: Session, args: Args) -> Done:
    args.sp()
    take = ext.find("sort_returns", b"RETURN")
    options = take(args) if take is not None else None
    try:
        criteria = _criteria(args)
        args.sp()
        key = take_program(session, args)
        check(session, args.tag, options, key)
        allowed(session)
        order = Order(criteria)
        seqs = order.sorted(Sorting(session, key), run(session, key))
    except (No, StoreError):
        refused(session, options)
        raise

    found = Found(session, key, seqs, args.command == b"UID SORT", options, args.tag, order=order)
    if options is None:
        tell_numbers(b"SORT", found)
    else:
        tell_returns(found)
    return Done("SORT done.", uses_seq=uses_numbers(key))


command(b"SORT", when=SELECTED, flags=USES_SEQ | NUMBERS, rights="r")(sort)
command(b"UID SORT", when=SELECTED, rights="r")(sort)

EXTENSION = Extension(SORT, off="IMAP_DISABLETHREADSORT", woken={
    SORT: lambda session, octets: Order(packed.unpack(octets))})
