"""Who may come in: behind a proxy, and when many have not logged in."""
from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.conftest import MODE, until
from tests.programs.chain import Chain, chain, eventually

pytestmark = pytest.mark.server
CAT = ("/bin/cat",)


def proxied(server: Chain, address: str) -> socket.socket:
    client = server.connect()
    client.sendall(f"PROXY TCP4 {address} 192.0.2.1 5555 143\r\n".encode())
    return client


def echoes(client: socket.socket) -> bool:
    client.sendall(b"x\n")
    try:
        return until(client, b"\n") == b"x\n"
    except ConnectionError:
        return False


@pytest.mark.parametrize("program", [CAT, ("imaplogin", "imapd", "Maildir")])
def test_a_proxys_clients_are_counted_by_their_addresses(program: tuple[str, ...]) -> None:
    def served(client: socket.socket) -> bool:
        if program == CAT:
            return echoes(client)
        return until(client, b"\r\n").startswith(b"* OK ")

    with chain("-haproxy=20", "-maxperip=3", program=program) as server:
        silent = server.connect()              # whose header does not come holds nobody up
        there = [proxied(server, "192.0.2.7") for _ in range(3)]
        assert [served(client) for client in there] == [True] * 3
        assert until(proxied(server, "192.0.2.7"), b"\n") == b""
        server.wait_log("ALERT: Maximum connection limit reached for ::ffff:192.0.2.7")
        assert all(served(proxied(server, f"192.0.2.{number}")) for number in range(8, 16))
        server.hup(1)
        assert until(proxied(server, "192.0.2.7"), b"\n") == b""
        silent.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 5555 143\r\n")      # tells it to the new image
        assert until(silent, b"\n") == b""
        there.pop().close()
        eventually(lambda: served(proxied(server, "192.0.2.7")))


def test_networks_behind_a_proxy() -> None:
    with chain("-haproxy=20", "-maxperc=2", program=CAT) as server:
        clients = [proxied(server, f"192.0.2.{number}") for number in (1, 2)]
        assert all(echoes(client) for client in clients)
        assert not echoes(proxied(server, "192.0.2.3"))
        assert echoes(proxied(server, "192.0.3.3"))


def test_access_rules_behind_a_proxy(tmp_path: Path) -> None:
    rules = tmp_path / "access"
    rules.write_text("192.0.2.9\tdeny\n192.0.2.8\tallow,MAXCPERIP=1\n127.0.0.1\tallow\n")
    with chain("-haproxy=20", f"-access={rules}", "-denymsg=go away", program=CAT) as server:
        assert until(proxied(server, "192.0.2.9"), b"\n") == b"go away\n"
        first = proxied(server, "192.0.2.8")
        assert echoes(first)
        assert not echoes(proxied(server, "192.0.2.8"))


TOO_MANY = b"* BYE [UNAVAILABLE] Too many connections that have not logged in.\r\n"


@pytest.mark.parametrize("mode", [(), ("-exec",)])
def test_the_oldest_goes_that_has_not_logged_in(mode: tuple[str, ...]) -> None:
    """Those that have, awake or asleep, neither count nor go."""
    with chain(*mode, IMAP_MAXPRELOGIN="3") as server:
        inside = [server.session(b"SELECT INBOX", b"IDLE") for _ in range(4)] + [server.session()]
        waiting = [server.greeted() for _ in range(3)]
        waiting[1].sendall(b"a LOGIN demo demo\r\n")
        assert b"a OK" in until(waiting[1], b"a OK")
        last = [server.greeted(), server.greeted()]       # the second is one too many
        assert until(waiting[0], b"never") == TOO_MANY
        for client in last:
            client.sendall(b"b LOGIN demo demo\r\n")
            assert b"b OK" in until(client, b"b OK")
        for client in inside:
            client.sendall(b"DONE\r\nc NOOP\r\n" if client is not inside[-1] else b"c NOOP\r\n")
            assert b"c OK" in until(client, b"c OK")
        waiting[2].sendall(b"d NOOP\r\n")
        assert b"d OK" in until(waiting[2], b"d OK")
        assert server.wait_log("3 connections have not logged in; the oldest goes").count("oldest goes") == 1


def test_who_has_not_logged_in_does_not_count_for_all() -> None:
    """Silent clients shut nobody out, also when MAXDAEMONS are few."""
    with chain("-maxprocs=2", IMAP_MAXPRELOGIN="4") as server:
        silent = [server.connect() for _ in range(10)]
        one, two = server.session(), server.session()
        server.wait_log("2 maximum active connections.")  # the listener has heard of the logins
        third = server.connect()                          # waits until one of them ends
        third.settimeout(1)
        with pytest.raises(TimeoutError):
            third.recv(1)
        one.sendall(b"a LOGOUT\r\n")
        until(one, b"never")
        third.settimeout(30)
        assert until(third, b"\r\n").startswith(b"* OK ")
        two.sendall(b"b NOOP\r\n")
        assert b"b OK" in until(two, b"b OK")
        assert len(silent) == 10


def test_no_bound_means_that_all_count() -> None:
    with chain("-maxprocs=2", IMAP_MAXPRELOGIN="0") as server:
        first, second = server.greeted(), server.greeted()
        third = server.connect()
        third.settimeout(1)
        with pytest.raises(TimeoutError):
            third.recv(1)
        first.close()
        third.settimeout(30)
        assert until(third, b"\r\n").startswith(b"* OK ")
        second.close()


def test_the_bound_goes_on_in_a_new_image() -> None:
    with chain(IMAP_MAXPRELOGIN="2") as server:
        waiting = [server.greeted(), server.greeted()]
        server.hup(1)
        server.greeted().sendall(b"a NOOP\r\n")
        assert until(waiting[0], b"never") == TOO_MANY
        waiting[1].sendall(b"b LOGIN demo demo\r\n")
        assert b"b OK" in until(waiting[1], b"b OK")


@pytest.mark.skipif(MODE == "doorway", reason="there it has no process")
def test_who_does_not_go_is_killed() -> None:
    with chain(IMAP_MAXPRELOGIN="1") as server:
        eventually(lambda: len(server.children()) == 3)
        before = server.children()
        first = server.greeted()
        (pid,) = set(server.children()) - set(before)
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        server.greeted().close()
        assert until(first, b"never") == b""
        assert time.monotonic() - began > 1
