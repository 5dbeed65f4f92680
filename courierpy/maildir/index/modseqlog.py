"""``modseq`` in the index: which message changed when, in MODSEQs.  RFC 7162 3.1, 3.2.

A change gets its number when a session that asked for MODSEQs first sees it: what the
directory says is compared with the state that the last numbers stand for, and what differs
is written down as one record, under the mailbox's lock.  So a change has one number, whoever
made it and however many look.  Sessions that did not ask write nothing.

The file begins with a base, the whole history as it was; records follow, and when they are
longer than the base it is written anew.  Each has a checksum.  Where the end is torn nobody
knows which numbers it gave: all messages get a new one, which costs a client more than it
needs and never hides a change.

Numbers are microseconds since 1970, or one more than the last where the clock is behind:
so numbers that a lost file gave, or that a crash took away, are not given again.
"""
from __future__ import annotations

import os
import struct
import time
from array import array
from bisect import bisect_left, bisect_right
from itertools import compress
from zlib import crc32

from courierpy.maildir.files import close, remove, write_all
from courierpy.model.messages import Messages
from courierpy.model.uidset import NO_UIDS, UidSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from courierpy.maildir.index.columns import Index
    from courierpy.model.messages import State

    Chain = tuple[int, array[int], "Chain | None"]

FILE = "modseq"
MAGIC = b"courierpy modseq 1\n\0" + struct.pack("=I", 0x01020304)      # the second word tells the byte order
MOST = 2 ** 53 - 1                 # the largest number that clients keep which count in floating point
EXPUNGED_RUNS = 8192               # runs of UIDs that are remembered as expunged
PIECE = 512                        # numbers that are looked at one by one when some of them differ
SLACK_OCTETS = 1 << 16             # of records, before the file is written anew
_BLOCK = struct.Struct("=II")      # octets of a block, and their checksum
_BASE = struct.Struct("=IIQQI")    # UIDVALIDITY, UIDNEXT, highest, horizon, expunged runs
_RECORD = struct.Struct("=QII")    # MODSEQ, UIDNEXT, expunged runs


def after(highest: int) -> int:
    """The number of a change that is seen now; ``highest``: the last one given."""
    now = time.time_ns() // 1000
    return max(highest + 1, now if now < MOST else 1)


