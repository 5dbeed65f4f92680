"""``courierimapuiddb``: which UID belongs to which message.

A text file: ``1 <uidvalidity> <nextuid>``, then ``<uid> <base name>`` a line,
ascending.  In memory it stays what it is on disk, one run of bytes, with an
array of where each line begins: a hundred thousand messages cost no object
each, and a message more is a line more.
"""
from __future__ import annotations

import os
from array import array
from bisect import bisect_left, bisect_right
from io import BytesIO
from itertools import accumulate, chain, islice
from operator import add, lt

from courierpy.maildir.errors import trouble
from courierpy.model.regex import later
from courierpy.model.uidset import runs
from courierpy.system.regular import open_regular, opened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    Key = tuple[int, int, int]     # inode, mtime in nanoseconds, size

NAME = "courierimapuiddb"
MAX_UID = 0xFFFFFFFF               # RFC 9051 2.3.1.1
_OTHER_BLANKS = (b"\r", b"\t", b"\v", b"\f")         # which bytes.split() takes for blanks too
DIGITS = 10                        # of a UID: int() refuses thousands of them
FEW = 32                           # names that are looked for one by one; for more a table is made
DENSE = 8                          # lines for each row that is wanted, that are read to have them all at once
EDITS = 64                         # places where lines went, beyond which all is parsed
PIECE = 1 << 14                    # lines that are made at a time: each is an object until they are joined
_HEADER = later(rb"1 (\d{1,10}) (\d{1,10})\s*")
_OTHER_LINE = later(rb"\n(?!\Z|[1-9][0-9]{0,9} [^\s]+\n)")         # than servers write


