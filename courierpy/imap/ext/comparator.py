"""COMPARATOR.  RFC 5255 4.7: by what SEARCH, SORT and THREAD compare texts in this session.

i;ascii-numeric is none of them: a comparator here must know what is a part of a text (RFC 5255 4.4,
RFC 4790 4.2.2).
"""
from __future__ import annotations

import re

from courierpy.imap.commands import ANY, command
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines, out
from courierpy.imap.grammar.pattern import Pattern
from courierpy.message import collation
from courierpy.model.replies import No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.message.collation import Comparator

COMPARATOR = b"COMPARATOR"
_ORDER = re.compile(rb"[+-]?(?:[A-Za-z0-9./*-]+)(?:;[A-Za-z0-9./=*-]*)*")      # RFC 4790 3.1, 3.2


@command(COMPARATOR, when=ANY)
def comparator(session: Session, args: Args) -> str:
    orders = args.astrings(_ORDER, "comparator")
    if not orders:
        session.write(lines.data(COMPARATOR, _name(collation.active())))
        return "That is the comparator"

    found = _matching([order.decode().lower() for order in orders])
    if not found:
        raise No("There is no such comparator.", b"BADCOMPARATOR")
    choose(session, found[0].name.encode())
    values = [_name(found[0])]
    if len(found) > 1:
        values.append(b"(%s)" % b" ".join(map(_name, found)))
    session.write(lines.data(COMPARATOR, *values))
    return f"Will use {found[0].name} for collation"


def choose(session: Session, name: bytes) -> None:
    """From now on this one is active; b"": the default one."""
    chosen = next((each for each in collation.COMPARATORS if each.name.encode() == name), collation.UNICODE)
    collation.use(chosen)
    session.kept.pop(COMPARATOR, None)
    if chosen is not collation.UNICODE:
        session.kept[COMPARATOR] = name


def _name(one: Comparator) -> bytes:
    return out.astring(one.name.encode())


def _matching(orders: list[str]) -> list[Comparator]:
    """The comparators that some order means, each once, those of the first order first."""
    found: list[Comparator] = []
    for order in orders:
        # a plus says what is so anyway; to turn the order round is the business of SORT
        pattern = collation.UNICODE.name if order == "default" else order.removeprefix("+")
        wanted = Pattern(pattern, "\0")
        found += [each for each in collation.COMPARATORS if wanted.matches(each.name) and each not in found]
    return found


EXTENSION = Extension(b"I18NLEVEL=2", kept={COMPARATOR: choose})
