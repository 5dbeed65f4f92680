"""The password helper: a process that takes requests, and workers that ask the modules.

It speaks authdaemond's protocol on the listener's private socket, so that a real authdaemond can
stand in its place, and keeps hash libraries and slow hashes out of the processes of connections.

Each module has a queue, and workers of its own that are started when requests wait: one that hangs
holds up nobody who is answered before it.  A request that a module has not answered in its time
(AUTH_TIMEOUT) is a temporary failure, and its worker is killed.  That time counts anew from when a
worker has the request: who waited behind some that hang is not refused for them.  A worker answers one
at a time, on a socketpair that keeps messages apart: the account, FAIL or TEMPORARY.

An access token is checked first, in a queue like a module's (token.QUEUE); the modules are then asked for
the account of the user that it names.

Login processes ask by channels of their own, and get tickets instead of accounts: auth/questions.py.  A
worker may answer them itself: auth/standing.py.
"""
from __future__ import annotations

import os
import select
import signal
import socket
import time
from functools import partial

from courierpy.auth import DELIVERY, Rejected, Request, TemporaryFailure, Unservable, check, token
from courierpy.auth.protocol import (
    MAX_REPLY,
    parse_reply,
    parse_request,
    render_account,
    render_environ,
    render_request,
    without_clear,
)
from courierpy.system import log, passing, proc, title
from courierpy.system.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Protocol

    from courierpy.auth import Account

    Look = Callable[[Account], None]

    class Page(Protocol):
        """As auth/standing.py has it."""

        @property
        def since(self) -> float: ...

        def what(self) -> tuple[int, int, str]: ...

        def end(self) -> None: ...

    class Stand(Protocol):
        """The same."""

        @property
        def page(self) -> Page: ...

        def run(self) -> int: ...

    class Questions(Protocol):
        """As auth/questions.py has it."""

        def stand(self, module: str, end: socket.socket) -> Stand | None: ...

        def stands(self, worker: Worker) -> None: ...

        def is_said(self, worker: Worker, data: bytes) -> bool: ...

        def lost(self, worker: Worker, why: str) -> bool: ...

        def see_to_time(self) -> None: ...

# what a worker does for a job: ask its module; ask, and look at the account; look at this account
ASKS, ASKS_AND_LOOKS, LOOKS = b"-", b"+", b"="
READ_TIMEOUT = 10.0            # seconds for a request to come
IDLE = 60.0                    # seconds without work after which a worker ends, but for the last one
TURN = 1.0                     # seconds, after which all is looked after
LAST_TURN = 0.05               # the same, where only what a worker is at is waited for
FAIL, TEMPORARY, USER = b"FAIL\n", b"TEMPORARY\n", b"USER="


def serve(listener: socket.socket, modules: Sequence[str], environ: Mapping[str, str]) -> None:
    """Answers requests until SIGTERM; those that were begun are answered.  Does not return."""
    Helper(listener, modules, environ).run()


class Job:
    """A request.  ``work``: of a worker.  ``done`` is called with its reply, None for a temporary failure.
    ``route``: the modules to ask; ``at``: which of them it is at; ``until``: on the monotonic clock."""

    __slots__ = ("at", "data", "done", "request", "route", "until", "work", "worker")

    def __init__(self, done: Callable[[bytes | None], object], work: bytes = ASKS, data: bytes = b"",
                 request: Request | None = None) -> None:
        self.done = done
        self.work = work
        self.data = data
        self.request = request
        self.route: Sequence[str] = ()
        self.at = 0
        self.until = time.monotonic() + READ_TIMEOUT
        self.worker: Worker | None = None


class Worker:
    """A process that asks one module, one request at a time.

    ``job``: None while it has nothing to do, since ``since``.  ``page``: what it is at by itself, of one
    that stands at the doorway; None of others."""

    __slots__ = ("end", "job", "module", "page", "pid", "since")

    def __init__(self, module: str, pid: int, end: socket.socket, page: Page | None = None) -> None:
        self.module = module
        self.pid = pid
        self.end = end
        self.page = page
        self.job: Job | None = None
        self.since = time.monotonic()

    @property
    def own_since(self) -> float:
        """Since when it is at something by itself; 0.0: it is not."""
        return self.page.since if self.page is not None else 0.0


