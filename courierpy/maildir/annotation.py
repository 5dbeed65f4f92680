"""Annotations of mailboxes and of the account: values by name, in a file of each.  RFC 5464.

The file of a mailbox is in its directory, so that it moves and goes with that, whoever renames
or removes it; that of the account is beside INBOX's.  It is read whole, changed and renamed into
its place under the lock of the mailbox (INBOX's for the account), so that no two sessions lose
each other's entries.

Who wants to hear of changes reads the account's journal: a line for each change, with a word for
the session whose it is, the mailbox in modified UTF-7 and the entries, tabs between them.  It is
begun anew when it has grown; who was not there then may miss some.
"""
from __future__ import annotations

import os
import re

from courierpy.maildir.errors import StoreError, trouble
from courierpy.maildir.files import Directory, replace, unlink, write_all
from courierpy.maildir.formats import annotation
from courierpy.maildir.locks import FolderLock
from courierpy.model import utf7
from courierpy.system import log
from courierpy.system.regular import open_regular, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from courierpy.maildir.options import StoreOptions

    Entries = Mapping[bytes, bytes]

FILE = "courierpy-metadata"
SERVER_FILE = "courierpy-metadata-server"
JOURNAL = "courierpy-metadata-journal"
JOURNAL_OCTETS = 64 * 1024         # after which it is begun anew
_LINE = re.compile(rb"[!-~]*\t[ -~]*(?:\t/[ -~]+)+")


def read(directory: str, file: str = FILE) -> dict[bytes, bytes]:
    """Entry -> value, of the mailbox in this directory.  ``file``: SERVER_FILE, in that of INBOX, for those
    of the account.  Raises StoreError."""
    path = os.path.join(directory, file)
    try:
        data = whole(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise trouble(path, error) from None
    try:
        return annotation.parse(data)
    except annotation.Damaged as damaged:
        log.warn(f"{path}: {damaged}; {len(damaged.entries)} entries could be read")
        return damaged.entries


def change(options: StoreOptions, directory: str, file: str, values: Mapping[bytes, bytes | None],
           allow: Callable[[Entries, Entries], None]) -> list[bytes]:
    """Set entries, or remove those whose value is None: all of them or none.  Gives the entries that are
    others now.

    ``allow``: is given the entries as they are and as they would be, and raises what forbids that.
    Names that differ in case alone are one (RFC 5464 3.2).  Raises StoreError.
    """
    path = os.path.join(directory, file)
    with FolderLock(directory, options.host, options.locks):
        before = read(directory, file)
        spelled = {entry.lower(): entry for entry in before}
        after: dict[bytes, bytes | None] = {**before}
        for entry, value in values.items():
            after[spelled.setdefault(entry.lower(), entry)] = value
        entries = {entry: value for entry, value in after.items() if value is not None}
        changed = [entry for entry in after if before.get(entry) != entries.get(entry)]
        allow(before, entries)
        if changed:
            with Directory(directory, options.sync) as place:
                if entries:
                    replace(path, annotation.render(entries), os.path.join(directory, "tmp"), options.host,
                            "metadata", options.sync)
                else:
                    unlink(path)
                place.sync()
    return changed


def files(directory: str) -> dict[str, bytes]:
    """By name, with which another mailbox has the entries of that in this directory.  Raises StoreError."""
    entries = read(directory)
    return {FILE: annotation.render(entries)} if entries else {}


# -- the journal

def tell(options: StoreOptions, inbox: str, name: str, entries: Iterable[bytes], session: bytes) -> None:
    """A line for others.  That it cannot be written is no failure of what was changed.

    ``inbox``: directory of INBOX.  ``name``: of the mailbox, "" for the account.  ``session``: whose
    change it is."""
    path = os.path.join(inbox, JOURNAL)
    line = b"\t".join((session, utf7.encode(name), *entries)) + b"\n"
    try:
        fd = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW)
        try:
            size = os.fstat(fd).st_size
            if size and size + len(line) > JOURNAL_OCTETS:
                replace(path, line, os.path.join(inbox, "tmp"), options.host, "journal", sync=False)
            else:
                write_all(fd, line)
        finally:
            os.close(fd)
    except (OSError, StoreError) as error:
        log.warn(f"{path}: other sessions do not hear of a change of METADATA: {error}")


class Journal:
    """Where a session is in it.  ``kept``: as ``place`` was; b"" for who begins to hear now."""

    def __init__(self, inbox: str, kept: bytes = b"") -> None:
        self._path = os.path.join(inbox, JOURNAL)
        inode, _, at = kept.partition(b" ")
        self._inode, self._at = (int(inode), int(at)) if at else self._now()

    def _now(self) -> tuple[int, int]:
        try:
            found = os.stat(self._path)
        except OSError:
            return 0, 0
        return found.st_ino, found.st_size

    @property
    def place(self) -> bytes:
        return b"%d %d" % (self._inode, self._at)

    def news(self, session: bytes) -> dict[str, dict[bytes, None]]:
        """Mailbox -> entries that others than ``session`` have changed since the last time."""
        found: dict[str, dict[bytes, None]] = {}
        now = self._now()
        if now == (self._inode, self._at) or not now[0]:
            return found
        try:
            data = whole(self._path)
        except OSError:
            return found
        # another file: it was begun anew
        start = self._at if now[0] == self._inode and now[1] >= self._at else 0
        end = data.rfind(b"\n") + 1
        self._inode, self._at = now[0], max(start, end)
        for line in data[start:end].split(b"\n"):
            if _LINE.fullmatch(line):              # what is none is not ours
                who, name, *entries = line.split(b"\t")
                try:
                    spelled = utf7.decode(name)
                except ValueError:
                    continue
                if who != session:
                    found.setdefault(spelled, {}).update(dict.fromkeys(entries))
        return found
