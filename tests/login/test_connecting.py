"""Connections that are made beside couriertcpd: real sockets, in this process."""
from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from courierpy.login import connecting, onward
from courierpy.system import passing

SIZE = 8


class Asked:
    """Who asks, and the connector, which this process plays too."""

    def __init__(self) -> None:
        self.ours, self.theirs = passing.pair()
        self.connector = connecting.Connector(self.theirs, SIZE)
        self.number = 0

    def ask(self, host: str, port: int = 1, seconds: float = 20.0, local: tuple[str, str] = ("", "")) -> int:
        self.number += 1
        question = connecting.question(host, port, seconds, local)
        passing.send(self.ours, [self.number.to_bytes(SIZE, "big"), question])
        return self.number

    def answer(self) -> tuple[int, str, list[int]]:
        """The number of the question, why there is no connection, and its descriptor."""
        while (found := passing.receive(self.ours)) is None:
            assert self.connector.turn()
        data, fds = found
        return int.from_bytes(data[:SIZE], "big"), data[SIZE:].decode(), fds

    def why(self, host: str, port: int = 1, seconds: float = 20.0, local: tuple[str, str] = ("", "")) -> str:
        number = self.ask(host, port, seconds, local)
        said, why, fds = self.answer()
        assert said == number and not fds
        return why


@pytest.fixture
def asked() -> Iterator[Asked]:
    found = Asked()
    yield found
    found.ours.close()
    assert not found.connector.turn()              # nobody asks any more
    found.theirs.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:{port}", "[127.0.0.1]:{port}", "localhost:{port}"])
def test_a_host_that_is_there(asked: Asked, host: str) -> None:
    """A name may have another address before this one, at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        asked.ask(host.format(port=port), port)
        _, why, (fd,) = asked.answer()
        with socket.socket(fileno=fd) as made, there.accept()[0] as other:
            assert not why and made.getpeername() == ("127.0.0.1", port)
            assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            other.sendall(b"hello")
            made.setblocking(True)
            assert made.recv(5, socket.MSG_WAITALL) == b"hello"


def test_why_there_is_none(asked: Asked) -> None:
    with socket.socket() as down:
        down.bind(("127.0.0.1", 0))                # and nobody listens
        port = down.getsockname()[1]
        assert asked.why(f"127.0.0.1:{port}") == f"127.0.0.1, port {port}: Connection refused"
        assert asked.why("127.0.0.1:0") == asked.why("127.0.0.1:70000") == "it has no such port"
        ourselves = ("::ffff:127.0.0.1", str(port))
        assert asked.why("127.0.0.1", port, local=ourselves) == onward.OURSELVES
        assert asked.why("there.is.no.such.host.invalid") in (
            "it has no address", "there.is.no.such.host.invalid: the DNS says nothing in time")
        assert asked.why("x" * 300) == "it has no address"         # no name at all


def test_one_that_says_nothing_holds_up_nobody(asked: Asked) -> None:
    """The kernel takes no more of those who want it, and does not say so."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack, \
            socket.create_server(("127.0.0.1", 0)) as there:
        port = full.getsockname()[1]
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        silent = asked.ask("127.0.0.1", port, 1.0)
        good = asked.ask("127.0.0.1", there.getsockname()[1])
        number, why, fds = asked.answer()
        passing.close(fds)
        assert (number, why, len(fds)) == (good, "", 1)
        assert asked.answer() == (silent, f"127.0.0.1, port {port}: no answer in time", [])


def test_what_is_no_question_is_passed_over(asked: Asked) -> None:
    for octets in (b"1234567", b"12345678", b"12345678HOST=x", b"12345678HOST=x\0PORT=y\0SECONDS=z"):
        passing.send(asked.ours, [octets])
    assert asked.why("127.0.0.1:0") == "it has no such port"
