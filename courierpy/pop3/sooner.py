"""Who comes sooner than LOGIN-DELAY says.  RFC 2449 6.5, 8.1.1.

The time of the last login is that of an empty file in the Maildir, which is the working directory.  A file
that cannot be read or written keeps nobody out.
"""
from __future__ import annotations

import os
import time

from courierpy.system import log
from courierpy.system.regular import open_regular

LAST = "courierpy-pop3login"


def seconds_left(delay: int) -> int:
    """Until the next login is accepted, where there are ``delay`` seconds between two; 0: it is now.  A time
    that is still to come is of a clock that was wrong, and none."""
    try:
        since = time.time() - os.lstat(LAST).st_mtime
    except FileNotFoundError:
        return 0
    except OSError as error:
        log.err(f"{LAST}: {error.strerror}: when the last login was is not known")
        return 0
    return int(delay - since) + 1 if 0 <= since < delay else 0


def came() -> None:
    """A login is accepted now."""
    try:
        fd = open_regular(LAST, os.O_WRONLY | os.O_CREAT)
        try:
            os.utime(fd)
        finally:
            os.close(fd)
    except OSError as error:
        log.err(f"{LAST}: {error.strerror}: the next login may be sooner than POP3_LOGIN_DELAY says")
