"""SAVEDATE.  RFC 8514: when a message came to its mailbox.

It is the time that stands in its file's name: who brings a message there, by delivery, APPEND, COPY or
MOVE, writes it, and no change of flags changes it.  A name without one tells INTERNALDATE in its place.
"""
from __future__ import annotations

from array import array
from itertools import compress

from courierpy.imap.ext import Extension
from courierpy.imap.fetch import Column, Item
from courierpy.imap.grammar import searchkeys
from courierpy.imap.grammar.dates import internaldates
from courierpy.imap.search import NUMBER, SearchKey, moments
from courierpy.maildir.errors import Vanished
from courierpy.maildir.names import time_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.imap.attributes import Attributes
    from courierpy.imap.fetch import Chunk
    from courierpy.imap.search import Program


def save_dates(attributes: Attributes, uids: Sequence[int]) -> list[float]:
    """In seconds since 1970; 0 for a message that vanished."""
    found: list[float] = []
    for uid in uids:
        try:
            when: float | None = time_of(attributes.folder.finder.name_of(uid))
        except Vanished:
            attributes.lost.add(uid)
            when = 0
        if when is None:
            when = attributes.numbers("date", array("I", [uid]), "d")[0]
        found.append(when or 0)
    return found


def _told(chunk: Chunk, known: list[bytes | None]) -> list[bytes]:
    session = chunk.session
    return internaldates(save_dates(session.need_selected().attributes(session.limits), chunk.uids))


def _saved(name: bytes) -> SearchKey:
    def mask(program: Program, value: int, within: bytes) -> bytes:
        low, high = moments(name, value)
        uids = list(compress(program.uids, within))
        dates = save_dates(program.attributes, uids)
        return program.of_uids([uid for uid, when in zip(uids, dates, strict=True) if low <= when < high])
    return SearchKey(mask, NUMBER, searchkeys.date)


EXTENSION = Extension(
    b"SAVEDATE", fetch_items={b"SAVEDATE": Item(column=Column(_told))},
    search_keys={b"SAVEDBEFORE": _saved(b"BEFORE"), b"SAVEDON": _saved(b"ON"),
                 b"SAVEDSINCE": _saved(b"SINCE"),
                 b"SAVEDATESUPPORTED": SearchKey(lambda program, value, within: within)})
