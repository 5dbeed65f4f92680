"""What systemd is told where a service has several listeners: the sum of what they say.

Each says it to a socket of this process, which is the service's main one; the kernel tells who it was.  The
service is ready when all are, reloads while one does, and lives while all do.
"""
from __future__ import annotations

import os
import select
import signal
import socket

from courierpy.system import notify, passing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MOST_OCTETS = 4096                     # of a datagram


class Together:
    """What several listeners said, by their pids."""

    def __init__(self) -> None:
        self._states: dict[int, str] = {}          # READY or RELOADING
        self._statuses: dict[int, str] = {}
        self._alive: set[int] = set()              # said so since all had

    def heard(self, pid: int, lines: Iterable[str], pids: Collection[int]) -> list[str]:
        """What the manager is told when one of ``pids`` says these lines."""
        said = dict.fromkeys(lines)
        told = []
        for line in said:
            if line.startswith("STATUS="):
                self._statuses[pid] = line.removeprefix("STATUS=")
            elif line.startswith(("MONOTONIC_USEC=", notify.STOPPING)):
                told.append(line)
        if notify.RELOADING in said:
            self._states[pid] = notify.RELOADING
            told.append(notify.RELOADING)
        elif notify.READY in said:
            self._states[pid] = notify.READY
            if all(self._states.get(one) == notify.READY for one in pids):
                told.append(notify.READY)
        if notify.WATCHDOG in said:
            self._alive.add(pid)
            if self._alive.issuperset(pids):
                self._alive.clear()
                told.append(notify.WATCHDOG)
        return [*told, "STATUS=" + "; ".join(self._statuses[one] for one in pids if one in self._statuses)]


class Sum:
    """``environ``: of the listeners."""

    def __init__(self) -> None:
        """Takes SIGCHLD, and the descriptor that a signal wakes, for this process."""
        name = f"courierpy-{os.urandom(16).hex()}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(f"\0{name}")             # in no file system: nothing of it is left
        self._socket.setblocking(False)
        self.environ = {**os.environ, notify.VARIABLE: f"@{name}"}
        self.environ.pop("WATCHDOG_PID", None)     # which is ours
        self._together = Together()
        self._wakes, wakes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def wait(self, pids: Collection[int]) -> tuple[int, int]:
        """As os.wait(): until a child has ended; the manager is told meanwhile what ``pids`` say."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                return pid, status
            select.select([self._socket.fileno(), self._wakes], [], [])
            try:
                os.read(self._wakes, MOST_OCTETS)
            except BlockingIOError:
                pass
            self._hear(pids)

    def _hear(self, pids: Collection[int]) -> None:
        while True:
            try:
                data, more, _, _ = self._socket.recvmsg(MOST_OCTETS, passing.WHO_SPACE)
            except BlockingIOError:
                return
            _, who = passing.unpacked(more)
            if who is not None and who[0] in pids:
                lines = data.decode("utf-8", "replace").splitlines()
                notify.tell(*self._together.heard(who[0], lines, pids))
