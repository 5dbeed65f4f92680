"""The chain from the listener to the Maildir, over TCP, STARTTLS and imaps."""
from __future__ import annotations

import imaplib
import os
import signal
import socket
import ssl
import time

import pytest

from tests.conftest import Server

pytestmark = pytest.mark.server


def context(server: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(server.certificate))


def connect(server: Server) -> tuple[socket.socket, bytes]:
    client = socket.create_connection(("127.0.0.1", server.port), 20)
    client.settimeout(20)
    return client, until(client, b"\r\n")


def until(client: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        try:
            piece = client.recv(65536)
        except ConnectionResetError:
            break
        if not piece:
            break
        data += piece
    return data


def wait_log(server: Server, text: str) -> str:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        found = server.log.read_text()
        if text in found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"never logged: {text}\n{server.log.read_text()}")


def work(client: imaplib.IMAP4) -> None:
    assert client.login("demo", "demo")[0] == "OK"
    assert client.select("INBOX") == ("OK", [b"4"])
    assert client.append("INBOX", None, None, b"Subject: new\r\n\r\ntext\r\n")[0] == "OK"
    assert client.search(None, "SUBJECT", "new") == ("OK", [b"5"])
    client.store("5", "+FLAGS", r"(\Deleted)")
    assert client.expunge() == ("OK", [b"5"])
    client.logout()


def test_plain(server: Server) -> None:
    work(imaplib.IMAP4("127.0.0.1", server.port, 20))
    log = wait_log(server, "INFO: LOGOUT")
    assert "INFO: LOGIN, user=demo, ip=[::ffff:127.0.0.1], port=[" in log
    assert "protocol=IMAP" in log


def test_starttls(server: Server) -> None:
    client = imaplib.IMAP4("localhost", server.port, 20)
    assert "STARTTLS" in client.capabilities
    client.starttls(context(server))
    assert "STARTTLS" not in client.capabilities
    work(client)
    assert "starttls=1" in wait_log(server, "INFO: LOGOUT")


def test_imaps(server: Server) -> None:
    work(imaplib.IMAP4_SSL("localhost", server.tls_port, ssl_context=context(server), timeout=20))


def test_bytes_behind_login_reach_imapd(server: Server) -> None:
    client, greeting = connect(server)
    assert greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ")
    client.sendall(b"a LOGIN demo demo\r\nb SELECT INBOX\r\nc LOGOUT\r\n")
    answer = until(client, b"c OK")
    assert b"a OK LOGIN Ok.\r\n" in answer
    assert b"b OK [READ-WRITE] Ok\r\n" in answer


def test_bytes_ahead_of_the_handshake_are_dropped(server: Server) -> None:
    client, _ = connect(server)
    client.sendall(b"a STARTTLS\r\nb LOGIN demo demo\r\n")
    assert until(client, b"\r\n") == b"a OK Begin SSL/TLS negotiation now.\r\n"
    secure = context(server).wrap_socket(client, server_hostname="localhost")
    secure.sendall(b"c NOOP\r\n")
    assert until(secure, b"\r\n") == b"c OK NOOP completed\r\n"


def test_failed_handshake_ends_the_connection(server: Server) -> None:
    client, _ = connect(server)
    client.sendall(b"a STARTTLS\r\n")
    until(client, b"\r\n")
    client.sendall(b"b NOOP\r\n" * 10)
    assert b"b OK" not in until(client, b"never")
    wait_log(server, "STARTTLS failed")


def test_wrong_password_costs_five_seconds(server: Server) -> None:
    client, _ = connect(server)
    began = time.monotonic()
    client.sendall(b"a LOGIN demo wrong\r\n")
    assert until(client, b"\r\n") == b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n"
    assert time.monotonic() - began >= 4.9
    wait_log(server, "INFO: LOGIN FAILED, user=demo, ip=[::ffff:127.0.0.1]")


def test_authenticate_plain_with_initial_response(server: Server) -> None:
    client, _ = connect(server)
    client.sendall(b"a AUTHENTICATE PLAIN AGRlbW8AZGVtbw==\r\nb LOGOUT\r\n")
    assert b"a OK LOGIN Ok." in until(client, b"b OK")


def test_sigterm_says_bye(server: Server) -> None:
    client, _ = connect(server)
    client.sendall(b"a LOGIN demo demo\r\n")
    until(client, b"a OK")
    server.process.send_signal(signal.SIGTERM)
    assert b"* BYE Courier-IMAP server shut down by signal.\r\n" in until(client, b"never")


def test_account_is_not_root(server: Server) -> None:
    if os.getuid():
        pytest.skip("not root: there is nobody else to become")
    client, _ = connect(server)
    client.sendall(b"a LOGIN demo demo\r\nb CREATE INBOX.mine\r\n")
    until(client, b"b OK")
    assert (server.maildir / ".mine").stat().st_uid == server.maildir.stat().st_uid != 0
