"""What counts for the quota of a Maildir++, by Courier's rules.

The files in cur/ and new/ of INBOX and of all folders but the one whose directory is ``.Trash``, without
those that have the letter T (\\Deleted), each with the size that its name says, else with its own; whatever
they are, links and directories too.  What cannot be looked into counts nothing.
"""
from __future__ import annotations

import os

from courierpy.maildir.errors import trouble
from courierpy.maildir.formats import maildirsize
from courierpy.maildir.formats.maildirsize import Amount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FREE = ".Trash"                    # the directory of the folder that does not count, whatever trash is called
PARTS = (b"cur", b"new")


def octets_in(directory: bytes, file: bytes) -> int:
    """What this file of a directory counts, -1 for one that does not, and for one that is gone."""
    if not maildirsize.counts(file):
        return -1
    octets = maildirsize.octets_of(file)
    if octets < 0:
        try:
            return os.stat(os.path.join(directory, file)).st_size
        except OSError:
            return -1
    return octets


def _directories(root: bytes) -> Iterator[bytes]:
    """All in the Maildir whose files count.  Raises a store error."""
    try:
        entries = os.listdir(root)
    except OSError as error:
        raise trouble(root, error) from None
    free = os.fsencode(FREE)
    for entry in (b".", *[entry for entry in entries if entry.startswith(b".") and entry != free]):
        for part in PARTS:
            yield os.path.join(root, entry, part)


def times(root: bytes) -> list[tuple[bytes, int]]:
    """When something came to each directory whose files count or left it last, in nanoseconds, as far as
    that can be known.  Raises a store error."""
    found = []
    for directory in _directories(root):
        try:
            found.append((directory, os.stat(directory).st_mtime_ns))
        except OSError:
            continue                   # no mailbox, or nobody may look into it
    return sorted(found)


def count(root: bytes) -> Amount:
    """All that counts.  Raises a store error."""
    octets = messages = 0
    for directory in _directories(root):
        try:
            files = os.listdir(directory)
        except OSError:
            continue
        sizes = [size for size in [octets_in(directory, file) for file in files] if size >= 0]
        octets += sum(sizes)
        messages += len(sizes)
    return Amount(octets, messages)
