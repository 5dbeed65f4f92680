"""The messages of a mailbox that a client asks about without selecting it: for items of STATUS."""
from __future__ import annotations

from contextlib import contextmanager

from courierpy.maildir.errors import Vanished

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from courierpy.imap.session import Session
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.model.messages import Messages


def messages(session: Session, name: str) -> Messages:
    """Those that are there now, also where the mailbox is the selected one.  Raises a store error."""
    with _looked(session, name) as (_, found):
        return found


@contextmanager
def _looked(session: Session, name: str) -> Iterator[tuple[Mailbox, Messages]]:
    selected = session.selected
    if selected is not None and selected.folder.name == name:
        snapshot = selected.folder.scan(readonly=selected.readonly)
        selected.recent_from(snapshot)             # told once, and to us
        yield selected.folder, snapshot.messages
        return
    folder = session.folders.open(name)
    try:
        yield folder, folder.scan(readonly=True).messages
    finally:
        folder.close()


def octets(session: Session, name: str, those: Callable[[Messages], Collection[int]]) -> int:
    """The octets on disk of ``those`` messages of a mailbox, by UID; of those that are gone none.  Raises a
    store error."""
    with _looked(session, name) as (folder, found):
        return _octets(folder, those(found))


def _octets(folder: Mailbox, uids: Collection[int]) -> int:
    total = 0
    for uid in uids:
        try:
            total += folder.finder.stat(uid)[0]
        except Vanished:
            continue
    return total
