"""What SEARCH asks of messages: a key is one record.  RFC 9051 6.4.4, RFC 3501 6.4.4.

A program is a tree of keys.  What a key says of all messages is a mask, a byte for
each: flags become one by a table, texts by looking for the needle in one run of all
texts.  Keys that cost little come first, so that files are opened only of messages
that the rest still depends on.  The keys of the RFCs named above are the table here;
extensions plug theirs into ``search_keys``.
"""
from __future__ import annotations

import time
from array import array
from bisect import bisect_right
from functools import partial
from itertools import compress

from courierpy.imap.attributes import LONG_TEXT
from courierpy.imap.commands.numbers import saved
from courierpy.imap.fetch import Subject
from courierpy.imap.grammar import searchkeys
from courierpy.imap.grammar.dates import EPOCH
from courierpy.imap.grammar.searchkeys import MAX_KEYS, Key, rewritten, uses_numbers
from courierpy.imap.records import Records
from courierpy.maildir.errors import MessageDenied, Vanished
from courierpy.message import collation
from courierpy.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from courierpy.model.replies import Bad, UidRequired
from courierpy.system import pulse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.searchkeys import Grammar
    from courierpy.imap.session import Session

    Mask = Callable[["Program", Any, bytes], bytes]

# How dear a key is: the view, numbers, headers, whole messages.
VIEW, NUMBER, HEADERS, WHOLE = range(4)
# the kinds that a text is looked for in; the first brings the others along
BODY = ("find-body",)
TEXT = ("find-body", "find-header", "find-inner")
SPARSE = 8                             # of one in so many messages values are taken one by one
PIECE = 2000                           # messages whose texts are had at once


class SearchKey:
    """A key of SEARCH.

    ``mask``: function (Program, value, mask) giving a mask that is right where that mask is 1.
    ``cost``: one of VIEW to WHOLE, or a function of the value that gives it.  ``parse``: function
    (Parser) giving the value, of what stands behind the name, the blank included; by default nothing
    may.  None: the name is no word of a client.  ``prepare``: function (session), called before the search.
    ``expand``: function (session, value) giving the key that stands for this one, which has none of its kind
    in it.  Raises Bad or No.
    ``besides``: function (session, sequence numbers) giving what is told of those that are told, where
    the key was used; as (word, value), None for nothing.  ``chooses``: it names messages by their numbers.
    """

    __slots__ = ("besides", "chooses", "cost", "expand", "mask", "parse", "prepare")

    def __init__(self, mask: Mask, cost: int | Callable[[Any], int] = VIEW,
                 parse: Grammar | None = searchkeys.nothing,
                 prepare: Callable[[Session], None] | None = None,
                 besides: Callable[[Session, list[int]], tuple[bytes, bytes] | None] | None = None,
                 expand: Callable[[Session, Any], Key] | None = None, chooses: bool = False) -> None:
        self.mask = mask
        self.cost = cost
        self.parse = parse
        self.prepare = prepare
        self.besides = besides
        self.expand = expand
        self.chooses = chooses


class Needle:
    """A text that is looked for in folded texts.  ``octets``: the text, folded."""

    __slots__ = ("octets",)

    def __init__(self, text: str) -> None:
        # "": is there a text at all?
        self.octets = collation.fold(text).encode("utf-8", "surrogatepass") or b"\n"

    def find(self, blob: bytes, start: int = 0) -> int:
        """Where it begins in ``blob``, from ``start`` on; -1 where it is not."""
        return blob.find(self.octets, start)


def parse(session: Session, args: Args, charset: str | None = None) -> Key:
    """A whole search program up to the end of the command, as searchkeys.parse; for keys that stand for
    others there are those.  Raises Bad or No."""
    def expanded(key: Key) -> Key | None:
        expand = KEYS.need(key.name).expand
        return None if expand is None else expand(session, key.value)
    asked = searchkeys.parse(args, KEYS.find, charset)
    args.end()
    found = rewritten(asked, expanded)
    if len(found.each) > MAX_KEYS:
        raise Bad("Too many search keys.")
    return found


def cost(key: Key) -> int:
    """How dear a key is, with all that it holds."""
    dear = KEYS.need(key.name).cost
    return dear if isinstance(dear, int) else dear(key.value)


