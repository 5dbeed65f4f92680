"""Many programs ask, a few processes look: the side of the one who hears all.

A connection costs a descriptor and what it has said; nothing of a client is waited for, and one that says
what nobody understands, or says it slowly, ends alone.  A question goes to a process that is free
(mta/verdict.py), rather to the one that is asked of that user first: each keeps processes of some users
(lmtp/carrier.py), and so not all of them those of the same.  The others wait.  Whatever takes too long, and
whatever a process is at that is lost, is answered "later".

A client has one question at a time under way; what it says meanwhile waits, at last in its own socket.
"""
from __future__ import annotations

import errno
import os
import signal
import time
from collections import deque
from functools import partial
from zlib import crc32

from courierpy.lmtp.carrier import LATER
from courierpy.model import measures
from courierpy.mta import tongues, verdict
from courierpy.mta.question import PART_SECONDS, SILENT_SECONDS, Broken
from courierpy.system import log, metrics, passing, proc
from courierpy.system.seldom import due

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from courierpy.listener.loop import Loop
    from courierpy.lmtp.grammar import Reply
    from courierpy.mta.question import Question
    from courierpy.mta.tongues import Tongue
    from courierpy.system.settings import Settings

READ = 65536                   # octets that are read at once
LOOK_SECONDS = 1.0             # between two looks for those that say nothing
RESTART_AFTER = 1.0            # seconds, where a process cannot be started


class Client:
    """An MTA that asks.

    ``said``: what is not answered yet; ``since``: when it said something last, or its question became
    whole; ``question``: that is under way."""

    __slots__ = ("end", "question", "said", "since", "tongue")

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.said = b""
        self.since = time.monotonic()
        self.question: Question | None = None
        self.tongue: Tongue = tongues.POLICY


class Worker:
    """A process that looks for recipients.

    ``client``: whose question it is at; None while it waits for one.  ``retires``: it is its last one.
    ``slot``: of the users of this number it is asked first."""

    __slots__ = ("client", "end", "pid", "retires", "slot")

    def __init__(self, pid: int, end: socket.socket, slot: int) -> None:
        self.pid = pid
        self.slot = slot
        self.end = end
        self.client: Client | None = None
        self.retires = False


def _number(address: bytes) -> int:
    """The same for all addresses of a user in a domain."""
    local, at, domain = address.lower().rpartition(b"@")
    return crc32((local if at else domain).partition(b"+")[0] + (at + domain if at else b""))


