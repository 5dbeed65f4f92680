"""The octets of one client among many, plain or by TLS: nothing here waits.

What is written is gathered, and goes out as the socket takes it.
"""
from __future__ import annotations

import select
import socket
import time

from courierpy.system import passing
from courierpy.system.conn import TAKES, WRITE_TIMEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.system.tlsmemory import MemoryTls

READ_OCTETS = 65536
PIECE_OCTETS = 4096            # that a client says before its login, before it is others' turn
PIECES = 16                    # that are read in a row of who is not listened to any more
OFFERED_OCTETS = 256 * 1024    # to the socket at once
MARK_OCTETS = 128 * 1024       # of output; with more, no more is made


class Wire:
    """A client's connection, which waits for nothing.

    ``tls``: None while the connection is plain.  ``ended``: the client says no more.  ``broken``: and
    hears nothing either.  ``last``: no more is written; the socket is closed for that when all is out.
    ``by``: when the other end must have taken TAKES octets more of what waits, or all, on the monotonic
    clock; 0.0 where nothing waits.  ``piece``: octets that are read at once."""

    __slots__ = ("_back", "_gathered", "_more", "_out", "_shut", "_taken", "broken", "by", "ended", "last",
                 "piece", "received", "sent", "socket", "tls")

    def __init__(self, client: socket.socket) -> None:
        self.socket = client           # which is asked not to wait each time
        self.tls: MemoryTls | None = None
        self.ended = self.broken = self.last = self._shut = False
        self.received = self.sent = 0
        self._back = b""               # to be received once more
        self._out: bytes | memoryview = b""
        self._more: list[bytes] = []   # behind that, until flush()
        self._gathered = 0             # octets of these
        self.piece = READ_OCTETS
        self.by = 0.0
        self._taken = 0                # octets, since ``by`` was set

    # -- in

    def receive(self) -> bytes:
        """Raw octets; b"" for none now, or the end (``ended``)."""
        if self._back:
            data, self._back = self._back, b""
            return data
        try:
            data = self.socket.recv(self.piece, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        except OSError:
            self.broken = True
            data = b""
        self.ended = self.ended or not data
        return data

    @property
    def may_have_more(self) -> bool:
        """Is there to be read what no event of the socket tells of?"""
        return self.tls is not None or self.ended or self.broken or bool(self._back)

    def put_back(self, data: bytes) -> None:
        """What was received, and is for who comes next."""
        self._back = data

    def read(self) -> bytes:
        """What the client said; b"" for nothing now, or the end (``ended``)."""
        if self.tls is None:
            data = self.receive()
        else:
            data = self.tls.read()
            while not data and not self.tls.over:
                raw = self.receive()
                if not raw and not self.ended:
                    break
                self.tls.feed(raw)
                data = self.tls.read()
            self.ended = self.ended or self.tls.over
            self.flush()               # an answer to the client's TLS, which it waits for
        self.received += len(data)
        return data

    def shake(self) -> bool:
        """Go on with the handshake of TLS; is it done?  Raises TlsError."""
        assert self.tls is not None
        try:
            while not self.tls.handshake():
                self.flush()
                raw = self.receive()
                if not raw and not self.ended:
                    return False
                self.tls.feed(raw)
        finally:
            self.flush()               # an alert, too
        return True

    def pass_over(self) -> None:
        """What it says, some of it at a time: nobody needs it, and no reset overtakes our last words."""
        for _ in range(PIECES):
            if not self.receive():
                return

    # -- out

    @property
    def waiting(self) -> int:
        """Octets that the socket has not taken yet."""
        return len(self._out) + self._gathered

    def write(self, data: bytes | memoryview) -> None:
        """More of it goes out at flush()."""
        self.sent += len(data)
        if self.broken:
            return
        if self.tls is not None:
            try:
                self.tls.write(data)
            except OSError:
                self.broken = True
        elif data:
            self._more.append(bytes(data))
            self._gathered += len(data)

    def flush(self) -> None:
        """As much as the socket takes now."""
        if self.tls is not None and (made := self.tls.take()):
            self._more.append(made)
        if self._more:
            more = [self._out, *self._more] if self._out else self._more
            self._out = more[0] if len(more) == 1 else b"".join(more)
            self._more, self._gathered = [], 0
        if self._out and not self.broken:
            view = memoryview(self._out)
            at = 0
            try:
                while at < len(view):
                    at += self.socket.send(view[at:at + OFFERED_OCTETS], passing.SENDING)
            except BlockingIOError:
                pass
            except OSError:
                self.broken = True
            self._out = view[at:] if at < len(view) else b""
            if self._out or self.by:
                self._mind(at)
        if self.broken:
            self._out = b""
        if self.last and not self._out and not self._shut:
            self._shut = True
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                self.broken = True

    def _mind(self, taken: int) -> None:
        """So many octets were taken just now."""
        self._taken += taken
        if not self._out:
            self.by, self._taken = 0.0, 0
        elif not self.by or self._taken >= TAKES:
            self.by, self._taken = time.monotonic() + WRITE_TIMEOUT, 0

    def close_after(self) -> None:
        """Nothing follows what was written."""
        if self.last:
            return
        if self.tls is not None and not self.broken:
            self.flush()
            self.tls.close()
        self.last = True
        self.flush()

    def wants(self, reading: bool) -> int:
        """What the socket is to be polled for."""
        return (select.EPOLLIN if reading and not self.ended else 0) \
            | (select.EPOLLOUT if self.waiting else 0)

    def close(self) -> None:
        self.tls = None
        self.socket.close()
