"""Which commands a session may do at the moment: by its state, its rights, and what is read-only."""
from __future__ import annotations

from courierpy.imap.commands import CHANGES, NUMBERS, SELECTED, WRITES
from courierpy.model.replies import Bad, No, UidRequired

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.commands import Row
    from courierpy.imap.session import Session


def check(session: Session, row: Row) -> None:
    """Raises Bad where ``row`` is no command of the session's state, No where the session, the selected
    mailbox or the rights on it forbid it."""
    if session.only_reads and row.flags & (CHANGES | WRITES):
        raise No("This session only reads.", b"NOPERM")
    selected = session.selected
    if selected is None:
        if row.states == SELECTED:
            raise Bad("No mailbox is selected.")
        return
    if row.flags & NUMBERS and not session.manners.numbered:
        raise UidRequired
    if row.flags & WRITES and selected.readonly:
        raise No("Current box is selected READ-ONLY.")
    if not selected.rights.issuperset(row.rights):
        raise No("Access denied.", b"NOPERM")