class Record:
    """One number given: ``modseq``.  ``gone``: UIDs that are no more.  ``states``: what the messages are
    now that are new or have changed.  ``uidnext``: of the mailbox then."""

    __slots__ = ("gone", "modseq", "states", "uidnext")

    def __init__(self, modseq: int, uidnext: int, gone: UidSet, states: Messages) -> None:
        self.modseq = modseq
        self.uidnext = uidnext
        self.gone = gone
        self.states = states

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and (self.modseq, self.uidnext, self.gone, self.states) == (
            other.modseq, other.uidnext, other.gone, other.states)

    __hash__ = None  # type: ignore[assignment]

    def pack(self) -> bytes:
        runs = array("I", [end for run in self.gone.runs for end in run])
        return (_RECORD.pack(self.modseq, self.uidnext, len(runs) // 2) + runs.tobytes()
                + self.states.pack())

    @classmethod
    def unpack(cls, data: memoryview) -> Record:
        """Raises ValueError."""
        try:
            modseq, uidnext, many = _RECORD.unpack_from(data)
        except struct.error as error:
            raise ValueError(str(error)) from None
        runs = _array("I", data, _RECORD.size, 2 * many)
        return cls(modseq, uidnext, UidSet(zip(runs[::2], runs[1::2], strict=True)),
                   Messages.unpack(data[_RECORD.size + 8 * many:]))


class Expunged:
    """Runs of UIDs that are no more, in the order of the MODSEQs that they went with.  Never changed once
    made.  All are known that went after ``horizon``."""

    __slots__ = ("_firsts", "_lasts", "_modseqs", "horizon")

    def __init__(self, horizon: int, modseqs: array[int] | None = None, firsts: array[int] | None = None,
                 lasts: array[int] | None = None) -> None:
        self.horizon = horizon
        self._modseqs = array("Q") if modseqs is None else modseqs
        self._firsts = array("I") if firsts is None else firsts
        self._lasts = array("I") if lasts is None else lasts

    def __len__(self) -> int:
        return len(self._modseqs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expunged) and (self.horizon, self._modseqs, self._firsts, self._lasts) == (
            other.horizon, other._modseqs, other._firsts, other._lasts)

    __hash__ = None  # type: ignore[assignment]

    def since(self, modseq: int) -> UidSet:
        """What went with a higher number, as far as it is remembered."""
        at = bisect_right(self._modseqs, modseq)
        return UidSet(sorted(zip(self._firsts[at:], self._lasts[at:], strict=True)))

    def and_then(self, modseq: int, gone: UidSet) -> Expunged:
        """With those that went now; the oldest are forgotten when they are too many."""
        runs = gone.runs
        modseqs = self._modseqs + array("Q", [modseq]) * len(runs)
        firsts = self._firsts + array("I", [first for first, _ in runs])
        lasts = self._lasts + array("I", [last for _, last in runs])
        horizon = self.horizon
        if len(modseqs) > EXPUNGED_RUNS:
            # a good part at once; and all that went with one number, as the horizon is one
            horizon = modseqs[len(modseqs) - EXPUNGED_RUNS * 3 // 4 - 1]
            first = bisect_right(modseqs, horizon)
            modseqs, firsts, lasts = modseqs[first:], firsts[first:], lasts[first:]
        return Expunged(horizon, modseqs, firsts, lasts)

    def pack(self) -> bytes:
        return self._modseqs.tobytes() + self._firsts.tobytes() + self._lasts.tobytes()

    @classmethod
    def unpack(cls, horizon: int, many: int, data: memoryview, at: int) -> Expunged:
        """``many`` runs at ``at``.  Raises ValueError."""
        return cls(horizon, _array("Q", data, at, many), _array("I", data, at + 8 * many, many),
                   _array("I", data, at + 12 * many, many))


class History:
    """What is known of a mailbox's changes.  Never changed once made.

    ``messages``: with their MODSEQs, in the state that these stand for.  ``highest``: the last number
    given (HIGHESTMODSEQ).  ``expunged``: what is no more.  ``latest``: a number, and what has changed since
    it: the last number with its UIDs, and what was before.
    """

    __slots__ = ("_changes", "_since", "expunged", "highest", "messages", "uidnext", "uidvalidity")

    def __init__(self, uidvalidity: int, uidnext: int, highest: int, messages: Messages,
                 expunged: Expunged, latest: tuple[int, Chain | None] | None = None) -> None:
        self._since, self._changes = latest if latest is not None else (highest, None)
        self.uidvalidity = uidvalidity
        self.uidnext = uidnext
        self.highest = highest
        self.messages = messages
        self.expunged = expunged

    @classmethod
    def begun(cls, uidvalidity: int, uidnext: int, messages: Messages, number: int) -> History:
        """Of a mailbox whose past nobody knows: all has one number, and what was expunged is unknown."""
        modseqs = array("Q", [number]) * len(messages)
        return cls(uidvalidity, uidnext, number,
                   Messages(messages.uids, messages.flags, messages.keywords, modseqs), Expunged(number))

    @property
    def modseqs(self) -> array[int]:
        """Of ``messages``."""
        modseqs = self.messages.modseqs
        assert modseqs is not None
        return modseqs

    def modseq(self, uid: int) -> int:
        """Of a message; that of the whole for one that is not there."""
        row = self.messages.find(uid)
        return self.modseqs[row] if row >= 0 else self.highest

    # -- growing

    def record(self, messages: Messages, uidnext: int, number: int) -> Record | None:
        """What has to be written down when ``messages`` is what is there; None for nothing.  ``number``: its
        MODSEQ.  A message that came and went since the last look counts as gone: its UID was given."""
        changes = messages.changed_since(self.messages)
        unseen = NO_UIDS
        if uidnext > self.uidnext:
            start = bisect_left(messages.uids, self.uidnext)
            unseen = UidSet([(self.uidnext, uidnext - 1)]) - UidSet.of(messages.uids[start:])
        if not changes and not unseen:
            return None
        uids = array("I", sorted(changes.new + changes.changed) if changes.new and changes.changed
                     else changes.new or changes.changed)
        rows = list(map(messages.find, uids))
        keywords = messages.keywords
        states = Messages(uids, bytes(map(messages.flags.__getitem__, rows)),
                          {uid: keywords[uid] for uid in uids if uid in keywords} if keywords else {})
        return Record(number, max(uidnext, self.uidnext), UidSet.of(changes.gone) | unseen, states)

    def followed(self, *records: Record) -> History:
        """With what records say, in their order.  A number that is not higher than the last one is taken for
        the next: order is what counts."""
        messages, expunged, highest, uidnext = self.messages, self.expunged, self.highest, self.uidnext
        uids, flags = messages.uids[:], bytearray(messages.flags)
        modseqs, keywords = self.modseqs[:], dict(messages.keywords)
        changes = self._changes
        for record in records:
            highest = max(record.modseq, highest + 1)
            uidnext = max(record.uidnext, uidnext)
            for first, last in reversed(record.gone.within(uids).runs if record.gone else ()):
                start, stop = bisect_left(uids, first), bisect_right(uids, last)
                for uid in uids[start:stop] if keywords else ():
                    keywords.pop(uid, None)
                del uids[start:stop], flags[start:stop], modseqs[start:stop]
            if record.gone:
                expunged = expunged.and_then(highest, record.gone)
            states = record.states
            for uid, bits in zip(states.uids, states.flags, strict=True):
                row = bisect_left(uids, uid)
                if row < len(uids) and uids[row] == uid:
                    flags[row], modseqs[row] = bits, highest
                else:                  # new, or one that was missed is back among the others
                    uids.insert(row, uid)
                    flags.insert(row, bits)
                    modseqs.insert(row, highest)
                if uid in states.keywords:
                    keywords[uid] = states.keywords[uid]
                elif keywords:
                    keywords.pop(uid, None)
            changes = highest, states.uids, changes
        if uids == messages.uids:
            uids = messages.uids       # once in memory
        return History(self.uidvalidity, uidnext, highest, Messages(uids, bytes(flags), keywords, modseqs),
                       expunged, (self._since, changes))

    def sharing(self, messages: Messages) -> History:
        """The same with the columns of ``messages``, which are equal, once in memory."""
        return History(self.uidvalidity, self.uidnext, self.highest,
                       Messages(messages.uids, messages.flags, messages.keywords, self.modseqs),
                       self.expunged, (self._since, self._changes))

    def agrees(self, messages: Messages, uidnext: int) -> bool:
        """Has all of this its number?"""
        mine = self.messages
        return uidnext <= self.uidnext and mine.flags == messages.flags and (
            mine.uids is messages.uids or mine.uids == messages.uids) and mine.keywords == messages.keywords

    # -- asking

    def changed_since(self, modseq: int) -> list[int]:
        """The UIDs of messages with a higher number, ascending."""
        if modseq >= self.highest:
            return []
        uids, modseqs = self.messages.uids, self.modseqs
        found: list[int] = []
        if modseq >= self._since:      # no need to look at all of them
            changes = self._changes
            some: set[int] = set()
            while changes is not None and changes[0] > modseq:
                some.update(changes[1])
                changes = changes[2]
            return [uid for uid in sorted(some) if self.messages.find(uid) >= 0]
        for start in range(0, len(uids), PIECE):
            numbers = modseqs[start:start + PIECE]
            if numbers[1:] != numbers[:-1]:
                found += compress(uids[start:start + PIECE], map(modseq.__lt__, numbers))
            elif numbers[0] > modseq:      # they came together
                found += uids[start:start + PIECE]
        return found

    def vanished_since(self, modseq: int, asked: UidSet) -> UidSet:
        """Those of the UIDs ``asked`` that were given and are no more, and went after ``modseq``; where that
        is before all that is remembered, whenever they went.  RFC 7162 3.2.6."""
        if modseq >= self.highest:
            return NO_UIDS
        given = asked - UidSet([(self.uidnext, 0xFFFFFFFF)])
        if modseq >= self.expunged.horizon:
            went = self.expunged.since(modseq)
            given = went - (went - given)
        return given - UidSet.of(self.messages.uids)

    # -- the codec

    def pack(self) -> bytes:
        return b"".join((_BASE.pack(self.uidvalidity, self.uidnext, self.highest, self.expunged.horizon,
                                    len(self.expunged)), self.expunged.pack(), self.messages.pack()))

    @classmethod
    def unpack(cls, data: memoryview) -> History:
        """Raises ValueError."""
        try:
            uidvalidity, uidnext, highest, horizon, many = _BASE.unpack_from(data)
        except struct.error as error:
            raise ValueError(str(error)) from None
        expunged = Expunged.unpack(horizon, many, data, _BASE.size)
        messages = Messages.unpack(data[_BASE.size + 16 * many:])
        if messages.modseqs is None:
            raise ValueError("no MODSEQs")
        return cls(uidvalidity, uidnext, highest, messages, expunged)


def _array(typecode: str, data: memoryview, at: int, many: int) -> array[int]:
    """``many`` numbers at this place.  Raises ValueError where there are not so many."""
    found = array(typecode)
    octets = data[at:at + many * found.itemsize]
    if len(octets) != many * found.itemsize:
        raise ValueError("a column is cut")
    found.frombytes(octets)
    return found


# -- the file

def block(data: bytes) -> bytes:
    """With its length and its checksum."""
    return _BLOCK.pack(len(data), crc32(data)) + data


def blocks(data: memoryview) -> Iterator[memoryview]:
    """What block() made, as far as it is whole."""
    at = 0
    while at + _BLOCK.size <= len(data):
        size, check = _BLOCK.unpack_from(data, at)
        at += _BLOCK.size
        found = data[at:at + size]
        if len(found) != size or crc32(found) != check:
            return
        yield found
        at += size


class ModseqLog:
    """The log of one mailbox, read as far as it goes, and written under the mailbox's lock.

    ``history``: what was read or written last; None before that, and where there is none.  ``torn``: what
    follows is not whole: somebody is writing it, or it was not written to its end.  The file stays
    open until close(), so that its inode is not another file's.
    """

    def __init__(self, index: Index) -> None:
        self.history: History | None = None
        self.torn = False
        self._index = index
        self._fd = -1
        self._inode = (0, 0)
        self._read = 0                 # octets of it that ``history`` says
        self._base = 0                 # octets of its base
        self._given = 0                # the last number that this session gave

    def close(self) -> None:
        if self._fd >= 0:
            close(self._fd)
        self._fd = -1

    @property
    def lost(self) -> bool:
        """Is there no file that says what ``history`` does?"""
        return self._fd < 0

    def catch_up(self) -> bool:
        """Read what others have written.  True if there was something."""
        try:
            found = os.stat(self._index.file(FILE))
        except OSError:
            self.close()
            return False
        if self._fd >= 0 and self._inode == (found.st_dev, found.st_ino):
            return found.st_size != self._read and self._read_on(found.st_size)
        return self._open()

    def _open(self) -> bool:
        self.close()
        self.torn = False
        try:
            self._fd = self._index.open(FILE, os.O_RDWR | os.O_APPEND)
            found = os.fstat(self._fd)
            data = os.pread(self._fd, found.st_size, 0)
        except OSError:
            self.close()
            return False
        self._inode = found.st_dev, found.st_ino
        whole = memoryview(data)
        first = next(blocks(whole[len(MAGIC):]), None) if data.startswith(MAGIC) else None
        try:
            self.history = History.unpack(first) if first is not None else None
        except ValueError:
            self.history = None
        if first is None or self.history is None:
            self.close()
            return False
        self._base = self._read = len(MAGIC) + _BLOCK.size + len(first)
        self._take(whole[self._read:])
        return True

    def states_since(self, modseq: int, uids: Iterable[int]) -> dict[int, list[State]]:
        """What each message was when ``modseq`` was the highest number, and what it has been since, as far
        as ``history`` goes; without those whose state then is not written down any more."""
        try:
            data = memoryview(os.pread(self._fd, self._read, 0)) if self._fd >= 0 else memoryview(b"")
            base, *records = blocks(data[len(MAGIC):])
            history, later = History.unpack(base), list(map(Record.unpack, records))
        except (OSError, ValueError):
            return {}
        messages, highest = history.messages, history.highest
        states = {uid: [messages.state(uid)] for uid in uids
                  if messages.find(uid) >= 0 and history.modseq(uid) <= modseq}
        for record in later:
            highest = max(record.modseq, highest + 1)
            for uid in record.states.uids:
                if uid in states:
                    states[uid] = [*(states[uid] if highest > modseq else ()), record.states.state(uid)]
        return states

    def _read_on(self, size: int) -> bool:
        before = self._read
        if size < before:              # cut off, and what it told with it
            self.torn = True
            return False
        try:
            data = os.pread(self._fd, size - before, before)
        except OSError:
            return False
        self._take(memoryview(data))
        return self._read > before

    def _take(self, data: memoryview) -> None:
        history = self.history
        assert history is not None
        taken, records = 0, []
        for found in blocks(data):
            try:
                records.append(Record.unpack(found))
            except ValueError:
                break
            taken += _BLOCK.size + len(found)
        if records:
            self.history = history.followed(*records)
        self._read += taken
        self.torn = taken < len(data)

    # -- under the mailbox's lock

    def stamp(self, uidvalidity: int, uidnext: int, messages: Messages, sync: bool = False,
              write: bool = True) -> bool:
        """Give a number to what has none in ``messages``, which were looked at under the lock.

        ``history`` has it then.  False if it could not be written, or is not to be: what was given counts
        in this session only, and is given anew by whoever looks next.  ``sync``: it is on stable storage
        then.
        """
        self.catch_up()
        history = self.history
        number = after(max(self._given, history.highest if history is not None else 0))
        if history is None or history.uidvalidity != uidvalidity or self.torn:
            self.history, self._given = History.begun(uidvalidity, uidnext, messages, number), number
            return self._write_anew(sync, write)
        record = history.record(messages, uidnext, number)
        if record is None:
            self.history = history.sharing(messages)
            return not self.lost or self._write_anew(sync, write)
        self.history, self._given = history.followed(record).sharing(messages), number
        if not write:
            self.close()
            return False
        data = block(record.pack())
        if self.lost or self._read + len(data) > 2 * self._base + SLACK_OCTETS:
            return self._write_anew(sync, write)
        try:
            write_all(self._fd, data)
            if sync:
                os.fdatasync(self._fd)
        except OSError:
            self._take_back()
            return False
        self._read += len(data)
        return True

    def _take_back(self) -> None:
        """What was not written whole goes.  The file is read again before the next number is given."""
        try:
            os.ftruncate(self._fd, self._read)
        except OSError:
            pass                       # then it is torn
        self.close()

    def _write_anew(self, sync: bool, write: bool) -> bool:
        """The whole history in a new file, in place of the one that was there."""
        history = self.history
        assert history is not None
        data = MAGIC + block(history.pack())
        self.close()
        if not write:
            return False
        path = ""
        try:
            fd, path = self._index.scratch()
            try:
                write_all(fd, data)
                if sync:
                    os.fdatasync(fd)
            finally:
                close(fd)
            os.rename(path, self._index.file(FILE))
            self._fd = self._index.open(FILE, os.O_RDWR | os.O_APPEND)
            found = os.fstat(self._fd)
        except OSError:
            self.close()
            if path:
                remove(path)
            return False
        self.torn = False
        self._inode = found.st_dev, found.st_ino
        self._base = self._read = len(data)
        return True
