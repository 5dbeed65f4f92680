"""What is told of many messages at once: from the cache, else from their files, and then
it is in the cache.

A kind of value is a row of the table: how much of a message it needs, and how it
follows from that.  All values are bytes; numbers are eight octets.  The cache keeps
them apart by the rules that they are computed by: VERSION, the interpreter (its tables
of characters), and the limits of the settings.
"""
from __future__ import annotations

import errno
import os
import struct
import sys
import time
from array import array
from itertools import accumulate, zip_longest

from courierpy.imap import ext
from courierpy.imap.reading import Reading, TooLong
from courierpy.maildir.errors import DiskTrouble, MessageDenied, StoreError, Vanished
from courierpy.maildir.index.segments import END, NUMBER_OCTETS, Texts
from courierpy.maildir.index.valuecache import Column
from courierpy.maildir.messagefile import WRITING
from courierpy.message import Message, collation, searchtext, streamed
from courierpy.message.collation import key as collation_key
from courierpy.model.strings import char8
from courierpy.system import log, proc, pulse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from courierpy.maildir.index.valuecache import Cache
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.message.mime import Limits
    from courierpy.model.section import Section

    Ways = list[tuple[str, Callable[[Message], bytes] | None]]     # kinds, and how they follow from a message

VERSION = 10                       # to be raised when some value is another one for the same message
HEADER, WHOLE = True, False        # how much of a message is needed
FEW = 4                            # messages whose files are read sooner than a large column is looked into
SHARED = 4                         # so many new values are written at once where others may want them
HELD_OCTETS = 16 << 20             # of values that are had at once
TEXT_OCTETS = 2 << 20              # of a folded text that is kept
PIECE = 500                        # messages whose values are put together at once
RUN = 32                           # messages whose texts stand one behind the other, or they are put so
ASKED = 12                         # kinds that are kept of those that clients make up, see SECTION and FIELD
NO_DATE = -(1 << 62)               # of a message without a Date
NUL = b"\0"

# What became of a message whose values were to be computed: not yet; it is gone; some value is too
# long; they are those of its file, which may change or will stay so; it may not be read; the disk does
# not give it.  The values of what cannot be read are those of a message without a text.
LATER, GONE, LONG, MAY_CHANGE, STAYS, DENIED, SICK = range(7)
LONG_TEXT = b"\0"                  # stands for a text that is too long to be kept

_PACKED, _LENGTH = struct.Struct("=B?H"), struct.Struct("=I")
_INT = struct.Struct("=q").pack
_FLOAT = struct.Struct("=d").pack


def _text(value: str | None) -> bytes:
    """A folded text; b"" for one that is not there, which an empty one is not."""
    return b"" if value is None else b"\n" + value.encode("utf-8", "surrogatepass") + b"\n"


def _searched(kind: str, message: Message) -> bytes:
    """A text of the whole message.  That of a large one is made piece by piece."""
    if isinstance(message.data, bytes):
        return _text(message.folded_body() if kind == "find-body" else searchtext.inner_lines(message.root))
    text = streamed.joined(STREAMED[kind](message.root), TEXT_OCTETS)
    return LONG_TEXT if text is None else b"\n" + text + b"\n"


def _ids(message: Message) -> bytes:
    own, refs = message.thread_ids()
    return NUL.join([own or b"", *refs])


def _subject_key(message: Message) -> bytes:
    key, reply = message.base_subject()
    return (b"R" if reply else b" ") + key.encode("utf-8", "surrogatepass")


def _mailbox(field: bytes) -> Callable[[Message], bytes]:
    return lambda message: collation_key(message.first_mailbox(field)).encode("utf-8", "surrogatepass")


def _folded(field: bytes) -> Callable[[Message], bytes]:
    return lambda message: _text(message.folded_header(field))


def _fields(section: Section) -> Callable[[Message], bytes]:
    """BODY[HEADER.FIELDS (...)].  Raises TooLong."""
    def chosen(message: Message) -> bytes:
        found = message.content(section)
        if found is not None and not isinstance(found, bytes):
            raise TooLong
        return char8(found or b"") + END
    return chosen


