"""Sessions that wait a moment for a process that is about to be free, though they could have another.

Many processes that go by turns push what each needs out of the processors' caches: a session takes twice
the time then, and a fork what several sessions take.  So while the sessions of those who may share
processes are brief, no more of them are served at once than there are processors, and one, and who comes
meanwhile waits until one is over, first come first served.  That is worth little, so nobody waits long for
it: after a moment in which none ended, and after some of these in any case, who waits has an idle process,
or a fork.
"""
from __future__ import annotations

import os
import socket
import time
from collections import deque
from itertools import islice

from courierpy.listener.sockets import turn_away
from courierpy.system import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.listener.connections import Connection
    from courierpy.system.channels import Order

PATIENCE = 0.005               # seconds that one waits while none ends, who could have a process
FOR_A_FORK = 0.02              # and who could not
TIMES = 6                      # so much longer whatever ends, and so young is a session that may be over soon


class Waiter:
    """A session that has no process yet.  ``fd``: of its client, its own.  ``since``: on the monotonic
    clock.  ``patience``: seconds that it waits while no session ends."""

    __slots__ = ("connection", "fd", "order", "patience", "since")

    def __init__(self, connection: Connection, order: Order, fd: int, patience: float) -> None:
        self.connection = connection
        self.order = order
        self.fd = os.dup(fd)           # OSError
        self.patience = patience
        self.since = time.monotonic()

    def turn_away(self, words: bytes) -> None:
        """It waits no more, as there is no process for it."""
        try:
            client = socket.socket(fileno=self.fd)
        except OSError:                # a login process in somebody's hands may say that any file is one
            os.close(self.fd)
        else:
            turn_away(client, words)


class _Share:
    """``serving``: when each process began the session that it is at, by pid, the last one at the end.
    ``brief``: was the session brief that was over last?  ``ended``: when that was.  ``waiting``: who came
    first is the first one."""

    __slots__ = ("brief", "ended", "serving", "waiting")

    def __init__(self) -> None:
        self.serving: dict[int, float] = {}
        self.brief = False
        self.ended = 0.0
        self.waiting: deque[Waiter] = deque()

    def until(self) -> float:
        """When the first one has waited long enough."""
        first = self.waiting[0]
        return min(max(first.since, self.ended) + first.patience, first.since + TIMES * first.patience)


class Queue:
    """By key: who may have a process after another."""

    def __init__(self) -> None:
        self.count = 0                 # of those who wait
        self.above = 3                 # their descriptors are below this
        self._shares: dict[bytes, _Share] = {}
        self._crowded: dict[bytes, _Share] = {}        # those where somebody waits
        self._enough = proc.processors() + 1

    def begins(self, key: bytes, pid: int) -> None:
        """This process is at a session of theirs from now on."""
        self._shares.setdefault(key, _Share()).serving[pid] = time.monotonic()

    def over(self, key: bytes, pid: int, brief: bool) -> None:
        """Its session is over, and was brief or not.  That it says itself, as we may hear it late."""
        share = self._shares.get(key)
        if share is not None and share.serving.pop(pid, None) is not None:
            share.ended = time.monotonic()
            share.brief = brief

    def ended(self, key: bytes, pid: int, others: bool) -> None:
        """This process ends, or may have.  ``others``: do more of theirs wait for a session?"""
        share = self._shares.get(key)
        if share is not None:
            share.serving.pop(pid, None)
            if not (share.serving or share.waiting or others):
                del self._shares[key]

    def is_for(self, key: bytes) -> bool:
        """Are enough processes at sessions of theirs that are over soon?"""
        share = self._shares.get(key)
        if share is None or not share.brief:
            return False
        young = islice(reversed(share.serving.values()), self._enough - 1, None)
        return next(young, float("-inf")) > time.monotonic() - TIMES * FOR_A_FORK

    def add(self, key: bytes, waiter: Waiter) -> None:
        share = self._crowded[key] = self._shares[key]
        share.waiting.append(waiter)
        self.count += 1
        self.above = max(self.above, waiter.fd + 1)

    def first(self, key: bytes) -> Waiter | None:
        """Who is to have a process of theirs, and waits no more."""
        share = self._crowded.get(key)
        if share is None:
            return None
        waiter = share.waiting.popleft()
        self.count -= 1
        if not share.waiting:
            del self._crowded[key]
        return waiter

    def overdue(self, all_of_them: bool = False) -> list[tuple[bytes, Waiter]]:
        """Those who waited in vain, and wait no more."""
        now, found = time.monotonic(), []
        for key, share in list(self._crowded.items()):
            while share.waiting and (all_of_them or share.until() <= now):
                waiter = self.first(key)
                assert waiter is not None
                found.append((key, waiter))
                share.ended = now      # one process more has the effect of an end
        return found

    def seconds(self, most: float) -> float:
        """Until somebody is overdue."""
        if not self._crowded:
            return most
        until = min(share.until() for share in self._crowded.values())
        return min(most, max(0.0, until - time.monotonic()))