class Helper:
    """The queues.  ``jobs``: whatever is not answered yet.  ``look``: raises Unservable or TemporaryFailure
    where a session of an account could not begin.  ``questions``: of login processes, where there are any."""

    def __init__(self, listener: socket.socket, modules: Sequence[str], environ: Mapping[str, str],
                 look: Look | None = None) -> None:
        self.look = look
        self.modules = modules
        self.environ = environ
        settings = Settings(environ)
        queues = (*modules, token.QUEUE)
        self.seconds = {name: max(1, settings.of_word("AUTH_TIMEOUT", name)) for name in queues}
        self.most = {name: max(1, settings.of_word("AUTH_WORKERS", name)) for name in queues}
        self.jobs: set[Job] = set()
        self.waiting: dict[str, list[Job]] = {name: [] for name in queues}
        self.workers: dict[str, list[Worker]] = {name: [] for name in queues}
        self.ending = False
        self.questions: Questions | None = None
        self._listener = listener
        self._heard: dict[int, Callable[[], None]] = {}
        self._poll = select.epoll()
        self._gone: set[int] = set()           # pids of workers that end

    def run(self) -> None:
        log.be("courierpy-auth")
        title.be("couriertcpd: password helper")
        signal.signal(signal.SIGTERM, self._told)
        self._listener.setblocking(False)
        self.hear(self._listener, self._accept)
        while not self.ending or self._is_at_work():
            now = time.monotonic()
            left = min((job.until - now for job in self.jobs), default=TURN)
            for fd, _ in self._poll.poll(max(0.0, min(left, LAST_TURN if self.ending else TURN))):
                heard = self._heard.get(fd)
                if heard is not None:
                    heard()
            self._see_to_time()
        os._exit(0)

    def _told(self, number: int, frame: object) -> None:
        self.ending = True
        if not self._is_at_work():
            os._exit(0)

    def _is_at_work(self) -> bool:
        return bool(self.jobs) or any(worker.own_since for workers in self.workers.values()
                                      for worker in workers)

    def hear(self, end: socket.socket, heard: Callable[[], None], events: int = select.EPOLLIN) -> None:
        """``heard`` is called when ``end`` can be read.  ``events``: as epoll(7) has them."""
        self._heard[end.fileno()] = heard
        self._poll.register(end.fileno(), events)

    def close(self, end: socket.socket) -> None:
        self.unhear(end)
        end.close()

    def unhear(self, end: socket.socket) -> None:
        if self._heard.pop(end.fileno(), None) is not None:
            self._poll.unregister(end.fileno())

    # -- requests

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:                        # another helper was quicker
            return
        client.setblocking(False)
        job = Job(partial(self._reply, client))
        self.jobs.add(job)
        self.hear(client, partial(self._read, client, job))

    def _read(self, client: socket.socket, job: Job) -> None:
        try:
            piece = client.recv(65536)
            job.data += piece
            job.request = parse_request(job.data, dict(self.environ))
        except (OSError, ValueError):          # UnicodeDecodeError is one
            return self._done(job, None)
        if job.request is None:
            if not piece:
                self._done(job, None)
            return None
        self.unhear(client)
        return self.begin(job)

    def _reply(self, client: socket.socket, reply: bytes | None) -> None:
        """``reply``: None for a temporary failure, which is an end without a word."""
        if reply is not None:
            try:
                client.send(reply)             # smaller than any socket's buffer
            except OSError:
                pass                           # the login was given up
        self.close(client)

    def begin(self, job: Job) -> None:
        """A job whose request is whole."""
        self.jobs.add(job)
        by_token = job.request is not None and job.request.kind == "token"
        job.route = (token.QUEUE, *self.modules) if by_token else self.modules
        self._ask(job)

    def _ask(self, job: Job) -> None:
        """Queue for the next module; none is left: nobody knows it."""
        if job.at == len(job.route):
            return self._done(job, FAIL)
        module = job.route[job.at]
        job.until = time.monotonic() + self.seconds[module]
        self.waiting[module].append(job)
        return self._work_off(module)

    def _done(self, job: Job, reply: bytes | None) -> None:
        self.jobs.discard(job)
        job.done(reply)

    # -- workers

    def _work_off(self, module: str) -> None:
        """Give what waits to workers, as long as there are any or may be more."""
        queue, workers = self.waiting[module], self.workers[module]
        while queue:
            able = [each for each in workers if each.job is None]
            worker = next((each for each in able if not each.own_since), None)
            if worker is None and len(workers) < self.most[module]:
                worker = self._start(module)
            worker = worker or next(iter(able), None)
            if worker is None:
                return                         # in time, or never
            job = queue.pop(0)
            worker.job, job.worker = job, worker
            # that of its own comes before
            job.until = time.monotonic() + self.seconds[module] * (2 if worker.own_since else 1)
            try:
                worker.end.send(job.work + job.data)
            except OSError:
                self._lost(worker)

    def _start(self, module: str) -> Worker | None:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            log.crit(f"no worker for {module} can be started: {error.strerror}")
            return None
        stand = self.questions.stand(module, theirs) if self.questions is not None else None
        main = partial(work, theirs, module, self.environ, self.look) if stand is None else stand.run
        try:
            pid = proc.fork(main, signal.SIGKILL)
        except OSError as error:
            log.crit(f"no worker for {module} can be started: fork: {error.strerror}")
            ours.close()
            return None
        finally:
            theirs.close()
        ours.setblocking(False)
        worker = Worker(module, pid, ours, stand.page if stand is not None else None)
        self.workers[module].append(worker)
        self.hear(ours, partial(self._answered, worker))
        if worker.page is not None and self.questions is not None:
            self.questions.stands(worker)
        return worker

    def _answered(self, worker: Worker) -> None:
        try:
            reply = worker.end.recv(passing.OCTETS)
        except BlockingIOError:
            return
        except OSError:
            reply = b""
        if not reply:
            self._lost(worker)
            self._work_off(worker.module)
            return
        if self.questions is not None and self.questions.is_said(worker, reply):
            return
        job, worker.job, worker.since = worker.job, None, time.monotonic()
        if job is not None and job.request is not None:
            job.worker = None
            if worker.module == token.QUEUE and reply not in (FAIL, TEMPORARY):
                job.request = of_user(job.request, reply)
                job.data = render_environ(job.request.environ) + render_request(job.request)
                job.at += 1
                self._ask(job)
            elif reply == FAIL and worker.module != token.QUEUE and job.work != LOOKS:
                job.at += 1
                self._ask(job)
            else:
                if token.QUEUE in job.route:
                    reply = without_clear(reply)       # nobody computes with it
                self._done(job, None if reply == TEMPORARY else reply)
        self._work_off(worker.module)

    def _lost(self, worker: Worker, why: str = "a worker ended") -> None:
        """It is killed, or has ended; what it was at fails for now."""
        try:
            os.killpg(worker.pid, signal.SIGKILL)
        except OSError:
            pass
        self.workers[worker.module].remove(worker)
        self._gone.add(worker.pid)
        self.close(worker.end)
        job, worker.job = worker.job, None
        if worker.page is not None and self.questions is not None and self.questions.lost(worker, why):
            if job is not None:        # it had not been begun
                job.worker = None
                self.waiting[worker.module].insert(0, job)
        elif job is not None:
            log.err(f"authentication error: {worker.module}: {why}, {who(job.request)}")
            self._done(job, None)

    def give_up(self, worker: Worker) -> None:
        """It has not done in time what it is at by itself."""
        self._lost(worker, f"no answer in {self.seconds[worker.module]} seconds")
        self._work_off(worker.module)

    def _see_to_time(self) -> None:
        now = time.monotonic()
        if self.questions is not None:
            self.questions.see_to_time()
        late = [job for job in self.jobs if job.until <= now]
        # first who waits, so that no worker is started for what is refused in the next moment
        for job in sorted(late, key=lambda job: job.worker is not None):
            if job.request is None:
                self._done(job, None)
                continue
            module = job.route[job.at]
            log.err(f"authentication error: {module}: no answer in {self.seconds[module]} seconds, "
                    + who(job.request))
            worker, job.worker = job.worker, None
            self._done(job, None)
            if worker is None:
                self.waiting[module].remove(job)
            else:
                worker.job = None
                self._lost(worker)
        for module in sorted({job.route[job.at] for job in late if job.request is not None}):
            self._work_off(module)
        for workers in self.workers.values():
            # who stands at the doorway is the last one: it may have taken a question just now
            idle = [worker for worker in workers
                    if worker.job is None and worker.page is None and now - worker.since > IDLE]
            for worker in idle[:len(workers) - 1]:
                self._lost(worker)
        for pid in list(self._gone):
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    self._gone.discard(pid)
            except ChildProcessError:
                self._gone.discard(pid)


