"""SORT and UID SORT.  RFC 5256 BASE.6.4.SORT; texts are compared by RFC 5051."""
from __future__ import annotations

from array import array

from courierpy.imap.commands import SELECTED, USES_SEQ, command
from courierpy.imap.commands.ordered import allowed, sent, take_program
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines
from courierpy.imap.search import numbers, run
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from courierpy.imap.attributes import Attributes
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session


def _number(kind: str, typecode: str) -> Callable[[Attributes, array[int]], Sequence[float]]:
    # a message that vanished comes before all others
    return lambda attributes, uids: [value or 0 for value in attributes.numbers(kind, uids, typecode)]


def _text(kind: str) -> Callable[[Attributes, array[int]], Sequence[bytes]]:
    # keys in UTF-8: octets are in order as the characters are
    return lambda attributes, uids: [value or b"" for value in attributes.values(kind, uids)]


def _subject(attributes: Attributes, uids: array[int]) -> Sequence[bytes]:
    return [value[1:] if value else b"" for value in attributes.values("subject", uids)]


CRITERIA: dict[bytes, Callable[[Attributes, array[int]], Sequence[Any]]] = {
    b"ARRIVAL": _number("date", "d"), b"CC": _text("cc"), b"DATE": sent, b"FROM": _text("from"),
    b"SIZE": _number("size", "q"), b"SUBJECT": _subject, b"TO": _text("to"),
}


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
        if word not in CRITERIA:
            raise Bad("Unknown sort criterion.")
        found.append((word, backwards))
        if not args.maybe_sp() or args.at(b")"):
            break
    args.close()
    return found


def sort(session: Session, args: Args) -> str:
    args.sp()
    criteria = _criteria(args)
    args.sp()
    program = take_program(args)
    allowed(session)

    selected = session.need_selected()
    seqs = run(session, program)
    attributes, uids = selected.attributes(session.limits), selected.view.uids
    chosen = uids if len(seqs) == len(uids) else array("I", [uids[seq - 1] for seq in seqs])
    order = list(range(len(seqs)))
    # each sort keeps the order of the one before: the first criterion comes last, ties
    # stay in the order of their sequence numbers, reversed or not
    for word, backwards in reversed(criteria):
        order.sort(key=CRITERIA[word](attributes, chosen).__getitem__, reverse=backwards)
    attributes.refuse(denied=False)
    found = numbers(session, [seqs[at] for at in order], args.command == b"UID SORT")
    session.write(lines.numbers(b"SORT", found))
    return "SORT done."


command(b"SORT", when=SELECTED, flags=USES_SEQ, rights="r")(sort)
command(b"UID SORT", when=SELECTED, rights="r")(sort)

EXTENSION = Extension(b"SORT", off="IMAP_DISABLETHREADSORT")
