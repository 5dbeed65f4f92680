"""What password helpers have let in: the ways by which they say so, and the tickets that nobody has used yet.

A ticket waits for the login process that says it, a moment later, and is of no use before.  A client that
came with the question is given by the helper itself (system/channels.py), on a way of its own that
couriertcpd waits at, as its session begins then.
"""
from __future__ import annotations

import socket
import time
from functools import partial

from courierpy.listener.guests import Grant
from courierpy.system import channels, log, passing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.listener.loop import Loop

    # pid of a login process, number of its client, the account, what its session is told; the client,
    # which is closed behind it where it is there still
    Given = Callable[[int, int, bytes, bytes, list[int]], object]

TICKETS = 4096                 # that are not used yet, at most
HELPER = "the password helper"         # for the log


class Grants:
    """What password helpers have let in and nobody has used yet.

    ``tickets``: by their octets, the oldest first.  ``helper``: who is asked now, None while there is
    nobody.  ``others``: more of our ends that helpers say at whom they let in, those of before as well, which
    finish what they are at."""

    def __init__(self, loop: Loop, given: Given) -> None:
        self.tickets: dict[bytes, Grant] = {}
        self.helper: socket.socket | None = None
        self.others: list[socket.socket] = []
        self._loop = loop
        self._given = given

    # -- helpers

    def meet(self, helper: socket.socket) -> int:
        """There is another one, at the other end of this.  Our descriptors are below what it gives."""
        if self.helper is not None:
            self.others.append(self.helper)
        self.helper = helper
        self._loop.hear_beside(helper.fileno(), partial(self._all_of, helper))
        above = helper.fileno() + 1
        try:
            ours, theirs = passing.pair()
            with theirs:
                passing.send(helper, [channels.WAY], (theirs.fileno(),))
        except OSError as error:       # it gives tickets
            log.err(f"a password helper has no way to give a client: {error.strerror}")
            return above
        self.others.append(ours)
        self._loop.hear(ours.fileno(), partial(self._one_of, ours))
        return max(above, ours.fileno() + 1)

    def go_on(self, fd: int) -> None:
        """With one of all() of the image before."""
        way = socket.socket(fileno=fd)
        self.others.append(way)
        self._loop.hear(fd, partial(self._all_of, way))

    def all(self) -> list[int]:
        """The descriptors of these ways."""
        return [each.fileno() for each in (*self.others, self.helper) if each is not None]

    def introduce(self, pid: int) -> socket.socket | None:
        """What a login process asks the helper by; None where there is no helper.  OSError."""
        if self.helper is None:
            return None
        theirs, its = passing.pair()
        with theirs:
            try:
                passing.send(self.helper, [channels.LOGIN.pack(pid)], (theirs.fileno(),))
            except OSError:
                its.close()
                raise
        return its

    # -- what they say

    def catch_up(self) -> None:
        """Hear all that they have said by now."""
        for way in [*self.others, *([self.helper] if self.helper is not None else [])]:
            self._all_of(way)

    def _one_of(self, way: socket.socket) -> None:
        found = passing.heard(way, HELPER)
        if found is not None:
            self._take(way, *found)

    def _all_of(self, way: socket.socket) -> None:
        for data, fds in passing.waiting(way, HELPER):
            self._take(way, data, fds)

    def _take(self, way: socket.socket, data: bytes, fds: list[int]) -> None:
        if len(fds) == 1 and len(data) >= channels.GIVEN.size:
            pid, number, size = channels.GIVEN.unpack_from(data)
            at = channels.GIVEN.size
            self._given(pid, number, data[at:at + size], data[at + size:], fds)
        elif len(data) >= channels.GRANT.size:
            ticket, pid = channels.GRANT.unpack_from(data)
            self._forget_old()
            self.tickets[ticket] = Grant(data[channels.GRANT.size:], pid)
        else:
            self._ended(way)
        passing.close(fds)

    def _ended(self, way: socket.socket) -> None:
        self._loop.forget((way.fileno(),))
        way.close()
        if way is self.helper:
            self.helper = None
        else:
            self.others.remove(way)

    def _forget_old(self) -> None:
        now = time.monotonic()
        while self.tickets:
            ticket, grant = next(iter(self.tickets.items()))
            if grant.until > now and len(self.tickets) < TICKETS:
                return
            del self.tickets[ticket]

    # -- tickets

    def of(self, ticket: bytes, pid: int) -> Grant | None:
        """What it is for; None where it is not this process's, or too old."""
        if ticket not in self.tickets:         # what a helper said before it gave the ticket away
            self.catch_up()
        grant = self.tickets.get(ticket)
        return grant if grant is not None and grant.pid == pid and grant.until >= time.monotonic() else None
