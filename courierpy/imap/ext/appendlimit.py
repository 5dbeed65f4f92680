"""APPENDLIMIT.  RFC 7889: the largest message that is taken, for all mailboxes the same or by mailbox."""
from __future__ import annotations

from courierpy.imap.appending import append_limit
from courierpy.imap.ext import Extension

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session
    from courierpy.maildir.index.statuscache import Status


def _status(session: Session, name: str, count: Status) -> bytes:
    limit = append_limit(session, name)
    return b"%d" % limit if limit else b"NIL"


EXTENSION = Extension(b"APPENDLIMIT", value="IMAP_APPENDLIMIT", status_items={b"APPENDLIMIT": _status})
