"""SORT and UID SORT.  RFC 5256 BASE.6.4.SORT; texts are compared by RFC 5051."""
from __future__ import annotations

from array import array

from courierpy.imap import ext
from courierpy.imap.commands import NUMBERS, SELECTED, USES_SEQ, Done, command
from courierpy.imap.commands.cmd_search import check, refusing, tell_numbers, tell_returns
from courierpy.imap.commands.ordered import Sorting, allowed, sent, take_program
from courierpy.imap.ext import Extension
from courierpy.imap.returns import Found
from courierpy.imap.search import run, uses_numbers
from courierpy.message.collation import kind
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from courierpy.imap.grammar.args import Args
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


CRITERIA: dict[bytes, Values] = {
    b"ARRIVAL": _number("date", "d"), b"CC": _text("cc"), b"DATE": _sent, b"FROM": _text("from"),
    b"SIZE": _number("size", "q"), b"SUBJECT": _subject, b"TO": _text("to"),
}


def _values(word: bytes) -> Values | None:
    """What a criterion orders by; those of extensions too."""
    return CRITERIA.get(word) or ext.find("sort_keys", word)


def _criteria(args: Args) -> list[tuple[bytes, bool]]:
    """(key, is it reversed) of each, in order."""
    found = []
    args.open()
    args.maybe_sp()
    while True:
        word = args.word()
        backwards = word == b"REVERSE"
        if backwards:
            args.sp()
            word = args.word()
        if _values(word) is None:
            raise Bad("Unknown sort criterion.")
        found.append((word, backwards))
        if not args.maybe_sp() or args.at(b")"):
            break
    args.close()
    return found


def sort(session: Session, args: Args) -> Done:
    args.sp()
    take = ext.find("sort_returns", b"RETURN")
    options = take(args) if take is not None else None
    with refusing(session, options):
        criteria = _criteria(args)
        args.sp()
        key = take_program(args)
        check(options, key)
        allowed(session)
        seqs = _sorted(Sorting(session, key), criteria, run(session, key))

    found = Found(session, key, seqs, args.command == b"UID SORT", options, args.tag)
    if options is None:
        tell_numbers(b"SORT", found)
    else:
        tell_returns(found)
    return Done("SORT done.", uses_seq=uses_numbers(key))


def _sorted(sorting: Sorting, criteria: list[tuple[bytes, bool]], seqs: Sequence[int]) -> array[int]:
    uids = sorting.session.need_selected().view.uids
    chosen = uids if len(seqs) == len(uids) else array("I", [uids[seq - 1] for seq in seqs])
    order = list(range(len(seqs)))
    # each sort keeps the order of the one before: the first criterion comes last, ties
    # stay in the order of their sequence numbers, reversed or not
    for word, backwards in reversed(criteria):
        values = _values(word)
        assert values is not None
        order.sort(key=values(sorting, chosen).__getitem__, reverse=backwards)
    sorting.attributes.refuse(denied=False)
    return array("I", map(seqs.__getitem__, order))


command(b"SORT", when=SELECTED, flags=USES_SEQ | NUMBERS, rights="r")(sort)
command(b"UID SORT", when=SELECTED, rights="r")(sort)

EXTENSION = Extension(b"SORT", off="IMAP_DISABLETHREADSORT")
