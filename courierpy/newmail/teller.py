"""Tell notifyd of a message: one datagram, and nobody waits for what becomes of it.

A delivery never fails for it and hardly waits: a notifyd that is away or behind misses some, and the mail is
there all the same.
"""
from __future__ import annotations

import socket
import time

from courierpy.model import fresh
from courierpy.system import log, seldom

PATIENCE = 0.5                 # seconds until notifyd takes it
REST = 10.0                    # seconds in which one that took nothing is not asked again
_rests = [0.0]
fresh.forgets(lambda: _rests.__setitem__(0, 0.0))


def tell(path: str, data: bytes) -> bool:
    """Send the event to the socket ``path``.  False: it is lost, and the log says so."""
    now = time.monotonic()
    if now < _rests[0]:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(path)
            sock.send(data)
        return True
    except OSError as error:
        if isinstance(error, TimeoutError):
            _rests[0] = now + REST
        if seldom.due(f"notifyd {path}"):
            log.warn(f"{path}: notifyd does not hear of new mail: {error.strerror or error}")
        return False
