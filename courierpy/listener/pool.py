"""couriertcpd's side of the processes of sessions: which one serves the next session.

A process becomes a user once, and for good.  When its session is over it may wait for another one: of the
same account, or of any that has the same ids (IMAP_REUSE).  A few are forked ahead, and are nobody's
yet.  Each has a channel of *orders* to here (system/channels.py); when our end is closed it ends, and
when its end is, nothing more can be given to it: so no order is lost between one that stops
waiting and us.

What a process says is one letter, and all that it can bring about is another session of those who
may be served by it anyway.
"""
from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from functools import partial

from courierpy.listener.queueing import FOR_A_FORK, PATIENCE, Queue, Waiter
from courierpy.system import channels, log, passing, proc
from courierpy.system.seldom import due

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from courierpy.listener.connections import Connection, Connections
    from courierpy.listener.loop import Loop
    from courierpy.system.channels import Order

    # of a process: its end of the channel, the first order with its descriptor; what it does, to its status
    Serve = Callable[[socket.socket, Order | None, int], Callable[[], int]]

ACCOUNT, IDS, NOBODY = "account", "uid", "no"      # IMAP_REUSE: who may have a process after another
RESTART_AFTER = 1.0            # seconds after a fork that was refused
IDENTITY = (b"USERNAME=", b"UID=", b"GID=")        # lines of an account that say who its process becomes


class Worker:
    """A process of sessions.  ``key``: who may have it, b"" while it is nobody's.  ``given``: the session
    that it was given after it had waited, without descriptors and what the client had said."""

    __slots__ = ("given", "key", "link", "pid")

    def __init__(self, pid: int, link: socket.socket, key: bytes) -> None:
        self.pid = pid
        self.link = link
        self.key = key
        self.given: Order | None = None


