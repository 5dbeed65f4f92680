"""INPROGRESS.  RFC 9585: how far a command is that takes long: nobody takes its connection for dead."""
from __future__ import annotations

from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session


def _tell(session: Session, tag: bytes, done: int, goal: int) -> bytes:
    """``done`` of ``goal``: told while it grows; what begins anew, or has no end, is not."""
    far = b"%d %d" % (done, goal) if 0 <= done < goal else b"NIL NIL"
    # a reader may look for the end of the code without regard to quotes
    name = b"NIL" if b"]" in tag else out.quoted(tag)
    return lines.told(lines.OK, "Still working.", b"INPROGRESS (%s %s)" % (name, far))


EXTENSION = Extension(b"INPROGRESS", on_pulse={b"INPROGRESS": _tell})
