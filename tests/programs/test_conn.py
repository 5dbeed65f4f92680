"""Waiting for a client: one that answers at once is waited for awake, and nothing else differs."""
from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.imap.session import Session
from courierpy.imap.waiting import Waiting
from courierpy.maildir.store import Store
from courierpy.model.replies import Bye
from courierpy.system import conn as conns
from courierpy.system.conn import Conn, TimedOut
from courierpy.system.settings import Settings


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


def test_what_another_program_has_read_comes_first(ends: tuple[Conn, socket.socket]) -> None:
    conn, client = ends
    conn.quick = conns.TIMES
    conn.pending = b"first"
    client.sendall(b"second")
    assert conn.read_awake() is None
    assert conn.read(5) == b"first"
    assert conn.read_awake() == b"second"


def test_one_that_pauses_is_not_waited_for_awake(ends: tuple[Conn, socket.socket]) -> None:
    conn, client = ends
    assert conn.read_awake() is None           # nobody knows it yet
    conn.quick = conns.TIMES
    assert conn.read_awake() is None
    client.sendall(b"late")
    assert conn.read_awake() is None
    assert conn.read(5) == b"late"
    conn.quick = conns.TIMES
    client.close()
    assert conn.read_awake() == b""


def prompt_session(ends: tuple[Conn, socket.socket], maildir: Path,
                   monkeypatch: pytest.MonkeyPatch) -> tuple[Session, socket.socket]:
    """One whose client has answered at once."""
    monkeypatch.chdir(maildir)
    conn, client = ends
    conn.quick = conns.TIMES
    return Session(conn, Settings({}), Store(), "demo"), client


def test_a_session_is_told_to_stop_also_where_its_client_says_more(
        ends: tuple[Conn, socket.socket], maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, client = prompt_session(ends, maildir, monkeypatch)
    client.sendall(b"a NOOP\r\n")
    assert session.waiting.read(5) == b"a NOOP\r\n"
    client.sendall(b"b NOOP\r\n")
    session.waiting.stop("enough")
    with pytest.raises(Bye, match="enough"):
        session.waiting.read(5)


def test_who_looks_for_sessions_is_told_when_the_client_pauses(
        ends: tuple[Conn, socket.socket], maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, client = prompt_session(ends, maildir, monkeypatch)
    shown: list[str] = []
    monkeypatch.setattr(Waiting, "is_on", lambda waiting: shown.append(
        waiting._session.selected.folder.name if waiting._session.selected is not None else ""))
    client.sendall(b"a EXAMINE INBOX\r\n")
    session.do(session.next_frame())
    client.sendall(b"b NOOP\r\n")
    session.do(session.next_frame())
    with pytest.raises(TimedOut):
        session.waiting.read(0.01)
    assert shown == ["INBOX"]
