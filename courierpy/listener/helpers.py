"""The password helpers as processes: long-lived, started once, beside the listener.

What they do is auth/helper.py's affair.  Their socket has no name: only the stage before
the login has the descriptor that leads to it.
"""
from __future__ import annotations

import os
import signal
import socket
import time
from functools import partial

from courierpy.auth.helper import serve
from courierpy.listener import children, sockets
from courierpy.system import log, passing, proc
from courierpy.system.desk import BY_DESCRIPTOR
from courierpy.system.seldom import due

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from courierpy.auth.helper import Look
    from courierpy.auth.tickets import Told

WORKERS = 2
RESTART_AFTER = 1.0            # seconds between two starts of workers that die


class Helpers:
    """The workers, and the private socket that they share; ``path`` leads to it."""

    def __init__(self, modules: Sequence[str], environ: Mapping[str, str], owner: int,
                 left: tuple[int, str] | None = None, old: Iterable[int] = (),
                 look: Look | None = None, told: Told = lambda account: "",
                 services: Collection[str] = (),
                 met: Callable[[socket.socket], None] | None = None) -> None:
        """``owner``: the uid of the stage before the login, -1 for ours.  ``left``: descriptor
        of the socket, and path, that an earlier image's workers, ``old``, listen on; they
        finish what they are at.  ``look``, ``told``, ``services`` and ``met``: where there are login
        processes, what a helper sees accounts by, what it tells login processes of their options, the
        services that they may ask for, and what hears of a helper, with our end of its channel
        (system/channels.py); there is one at a time then.  OSError when there can be no socket."""
        self.modules = modules
        self._look = look
        self._told = told
        self._services = services
        self._met = met
        self._most = WORKERS if met is None else 1
        self.environ = environ
        self.pids: set[int] = set()
        self._old = set(old)
        self._next_start = 0.0
        if left is not None and left[0] >= 0:
            self.path = left[1]
            self._socket = socket.socket(fileno=left[0])
            children.tell_all(self._old)
            return
        self._socket, door = sockets.private(owner)
        self.path = f"{BY_DESCRIPTOR}{door}"

    def all(self) -> set[int]:
        return self.pids | self._old

    def address(self) -> tuple[int, str]:
        """Descriptor of the socket, and the path that leads to it."""
        return self._socket.fileno(), self.path

    def door(self) -> int:
        """The descriptor that ``path`` names; -1 when an earlier image made a socket with a name."""
        return int(self.path.removeprefix(BY_DESCRIPTOR)) if self.path.startswith(BY_DESCRIPTOR) else -1

    def tend(self) -> None:
        """Start the workers that are missing."""
        now = time.monotonic()
        if self.modules and len(self.pids) < self._most and now >= self._next_start:
            self._next_start = now + RESTART_AFTER
            try:
                while len(self.pids) < self._most:
                    self._start()
            except OSError as error:
                if due("helper"):
                    log.crit(f"no password helper can be started: fork: {error.strerror}")

    def _start(self) -> None:
        """OSError."""
        # nothing of what it is at is worth more than that it ends with us
        if self._met is None:
            self.pids.add(proc.fork(self._work, signal.SIGKILL))
            return
        ours, theirs = passing.pair()
        with theirs:
            try:
                self.pids.add(proc.fork(partial(self._work, theirs), signal.SIGKILL))
            except OSError:
                ours.close()
                raise
        self._met(ours)

    def _work(self, grants: socket.socket | None = None) -> int:
        signal.signal(signal.SIGINT, signal.SIG_IGN)      # the listener says when to end
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        proc.keep_open((self._socket.fileno(), *(() if grants is None else (grants.fileno(),))))
        if grants is not None and self._look is not None:
            from courierpy.auth import questions
            questions.serve(self._socket, self.modules, self.environ, self._look,
                            self._told, grants, self._services)
        serve(self._socket, self.modules, self.environ)
        return 1

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
        """Tell all to end; the pids to wait for."""
        children.tell_all(self.all())
        self._socket.close()
        if self.door() < 0:
            try:
                os.unlink(self.path)
                os.rmdir(os.path.dirname(self.path))
            except OSError as error:
                log.err(f"{self.path}: {error.strerror}")
        return self.all()