KINDS: dict[str, tuple[bool, Callable[[Message], bytes]]] = {
    "size": (WHOLE, lambda message: _INT(message.size)),
    "envelope": (HEADER, lambda message: message.envelope_bytes() + END),
    "envelope-utf8": (HEADER, lambda message: message.envelope_bytes(True) + END),
    "structure": (WHOLE, lambda message: message.structure_bytes(True) + END),
    "structure-utf8": (WHOLE, lambda message: message.structure_bytes(True, True) + END),
    "sent": (HEADER, lambda message: _FLOAT(NO_DATE if (sent := message.sent_time()) is None else sent)),
    "day": (HEADER, lambda message: _INT(message.sent_day() or 0)),
    "subject": (HEADER, _subject_key), "ids": (HEADER, _ids),
    "from": (HEADER, _mailbox(b"from")), "to": (HEADER, _mailbox(b"to")), "cc": (HEADER, _mailbox(b"cc")),
    "find-from": (HEADER, _folded(b"from")), "find-to": (HEADER, _folded(b"to")),
    "find-cc": (HEADER, _folded(b"cc")), "find-bcc": (HEADER, _folded(b"bcc")),
    "find-subject": (HEADER, _folded(b"subject")),
    "find-header": (HEADER, lambda message: _text(searchtext.lines(message.block))),
    "find-body": (WHOLE, lambda message: _searched("find-body", message)),
    "find-inner": (WHOLE, lambda message: _searched("find-inner", message)),
}


def _kind(name: str) -> tuple[bool, Callable[[Message], bytes]]:
    """The row of a kind; those of extensions too."""
    name = collation.plain(name)
    row: tuple[bool, Callable[[Message], bytes]] = KINDS.get(name) or ext.find("attributes", name.encode())
    return row


def _called(beginning: str, names: Sequence[bytes]) -> str:
    """The kind that begins so, of fields with these names."""
    text = b".".join(names).decode("latin-1")
    if len(text) > 150 or not text.isascii() or not b"".join(names).replace(b"-", b"").isalnum():
        from hashlib import sha256
        text = sha256(NUL.join(names)).hexdigest()
    return beginning + text


def _values(ways: Ways, told: Callable[[Callable[[Message], bytes]], bytes], date: float) -> dict[str, bytes]:
    """``told`` calls a function with the message."""
    return {name: _FLOAT(date) if way is None else told(way) for name, way in ways}


STREAMED = {"find-body": streamed.body, "find-inner": streamed.inner_lines}
DATE = "date"                      # INTERNALDATE in seconds: of the file, not of the message
# so many messages to be computed are worth other processes
MANY = {HEADER: 1000, WHOLE: 300}
SECTION = "fields."                # how the kinds of BODY[HEADER.FIELDS (...)] begin
FIELD = "find-field."              # and those of the fields that SEARCH HEADER looks into


def rules(limits: Limits) -> bytes:
    """By what values are computed, as the cache keeps it."""
    return struct.pack("=5I", VERSION, sys.hexversion >> 16, *(number & 0xFFFFFFFF for number in (
        limits.parts, limits.depth, limits.header)))


class Todo:
    """A message of which values are missing.  ``at``: its place among those that are asked
    for; ``rows``: the kinds; ``values``: of these, as far as ``state`` says that there are any.
    ``odd``: we could not make sense of it, as was said in the log."""

    __slots__ = ("at", "odd", "rows", "state", "uid", "values")

    def __init__(self, at: int, uid: int, rows: list[int]) -> None:
        self.at = at
        self.uid = uid
        self.rows = rows
        self.values: list[bytes] = []
        self.state = LATER
        self.odd = False

    def packed(self) -> bytes:
        """``state``, ``odd`` and ``values``, to be handed from one process to another."""
        return _PACKED.pack(self.state, self.odd, len(self.values)) + b"".join(
            [_LENGTH.pack(len(value)) + value for value in self.values])

    def unpack(self, data: bytes, at: int) -> int:
        """Take them from where they begin; gives where they end."""
        self.state, self.odd, count = _PACKED.unpack_from(data, at)
        at += _PACKED.size
        for _ in range(count):
            end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
            self.values.append(data[at + _LENGTH.size:end])
            at = end
        return at


