"""The messages of a mailbox that a client asks about without selecting it: for items of STATUS."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session
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
