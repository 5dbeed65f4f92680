"""The relay: what stands between a client and a program that reads descriptor 0 itself.

It carries the octets that an earlier stage has read, and it speaks TLS for the program.
It ends with the program, when all that this said is on its way to the client; of the end
of the listener it hears from the kernel, and then waits no longer than a moment for a
client that takes nothing.
"""
from __future__ import annotations

import os
import select
import signal
import socket

from courierpy.system import proc
from courierpy.system.conn import Gone, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.system.conn import Conn

TICK = 1.0                     # seconds between two looks whether the listener is there, near the end


def start(conn: Conn) -> None:
    """A child keeps the client and copies both ways, we get a socket on 0 and 1.  Raises ProcError."""
    ours, theirs = socket.socketpair()
    try:
        listener = os.pidfd_open(os.getppid())
    except OSError:
        listener = -1                  # it has ended, or there is no descriptor left
    try:
        proc.fork(lambda: _run(conn, ours, theirs, listener))
    except OSError as error:
        raise proc.ProcError(f"no relay can be started: {error.strerror}") from None
    finally:
        ours.close()
        if listener >= 0:
            os.close(listener)
    os.dup2(theirs.fileno(), 0)
    os.dup2(theirs.fileno(), 1)
    theirs.close()


def _run(conn: Conn, inner: socket.socket, theirs: socket.socket, listener: int) -> int:
    def look(number: int, frame: object) -> None:
        if not _alive(listener):
            os._exit(0)

    def told(number: int, frame: object) -> None:
        # by the end of the program, whose last words come first, or with the whole group
        signal.setitimer(signal.ITIMER_REAL, TICK, TICK)

    signal.signal(signal.SIGALRM, look)
    proc.on_signal(told)
    theirs.close()
    try:
        _copy(conn, inner)
    except (OSError, Gone, TimedOut):
        return 0                       # one of the two is gone
    return 0


def _alive(listener: int) -> bool:
    poll = select.poll()
    if listener >= 0:
        poll.register(listener, select.POLLIN)
        return not poll.poll(0)
    return False


def _copy(conn: Conn, inner: socket.socket) -> None:
    """Both ways, until the program has closed its side.  Raises Gone, TimedOut or OSError."""
    inner.setblocking(False)
    rest, conn.pending = conn.pending, b""         # for the program, which may be too busy to read it
    client_open = True
    while True:
        poll = select.poll()
        poll.register(inner.fileno(), select.POLLIN | (select.POLLOUT if rest else 0))
        reading = client_open and not rest
        if reading:
            poll.register(conn.infd, select.POLLIN)
        buffered = reading and conn.stream.buffered()
        ready = dict(poll.poll(0 if buffered else None))
        if rest and ready.get(inner.fileno(), 0) & select.POLLOUT:
            rest = rest[inner.send(rest):]
        if reading and (buffered or conn.infd in ready):
            data = _read(conn)
            if data:
                rest = data
            elif data is not None:
                client_open = False
        if not client_open and not rest:
            inner.shutdown(socket.SHUT_WR)
        if ready.get(inner.fileno(), 0) & ~select.POLLOUT:
            try:
                said = inner.recv(65536)
            except BlockingIOError:
                continue
            if not said:
                return
            conn.write(said)
            conn.flush()


def _read(conn: Conn) -> bytes | None:
    """What the client says; b"" at its end, None where it is not whole yet."""
    try:
        return conn.read(0)
    except TimedOut:
        return None