def _texts(cache: Cache, kinds: Sequence[str], wanted: array[int]) -> list[Texts] | None:
    """The values of the first of these messages, as they are in the index; None where they are not there in
    such order that they are many."""
    found = []
    for kind in kinds:
        texts = cache.texts(kind, wanted)
        if texts is None or len(texts) < RUN and len(texts) < len(wanted):
            return None
        found.append(texts)
        wanted = wanted[:len(texts)]
    return [texts.first(len(wanted)) for texts in found]


def put_together(values: list[bytes | None], uids: array[int]) -> list[bytes | None] | Texts:
    """As Texts where they are many and none is missing."""
    if len(values) <= FEW or None in values:
        return values
    return Texts.of(uids[:len(values)], values)  # type: ignore[arg-type]


class Asked:
    """The kinds of one selected folder that follow from header fields with names of a client's choice.
    ``ways``: how, by kind."""

    def __init__(self, folder: Mailbox) -> None:
        self._folder = folder
        self.ways: dict[str, Callable[[Message], bytes]] = {}

    def fields(self, section: Section) -> str:
        """The kind of BODY[HEADER.FIELDS (...)], a section of the whole message."""
        kind = _called(f"{SECTION}{section.kind.decode()}.", sorted(name.upper() for name in section.fields))
        self._ask(kind, _fields(section), SECTION)
        return kind

    def field(self, name: bytes) -> str:
        """The kind of text that SEARCH HEADER looks into, for fields of this name."""
        kind = _called(FIELD, [name.upper()])
        self._ask(collation.kind(kind), _folded(name), FIELD)
        return kind

    def _ask(self, kind: str, way: Callable[[Message], bytes], beginning: str) -> None:
        """A client wants a kind that begins so, as it follows from a header."""
        if kind not in self.ways:
            self.ways[kind] = way
            cache = self._folder.cache
            others = [other for other in cache.kinds() if other.startswith(beginning) and other != kind]
            for other in others[:1 - ASKED]:
                cache.drop(other)          # one that asks ever differently does not fill the disk


