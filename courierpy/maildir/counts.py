"""What STATUS found in each folder of an account, and what each folder looked like then.

A client asks for the counts of all its folders every few minutes, and next to none of
them has changed: a folder whose stamps are the same is not opened.
"""
from __future__ import annotations

import os
import time

from courierpy.maildir import listing, uiddb
from courierpy.maildir.errors import FolderMissing, trouble
from courierpy.maildir.index import Stamps
from courierpy.maildir.keywords import DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.index import Index


class Status:
    """Counts without opening: RFC 9051 6.3.11."""

    __slots__ = ("messages", "recent", "uidnext", "uidvalidity", "unseen")

    def __init__(self, messages: int, recent: int, uidnext: int, uidvalidity: int, unseen: int) -> None:
        self.messages = messages
        self.recent = recent
        self.uidnext = uidnext
        self.uidvalidity = uidvalidity
        self.unseen = unseen


def stamp(path: str, keywords: bool) -> Stamps | None:
    """Identities of the directories and the uiddb of a folder; None when one is too young to
    trust.  FolderMissing without cur/ or new/."""
    words = 0
    try:
        where = path + "/cur"
        cur = os.stat(where)
        where = path + "/new"
        new = os.stat(where)
    except FileNotFoundError:
        raise FolderMissing(where) from None
    except OSError as error:
        raise trouble(where, error) from None
    if keywords:
        try:
            words = os.stat(f"{path}/{DIRECTORY}").st_mtime_ns
        except OSError:
            words = 0
    database = uiddb.stamp(path)
    now = time.time_ns()
    for when in (cur.st_mtime_ns, new.st_mtime_ns, words, database[1] if database else 0):
        if when and not listing.settled(when, now):
            return None
    return Stamps(cur.st_mtime_ns, cur.st_ino, new.st_mtime_ns, words, database)


class Counts:
    """``index``: that of the Maildir."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._known: dict[str, tuple[Stamps, Status]] = {}

    def find(self, path: str, stamps: Stamps | None) -> Status | None:
        """What is known of a folder that looks like this."""
        known = self._known.get(path)
        return known[1] if known is not None and known[0] == stamps else None

    def put(self, path: str, stamps: Stamps, status: Status) -> None:
        self._known[path] = stamps, status
