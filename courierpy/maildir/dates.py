"""When a message came: the time of its file, which Courier's second protocol may set."""
from __future__ import annotations

import os
import time

from courierpy.maildir.errors import unchangeable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.finder import Finder


def set_arrived(finder: Finder, uid: int, when: float) -> None:
    """``when``: seconds since 1970.  IMAP clients hear of it where nobody has asked for the date before: for
    them it never changes (RFC 9051 2.3.3).  Raises Vanished, or another store error."""
    path, _ = finder.locate(uid)
    try:
        os.utime(path, (time.time(), when))
    except (OSError, OverflowError) as error:
        found = error if isinstance(error, OSError) else OSError(22, os.strerror(22))
        raise unchangeable(path, found) from None
