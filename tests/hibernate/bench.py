"""A keeper without a server: in this process, with offers of a process that ends."""
from __future__ import annotations

import array
import os
import socket
import time
from contextlib import ExitStack

from courierpy.hibernate import keeper, protocol
from courierpy.hibernate.keeper import Keeper
from courierpy.system.inotify import Inotify
from tests.conftest import account_ids
from tests.programs.hibernating import DEADLINE

LATER = float(int(time.monotonic()) + 1000)


def record(note: bytes, known: bytes, due: float = LATER, every: int = 1, deflated: bool = False) -> bytes:
    return protocol.RECORD.pack(due, every, 7, 0.0, len(note), len(known), deflated) + note + known


class Bench:
    """A keeper in this process, its listener's end of the link, and a connected client.
    ``slept``: what the listener heard of an offer; ``files``: descriptors of states that it got."""

    def __init__(self, stack: ExitStack) -> None:
        self.door, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inner.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.link, link = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inotify = Inotify()
        self.keeper = Keeper(inner, link, inotify, 1024)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self.served, _ = listener.accept()
        self.slept: list[bytes] = []
        self.files: list[int] = []
        for each in (self.door, inner, link, self.link, self.client, self.served):
            stack.callback(each.close)
        for each in (self.link, self.client):
            each.settimeout(DEADLINE)
        stack.callback(inotify.close)

    def offer(self, *directories: int, kinds: bytes = b"", client: int = -1, channel: int = -1,
              word: bytes = b"o", say: bytes | None = None) -> bytes:
        """The answer to an offer that a process of the test account makes; ``say``: what it says then."""
        answer, report = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                _become_account()
                ours, theirs = socket.socketpair()
                fds = array.array("i", (client if client >= 0 else self.served.fileno(),
                                        channel if channel >= 0 else theirs.fileno(), *directories))
                self.door.sendmsg([word + kinds], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
                os.write(report, b"-")
                theirs.close()
                ours.settimeout(DEADLINE)
                os.write(report, ours.recv(1))
                if say is not None:
                    ours.sendall(say)
                    ours.shutdown(socket.SHUT_WR)
                    os.write(report, ours.recv(1))
            finally:
                os._exit(0)
        os.close(report)
        with open(answer, "rb", buffering=0) as said:
            assert said.read(1) == b"-"
            self.keeper._offers()
            end = time.monotonic() + DEADLINE
            while any(entry.stage == keeper.OFFERED for entry in self.keeper.entries.values()):
                assert time.monotonic() < end
                for entry in list(self.keeper.entries.values()):
                    if entry.stage == keeper.OFFERED:
                        self.keeper._offered(entry)
                    if entry.stage == keeper.ASLEEP:
                        self._listen()
            found = said.read(1) + said.read(1)
        os.waitpid(pid, 0)
        return found

    def _listen(self) -> None:
        """As the listener does: the connection is its own now."""
        data, fds, _, _ = socket.recv_fds(self.link, 100, 4)
        self.slept.append(data)
        with socket.socket(fileno=fds[0]) as channel:
            channel.send(protocol.GOOD)
        os.close(fds[1])
        self.files.append(fds[2])

    def wake(self) -> socket.socket:
        """The channel of the one that is to be woken."""
        self.keeper._wake()
        data, fds, _, _ = socket.recv_fds(self.link, 1000, 4)
        (number,) = self.keeper.entries
        assert protocol.WAKE.unpack(data) == (b"W", number)
        return socket.socket(fileno=fds[0])

    def again(self) -> None:
        """What is to be done later is done."""
        self.keeper.later = [(0.0, number) for _, number in self.keeper.later]
        self.keeper._clock()


def _become_account() -> None:
    uid, gid = account_ids()
    if os.getuid() == 0:
        os.setgroups([gid, 4711])
        os.setgid(gid)
        os.setuid(uid)
