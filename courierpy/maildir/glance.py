"""A look at a mailbox that changes nothing: no number is given, no file moved, nothing kept.

For tools that only tell.  What it says was so when it was looked at, and no lock was taken for it.
"""
from __future__ import annotations

import os

from courierpy.maildir import contents, directory
from courierpy.maildir.errors import trouble
from courierpy.maildir.formats.uiddb import UidDb
from courierpy.maildir.names import base, bits_of, info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.mailboxdirectory import MailboxDirectory


class Glanced:
    """A message.  ``uid``: 0 for one that has no number yet; ``path``: of its file; ``name``: base name;
    ``bits``: flags; ``octets``: of the file; ``arrived``: its INTERNALDATE, in seconds since 1970; of a link
    that nobody can follow its own."""

    __slots__ = ("arrived", "bits", "name", "octets", "path", "uid")

    def __init__(self, uid: int, path: bytes, octets: int, arrived: float) -> None:
        file = os.path.basename(path)
        self.uid = uid
        self.path = path
        self.name = base(file)
        self.bits = bits_of(info(file))
        self.octets = octets
        self.arrived = arrived


def glance(place: MailboxDirectory) -> tuple[UidDb, list[Glanced]]:
    """(The numbers, the messages in order of them, those without one last).  Raises a store error."""
    found = place.numbers()
    database = found if found is not None else UidDb(0, 1)
    held, missing, unknown = contents.look(database, place.files())
    gone = set(missing)
    inside, new = place.inside, os.fsencode(place.new) + b"/"
    paths = [(uid, inside + held.file(row)) for row, uid in enumerate(database.uids) if row not in gone]
    paths += [(0, inside + file) for file in sorted(unknown.values())]
    paths += [(0, new + file) for file in sorted(directory.files(place.new))]
    messages = []
    for uid, path in paths:
        seen = _seen(path)
        if seen is None:
            continue
        messages.append(Glanced(uid, path, seen.st_size, seen.st_mtime))
    return database, messages


def _seen(path: bytes) -> os.stat_result | None:
    """None for what went, or has another name, just now.  Raises a store error."""
    try:
        try:
            return os.stat(path)
        except FileNotFoundError:
            return None
        except OSError:                # a circle, say: it keeps nobody from the other messages
            return os.lstat(path)
    except OSError as error:
        raise trouble(path, error) from None
