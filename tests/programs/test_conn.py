"""Waiting for a client: one that answers at once is waited for awake, and nothing else differs."""
from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from courierpy.system import conn as conns
from courierpy.system.conn import Conn, TimedOut


@pytest.fixture
def ends() -> Iterator[tuple[Conn, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Conn(ours.fileno(), ours.fileno()), theirs


def answers_at_once(conn: Conn, client: socket.socket) -> None:
    for number in range(conns.TIMES):
        client.sendall(b"%d" % number)
        assert conn.read(5) == b"%d" % number


def test_input_that_comes_while_it_is_waited_for_awake(ends: tuple[Conn, socket.socket]) -> None:
    conn, client = ends
    answers_at_once(conn, client)
    for number in range(50):
        timer = threading.Timer(number / 200_000, client.sendall, [b"%d" % number])
        timer.start()
        assert conn.read(5) == b"%d" % number
        timer.join()


def test_a_client_that_stops_is_waited_for_asleep(ends: tuple[Conn, socket.socket]) -> None:
    conn, client = ends
    answers_at_once(conn, client)
    before, start = resource.getrusage(resource.RUSAGE_THREAD).ru_utime, time.monotonic()
    with pytest.raises(TimedOut):
        conn.read(0.3)
    assert time.monotonic() - start >= 0.3
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_utime - before < 0.15
    client.sendall(b"late")
    assert conn.read(5) == b"late"
    client.close()
    assert conn.read(5) == b""