def besides(session: Session, key: Key, seqs: Iterable[int]) -> list[tuple[bytes, bytes]]:
    """What keys that were used have to say of the messages ``seqs`` that are told: words and values."""
    says = [says for name in key.names if (says := KEYS.need(name).besides) is not None]
    if not says:
        return []
    told = sorted(set(seqs))
    return [word for one in says if (word := one(session, told)) is not None]


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
        self.lowest = 0                    # UID of the last that was looked at, where not all were

    def run(self, key: Key, within: bytes | None = None, most: int = 0) -> array[int]:
        """Sequence numbers, ascending; of the messages ``within``, by default of all.  ``most``: messages
        that are looked at, 0 for any; of those that the key names by their numbers the ones with the highest
        UIDs.

        A message that vanished matches nothing that needs its file; one that cannot be read is one
        without a text."""
        if within is None:
            within = b"\1" * self.count
        if most and self.count > most:
            within = self._highest(key, within, most)
        found = self.mask(key, within)
        self.attributes.refuse(denied=False)
        if self.attributes.lost:
            found = both(found, inverse(self.of_uids(self.attributes.lost)))
        if found.count(1) * SPARSE > self.count:
            return array("I", compress(range(1, self.count + 1), found))
        seqs, at = array("I"), found.find(1)
        while at >= 0:
            at += 1
            seqs.append(at)
            at = found.find(1, at)
        return seqs

    def mask(self, key: Key, within: bytes) -> bytes:
        """Which of the messages ``within`` match."""
        found = KEYS.need(key.name).mask(self, key.value, within)
        return both(within, found) if 0 in within else found

    def _highest(self, key: Key, within: bytes, most: int) -> bytes:
        """``lowest`` is the UID of the last that is looked at, where there are more."""
        for part in key.value if key.name == b"AND" else [key]:
            if KEYS.need(part.name).chooses:
                within = self.mask(part, within)
        rows = list(compress(range(self.count), within))
        if len(rows) <= most:
            return within
        self.lowest = self.uids[rows[-most]]
        return both(within, self.of_range(self.lowest, self.uids[-1]))

    # -- masks of several kinds

    def of_range(self, low: int, high: int) -> bytes:
        """The messages with UIDs from ``low`` to ``high``, both included."""
        found = bytearray(self.count)
        seqs = self.view.seqs_of_uids([(low, high)]) if low <= high else ()
        if seqs:
            found[seqs[0] - 1:seqs[-1]] = b"\1" * len(seqs)
        return bytes(found)

    def of_uids(self, uids: Iterable[int]) -> bytes:
        found = bytearray(self.count)
        for uid in uids:
            seq = self.view.seq(uid)
            if seq:
                found[seq - 1] = 1
        return bytes(found)

    def of_numbers(self, by_uid: bool, numbers: Any) -> bytes:
        found = bytearray(self.of_uids(saved(self.session)) if numbers.saved else self.count)
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

    def compare(self, kind: str, typecode: str, within: bytes, low: float, high: float) -> bytes:
        """Numbers from ``low`` to below ``high``."""
        if within.count(1) * SPARSE < self.count:
            found = self.attributes.numbers(kind, self._some(within), typecode)
            return self._spread(within, [value is not None and low <= value < high for value in found])
        return bytes([value is not None and low <= value < high
                      for value in self.attributes.numbers(kind, self.uids, typecode)])

    def find(self, kinds: Sequence[str], needle: Needle, within: bytes) -> bytes:
        """Texts that hold what is looked for."""
        whole = kinds in (BODY, TEXT)
        kinds = [collation.kind(name) for name in kinds]
        if within.count(1) * SPARSE < self.count:
            return self._spread(within, self._in_values(kinds, needle, self._some(within)))
        if whole:
            return self._find_in_pieces(kinds, needle)
        mask = bytearray(self.count)
        for kind in kinds:
            column = self.attributes.column(kind, self.uids)
            for row in _rows(column.ends, partial(needle.find, column.blob)):
                mask[row] = 1
        return bytes(mask)

    def _in_values(self, kinds: Sequence[str], needle: Needle, uids: array[int],
                   known: bool = True) -> list[bool]:
        found = []
        for start, _, values in self.attributes.pieces(kinds, uids, PIECE, known):
            found += [any(value is not None and needle.find(value) >= 0 for value in texts)
                      or LONG_TEXT in texts and self._in_long(kinds, texts, uids[start + at], needle)
                      for at, texts in enumerate(zip(*values, strict=True))]
        return found

    def _in_long(self, kinds: Sequence[str], texts: Sequence[bytes | None], uid: int, needle: Needle) -> bool:
        """The same in those texts of a message that are too long to be kept."""
        return self.attributes.has_text([kind for kind, text in zip(kinds, texts, strict=True)
                                     if text == LONG_TEXT], uid, needle.octets)

    def _find_in_pieces(self, kinds: Sequence[str], needle: Needle) -> bytes:
        """Segment by segment, so that the memory needed does not grow with the folder; what
        is in none of them is computed for all kinds at once."""
        hits: list[int] = []
        unknown: set[int] = set()
        long: dict[int, list[str]] = {}
        for kind in kinds:
            left = set(self.uids)
            for uids, ends, blob in self.attributes.folder.cache.segments(kind):
                left.difference_update(uids)
                hits += [uids[row] for row in _rows(ends, partial(needle.find, blob))]
                for row in _rows(ends, partial(blob.find, LONG_TEXT)):
                    if blob[ends[row - 1] if row else 0:ends[row]] == LONG_TEXT:
                        long.setdefault(uids[row], []).append(kind)
            unknown |= left
        others = array("I", sorted(unknown))
        hits += compress(others, self._in_values(kinds, needle, others, known=False))
        hits += [uid for uid in sorted(long.keys() - unknown - {*hits})
                 if self.view.seq(uid) and self.attributes.has_text(long[uid], uid, needle.octets)]
        return self.of_uids(hits)

    def one_by_one(self, within: bytes, test: Callable[[Subject], bool]) -> bytes:
        mask = bytearray(self.count)
        for seq in compress(range(1, self.count + 1), within):
            pulse.step(seq - 1, self.count)
            subject = Subject(self.session, self.attributes.reading, seq, self.uids[seq - 1])
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


