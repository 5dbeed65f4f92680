"""What becomes of the messages that EXPUNGE and its like remove, and the lines of the log about them.
IMAP_LOG_DELETIONS."""
from __future__ import annotations

from courierpy.imap import ext
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.imap.session import Session
    from courierpy.maildir.disposal import Disposal
    from courierpy.system.settings import Settings


def disposal(session: Session, count: int) -> Disposal | None:
    """For ``count`` messages of the selected mailbox that are to go; None: they just go, and nobody wants to
    know.  Raises a store error."""
    tell = teller(session.settings, session.who)
    make = ext.find("disposals", b"")
    found: Disposal | None = make(session, count, tell) if make is not None else None
    if found is None and tell is not None:
        from courierpy.maildir.disposal import Disposal  # where it is logged
        from courierpy.model.uidset import NO_UIDS
        found = Disposal(None, NO_UIDS, tell)
    return found


def teller(settings: Settings, who: str) -> Callable[[bytes, bytes], None] | None:
    """What writes Courier's lines: one for a file that goes, and one before it for what becomes of it.  None:
    nobody wants to know.  ``who``: the client, see log.who()."""
    if settings.values.get("IMAP_LOG_DELETIONS", "0")[:1] == "0":      # empty is on, as in Courier
        return None

    def tell(path: bytes, there: bytes) -> None:
        line = f"EXPUNGED, {who}, old_name={log.path(path.replace(b'/./', b'/', 1))}"
        if there:
            line += f", new_name={log.path(there.removeprefix(b'./'))}: only new_name will be left"
        log.info(line)
    return tell
