"""The messages of a session: INBOX as it was at the login, by number.  RFC 1939 4 to 6.

Numbers and UIDLs are those of courierpop3dsizelist, in Courier's order, whatever flags change; UIDLs that
Dovecot gave before stay (pop3uidls).  Nobody is kept from the Maildir meanwhile: mail comes in and IMAP
sessions expunge, which this session sees as messages that cannot be had any more.  Of that list:

1. It is read before INBOX is looked at, so that a line whose message is not there is of one that is gone, and
   not of one that another session has numbered a moment ago.
2. What has no line is counted, which takes reading it.
3. Under the lock of the mailbox the list is read again, new messages get their numbers, and it is written,
   if any message came or went.
4. A UIDL is announced only when it is on the disk.  What the disk does not take has none in this session, and
   who asks for it is told to come again; it can be fetched and deleted all the same.
"""
from __future__ import annotations

import os
import time
from contextlib import ExitStack

from courierpy.maildir.errors import DiskFull, QuotaExceeded, StoreError, Vanished
from courierpy.maildir.files import Directory, replace
from courierpy.maildir.formats import pop3list, pop3uidls
from courierpy.maildir.formats.pop3list import SizeList
from courierpy.maildir.index import pop3sizes
from courierpy.maildir.names import SUFFIXES, base
from courierpy.message.source import MessageSource
from courierpy.model.flags import SEEN, FlagChange
from courierpy.model.namespaces import INBOX
from courierpy.pop3 import wire
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.maildir.formats.pop3list import Line
    from courierpy.maildir.index.pop3sizes import Size
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.maildir.messagefile import MessageFile
    from courierpy.maildir.store import Store
    from courierpy.message.source import Octets

LARGE_OCTETS = 1 << 20         # of a file that is never held as a whole


class Entry:
    """A message.  ``uid``: IMAP's; ``file``: its name in cur/ at the login.  ``octets``: that RETR sends,
    before dots are doubled; ``utf8``: has the header some above 127?  ``line``: of the list; None where it
    has none yet.  ``kept``: its UIDL of before, if there is one.  ``seen``: has it the flag?  ``deleted``: it
    goes at QUIT."""

    __slots__ = ("deleted", "file", "kept", "line", "octets", "seen", "uid", "utf8")

    def __init__(self, uid: int, file: bytes, size: Size, line: Line | None, kept: bytes | None,
                 seen: bool) -> None:
        self.uid = uid
        self.file = file
        self.octets, self.utf8 = size[0], size[1] & 1
        self.line = line
        self.kept = kept
        self.seen = seen
        self.deleted = False

    @property
    def uidl(self) -> bytes | None:
        """None where it has none that may be told."""
        return self.kept or (None if self.line is None else pop3list.uidl(self.line))


