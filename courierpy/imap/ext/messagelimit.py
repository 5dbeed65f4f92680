"""MESSAGELIMIT and SAVELIMIT.  RFC 9738: how many messages one command works on, where the administrator
bounds it.

FETCH, STORE, SEARCH, MOVE and UID EXPUNGE do the messages with the highest UIDs, and say in the code
how far they came; the client goes on below.  COPY and APPEND do all or nothing.  The bounds themselves
are the centre's; here is what clients hear of them.
"""
from __future__ import annotations

from courierpy.imap.ext import Extension
from courierpy.imap.grammar import searchkeys
from courierpy.imap.search import SearchKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.search import Program


def _code(limit: int, lowest: int) -> bytes:
    """``lowest``: UID of the last message that was done."""
    return b"MESSAGELIMIT %d %d" % (limit, lowest)


def _after(program: Program, uid: int, within: bytes) -> bytes:
    return program.of_range(uid + 1, program.uids[-1] if program.uids else 0)


def _before(program: Program, uid: int, within: bytes) -> bytes:
    return program.of_range(1, uid - 1)


EXTENSION = Extension(
    b"MESSAGELIMIT=", value="IMAP_MESSAGELIMIT",
    search_keys={b"UIDAFTER": SearchKey(_after, parse=searchkeys.number, chooses=True),
                 b"UIDBEFORE": SearchKey(_before, parse=searchkeys.number, chooses=True)},
    tagged_code={b"LIMITED": _code})
