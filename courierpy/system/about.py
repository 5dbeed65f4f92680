"""What a program says of itself, for ``--help`` and ``--version``."""
from __future__ import annotations

import os

from courierpy import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def told(argv: Sequence[str], usage: str) -> int | None:
    """Answer a command line that only asks; the exit status.  None for one that wants work to be done."""
    if argv[1:2] in (["--version"], ["-V"]):
        text = f"courierpy {__version__}"
    elif argv[1:2] in (["--help"], ["-h"]):
        text = usage.strip()
    else:
        return None
    try:
        os.write(1, text.encode() + b"\n")
    except OSError:
        return 1                       # nobody reads it
    return 0
