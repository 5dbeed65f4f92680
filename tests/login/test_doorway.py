"""When clients before their login can share processes."""
from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, cast

import pytest

from courierpy import doorway
from courierpy.forwarding import Forwarding
from courierpy.listener.connections import Connection, Connections
from courierpy.listener.doorway import WORDS, Doorway, Left
from courierpy.listener.guests import ALARMS, Login
from courierpy.listener.options import Options
from courierpy.system import channels, passing
from tests.conftest import descriptors

PROGRAM = ["imapd", "Maildir"]


@pytest.mark.parametrize(("words", "program", "environ", "why"), [
    ([], "imaplogin", {}, ""), (["-tls"], "imaplogin", {"IMAP_LOGIN_REFERRALS": "0"}, ""),
    ([], "imaplogin", {"IMAP_LOGIN_REFERRALS": "1", "IMAP_PROXY": "1"}, ""),
    (["-exec"], "imaplogin", {}, "-exec"),
    (["-block=bl.test", "-drop"], "imaplogin", {}, ""),
    ([], "/usr/sbin/other", {}, "programs that are not ours")])
def test_what_wants_a_process_for_each_connection(words: list[str], program: str, environ: dict[str, str],
                                                  why: str) -> None:
    options = Options(["-nodnslookup", *words, "143"])
    assert doorway.why_not(options, program, PROGRAM, environ) == why


class Loop:
    """As couriertcpd's: what would be called when a descriptor can be read, and which of them wait for
    room."""

    def __init__(self) -> None:
        self.heard: dict[int, Callable[[], object]] = {}
        self.waits: set[int] = set()

    def wait_for_room(self, fd: int, wanted: bool) -> None:
        (self.waits.add if wanted else self.waits.discard)(fd)

    def hear(self, fd: int, heard: Callable[[], object]) -> None:
        self.heard[fd] = heard

    hear_beside = hear

    def forget(self, fds: tuple[int, ...]) -> None:
        for fd in fds:
            self.heard.pop(fd, None)


def a_doorway(loop: Loop, bound: int = 0, begin: Any = None, **more: Any) -> Doorway:
    """``bound``: of clients before their login; ``begin``: as of Doorway."""
    unused = cast(Any, None)
    return Doorway(1, bound, Connections(False, lambda fd: None), cast(Any, loop), unused, begin, unused,
                   unused, Forwarding("IMAP", {}), **more)


@contextmanager
def one_old(way: Doorway) -> Iterator[tuple[Login, socket.socket]]:
    """The one login process of ``way``, which an image before has started, and its end of the link."""
    link, its = passing.pair()
    with its:
        way.go_on(Left([[(os.getpid(), link.detach())], [], [], []]))
        process = way.processes[os.getpid()]
        with process.link:
            yield process, its


def test_a_process_of_an_image_before_that_is_ready_late_gets_no_client() -> None:
    """It was told to end, and would with a client that it has not seen."""
    loop = Loop()
    way = a_doorway(loop)
    ours, theirs = socket.socketpair()
    with one_old(way) as (process, its), ours, theirs:
        passing.send(its, [channels.HEAD.pack(channels.READY, 0)])
        loop.heard[process.link.fileno()]()
        assert not way.ready()
        assert not way.client(theirs.fileno(), Connection("192.0.2.1"), {}, behind=False)
        found = passing.receive(its)
        assert found is not None and found[0][:1] == channels.CLOSE and passing.receive(its) is None


def test_a_process_that_says_words_without_pause_holds_nobody_up(capfd: pytest.CaptureFixture[str]) -> None:
    """Some are heard at a time; of one that has ended, all.  It does not fill the log."""
    loop = Loop()
    way = a_doorway(loop)
    with one_old(way) as (process, its):
        for _ in range(WORDS + 2):
            passing.send(its, [channels.HEAD.pack(channels.CARRIES, 1)])
        loop.heard[process.link.fileno()]()
        assert sum(data[:1] == channels.FAILED for data, _ in passing.waiting(its, "")) == WORDS
        assert way.ended(os.getpid())
        left = [passing.receive(its) for _ in range(3)]
        assert [found is not None and found[0][:1] for found in left] == [channels.FAILED] * 2 + [b""]
    assert capfd.readouterr().err.count("wants to lead on") == ALARMS < WORDS


