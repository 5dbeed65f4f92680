"""What cur/ holds, as far as is known: rows of UID, file name and flags.

Flat columns.  A file name is put together from the base name (in the uiddb) and
the flags; only where another program's letters make it another one is it kept.
Touches no file.
"""
from __future__ import annotations

from bisect import bisect_left

from courierpy.maildir.directory import by_base
from courierpy.maildir.formats.uiddb import UidDb
from courierpy.maildir.names import BITS_OF_SUFFIX, SUFFIXES, base, bits_of, info, with_flags
from courierpy.model.uidset import runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from courierpy.maildir.watch import Heard

NONE: frozenset[bytes] = frozenset()


class Held:
    """The messages in cur/, a row for each.

    ``database``: the rows.  ``flags``: a byte of flag bits each.  ``odd``: UID -> file
    name, where it is not base name and flags.  ``twins``: base names with several files,
    as a program leaves them that links and then unlinks to change a flag."""

    __slots__ = ("database", "flags", "odd", "twins")

    def __init__(self, database: UidDb, flags: bytearray, odd: dict[int, bytes],
                 twins: frozenset[bytes] = NONE) -> None:
        self.database = database
        self.flags = flags
        self.odd = odd
        self.twins = twins

    def row(self, uid: int) -> int:
        """-1 for a UID that is not held."""
        uids = self.database.uids
        at = bisect_left(uids, uid)
        return at if at < len(uids) and uids[at] == uid else -1

    def file(self, row: int) -> bytes:
        """The file's name in cur/."""
        return self.file_with(row, self.flags[row])

    def file_with(self, row: int, bits: int) -> bytes:
        """What the file's name is with these flags."""
        odd = self.odd.get(self.database.uids[row]) if self.odd else None
        if odd is None:
            return self.database.name(row) + SUFFIXES[bits]
        return odd if bits == self.flags[row] else with_flags(odd, bits)

    def set_file(self, row: int, name: bytes) -> None:
        """The message in this row has another file name, and its flags."""
        uid = self.database.uids[row]
        self.flags[row] = bits = bits_of(info(name))
        if name.endswith(SUFFIXES[bits]) and base(name) == name[:-len(SUFFIXES[bits])]:
            self.odd.pop(uid, None)
        else:
            self.odd[uid] = name

    def set_flags(self, row: int, bits: int, name: bytes) -> None:
        """As set_file(), where ``name`` is file_with() of these flags."""
        if self.odd and self.database.uids[row] in self.odd:
            self.set_file(row, name)
        else:
            self.flags[row] = bits

    def set_bits(self, rows: Sequence[int], bits: bytes) -> None:
        """The messages in these rows, which ascend, have these flags, and files that are not odd."""
        if rows and rows[-1] - rows[0] == len(rows) - 1:
            self.flags[rows[0]:rows[-1] + 1] = bits
            return
        flags = self.flags
        for row, now in zip(rows, bits, strict=True):
            flags[row] = now

    def files(self, rows: Sequence[int]) -> list[bytes]:
        """file() of these rows, which ascend."""
        suffixes = map(SUFFIXES.__getitem__, map(self.flags.__getitem__, rows))
        found = list(map(bytes.__add__, self.database.names_of(rows), suffixes))
        if self.odd:
            found = list(map(self.odd.get, map(self.database.uids.__getitem__, rows), found))
        return found

    def rows_of(self, names: Collection[bytes]) -> dict[bytes, int]:
        """The rows of those base names that have one."""
        return self.database.rows_of(names)

    def without(self, rows: Sequence[int]) -> Held:
        """Without these rows, which ascend."""
        flags = bytearray(self.flags)
        odd = dict(self.odd)
        for first, last in reversed(runs(rows)):
            del flags[first:last + 1]
        for row in rows if odd else ():
            odd.pop(self.database.uids[row], None)
        return Held(self.database.without(rows), flags, odd, self.twins)

    def extended(self, uids: Sequence[int], names: Sequence[bytes], files: Sequence[bytes],
                 uidnext: int = 0) -> Held:
        """With new messages: UIDs, base names and file names."""
        flags, odd = _columns(uids, names, files)
        return Held(self.database.extended(uids, names, uidnext), self.flags + flags, self.odd | odd,
                    self.twins)


