"""The listener's side of the keeper: its process, and how many connections sleep there."""
from __future__ import annotations

import array
import os
import socket
import struct
import time
from functools import partial

from courierpy.hibernate import keeper, protocol
from courierpy.system import log, proc
from courierpy.system.seldom import due

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from courierpy.hibernate.watches import Inotify

VARIABLE = "COURIERPY_KEEPER"  # the descriptor of the door, in the environment of a connection's process
RESTART_AFTER = 1.0            # seconds between two starts


class Request:
    """``letter``: b"S" slept, b"G" gone, b"W" is to be woken.  ``client`` and ``channel`` are
    descriptors of the last."""

    __slots__ = ("channel", "client", "gid", "groups", "letter", "number", "pid", "uid")

    def __init__(self, letter: bytes, number: int, pid: int = 0) -> None:
        self.letter = letter
        self.number = number
        self.pid = pid
        self.uid = self.gid = self.client = self.channel = -1
        self.groups: tuple[int, ...] = ()

    def close(self) -> None:
        for fd in (self.client, self.channel):
            if fd >= 0:
                os.close(fd)


class Sleepers:
    """``asleep``: number -> (address, start) of the connections that have no process.
    ``door``: what sessions offer theirs by.  Both its ends stay here, and outlive a keeper."""

    def __init__(self, inotify: Callable[[], Inotify], confine: Callable[[], None],
                 left: tuple[int, int, int, int, int] | None = None) -> None:
        """``left``: version, pid and descriptors (door, its other end, link) of an earlier image."""
        self.inotify = inotify
        self.confine = confine
        self.asleep: dict[int, tuple[str, float]] = {}
        self.pid = 0
        self.link: socket.socket | None = None
        self._next_start = 0.0
        if left is None:
            self.door, self.inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.inner.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            return
        version, pid, door, inner, link = left
        self.door, self.inner = socket.socket(fileno=door), socket.socket(fileno=inner)
        if link >= 0:
            self.pid, self.link = pid, socket.socket(fileno=link)
        if version != protocol.VERSION:
            self.end()                 # those who sleep there hear BYE; the next one starts when it is gone
        else:
            self._tell(protocol.LOG, 2)

    def left(self) -> tuple[int, int, int, int, int]:
        return (protocol.VERSION, self.pid, self.door.fileno(), self.inner.fileno(), self.fileno())

    def fileno(self) -> int:
        """Of the link; -1 without."""
        return self.link.fileno() if self.link is not None else -1

    def tend(self) -> None:
        """Start the keeper if there is none."""
        now = time.monotonic()
        if self.pid or now < self._next_start:
            return
        self._next_start = now + RESTART_AFTER
        link = theirs = None
        try:
            link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            # it hears of our end by the link, and has something to say to the clients then
            pid = proc.fork(partial(self._keep, theirs), 0)
        except OSError as error:
            if link is not None:
                link.close()
            if due("keeper"):
                log.crit(f"the keeper of idle connections cannot be started: fork: {error.strerror}")
            return
        finally:
            if theirs is not None:
                theirs.close()
        link.setblocking(False)
        self.pid, self.link = pid, link

    def _keep(self, link: socket.socket) -> int:
        try:
            keeper.run(self.inner, link, self.inotify, self.confine)
        except BaseException as error:      # never back into the loop
            log.crit(f"keeper: {type(error).__name__}: {error}")
            return proc.CRASHED
        return 0

    def read(self) -> Iterator[Request]:
        """What the keeper says."""
        while self.link is not None:
            try:
                data, ancillary, _, _ = self.link.recvmsg(
                    1 << 17, socket.CMSG_SPACE(8), socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                data, ancillary = b"", []
            if not data:
                self.link.close()      # it is gone: ended() comes
                self.link = None
                return
            request = self._request(data)
            for _, _, value in ancillary:
                fds = array.array("i", value)
                request.client, request.channel = fds
            yield request

    @staticmethod
    def _request(data: bytes) -> Request:
        if data[:1] != b"W":
            form = protocol.SLEPT if data[:1] == b"S" else protocol.GONE
            return Request(*form.unpack(data))
        letter, number, uid, gid, count = protocol.WAKE.unpack_from(data)
        request = Request(letter, number)
        request.uid, request.gid = uid, gid
        request.groups = struct.unpack_from(f"!{count}I", data, protocol.WAKE.size)
        return request

    def _tell(self, word: bytes, fd: int = -1) -> None:
        if self.link is not None:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", (fd,)))] if fd >= 0 else []
            try:
                self.link.sendmsg([word], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except OSError:
                return                 # it is gone, and will be missed

    def drop(self, number: int) -> None:
        self._tell(protocol.DROP + number.to_bytes(8, "big"))

    def end(self) -> set[int]:
        """Tell it to end; the pid to wait for."""
        self._tell(protocol.END)
        return {self.pid} - {0}

    def ended(self, pid: int) -> list[str] | None:
        """The addresses whose connections were lost, if this process was the keeper."""
        if pid != self.pid:
            return None
        lost = [address for address, _ in self.asleep.values()]
        log.crit(f"the keeper of idle connections ended; {len(lost)} are lost")
        self.asleep.clear()
        self.pid = 0
        if self.link is not None:
            self.link.close()
            self.link = None
        return lost
