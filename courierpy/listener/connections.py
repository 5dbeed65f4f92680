"""Who is connected: the process of each connection, how many of an address, who has not logged in.

A connection has a process, or sleeps and has none; it counts for its address all the time.
Before its login it is *waiting*: those who wait have a bound of their own, and beyond it
the oldest goes, so that clients that only connect shut nobody out.
"""
from __future__ import annotations

import os
import signal
import time

from courierpy.listener.admission import Counts, network
from courierpy.system import desk

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from courierpy.listener.admission import Address

GRACE = 2.0                    # seconds that a connection has for its login, whatever comes meanwhile
LEAVING = 5.0                  # seconds that one has to go, once told


class Connection:
    """One connection that couriertcpd has accepted.

    ``account``: whose session it is, as the helper rendered it; b"" where that is not known.
    ``address``: what it counts for; "" while that is not known, and once another holds its
    place.  ``peer``: the other end of its socket, ("", 0) where that is not known.  ``identity``: device
    and inode of the socket that its session has, (0, 0) where that is not known.  ``started``:
    on the monotonic clock.  ``desk``: open until the login; None after it, or where nobody tells."""

    __slots__ = ("account", "address", "desk", "identity", "peer", "started", "told_to_go")

    def __init__(self, address: str, peer: Address = ("", 0), desk: socket.socket | None = None,
                 started: float = 0.0) -> None:
        self.account = b""
        self.address = address
        self.peer = peer
        self.identity = (0, 0)
        self.desk = desk
        self.started = started or time.monotonic()
        self.told_to_go = 0.0          # when it was; 0.0: it was not


class Asleep:
    """A connection without a process.  ``address``: what it counts for.  ``peer``: the other end of
    its socket.  ``client`` and ``file``: descriptors of the connection and of its state.  ``uid``,
    ``gid``, ``groups``: who its session was; ``account``: as of Connection."""

    __slots__ = ("account", "address", "client", "file", "gid", "groups", "peer", "uid")

    def __init__(self, address: str, peer: Address, client: int, file: int, uid: int, gid: int,
                 groups: tuple[int, ...], account: bytes = b"") -> None:
        self.account = account
        self.address = address
        self.peer = peer
        self.client = client
        self.file = file
        self.uid, self.gid, self.groups = uid, gid, groups

    def close(self) -> None:
        for fd in (self.client, self.file):
            os.close(fd)

    def line(self) -> str:
        """A line of it for the next image, as of() reads it."""
        groups = ",".join(map(str, self.groups))
        return (f"{self.client} {self.file} {self.uid} {self.gid} [{groups}] {self.peer[1]} {self.peer[0]} "
                f"{self.address} {self.account.hex()}")

    @classmethod
    def of(cls, line: str) -> Asleep:
        client, file, uid, gid, groups, port, peer, address, *account = line.split(" ")
        return cls(address, (peer, int(port)), int(client), int(file), int(uid), int(gid),
                   tuple(map(int, filter(None, groups[1:-1].split(",")))), bytes.fromhex("".join(account)))


class Connections:
    """The connections that are on, and how many each address has.

    ``by_pid``: those with a process.  ``waiting``: those of them that have not logged in, the
    oldest first.  ``bound``: how many may wait, 0 for any number.  ``closing`` is called before
    the descriptor of a desk is closed."""

    def __init__(self, networks: bool, closing: Callable[[int], object], bound: int = 0) -> None:
        self.counts = Counts(networks)
        self.bound = bound
        self.by_pid: dict[int, Connection] = {}
        self.waiting: dict[int, Connection] = {}
        self._closing = closing
        self._at_desk: dict[int, int] = {}         # descriptor -> pid

    def add(self, pid: int, connection: Connection) -> None:
        self.by_pid[pid] = connection
        if connection.address:
            self.counts.add(connection.address, 1)
        if connection.desk is not None:
            self._at_desk[connection.desk.fileno()] = pid
            if self.bound:
                self.waiting[pid] = connection

    def takes_over(self, pid: int, connection: Connection) -> None:
        """A connection that counts already has a process now."""
        self.by_pid[pid] = connection

    def busy(self) -> int:
        """How many have a process, without those that wait."""
        return len(self.by_pid) - len(self.waiting)

    def desks(self) -> Iterable[int]:
        """The descriptors of all desks."""
        return self._at_desk.keys()

    def at_desk(self, fd: int) -> bool:
        """Hear what is said there.  False: it is closed now, the connection has logged in or ended."""
        pid = self._at_desk.get(fd)
        connection = self.by_pid.get(pid or 0)
        if pid is None or connection is None or connection.desk is None:
            return False
        said = desk.heard(connection.desk)
        if said == "":
            self._leave_desk(pid, connection)
            return False
        if said is not None and not connection.address:
            of = self.counts.of
            desk.answer(connection.desk, of.get(said, 0), of.get(network(said), 0))
            connection.address = said
            self.counts.add(said, 1)
        return True

    def _leave_desk(self, pid: int, connection: Connection) -> None:
        if connection.desk is not None:
            self._closing(connection.desk.fileno())
            del self._at_desk[connection.desk.fileno()]
            connection.desk.close()
            connection.desk = None
        self.waiting.pop(pid, None)

    def ended(self, pid: int) -> Connection | None:
        """The connection of this process, which has ended."""
        connection = self.by_pid.pop(pid, None)
        if connection is not None:
            self._leave_desk(pid, connection)
            self.left(connection.address)
        return connection

    def left(self, address: str) -> None:
        """A connection from there is no more."""
        if address:
            self.counts.add(address, -1)

    def takes_place_of(self, pid: int) -> str:
        """The address whose place somebody else holds from now on, without that process; "" for none."""
        connection = self.by_pid.get(pid)
        if connection is None:
            return ""
        address, connection.address = connection.address, ""
        return address

    # -- the bound

    def room(self) -> bool:
        """May another one wait, or is there one that can go for it?"""
        if not self.bound or len(self.waiting) < self.bound:
            return True
        # some who were told to go may not have gone yet; but not without end
        oldest = self._oldest()
        return len(self.waiting) < 2 * self.bound and oldest is not None \
            and time.monotonic() - self.waiting[oldest].started >= GRACE

    def make_room(self) -> bool:
        """Tell the oldest to go when there are too many.  True: it was told."""
        if not 0 < self.bound <= len(self.waiting):
            return False
        # who were told are the oldest of all
        told, oldest = next(((told, pid) for told, pid in enumerate(self.waiting)
                             if not self.waiting[pid].told_to_go), (len(self.waiting), 0))
        if len(self.waiting) - told < self.bound:
            return False
        self.waiting[oldest].told_to_go = time.monotonic()
        _signal(oldest, signal.SIGUSR1)
        return True

    def _oldest(self) -> int | None:
        """Of those that were not told to go yet."""
        return next((pid for pid, connection in self.waiting.items() if not connection.told_to_go), None)

    def see_off(self) -> None:
        """Who was told to go, and does not, is killed."""
        now = time.monotonic()
        for pid, connection in self.waiting.items():
            if not connection.told_to_go:
                break                  # nor were those behind it
            if now - connection.told_to_go >= LEAVING:
                connection.told_to_go = now
                _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
