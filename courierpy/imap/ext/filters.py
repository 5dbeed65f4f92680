"""FILTERS.  RFC 5466: FILTER among the keys of SEARCH stands for a search that the account keeps.

It is kept by its name as an entry of the account's METADATA, the private one before the shared one.  It is
looked up when the command comes, and what it holds then is searched for.
"""
from __future__ import annotations

import re

from courierpy.imap import metadata, search
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import searchkeys
from courierpy.imap.grammar.framer import Frame, Framer, LiteralAhead
from courierpy.imap.search import SearchKey
from courierpy.maildir import annotation
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.searchkeys import Key, Parser
    from courierpy.imap.session import Session

NAME = b"FILTER"
ENTRIES = (b"/private/filters/values/", b"/shared/filters/values/")
DEEPEST = 10                           # filters in each other; RFC 5466 3.1 wants three at least
MOST = 100                             # that one FILTER may come to
_NAME = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]/]+")


def _parse(parser: Parser) -> bytes:
    parser.args.sp()
    name = parser.args.take(_NAME)
    if parser.charset.upper() not in ("UTF-8", "US-ASCII"):
        raise Bad("A filter is kept in UTF-8.", b"BADCHARSET (UTF-8 US-ASCII)")        # RFC 5466 3.1
    return name


class _Filters:
    """Those of the account, as they are when they are first asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session
        entries = annotation.read(*metadata.place(session, metadata.SERVER))
        self._values = {name.lower(): value for name, value in entries.items()}
        self._count = 0

    def key(self, name: bytes, outer: tuple[bytes, ...] = ()) -> Key:
        """What stands for FILTER ``name`` within the filters ``outer``.  Raises No: a circle is as a filter
        that is not there (RFC 5466 3.1)."""
        self._count += 1
        own = name.lower()
        values = [self._values[kind + own] for kind in ENTRIES if kind + own in self._values]
        if not values or own in outer or len(outer) >= DEEPEST or self._count > MOST:
            raise No("There is no such filter.", b"UNDEFINED-FILTER " + name)
        found = _search(self._session, values[0], b"UNDEFINED-FILTER " + name)
        return searchkeys.rewritten(found, lambda key: self.key(key.value, (*outer, own))
                                if key.name == NAME else None)


def _search(session: Session, value: bytes, code: bytes) -> Key:
    """What a filter searches for; of filters in it the names.  Raises No with ``code``."""
    try:
        args = _args(session, value)
        found = searchkeys.parse(args, search.KEYS.find, "utf-8")
        args.end()
    except (Bad, No):
        raise No("The filter is no whole search.", code) from None
    return found


def _args(session: Session, value: bytes) -> Args:
    """Raises Bad."""
    framer = Framer()
    framer.feed(b"a SEARCH " + value + b"\r\n")
    event = framer.next()
    while isinstance(event, LiteralAhead):
        framer.accept(None)
        event = framer.next()
    if not isinstance(event, Frame) or framer.rest():
        raise Bad("It is no line.")
    args = session.parse(event)
    args.sp()
    return args


def _check(session: Session, value: bytes) -> None:
    """RFC 5466 3.2: only a whole search in UTF-8 is kept.  Filters in it may come later.  Raises No."""
    try:
        value.decode()
    except UnicodeDecodeError:
        raise No("A filter is kept in UTF-8.", b"CANNOT") from None
    _search(session, value, b"CANNOT")


EXTENSION = Extension(
    b"FILTERS", search_keys={NAME: SearchKey(
        lambda program, value, within: within, parse=_parse,
        expand=lambda session, name: _Filters(session).key(name))},
    metadata_checks=dict.fromkeys(ENTRIES, _check))
