"""How often a client may try, and how long it waits for a no.  Knows no protocol.

A refusal comes ``delay`` seconds after the question, whatever its reason, so that nobody learns
from the clock whether a name or a password was right.  The delay is FIRST for the first FREE
refusals and doubles with each further one, up to LONGEST: refusals of the same address or of the
same user, in all connections of the listener (see tries).  A right password never waits.
"""
from __future__ import annotations

import time

from courierpy.login import tries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST = 5.0                    # seconds
LONGEST = 30.0
FREE = 2                       # refusals of an address or a user
MAX_FAILURES = 10              # refusals of one connection


class Gate:
    """One connection.  ``seconds``: of the whole stage before the login; ``first``: of the first delay."""

    def __init__(self, environ: Mapping[str, str], seconds: float, first: float = FIRST) -> None:
        self.started = time.monotonic()
        self.end = self.started + seconds
        self.first = first
        self.failures = 0
        self._address = network(environ.get("TCPREMOTEIP", ""))
        self._environ = environ

    def left(self) -> float:
        """Seconds until the stage is over; 0 when it is."""
        return max(0.0, self.end - time.monotonic())

    def refuse(self, began: float, user: str) -> bool:
        """Waits until the refusal is due; True when the client may try again.

        ``began``: when it asked, on the monotonic clock.  ``user``: whom it asked for, "" if nobody.
        """
        keys = [f"address {self._address}"] + ([f"user {user.casefold()}"] if user else [])
        wait = began + self.delay(tries.refused(tries.inherited(self._environ), keys)) - time.monotonic()
        time.sleep(max(0.0, wait))
        self.failures += 1
        return self.failures < MAX_FAILURES and self.left() > 0

    def delay(self, count: float) -> float:
        """Seconds, for the ``count``-th refusal."""
        return min(self.first * 2.0 ** min(10, max(0, round(count) - FREE)), max(LONGEST, self.first))


def network(address: str) -> str:
    """What one client can have: an IPv4 address, or the first half of an IPv6 one (RFC 6177)."""
    address = address.removeprefix("::ffff:")
    if ":" not in address:
        return address
    import socket
    try:
        return socket.inet_pton(socket.AF_INET6, address)[:8].hex()
    except OSError:
        return address
