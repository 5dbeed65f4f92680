"""The chain from the listener to the Maildir, over TCP, STARTTLS and imaps."""
from __future__ import annotations

import imaplib
import os
import signal
import socket
import ssl
import time
from pathlib import Path

import pytest

from courierpy.admin import mkcert
from tests.conftest import Server, until
from tests.programs.test_compress import Client

pytestmark = pytest.mark.server


def context(server: Server) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(server.certificate))


def connect(server: Server) -> tuple[socket.socket, bytes]:
    client = socket.create_connection(("127.0.0.1", server.port), 20)
    client.settimeout(20)
    return client, until(client, b"\r\n")


def wait_log(server: Server, text: str) -> str:
    end = time.monotonic() + 60
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
    log = wait_log(server, "]: LOGOUT, user=demo")
    assert "]: LOGIN, user=demo, ip=[::ffff:127.0.0.1], port=[" in log
    assert "protocol=IMAP" in log


def test_starttls(server: Server) -> None:
    client = imaplib.IMAP4("localhost", server.port, 20)
    assert "STARTTLS" in client.capabilities
    client.starttls(context(server))
    assert "STARTTLS" not in client.capabilities
    work(client)
    assert "starttls=1" in wait_log(server, "]: LOGOUT, user=demo")


def test_imaps(server: Server) -> None:
    work(imaplib.IMAP4_SSL("localhost", server.tls_port, ssl_context=context(server), timeout=20))


@pytest.mark.parametrize("tls", [False, True])
def test_compress(server: Server, tls: bool) -> None:
    """RFC 4978 3: what is compressed is encrypted then; a message in it is whole, and IDLE tells at once."""
    plain = socket.create_connection(("127.0.0.1", server.tls_port if tls else server.port), 20)
    with (context(server).wrap_socket(plain, server_hostname="localhost") if tls else plain) as sock:
        sock.settimeout(20)
        client = Client(sock, 0, server.log)
        client.until(b"\r\n")
        assert b"t OK " in client.say(b"LOGIN demo demo")
        client.compress()
        assert b"t OK " in client.say(b"CREATE INBOX.squeezed%d" % tls)
        text = b"Subject: x\r\n\r\n" + os.urandom(300_000).hex().encode()
        client.send(b"t APPEND INBOX.squeezed%d {%d+}\r\n%s\r\n" % (tls, len(text), text))
        assert b"t OK " in client.answer()
        assert b"* 1 EXISTS" in client.say(b"SELECT INBOX.squeezed%d" % tls)
        assert text in client.say(b"FETCH 1 BODY[]")
        client.send(b"i IDLE\r\n")
        client.until(b"+ ")
        client.send(b"DONE\r\n")
        client.until(b"i OK ")
        client.until(b"\r\n")
        client.send(b"t LOGOUT\r\n")
        client.until(b"t OK ")


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
    wait_log(server, "]: LOGIN FAILED, user=demo, ip=[::ffff:127.0.0.1]")


def test_authenticate_plain_with_initial_response(server: Server) -> None:
    client, _ = connect(server)
    client.sendall(b"a AUTHENTICATE PLAIN AGRlbW8AZGVtbw==\r\nb LOGOUT\r\n")
    assert b"a OK LOGIN Ok." in until(client, b"b OK")


def test_sigterm_says_bye(server: Server) -> None:
    client, _ = connect(server)
    client.sendall(b"a LOGIN demo demo\r\n")
    until(client, b"a OK")
    client.sendall(b"b NOOP\r\n")
    until(client, b"b OK")
    server.process.send_signal(signal.SIGTERM)
    assert b"* BYE Courier-IMAP server shut down by signal.\r\n" in until(client, b"never")


def test_account_is_not_root(server: Server) -> None:
    if os.getuid():
        pytest.skip("not root: there is nobody else to become")
    client, _ = connect(server)
    client.sendall(b"a LOGIN demo demo\r\nb CREATE INBOX.mine\r\n")
    until(client, b"b OK")
    assert (server.maildir / ".mine").stat().st_uid == server.maildir.stat().st_uid != 0