def _rows(ends: array[int], find: Callable[[int], int]) -> Iterator[int]:
    """Which of the texts that stand in one run hold something.  ``ends``: where each of them ends; ``find``:
    from a place on, where that something is next, or -1."""
    at = find(0)
    while at >= 0:
        row = bisect_right(ends, at)
        yield row
        at = find(ends[row])


_FLIP = bytes([1, 0]) + bytes(254)         # what is matched is not, and the reverse
MOST = 1 << 62                             # above all numbers of messages: octets, seconds, days


def inverse(mask: bytes) -> bytes:
    """1 where the mask is 0, and the reverse."""
    return mask.translate(_FLIP)


def both(one: bytes, two: bytes) -> bytes:
    """1 where both masks are."""
    return (int.from_bytes(one, "little") & int.from_bytes(two, "little")).to_bytes(len(one), "little")


def either(one: bytes, two: bytes) -> bytes:
    """1 where one of the masks is."""
    return (int.from_bytes(one, "little") | int.from_bytes(two, "little")).to_bytes(len(one), "little")


def prepare(session: Session, key: Key) -> None:
    """What is to be done before a search for ``key``.  Raises Bad, also where messages must not be named as
    it names them."""
    if not session.manners.numbered and uses_numbers(key):
        raise UidRequired
    for name in key.names:
        first = KEYS.need(name).prepare
        if first is not None:
            first(session)


def run(session: Session, key: Key) -> array[int]:
    """Sequence numbers of the messages that match, ascending.  Raises Bad where they must not be named so."""
    return run_within(session, key)[0]


def run_within(session: Session, key: Key, most: int = 0) -> tuple[array[int], int]:
    """The same, of no more than ``most`` messages, 0 for any; and the lowest UID that was looked at, 0 where
    all were."""
    prepare(session, key)
    program = Program(session)
    return program.run(key, most=most), program.lowest


# -- the keys of the base

def _and(program: Program, value: list[Key], within: bytes) -> bytes:
    for part in sorted(value, key=cost):
        if 1 not in within:
            break
        within = program.mask(part, within)
    return within


def _or(program: Program, value: tuple[Key, Key], within: bytes) -> bytes:
    first, second = sorted(value, key=cost)
    one = program.mask(first, within)
    rest = both(within, inverse(one))
    return either(one, program.mask(second, rest)) if 1 in rest else one


def _not(program: Program, value: Key, within: bytes) -> bytes:
    return inverse(program.mask(value, within))


def _dearest(value: Iterable[Key]) -> int:
    return max(map(cost, value), default=VIEW)


def _flag(bit: int, is_set: bool = True) -> SearchKey:
    has = bytes(bool(bits & bit) is is_set for bits in range(256))
    return SearchKey(lambda program, value, within: bytes(program.view.flags.translate(has)))


def _keyword(program: Program, value: bytes, within: bytes) -> bytes:
    wanted = value.lower()
    return program.of_uids([uid for uid, words in program.view.keywords.items()
                            if any(word.lower() == wanted for word in words)])


def _recent(program: Program, value: None, within: bytes) -> bytes:
    return program.of_uids(program.view.recent)


def _new(program: Program, value: None, within: bytes) -> bytes:
    return both(_recent(program, value, within), KEYS[b"UNSEEN"].mask(program, value, within))


