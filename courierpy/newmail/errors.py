"""Why somebody was not told."""
from __future__ import annotations


class Later(Exception):
    """It may do another time.  str() says why."""


class Refused(Exception):
    """It will never do.  str() says why."""


class Gone(Refused):
    """Nobody is there any more who would want to hear: it need not be told again of anything."""
