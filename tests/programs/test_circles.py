"""A login process collects no garbage: what a client was there is gone with it, however it went."""
from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from courierpy.admin import mkcert
from tests.conftest import until
from tests.programs.chain import Chain, chain
from tests.programs.test_proxy import account, again

pytestmark = pytest.mark.server

TIMES = 5                      # that each way is gone
# a login process tells at its end what no name leads to and is there still, of what there is that often
LEFT = f"""
import collections, gc
from courierpy.login import process
from courierpy.system import log

def serve(self, serve=process.House.serve):
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    serve(self)
    gc.collect()
    found = collections.Counter(type(each).__qualname__ for each in gc.garbage)
    log.info("left: " + " ".join(sorted(f"{{name}}={{count}}" for name, count in found.items()
                                         if count >= {TIMES})) + ".")

process.House.serve = serve
"""


def says(client: socket.socket, *turns: tuple[bytes, bytes]) -> None:
    """Words, and the end of what comes then."""
    for words, end in turns:
        client.sendall(words)
        said = until(client, end)
        assert end in said, said


def secured(client: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    says(client, (b"t STARTTLS\r\n", b"t OK Begin SSL/TLS negotiation now.\r\n"))
    return context.wrap_socket(client)


def by_password(client: socket.socket) -> None:
    says(client, (b"a LOGIN demo wrong\r\n", b"a NO"), (b"b LOGIN demo demo\r\nc NOOP\r\n", b"c OK"))


def by_plain(client: socket.socket) -> None:
    says(client, (b"a AUTHENTICATE PLAIN\r\n", b"+ "), (b"AGRlbW8AZGVtbw==\r\n", b"a OK"))


def behind_tls(client: socket.socket) -> None:
    with secured(client) as tls:
        says(tls, (b"a LOGIN demo demo\r\n", b"a OK"), (b"b LOGOUT\r\n", b"b OK"))


def no_handshake(client: socket.socket) -> None:
    says(client, (b"t STARTTLS\r\n", b"t OK"))
    client.sendall(b"a LOGIN demo demo\r\n" * 3)
    until(client, b"nothing, but the end")


def goes_within_tls(client: socket.socket) -> None:
    says(client, (b"t STARTTLS\r\n", b"t OK"))


def goes_in_an_exchange(client: socket.socket) -> None:
    says(client, (b"a AUTHENTICATE CRAM-MD5\r\n", b"+ "), (b"*\r\n", b"a BAD"),
         (b"b AUTHENTICATE SCRAM-SHA-1 biwsbj1kZW1vLHI9YWJj\r\n", b"\r\n"))


def errs(client: socket.socket) -> None:
    client.sendall(b"a NONSENSE\r\n" * 20)
    assert b"* BYE" in until(client, b"nothing, but the end")


def goes_at_once(client: socket.socket) -> None:
    pass


def logs_out(client: socket.socket) -> None:
    says(client, (b"a ID NIL\r\nb CAPABILITY\r\nc LOGIN {4}\r\n", b"+ "), (b"demo {9000}\r\n", b"c BAD"),
         (b"d LOGOUT\r\n", b"d OK"))


def by_user_and_pass(client: socket.socket) -> None:
    says(client, (b"USER demo\r\nPASS wrong\r\n", b"-ERR"))
    client.sendall(b"USER demo\r\nPASS demo\r\nQUIT\r\n")
    assert until(client, b"nothing, but the end").count(b"+OK") == 3


def quits(client: socket.socket) -> None:
    says(client, (b"CAPA\r\n", b"\r\n.\r\n"), (b"AUTH PLAIN\r\n", b"+ "), (b"*\r\n", b"-ERR"),
         (b"QUIT\r\n", b"+OK"))


def goes_in_the_middle(client: socket.socket) -> None:
    says(client, (b"AUTH CRAM-MD5\r\n", b"+ "))


IMAP: list[Callable[[socket.socket], None]] = [
    by_password, by_plain, behind_tls, no_handshake, goes_within_tls, goes_in_an_exchange, errs, goes_at_once,
    logs_out]
POP3 = [by_user_and_pass, quits, goes_in_the_middle, goes_at_once]


def ends(server: Chain) -> None:
    server.process.terminate()
    said = server.wait_log("left: ")
    assert "left: .\n" in said, said


@pytest.mark.parametrize("program", [("imaplogin", "imapd", "Maildir"), ("pop3login", "pop3d", "Maildir")],
                         ids=["imap", "pop3"])
def test_nothing_is_left_of_a_client(tmp_path: Path, program: tuple[str, ...]) -> None:
    mkcert.make(str(tmp_path / "imapd.pem"), "localhost")
    with chain(before=LEFT, program=program, IMAP_LOGIN_PROCESSES="1", IMAP_LOGIN_DELAY="0",
               TLS_CERTFILE=str(tmp_path / "imapd.pem"), IMAP_STARTTLS="YES") as server:
        for way in IMAP if program[0] == "imaplogin" else POP3:
            for _ in range(TIMES + 2):
                with server.connect() as client:
                    until(client, b"\r\n")
                    way(client)
        ends(server)


def test_nothing_is_left_of_who_was_sent_on() -> None:
    with chain(IMAP_LOGIN_DELAY="0") as back, \
            chain(before=LEFT, IMAP_LOGIN_PROCESSES="1", IMAP_LOGIN_DELAY="0", IMAP_PROXY="1") as front:
        account(front, "moved", f"127.0.0.1:{back.port}")
        account(front, "away", "127.0.0.1:1")
        again(back, "moved")
        for _ in range(TIMES + 2):
            with front.greeted() as client:
                says(client, (b"a LOGIN moved wrong\r\n", b"a NO"), (b"b LOGIN away demo\r\n", b"b NO"))
            with front.greeted() as client:
                says(client, (b"a LOGIN moved demo\r\n", b"a OK"), (b"b LOGOUT\r\n", b"b OK"))
        ends(front)


def test_nothing_is_left_of_who_came_through_a_proxy() -> None:
    with chain("-haproxy=20", before=LEFT, IMAP_LOGIN_PROCESSES="1", IMAP_LOGIN_DELAY="0") as server:
        for _ in range(TIMES + 2):
            for header in (b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 143\r\n", b"nonsense\r\n", b"PROXY TC"):
                with server.connect() as client:
                    client.sendall(header)
                    if header.endswith(b"143\r\n"):
                        until(client, b"\r\n")
                        says(client, (b"a LOGIN demo demo\r\n", b"a OK"))
        ends(server)
