"""How often a client may try, and how long it waits for a no.  Knows no protocol.

A refusal comes ``delay`` seconds after the question, whatever its reason, so that nobody learns
from the clock whether a name or a password was right.  The delay is FIRST for the first FREE
refusals and doubles with each further one, up to LONGEST: refusals of the same address or of the
same user, in all connections of the listener (see tries).  A right password never waits.
"""
from __future__ import annotations

import time

from courierpy.auth import tries

FIRST = 5.0                    # seconds
LONGEST = 30.0                 # seconds
FREE = 2                       # refusals of an address or a user
MAX_FAILURES = 10              # refusals of one connection


class Gate:
    """One connection, from ``address``.  ``seconds``: of the whole stage before the login; ``first``: of
    the first delay; ``table``: of the refusals, -1 without one."""

    def __init__(self, address: str, seconds: float, first: float = FIRST, table: int = -1) -> None:
        self.started = time.monotonic()
        self.end = self.started + seconds
        self.first = first
        self.failures = 0
        self._address = address
        self._table = table

    def come_from(self, address: str) -> None:
        """It is known only now who that is."""
        self._address = address

    def left(self) -> float:
        """Seconds until the stage is over; 0 when it is."""
        return max(0.0, self.end - time.monotonic())

    def refused(self, began: float, user: str) -> float:
        """One more refusal: the moment when it is due to be told, on the monotonic clock.

        ``began``: when it asked.  ``user``: whom it asked for, "" if nobody.
        """
        self.failures += 1
        return due(self._table, began, self.first, self._address, user)

    def again(self) -> bool:
        """May the client try again?"""
        return self.failures < MAX_FAILURES and self.left() > 0


def due(table: int, began: float, first: float, address: str, user: str) -> float:
    """Counts a refusal; the moment when it is due to be told.  ``address``: "" for a program of this host."""
    keys = [f"address {network(address)}"] if address else []
    keys += [f"user {user.casefold()}"] if user else []
    return began + delay(tries.refused(table, keys), first)


def delay(count: float, first: float) -> float:
    """Seconds, for the ``count``-th refusal."""
    return min(first * 2.0 ** min(10, max(0, round(count) - FREE)), max(LONGEST, first))


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
