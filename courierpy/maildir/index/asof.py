"""HIGHESTMODSEQ for a client that did not ask for MODSEQs, without a look into their log.

RFC 7162 3.1.2.1 wants it told by every SELECT, and there are clients that ask for mod-sequences only where
they saw it.  Nothing is numbered for that.  What is told is the later of two times: that of the mailbox's
last change, and that of its log, which is set to the highest number in it; both are microseconds since
1970, as the numbers are.  So it rises with every change, it is what the log says where that knows all, and
whatever happens from now on will have a higher number.

It may be less than what the log would say: then a client asks for more than it needs.  It is never later
than the look of which the client is told.
"""
from __future__ import annotations

import os

from courierpy.maildir.directory import COARSE_GRAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.index.columns import Index, Stamps

FILE = "modseq"
UNSETTLED = int(COARSE_GRAIN * 1e9)    # nanoseconds in which a second change may show no other time


def mark(fd: int, number: int) -> None:
    """``number`` is the highest of the log.  Where the file is another user's it has the time of writing."""
    try:
        os.utime(fd, ns=(number * 1000, number * 1000))
    except OSError:
        pass


def as_of(index: Index, stamps: Stamps, looked: int) -> int:
    """``stamps``: of the mailbox, read when it has been looked at; ``looked``: nanoseconds since 1970, when
    that look began."""
    changed = max(stamps.cur, stamps.new, stamps.keywords, stamps.database[1] if stamps.database else 0)
    try:
        numbered = os.stat(index.file(FILE)).st_mtime_ns
    except OSError:
        numbered = 0
    return max(1, min(changed, looked - UNSETTLED) // 1000, min(numbered, looked) // 1000)
