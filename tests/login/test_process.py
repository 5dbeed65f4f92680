"""The clock of a login process."""
from __future__ import annotations

import heapq
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from courierpy.admin import mkcert
from courierpy.imap import prelogin
from courierpy.login.entrant import LEAVES, LINGER_SECONDS
from courierpy.login.process import House
from courierpy.login.wire import PIECE_OCTETS
from courierpy.system import channels, passing


class Relay:
    """``due``: as login/relayed.py has it."""

    number, armed = 7, -1.0

    def __init__(self, due: float) -> None:
        self.due = due
        self.over = False

    def clock(self) -> None:
        self.over = True


# float("inf"): later than now, and a name of the test that is the same in each worker
@pytest.mark.parametrize(("due", "over"), [(0.0, False), (1.0, True), (float("inf"), False)])
def test_the_deadline_of_a_login_ends_no_session(monkeypatch: pytest.MonkeyPatch, due: float,
                                                 over: bool) -> None:
    """Both have the same number, and the moment of the login is in the heap still."""
    link, _ = passing.pair()
    program: Any = None
    house = House(link, program, {}, True, -1)
    relay: Any = Relay(due)
    house.relays[7] = relay
    monkeypatch.setattr(house, "_carry", lambda relay: None)
    heapq.heappush(house._due, (time.monotonic() - 1, 7))
    house._clock()
    assert relay.over is over
    link.close()


def test_a_moment_that_is_put_off_is_kept_once() -> None:
    """However often; and it comes.  A login that is on its way to its session has none."""
    link, _ = passing.pair()
    program: Any = None
    house = House(link, program, {}, True, -1)
    began = time.monotonic()
    with link:
        relay: Any = Relay(0.0)
        for seconds in range(1000):
            relay.due = began + seconds
            house._arm(relay)
        assert len(house._due) == 1
        house.relays[7] = relay
        house._clock()
        assert not relay.over and house._due == [(relay.due, 7)]
        relay.due = float("inf")
        relay.armed = -1.0
        house._arm(relay)
        assert house._due == [(began + 999, 7)]


@pytest.mark.parametrize("reads", [True, False])
def test_who_is_told_that_all_is_over_has_a_moment_to_go(reads: bool) -> None:
    """Also who has not taken what was said before: nobody who keeps his side open keeps the process."""
    link, couriertcpd = passing.pair()
    client, theirs = socket.socketpair()
    house = House(link, prelogin, {}, False, -1)
    with link, couriertcpd, client:
        client.setblocking(False)
        house._client(1, {"TCPREMOTEIP": "192.0.2.1", "TCPREMOTEPORT": "7", "TCPLOCALIP": "192.0.2.2",
                          "TCPLOCALPORT": "143"}, [theirs.detach()], False)
        entrant = house.entrants[1]
        while not reads and not entrant.wire.waiting:
            client.send(b"a CAPABILITY\r\n" * 20)
            entrant.ready()
        house.end()
        assert entrant.state == LEAVES
        assert entrant.due <= time.monotonic() + LINGER_SECONDS
        entrant.due = 0.0
        entrant.clock()
        assert not house.entrants


def test_who_comes_when_all_is_over_hears_that() -> None:
    """Couriertcpd had greeted it, and given it away, before it was told to end."""
    link, couriertcpd = passing.pair()
    client, theirs = socket.socketpair()
    house = House(link, prelogin, {}, False, -1)
    with link, couriertcpd, client, theirs:
        house.end()
        passing.send(couriertcpd, [channels.HEAD.pack(channels.GREETED, 1), channels.pack(
            {"TCPREMOTEIP": "192.0.2.1", "TCPREMOTEPORT": "7", "TCPLOCALIP": "192.0.2.2",
             "TCPLOCALPORT": "143"})], (theirs.fileno(),))
        house.heard[link.fileno()]()
        assert client.recv(100) == prelogin.STOPPED_WORDS and house.entrants[1].state == LEAVES
        house.entrants[1].wire.close()


