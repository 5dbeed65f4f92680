"""The listener's end of the way back (system/wayback.py): clients whose session is over by their own wish.

A session is its user's, and may be in anybody's hands: what it gives back must be the connection that
couriertcpd knows of this very process, from the address that this counts for.  All else that was found out of
the client, and its TLS, is found out anew or not believed: so EXTERNAL and channel bindings are for the
first login of a connection alone.
"""
from __future__ import annotations

import os
import socket

from courierpy.hibernate.link import is_of
from courierpy.system import channels, log, passing, seldom
from courierpy.system.wayback import AGAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.listener.admission import Address
    from courierpy.listener.connections import Connections


AT_ONCE = 64                   # messages


class Returned:
    """A client that a session gave back.

    ``fd``: of the client, to be closed by who has this.  ``remote``, ``local``: the ends of its
    connection.  ``peer``: the other end of its socket.  ``said``: what it has said since."""

    __slots__ = ("fd", "local", "peer", "remote", "said")

    def __init__(self, fd: int, remote: Address, local: Address, peer: Address, said: bytes) -> None:
        self.fd = fd
        self.remote = remote
        self.local = local
        self.peer = peer
        self.said = said

    @property
    def by_tls(self) -> bool:
        """Octets that come over another socket than TCP were carried through TLS here."""
        with socket.socket(fileno=os.dup(self.fd)) as client:
            return client.family == socket.AF_UNIX

    def variables(self) -> dict[str, str]:
        """What who logs in has to know besides the ends."""
        return {AGAIN: "1", **({"IMAP_TLS": "1"} if self.by_tls else {})}


class Returns:
    """The listener's end of the way back.

    ``way``: the sessions' end, which stays open here.  ``is_shut``: one of them has shut it for all."""

    def __init__(self, connections: Connections, left: tuple[int, int] | None = None) -> None:
        """``left``: both ends, ours first, of an earlier image.  OSError."""
        self.connections = connections
        self.is_shut = False
        if left is None:
            self.end, self.way = passing.pair()
            self.end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        else:
            self.end, self.way = (socket.socket(fileno=fd) for fd in left)
        self.above = max(self.end.fileno(), self.way.fileno()) + 1

    def left(self) -> tuple[int, int]:
        return self.end.fileno(), self.way.fileno()

    def hear(self) -> Iterator[Returned]:
        """Those that were given back; they count no more."""
        for _ in range(AT_ONCE):       # who floods it does not keep us from all else
            try:
                found = passing.receive_from(self.end)
            except passing.Refused as error:
                if seldom.due("way back"):
                    log.err(f"a session: {error}")
                continue
            if found is None:
                return
            data, fds, pid = found
            if not pid:
                self.is_shut = True
                return
            try:
                returned = self._returned(data, fds, pid)
            except OSError:            # the client is gone; it counts until the process ends
                passing.close(fds)
                continue
            if returned is None:
                if seldom.due("way back"):
                    log.alert(f"process {pid} gives a client back that it does not have")
                passing.close(fds)
            else:
                self.above = max(self.above, returned.fd + 1)
                yield returned

    def _returned(self, data: bytes, fds: list[int], pid: int) -> Returned | None:
        """None for what is not as it has to be.  OSError where the client is gone."""
        connection = self.connections.by_pid.get(pid)
        if connection is not None and connection.desk is not None:     # it may have logged in just now
            self.connections.at_desk(connection.desk.fileno())
        if connection is None or connection.desk is not None or len(fds) != 1 \
                or not 0 <= len(data) - channels.ADDRESS.size <= channels.REST_OCTETS:
            return None
        try:
            remote, local = channels.ends_of(data[:channels.ADDRESS.size])
            if not connection.address or remote[0] != connection.address or not is_of(fds[0], connection):
                return None
        except ValueError:
            return None
        peer = connection.peer
        self.connections.left(self.connections.takes_place_of(pid))
        return Returned(fds[0], remote, local, peer, data[channels.ADDRESS.size:])
