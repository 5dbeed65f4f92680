"""OBJECTID.  RFC 8474: names of mailboxes and messages that stay when they are renamed, copied and moved.

Nothing is kept that could be lost.  EMAILID follows from a message's octets and INTERNALDATE, which are what
never changes of it, and what a COPY has too; THREADID from the first message that it is an answer to, in
whatever mailbox; MAILBOXID from UIDVALIDITY and the directory.
"""
from __future__ import annotations

from itertools import compress

from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines
from courierpy.maildir import directory
from courierpy.model.regex import later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Sequence

    from courierpy.imap.attributes import Attributes
    from courierpy.imap.fetch import Chunk, Item
    from courierpy.imap.grammar.searchkeys import Parser
    from courierpy.imap.search import Program, SearchKey
    from courierpy.imap.selected import Selected
    from courierpy.imap.session import Session
    from courierpy.maildir.index.statuscache import Status
    from courierpy.message import Message

    Ids = Callable[[Attributes, array[int], Sequence[bytes | None]], list[bytes]]

OCTETS = 15                            # of a digest
_OBJECTID = later(rb"[A-Za-z0-9_-]{1,255}")


# -- what they are

def digest(message: Message) -> bytes:
    """A digest of all octets of the message."""
    from hashlib import blake2b
    data, found = message.data, blake2b(digest_size=OCTETS)
    if isinstance(data, bytes):
        found.update(data)
    else:
        for _, window in data.windows(0, len(data)):
            found.update(window)
    return found.digest()


def first_of_thread(message: Message) -> bytes:
    """A digest that the answers to a message have in common with it; of a message without an ID and
    references, of its header."""
    from hashlib import blake2b
    own, ancestors = message.thread_ids()
    first = ancestors[0] if ancestors else own
    return blake2b(b"header " + message.block if first is None else b"id " + first,
                   digest_size=OCTETS).digest()


def email_ids(attributes: Attributes, uids: array[int], digests: Sequence[bytes | None]) -> list[bytes]:
    """``digests``: as ``digest`` gave them."""
    from hashlib import blake2b
    found = []
    for value, date in zip(digests, attributes.numbers("date", uids, "d"), strict=True):
        octets = b"%d %s" % ((date or 0) // 1, value or b"")
        found.append(b"M" + blake2b(octets, digest_size=OCTETS).hexdigest().encode())
    return found


def thread_ids(attributes: Attributes, uids: array[int], digests: Sequence[bytes | None]) -> list[bytes]:
    """``digests``: as ``first_of_thread`` gave them."""
    return [b"T" + (value or b"").hex().encode() for value in digests]


def mailbox_id(path: str, uidvalidity: int) -> bytes:
    """Of the mailbox in this directory.  Raises a store error."""
    return b"F%x-%x" % (uidvalidity, directory.identity(path))


# -- how they are told

def _item(kind: str, ids: Ids) -> Item:
    from courierpy.imap.fetch import Column, Item, kept

    def values(chunk: Chunk, known: list[bytes | None]) -> list[bytes]:
        session = chunk.session
        return ids(session.need_selected().attributes(session.limits), chunk.uids, known)
    return Item(column=Column(values, kept(kind), b"(%s)"))


def _objectid(parser: Parser) -> bytes:
    parser.args.sp()
    return parser.args.take(_OBJECTID)


def _key(kind: str, ids: Ids, cost: int) -> SearchKey:
    from courierpy.imap.search import SearchKey

    def mask(program: Program, value: bytes, within: bytes) -> bytes:
        found: list[int] = []
        wanted = type(program.uids)("I", compress(program.uids, within))
        for start, stop, (digests,) in program.attributes.pieces([kind], wanted, 2000):
            uids = wanted[start:stop]
            found += compress(uids, [own == value for own in ids(program.attributes, uids, digests)])
        return program.of_uids(found)
    return SearchKey(mask, cost, _objectid)


def _selected(session: Session, selected: Selected) -> bytes:
    return lines.told(lines.OK, "Ok", b"MAILBOXID (%s)" % mailbox_id(
        selected.folder.path, selected.snapshot.uidvalidity))


def _status(session: Session, name: str, count: Status) -> bytes:
    return b"(%s)" % mailbox_id(session.folders.path_of(name), count.uidvalidity)


def _created(session: Session, name: str) -> bytes:
    return b"MAILBOXID " + _status(session, name, session.folders.status(name))


def _items() -> dict[bytes, Item]:
    return {b"EMAILID": _item("digest", email_ids), b"THREADID": _item("thread", thread_ids)}


def _keys() -> dict[bytes, SearchKey]:
    from courierpy.imap.search import HEADERS, WHOLE
    return {b"EMAILID": _key("digest", email_ids, WHOLE), b"THREADID": _key("thread", thread_ids, HEADERS)}


# each SELECT comes here, for MAILBOXID, and needs nothing of FETCH and SEARCH
EXTENSION = Extension(
    b"OBJECTID", attributes={b"digest": (False, digest), b"thread": (True, first_of_thread)},
    fetch_items=_items, search_keys=_keys,
    on_selected={b"": _selected}, status_items={b"MAILBOXID": _status}, tagged_code={b"CREATE": _created})
