"""How much memory a session may take.  ``IMAP_ULIMITD``, as Courier's: RLIMIT_DATA, in KiB.

The kernel counts private memory that can be written to (setrlimit(2)); what is beyond the limit
becomes a MemoryError at whatever was being done.  A little is held back above it, for
what a session does and says then: it is the difference of the hard and the soft limit.
"""
from __future__ import annotations

import errno
import gc
from contextlib import contextmanager

from courierpy.model import fresh
from courierpy.system.proc import trim_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

RESERVE_OCTETS = 4 << 20           # beyond the limit, for the end of what failed
_limited = False


def limit(kib: int) -> None:
    """From now on this process and its children may take so much; 0: as before.  A lower limit that
    it has already stays."""
    global _limited
    if kib <= 0:
        return
    _limited = True
    import resource  # most sessions have no limit
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = kib * 1024
    if soft == resource.RLIM_INFINITY or wanted < soft:
        most = wanted + RESERVE_OCTETS
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (min(wanted, most), most))


def is_short(error: BaseException) -> bool:
    """Does the error say that there is no memory?  The kernel and the C library say ENOMEM; the interpreter
    sometimes, where it could not make the frame of a call, that something failed and it knows not why, and
    the loader of libraries that one cannot be mapped."""
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM \
        or _limited and isinstance(error, (SystemError, ImportError))


def take_reserve() -> tuple[int, int]:
    """From now on what was held back may be taken too; what is no longer needed is given back first.
    Gives the limits as they were."""
    import resource
    fresh.spoil()
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (before[1], before[1]))
    gc.collect()
    trim_memory()
    return before


@contextmanager
def reserve() -> Iterator[None]:
    """The reserve, within it."""
    import resource
    before = take_reserve()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