def _range(name: bytes, start: float, end: float) -> tuple[float, float]:
    """What BEFORE, ON or SINCE a day that lasts from ``start`` to ``end`` is."""
    return (-MOST if name == b"BEFORE" else start), (start if name == b"BEFORE" else
                                                     end if name == b"ON" else MOST)


def moments(name: bytes, day: int) -> tuple[float, float]:
    """From when to when BEFORE, ON or SINCE this day (an ordinal) is, in seconds since 1970."""
    return _range(name, _midnight(day), _midnight(day + 1))


def _midnight(day: int) -> float:
    """When the day with this ordinal begins here."""
    when = time.gmtime((day - EPOCH) * 86400)
    return time.mktime((when.tm_year, when.tm_mon, when.tm_mday, 0, 0, 0, 0, 0, -1))


def _arrived(name: bytes) -> SearchKey:
    """INTERNALDATE by days of the server's time zone."""
    def mask(program: Program, value: int, within: bytes) -> bytes:
        return program.compare("date", "d", within, *moments(name, value))
    return SearchKey(mask, NUMBER, searchkeys.date)


def _sent(name: bytes) -> SearchKey:
    """By the day that the Date field names."""
    def mask(program: Program, value: int, within: bytes) -> bytes:
        low, high = _range(name, value, value + 1)
        return program.compare("day", "q", within, max(low, 1), high)
    return SearchKey(mask, HEADERS, searchkeys.date)


FIELDS = {b"BCC": "find-bcc", b"CC": "find-cc", b"FROM": "find-from", b"SUBJECT": "find-subject",
          b"TO": "find-to"}


def _field(kind: str) -> SearchKey:
    return SearchKey(lambda program, value, within: program.find((kind,), Needle(value), within), HEADERS,
                     searchkeys.text)


def _header(program: Program, value: tuple[bytes, str], within: bytes) -> bytes:
    field, text = value
    kind = FIELDS.get(field.upper()) or program.attributes.asked.field(field)
    return program.find((kind,), Needle(text), within)


def _text(kinds: Sequence[str]) -> SearchKey:
    return SearchKey(lambda program, value, within: program.find(kinds, Needle(value), within) if value
                     else within,
                     WHOLE, searchkeys.text)


KEYS: Records[SearchKey] = Records("search_keys", {
    b"AND": SearchKey(_and, _dearest, None), b"OR": SearchKey(_or, _dearest, searchkeys.pair),
    b"NOT": SearchKey(_not, cost, searchkeys.negated),
    b"ALL": SearchKey(lambda program, value, within: within),
    b"ANSWERED": _flag(ANSWERED), b"DELETED": _flag(DELETED), b"DRAFT": _flag(DRAFT),
    b"FLAGGED": _flag(FLAGGED), b"SEEN": _flag(SEEN),
    b"UNANSWERED": _flag(ANSWERED, False), b"UNDELETED": _flag(DELETED, False),
    b"UNDRAFT": _flag(DRAFT, False), b"UNFLAGGED": _flag(FLAGGED, False), b"UNSEEN": _flag(SEEN, False),
    b"KEYWORD": SearchKey(_keyword, parse=searchkeys.string),
    b"UNKEYWORD": SearchKey(lambda program, value, within: inverse(_keyword(program, value, within)),
                            parse=searchkeys.string),
    b"RECENT": SearchKey(_recent), b"NEW": SearchKey(_new),
    b"OLD": SearchKey(lambda program, value, within: inverse(_recent(program, value, within))),
    b"SEQSET": SearchKey(lambda program, value, within: program.of_numbers(False, value), parse=None,
                         chooses=True),
    b"UID": SearchKey(lambda program, value, within: program.of_numbers(True, value),
                      parse=searchkeys.numbers, chooses=True),
    b"BEFORE": _arrived(b"BEFORE"), b"ON": _arrived(b"ON"), b"SINCE": _arrived(b"SINCE"),
    b"SENTBEFORE": _sent(b"BEFORE"), b"SENTON": _sent(b"ON"), b"SENTSINCE": _sent(b"SINCE"),
    b"LARGER": SearchKey(lambda program, value, within: program.compare("size", "q", within, value + 1, MOST),
                         WHOLE, searchkeys.number),
    b"SMALLER": SearchKey(lambda program, value, within: program.compare("size", "q", within, 0, value),
                          WHOLE, searchkeys.number),
    **{name: _field(kind) for name, kind in FIELDS.items()},
    b"HEADER": SearchKey(_header, HEADERS, searchkeys.header),
    b"BODY": _text(BODY), b"TEXT": _text(TEXT),
})
