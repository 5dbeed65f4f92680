"""HIGHESTMODSEQ of mailboxes that nobody has open, for STATUS.  RFC 7162 3.1.7."""
from __future__ import annotations

import os

from courierpy.maildir.errors import FolderMissing, NameInvalid
from courierpy.maildir.index.modseqlog import FILE
from courierpy.maildir.index.statuscache import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.store import Store


def highest(store: Store, name: str) -> int:
    """HIGHESTMODSEQ of a mailbox, for STATUS: all that is there is numbered; 0 where that cannot be kept.
    RFC 7162 3.1.7.  What is in new/ comes to cur/, and is recent still for who opens the mailbox.

    Raises StoreError.
    """
    known = store.highest.get(name)
    if known is not None and known[0] == _identity(store, name):
        return known[1]
    mailbox = store.open(name)
    before = _identity(store, name)
    try:
        modseqs = mailbox.number_changes()
        mailbox.scan(readonly=True)
        number = modseqs.history.highest if modseqs.kept else 0
    finally:
        mailbox.close()
    if before is not None and before == _identity(store, name):
        store.highest[name] = before, number
    return number


def _identity(store: Store, name: str) -> object:
    """What is the same as long as the number is; None when that is not sure."""
    try:
        path = store.path_of(name)
        stamps = stamp(path, store.options.keyword_directory)
        found = os.stat(store.options.index(path).file(FILE))
    except (OSError, FolderMissing, NameInvalid):
        return None
    return None if stamps is None else (stamps, found.st_ino, found.st_size)
