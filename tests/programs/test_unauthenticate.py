"""UNAUTHENTICATE (RFC 8437): from a session back before the login, by whatever way it came to be there."""
from __future__ import annotations

import base64
import os
import signal
import socket
import ssl
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from courierpy.admin import demo, mkcert
from tests.conftest import account_ids, until
from tests.programs.chain import Chain, chain, eventually
from tests.programs.hibernating import holds_a_sleeper
from tests.programs.test_doorway import login_processes
from tests.programs.test_renewal import settings_of

pytestmark = pytest.mark.server

BACK = b" OK You are not authenticated any more.\r\n"
WAYS = {"alone": {"IMAP_LOGIN_PROCESSES": "0"}, "doorway": {"IMAP_LOGIN_PROCESSES": "1"}}


@contextmanager
def two_accounts(*options: str, before: str = "", **settings: str) -> Iterator[Chain]:
    """demo/demo, and other/secret whose Maildir has no mail."""
    with chain(*options, before=before, IMAP_LOGIN_DELAY="0", **settings) as server:
        uid, gid = account_ids()
        other = server.home / "other"
        demo.make(str(other))
        for path in (other / "Maildir").glob("[cn][ue][rw]/*"):
            path.unlink()
        with (server.home / "userdb").open("a") as file:
            file.write(f"other\tuid={uid}|gid={gid}|home={other}|mail=Maildir|clearpw=secret\n")
        yield server