class Maildrop:
    """INBOX as a POP3 client has it.

    ``entries``: by number less one.  Every failure is a store error."""

    def __init__(self, store: Store, only_reads: bool) -> None:
        """Reads all that it takes.  ``only_reads``: nothing is written."""
        self.box: Mailbox = store.open(INBOX)
        self.box.join()
        try:
            listed = self._listed()
            self.only_reads = only_reads or self.box.read_only
            uids, files, seen = self._look()
            sizes = self._sizes(uids, files)
            names = list(map(base, files))
            lines: dict[bytes, Line] = {}
            kept: dict[bytes, bytes] = {}
            if listed is not None and (found := self._kept(listed, names)) is not None:
                kept, lines = found, self._numbered(listed, files, dict(zip(names, sizes, strict=True)))
            self.entries = list(map(Entry, uids, files, sizes, map(lines.get, names), map(kept.get, names),
                                    seen))
        except BaseException:
            self.box.close()
            raise

    # -- the login

    def _listed(self) -> SizeList | None:
        """None: there may be a list, and the disk does not say."""
        try:
            data = pop3list.read(self.box.path)
        except StoreError as why:
            log.err(f"{why}: no UIDL is told")
            return None
        found = pop3list.parse(data or b"", int(time.time()))
        if data and not found.lines and len(data) > 64:
            log.warn(f"{self.box.path}/{pop3list.NAME} is of an old version or damaged: all get new UIDLs")
        return found

    def _kept(self, listed: SizeList, names: list[bytes]) -> dict[bytes, bytes] | None:
        """The UIDLs that messages have from before; None where the disk does not say.  Where POP3 was not
        served yet those of Dovecot are taken over, as numbers are at the first look."""
        try:
            kept = pop3uidls.read(self.box.path)
            if not kept and not listed.lines:
                kept = pop3uidls.of_dovecot(self.box.path, names)
                if kept and not self.only_reads:
                    with self.box.locked():
                        self._replace(pop3uidls.NAME, pop3uidls.text(kept))
        except StoreError as why:
            log.err(f"{why}: no UIDL is told")
            return None
        return kept

    def _look(self) -> tuple[list[int], list[bytes], list[bool]]:
        """(UIDs, names in cur/, were they read?), in the order of the session."""
        messages = self.box.scan(self.only_reads).messages
        self.box.finder.rows(messages.uids)    # which reads their names
        held = self.box.contents.held
        files = [*map(held.file, range(len(held.database)))] if held.odd else [
            name + SUFFIXES[bits] for name, bits in zip(held.database.names(), held.flags, strict=True)]
        rows = {file: at for at, file in enumerate(files)}
        order = pop3list.by_number(files)
        uids, flags = held.database.uids, held.flags
        places = [rows[file] for file in order]
        return [uids[at] for at in places], order, [bool(flags[at] & SEEN) for at in places]

    def _sizes(self, uids: list[int], files: list[bytes]) -> list[Size]:
        """The sizes of these messages, in the same order."""
        uidvalidity = self.box.contents.held.database.uidvalidity
        known = pop3sizes.read(self.box.index, uidvalidity)
        found, sure = [], {}
        for uid, file in zip(uids, files, strict=True):
            size = known.get(uid)
            if size is None:
                size, settled = self._count(uid, file)
                if not settled:
                    found.append(size)
                    continue
            sure[uid] = size
            found.append(size)
        if sure.keys() != known.keys() and not self.only_reads:
            pop3sizes.write(self.box.index, uidvalidity, sure)
        return found

    def _count(self, uid: int, file: bytes) -> tuple[Size, bool]:
        """(what is counted of a message, is it so for ever?)  What cannot be read is as long as its file."""
        try:
            with self.box.finder.open(uid) as opened:
                return wire.size_of(octets_of(opened)), self.box.finder.settled(uid, opened)
        except StoreError as why:
            if not isinstance(why, Vanished):
                log.err(f"{why}: its octets cannot be counted")
        try:
            octets = self.box.finder.stat(uid)[0]
        except StoreError:
            octets = 0
        return pop3sizes.size(octets, octets, False), False

    def _numbered(self, listed: SizeList, files: list[bytes], sizes: dict[bytes, Size]) -> dict[bytes, Line]:
        """The lines of messages whose UIDL may be announced, by base name."""
        if self.only_reads or listed.lines.keys() == sizes.keys():
            return listed.lines
        try:
            with self.box.locked():
                now = self._listed()
                if now is None:
                    return {}
                # what came to the list since it was read is of a message that came after our look
                others = {name: line for name, line in now.lines.items()
                          if name in sizes or name not in listed.lines}
                known, now.lines = now.lines, others
                for file in files:
                    name = base(file)
                    if name not in others:
                        marked = sizes[name][1]
                        now.number(file, marked >> 1, bool(marked & 1))
                if now.lines.keys() != known.keys():
                    self._write(now, files)
                return now.lines
        except StoreError as why:
            log.err(f"{why}: messages that are new have no UIDL yet")
            return listed.lines

    def _write(self, listed: SizeList, files: list[bytes]) -> None:
        mine = {base(file) for file in files}
        others = [name + b":2," for name in listed.lines if name not in mine]
        rows = pop3list.by_number([*files, *others]) if others else files
        self._replace(pop3list.NAME, listed.render(rows))

    def _replace(self, name: str, data: bytes) -> None:
        """Under the lock: a file of INBOX, whole and on the disk."""
        place, path = self.box.place, os.path.join(self.box.path, name)
        with Directory(self.box.path, place.options.sync) as entries:
            for again in (True, False):
                try:
                    replace(path, data, place.tmp, place.options.host, "pop3dsizelist", place.options.sync)
                    break
                except DiskFull:
                    if not again or not place.make_room():
                        raise
            entries.sync()

    # -- what is there

    def there(self) -> Iterator[tuple[int, Entry]]:
        """(number, entry) of what is not deleted."""
        return ((at, entry) for at, entry in enumerate(self.entries, 1) if not entry.deleted)

    def find(self, number: int) -> Entry | None:
        """None for a number that is none, or that of a deleted message."""
        entry = self.entries[number - 1] if 0 < number <= len(self.entries) else None
        return None if entry is None or entry.deleted else entry

    def open(self, entry: Entry) -> MessageFile:
        """The file of a message, open until the caller closes it.  Raises Vanished for one that somebody has
        expunged, though others may read it still."""
        self.box.finder.look(entry.uid, kept=False)
        return self.box.finder.open(entry.uid)

    # -- changes

    def read(self, entry: Entry) -> None:
        """The client has it: it is \\Seen, if that can be written."""
        if entry.seen or self.only_reads:
            return
        entry.seen = True
        try:
            self.box.store([entry.uid], FlagChange("+", SEEN), [])
        except StoreError as why:
            log.err(f"{why}: a message that was read is not marked so")

    def update(self) -> tuple[list[Entry], list[StoreError]]:
        """What the client deleted goes, under the lock of the mailbox.  (Messages that went by us, why others
        did not); those that had gone before are neither."""
        wanted = {entry.uid: entry for entry in self.entries if entry.deleted}
        refused: list[StoreError] = []
        if not wanted:
            return [], refused
        try:
            with ExitStack() as held:
                try:
                    held.enter_context(self.box.locked())
                except QuotaExceeded as why:   # no room for a lock: what goes makes some, as an EXPUNGE does
                    log.warn(f"{why}: messages are deleted without a lock")
                gone = self.box.remove(sorted(wanted), refused)
        except StoreError as why:
            return [], [*refused, why]
        return [wanted[uid] for uid in gone], refused

    def close(self) -> None:
        """Nobody waits for us any more."""
        self.box.close(wait=True)


def octets_of(file: MessageFile) -> Octets:
    """A large message is read by offset, never held."""
    return MessageSource(file.size, file.read) if file.size > LARGE_OCTETS else file.whole()
