"""What systemd is told of a service: datagrams of NAME=value lines, as sd_notify(3) has them.

They go to the socket that NOTIFY_SOCKET names; where it names none nothing is done.  The manager believes the
main process of a service alone (NotifyAccess=main), which is the listener, or who started several.
"""
from __future__ import annotations

import os
import time

from courierpy.model.numbers import PID_MOST, decimal
from courierpy.system import log
from courierpy.system.seldom import due

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "NOTIFY_SOCKET"
VARIABLES = (VARIABLE, "WATCHDOG_USEC", "WATCHDOG_PID")
READY, RELOADING, STOPPING, WATCHDOG = "READY=1", "RELOADING=1", "STOPPING=1", "WATCHDOG=1"
PATIENCE = 2.0                     # seconds, while the manager's queue is full
STATUS_SECONDS = 5.0               # between two of them


def tell(*lines: str) -> None:
    """Says these to the manager, if there is one."""
    path = os.environ.get(VARIABLE, "")
    if not path:
        return
    import socket
    address = b"\0" + os.fsencode(path[1:]) if path.startswith("@") else os.fsencode(path)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.settimeout(PATIENCE)
            door.sendto("\n".join(lines).encode(), address)
    except OSError as error:
        if due("notify"):
            log.warn(f"{VARIABLE}={path}: {error.strerror or error}; systemd is not told how this service is")


def ready(status: str) -> None:
    """It serves: after its start, and after each reloading(), however that ended."""
    tell(READY, f"STATUS={status}")


def reloading() -> None:
    """It reads its settings again.  The time is what systemd orders this by (systemd 253)."""
    tell(RELOADING, f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reads the settings again")


def stopping() -> None:
    """It takes no more clients, and ends."""
    tell(STOPPING, "STATUS=ends the connections")


class Pulse:
    """Tells the manager while a loop turns: that it does, in half of WATCHDOG_USEC, and how it is.
    ``is_heard``: there is one."""

    def __init__(self) -> None:
        usec = decimal(os.environ.get("WATCHDOG_USEC", ""))
        pid = decimal(os.environ.get("WATCHDOG_PID", str(os.getpid())), PID_MOST)
        self._every = usec / 2e6 if usec and pid == os.getpid() else 0.0
        self.is_heard = VARIABLE in os.environ
        self._status = ""
        self._watched = self._said = 0.0

    def turn(self, status: Callable[[], str]) -> None:
        """``status``: one line, asked for only where somebody hears it."""
        if not self.is_heard:
            return
        now, lines = time.monotonic(), []
        if self._every and now - self._watched >= self._every:
            self._watched = now
            lines.append(WATCHDOG)
        if now - self._said >= STATUS_SECONDS and (text := status()) != self._status:
            self._said, self._status = now, text
            lines.append(f"STATUS={text}")
        if lines:
            tell(*lines)
