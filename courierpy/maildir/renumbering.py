"""A mailbox gets another UIDVALIDITY, and so another MAILBOXID: clients forget what they know of it.

For an administrator who wants that, as after a Maildir was put together of two, or copied into the same
account.  The UIDs stay; what was computed for the old UIDVALIDITY goes.
"""
from __future__ import annotations

from courierpy.maildir.errors import DiskTrouble
from courierpy.maildir.files import remove_tree, replace, sync_directory
from courierpy.maildir.formats.uiddb import UidDb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.maildir.store import Store
    from courierpy.maildir.uidvalidity import Uidvalidities


def give_another(store: Store, name: str) -> tuple[int, int]:
    """(The old UIDVALIDITY, the new one.)  Raises a store error, and then it is as it was."""
    folder = store.open(name)
    try:
        return _give_another(folder, store.uidvalidities)
    finally:
        folder.close(wait=True)


def _give_another(folder: Mailbox, uidvalidities: Uidvalidities) -> tuple[int, int]:
    place, options = folder.place, folder.place.options
    with folder.locked():
        folder.scan(readonly=True)         # it has numbers, and sound ones
        found = place.numbers()
        if found is None or found.damaged:
            raise DiskTrouble(place.uiddb, OSError(0, "its numbers cannot be read"))
        new = uidvalidities.next(above=found.uidvalidity)
        head, *lines = UidDb(new, found.uidnext, found.uids, found.text, found.lines).pieces()
        replace(place.uiddb, head, place.tmp, options.host, "imapuid_0", sync=options.sync, more=lines)
        if options.sync:
            sync_directory(place.path)
        # behind it: who was killed between both has an index that says by itself that it is of another one
        if place.index.trusted():
            remove_tree(place.index.path)
    folder.forget()
    return found.uidvalidity, new
