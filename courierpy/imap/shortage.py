"""What becomes of a command for which there is no memory: NO [LIMIT], or where that would be no true
answer BYE [LIMIT].  IMAP_ULIMITD sets the limit.

A command that breaks off anywhere may leave half of what it was finding out.  So all of it goes, and the
selected mailbox is looked at anew; the client's view of it stays, and what differs is told as any change is.
"""
from __future__ import annotations

from courierpy.imap.commands import LEAVES_FOLDER
from courierpy.model.replies import Bye
from courierpy.system import log
from courierpy.system.conn import Gone
from courierpy.system.memory import reserve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.commands import Row
    from courierpy.imap.session import Session

LAST_WORDS = Bye("There is not enough memory to go on here.", b"LIMIT")


def recover(session: Session) -> None:
    """Makes the session whole after a MemoryError in a command; then it looks at its mailbox, as after any
    command that was refused.

    Raises Bye where it cannot, and Gone where nothing can be said: in the middle of a literal.
    """
    row = session.row
    try:
        with reserve():
            log.err(f"no memory for {_name(row)}: IMAP_ULIMITD is {session.settings.text('IMAP_ULIMITD')}, "
                    f"{session.who}")
            if session.conn.midway:
                raise Gone
            if session.selected is not None:
                session.selected.forget()
                if row is not None and row.flags & LEAVES_FOLDER:
                    # RFC 9051 6.3.2: after a SELECT that fails nothing is selected
                    session.selected.folder.close()
                    session.selected = None
            if row is not None:
                session.sync(row)
    except MemoryError:
        raise LAST_WORDS from None


def _name(row: Row | None) -> str:
    return row.name.decode() if row is not None else "a command"