def of_user(request: Request, reply: bytes) -> Request:
    """What the modules are asked when token.QUEUE has answered a request with ``reply``."""
    user = reply.removeprefix(USER).rstrip(b"\n").decode("utf-8", "surrogateescape")
    return Request("pre", request.service, request.environ, user=user)


def who(request: Request | None) -> str:
    if request is None:
        return ""
    return log.who(request.environ.get("TCPREMOTEIP", ""), request.environ.get("TCPREMOTEPORT", ""),
                   request.user or None)


def work(end: socket.socket, module: str, environ: Mapping[str, str], look: Look | None) -> int:
    """A worker: until whoever has the other end has no use for it."""
    begin_work((end,), module)
    while data := end.recv(2 * MAX_REPLY):
        reply = answer_to(data, module, environ, look)
        if reply is None:
            return 1
        end.send(reply)
    return 0


def begin_work(ends: Iterable[socket.socket], module: str) -> None:
    """This process is a worker, and has nothing but these channels."""
    os.setpgid(0, 0)                   # what the module starts ends with it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    proc.keep_open(end.fileno() for end in ends)
    title.say(f"worker of {module}")


def answer_to(data: bytes, module: str, environ: Mapping[str, str], look: Look | None) -> bytes | None:
    """What a worker says to a job of the helper; None to what is none."""
    wanted, data = data[:1], data[1:]
    if wanted == LOOKS:
        return looked(data, look)
    request = parse_request(data, dict(environ))
    if request is None:
        return None
    return answer(module, request, look if wanted == ASKS_AND_LOOKS else None)


