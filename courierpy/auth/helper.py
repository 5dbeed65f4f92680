"""The listener's password helper: long-lived processes that check passwords.

They speak authdaemond's protocol on a private socket, so that a real
authdaemond can stand in their place, and keep hash libraries and slow hashes
out of the processes of connections.
"""
from __future__ import annotations

import os
import signal
import socket
import time

from courierpy.auth import Rejected, TemporaryFailure, check
from courierpy.auth.protocol import parse_request, render_account
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WORKERS = 2
READ_TIMEOUT = 10.0
RESTART_AFTER = 1.0            # seconds between two starts of workers that die


class Helpers:
    """The workers, and the private socket that they share; ``path`` names it."""

    def __init__(self, modules: Sequence[str], environ: Mapping[str, str],
                 left: tuple[int, str] | None = None, old: Iterable[int] = ()) -> None:
        """``left``: descriptor and path of the socket that an earlier image's workers,
        ``old``, listen on; they finish what they are at."""
        self.modules = modules
        self.environ = environ
        self.pids: set[int] = set()
        self._old = set(old)
        self._next_start = 0.0
        if left is not None and left[0] >= 0:
            self.path = left[1]
            self._socket = socket.socket(fileno=left[0])
            self._signal(self._old)
            return
        folder = os.path.join(os.environ.get("TMPDIR") or "/tmp", f"courierpy-auth-{os.urandom(8).hex()}")
        os.mkdir(folder, 0o700)
        self.path = os.path.join(folder, "socket")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen(128)

    def all(self) -> set[int]:
        return self.pids | self._old

    def address(self) -> tuple[int, str]:
        """Descriptor and path of the socket."""
        return self._socket.fileno(), self.path

    def tend(self) -> None:
        """Start the workers that are missing."""
        now = time.monotonic()
        if self.modules and len(self.pids) < WORKERS and now >= self._next_start:
            self._next_start = now + RESTART_AFTER
            while len(self.pids) < WORKERS:
                self.pids.add(self._fork())

    def _fork(self) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGINT, signal.SIG_IGN)      # the listener says when to end
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)
                # what is the listener's own shall end with it
                own = self._socket.fileno()
                os.closerange(3, own)
                os.closerange(own + 1, max(map(int, os.listdir("/proc/self/fd"))) + 1)
                serve(self._socket, self.modules, self.environ)
            finally:
                os._exit(1)
        return pid

    def ended(self, pid: int) -> bool:
        """Was this process one of ours?"""
        if pid in self._old:
            self._old.remove(pid)
        elif pid in self.pids:
            self.pids.remove(pid)
            log.crit(f"password helper {pid} ended")
        else:
            return False
        return True

    def stop(self) -> set[int]:
        """Tell all to end and remove the socket; the pids to wait for."""
        self._signal(self.all())
        self._socket.close()
        try:
            os.unlink(self.path)
            os.rmdir(os.path.dirname(self.path))
        except OSError as error:
            log.err(f"{self.path}: {error.strerror}")
        return self.all()

    def close(self) -> None:
        """In a connection's process: the listening end is not its own."""
        self._socket.close()

    @staticmethod
    def _signal(pids: set[int]) -> None:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass


def serve(listener: socket.socket, modules: Sequence[str], environ: Mapping[str, str]) -> None:
    """Answer requests, one at a time, until SIGTERM; a request that was begun is answered."""
    ending = busy = False

    def end(number: int, frame: object) -> None:
        nonlocal ending
        ending = True
        if not busy:
            os._exit(0)

    signal.signal(signal.SIGTERM, end)
    while not ending:
        client, _ = listener.accept()
        busy = True
        with client:
            client.settimeout(READ_TIMEOUT)
            try:
                answer(client, modules, environ)
            except OSError as error:
                log.err(f"password helper: {error.strerror or error}")
        busy = False
    os._exit(0)


def answer(client: socket.socket, modules: Sequence[str], environ: Mapping[str, str]) -> None:
    """One request.  A temporary failure is a connection closed without a word."""
    data = b""
    while True:
        piece = client.recv(65536)
        data += piece
        try:
            request = parse_request(data, dict(environ))
        except (ValueError, UnicodeDecodeError):
            return
        if request is not None:
            break
        if not piece:
            return
    try:
        reply = render_account(check(modules, request))
    except Rejected:
        reply = b"FAIL\n"
    except TemporaryFailure as error:
        log.err(f"authentication error: {error}")
        return
    client.sendall(reply)