def test_a_process_that_hears_nothing_for_a_while_hears_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is told to go goes, also if the link had no room for that."""
    monkeypatch.setattr(passing, "_BUFFER", 20000)
    loop, count = Loop(), 0
    way = a_doorway(loop, bound=1)
    with one_old(way) as (process, its), socket.socket() as client:
        process.old, process.ready = False, True
        while way.client(client.fileno(), Connection("192.0.2.1"), {"LONG": "x" * 2000}, behind=False):
            count += 1
        heard: list[bytes] = []

        def hear() -> None:
            for data, fds in passing.waiting(its, ""):
                passing.close(fds)
                heard.append(data[:1])

        hear()
        while loop.waits:
            loop.heard[process.link.fileno()]()
            hear()
        assert heard.count(channels.CLIENT) == count > 1
        assert heard.count(channels.LEAVE) == count - 1


def test_no_word_is_lost_between_two_images(monkeypatch: pytest.MonkeyPatch,
                                            capfd: pytest.CaptureFixture[str]) -> None:
    """Nor does one that does not read keep the next image from its beginning."""
    monkeypatch.setattr(passing, "_BUFFER", 1)
    monkeypatch.setattr("courierpy.listener.doorway.PATIENCE", 30.0)
    way = a_doorway(Loop())
    heard: list[bytes] = []
    with one_old(way) as (process, its):
        count = 1                      # with the word that it is told first
        while len(process.telling.unsaid) < 20:
            process.tell(channels.LEAVE, count)
            count += 1

        def hear() -> None:
            while len(heard) < count and select.select([its], [], [], 30)[0]:
                heard.extend(data for data, _ in passing.waiting(its, ""))

        reader = Thread(target=hear)
        reader.start()
        way.left()
        assert not process.telling.unsaid
        reader.join()
        assert [data[:1] for data in heard] == [channels.CLOSE, *[channels.LEAVE] * (count - 1)]
        monkeypatch.setattr("courierpy.listener.doorway.PATIENCE", 0.0)
        while not process.telling.unsaid:
            process.tell(channels.LEAVE, 1)
        way.left()
        assert "does not hear 1 words" in capfd.readouterr().err


def test_a_process_that_never_hears_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else answers to it would pile up in couriertcpd."""
    monkeypatch.setattr(passing, "_BUFFER", 20000)
    loop, said = Loop(), 0
    with one_old(a_doorway(loop)) as (process, its):
        fd = process.link.fileno()
        for _ in range(1000):
            with suppress(BlockingIOError):
                for _ in range(WORDS):
                    passing.send(its, [channels.HEAD.pack(channels.CARRIES, 1)])
                    said += 1
            loop.heard[fd]()
        assert 0 < len(process.telling.unsaid) <= WORDS < said
        # and once it hears, all of it is answered
        answered = 0
        while fd in loop.waits or answered < said:
            answered += sum(data[:1] == channels.FAILED for data, _ in passing.waiting(its, ""))
            loop.heard[fd]()
        assert answered == said


def test_what_is_given_away_without_a_ticket(capfd: pytest.CaptureFixture[str]) -> None:
    """A client hears that there is no session; what a process in other hands gives away need be none."""
    loop = Loop()
    ours, theirs = socket.socketpair()
    pipe = os.pipe()
    with one_old(a_doorway(loop, busy=b"* BYE busy\r\n")) as (process, its), ours:
        before = descriptors()
        for given in (pipe[0], theirs.fileno()):
            passing.send(its, [channels.STARTS.pack(channels.GIVE, 1, b"x" * channels.TICKET_OCTETS, 0)],
                         (given,))
            loop.heard[process.link.fileno()]()
        assert descriptors() == before
        theirs.close()
        assert ours.makefile("rb").read() == b"* BYE busy\r\n"
    for end in pipe:
        os.close(end)
    assert capfd.readouterr().err.count("what is no connection turned away") == 1


