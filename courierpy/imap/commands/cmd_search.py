"""SEARCH and UID SEARCH.  RFC 9051 6.4.4, RFC 3501 6.4.4.

A program is a tree of keys.  What a key says of all messages is a mask, a byte for
each: flags become one by a table, texts by looking for the needle in one run of all
texts.  Keys that cost little come first, so that files are opened only of messages
that the rest still depends on.
"""
from __future__ import annotations

import time
from array import array
from bisect import bisect_right
from itertools import compress

from courierpy.imap import ext
from courierpy.imap.attributes import LONG_TEXT
from courierpy.imap.commands import SELECTED, USES_SEQ, command
from courierpy.imap.commands.cmd_fetch import Subject
from courierpy.imap.grammar import lines, out, searchkeys
from courierpy.imap.grammar.dates import EPOCH
from courierpy.maildir.errors import MessageDenied, Vanished
from courierpy.message.collation import fold
from courierpy.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.searchkeys import Key
    from courierpy.imap.session import Session

CAPABILITIES = (b"I18NLEVEL=1",)       # texts are compared by i;unicode-casemap: RFC 5255 4.2
BITS = {b"SEEN": SEEN, b"ANSWERED": ANSWERED, b"FLAGGED": FLAGGED, b"DELETED": DELETED, b"DRAFT": DRAFT}
_HAS = {bit: bytes(bool(bits & bit) for bits in range(256)) for bit in BITS.values()}

# How dear a key is: 0 the view, 1 numbers, 2 headers, 3 whole messages.
VIEW, NUMBER, HEADERS, WHOLE = range(4)
COSTS = {b"BEFORE": NUMBER, b"ON": NUMBER, b"SINCE": NUMBER, b"SENTBEFORE": HEADERS, b"SENTON": HEADERS,
         b"SENTSINCE": HEADERS, b"LARGER": WHOLE, b"SMALLER": WHOLE, b"HEADER": HEADERS, b"BCC": HEADERS,
         b"CC": HEADERS, b"FROM": HEADERS, b"SUBJECT": HEADERS, b"TO": HEADERS, b"BODY": WHOLE,
         b"TEXT": WHOLE}
FIELDS = {b"BCC": "find-bcc", b"CC": "find-cc", b"FROM": "find-from", b"SUBJECT": "find-subject",
          b"TO": "find-to"}
# the kinds that a text is looked for in; the first brings the others along
BODY = ("find-body",)
TEXT = ("find-body", "find-header", "find-inner")
SPARSE = 8                             # of one in so many messages values are taken one by one
PIECE = 2000                           # messages whose texts are had at once


def _cost(key: Key) -> int:
    if key.name in (b"AND", b"OR"):
        return max(map(_cost, key.value), default=VIEW)
    if key.name == b"NOT":
        return _cost(key.value)
    return COSTS.get(key.name, HEADERS if key.name in ext.keys("search_keys") else VIEW)


