"""couriertcpd's side of sessions at other hosts, which login processes carry: who may connect, and who is on.

As with sessions here nothing is done but for a ticket of the helper, for this very process (doorway.py); and
the hosts are those of the ticket's account, one after the other.  A process beside connects.
"""
from __future__ import annotations

import os
import time

from courierpy.listener.beside import Beside
from courierpy.listener.connections import Connection
from courierpy.system import channels

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Protocol

    from courierpy.listener.connections import Connections
    from courierpy.listener.guests import Grant, Guest, Login
    from courierpy.listener.loop import Loop
    from courierpy.system.presence import Presence

    class Forwarding(Protocol):
        """As courierpy/forwarding.py has it."""

        connects: bool
        work: Callable[[socket.socket], int]

        def hosts(self, account: bytes) -> list[str]: ...

        def question(self, host: str, seconds: float, variables: Mapping[str, str]) -> bytes: ...

        def refusal(self, account: bytes, variables: Mapping[str, str]) -> bytes: ...

        def enter(self, account: bytes, variables: Mapping[str, str],
                  inode: int) -> tuple[Presence | None, bytes]: ...

        def entered(self, name: str) -> Presence: ...

MOST_SECONDS = 600.0           # that a connection may take
GRACE = 5.0                    # and a login process has to hear of it


class _Carried:
    """``inode``: of the socket to the host, 0 where that is not known."""

    __slots__ = ("connection", "inode", "presence", "process")

    def __init__(self, process: Login, connection: Connection, inode: int,
                 presence: Presence | None) -> None:
        self.process = process
        self.connection = connection
        self.inode = inode
        self.presence = presence


class Outward:
    """Sessions at other hosts, whose octets login processes carry.

    ``carried``: sessions by number.  ``beside``: who connects."""

    def __init__(self, own: Forwarding, connections: Connections, loop: Loop) -> None:
        self.own = own
        self.carried: dict[int, _Carried] = {}
        self.beside = Beside("connects", own.work, loop)
        self._connections = connections
        self._asked: dict[int, tuple[Login, Guest, str, int, float]] = {}      # by number of the guest

    def tend(self) -> None:
        if self.own.connects:
            self.beside.tend()

    # -- a connection

    def connect(self, process: Login, number: int, guest: Guest, grant: Grant, data: bytes) -> str:
        """Ask for the one that a login process wants.  Why that must not be; "" where it may."""
        _, _, guest.ticket, which, seconds = channels.CONNECTS.unpack(data)
        hosts = self.own.hosts(grant.account) if self.own.connects else []
        if not grant.which <= which < len(hosts) or not 0.0 <= seconds <= MOST_SECONDS:
            return "to a host that is not its client's"
        first, grant.which = not grant.which, which + 1
        grant.until = time.monotonic() + seconds + channels.TICKET_SECONDS
        if first and (refusal := self.own.refusal(grant.account, guest.variables)):
            process.tell(channels.TURNED_AWAY, number, refusal)
        else:
            self._ask(process, number, guest, hosts[which], which, seconds)
        return ""

    def _ask(self, process: Login, number: int, guest: Guest, host: str, which: int, seconds: float) -> None:
        asked = self._asked[number] = process, guest, host, which, time.monotonic() + seconds
        head = channels.WHICH.pack(guest.ticket, which)

        def made(data: bytes | None, fds: list[int]) -> None:
            if self._asked.get(number) is not asked:
                return                 # the client wants another one by now
            del self._asked[number]
            if data == b"" and len(fds) == 1:
                guest.inode = os.fstat(fds[0]).st_ino
                process.tell(channels.CONNECTED, number, head, fds)
            else:
                process.tell(channels.UNREACHABLE, number, head + (data or b"nobody can connect to it now"))

        self.beside.put(self.own.question(host, seconds, guest.variables), seconds + GRACE, made)

    # -- a session

    def carries(self, process: Login, number: int, guest: Guest, grant: Grant) -> bool:
        """Is the guest a session from now on?"""
        presence, refusal = self.own.enter(grant.account, guest.variables, guest.inode)
        if refusal:
            process.tell(channels.TURNED_AWAY, number, refusal)
            return False
        self.carried[number] = _Carried(process, guest.connection, guest.inode, presence)
        process.tell(channels.STARTED, number)
        return True

    def gone(self, process: Login, number: int) -> None:
        """This session is over, if it is one of this process."""
        carried = self.carried.get(number)
        if carried is not None and carried.process is process:
            self._forget(number, carried)

    def _forget(self, number: int, carried: _Carried) -> None:
        del self.carried[number]
        self._connections.left(carried.connection.address)
        if carried.presence is not None:
            carried.presence.leave()

    def ended(self, process: Login) -> int:
        """A login process has ended; how many sessions have with it."""
        lost = [item for item in self.carried.items() if item[1].process is process]
        for number, carried in lost:
            self._forget(number, carried)
        return len(lost)

    def dismiss(self, words: Mapping[int, tuple[int, str]]) -> Iterable[int]:
        """End those that the administrator ends, by the inode of their socket; their files go when they
        have."""
        for number, carried in self.carried.items():
            if carried.inode and words.get(carried.inode, (-1, ""))[0] == os.geteuid():
                carried.process.tell(channels.LEAVE, number)
        return ()

    # -- another image

    def left(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """The sessions, and the connections that are asked for, as JSON has them."""
        asked = [[number, host, which, end] for number, (_, _, host, which, end) in self._asked.items()]
        sessions = [[number, each.process.pid, each.connection.address, each.connection.started,
                     *each.connection.peer, each.inode, each.presence.name if each.presence else ""]
                    for number, each in self.carried.items()]
        return sessions, asked

    def go_on(self, sessions: Iterable[list[Any]], asked: Iterable[list[Any]],
              processes: Mapping[int, Login], guests: Mapping[int, Guest]) -> None:
        for number, pid, address, started, host, port, inode, name in sessions:
            connection = Connection(address, (host, port), started=started)
            self.carried[number] = _Carried(processes[pid], connection, inode,
                                            self.own.entered(name) if name else None)
            if address:
                self._connections.counts.add(address, 1)
        wanted = [each for each in asked if each[0] in guests]
        if wanted:
            self.beside.tend()
        for number, name, which, end in wanted:
            guest = guests[number]
            self._ask(guest.process, number, guest, name, which, max(0.0, end - time.monotonic()))