def presented(server: Server, name: str, address: str = "127.0.0.1") -> bytes:
    """The certificate that a connection to this address, asking for this name, gets."""
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    plain.check_hostname = False
    plain.verify_mode = ssl.CERT_NONE
    plain.set_alpn_protocols(["imap"])
    with socket.create_connection((address, server.tls_port), 20) as client, \
            plain.wrap_socket(client, server_hostname=name) as secure:
        assert secure.version() in ("TLSv1.2", "TLSv1.3")
        assert secure.selected_alpn_protocol() == "imap"
        found = secure.getpeercert(binary_form=True)
        assert found is not None
        return found


def certificate(path: Path) -> bytes:
    text = path.read_text()
    return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE"):])


@pytest.mark.parametrize("server", ["fork", "doorway"], indirect=True)
def test_certificates(server: Server) -> None:
    """By name and address; read again on SIGHUP, when they are sound."""
    first = certificate(server.certificate)
    assert presented(server, "localhost") == first
    for suffix in ("mail.example.org", "127.0.0.1"):
        mkcert.make(f"{server.certificate}.{suffix}", suffix)
    server.process.send_signal(signal.SIGHUP)
    wait_log(server, "settings read again")
    by_name, by_address = (certificate(Path(f"{server.certificate}.{suffix}"))
                           for suffix in ("mail.example.org", "127.0.0.1"))
    end = time.monotonic() + 60
    while presented(server, "mail.example.org") != by_name:
        assert time.monotonic() < end
    assert presented(server, "localhost") == by_address
    Path(f"{server.certificate}.127.0.0.1").write_text("garbage")
    server.process.send_signal(signal.SIGHUP)
    wait_log(server, "the settings in force stay")
    assert presented(server, "localhost") == by_address
    with pytest.raises(ssl.SSLError):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname = False
        old.verify_mode = ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", server.tls_port), 20) as client:
            old.wrap_socket(client)


@pytest.mark.parametrize("server", ["fork", "doorway"], indirect=True)
def test_settings_are_read_again(server: Server) -> None:
    settings = server.home / "imapd"
    text = settings.read_text()
    settings.write_text(text + "IMAP_CAPABILITY=IMAP4rev1\n")
    server.process.send_signal(signal.SIGHUP)
    wait_log(server, "settings read again")
    end = time.monotonic() + 60
    while b"NAMESPACE" in connect(server)[1]:
        assert time.monotonic() < end
    settings.write_text(text + "not an assignment\n")
    server.process.send_signal(signal.SIGHUP)
    assert f"{settings}:" in wait_log(server, "not an assignment; the settings in force stay")
    client, greeting = connect(server)
    assert b"NAMESPACE" not in greeting
    client.sendall(b"a LOGIN demo demo\r\n")             # the renewed password helpers work
    assert b"a OK" in until(client, b"a OK")


@pytest.mark.parametrize("server", ["fork", "doorway"], indirect=True)
def test_client_certificate(server: Server) -> None:
    own = server.home / "client.pem"
    mkcert.make(str(own), "demo")
    with (server.home / "imapd").open("a") as file:
        file.write(f"TLS_VERIFYPEER=PEER\nTLS_TRUSTCERTS={own}\nTLS_EXTERNAL=CN\n")
    server.process.send_signal(signal.SIGHUP)
    wait_log(server, "settings read again")
    end = time.monotonic() + 60
    while True:
        asking = context(server)
        asking.load_cert_chain(str(own))
        client = imaplib.IMAP4_SSL("localhost", server.tls_port, ssl_context=asking, timeout=20)
        if "AUTH=EXTERNAL" in client.capabilities:
            break
        assert time.monotonic() < end, server.log.read_text()
    assert client.authenticate("EXTERNAL", lambda _: b"")[0] == "OK"
    assert client.select()[0] == "OK"
    client.logout()
    without = imaplib.IMAP4_SSL("localhost", server.tls_port, ssl_context=context(server), timeout=20)
    assert "AUTH=EXTERNAL" not in without.capabilities
    without.logout()
