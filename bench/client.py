"""A raw-socket IMAP client that costs little itself.

A reply ends with its tagged line, and only the end of what was read is looked
at.  The tags are words that no message of the corpus holds.
"""
from __future__ import annotations

import select
import socket
import time
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT = 300.0                    # seconds for one read: the slowest command of the slowest server
PIECE = 1 << 20
AGAIN = 3                          # sessions, or commands, for one figure
now = time.perf_counter


class Refused(Exception):
    """A tagged line that is not OK, a BYE, or the end of the connection."""


class Client:
    """One connection.  ``do`` gives a whole reply, ``drain`` only counts its octets."""

    def __init__(self, port: int) -> None:
        self.sock = self._connect(port)
        self.number = 0
        self.buffer = bytearray(PIECE)
        self.view = memoryview(self.buffer)
        self.read_until(b"* ")

    def _connect(self, port: int) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def login(self, user: str, password: str) -> Client:
        self.do(b"LOGIN %s %s" % (user.encode(), password.encode()))
        return self

    def send(self, command: bytes) -> bytes:
        """Gives the tag."""
        self.number += 1
        tag = b"zq%dx" % self.number
        self.sock.sendall(b"%s %s\r\n" % (tag, command))
        return tag

    def do(self, command: bytes) -> bytes:
        """The whole reply.  Raises Refused."""
        return self.reply(self.send(command))

    def reply(self, tag: bytes) -> bytes:
        pieces: list[bytes] = []
        end = b""
        while True:
            count = self._read()
            pieces.append(bytes(self.view[:count]))
            end = (end + pieces[-1][-512:])[-512:]
            if self._ends(end, tag):
                return b"".join(pieces)

    def drain(self, command: bytes) -> int:
        """Octets of the reply.  Raises Refused."""
        return self.drain_reply(self.send(command))

    def drain_reply(self, tag: bytes) -> int:
        total = 0
        end = b""
        while True:
            count = self._read()
            total += count
            end = (end + bytes(self.view[max(0, count - 512):count]))[-512:]
            if self._ends(end, tag):
                return total

    def append(self, folder: bytes, message: bytes) -> None:
        """APPEND with a synchronizing literal: all servers know it."""
        tag = self.send(b"APPEND %s (\\Seen) {%d}" % (folder, len(message)))
        self.read_until(b"+ ")
        self.sock.sendall(message + b"\r\n")
        self.reply(tag)

    def idle(self) -> None:
        self.send(b"IDLE")
        self.read_until(b"+ ")

    def read_until(self, start: bytes) -> bytes:
        """The lines up to the one that begins with ``start``, which is the last that came."""
        data = b""
        while True:
            count = self._read()
            data += self.view[:count]
            if data.endswith(b"\r\n"):
                last = data[data.rfind(b"\n", 0, -1) + 1:]
                if last.startswith(start):
                    return data
                if last.startswith(b"zq"):
                    raise Refused(last.decode("ascii", "replace"))

    def _read(self) -> int:
        count = self.sock.recv_into(self.buffer)
        if not count:
            raise Refused("the connection ended")
        return count

    @staticmethod
    def _ends(end: bytes, tag: bytes) -> bool:
        if not end.endswith(b"\r\n"):
            return False
        last = end[end.rfind(b"\n", 0, -1) + 1:]
        if not last.startswith(tag + b" "):
            return False
        if last[len(tag) + 1:len(tag) + 3] != b"OK":
            raise Refused(last.decode("ascii", "replace").strip())
        return True

    def logout(self) -> None:
        """Waits for the end of the connection, so that the server's work is done."""
        self.send(b"LOGOUT")
        while self.sock.recv_into(self.buffer):
            pass
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


def sessions(port: int, commands: Sequence[bytes], total: int, at_once: int) -> float:
    """Seconds for ``total`` whole sessions, ``at_once`` at any time.

    One process drives them all by turns.  A session is the greeting, the commands
    one after the other, LOGOUT, and the end of the connection.
    """
    steps = [b"zq%dx %s\r\n" % item for item in enumerate([*commands, b"LOGOUT"])]
    poller = select.poll()
    running: dict[int, _Session] = {}
    started = ended = 0
    start = time.perf_counter()
    while ended < total:
        while started < total and len(running) < at_once:
            session = _Session(port, steps)
            running[session.sock.fileno()] = session
            poller.register(session.sock, select.POLLIN)
            started += 1
        ready = poller.poll(1000 * TIMEOUT)
        if not ready:
            raise Refused("no answer")
        for fd, _ in ready:
            if running[fd].step():
                poller.unregister(fd)
                running.pop(fd).sock.close()
                ended += 1
    return time.perf_counter() - start


class Squeezed:
    """A client that compresses from here on (RFC 4978).  ``received``: octets that came since, compressed."""

    def __init__(self, client: Client) -> None:
        client.do(b"COMPRESS DEFLATE")
        self.received = 0
        self._sock = client.sock
        self._squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)
        self._inflate = zlib.decompressobj(-15)

    def drain(self, command: bytes) -> int:
        """Octets of the reply, decompressed.  Raises Refused."""
        self._sock.sendall(self._squeeze.compress(b"zqx %s\r\n" % command)
                           + self._squeeze.flush(zlib.Z_SYNC_FLUSH))
        total, end = 0, b""
        while not Client._ends(end, b"zqx"):
            data = self._sock.recv(PIECE)
            if not data:
                raise Refused("the connection ended")
            self.received += len(data)
            text = self._inflate.decompress(data)
            total += len(text)
            end = (end + text[-512:])[-512:]
        return total


class _Session:
    def __init__(self, port: int, steps: list[bytes]) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.steps = steps
        self.done = -1             # the greeting comes first
        self.data = b""

    def step(self) -> bool:
        """Read, perhaps say the next command; True at the end of the connection."""
        piece = self.sock.recv(65536)
        if not piece:
            if self.done < len(self.steps):
                raise Refused("the connection ended early: " + self.data.decode("ascii", "replace"))
            return True
        self.data += piece
        last = self.data[self.data.rfind(b"\n", 0, -1) + 1:]
        awaited = b"* " if self.done < 0 else b"zq%dx " % self.done
        if self.data.endswith(b"\r\n") and last.startswith(awaited):
            if not last.startswith(awaited + b"OK"):
                raise Refused(last.decode("ascii", "replace"))
            self.data = b""
            self.done += 1
            if self.done < len(self.steps):
                self.sock.sendall(self.steps[self.done])
        return False


def timed(client: Client, command: bytes) -> tuple[float, bytes]:
    """(Seconds, the reply)"""
    start = now()
    reply = client.do(command)
    return now() - start, reply
