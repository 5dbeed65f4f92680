"""A process that has courierpy loaded and gives birth to servers: thousands of them are killed here.

A request is one packet: JSON, and the descriptors that become 0, 1 and 2.
"""
from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

from tests.conftest import REPO, plain_environ


class Nursery:
    """The side of the tests."""

    def __init__(self) -> None:
        self.lock = threading.Lock()           # cases run side by side
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(60)
        with other:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.nursery", str(other.fileno())], cwd=REPO,
                pass_fds=[other.fileno()], env=plain_environ())
        assert self.socket.recv(16) == b"ready"

    def birth(self, request: dict[str, Any], fds: list[int]) -> int:
        """The pid of a server with these descriptors."""
        with self.lock:
            socket.send_fds(self.socket, [json.dumps(request).encode()], fds)
            return int(self.socket.recv(16))

    def close(self) -> None:
        self.socket.close()
        self.process.wait(20)


NEVER_IN_A_SESSION = ("courierpy.admin", "courierpy.auth", "courierpy.testing", "courierpy.__main__")


def _child(request: dict[str, Any], fds: list[int]) -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    os.closerange(3, 64)
    os.environ.clear()
    os.environ.update(request["environ"])
    if request["journal"]:
        from tests.faults.hook import Hook
        Hook(os.path.realpath(request["maildir"]), request["plan"], request["journal"]).install()
    program = request.get("program", "imapd")
    words = request.get("words", [request["maildir"]])
    found: int = importlib.import_module(f"courierpy.{program}").main([program, *words], os.environ)
    return found


def _serve(control: socket.socket) -> None:
    import _pyio  # noqa: F401

    import courierpy
    import tests.faults.hook  # noqa: F401
    for module in pkgutil.walk_packages(courierpy.__path__, "courierpy."):
        if not module.name.startswith(NEVER_IN_A_SESSION):
            importlib.import_module(module.name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)       # who dies is gone at once
    control.send(b"ready")
    while True:
        data, fds, _, _ = socket.recv_fds(control, 65536, 8)
        if not data:
            return
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                status = _child(json.loads(data), fds)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(status)
        for fd in fds:
            os.close(fd)
        control.send(b"%d" % pid)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