class Desk:
    """Where MTAs ask, and the processes that look for them.

    ``work``: what a process does whose end of a channel is given, by the settings in force; its exit
    status."""

    def __init__(self, loop: Loop, work: Callable[[socket.socket], int], settings: Settings) -> None:
        self._loop = loop
        self._work = work
        self._limit(settings)
        self._clients: set[Client] = set()
        self._waiting: deque[Client] = deque()
        self._workers: dict[int, Worker] = {}      # by pid
        self._next_start = self._next_look = 0.0

    def __len__(self) -> int:
        """How many are connected."""
        return len(self._clients)

    def _limit(self, settings: Settings) -> None:
        self._most_clients = settings.number("SMMAP_CONNECTIONS")
        self._most_workers = settings.number("SMMAP_WORKERS")
        self._seconds = float(settings.number("SMMAP_TIMEOUT"))

    # -- who comes and goes

    def accept(self, listener: socket.socket) -> None:
        try:
            end, _ = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED) and due("smmapd accept"):
                log.crit(f"no connection can be taken: {error.strerror}")
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._make_room()
            return
        end.setblocking(False)
        if len(self._clients) >= self._most_clients and not self._make_room():
            end.close()                # it asks again, of another connection
            return
        client = Client(end)
        self._clients.add(client)
        self._loop.hear(end.fileno(), partial(self._hear, client))

    def _make_room(self) -> bool:
        """The one that has been silent for longest goes."""
        idle = [client for client in self._clients if client.question is None]
        if not idle:
            return False
        self._close(min(idle, key=lambda client: client.since))
        return True

    def _close(self, client: Client) -> None:
        if client not in self._clients:
            return
        self._clients.remove(client)
        client.question = None
        self._loop.forget((client.end.fileno(),))
        client.end.close()

    # -- what they say

    def _hear(self, client: Client) -> None:
        try:
            data = client.end.recv(READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self._close(client)
        if not client.said:
            client.since = time.monotonic()
            client.tongue = tongues.of(data)
        client.said += data
        return self._go_on(client)

    def _go_on(self, client: Client) -> None:
        """With what it has said, up to a question."""
        try:
            question, used = client.tongue.cut(client.said)
        except Broken as broken:
            if self._say(client, broken.answer):
                self._close(client)
            return
        if question is None:
            return
        client.said = client.said[used:]
        client.since = time.monotonic()
        client.question = question
        self._loop.forget((client.end.fileno(),))      # until that is answered
        self._waiting.append(client)
        self._hand_out()

    def _answer(self, client: Client, reply: Reply | None) -> None:
        question, client.question = client.question, None
        if question is None or client not in self._clients:
            return
        metrics.count(measures.QUESTIONS, client.tongue.name, tongues.result(reply))
        client.since = time.monotonic()
        if self._say(client, client.tongue.answer(question, reply)):
            self._loop.hear(client.end.fileno(), partial(self._hear, client))
            if client.said:
                client.tongue = tongues.of(client.said)
                self._go_on(client)

    def _say(self, client: Client, data: bytes) -> bool:
        """False for one that is closed: it does not take an answer that is shorter than any buffer."""
        try:
            if client.end.send(data) == len(data):
                return True
        except OSError:
            pass
        self._close(client)
        return False

    # -- who looks

    def _hand_out(self) -> None:
        while self._waiting:
            client = self._waiting[0]
            worker = self._free(client.question) if client.question is not None else None
            if client.question is not None and worker is None:
                return
            self._waiting.popleft()
            if worker is None or client.question is None:
                continue               # it has gone, or heard "later"
            worker.client = client
            try:
                passing.send(worker.end, [client.question.data()])
            except OSError:
                self._lose(worker)

    def _free(self, question: Question) -> Worker | None:
        """Who may look for it now; None where all are at something."""
        wanted = _number(question.address) % self._most_workers
        free = [worker for worker in self._workers.values() if worker.client is None and not worker.retires]
        there = {worker.slot for worker in self._workers.values()}
        for worker in free:
            if worker.slot == wanted:
                return worker
        if len(self._workers) < self._most_workers:
            open_ones = [wanted, *range(self._most_workers)]
            started = self._start(next(slot for slot in open_ones if slot not in there))
            if started is not None:
                return started
        return free[0] if free else None

    def _start(self, slot: int) -> Worker | None:
        now = time.monotonic()
        if now < self._next_start:
            return None
        ours = None
        try:
            ours, theirs = passing.pair()
            with theirs:
                pid = proc.fork(partial(self._work, theirs), signal.SIGKILL, lambda number, frame: None)
        except OSError as error:
            if ours is not None:
                ours.close()
            self._next_start = now + RESTART_AFTER
            if due("smmapd worker"):
                log.crit(f"no process that looks for recipients can be started: {error.strerror}")
            return None
        worker = self._workers[pid] = Worker(pid, ours, slot)
        self._loop.hear(ours.fileno(), partial(self._heard, worker))
        return worker

    def _heard(self, worker: Worker) -> None:
        for data, fds in passing.waiting(worker.end, "a process that looks for recipients"):
            passing.close(fds)
            client, worker.client = worker.client, None
            if not data:
                worker.client = client
                return self._lose(worker)
            if client is not None:
                self._answer(client, verdict.heard(data))
            if worker.retires:
                return self._lose(worker)
        return self._hand_out()

    def _lose(self, worker: Worker) -> None:
        """The process is none any more, or is none that could be asked."""
        if self._workers.pop(worker.pid, None) is not None:
            os.kill(worker.pid, signal.SIGKILL)        # it is not reaped: ended() would have been told
            self._forget(worker)

    def ended(self, pid: int) -> bool:
        """Was this process, which is reaped, one that looked for recipients?"""
        worker = self._workers.pop(pid, None)
        if worker is not None:
            self._forget(worker)
        return worker is not None

    def _forget(self, worker: Worker) -> None:
        self._loop.forget((worker.end.fileno(),))
        worker.end.close()
        if worker.client is not None:
            self._answer(worker.client, LATER)

    # -- now and then

    def tend(self) -> None:
        """What has taken too long; what could not be begun."""
        now = time.monotonic()
        for worker in [each for each in self._workers.values()
                       if each.client is not None and each.client.since <= now - self._seconds]:
            log.err(f"a recipient was looked for longer than {self._seconds:.0f} seconds")
            self._lose(worker)
        while self._waiting and self._waiting[0].since <= now - self._seconds:     # the first came first
            self._answer(self._waiting.popleft(), LATER)
        if now >= self._next_look:     # at all of them, and not at every turn of the loop
            self._next_look = now + LOOK_SECONDS
            for client in [each for each in self._clients if each.question is None and each.since <= now -
                           (PART_SECONDS if each.said else SILENT_SECONDS)]:
                self._close(client)
        self._hand_out()

    def renew(self, settings: Settings) -> None:
        """Other settings are in force: who begins now goes by them, the others finish what they are at."""
        self._limit(settings)
        for worker in list(self._workers.values()):
            worker.retires = True
            if worker.client is None:
                self._lose(worker)

    def stop(self) -> None:
        """All ends; who waits for an answer asks somebody else, or later."""
        for client in list(self._clients):
            self._close(client)
        for worker in list(self._workers.values()):
            worker.client = None
            self._lose(worker)
