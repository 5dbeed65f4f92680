"""CONTEXT=SEARCH and CONTEXT=SORT.  RFC 5267: a SEARCH or SORT whose result is kept up to date.

RETURN (UPDATE) makes a context of the selected mailbox.  It keeps what the client was told, by UIDs, and
follows the changes: only messages that are new, or whose flags have changed, are looked at again.  What
went is told (REMOVEFROM) as soon as it is known, before its EXPUNGE, and also while that is held back; what
came (ADDTO) behind EXISTS.  Sequence numbers and `$` among the keys are those of the moment of the command.
CONTEXT says that a client will ask again: nothing is done for that, as values are kept in any case.
Items behind UPDATE are fetched of messages that are new, and come to the result (RFC 5465 7).
"""
from __future__ import annotations

from array import array
from itertools import compress

from courierpy.imap import ext
from courierpy.imap.commands import SELECTED, cmd_fetch, command
from courierpy.imap.ext import Extension
from courierpy.imap.fetch import ITEMS
from courierpy.imap.grammar import fetchitems, lines, out
from courierpy.imap.grammar.fetchitems import FetchItem
from courierpy.imap.grammar.numset import NumSet, compact
from courierpy.imap.grammar.searchkeys import Key, rewritten
from courierpy.imap.returns import SearchReturn
from courierpy.imap.search import Program
from courierpy.maildir.errors import StoreError
from courierpy.model import packed
from courierpy.model.replies import Bad, No
from courierpy.model.section import Section
from courierpy.model.uidset import UidSet
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.returns import Found, Order
    from courierpy.imap.session import Session

MOST = 32                              # contexts of a session: each may hold four octets for each message
CONTEXT = b"CONTEXT"
CLASSES = (Key, NumSet, FetchItem, Section)


class Context:
    """One result that is kept up to date.  ``key``: what it looks for; ``items``: what is fetched of messages
    that are new and come to it; ``correlator``: whose its lines are; ``by_uid``: they name UIDs."""

    def __init__(self, tag: bytes, key: Key, items: list[FetchItem], correlator: bytes, by_uid: bool,
                 result: Unordered | Ordered, last: int) -> None:
        """``last``: the UID for which `*` stands."""
        self.tag = tag
        self.key = key
        self.items = items
        self.correlator = correlator
        self.by_uid = by_uid
        self._result = result
        self._last = last

    @classmethod
    def of(cls, found: Found, key: Key, uids: Sequence[int], items: list[FetchItem]) -> Context:
        """``uids``: of what was found, in the order in which it is told."""
        result = Ordered(found.order, key, uids) if found.order is not None else Unordered(uids)
        return cls(found.tag, key, items, found.correlator, found.by_uid, result, _last(found.session))

    # -- where another process goes on

    def packed(self) -> tuple[bytes, bytes]:
        order, uids = self._result.packed()
        return CONTEXT, packed.pack((self.tag, self.key, self.items, self.correlator, self.by_uid, self._last,
                                     order, uids), CLASSES)

    @classmethod
    def again(cls, session: Session, octets: bytes) -> Context:
        """Raises ValueError."""
        tag, key, items, correlator, by_uid, last, order, octets = packed.unpack(octets, CLASSES)
        uids = array("I", octets)
        if order is None:
            return cls(tag, key, items, correlator, by_uid, Unordered(uids), last)
        make = ext.find("woken", order[0])
        if make is None:
            raise ValueError("no order of that name")
        return cls(tag, key, items, correlator, by_uid, Ordered(make(session, order[1]), key, uids), last)

    # -- as a follower of the mailbox

    def gone(self, session: Session, uids: Sequence[int]) -> bytes:
        if self._is_over(session):
            return self._ended(session, "There are no sequence numbers any more.")
        removed = self._result.remove(uids)
        return self._line(session, b"REMOVEFROM", removed)

    def changed(self, session: Session, uids: Sequence[int]) -> bytes:
        if self._is_over(session):
            return self._ended(session, "There are no sequence numbers any more.")
        last, known = _last(session), self._last
        if last != self._last:         # `*` is another message now
            uids = sorted({*uids, self._last, last})
            self._last = last
        try:
            program = Program(session)
            seqs = program.run(self.key, program.of_uids(uids))
        except StoreError as why:
            log.err(str(why))
            return self._ended(session, "The disk does not give what is searched.")
        matching = UidSet.of([program.uids[seq - 1] for seq in seqs])
        removed = self._result.remove([uid for uid in uids if uid not in matching])
        more = [uid for uid in matching if uid not in self._result]
        self._fetch(session, [uid for uid in more if uid > known])
        added = self._result.add(session, more)
        return self._line(session, b"REMOVEFROM", removed, b"ADDTO", added)

    def _fetch(self, session: Session, uids: Sequence[int]) -> None:
        """What the client wants of messages that are new, behind EXISTS and before ADDTO.  RFC 5465 7."""
        if self.items:
            besides = session.between.of_new() if session.between is not None else []
            cmd_fetch.tell_of_new(session, [*self.items, *besides], uids)

    def _is_over(self, session: Session) -> bool:
        """Is it told by numbers that the client does not want any more?  RFC 9586."""
        return not self.by_uid and not session.manners.numbered

    def _ended(self, session: Session, why: str) -> bytes:
        cancel(session, self)
        return _no_update(self.tag, why)

    def _line(self, session: Session, *parts: bytes | list[tuple[int, Sequence[int]]]) -> bytes:
        """``parts``: words, and behind each (position, UIDs) one after the other; left out without any."""
        view = session.need_selected().view
        values: list[bytes] = []
        for word, pairs in zip(parts[::2], parts[1::2], strict=True):
            if pairs:
                assert isinstance(word, bytes) and isinstance(pairs, list)
                sets = [b"%d %s" % (position, compact(uids if self.by_uid else map(view.seq, uids)))
                        for position, uids in pairs]
                values += word, b"(%s)" % b" ".join(sets)
        return lines.data(b"ESEARCH", self.correlator, *values) if values else b""