def test_who_has_answered_the_greeting_already_is_heard_at_once() -> None:
    """Whose socket has a command when it comes need not be waited for."""
    link, couriertcpd = passing.pair()
    client, theirs = socket.socketpair()
    client.settimeout(20)
    house = House(link, prelogin, {}, False, -1)
    with link, couriertcpd, client, theirs:
        client.send(b"a NOOP\r\n")
        passing.send(couriertcpd, [channels.HEAD.pack(channels.GREETED, 1), channels.pack(
            {"TCPREMOTEIP": "192.0.2.1", "TCPREMOTEPORT": "7", "TCPLOCALIP": "192.0.2.2",
             "TCPLOCALPORT": "143"})], (theirs.fileno(),))
        house.heard[link.fileno()]()
        assert client.recv(100).startswith(b"a OK ")
        house.entrants[1].wire.close()


def test_who_was_told_to_leave_ahead_of_a_session_says_that_it_is_over() -> None:
    """couriertcpd has both: it told the client to go, and then let its session at another host be."""
    link, couriertcpd = passing.pair()
    client, theirs = socket.socketpair()
    house = House(link, prelogin, {}, False, -1)
    with link, couriertcpd, client:
        house._client(1, {"TCPREMOTEIP": "192.0.2.1", "TCPREMOTEPORT": "7", "TCPLOCALIP": "192.0.2.2",
                          "TCPLOCALPORT": "143"}, [theirs.detach()], False)
        for letter in (channels.LEAVE, channels.STARTED):
            house._said(letter, 1, b"", [])
        client.close()
        if 1 in house.entrants:
            house.let(house.entrants[1], house.entrants[1].ready)
        assert [data for data, _ in passing.waiting(couriertcpd, "")] == [
            channels.HEAD.pack(channels.ENDED, 1)]


def test_who_says_much_is_heard_a_piece_at_a_time() -> None:
    """And the others in between."""
    link, couriertcpd = passing.pair()
    client, theirs = socket.socketpair()
    house = House(link, prelogin, {}, False, -1)
    with link, couriertcpd, client:
        client.sendall(b"a NOOP\r\n" * 4000)
        house._client(1, {"TCPREMOTEIP": "192.0.2.1", "TCPREMOTEPORT": "7", "TCPLOCALIP": "192.0.2.2",
                          "TCPLOCALPORT": "143"}, [theirs.detach()], False)
        entrant = house.entrants[1]
        assert entrant.wire.received <= PIECE_OCTETS
        for _ in range(3):
            before = entrant.wire.received
            entrant.ready()
            assert before < entrant.wire.received <= before + PIECE_OCTETS


def test_who_says_many_commands_by_tls_has_one_moment(tmp_path: Path) -> None:
    """What a client says one by one until its deadline leaves nothing behind for each."""
    certificate = tmp_path / "imapd.pem"
    mkcert.make(str(certificate), "localhost")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    link, couriertcpd = passing.pair()
    end, theirs = socket.socketpair()
    house = House(link, prelogin, {"TLS_CERTFILE": str(certificate)}, True, -1)
    house.load()
    with link, couriertcpd, end:
        end.setblocking(False)
        client = context.wrap_socket(end, do_handshake_on_connect=False)
        house._client(1, {"TCPREMOTEIP": "192.0.2.1", "TCPREMOTEPORT": "7", "TCPLOCALIP": "192.0.2.2",
                          "TCPLOCALPORT": "143"}, [theirs.detach()], False)

        wait = 0.0

        def turn() -> None:
            nonlocal wait
            for fd, _ in house._poll.poll(wait):
                house.heard[fd]()
            wait = house._clock()

        def does(act: Callable[[], bytes | None]) -> bytes:
            while True:
                try:
                    return act() or b""
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    turn()
        does(client.do_handshake)
        for _ in range(30):
            client.send(b"a NOOP\r\n" * 3 + b"b NOOP\r\n")
            heard = b""
            while b"b OK" not in heard:
                heard += does(lambda: client.recv(4096))
            while house.entrants[1].again:
                turn()
        assert len(house._due) <= 2
        for _ in range(4):             # in more pieces than one, of which the last has no event
            client.send(b"a NOOP\r\n" * 1000)
        heard = b""
        while heard.count(b"a OK") < 4000:
            heard += does(lambda: client.recv(1 << 16))
        client.close()
