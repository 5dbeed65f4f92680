"""WITHIN.  RFC 5032: SEARCH OLDER and YOUNGER, by INTERNALDATE and the clock of now, in whole seconds."""
from __future__ import annotations

import time

from courierpy.imap.ext import Extension
from courierpy.imap.grammar import searchkeys
from courierpy.imap.search import MOST, NUMBER, Program, SearchKey
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.searchkeys import Parser


def _interval(parser: Parser) -> int:
    seconds = searchkeys.number(parser)
    if not seconds:
        raise Bad("An interval has at least one second.")
    return seconds


def _older(program: Program, value: int, within: bytes) -> bytes:
    return program.compare("date", "d", within, -MOST, int(time.time()) - value + 1)


def _younger(program: Program, value: int, within: bytes) -> bytes:
    return program.compare("date", "d", within, int(time.time()) - value, MOST)


EXTENSION = Extension(b"WITHIN", search_keys={b"OLDER": SearchKey(_older, NUMBER, _interval),
                                              b"YOUNGER": SearchKey(_younger, NUMBER, _interval)})