class Unordered:
    """A result in the order of the mailbox: positions are 0.  RFC 5267 4.3.3."""

    __slots__ = ("_uids",)

    def __init__(self, uids: Sequence[int]) -> None:
        self._uids = UidSet.of(uids)

    def __contains__(self, uid: int) -> bool:
        return uid in self._uids

    def packed(self) -> tuple[tuple[bytes, bytes] | None, bytes]:
        """Its order, and its UIDs."""
        return None, array("I", self._uids).tobytes()

    def remove(self, uids: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
        """Takes out those of ``uids``, which ascend, that it has; gives the positions, and what was there."""
        had = [uid for uid in uids if uid in self._uids]
        self._uids -= UidSet.of(had)
        return [(0, had)] if had else []

    def add(self, session: Session, uids: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
        """Puts in ``uids``, which ascend; gives the positions, and what is there."""
        self._uids |= UidSet.of(uids)
        return [(0, uids)] if uids else []


class Ordered:
    """A result in the order of a SORT: positions count from 1, each when those before it are done."""

    __slots__ = ("_key", "_known", "_order", "_uids")

    def __init__(self, order: Order, key: Key, uids: Sequence[int]) -> None:
        self._key = key
        self._order = order
        self._uids = array("I", uids)
        self._known = UidSet.of(sorted(uids))

    def __contains__(self, uid: int) -> bool:
        return uid in self._known

    def packed(self) -> tuple[tuple[bytes, bytes] | None, bytes]:
        """As Unordered."""
        return self._order.packed(), self._uids.tobytes()

    def remove(self, uids: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
        """As Unordered; the last places first."""
        wanted = {uid for uid in uids if uid in self._known}
        if not wanted:
            return []
        self._known -= UidSet.of(sorted(wanted))
        pairs: list[tuple[int, Sequence[int]]] = []
        end = 0
        for at, uid in enumerate([*self._uids, 0], 1):
            if uid in wanted:
                end = end or at
            elif end:
                pairs.append((end, self._uids[end - 1:at - 1]))
                end = 0
        pairs.reverse()
        for start, some in pairs:
            del self._uids[start - 1:start - 1 + len(some)]
        return pairs

    def add(self, session: Session, uids: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
        """As Unordered."""
        self._known |= UidSet.of(uids)
        pairs: list[tuple[int, list[int]]] = []
        for uid in uids:
            at = self._order.place(session, self._key, self._uids, uid)
            self._uids.insert(at, uid)
            if pairs and at + 1 == pairs[-1][0] + len(pairs[-1][1]):
                pairs[-1][1].append(uid)
            else:
                pairs.append((at + 1, [uid]))
        return [*pairs]


def _last(session: Session) -> int:
    """The UID for which `*` stands."""
    uids = session.need_selected().view.uids
    return uids[-1] if uids else 0


# -- what is searched for, from now on

def frozen(program: Program, key: Key) -> Key:
    """The key without sequence numbers and `$`: with the UIDs that they stand for now.  RFC 5267 4.3."""
    def now(key: Key) -> Key | None:
        value = key.value
        if key.name == b"SEQSET":
            return Key(b"UID", uids(False, value))
        if isinstance(value, NumSet) and value.saved:
            return Key(key.name, NumSet((*value.ranges, *uids(True, NumSet((), True)).ranges)))
        return None

    def uids(by_uid: bool, numbers: NumSet) -> NumSet:
        return NumSet.of(compress(program.uids, program.of_numbers(by_uid, numbers)))
    return rewritten(key, now)


# -- the commands

def _contexts(session: Session) -> list[Context]:
    return [one for one in session.need_selected().followers if isinstance(one, Context)]


def cancel(session: Session, context: Context) -> None:
    session.need_selected().followers.remove(context)


def _no_update(tag: bytes, text: str) -> bytes:
    """RFC 5267 4.3.1."""
    return lines.told(lines.NO, text, b"NOUPDATE " + out.quoted(tag))


def _check(session: Session, tag: bytes, key: Key) -> None:
    if session.selected is not None and any(one.tag == tag for one in _contexts(session)):
        raise Bad("The tag is that of a search whose updates are told.")


def _items(args: Args) -> list[FetchItem]:
    """Behind UPDATE: what is fetched of messages that come to the result, in parentheses.  RFC 5465 7.  That
    sets no \\Seen, which would change the result while it is told."""
    if args.at(b" ("):
        args.sp()
    items = fetchitems.parse(args, ITEMS.find) if args.at(b"(") else []
    for item in items:
        item.sees = False
    return items


def _update(found: Found, items: list[FetchItem]) -> None:
    session = found.session
    if len(_contexts(session)) >= MOST:
        session.write(_no_update(found.tag, "There are as many contexts as a session may have."))
        return
    uids = session.need_selected().view.uids
    session.need_selected().followers.append(Context.of(
        found, frozen(Program(session), found.key), [uids[seq - 1] for seq in found.seqs], items))


def _wake(session: Session, octets: bytes) -> None:
    session.need_selected().followers.append(Context.again(session, octets))


@command(b"CANCELUPDATE", when=SELECTED)
def cancel_updates(session: Session, args: Args) -> str:
    """RFC 5267 4.3.5."""
    args.sp()
    tags = [args.string()]
    while args.more():
        tags.append(args.string())
    args.end()

    known = {one.tag: one for one in _contexts(session)}
    if not known.keys() >= {*tags}:
        raise No("There is no search of this tag whose updates are told.")
    for tag in dict.fromkeys(tags):
        cancel(session, known[tag])
    return "No further updates."


EXTENSION = Extension(
    b"CONTEXT=SEARCH", b"CONTEXT=SORT", off={b"CONTEXT=SORT": "IMAP_DISABLETHREADSORT"},
    search_returns={
        b"UPDATE": SearchReturn(_update, parse=_items, aside=True, check=_check,
                                of_selected=True),
        CONTEXT: SearchReturn(lambda found, value: None, aside=True)},
    woken={CONTEXT: _wake})