def answer(module: str, request: Request, look: Look | None = None) -> bytes:
    """What a module says to one request: the account, FAIL or TEMPORARY, the reason in the log; and
    token.QUEUE in place of an account whose the token is (see ``of_user``)."""
    def find() -> bytes:
        if module == token.QUEUE:
            return USER + token.user_of(request).encode() + b"\n"
        account = check([module], request)
        if look is not None:
            look(account)
        return render_account(account, request.kind == "pre")
    # mail for an account that cannot be served waits until it can
    return _told(find, request, request.kind == "pre" and request.service == DELIVERY)


def looked(data: bytes, look: Look | None) -> bytes:
    """As answer(), of an account (auth/protocol.py) that a module has found before."""
    def find() -> bytes:
        account = parse_reply(data)
        if look is not None:
            look(account)
        return render_account(account, False)
    return _told(find, None)


def _told(find: Callable[[], bytes], request: Request | None, waits: bool = False) -> bytes:
    """``request``: of whom the log speaks, None where it is not known."""
    try:
        return find()
    except token.Refused as error:
        log.info(f"the token is refused: {error}{_of(request)}")
    except Unservable as error:
        log.err(f"the account cannot be served: {error}{_of(request)}")
        return TEMPORARY if waits else FAIL
    except Rejected:
        pass
    except TemporaryFailure as error:
        log.err(f"authentication error: {error}{_of(request)}")
        return TEMPORARY
    return FAIL


def _of(request: Request | None) -> str:
    return "" if request is None else f", {who(request)}"
