"""What would be said again and again is said once a minute."""
from __future__ import annotations

import time

from courierpy.model import fresh

EVERY = 60.0                   # seconds
_last: dict[str, float] = {}
fresh.forgets(_last.clear)


def due(key: str) -> bool:
    """Was this not said in the last minute?  Then it is said now."""
    now = time.monotonic()
    if now - _last.get(key, -EVERY) < EVERY:
        return False
    _last[key] = now
    return True
