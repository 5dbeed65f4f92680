"""HIGHESTMODSEQ for a client that did not ask for MODSEQs, mostly without a look into their log.

RFC 7162 3.1.2.1 wants it told by every SELECT, and there are clients that ask for mod-sequences only where
they saw it, and for changes only where it is another than the one that they keep.  Where the log is surely
younger than the mailbox's last change it is the number of the log, which is set as the file's time.  Where
it is surely older, or there is none, it is the time of that change: both are microseconds since 1970.  So it
rises with every change, and whatever happens from now on will have a higher number.  Where that cannot be
told by the times, as somebody changed the mailbox just now or while it was numbered, the log has to say it.

It is never later than the look of which the client is told.
"""
from __future__ import annotations

import os
import time

from courierpy.maildir.directory import settled, unsettled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.index.columns import Index, Stamps

FILE = "modseq"


def mark(fd: int, number: int) -> None:
    """``number`` is the highest of the log.  Where the file is another user's it has the time of writing."""
    when = number * 1000
    if when > time.time_ns():          # the clock was set back: it says nothing of what has happened since
        when = 0
    try:
        os.utime(fd, ns=(when, when))
    except OSError:
        pass


def as_of(index: Index, stamps: Stamps, looked: int) -> int:
    """0: the log has to be asked.  ``stamps``: of the mailbox, read when it has been looked at; ``looked``:
    nanoseconds since 1970, when that look began."""
    changed = max(stamps.cur, stamps.new, stamps.keywords, stamps.database[1] if stamps.database else 0)
    # no more than is needed, as what was told a moment ago must not be higher
    seen = changed if settled(changed, looked) else min(changed, looked - unsettled(changed))
    try:
        numbered = os.stat(index.file(FILE)).st_mtime_ns
    except OSError:
        return max(1, seen // 1000)
    if seen // 1000 > numbered // 1000 > 0:
        return seen // 1000
    return numbered // 1000 if settled(changed, numbered) and numbered < looked else 0
