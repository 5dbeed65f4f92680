"""Messages with descriptors between processes of one listener: AF_UNIX, SOCK_SEQPACKET.

A message is whole or none, and so are its descriptors: what the kernel cut (MSG_CTRUNC, at the limit
of open files), and what has more descriptors than its kind may have, is closed and Refused; the
channel goes on.  Nothing here waits.
"""
from __future__ import annotations

import array
import os
import select
import socket
import struct

from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    Who = tuple[int, int, int]         # pid, uid, gid

OCTETS = 160 * 1024            # of a message, at most: less than any socket's buffer
DESCRIPTORS = 4                # that there is room for
CREDENTIALS = struct.Struct("=iII")       # pid, uid, gid
WHO_SPACE = socket.CMSG_SPACE(CREDENTIALS.size)
_SPACE = socket.CMSG_SPACE(4 * DESCRIPTORS) + WHO_SPACE
_BUFFER = 1 << 20              # wanted of a socket
# of a message that nobody waits for; numbers, as "|" of the socket module's own flags costs several calls
SENDING = int(socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
RECEIVING = int(socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
_CUT = int(socket.MSG_CTRUNC | socket.MSG_TRUNC)


class Refused(Exception):
    """A message that is not as it should be; it is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends, which nobody waits at.  OSError."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return ends


def send(end: socket.socket, parts: Iterable[bytes], fds: Collection[int] = ()) -> None:
    """Raises OSError; BlockingIOError where there is no room at the moment."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    end.sendmsg(parts, rights, SENDING)


def receive(end: socket.socket) -> tuple[bytes, list[int]] | None:
    """A message, and its descriptors, which are the caller's to close; None: there is none now.

    b"" when the other end is closed, or cannot be heard any more.  Raises Refused.
    """
    try:
        data, ancillary, flags, _ = end.recvmsg(OCTETS, _SPACE, RECEIVING)
    except BlockingIOError:
        return None
    except OSError:
        return b"", []
    return (data, _descriptors(ancillary, flags)[0]) if ancillary or flags & _CUT else (data, [])


def receive_from(end: socket.socket) -> tuple[bytes, list[int], int] | None:
    """As receive(), and the pid of the process that said it, where this end asks the kernel for that
    (SO_PASSCRED); 0 where nobody knows."""
    try:
        data, ancillary, flags, _ = end.recvmsg(OCTETS, _SPACE, RECEIVING)
    except BlockingIOError:
        return None
    except OSError:
        return b"", [], 0
    return data, *_descriptors(ancillary, flags)


def _descriptors(ancillary: Iterable[tuple[int, int, bytes]], flags: int) -> tuple[list[int], int]:
    """Those that came with a message, and the pid of who said it.  Raises Refused."""
    fds, who = unpacked(ancillary)
    if flags & _CUT:
        close(fds)
        raise Refused("a message is cut")
    return list(fds), 0 if who is None else who[0]


def unpacked(ancillary: Iterable[tuple[int, int, bytes]]) -> tuple[array.array[int], Who | None]:
    """What came beside a message: descriptors, and who said it where the kernel tells that."""
    fds, who = array.array("i"), None
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(value[:len(value) - len(value) % fds.itemsize])
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            who = CREDENTIALS.unpack(value[:CREDENTIALS.size])
    return fds, who


def heard(end: socket.socket, who: str) -> tuple[bytes, list[int]] | None:
    """As receive(); what is Refused goes to the log, under the name ``who`` of the other end.  For whom the
    kernel tells that there is something, as long as there is: who reads on until there is nothing asks it
    twice for most messages."""
    try:
        return receive(end)
    except Refused as error:
        log.err(f"{who}: {error}")
        return None


def waiting(end: socket.socket, who: str) -> Iterator[tuple[bytes, list[int]]]:
    """All that is there now, as receive() gives it, until this end is closed.  What is Refused goes to the
    log, under the name ``who`` of the other end."""
    while end.fileno() >= 0:
        try:
            found = receive(end)
        except Refused as error:
            log.err(f"{who}: {error}")
            continue
        if found is None:
            return
        yield found


def orders(end: socket.socket) -> Iterator[tuple[bytes, list[int]]]:
    """What the other end says, waited for each time as receive() gives it, until it is closed.  Raises
    Refused."""
    poll = select.poll()
    poll.register(end, select.POLLIN)
    while True:
        poll.poll()
        found = receive(end)
        if found is None:
            continue
        if not found[0]:
            close(found[1])
            return
        yield found


def need(fds: list[int], count: int) -> None:
    """Raises Refused, and closes them, unless there are so many."""
    if len(fds) != count:
        close(fds)
        raise Refused(f"{len(fds)} descriptors instead of {count}")


def close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
