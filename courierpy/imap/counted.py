"""The messages of a mailbox that a client asks about without selecting it: for items of STATUS."""
from __future__ import annotations

from courierpy.maildir.errors import Vanished

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from courierpy.imap.session import Session
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.model.messages import Messages


def messages(session: Session, name: str) -> Messages:
    """Those that are there now, also where the mailbox is the selected one.  Raises a store error."""
    selected = session.selected
    if selected is not None and selected.folder.name == name:
        snapshot = selected.folder.scan(readonly=selected.readonly)
        selected.recent_from(snapshot)             # told once, and to us
        return snapshot.messages
    folder = session.folders.open(name)
    try:
        return folder.scan(readonly=True).messages
    finally:
        folder.close()


def octets(session: Session, name: str, uids: Collection[int]) -> int:
    """The octets of these messages of a mailbox on disk; of those that are gone none.  Raises a store
    error."""
    selected = session.selected
    if selected is not None and selected.folder.name == name:
        return _octets(selected.folder, uids)
    folder = session.folders.open(name)
    try:
        folder.scan(readonly=True)
        return _octets(folder, uids)
    finally:
        folder.close()


def _octets(folder: Mailbox, uids: Collection[int]) -> int:
    total = 0
    for uid in uids:
        try:
            total += folder.finder.stat(uid)[0]
        except Vanished:
            continue
    return total
