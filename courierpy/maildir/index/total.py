"""The octets of all messages of a mailbox, and what the mailbox looked like when they were added up.

A line in the index, as true as its stamps and no truer: a client that shows how large
mailboxes are asks for all of them, and next to none has changed.
"""
from __future__ import annotations

from courierpy.maildir.index.statuscache import stamp
from courierpy.model.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.maildir.index.columns import Index

FILE = "total"
MAX_OCTETS = 200                   # of the file


def total(index: Index, path: str, add_up: Callable[[], int]) -> int:
    """The octets of the messages of the mailbox at ``path``: as kept, else as ``add_up`` says, which
    then are kept if nothing changed meanwhile.  Raises FolderMissing, and what ``add_up`` raises."""
    head = _head(path)
    if head:
        try:
            with open(index.open(FILE), "rb", buffering=0) as file:
                line = file.read(MAX_OCTETS) or b""
        except OSError:
            line = b""
        kept = line.removeprefix(head)
        octets = decimal(kept[:-1]) if kept != line and kept.endswith(b"\n") else None
        if octets is not None:
            return octets
    found = add_up()
    if head and head == _head(path):
        index.replace(FILE, (b"%s%d\n" % (head, found),))
    return found


def _head(path: str) -> bytes:
    """What a line begins with that is true now; b"" where something is too young to tell."""
    seen = stamp(path, "")
    if seen is None:
        return b""
    numbers = seen.inode, seen.cur, seen.new, *(seen.database or (0, 0, 0))
    return b"courierpy total 1 %s " % b" ".join([b"%d" % number for number in numbers])
