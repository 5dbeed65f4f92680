"""Ask modules without the helper: each in a process of its own, that is killed when its time is over.

So it is where imaplogin is started by another program than our listener.  A module that hangs, in a
library or in a program that it started, is a temporary failure after AUTH_TIMEOUT, as with the helper.
"""
from __future__ import annotations

import os
import select
import signal
import socket
import time
from functools import partial

from courierpy.auth import Account, Rejected, Request, TemporaryFailure, token
from courierpy.auth.helper import ASKS, FAIL, USER, answer, of_user, work
from courierpy.auth.protocol import MAX_REPLY, parse_reply, render_environ, render_request
from courierpy.system import proc
from courierpy.system.settings import Settings
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def check(modules: Iterable[str], request: Request, seconds: float) -> Account:
    """Ask the modules in order, for so many seconds at most.  Raises Rejected or TemporaryFailure."""
    end = time.monotonic() + seconds
    if request.kind == "token":
        whose = _of_token(request, _ask(token.QUEUE, request, end))
        return _without_password(check(modules, whose, end - time.monotonic()))
    for name in modules:
        reply = _ask(name, request, end)
        if reply != FAIL:
            return parse_reply(reply)
    raise Rejected


def _of_token(request: Request, reply: bytes) -> Request:
    """What the modules are asked then.  ``reply``: of token.QUEUE.  Raises Rejected or TemporaryFailure."""
    if not reply.startswith(USER):
        parse_reply(reply)             # raises what it says
        raise Rejected
    return of_user(request, reply)


def _without_password(account: Account) -> Account:
    """The same, of which nobody computes with a password."""
    wipe(account.passwd2)
    account.passwd2 = ""
    return account


def _ask(module: str, request: Request, end: float) -> bytes:
    """What helper.answer() says, before ``end`` on the monotonic clock.  Raises TemporaryFailure when
    that takes too long."""
    allowed = float(max(1, Settings(request.environ).of_word("AUTH_TIMEOUT", module)))
    seconds = min(allowed, end - time.monotonic())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        try:
            pid = proc.fork(partial(_work, theirs, module, request), signal.SIGKILL)
        except OSError as error:
            raise TemporaryFailure(f"no process for {module} can be started: {error.strerror}") from None
        theirs.close()
        try:
            poll = select.poll()
            poll.register(ours, select.POLLIN)
            if not poll.poll(max(0, int(seconds * 1000))):
                raise TemporaryFailure(f"{module}: no answer in {seconds:.0f} seconds")
            return ours.recv(MAX_REPLY)
        finally:
            _kill(pid)


def _kill(pid: int) -> None:
    for kill in (os.killpg, os.kill):      # it may not have its group yet
        try:
            kill(pid, signal.SIGKILL)
        except OSError:
            continue
    os.waitpid(pid, 0)


def _work(end: socket.socket, module: str, request: Request) -> int:
    os.setpgid(0, 0)                   # what the module starts ends with it
    end.send(answer(module, request))
    return 0


class Asker:
    """As check(), for who asks often: the process of a module stays until it is lost or close() comes."""

    def __init__(self, modules: Iterable[str], environ: Mapping[str, str]) -> None:
        self._modules = list(modules)
        self._environ = environ
        self._settings = Settings(environ)
        self._workers: dict[str, tuple[int, socket.socket]] = {}

    def check(self, request: Request) -> Account:
        """Raises Rejected or TemporaryFailure."""
        if request.kind == "token":
            whose = _of_token(request, self._first([token.QUEUE], request))
            return _without_password(self.check(whose))
        reply = self._first(self._modules, request)
        return parse_reply(reply)

    def _first(self, modules: Iterable[str], request: Request) -> bytes:
        """What the first one says that knows it, or FAIL."""
        data = ASKS + render_environ(request.environ) + render_request(request)
        try:
            return next((reply for name in modules if (reply := self._ask(name, data)) != FAIL), FAIL)
        finally:
            wipe(data)

    def _ask(self, module: str, data: bytes) -> bytes:
        seconds = max(1, self._settings.of_word("AUTH_TIMEOUT", module))
        try:
            end = self._worker(module)
            end.send(data)
            poll = select.poll()
            poll.register(end, select.POLLIN)
            reply = end.recv(MAX_REPLY) if poll.poll(seconds * 1000) else b""
        except OSError as error:
            reply = b""
            why = str(error.strerror)
        else:
            why = f"no answer in {seconds} seconds"
        if not reply:
            self._end(module)
            raise TemporaryFailure(f"{module}: {why}")
        return reply

    def _worker(self, module: str) -> socket.socket:
        """OSError."""
        if module not in self._workers:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                try:
                    pid = proc.fork(partial(work, theirs, module, self._environ, None), signal.SIGKILL)
                except OSError:
                    ours.close()
                    raise
            self._workers[module] = pid, ours
        return self._workers[module][1]

    def _end(self, module: str) -> None:
        pid, end = self._workers.pop(module, (0, None))
        if end is not None:
            end.close()
            _kill(pid)

    def close(self) -> None:
        for module in list(self._workers):
            self._end(module)
