"""Which process serves the next session: of whom it may be, how many wait, what becomes of those that end."""
from __future__ import annotations

import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, cast

import pytest

from courierpy.listener.connections import Connection, Connections
from courierpy.listener.pool import ACCOUNT, IDS, NOBODY, Pool
from courierpy.system import passing, proc
from courierpy.system.channels import DONE, SOON, Order
from tests.conftest import descriptors
from tests.programs.chain import DEADLINE

ANN, BOB = (b"UID=7\nGID=8\nHOME=/home/%s\nADDRESS=%s\n.\n" % (name, name) for name in (b"ann", b"bob"))
MALLORY = b"UID=7\nGID=9\nHOME=/home/mallory\nADDRESS=mallory\n.\n"
CAROL = b"USERNAME=carol\nGID=8\nHOME=/home/carol\nADDRESS=carol\n.\n"


class Loop:
    """As couriertcpd's, without its signals."""

    def __init__(self) -> None:
        self.poll = select.poll()
        self.handlers: dict[int, Callable[[], object]] = {}
        self.catches_up = False

    def hear(self, fd: int, handler: Callable[[], object]) -> None:
        self.handlers[fd] = handler
        self.poll.register(fd, select.POLLIN)

    hear_beside = hear

    def forget(self, fds: list[int]) -> None:
        for fd in fds:
            if self.handlers.pop(fd, None) is not None:
                self.poll.unregister(fd)

    def catch_up(self) -> None:
        for fd, _ in self.poll.poll(0) if self.catches_up else ():
            self.handlers[fd]()

    def until(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + DEADLINE
        while not true():
            assert time.monotonic() < end
            for fd, _ in self.poll.poll(100):
                self.handlers[fd]()


def serve(link: socket.socket, order: Order | None, fd: int) -> int:
    """Tell each client by which process it is served, and what it said.  One who said "stays" says when the
    session is over; one who said "brief" has a brief one."""
    proc.keep_open({link.fileno(), fd} - {-1})
    link.setblocking(True)
    while True:
        if order is None:
            found = passing.receive(link)
            while found is None:
                select.select([link], [], [])
                found = passing.receive(link)
            if not found[0]:
                return 0
            order, fd = Order.of(found[0], ()), found[1][0]
        if order.rest == b"end":
            return 0
        with socket.socket(fileno=fd) as client:
            client.sendall(b"%d %s\n" % (os.getpid(), order.rest[:9]))
            if b"stays" in order.rest:
                client.recv(1)
        word = SOON if b"brief" in order.rest else DONE
        order = None
        link.send(word)


class Guest:
    """A client of Rig.asks()."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._pid = 0

    def pid(self) -> int:
        """Of the process that it is served by."""
        self._pid = self._pid or int(self.end.recv(100).partition(b" ")[0])
        return self._pid

    def goes(self) -> None:
        self.pid()                     # what was not read would break the connection off
        with self.end, suppress(OSError):          # its process may have ended
            self.end.send(b".")


class Rig:
    def __init__(self, reuse: str, most: int = 5, ahead: int = 0) -> None:
        self.loop = Loop()
        self.connections = Connections(False, lambda fd: None)
        self.said = 0
        self.found_out = 0
        self.pool = Pool(reuse, most, ahead, self.connections, cast(Any, self.loop), self._serve,
                         self._before, b"busy\n")
        self.pool.tend()

    def _serve(self, link: socket.socket, order: Order | None, fd: int) -> Callable[[], int]:
        self.found_out += 1
        return partial(serve, link, order, fd)

    def _before(self) -> None:
        self.said += 1

    def asks(self, account: bytes, rest: bytes) -> Guest:
        """A client, for whose session a process is wanted now."""
        ours, theirs = socket.socketpair()
        ours.settimeout(DEADLINE)
        self.connections.counts.add("192.0.2.1", 1)
        with theirs:
            self.pool.begin(Connection("192.0.2.1"), Order(account, b"", b"", rest), theirs.fileno())
        return Guest(ours)

    def session(self, account: bytes, rest: bytes = b"x", done: bool = True) -> int:
        """The pid of its process.  ``done``: the process waits again, or is forgotten, then."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            connection = Connection("192.0.2.1")
            self.connections.counts.add("192.0.2.1", 1)
            self.pool.begin(connection, Order(account, b"", b"", rest), theirs.fileno())
            theirs.close()
            ours.settimeout(DEADLINE)
            pid, _, said = ours.recv(100).partition(b" ")
            assert said == rest[:9] + b"\n"
        if done:
            self.loop.until(lambda: int(pid) not in self.connections.by_pid)
        return int(pid)

    def end(self) -> None:
        for worker in list(self.pool.workers.values()):
            pid = worker.pid
            worker.link.close()
            os.waitpid(pid, 0)


@pytest.fixture
def rig(request: pytest.FixtureRequest) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(*words: Any, **named: Any) -> Rig:
        made.append(Rig(*words, **named))
        return made[-1]
    yield make
    for each in made:
        each.end()


def test_an_account_has_its_process_again(rig: Callable[..., Rig]) -> None:
    here = rig(ACCOUNT)
    first, other = here.session(ANN), here.session(BOB)
    assert first != other
    assert (here.session(ANN), here.session(BOB)) == (first, other)
    assert here.session(ANN.replace(b"/home/ann", b"/home/new")) not in (first, other)
    assert here.connections.counts.of.get("192.0.2.1", 0) == 0 and here.said == 5


def test_whose_ids_are_the_same_may_share_one_by_setting(rig: Callable[..., Rig]) -> None:
    here = rig(IDS)
    first = here.session(ANN)
    assert here.session(BOB) == first
    assert first not in (here.session(MALLORY), here.session(CAROL))


def test_nobody_shares_one(rig: Callable[..., Rig]) -> None:
    here = rig(NOBODY)
    assert here.session(ANN) != here.session(ANN)
    assert not here.pool.waiting


def test_one_that_is_busy_is_not_given_another(rig: Callable[..., Rig]) -> None:
    here = rig(ACCOUNT)
    first = here.session(ANN, done=False)
    second = here.session(ANN, done=False)
    assert first != second
    here.loop.until(lambda: len(here.pool.waiting) == 2)
    last = list(here.pool.waiting)[-1]
    assert here.session(ANN) == last   # the other may end


def test_one_that_has_just_said_that_it_waits(rig: Callable[..., Rig]) -> None:
    """And was not heard yet, as others were."""
    here = rig(ACCOUNT)
    first = here.session(ANN, done=False)
    assert here.loop.poll.poll(1000 * DEADLINE) and not here.pool.waiting
    here.loop.catches_up = True
    assert here.session(ANN) == first


def test_several_are_forked_ahead_in_a_row(rig: Callable[..., Rig]) -> None:
    """When fewer than half are left."""
    here = rig(ACCOUNT, ahead=4)
    first = set(here.pool.ahead)
    used = {here.session(ANN), here.session(BOB)}
    here.pool.tend()
    assert set(here.pool.ahead) == first - used
    used.add(here.session(CAROL))
    here.pool.tend()
    assert len(here.pool.ahead) == 4 and set(here.pool.ahead) & first == first - used


def test_what_a_process_does_is_found_out_before_its_fork(rig: Callable[..., Rig]) -> None:
    """A child gets a copy of each page that it writes to."""
    assert rig(ACCOUNT, ahead=3).found_out == 3


def test_those_that_are_forked_ahead(rig: Callable[..., Rig]) -> None:
    here = rig(ACCOUNT, ahead=2)
    ahead = list(here.pool.ahead)
    assert len(ahead) == 2
    assert here.session(ANN) == ahead[0] and here.session(ANN) == ahead[0]
    assert here.session(BOB) == ahead[1] and not here.pool.ahead
    here.pool.tend()
    assert len(here.pool.ahead) == 2


def test_who_has_waited_longest_ends(rig: Callable[..., Rig]) -> None:
    here = rig(ACCOUNT, most=2)
    pids = [here.session(ANN.replace(b"ann", name)) for name in (b"a", b"b", b"c")]
    assert list(here.pool.waiting) == pids[1:]
    assert os.waitpid(pids[0], 0)[1] == 0


def test_one_that_has_ended_is_passed_over(rig: Callable[..., Rig]) -> None:
    here = rig(ACCOUNT, ahead=1)
    first = here.session(ANN)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    here.pool.tend()
    ahead, = here.pool.ahead
    assert here.session(ANN) == ahead
    os.kill(ahead, signal.SIGKILL)
    os.waitpid(ahead, 0)
    here.pool.ended(ahead)
    assert here.session(ANN) not in (first, ahead)


def test_an_order_that_no_message_holds(rig: Callable[..., Rig]) -> None:
    here = rig(ACCOUNT, ahead=1)
    ahead, = here.pool.ahead
    assert here.session(ANN, b"x" * (2 << 20)) != ahead
    assert list(here.pool.ahead) == [ahead]


def test_what_a_process_says_without_a_session(rig: Callable[..., Rig]) -> None:
    """It may be in other hands: it is given nothing more."""
    here = rig(ACCOUNT)
    first = here.session(ANN)
    worker = here.pool.workers[first]
    here.pool._says(worker)
    assert first in here.pool.waiting
    ours, theirs = passing.pair()
    here.loop.forget([worker.link.fileno()])
    worker.link.close()
    worker.link = ours
    here.loop.hear(ours.fileno(), lambda: here.pool._says(worker))
    for word in (DONE, b"nonsense"):
        theirs.send(word)
    here.loop.until(lambda: first not in here.pool.workers)
    assert here.session(ANN) != first
    theirs.close()
    os.waitpid(first, 0)


def test_a_fork_that_is_refused(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch,
                                capfd: pytest.CaptureFixture[str]) -> None:
    here = rig(ACCOUNT)

    def refused(*words: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    monkeypatch.setattr("courierpy.system.proc.fork", refused)
    before = descriptors()
    with pytest.raises(OSError, match="unavailable"):
        here.session(ANN)
    here.pool.count_ahead = 1
    here.pool.tend()
    here.pool.tend()
    assert descriptors() == before and not here.pool.workers
    assert capfd.readouterr().err.count("no process can be forked ahead") == 1


@pytest.fixture
def crowded(rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Rig, list[Guest]]]:
    """Two processes at sessions that began just now, after brief ones, which is enough here; one is idle.
    Nobody loses patience."""
    monkeypatch.setattr("courierpy.system.proc.processors", lambda: 1)
    monkeypatch.setattr("courierpy.listener.queueing.TIMES", 1000)
    monkeypatch.setattr("courierpy.listener.queueing.FOR_A_FORK", DEADLINE)
    for name in ("PATIENCE", "FOR_A_FORK"):
        monkeypatch.setattr(f"courierpy.listener.pool.{name}", 10 * DEADLINE)
    here = rig(ACCOUNT)
    three = [here.asks(ANN, b"brief stays") for _ in range(3)]
    for each in three:
        each.pid()
        each.goes()
    here.loop.until(lambda: len(here.pool.waiting) == 3)
    two = [here.asks(ANN, b"brief stays") for _ in range(2)]
    yield here, two
    for each in two:
        each.goes()


def test_who_comes_while_enough_are_served_waits_for_one_of_them(crowded: tuple[Rig, list[Guest]]) -> None:
    here, (one, other) = crowded
    pids = one.pid(), other.pid()
    guests = [here.asks(ANN, b"brief") for _ in range(3)]
    assert here.pool.queue.count == 3 and len(here.pool.waiting) == 1
    assert here.session(BOB) not in pids           # these are not waited for
    other.goes()
    here.loop.until(lambda: not here.pool.queue.count)
    assert [guest.pid() for guest in guests] == [pids[1]] * 3
    one.goes()
    here.loop.until(lambda: len(here.pool.waiting) == 4)
    assert here.connections.counts.of.get("192.0.2.1", 0) == 0 and not here.connections.by_pid


def test_nobody_waits_long(crowded: tuple[Rig, list[Guest]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where no session ends, nor where some do."""
    here, (one, other) = crowded
    idle, = here.pool.waiting
    monkeypatch.setattr("courierpy.listener.pool.PATIENCE", 0.0)
    guest = here.asks(ANN, b"brief")
    assert here.pool.queue.count and here.pool.seconds(60.0) == 0.0
    here.pool.tend()
    assert guest.pid() == idle and here.pool.seconds(60.0) == 60.0
    here.loop.until(lambda: idle in here.pool.waiting)
    monkeypatch.setattr("courierpy.listener.pool.PATIENCE", 10 * DEADLINE)
    guests = [here.asks(ANN, b"brief") for _ in range(2)]
    here.pool.tend()
    assert here.pool.queue.count == 2 and here.pool.seconds(60.0) == 60.0
    monkeypatch.setattr("courierpy.listener.queueing.TIMES", 0)
    here.pool.tend()                   # a process that is idle, and a fork
    pids = {guest.pid() for guest in guests}
    assert idle in pids and len(pids - {one.pid(), other.pid()}) == 2


def test_sessions_that_are_not_brief_are_not_waited_for(crowded: tuple[Rig, list[Guest]]) -> None:
    here, (one, other) = crowded
    one.goes()
    here.loop.until(lambda: len(here.pool.waiting) == 2)
    here.session(ANN, b"x")            # which said that it was not
    again = here.asks(ANN, b"brief stays")
    last = here.asks(ANN, b"brief")
    assert not here.pool.queue.count and last.pid() != again.pid()
    again.goes()


def test_who_waits_is_served_before_another_image(crowded: tuple[Rig, list[Guest]]) -> None:
    here, _ = crowded
    guest, last = here.asks(ANN, b"brief"), here.asks(ANN, b"brief")
    here.pool.hurry()
    assert here.pool.queue.count == 0 and guest.pid() != last.pid()


def test_who_waits_is_turned_away_at_the_end(crowded: tuple[Rig, list[Guest]]) -> None:
    here, _ = crowded
    before = descriptors()
    guest = here.asks(ANN, b"brief")
    here.pool.refuse()
    assert guest.end.recv(100) == b"busy\n" and guest.end.recv(100) == b""
    guest.end.close()
    assert descriptors() == before


def test_nobody_waits_where_there_is_no_descriptor_for_it(crowded: tuple[Rig, list[Guest]]) -> None:
    here, _ = crowded
    idle, = here.pool.waiting
    ours, theirs = socket.socketpair()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ours, theirs:
        ours.settimeout(DEADLINE)
        free = os.dup(theirs.fileno())
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            here.pool.begin(Connection(""), Order(ANN, b"", b"", b"brief"), theirs.fileno())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not here.pool.queue.count and Guest(ours).pid() == idle


def test_what_waits_and_is_no_connection(crowded: tuple[Rig, list[Guest]]) -> None:
    """As a login process may say it that is in somebody's hands."""
    here, _ = crowded
    before = descriptors()
    with open(os.devnull, "rb") as file:
        here.pool.begin(Connection(""), Order(ANN, b"", b"", b"brief"), file.fileno())
    guest = here.asks(ANN, b"brief")
    assert here.pool.queue.count == 2
    here.pool.refuse()
    assert guest.end.recv(100) == b"busy\n"
    guest.end.close()
    assert descriptors() == before


def test_who_waits_and_has_said_too_much_for_a_message(crowded: tuple[Rig, list[Guest]]) -> None:
    """A fork has it, and the process that was to have it waits for the next one."""
    here, (one, other) = crowded
    pids = one.pid(), other.pid()
    guest = here.asks(ANN, b"brief".ljust(8 << 20))
    other.goes()
    here.loop.until(lambda: not here.pool.queue.count)
    assert guest.pid() not in pids and pids[1] in here.pool.waiting


def test_who_waits_for_a_fork_that_is_refused(crowded: tuple[Rig, list[Guest]],
                                             monkeypatch: pytest.MonkeyPatch,
                                             capfd: pytest.CaptureFixture[str]) -> None:
    here, _ = crowded
    idle, = here.pool.waiting
    guests = [here.asks(ANN, b"brief stays") for _ in range(2)]

    def refused(*words: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    monkeypatch.setattr("courierpy.system.proc.fork", refused)
    count = here.connections.counts.of["192.0.2.1"]
    here.pool.hurry()
    assert guests[0].pid() == idle and guests[1].end.recv(100) == b"busy\n"
    assert here.connections.counts.of["192.0.2.1"] == count - 1
    assert capfd.readouterr().err.count("a session cannot be started: Resource") == 1
    guests[0].goes()


def test_who_waits_for_a_process_that_dies(crowded: tuple[Rig, list[Guest]]) -> None:
    here, (one, _) = crowded
    pid, (idle,) = one.pid(), here.pool.waiting
    guest = here.asks(ANN, b"brief")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    here.pool.ended(pid)
    here.pool.hurry()
    assert guest.pid() == idle