class UidDb:
    """The numbers of a folder.  Never changed once made, but for lines that are read when needed.

    ``uids``: array('I'), ascending.  ``body``: the lines; None while the file need not
    be read, as the numbers are known from elsewhere.  ``lines``: array('I'), where each
    line begins in it; empty as long as ``later`` was not asked, a function that says it for lines
    that were not read, or gives None.  ``key``: the file that this is the content of;
    None while there is none.  ``damaged``: the file held what no server writes, and
    may have lost lines.
    """

    __slots__ = ("_later", "_tail", "body", "damaged", "key", "lines", "uidnext", "uids", "uidvalidity")

    def __init__(self, uidvalidity: int, uidnext: int, uids: array[int] | None = None,
                 body: bytes | None = b"", lines: array[int] | None = None, key: Key | None = None,
                 damaged: bool = False, later: Callable[[], array[int] | None] | None = None) -> None:
        self.uidvalidity = uidvalidity
        self.uidnext = uidnext
        self.uids = array("I") if uids is None else uids
        self.body = body
        self.lines = array("I") if lines is None else lines
        self.key = key
        self.damaged = damaged
        self._later = later
        self._tail = b""               # lines behind ``body``, until somebody wants them in one run

    @classmethod
    def of(cls, uidvalidity: int, uidnext: int, rows: Iterable[tuple[int, bytes]],
           key: Key | None = None, damaged: bool = False) -> UidDb:
        """From (UID, base name) pairs, ascending."""
        rows = list(rows)
        texts = [b"%d %s\n" % row for row in rows]
        return cls(uidvalidity, uidnext, array("I", [uid for uid, _ in rows]), b"".join(texts),
                   _starts(map(len, texts)), key, damaged)

    def fill(self, path: str) -> bool:
        """Read the lines of a file whose numbers are known; False when it is another file now."""
        try:
            with open(open_regular(path), "rb", buffering=0) as file:
                found = key_of(os.fstat(file.fileno()))
                head = file.read(40).partition(b"\n")
                file.seek(len(head[0]) + 1)
                body = file.readall() if found == self.key else b""
        except FileNotFoundError:
            return False
        except OSError as error:
            raise trouble(path, error) from None
        if found != self.key or len(head[0]) + 1 + len(body) != found[2]:
            return False
        if not self.has_lines():
            self.lines = _starts(len(line) + 1 for line in body.split(b"\n")[:-1])
            if len(self.lines) != len(self.uids):
                return False
        self.body, self._tail = body, b""
        return True

    def has_lines(self) -> bool:
        """Is it known where each line begins, whether they were read or not?"""
        later, self._later = self._later, None
        found = later() if later is not None else None
        if found is not None:
            self.lines = found
        return len(self.lines) == len(self.uids)

    def give(self, names: Iterable[bytes]) -> None:
        """The base names, in the order of the UIDs, where the file of these lines is no more."""
        texts = [b"%d %s\n" % row for row in zip(self.uids, names, strict=True)]
        self.body, self._tail, self.key, self._later = b"".join(texts), b"", None, None
        self.lines = _starts(map(len, texts))

    @property
    def text(self) -> bytes:
        """The lines.  They must be there: see Numbers.named(), which reads them when it must."""
        assert self.body is not None
        if self._tail:
            self.body, self._tail = self.body + self._tail, b""
        return self.body

    @property
    def octets(self) -> int:
        """How many octets the lines have."""
        return len(self.body or b"") + len(self._tail)

    def __len__(self) -> int:
        return len(self.uids)

    def name(self, at: int) -> bytes:
        """The base name in row ``at``."""
        text = self.text
        start = text.index(b" ", self.lines[at]) + 1
        return text[start:text.index(b"\n", start)]

    def names(self) -> list[bytes]:
        """All base names, in the order of their UIDs."""
        return _names(self.text, len(self.uids))

    def names_of(self, rows: Sequence[int]) -> list[bytes]:
        """The base names in these rows, which ascend."""
        many = rows[-1] - rows[0] + 1 if len(rows) > 1 else 0
        if 0 < many <= len(rows) * DENSE:
            found = _names(self.text[self.lines[rows[0]]:self._end(rows[-1])], many)
            return found if many == len(rows) else [found[row - rows[0]] for row in rows]
        return list(map(self.name, rows))

    def find(self, name: bytes) -> int:
        """The row of a base name; -1 without one."""
        wanted = b" %s\n" % name
        text = self.text
        # from the end: what is looked for is mostly new; and that it is nowhere is found in half the time
        at = text.rfind(wanted)
        while at >= 0:
            row = bisect_right(self.lines, at) - 1
            if text[self.lines[row]:at].isdigit():           # the blank behind the number, not one in a name
                return row
            at = text.rfind(wanted, 0, at + len(wanted) - 1)
        return -1

    def rows_of(self, names: Collection[bytes]) -> dict[bytes, int]:
        """The rows of those base names that have one."""
        if len(names) <= FEW:
            found = ((name, self.find(name)) for name in names)
            return {name: row for name, row in found if row >= 0}
        rows = {name: row for row, name in enumerate(self.names())}
        return {name: rows[name] for name in names if name in rows}

    def extended(self, uids: Sequence[int], names: Sequence[bytes], uidnext: int = 0) -> UidDb:
        """With more messages, whose UIDs ascend from above those that are there."""
        assert self.body is not None
        all_uids, lines = self.uids[:], self.lines[:]
        all_uids.extend(uids)
        size = self.octets
        tail = BytesIO()
        tail.write(self._tail)
        for start in range(0, len(uids), PIECE):
            first, some = uids[start:start + PIECE], names[start:start + PIECE]
            rows = [*chain.from_iterable(zip(first, some, strict=True))]
            tail.write(b"%d %s\n" * len(some) % (*rows,))
            digits = map(len, map(str, first))
            lengths = map(add, map(len, some), map((len(b" \n")).__add__, digits))
            lines.extend(accumulate(lengths, initial=size))
            size = lines.pop()
        uidnext = max(uidnext, self.uidnext, uids[-1] + 1 if uids else 0)
        more = UidDb(self.uidvalidity, uidnext, all_uids, self.body, lines)
        more._tail = tail.getvalue()
        return more

    def without(self, rows: Sequence[int]) -> UidDb:
        """Without these rows, which ascend."""
        uids, lines, pieces = array("I"), array("I"), []
        start = shift = 0
        count = len(self.uids)
        for first, last in (*runs(rows), (count, count)):
            uids += self.uids[start:first]
            kept = self.lines[start:first]
            if kept:
                lines += array("I", [at - shift for at in kept]) if shift else kept
                pieces.append(self.text[kept[0]:self._end(first - 1)])
            if first < count:
                shift += self._end(last) - self.lines[first]
            start = last + 1
        return UidDb(self.uidvalidity, self.uidnext, uids, b"".join(pieces), lines)

    def _end(self, row: int) -> int:
        """Where line ``row`` ends."""
        return self.lines[row + 1] if row + 1 < len(self.lines) else len(self.text)

    def after(self, uid: int) -> bytes:
        """The lines of higher UIDs."""
        row = bisect_right(self.uids, uid)
        if row == len(self.lines):
            return b""
        size = len(self.body or b"")
        return self._tail[self.lines[row] - size:] if self.lines[row] >= size else self.text[self.lines[row]:]

    def lines_behind(self, before: UidDb) -> bytes | None:
        """What comes behind the lines of ``before``, whole as it was read or written; None where this does
        not begin with them, or where that has another size."""
        if before.damaged or before.key is None or before.key[2] != sum(map(len, before.pieces())) \
                or self.uidvalidity != before.uidvalidity:
            return None
        if self.body is before.body and self._tail.startswith(before._tail):       # mostly, by extended()
            return self._tail[len(before._tail):]
        return self.text[len(before.text):] if self.text.startswith(before.text) else None

    def pieces(self) -> tuple[bytes, bytes, bytes]:
        """The content of the file, one behind the other."""
        assert self.body is not None
        return b"1 %d %d\n" % (self.uidvalidity, self.uidnext), self.body, self._tail


