"""UTF8=ACCEPT.  RFC 6855.  What follows from it is where strings are read and written."""
from __future__ import annotations

from courierpy.imap.ext import Extension

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session


def _enable(session: Session) -> None:
    """Nothing to prepare: ``session.utf8`` tells it from now on."""


EXTENSION = Extension(b"UTF8=ACCEPT", enable={b"UTF8=ACCEPT": _enable})