class Program:
    """A search in one session's view.  A mask has a byte for each message: 1 or 0."""

    def __init__(self, session: Session) -> None:
        selected = session.need_selected()
        self.session = session
        self.view = selected.view
        self.uids = selected.view.uids
        self.count = len(self.uids)
        self.attributes = selected.attributes(session.limits)
        self.attributes.begin()

    def run(self, key: Key) -> list[int]:
        """Sequence numbers, ascending.  A message that vanished matches nothing that needs its file;
        one that cannot be read is one without a text."""
        found = self.mask(key, b"\1" * self.count)
        self.attributes.refuse(denied=False)
        if self.attributes.lost:
            found = _both(found, self._of_uids(self.attributes.lost).translate(_FLIP))
        return list(compress(range(1, self.count + 1), found))

    def mask(self, key: Key, within: bytes) -> bytes:
        """Which of the messages ``within`` match."""
        name, value = key.name, key.value
        if name == b"AND":
            for part in sorted(value, key=_cost):
                if 1 not in within:
                    break
                within = self.mask(part, within)
            return within
        if name == b"OR":
            first, second = sorted(value, key=_cost)
            one = self.mask(first, within)
            rest = _both(within, one.translate(_FLIP))
            return _either(one, self.mask(second, rest)) if 1 in rest else one
        if name == b"NOT":
            return _both(within, self.mask(value, within).translate(_FLIP))
        return _both(within, self._leaf(name, value, within))

    def _leaf(self, name: bytes, value: Any, within: bytes) -> bytes:
        """A mask that is right where ``within`` is 1."""
        if name == b"ALL":
            return within
        if name in BITS:
            return bytes(self.view.flags.translate(_HAS[BITS[name]]))
        if name.startswith(b"UN") and name[2:] in BITS:
            return bytes(self.view.flags.translate(_HAS[BITS[name[2:]]]).translate(_FLIP))
        if name in (b"KEYWORD", b"UNKEYWORD"):
            wanted = value.lower()
            have = self._of_uids([uid for uid, words in self.view.keywords.items()
                                  if any(word.lower() == wanted for word in words)])
            return have if name == b"KEYWORD" else have.translate(_FLIP)
        if name in (b"RECENT", b"OLD", b"NEW"):
            recent = self._of_uids(self.view.recent)
            if name == b"NEW":
                return _both(recent, self._leaf(b"UNSEEN", None, within))
            return recent if name == b"RECENT" else recent.translate(_FLIP)
        if name in (b"SEQSET", b"UID"):
            return self._numbers(name == b"UID", value)
        if name in (b"BEFORE", b"ON", b"SINCE"):
            return self._compare("date", "d", within, *_arrival(name, value))
        if name in (b"SENTBEFORE", b"SENTON", b"SENTSINCE"):
            low, high = _range(name[4:], value, value + 1)
            return self._compare("day", "q", within, max(low, 1), high)
        if name == b"LARGER":
            return self._compare("size", "q", within, value + 1, _MOST)
        if name == b"SMALLER":
            return self._compare("size", "q", within, 0, value)
        if name == b"HEADER":
            field, text = value
            if field.upper() not in FIELDS:
                return self._one_by_one(within, lambda subject: subject.told(
                    lambda message: message.header_contains(field, text), header=True))
            name, value = field.upper(), text
        if name in FIELDS:
            return self._find((FIELDS[name],), value, within)
        if name == b"BODY":
            return self._find(BODY, value, within) if value else within
        if name == b"TEXT":
            return self._find(TEXT, value, within) if value else within
        test: Callable[[Session, int, Any], bool] = ext.find("search_keys", name)[1]
        return self._one_by_one(within, lambda subject: test(self.session, subject.seq, value))

    # -- masks of several kinds

    def _of_uids(self, uids: Iterable[int]) -> bytes:
        found = bytearray(self.count)
        for uid in uids:
            seq = self.view.seq(uid)
            if seq:
                found[seq - 1] = 1
        return bytes(found)

    def _numbers(self, by_uid: bool, numbers: Any) -> bytes:
        found = bytearray(self.count)
        largest = (self.uids[-1] if self.uids else 0) if by_uid else self.count
        for low, high in numbers.resolve(largest):
            seqs = (self.view.seqs_of_uids if by_uid else self.view.seqs_in)([(low, high)])
            if seqs:
                found[seqs[0] - 1:seqs[-1]] = b"\1" * len(seqs)
        return bytes(found)

    def _some(self, within: bytes) -> array[int]:
        """The UIDs ``within``."""
        return array("I", compress(self.uids, within))

    def _spread(self, within: bytes, found: Iterable[object]) -> bytes:
        """A mask of all messages from one truth for each ``within``."""
        mask = bytearray(self.count)
        for at, true in zip(compress(range(self.count), within), found, strict=True):
            if true:
                mask[at] = 1
        return bytes(mask)

    def _compare(self, kind: str, typecode: str, within: bytes, low: float, high: float) -> bytes:
        """Numbers from ``low`` to below ``high``."""
        if within.count(1) * SPARSE < self.count:
            found = self.attributes.numbers(kind, self._some(within), typecode)
            return self._spread(within, [value is not None and low <= value < high for value in found])
        return bytes([value is not None and low <= value < high
                      for value in self.attributes.numbers(kind, self.uids, typecode)])

    def _find(self, kinds: Sequence[str], text: str, within: bytes) -> bytes:
        """Texts that hold ``text``."""
        needle = fold(text).encode("utf-8", "surrogatepass") or b"\n"         # "": is there a text at all?
        if within.count(1) * SPARSE < self.count:
            return self._spread(within, self._in_values(kinds, needle, self._some(within)))
        if kinds in (BODY, TEXT):
            return self._find_in_pieces(kinds, needle)
        mask = bytearray(self.count)
        for kind in kinds:
            column = self.attributes.column(kind, self.uids)
            for row in _rows(column.blob, column.ends, needle):
                mask[row] = 1
        return bytes(mask)

    def _in_values(self, kinds: Sequence[str], needle: bytes, uids: array[int],
                   known: bool = True) -> list[bool]:
        found = []
        for start, _, values in self.attributes.pieces(kinds, uids, PIECE, known):
            found += [any(value is not None and needle in value for value in texts)
                      or LONG_TEXT in texts and self._in_long(kinds, texts, uids[start + at], needle)
                      for at, texts in enumerate(zip(*values, strict=True))]
        return found

    def _in_long(self, kinds: Sequence[str], texts: Sequence[bytes | None], uid: int, needle: bytes) -> bool:
        """The same in those texts of a message that are too long to be kept."""
        return self.attributes.has_text([kind for kind, text in zip(kinds, texts, strict=True)
                                     if text == LONG_TEXT], uid, needle)

    def _find_in_pieces(self, kinds: Sequence[str], needle: bytes) -> bytes:
        """Segment by segment, so that the memory needed does not grow with the folder; what
        is in none of them is computed for all kinds at once."""
        hits: list[int] = []
        unknown: set[int] = set()
        long: dict[int, list[str]] = {}
        for kind in kinds:
            left = set(self.uids)
            for uids, ends, blob in self.attributes.folder.cache.segments(kind):
                left.difference_update(uids)
                hits += [uids[row] for row in _rows(blob, ends, needle)]
                for row in _rows(blob, ends, LONG_TEXT):
                    if blob[ends[row - 1] if row else 0:ends[row]] == LONG_TEXT:
                        long.setdefault(uids[row], []).append(kind)
            unknown |= left
        others = array("I", sorted(unknown))
        hits += compress(others, self._in_values(kinds, needle, others, known=False))
        hits += [uid for uid in sorted(long.keys() - unknown - {*hits})
                 if self.view.seq(uid) and self.attributes.has_text(long[uid], uid, needle)]
        return self._of_uids(hits)

    def _one_by_one(self, within: bytes, test: Callable[[Subject], bool]) -> bytes:
        mask = bytearray(self.count)
        for seq in compress(range(1, self.count + 1), within):
            subject = Subject(self.session, seq)
            try:
                with subject:
                    try:
                        mask[seq - 1] = test(subject)
                    except MessageDenied:
                        self.attributes.unreadable(subject.uid)
                        subject.leave_out_text()
                        mask[seq - 1] = test(subject)
            except Vanished:
                self.attributes.lost.add(self.uids[seq - 1])
        return bytes(mask)


