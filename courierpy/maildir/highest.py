"""HIGHESTMODSEQ of mailboxes that nobody has open: for STATUS, and where annotations change.

RFC 7162 3.1.7, 3.2.
"""
from __future__ import annotations

import os

from courierpy.maildir.errors import FolderMissing, NameInvalid
from courierpy.maildir.files import exists
from courierpy.maildir.index.asof import FILE
from courierpy.maildir.index.modseqlog import ModseqLog
from courierpy.maildir.index.statuscache import stamp
from courierpy.maildir.locks import FolderLock

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


def rise(store: Store, name: str) -> None:
    """Something of a mailbox is another that is none of its messages: RFC 7162 3.2 wants a number for
    annotations.  Nothing where nobody asked for numbers yet.  Raises StoreError."""
    path = store.path_of(name)
    index = store.options.index(path)
    if not exists(os.fsencode(index.file(FILE))):
        return
    log = ModseqLog(index)
    try:
        with FolderLock(path, store.options.host, store.options.locks):
            log.rise(store.options.sync_all)
    finally:
        log.close()


def _identity(store: Store, name: str) -> object:
    """What is the same as long as the number is; None when that is not sure."""
    try:
        path = store.path_of(name)
        stamps = stamp(path, store.options.keyword_directory)
        found = os.stat(store.options.index(path).file(FILE))
    except (OSError, FolderMissing, NameInvalid):
        return None
    return None if stamps is None else (stamps, found.st_ino, found.st_size)