NOTHING = Held(UidDb(0, 1), bytearray(), {})


class Contents:
    """What is known of an open mailbox; it may be ahead of what anybody was told.

    ``held``: the messages; NOTHING before the first look.  ``departed``: UID -> file name of what went
    and our client was not told of.
    """

    __slots__ = ("departed", "held")

    def __init__(self) -> None:
        self.held = NOTHING
        self.departed: dict[int, bytes] = {}

    @property
    def known(self) -> bool:
        """Was there a look?"""
        return self.held is not NOTHING

    def drop(self, rows: Sequence[int]) -> None:
        """These are gone.  The names must be there."""
        held = self.held
        self.departed.update(zip(map(held.database.uids.__getitem__, rows), held.files(rows), strict=True))
        self.held = held.without(rows)


def look(database: UidDb, names: Collection[bytes]) -> tuple[Held, list[int], dict[bytes, bytes]]:
    """What these file names in cur/ say: (the rows, which of them have no file, base
    name -> file name of what has no row)."""
    present = by_base(names)
    bases = database.names()
    found = list(map(present.get, bases))
    missing = [row for row, file in enumerate(found) if file is None] if None in found else []
    files = [file or name for name, file in zip(bases, found, strict=True)] if missing else found
    flags, odd = _columns(database.uids, bases, files)  # type: ignore[arg-type]
    unknown: dict[bytes, bytes] = {}
    if not bases:
        unknown = present
    elif len(present) > len(bases) - len(missing):
        known = set(bases)
        unknown = {name: file for name, file in present.items() if name not in known}
    twins = NONE
    if len(present) < len(names):
        shown = set(present.values())
        twins = frozenset(base(name) for name in names if name not in shown)
    return Held(database, flags, odd, twins), missing, unknown


def _columns(uids: Sequence[int], names: Sequence[bytes],
             files: Sequence[bytes]) -> tuple[bytearray, dict[int, bytes]]:
    """(flags, odd names by UID) of messages with these base names and file names."""
    odd: dict[int, bytes] = {}
    bits = list(map(BITS_OF_SUFFIX.get, map(bytes.removeprefix, files, names)))
    if None in bits:
        for row, found in enumerate(bits):
            if found is None:
                odd[uids[row]] = files[row]
                bits[row] = bits_of(info(files[row]))
    return bytearray(bits), odd  # type: ignore[arg-type]


class Replayed:
    """What events say.  ``gone``: rows, ascending.  ``unknown``: base name -> file name of
    what has no row."""

    __slots__ = ("gone", "unknown")

    def __init__(self, gone: list[int], unknown: dict[bytes, bytes]) -> None:
        self.gone = gone
        self.unknown = unknown


def replay(held: Held, heard: Heard, own: Mapping[bytes, tuple[bytes, bool]]) -> Replayed | None:
    """Change ``held`` as the events say; None when cur/ must be read to know.  ``own``: names
    of files that we made (True) or removed (False) ourselves, which are known."""
    foreign = {name: last for name, last in heard.cur.items() if last[:2] != own.get(name)}
    if not held.twins.isdisjoint(heard.cur):
        return None                    # one of the files went or came, which of them is shown now?
    rows = held.rows_of(foreign)
    gone, unknown = [], {}
    for name, (file, there, moved) in foreign.items():
        row = rows.get(name, -1)
        if row < 0:
            if there:
                unknown[name] = file
            continue
        if there:
            old = held.file(row)
            if old != file:
                if old not in heard.left:
                    return None        # two files of one message
                held.set_file(row, file)
        elif moved:
            return None                # the other half of a rename may not have come yet
        elif held.file(row) in heard.left:       # the last of its names, or one before
            gone.append(row)
    return Replayed(sorted(gone), unknown)