def _names(lines: bytes, count: int) -> list[bytes]:
    """The base names in so many lines."""
    if lines.count(b" ") == count and not any(map(lines.__contains__, _OTHER_BLANKS)):
        words = lines.split()
        if len(words) == 2 * count:
            return words[1::2]
    return [line.partition(b" ")[2] for line in lines.split(b"\n")[:-1]]


def _starts(lengths: Iterable[int]) -> array[int]:
    starts = array("I", accumulate(lengths, initial=0))
    starts.pop()
    return starts


def key_of(found: os.stat_result) -> Key:
    return found.st_ino, found.st_mtime_ns, found.st_size


def stamp(folder: str) -> Key | None:
    """Which file is there; None for none.  Raises as trouble() says."""
    path = f"{folder}/{NAME}"
    try:
        return key_of(os.stat(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise trouble(path, error) from None


def asked(folder: str) -> Key | None:
    """As stamp(), for who has the lock: where the folder is on a file server, what another host has written a
    moment ago shows when a file is opened, not always when it is looked at (nfs(5), close-to-open)."""
    try:
        fd, found = opened(os.path.join(folder, NAME))
    except OSError:
        return stamp(folder)           # there is none, or it is not for us to read, or no descriptor is left
    os.close(fd)
    return key_of(found)


def read(path: str, before: UidDb | None = None) -> UidDb | None:
    """None when there is no file; ``damaged`` with UIDVALIDITY 0 when its header is no
    header.  ``before``: what the file held earlier; mostly only lines have come."""
    try:
        with open(open_regular(path), "rb", buffering=0) as file:
            key = key_of(os.fstat(file.fileno()))
            data = file.readall()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise trouble(path, error) from None
    if len(data) != key[2]:
        key = (key[0], 0, 0)           # it grew or shrank while it was read: not this content
    return parse(data, key, before)


def parse(data: bytes, key: Key | None = None, before: UidDb | None = None) -> UidDb:
    head, newline, body = data.partition(b"\n")
    match = _HEADER.fullmatch(head)
    if match is None or not newline or max(int(match[1]), int(match[2])) > MAX_UID:
        return UidDb(0, 1, key=key, damaged=True)
    uidvalidity, uidnext = int(match[1]), int(match[2])
    if before is not None and before.uids and uidvalidity == before.uidvalidity \
            and body.startswith(before.text):
        size = len(before.text)
        more = parse(data[:len(head) + 1] + body[size:], key)
        if not more.uids or more.uids[0] > before.uids[-1]:
            return UidDb(uidvalidity, max(more.uidnext, before.uids[-1] + 1), before.uids + more.uids,
                         before.text + more.text,
                         before.lines + array("I", [at + size for at in more.lines]), key,
                         more.damaged or before.uids[-1] >= uidnext)
    if before is not None and before.uids and not before.damaged and uidvalidity == before.uidvalidity:
        found = _edited(uidvalidity, uidnext, body, key, before)
        if found is not None:
            return found
    return _plain(uidvalidity, uidnext, body, key) or _odd(uidvalidity, uidnext, body, key)


def _edited(uidvalidity: int, uidnext: int, body: bytes, key: Key | None, before: UidDb) -> UidDb | None:
    """The file as it was before, without some lines and with new ones behind: what is the same is not
    parsed again.  None for any other."""
    old = before.uids
    uids, lines = array("I"), array("I")
    row = at = 0                       # as far as the old lines, and the new ones, are done
    for _ in range(EDITS):
        stop, end = _same(before, row, body, at)
        shift = before.lines[row] - at
        uids += old[row:stop]
        lines += array("I", [start - shift for start in before.lines[row:stop]]) if shift \
            else before.lines[:stop]
        row, at = stop, end
        digits = body[at:body.find(b" ", at, at + DIGITS + 1)] if row < len(old) and at < len(body) else b""
        # the line of a later row: those before it are gone; or a new one, behind all
        row = bisect_left(old, int(digits), row + 1) if digits.isdigit() else len(old)
        if row == len(old):
            break
        if old[row] != int(digits):
            return None
    else:
        return None
    more = _plain(uidvalidity, uidnext, body[at:], None)
    if more is None or more.uids and more.uids[0] <= old[-1]:
        return None
    highest = more.uids[-1] if more.uids else uids[-1] if uids else 0
    return UidDb(uidvalidity, max(uidnext, highest + 1), uids + more.uids, body,
                 lines + array("I", [start + at for start in more.lines]), key, highest >= uidnext)


def _same(before: UidDb, row: int, body: bytes, at: int) -> tuple[int, int]:
    """(The row, the place in ``body``) up to which the lines from these on are the same."""
    text, lines, rows = before.text, before.lines, len(before.uids)
    step, grows = 64, True
    while step and row < rows:
        stop = min(row + step, rows)
        start, end = lines[row], lines[stop] if stop < rows else len(text)
        if text[start:end] == body[at:at + end - start]:
            row, at = stop, at + end - start
            if grows:
                step *= 4
        else:
            grows = False
        if not grows:
            step //= 2
    return row, at


def _plain(uidvalidity: int, uidnext: int, body: bytes, key: Key | None) -> UidDb | None:
    """The file as servers write it, parsed in a few passes; None for any other."""
    if _OTHER_LINE.search(b"\n" + body) is not None:
        return None
    words = body.split()
    count = len(words) // 2
    try:
        uids = array("I", map(int, words[::2]))
    except OverflowError:
        return None
    if not all(map(lt, uids, islice(uids, 1, None))) or len(set(words[1::2])) < count:
        return None
    starts = array("I", accumulate(map(len, body.split(b"\n")), _next_line, initial=0))
    del starts[count:]
    return UidDb(uidvalidity, max(uidnext, uids[-1] + 1 if count else 1), uids, body, starts, key,
                 bool(count) and uids[-1] >= uidnext)


def _next_line(start: int, length: int) -> int:
    return start + length + 1


def _odd(uidvalidity: int, uidnext: int, body: bytes, key: Key | None) -> UidDb:
    """Line by line; what is no row, or a number or name twice, is passed over."""
    numbers: dict[bytes, int] = {}
    damaged = bool(body) and not body.endswith(b"\n")
    lines = body.split(b"\n")
    last = lines.pop()
    if last:
        damaged = True                 # the end is cut off: its name may be too
    highest = 0
    for line in lines:
        number, blank, name = line.partition(b" ")
        if blank and name and number.isdigit() and len(number) <= DIGITS and 0 < int(number) <= MAX_UID:
            damaged = damaged or int(number) <= highest or name in numbers
            numbers[name] = int(number)
            highest = max(highest, int(number))
        else:
            damaged = True
    rows: dict[int, bytes] = {}
    for name, uid in numbers.items():
        rows.setdefault(uid, name)
    return UidDb.of(uidvalidity, max(uidnext, highest + 1), sorted(rows.items()), key,
                    damaged or highest >= uidnext)
