"""Octets between a client and the host that has its mail: socketpairs, and a thread that carries."""
from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest

from courierpy.login import between
from courierpy.system.conn import Conn

DEADLINE = 30.0


class Carried:
    """``client``, ``host``: the far ends.  ``octets``: what carry() has given, when it is over."""

    def __init__(self, up: bytes = b"", down: bytes = b"", told: bool = True) -> None:
        self.client, near = socket.socketpair()
        self.host, far = socket.socketpair()
        self.near, self.far = near, far
        for end in (self.client, self.host):
            end.settimeout(DEADLINE)
        self.octets: tuple[int, int] | None = None

        def half_close() -> bool:
            if told:
                far.shutdown(socket.SHUT_WR)
            return told

        def run() -> None:
            self.octets = between.carry(Conn(near.fileno(), near.fileno()), Conn(far.fileno(), far.fileno()),
                                        up, down, half_close)
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def over(self) -> tuple[int, int]:
        self.thread.join(DEADLINE)
        assert self.octets is not None
        return self.octets


@pytest.fixture
def carried() -> Iterator[Callable[..., Carried]]:
    made = []

    def make(*words: bytes, told: bool = True) -> Carried:
        made.append(Carried(*words, told=told))
        return made[-1]
    yield make
    for each in made:
        for end in (each.client, each.host):
            end.close()
        each.thread.join(DEADLINE)
        for end in (each.near, each.far):
            end.close()


def whole(end: socket.socket) -> bytes:
    found = b""
    while data := end.recv(65536):
        found += data
    return found


def test_what_was_said_already_goes_first(carried: Callable[..., Carried]) -> None:
    found = carried(b"b NOOP\r\n", b"* 1 EXISTS\r\n")
    assert found.host.recv(100) == b"b NOOP\r\n" and found.client.recv(100) == b"* 1 EXISTS\r\n"
    found.client.sendall(b"c NOOP\r\n")
    assert found.host.recv(100) == b"c NOOP\r\n"
    found.host.close()
    assert found.over() == (16, 12)


def test_a_client_that_says_no_more_is_answered(carried: Callable[..., Carried]) -> None:
    found = carried()
    found.client.sendall(b"a LOGOUT\r\n")
    found.client.shutdown(socket.SHUT_WR)
    assert whole(found.host) == b"a LOGOUT\r\n"
    found.host.sendall(b"* BYE\r\na OK\r\n")
    found.host.close()
    assert found.over() == (10, 13) and found.client.recv(100) == b"* BYE\r\na OK\r\n"


@pytest.mark.parametrize("told", [True, False])
def test_a_host_that_never_ends(carried: Callable[..., Carried], told: bool,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a while, and then nobody waits for it."""
    monkeypatch.setattr(between, "LAST_SECONDS", 0.01)
    monkeypatch.setattr(between, "MOMENT_SECONDS", 0.01)
    found = carried(told=told)
    found.client.close()
    assert found.over() == (0, 0)


def test_much_both_ways_at_once(carried: Callable[..., Carried]) -> None:
    """Neither side reads before it has said all: what one does not take does not stop the other."""
    found = carried()
    up, down = b"up" * 3_000_000, b"down" * 1_000_000
    digests = {}

    def take(end: socket.socket, count: int) -> None:
        seen, left = sha256(), count
        while left and (data := end.recv(65536)):
            seen.update(data)
            left -= len(data)
        digests[end] = seen.digest()

    readers = [threading.Thread(target=take, args=words, daemon=True)
               for words in ((found.host, len(up)), (found.client, len(down)))]
    for end, data, reader in ((found.client, up, readers[0]), (found.host, down, readers[1])):
        writer = threading.Thread(target=end.sendall, args=(data,), daemon=True)
        writer.start()
        reader.start()
        writer.join(DEADLINE)
    for reader in readers:
        reader.join(DEADLINE)
    assert digests == {found.host: sha256(up).digest(), found.client: sha256(down).digest()}
    found.host.close()
    assert found.over() == (len(up), len(down))


def test_a_client_that_takes_nothing_holds_nobody(carried: Callable[..., Carried]) -> None:
    """What it says goes on, and the host is not read for it: no process has room for all of that."""
    found = carried()
    cut = []

    def say() -> None:
        try:
            found.host.sendall(bytes(64_000_000))
        except OSError as error:
            cut.append(error)
    writer = threading.Thread(target=say, daemon=True)
    writer.start()
    found.client.sendall(b"z NOOP\r\n")
    assert found.host.recv(100) == b"z NOOP\r\n"
    found.client.close()                           # with octets unread
    found.over()
    found.far.shutdown(socket.SHUT_RDWR)
    writer.join(DEADLINE)
    assert cut


@pytest.mark.parametrize("octets", [0, 1000])
def test_a_client_that_takes_hardly_anything_is_let_go(carried: Callable[..., Carried], octets: int,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(between, "WRITE_TIMEOUT", 0.5)
    found = carried()

    def say() -> None:
        try:
            found.host.sendall(bytes(64_000_000))
        except OSError:
            return
    writer = threading.Thread(target=say, daemon=True)
    writer.start()
    while found.thread.is_alive():
        if octets:
            found.client.recv(octets)
        found.thread.join(0.1)
    found.over()
    found.far.shutdown(socket.SHUT_RDWR)
    writer.join(DEADLINE)


def test_a_host_that_takes_nothing_is_let_go(carried: Callable[..., Carried],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its client has said all."""
    monkeypatch.setattr(between, "WRITE_TIMEOUT", 0.5)
    found = carried()
    found.client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        while True:
            found.client.sendall(bytes(1 << 20))
    found.client.shutdown(socket.SHUT_WR)
    found.over()
