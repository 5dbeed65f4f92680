"""The desk: what the process of a connection and couriertcpd say to each other until the login.

A socketpair for each connection that has not logged in; COURIERPY_DESK has the descriptor
of the connection's end.  The process may tell who the client is, where a proxy knows it,
and hears how many there are of that address.  It closes its end when the login is done,
and its end of itself closes it too: so the listener knows who is still before the login.
"""
from __future__ import annotations

import os
import socket
import struct

from courierpy.model.numbers import PID_MOST, decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

VARIABLE = "COURIERPY_DESK"
AUTHSOCKET = "COURIERPY_AUTHSOCKET"    # leads to the password helpers
BY_DESCRIPTOR = "/proc/self/fd/"
ADDRESS_OCTETS = 64                    # at most
_COUNTS = struct.Struct("!II")
ANSWER = 30.0                          # seconds that the listener has to answer


def pair() -> tuple[socket.socket, socket.socket]:
    """The listener's end and that of the connection's process.  OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


# -- in the connection's process

def tell(fd: int, address: str) -> tuple[int, int]:
    """Say who the client is; how many connections its address, and its network, had before.  OSError."""
    with socket.socket(fileno=os.dup(fd)) as end:
        end.settimeout(ANSWER)
        end.send(address.encode("ascii"))
        return _COUNTS.unpack(end.recv(_COUNTS.size).ljust(_COUNTS.size, b"\xff"))


def leave(environ: MutableMapping[str, str]) -> None:
    """The login is done: what only the stage before it may use is closed and forgotten."""
    for fd in descriptors(environ):
        os.close(fd)
    for name in (VARIABLE, AUTHSOCKET):
        environ.pop(name, None)


def descriptors(environ: Mapping[str, str]) -> list[int]:
    """Those that the stage before the login has of the listener."""
    words = environ.get(VARIABLE, ""), environ.get(AUTHSOCKET, "").removeprefix(BY_DESCRIPTOR)
    return [number for word in words if (number := decimal(word, PID_MOST)) is not None]


# -- in the listener

def heard(end: socket.socket) -> str | None:
    """The address that was told; "" when the connection has logged in or ended, None for nothing yet."""
    try:
        return end.recv(ADDRESS_OCTETS).decode("ascii", "replace")
    except BlockingIOError:
        return None
    except OSError:
        return ""


def answer(end: socket.socket, of_address: int, of_network: int) -> None:
    try:
        end.send(_COUNTS.pack(of_address, of_network))
    except OSError:
        return                         # its process has ended, and is reaped soon