@contextmanager
def one_ready(way: Doorway) -> Iterator[tuple[Login, socket.socket, socket.socket]]:
    """The one login process of ``way``, the end by which a helper gives clients, and a client's socket."""
    helper, its_helper = passing.pair()
    ours, theirs = socket.socketpair()
    with helper, one_old(way) as (process, _), its_helper, ours, theirs:
        process.old, process.ready = False, True
        way.meet(helper)
        found = passing.receive(its_helper)
        assert found is not None and found[0] == channels.WAY
        with socket.socket(fileno=found[1][0]) as gives:
            yield process, gives, theirs


def test_a_client_that_a_helper_gives(capfd: pytest.CaptureFixture[str]) -> None:
    """Its session begins, once, for the login process that has it; of others nothing is kept."""
    loop, begun = Loop(), []

    def begin(connection: Connection, order: channels.Order, fd: int) -> None:
        begun.append((connection.address, order.account, order.known, order.said, order.rest,
                      os.fstat(fd).st_ino))

    way = a_doorway(loop, begin=begin)
    with one_ready(way) as (process, gives, theirs):
        before = descriptors()
        numbers = []
        for welcome in (True, False):
            assert way.client(theirs.fileno(), Connection("192.0.2.1"), {"A": "b"}, behind=not welcome)
            numbers.append(next(reversed(way.guests)))

        def says(pid: int, number: int) -> None:
            passing.send(gives, [channels.GIVEN.pack(pid, number, 7), b"account", b"C=d"], (theirs.fileno(),))
            for heard in list(loop.heard.values()):
                heard()

        for pid, number in ((1, numbers[0]), (os.getpid(), 1), (os.getpid(), numbers[1])):
            says(pid, number)
        assert not begun
        for _ in range(2):
            says(os.getpid(), numbers[0])
        assert begun == [("192.0.2.1", b"account", b"A=b", b"C=d", b"", os.fstat(theirs.fileno()).st_ino)]
        assert list(way.guests) == numbers[1:] and process.guests == 1
        assert descriptors() == before
        assert way.grants.others
        gives.close()
        for heard in list(loop.heard.values()):
            heard()
        assert not way.grants.others
    assert capfd.readouterr().err.count("wants a session for a client that it does not have") == 1


def test_a_client_that_was_given_before_its_login_process_ended() -> None:
    """One that was told to end does so with its last client, whose session may not have begun yet."""
    loop, begun = Loop(), []
    way = a_doorway(loop, begin=lambda connection, order, fd: begun.append(order.account))
    with one_ready(way) as (_, gives, theirs):
        assert way.client(theirs.fileno(), Connection("192.0.2.1"), {}, behind=False)
        number, = way.guests
        passing.send(gives, [channels.GIVEN.pack(os.getpid(), number, 7), b"account"], (theirs.fileno(),))
        assert way.ended(os.getpid())
        assert begun == [b"account"]
        gives.close()
        for heard in list(loop.heard.values()):
            heard()


@pytest.mark.parametrize("bound", [0, 5, 100, 1000])
def test_another_client_costs_the_same_however_many_wait(bound: int) -> None:
    """Whether there is room for all, or the oldest goes for each that comes, as who was told has gone."""
    loop = Loop()
    way = a_doorway(loop, bound)
    ours, theirs = socket.socketpair()
    calls, told = [0], []

    def count(frame: object, event: str, argument: object) -> None:
        calls[0] += event == "call"

    with one_old(way) as (process, its), ours, theirs:
        process.old, process.ready = False, True
        assert passing.receive(its) is not None        # that it is to end
        found = []
        for _ in range(300):
            calls[0] = 0
            sys.setprofile(count)
            assert way.client(theirs.fileno(), Connection("192.0.2.1"), {}, behind=False)
            sys.setprofile(None)
            found.append(calls[0])
            for data, fds in passing.waiting(its, ""):
                passing.close(fds)
                letter, number = channels.HEAD.unpack_from(data)
                if letter == channels.LEAVE:
                    told.append(number)
                    passing.send(its, [channels.HEAD.pack(channels.ENDED, number)])
                    loop.heard[process.link.fileno()]()
    assert len(told) == (max(0, 300 - bound) if bound else 0) and told == sorted(told)
    assert min(found) == found[1] and max(found[1:]) <= found[1] + 20       # of it a word, which is told