@pytest.fixture(scope="module", params=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[Chain]:
    with two_accounts(**WAYS[request.param]) as running:
        yield running


def said(client: socket.socket, command: bytes) -> bytes:
    """What is answered to it, up to its tagged line; ``command`` without its tag."""
    client.sendall(b"t " + command + b"\r\n")
    return until_tagged(client, b"t")


def until_tagged(client: socket.socket, tag: bytes) -> bytes:
    """What comes until this tag's line is the last one."""
    found = b""
    while not (found.endswith(b"\r\n") and found.splitlines()[-1].startswith(tag + b" ")):
        piece = client.recv(65536)
        assert piece, found
        found += piece
    return found


def test_it_is_told_before_the_login_too(server: Chain) -> None:
    with server.connect() as client:
        assert b" UNAUTHENTICATE" in until(client, b"\r\n")


def test_another_user_on_the_same_connection(server: Chain) -> None:
    with server.session(b"SELECT INBOX") as client:
        assert b" UNAUTHENTICATE" in said(client, b"CAPABILITY")
        # a message that comes meanwhile is not told: RFC 8437 3
        assert said(client, b"UNAUTHENTICATE") == b"t" + BACK
        # no greeting; and it is before the login
        assert said(client, b"NOOP") == b"t OK NOOP completed\r\n"
        assert said(client, b"SELECT INBOX").startswith(b"t BAD ")
        assert said(client, b"UNAUTHENTICATE").startswith(b"t BAD ")
        assert b"t OK LOGIN Ok." in said(client, b"LOGIN other secret")
        assert b"* 0 EXISTS" in said(client, b"SELECT INBOX")
        assert said(client, b"LOGOUT").startswith(b"* BYE ")
        assert client.recv(10) == b""
    log = server.wait_log("LOGOUT, user=other")
    assert log.count("LOGIN, user=other") == 1


def test_in_one_round_trip(server: Chain) -> None:
    """Pipelined, with an initial response: RFC 8437 3."""
    response = base64.b64encode(b"\0other\0secret")
    with server.session(b"SELECT INBOX") as client:
        client.sendall(b"a UNAUTHENTICATE\r\nb AUTHENTICATE PLAIN " + response
                       + b"\r\nc SELECT INBOX\r\nd UNAUTHENTICATE\r\ne LOGIN demo demo\r\nf SELECT INBOX\r\n")
        found = until_tagged(client, b"f")
        assert [line.split()[:2] for line in found.splitlines() if line[:1] != b"*"] == \
            [[tag, b"OK"] for tag in (b"a", b"b", b"c", b"d", b"e", b"f")]
        assert b"* 0 EXISTS" in found and b"* 4 EXISTS" in found


def test_what_was_enabled_is_over(server: Chain) -> None:
    with server.session(b"ENABLE CONDSTORE UTF8=ACCEPT", b"SELECT INBOX",
                        b"SEARCH RETURN (SAVE) ALL") as client:
        assert said(client, b"UNAUTHENTICATE") == b"t" + BACK
        assert b"t OK" in said(client, b"LOGIN demo demo")
        assert b"t OK" in said(client, b"SELECT INBOX")
        assert b"MODSEQ" not in said(client, b"STORE 1 FLAGS (\\Flagged)")
        assert said(client, b"FETCH $ UID").startswith(b"t OK")        # it stands for none
        assert b"* ENABLED CONDSTORE UTF8=ACCEPT\r\n" in said(client, b"ENABLE CONDSTORE UTF8=ACCEPT")


def test_a_wrong_password_and_then_none(server: Chain) -> None:
    with server.session() as client:
        assert said(client, b"UNAUTHENTICATE") == b"t" + BACK
        assert said(client, b"LOGIN other wrong").startswith(b"t NO [AUTHENTICATIONFAILED]")
        assert b"t OK" in said(client, b"LOGIN other secret")
        assert b"t BAD" in said(client, b"UNAUTHENTICATE now")
        assert said(client, b"NOOP") == b"t OK NOOP completed\r\n"


def test_compression_is_over_too(server: Chain) -> None:
    """For both sides, at once: RFC 8437 4.1."""
    with server.session(b"COMPRESS DEFLATE") as client:
        squeeze, inflate = zlib.compressobj(wbits=-15), zlib.decompressobj(-15)

        def compressed(text: bytes) -> bytes:
            return squeeze.compress(text) + squeeze.flush(zlib.Z_SYNC_FLUSH)

        client.sendall(compressed(b"a NOOP\r\n") + compressed(b"b UNAUTHENTICATE\r\n")
                       + b"c LOGIN other secret\r\nd SELECT INBOX\r\n")
        found = b""
        while not inflate.eof:
            found += inflate.decompress(client.recv(4096))
        assert found == b"a OK NOOP completed\r\nb" + BACK
        found = inflate.unused_data
        while b"d OK" not in found:
            piece = client.recv(4096)
            assert piece, found
            found += piece
        assert b"c OK LOGIN Ok." in found and b"* 0 EXISTS" in found


def test_a_connection_counts_once() -> None:
    """MAXPERIP is as it was, however often its client comes back."""
    for settings in WAYS.values():
        with two_accounts("-maxperip=2", **settings) as server, server.session() as client:
            for _ in range(4):
                client.sendall(b"a UNAUTHENTICATE\r\nb LOGIN other secret\r\n")
                assert b"b OK" in until_tagged(client, b"b")
            with server.session(), server.connect() as third:
                assert third.recv(100) == b""
            assert said(client, b"UNAUTHENTICATE") == b"t" + BACK
            client.close()
            # both places are free again

            def free(server: Chain = server) -> bool:
                try:
                    with server.connect() as one, server.connect() as two:
                        return all(until(each, b"\r\n").startswith(b"* OK") for each in (one, two))
                except OSError:
                    return False
            eventually(free)


def test_after_settings_were_read_again() -> None:
    for settings in WAYS.values():
        with two_accounts(**settings) as server, server.session() as client:
            server.hup(1)
            assert said(client, b"UNAUTHENTICATE") == b"t" + BACK
            assert b"t OK" in said(client, b"LOGIN other secret")


# no login process is ready as long as there is this file
LATE = """
import os, time
from courierpy.login import process

def late(*words, run=process.run):
    while os.path.exists({path!r}):
        time.sleep(0.05)
    return run(*words)

process.run = late
"""


def test_while_no_login_process_is_ready_and_settings_are_read(tmp_path: Path) -> None:
    """Who waits for one waits on, in the next image and in the one after it."""
    late = tmp_path / "late"
    with two_accounts(before=LATE.format(path=str(late)), **WAYS["doorway"]) as server, \
            server.session() as client:
        first, = login_processes(server)
        late.touch()
        os.kill(first, signal.SIGKILL)
        server.wait_log(f"login process {first} ended")
        client.sendall(b"a UNAUTHENTICATE\r\nb LOGIN other secret\r\n")
        for times in (1, 2):
            server.hup(times)
        late.unlink()
        assert b"b OK" in until_tagged(client, b"b")


def test_of_one_that_slept(server: Chain) -> None:
    with server.session(b"SELECT INBOX") as client:
        client.sendall(b"i IDLE\r\n")
        until(client, b"+ ")
        eventually(lambda: any(map(holds_a_sleeper, server.children())), "it stays awake")
        client.sendall(b"DONE\r\na UNAUTHENTICATE\r\nb LOGIN other secret\r\n")
        assert b"b OK LOGIN" in until_tagged(client, b"b")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "imapd.pem"
    mkcert.make(str(path), "localhost")
    return path


def over_tls(client: socket.socket, certificate: Path) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    return context.wrap_socket(client, server_hostname="localhost")


def test_tls_stays(certificate: Path) -> None:
    """RFC 8437 3; and what asks for TLS is content."""
    with two_accounts(TLS_CERTFILE=str(certificate), IMAP_STARTTLS="YES", IMAP_TLS_REQUIRED="1",
                      **WAYS["doorway"]) as server, server.greeted() as plain:
        assert b"t OK" in said(plain, b"STARTTLS")
        with over_tls(plain, certificate) as client:
            for _ in range(2):
                assert b"t OK" in said(client, b"LOGIN demo demo")
                client.sendall(b"a UNAUTHENTICATE\r\nb CAPABILITY\r\nc LOGIN other secret\r\n"
                               b"d SELECT INBOX\r\n")
                found = until_tagged(client, b"d")
                assert b"STARTTLS" not in found and b"AUTH=PLAIN" in found and b"* 0 EXISTS" in found
                assert said(client, b"UNAUTHENTICATE") == b"t" + BACK
            assert said(client, b"LOGOUT").startswith(b"* BYE ")
            assert client.recv(10) == b""


def test_tls_stays_where_there_is_no_login_process_any_more(certificate: Path, tmp_path: Path) -> None:
    """The one of before carries it."""
    settings = tmp_path / "settings"
    settings.write_text("IMAP_LOGIN_PROCESSES=1\n")
    with two_accounts(before=settings_of(settings), TLS_CERTFILE=str(certificate), IMAP_STARTTLS="YES",
                      IMAP_TLS_REQUIRED="1") as server, server.greeted() as plain:
        assert b"t OK" in said(plain, b"STARTTLS")
        with over_tls(plain, certificate) as client:
            assert b"t OK" in said(client, b"LOGIN demo demo")
            settings.write_text("IMAP_LOGIN_PROCESSES=0\n")
            server.hup(1)
            for _ in range(2):
                client.sendall(b"a UNAUTHENTICATE\r\nb CAPABILITY\r\nc LOGIN other secret\r\n"
                               b"d SELECT INBOX\r\n")
                found = until_tagged(client, b"d")
                assert b"STARTTLS" not in found and b"AUTH=PLAIN" in found and b"* 0 EXISTS" in found


def test_where_tls_is_the_sessions_own_there_is_no_way_back(certificate: Path) -> None:
    with two_accounts(TLS_CERTFILE=str(certificate), IMAP_STARTTLS="YES", **WAYS["alone"]) as server, \
            server.greeted() as plain:
        assert b"t OK" in said(plain, b"STARTTLS")
        with over_tls(plain, certificate) as client:
            assert b"t OK" in said(client, b"LOGIN demo demo")
            assert b"UNAUTHENTICATE" not in said(client, b"CAPABILITY")
            assert said(client, b"UNAUTHENTICATE").startswith(b"t BAD ")
            assert said(client, b"NOOP") == b"t OK NOOP completed\r\n"
