"""Who takes nothing of what waits for it is let go, by whoever has its octets in hand: a session, the relay
of its TLS, or what carries a session at another host."""
from __future__ import annotations

import os
import socket
import ssl
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from courierpy.admin import mkcert
from tests.conftest import MODE, until
from tests.programs.chain import DEADLINE, Chain, chain, eventually
from tests.programs.test_proxy import WAYS, account, proxied

pytestmark = pytest.mark.server
HASTY = "from courierpy.system import conn; conn.WRITE_TIMEOUT = 1.0"
LARGE = b"Subject: large\n\n" + b"a line of many, and nobody will ever read the last of them\n" * 500_000


def write(server: Chain) -> None:
    """A message that no buffer on the way holds."""
    path = server.home / "Maildir" / "cur" / "1700000001.M1P1.host:2,S"
    path.write_bytes(LARGE)
    owner = path.parent.stat()
    os.chown(path, owner.st_uid, owner.st_gid)


def held(port: int, client: socket.socket) -> bool:
    """Does a process hold the server's end of this connection?"""
    theirs = client.getsockname()[1]
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(path):
            for words in map(str.split, Path(path).read_text().splitlines()[1:]):
                ends = [int(word.rpartition(":")[2], 16) for word in words[1:3]]
                if ends == [port, theirs]:
                    return words[9] != "0"
    return False


def unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def asks(server: Chain, user: bytes, tls: bool) -> socket.socket:
    """A client that has said what takes long to answer, and reads none of it."""
    client = server.connect()
    if tls:
        client = unchecked().wrap_socket(client)
    until(client, b"\r\n")
    for tag, command in ((b"a", b"LOGIN %s demo" % user), (b"b", b"SELECT INBOX")):
        client.sendall(b"%s %s\r\n" % (tag, command))
        assert tag + b" OK" in until(client, tag + b" OK")
    client.sendall(b"c FETCH 1 (BODY.PEEK[])\r\n" * 4)
    assert client.recv(1000)
    return client


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("mode", sorted({"fork", MODE}))
def test_a_session_here(mode: str, tls: bool, tmp_path: Path) -> None:
    certificate = tmp_path / "imapd.pem"
    mkcert.make(str(certificate), "localhost")
    with chain(*["-tls"] * tls, before=HASTY, mode=mode, TLS_CERTFILE=str(certificate)) as server, \
            ExitStack() as stack:
        write(server)
        client = stack.enter_context(asks(server, b"demo", tls))
        eventually(lambda: not held(server.port, client))
        assert "CRIT" not in server.log.read_text()


def test_who_does_not_hang_up(tmp_path: Path) -> None:
    """Its session is over, and all that this said has gone out."""
    certificate = tmp_path / "imapd.pem"
    mkcert.make(str(certificate), "localhost")
    with chain("-tls", mode="doorway", TLS_CERTFILE=str(certificate)) as server, \
            unchecked().wrap_socket(server.connect()) as client:
        until(client, b"\r\n")
        client.sendall(b"a LOGIN demo demo\r\n")
        assert b"a OK" in until(client, b"a OK")
        client.sendall(b"b LOGOUT\r\n")
        until(client, b"b OK")
        eventually(lambda: not held(server.port, client))


@pytest.mark.parametrize("way", WAYS)
def test_a_session_at_another_host(way: str) -> None:
    with proxied(before=HASTY, **WAYS[way]) as server, ExitStack() as stack:
        write(server.back)
        client = stack.enter_context(asks(server.front, b"moved", False))
        eventually(lambda: not held(server.front.port, client))
        server.front.wait_log("DISCONNECTED, user=moved")
        assert "CRIT" not in server.front.log.read_text()


@pytest.mark.parametrize("way", WAYS)
def test_a_host_that_takes_nothing(way: str) -> None:
    """Its client is told so by the end, also where that has said all that it has to say."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = stack.enter_context(proxied(before=HASTY, **WAYS[way])).front
        account(server, "moved", f"127.0.0.1:{listening.getsockname()[1]}")
        client = stack.enter_context(server.greeted())
        client.sendall(b"a LOGIN moved demo\r\n")
        host = stack.enter_context(listening.accept()[0])
        host.settimeout(DEADLINE)
        host.sendall(b"* OK [CAPABILITY IMAP4rev1] hi\r\n")
        until(host, b"\r\n")
        host.sendall(b"p1 OK [CAPABILITY IMAP4rev1] in\r\n")
        assert until(client, b"\r\n").startswith(b"a OK")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            while True:
                client.sendall(bytes(1 << 20))
        client.shutdown(socket.SHUT_WR)
        eventually(lambda: not held(server.port, client))


@pytest.mark.parametrize("tls", [False, True])
def test_who_says_much_before_its_login_holds_up_nobody(tls: bool, tmp_path: Path) -> None:
    """One login process has both."""
    certificate = tmp_path / "imapd.pem"
    mkcert.make(str(certificate), "localhost")
    with chain(*["-tls"] * tls, mode="doorway", IMAP_LOGIN_PROCESSES="1",
               TLS_CERTFILE=str(certificate)) as server, ExitStack() as stack:
        write(server)
        loud = stack.enter_context(server.connect())
        if tls:
            loud = stack.enter_context(unchecked().wrap_socket(loud))
        until(loud, b"\r\n")
        loud.settimeout(None)

        def say() -> None:
            try:
                while True:
                    loud.sendall(b"c CAPABILITY\r\n" * 1000)
            except OSError:
                return

        def hear() -> None:
            try:
                while loud.recv(1 << 20):
                    continue
            except OSError:
                return
        for act in (say, hear):
            threading.Thread(target=act, daemon=True).start()
        for _ in range(3):
            asks(server, b"demo", tls).close()
        server.process.terminate()
        assert server.process.wait(DEADLINE) == 0
