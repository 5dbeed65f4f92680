"""``modseq`` in the index: the log of a mailbox's changes (history.py) on disk.

A change gets its number when a session that asked for MODSEQs first sees it: what the
directory says is compared with the state that the last numbers stand for, and what differs
is written down as one record, under the mailbox's lock.  So a change has one number, whoever
made it and however many look.  Sessions that did not ask write nothing.

The file begins with a base, the whole history as it was; records follow, and when they are
longer than the base it is written anew.  Each has a checksum.  Where the end is torn nobody
knows which numbers it gave: all messages get a new one, which costs a client more than it
needs and never hides a change.
"""
from __future__ import annotations

import os
import struct
import time
from zlib import crc32

from courierpy.maildir.behind import rename_over
from courierpy.maildir.files import close, remove, write_all
from courierpy.maildir.index.asof import FILE, mark
from courierpy.maildir.index.history import History, Record, after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from courierpy.maildir.index.columns import Index
    from courierpy.model.messages import Messages, Snapshot, State

MAGIC = b"courierpy modseq 1\n\0" + struct.pack("=I", 0x01020304)      # the second word tells the byte order
SLACK_OCTETS = 1 << 16             # of records, before the file is written anew
_BLOCK = struct.Struct("=II")      # octets of a block, and their checksum


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

    def number_of(self, found: Snapshot) -> int:
        """HIGHESTMODSEQ of a mailbox that looks so; 0 where not all of that has its number.  The log is
        closed then."""
        self.catch_up()
        self.close()
        history = self.history
        if history is None or self.torn or history.uidvalidity != found.uidvalidity \
                or not history.agrees(found.messages, found.uidnext):
            return 0
        return history.highest

    def states_since(self, modseq: int, uids: Iterable[int]) -> dict[int, list[State]]:
        """What each message was when ``modseq`` was the highest number, and what it has been since, as far
        as ``history`` goes; without those whose state then is not written down any more."""
        try:
            data = memoryview(os.pread(self._fd, self._read, 0)) if self._fd >= 0 else memoryview(b"")
            base, *records = blocks(data[len(MAGIC):])
            history, later = History.unpack(base), list(map(Record.unpack, records))
        except (OSError, ValueError):
            return {}
        messages, highest, wanted = history.messages, history.highest, set(uids)
        states = {uid: [messages.state(uid)] for uid in wanted
                  if messages.find(uid) >= 0 and history.modseq(uid) <= modseq}
        for record in later:
            highest = max(record.modseq, highest + 1)
            for uid in wanted.intersection(record.states.uids):
                if highest <= modseq:
                    states[uid] = [record.states.state(uid)]
                elif uid in states:
                    states[uid].append(record.states.state(uid))
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

    def _ask(self) -> None:
        """Ask a file server what another host has written, as uiddb.asked() does."""
        try:
            close(self._index.open(FILE))
        except OSError:
            return                     # who reads it finds that too

    def stamp(self, uidvalidity: int, uidnext: int, messages: Messages, looked: int, sync: bool = False,
              write: bool = True) -> bool:
        """Give a number to what has none in ``messages``, which were looked at under the lock, since
        ``looked``, nanoseconds since 1970.

        ``history`` has it then.  False if it could not be written, or is not to be: what was given counts
        in this session only, and is given anew by whoever looks next.  ``sync``: it is on stable storage
        then.
        """
        self._ask()
        self.catch_up()
        history = self.history
        number = after(max(self._given, history.highest if history is not None else 0), looked)
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
        return self._append(record, sync)

    def rise(self, sync: bool = False) -> None:
        """Give a number to a change that is none of a message, under the mailbox's lock.  Nothing where no
        numbers are kept, or where the next one who looks begins anew."""
        self._ask()
        self.catch_up()
        history = self.history
        if history is not None and not self.lost and not self.torn:
            number = after(max(self._given, history.highest), time.time_ns())
            record = history.risen(number)
            self.history, self._given = history.followed(record), number
            self._append(record, sync)

    def _append(self, record: Record, sync: bool) -> bool:
        """Write a record that ``history`` has; False if it could not be written."""
        data = block(record.pack())
        if self.lost or self._read + len(data) > 2 * self._base + SLACK_OCTETS:
            return self._write_anew(sync, True)
        try:
            write_all(self._fd, data)
            mark(self._fd, record.modseq)
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
                mark(fd, history.highest)
                if sync:
                    os.fdatasync(fd)
            finally:
                close(fd)
            rename_over(path, self._index.file(FILE))
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
