"""A fault of ours in the middle of a command: it costs the client that command, and no more."""
from __future__ import annotations

import os

from courierpy.model import fresh
from courierpy.system import log


def bug() -> str:
    """The traceback of the exception that is being handled to the log, under a number.  Gives the number,
    which is all that a client is told.  The process serves nobody else after it."""
    import sys
    import traceback
    fresh.spoil()
    number = os.urandom(4).hex()
    for line in traceback.format_exception(*sys.exc_info()):
        for part in line.rstrip().split("\n"):
            log.crit(f"bug {number}: {part}")
    return number
