"""SCRAM bound to the TLS connection: by STARTTLS, by imaps, and where another process speaks TLS."""
from __future__ import annotations

import socket
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
import scramp
from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import SSL

from courierpy.admin import mkcert
from courierpy.system.channelbinding import END_POINT, EXPORTER
from tests.conftest import until
from tests.programs.chain import Chain, chain

pytestmark = pytest.mark.server

KINDS = {"STARTTLS": (), "imaps": ("-tls",), "STARTTLS -exec": ("-exec",), "imaps -exec": ("-tls", "-exec"),
         "STARTTLS by a login process": (), "imaps by a login process": ("-tls",)}


@pytest.fixture(scope="module", params=list(KINDS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    own = tmp_path_factory.mktemp("tls") / "own.pem"
    mkcert.make(str(own), "localhost")
    with chain(*KINDS[request.param], TLS_CERTFILE=str(own), IMAP_STARTTLS="YES", IMAP_LOGIN_DELAY="0",
               IMAP_LOGIN_PROCESSES="1" if "login process" in request.param else "0",
               IMAP_CAPABILITY_TLS="all +AUTH") as found:
        userdb = found.home / "userdb"
        line = userdb.read_text().rstrip("\n")
        userdb.write_text(f"{line}|clearpw=demo\n")
        yield found


def secure(server: Chain) -> tuple[SSL.Connection, bytes]:
    """A client behind its handshake, and the capabilities that it is told."""
    plain = socket.create_connection(("127.0.0.1", server.port), 60)
    plain.settimeout(None)                     # the library wants to wait itself
    if "-tls" not in Path(f"/proc/{server.process.pid}/cmdline").read_text().split("\0"):
        assert b"-PLUS" not in until(plain, b"\r\n")
        plain.sendall(b"a STARTTLS\r\n")
        until(plain, b"\r\n")
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), plain)
    client.set_connect_state()
    client.do_handshake()
    client.sendall(b"b CAPABILITY\r\n")
    told = b""
    while b"b OK" not in told:
        told += client.recv(65536)
    return client, told


def line(client: SSL.Connection, said: bytes) -> bytes:
    client.sendall(said + b"\r\n")
    found = b""
    while not found.endswith(b"\r\n"):
        found += client.recv(65536)
    return found


def binding(client: SSL.Connection, kind: str) -> bytes:
    if kind == EXPORTER:
        return client.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    presented = client.get_peer_certificate(as_cryptography=True)
    assert presented is not None
    return presented.fingerprint(SHA256())


@pytest.mark.parametrize("name", ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"])
@pytest.mark.parametrize("kind", [END_POINT, EXPORTER])
def test_the_session_goes_on(server: Chain, name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scramp.core.CbName, "UNSUPPORTED_TYPES", frozenset())
    monkeypatch.setattr(scramp.core.CbName, "SUPPORTED_TYPES", frozenset({END_POINT, EXPORTER}))
    client, told = secure(server)
    assert b"AUTH=" + name.encode() in told.split()
    scram = scramp.ScramClient([name], "demo", "demo", channel_binding=(kind, binding(client, kind)))
    first = b64encode(scram.get_client_first().encode())
    answer = line(client, b"c AUTHENTICATE %s %s" % (name.encode(), first))
    scram.set_server_first(b64decode(answer[2:]).decode())
    scram.set_server_final(b64decode(line(client, b64encode(scram.get_client_final().encode()))[2:]).decode())
    assert line(client, b"").startswith(b"c OK")
    assert line(client, b"d NOOP").startswith(b"d OK")
    client.close()


def test_a_downgrade_is_refused(server: Chain) -> None:
    client, told = secure(server)
    assert b"AUTH=SCRAM-SHA-256-PLUS" in told.split()
    said = line(client, b"c AUTHENTICATE SCRAM-SHA-256 " + b64encode(b"y,,n=demo,r=nonce"))
    assert said.startswith(b"c NO [AUTHENTICATIONFAILED]")
    assert line(client, b"d AUTHENTICATE SCRAM-SHA-256 "
                + b64encode(b"n,,n=demo,r=nonce")).startswith(b"+ ")
    client.close()
