"""SAVELIMIT.  RFC 9738: how many messages COPY and APPEND save, where that is another number than
MESSAGELIMIT."""
from __future__ import annotations

from courierpy.imap.ext import Extension


def _code(limit: int) -> bytes:
    """Nothing was saved."""
    return b"MESSAGELIMIT %d" % limit


EXTENSION = Extension(b"SAVELIMIT=", value="IMAP_SAVELIMIT", tagged_code={b"UNSAVED": _code})