class Attributes:
    """Of one selected folder.  UIDs of messages that were needed since begin() and could not be had:
    ``lost``: they are gone; ``denied``: they are there and may not be read, and count as messages
    without a text; ``sick``: the disk does not give them; ``long``: some value is too long to be held.
    ``passing``: some value was of a file that may be written to yet."""

    def __init__(self, folder: Mailbox, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        self.reading = Reading(folder, limits)
        self.lost: set[int] = set()
        self.denied: set[int] = set()
        self.sick: set[int] = set()
        self.long: set[int] = set()
        self.passing = False
        self._far = 0, 0                   # at which of how many messages pieces() is
        self._complained: set[int] = set()
        self.asked = Asked(folder)
        self._ways: tuple[Sequence[str], bool, Ways] = [], True, []
        folder.index.rules = rules(limits)

    def begin(self) -> None:
        """A command begins: what it misses is not known yet."""
        self.lost.clear()
        self.denied.clear()
        self.sick.clear()
        self.long.clear()
        self.passing = False

    def unreadable(self, uid: int, sick: bool = False) -> None:
        """This message is there and may not be read, or (``sick``) the disk does not give it; the
        log hears of it once."""
        (self.sick if sick else self.denied).add(uid)
        if uid not in self._complained:
            self._complained.add(uid)
            log.err(f"{self.folder.path}: uid {uid} cannot be read, and its text is left out")

    @property
    def lasting(self) -> bool:
        """Was all had that the command wanted, and will it be the same the next time?"""
        return not (self.lost or self.denied or self.sick or self.long or self.passing)

    def refuse(self, denied: bool) -> None:
        """Raises a store error if the disk did not give some message, or (``denied``) if one may
        not be read."""
        if self.sick:
            raise DiskTrouble(f"{self.folder.path}: uid {min(self.sick)}",
                              OSError(errno.EIO, os.strerror(errno.EIO)))
        if denied and self.denied:
            raise MessageDenied(f"{self.folder.path}: {len(self.denied)} messages may not be read")

    def values(self, kind: str, uids: Sequence[int]) -> list[bytes | None]:
        """In the order of ``uids``; None for a message that vanished."""
        return self.take([kind], uids)[0]

    def take(self, kinds: Sequence[str], uids: Sequence[int]) -> list[list[bytes | None]]:
        """Values of several kinds; a file that is needed is read once."""
        found: list[list[bytes | None]] = [[] for _ in kinds]
        for _, _, some in self.pieces(kinds, uids, len(uids)):
            for values, more in zip(found, some, strict=True):
                values += more
        return found

    def pieces(self, kinds: Sequence[str], uids: Sequence[int], rows: int, known: bool = True,
               ended: Sequence[bool] = ()) -> Iterator[tuple[int, int, list[Any]]]:
        """The same for some messages after the others: (from which, to which, their values).

        No more than ``rows`` of them, and no more than a few megabytes, however long the
        values are.  ``known``: False where nothing of it is in the cache.  ``ended``: of which kinds each
        value ends in END; these are Texts, where there are many and none is missing.
        """
        wanted = uids if isinstance(uids, array) else array("I", uids)
        cache = self.folder.cache
        ready = known and bool(ended) and all(ended)
        start = 0
        while start < len(wanted):
            some = wanted[start:start + rows]
            values: list[Any] | None = _texts(cache, kinds, some) if ready and len(some) > FEW else None
            if values is None:
                while known and len(some) > 1 and sum([
                        cache.weight(kind, some) for kind in kinds]) > HELD_OCTETS:
                    some = some[:len(some) // 2]
                self._far = start, len(wanted)
                values = self._take(kinds, some, known)
                values = [put_together(one, some) if joined else one
                          for one, joined in zip_longest(values, ended)]
            stop = start + (len(values[0]) if values else len(some))
            yield start, stop, values
            known = known or stop < start + len(some)      # some of the others were computed beside these
            start = stop

    def _take(self, kinds: Sequence[str], wanted: array[int], known: bool) -> list[list[bytes | None]]:
        """Of the first of these messages, at least of one."""
        cache = self.folder.cache
        few = len(wanted) <= FEW
        aside = [not known or few and cache.is_large(kind) for kind in kinds]
        found: list[list[bytes | None]] = [[None] * len(wanted) if passed else cache.values(kind, wanted)
                                           for kind, passed in zip(kinds, aside, strict=True)]
        if any(None in values for values in found):
            todo = [Todo(at, uid, rows) for at, uid in enumerate(wanted) if uid not in self.lost
                    and (rows := [row for row, values in enumerate(found) if values[at] is None])]
            self._compute_all(kinds, todo)
            for one in todo:
                self._fill(kinds, found, one, aside)
            if len(todo) >= SHARED and self.folder.place.readers.others():
                cache.flush()          # or each of them computes it too
            stop = min([one.at for one in todo if one.state == LATER], default=len(wanted))
            if stop < len(wanted):
                return [values[:stop] for values in found]
        return found

    def _compute_all(self, kinds: Sequence[str], todo: list[Todo]) -> None:
        """What is missing, by several processes where it is much and there are processors."""
        header, _ = self._ways_of(kinds)
        count = proc.processors() if len(todo) >= MANY[header] else 1
        shares = [todo[first::count] for first in range(count)]
        most = HELD_OCTETS // count

        def work(share: list[Todo]) -> Callable[[], bytes]:
            def packed() -> bytes:
                self._computed(kinds, share, most)
                return b"".join([one.packed() for one in share])
            return packed
        helpers = [(share, proc.elsewhere(work(share))) for share in shares[1:]]
        self._computed(kinds, shares[0], most)
        for share, result in helpers:
            data = result()
            if data is None:           # no process could be had, or it failed
                self._computed(kinds, share, most)
            else:
                at = 0
                for one in share:
                    at = one.unpack(data, at)
                    if one.odd:
                        self.reading.odd.add(one.uid)

    def _computed(self, kinds: Sequence[str], todo: list[Todo], most: int) -> None:
        """One after the other until the values have so many octets; the others stay for later."""
        start, goal = self._far
        for one in todo:
            pulse.step(start + one.at, goal)
            if most <= 0:
                return
            names = [kinds[row] for row in one.rows]
            try:
                values, stays = self.compute(names, one.uid)
                one.state = STAYS if stays else MAY_CHANGE
            except Vanished:
                one.state = GONE
                continue
            except TooLong:
                one.state = LONG
                continue
            except (MessageDenied, DiskTrouble) as why:
                values = self._without_text(names, one.uid)
                one.state = DENIED if isinstance(why, MessageDenied) else SICK
            one.odd = one.uid in self.reading.odd
            one.values = [values[name] for name in names]
            most -= sum(map(len, one.values))

    def _fill(self, kinds: Sequence[str], found: list[list[bytes | None]], one: Todo,
              aside: list[bool]) -> None:
        """Take what was computed of one message.  ``aside``: whether the cache was not asked."""
        cache = self.folder.cache
        if one.state == GONE:
            self.lost.add(one.uid)
        elif one.state == LONG:
            self.long.add(one.uid)
        elif one.state in (DENIED, SICK):
            self.unreadable(one.uid, one.state == SICK)
        self.passing = self.passing or one.state == MAY_CHANGE
        for row, value in zip(one.rows, one.values, strict=False):
            found[row][one.at] = value
            if one.state == STAYS and (not aside[row] or cache.is_beyond(kinds[row], one.uid)
                                       or len(found[row]) > FEW and not cache.has(kinds[row], one.uid)):
                cache.add(kinds[row], one.uid, value)

    def compute(self, names: Sequence[str], uid: int) -> tuple[dict[str, bytes], bool]:
        """(values of these kinds, will they stay so?) by the message's file.  Raises Vanished, TooLong."""
        if [*names] == [DATE]:
            when = self.folder.finder.stat(uid)[1]
            return {DATE: _FLOAT(when)}, time.time() - when > WRITING
        header, ways = self._ways_of(names)
        with self.reading.open(uid, header) as opened:
            values = _values(ways, opened.told, opened.file.mtime)
        return values, self.reading.finder.settled(uid, opened.file)

    def _ways_of(self, names: Sequence[str]) -> tuple[bool, Ways]:
        """(Is the header enough, how each of these kinds follows from a message; None: it does not)"""
        if self._ways[0] != names:     # of the messages before they were the same
            asked = self.asked.ways
            rows = [(HEADER, None) if name == DATE else (HEADER, asked[name]) if name in asked
                    else _kind(name) for name in names]
            self._ways = names, all(header for header, _ in rows), [
                (name, way) for name, (_, way) in zip(names, rows, strict=True)]
        return self._ways[1:]

    def _without_text(self, names: Sequence[str], uid: int) -> dict[str, bytes]:
        """The values of a message that cannot be read."""
        try:
            date = self.folder.finder.stat(uid)[1]
        except StoreError:
            date = 0.0
        empty = Message(b"", self.limits)
        return _values(self._ways_of(names)[1], lambda compute: compute(empty), date)

    def has_text(self, kinds: Sequence[str], uid: int, needle: bytes) -> bool:
        """Is the folded ``needle`` in a text of a message, whose texts are too long to be held?"""
        try:
            with self.reading.open(uid) as opened:
                return opened.told(lambda message: any(
                    streamed.contains(STREAMED[name](message.root), needle)
                    for name in map(collation.plain, kinds) if name in STREAMED))
        except Vanished:
            self.lost.add(uid)
        except (MessageDenied, DiskTrouble) as why:
            self.unreadable(uid, isinstance(why, DiskTrouble))
        return False

    def run(self, kind: str, uids: array[int]) -> bytes | None:
        """The values of a kind that is a number, NUMBER_OCTETS each, in one run; None where these are few or
        too many for that, or some must be computed."""
        if not FEW < len(uids) <= HELD_OCTETS // (2 * NUMBER_OCTETS):
            return None
        return self.folder.cache.run(kind, uids)

    def numbers(self, kind: str, uids: array[int], typecode: str = "q") -> Sequence[float | None]:
        """The values of a kind that is a number, "q" or "d"."""
        column = self.folder.cache.whole(kind, uids)
        if column is not None:
            return column.numbers(typecode)
        unpack = struct.Struct("=" + typecode).unpack
        return [None if value is None else unpack(value)[0] for value in self.values(kind, uids)]

    def column(self, kind: str, uids: array[int]) -> Column:
        """All values in one run; b"" for a message that vanished."""
        column = self.folder.cache.whole(kind, uids)
        if column is not None:
            return column
        ends, blobs = array("Q"), []
        for start in range(0, len(uids), PIECE):
            values = [value or b"" for value in self.values(kind, uids[start:start + PIECE])]
            last = ends[-1] if ends else 0
            ends.extend([last + end for end in accumulate(map(len, values))])
            blobs.append(b"".join(values))
        return Column(uids, ends, b"".join(blobs))