class Pool:
    """The processes of sessions, and the sessions that wait for one.

    ``waiting``: processes without a session, who waits longest first; ``ahead``: those that are
    nobody's.  Both are also in ``workers``, by pid.  ``queue``: sessions that wait for a process."""

    def __init__(self, reuse: str, most: int, ahead: int, connections: Connections, loop: Loop,
                 serve: Serve, before: Callable[[], object], busy: bytes = b"") -> None:
        """``reuse``: ACCOUNT, IDS or NOBODY.  ``most``: how many may wait, ``ahead``: how many are forked
        ahead.  ``serve``: tells before the fork what such a process does.  ``before``: hears what was said
        of a session by others, before it is over.  ``busy``: what a client hears that waited and cannot be
        served."""
        self.most = most if reuse != NOBODY else 0
        self.count_ahead = ahead
        self.workers: dict[int, Worker] = {}
        self.waiting: dict[int, Worker] = {}
        self.ahead: dict[int, Worker] = {}
        self._by_ids = reuse == IDS
        self._connections = connections
        self._loop = loop
        self._serve = serve
        self._before = before
        self._busy = busy
        self._above = 3
        self.queue = Queue()
        self._next_start = 0.0

    @property
    def above(self) -> int:
        """All descriptors from here are below this."""
        return max(self._above, self.queue.above)

    # -- a session begins

    def begin(self, connection: Connection, order: Order, fd: int) -> None:
        """Give the order, and the client's descriptor, to a process that waits, or to a fork; now, or
        in a moment.  OSError."""
        connection.account = order.account
        key = self._key(order.account)
        able = self._able(key)
        if not order.asleep and self.queue.is_for(key):
            with suppress(OSError):    # no descriptor for it: then it does not wait
                self.queue.add(key, Waiter(connection, order, fd, PATIENCE if able else FOR_A_FORK))
                return
        worker = self._give(able, key, order, fd) or self._start(key, order, fd)
        self._connections.takes_over(worker.pid, connection)

    def _start(self, key: bytes, order: Order, fd: int) -> Worker:
        """The process that has it now, which was nobody's.  OSError."""
        return self._give(list(self.ahead.values()), key, order, fd) or self._fork(key, order, fd)

    def _begin(self, key: bytes, waiter: Waiter, worker: Worker | None = None) -> None:
        """For who has waited.  ``worker``: who is to have it, if it can."""
        address = waiter.connection.address
        able = [worker] if worker is not None else self._able(key)
        try:
            found = self._give(able, key, waiter.order, waiter.fd) \
                or self._start(key, waiter.order, waiter.fd)
        except OSError as error:
            if due("fork"):
                log.crit(f"a session cannot be started: {error.strerror}")
            self._connections.left(address)
            waiter.turn_away(self._busy)
            return
        self._connections.takes_over(found.pid, waiter.connection)
        os.close(waiter.fd)

    def hurry(self) -> None:
        """Who waits has a process now."""
        for key, waiter in self.queue.overdue(all_of_them=True):
            self._begin(key, waiter)

    def refuse(self) -> None:
        """Who waits is turned away, as no process is started any more."""
        for _, waiter in self.queue.overdue(all_of_them=True):
            waiter.turn_away(self._busy)

    def seconds(self, most: float) -> float:
        """Until there is something to tend."""
        return self.queue.seconds(most)

    def _key(self, account: bytes) -> bytes:
        """The same for all whom one process may serve.  An account that was changed is another one."""
        if not self._by_ids:
            return account
        return b"".join(line for line in account.splitlines(keepends=True) if line.startswith(IDENTITY))

    def _able(self, key: bytes) -> list[Worker]:
        """Those that wait for a session of theirs; first who came last, so that the others may end."""
        able = [worker for worker in self.waiting.values() if worker.key == key]
        if not able:
            self._loop.catch_up()      # one may have said since this turn began that it waits
            able = [worker for worker in self.waiting.values() if worker.key == key]
        able.reverse()
        return able

    def _give(self, workers: Iterable[Worker], key: bytes, order: Order, fd: int) -> Worker | None:
        """The one of them that has it now."""
        for worker in workers:
            try:
                passing.send(worker.link, order.parts(), (fd, *order.asleep))
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    return None        # a fork has it in its memory
                self._forget(worker)   # it has ended, or is about to
                continue
            self.waiting.pop(worker.pid, None)
            self.ahead.pop(worker.pid, None)
            worker.key = key
            worker.given = channels.Order(order.account, order.known, order.said)
            self.queue.begins(key, worker.pid)
            return worker
        return None

    def _fork(self, key: bytes, order: Order | None, fd: int) -> Worker:
        """OSError."""
        ours, theirs = passing.pair()
        self._above = max(self._above, ours.fileno() + 1, theirs.fileno() + 1)
        try:
            # what can be found out here is not in the child, which gets a copy of each page it writes to
            pid = proc.fork(self._serve(theirs, order, fd))
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        worker = self.workers[pid] = Worker(pid, ours, key)
        if order is not None:
            self.queue.begins(key, pid)
        # that it waits is of use to who comes next, and to nobody before
        self._loop.hear_beside(ours.fileno(), partial(self._says, worker))
        return worker

    def tend(self) -> None:
        """Fork ahead what is missing, once fewer than half are left: after a fork every page that is written
        to is copied, here as there, and after several in a row only once.  And begin what waited in vain."""
        for key, waiter in self.queue.overdue() if self.queue.count else ():
            self._begin(key, waiter)
        if 2 * len(self.ahead) >= self.count_ahead:
            return
        now = time.monotonic()
        if now < self._next_start:
            return
        while len(self.ahead) < self.count_ahead:
            try:
                worker = self._fork(b"", None, -1)
            except OSError as error:
                self._next_start = now + RESTART_AFTER
                if due("ahead"):
                    log.crit(f"no process can be forked ahead: {error.strerror}")
                return
            self.ahead[worker.pid] = worker

    # -- and is over

    def _says(self, worker: Worker) -> None:
        """A word: it says one for each session."""
        found = passing.heard(worker.link, f"session process {worker.pid}")
        if found is None:
            return
        data, fds = found
        if data in (channels.DONE, channels.SOON) and worker.pid in self._connections.by_pid:
            self._done(worker, data == channels.SOON)
        else:
            if data[:1] == channels.OTHERS and len(fds) in (1, 3):
                self._gives_back(worker, data[1:], *fds)
            self._forget(worker)       # the rest is told by its end
        if fds:
            passing.close(fds)

    def _gives_back(self, worker: Worker, rest: bytes, client: int, *asleep: int) -> None:
        """A fork has the session that this process cannot have; of what it was, only ``rest`` is what the
        process says."""
        given, connection = worker.given, self._connections.by_pid.get(worker.pid)
        if given is None or connection is None:
            return
        order = channels.Order(given.account, given.known, given.said, rest, asleep)
        try:
            other = self._fork(self._key(given.account), order, client)
        except OSError as error:
            if due("fork"):
                log.crit(f"a session cannot be started: {error.strerror}")
            with suppress(OSError):    # it has ended
                passing.send(worker.link, [channels.FAILED])
            return
        del self._connections.by_pid[worker.pid]
        self._connections.takes_over(other.pid, connection)

    def _done(self, worker: Worker, brief: bool) -> None:
        self._before()
        self._connections.ended(worker.pid)
        worker.given = None
        self.queue.over(worker.key, worker.pid, brief)
        self.waiting[worker.pid] = worker
        waiter = self.queue.first(worker.key)
        if waiter is not None:
            self._begin(worker.key, waiter, worker)
        while len(self.waiting) > self.most:
            self._forget(next(iter(self.waiting.values())))

    def _forget(self, worker: Worker) -> None:
        """It is given no session any more, and ends when it has none."""
        for table in (self.workers, self.waiting, self.ahead):
            table.pop(worker.pid, None)
        others = any(each.key == worker.key for each in self.waiting.values())
        self.queue.ended(worker.key, worker.pid, others)
        self._loop.forget((worker.link.fileno(),))
        worker.link.close()

    def ended(self, pid: int) -> None:
        """This process, of ours or not, has ended."""
        worker = self.workers.get(pid)
        if worker is not None:
            self._forget(worker)

    def pids(self) -> set[int]:
        return set(self.workers)