def _rows(blob: bytes, ends: array[int], needle: bytes) -> Iterator[int]:
    """Which of the texts that stand in ``blob`` hold ``needle``."""
    at = blob.find(needle)
    while at >= 0:
        row = bisect_right(ends, at)
        yield row
        at = blob.find(needle, ends[row])


_FLIP = bytes([1, 0]) + bytes(254)         # what is matched is not, and the reverse
_MOST = 1 << 62


def _both(one: bytes, two: bytes) -> bytes:
    return (int.from_bytes(one, "little") & int.from_bytes(two, "little")).to_bytes(len(one), "little")


def _either(one: bytes, two: bytes) -> bytes:
    return (int.from_bytes(one, "little") | int.from_bytes(two, "little")).to_bytes(len(one), "little")


def _range(name: bytes, start: float, end: float) -> tuple[float, float]:
    """What BEFORE, ON or SINCE a day that lasts from ``start`` to ``end`` is."""
    return (-_MOST if name == b"BEFORE" else start), (start if name == b"BEFORE" else
                                                      end if name == b"ON" else _MOST)


def _arrival(name: bytes, day: int) -> tuple[float, float]:
    """INTERNALDATE by days of the server's time zone."""
    return _range(name, _midnight(day), _midnight(day + 1))


def _midnight(day: int) -> float:
    """When the day with this ordinal begins here."""
    when = time.gmtime((day - EPOCH) * 86400)
    return time.mktime((when.tm_year, when.tm_mon, when.tm_mday, 0, 0, 0, 0, 0, -1))


def run(session: Session, key: Key) -> list[int]:
    """Sequence numbers of the messages that match, ascending."""
    return Program(session).run(key)


def keys_of_extensions() -> dict[bytes, Callable[[Args], Any]]:
    """What extensions add to the grammar of search keys."""
    return {name: ext.find("search_keys", name)[0] for name in ext.keys("search_keys")}


def numbers(session: Session, seqs: Iterable[int], by_uid: bool) -> list[int]:
    """What the client is told: the sequence numbers, or their UIDs."""
    if not by_uid:
        return list(seqs)
    uids = session.need_selected().view.uids
    return [uids[seq - 1] for seq in seqs]


def search(session: Session, args: Args) -> str:
    args.sp()
    options = searchkeys.take_returns(args, ext.keys("search_returns"))
    key = searchkeys.parse(args, keys_of_extensions())
    args.end()

    by_uid = args.command == b"UID SEARCH"
    if options is None:
        found = numbers(session, run(session, key), by_uid)
        session.write(lines.numbers(b"SEARCH", found))
        return "SEARCH done."
    options = options or [b"ALL"]
    found = numbers(session, run(session, key), by_uid)
    values = [b"(TAG %s)" % out.quoted(args.tag)]
    if by_uid:
        values.append(b"UID")
    for option in dict.fromkeys(options):
        value = ext.find("search_returns", option)(found)
        if value is not None:
            values += option, value
    session.write(lines.data(b"ESEARCH", *values))
    return "SEARCH done."


command(b"SEARCH", when=SELECTED, flags=USES_SEQ, rights="r")(search)
command(b"UID SEARCH", when=SELECTED, rights="r")(search)
