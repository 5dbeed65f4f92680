"""Logins by access token through the whole chain: the helper checks it, the modules know the account."""
from __future__ import annotations

import json
import socket
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from tests.conftest import until
from tests.programs.chain import Chain, chain
from tests.programs.test_secrets import memory, session

pytestmark = pytest.mark.server
KEY = ECKey.generate_key("P-256", {"kid": "e"})
SECRET = "no-such-word-in-any-log"


def signed(user: str, key: ECKey = KEY, **more: object) -> str:
    claims = {"aud": "imap", "exp": int(time.time()) + 3600, "email": user, "jti": SECRET, **more}
    return jwt.encode({"alg": "ES256", "kid": "e"}, claims, key)


@pytest.fixture(scope="module", params=["helper", "apart", "login process"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """``apart``: modules are named to imaplogin itself, and there is no helper."""
    keys = tmp_path_factory.mktemp("keys") / "jwks"
    keys.write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))
    modules = ["authuserdb"] if request.param == "apart" else []
    with chain(program=("imaplogin", *modules, "imapd", "Maildir"), OAUTH_KEYFILE=str(keys),
               OAUTH_AUDIENCE="imap", OAUTH_CONFIGURATION_URL="https://id.example.org/x",
               IMAP_LOGIN_DELAY="0", IMAP_HIBERNATE="0",
               IMAP_LOGIN_PROCESSES="1" if request.param == "login process" else "0") as found:
        yield found


def bearer(user: str, token: str) -> bytes:
    return b64encode(f"n,a={user},\1auth=Bearer {token}\1\1".encode())


def authenticate(client: socket.socket, name: bytes, data: bytes) -> bytes:
    client.sendall(b"a AUTHENTICATE %s %s\r\n" % (name, data))
    return until(client, b"\r\n")


def test_the_session_goes_on(server: Chain) -> None:
    with server.connect() as client:
        greeting = until(client, b"\r\n")
        assert b" AUTH=OAUTHBEARER AUTH=XOAUTH2" in greeting
        data = bearer("demo", signed("demo"))
        client.sendall(b"a AUTHENTICATE OAUTHBEARER %s\r\nb STATUS INBOX (MESSAGES)\r\n" % data)
        assert b"b OK" in until(client, b"b OK")
    with server.greeted() as client:
        client.sendall(b"a AUTHENTICATE XOAUTH2\r\n")
        assert until(client, b"\r\n").startswith(b"+ ")
        client.sendall(b64encode(f"user=demo\1auth=Bearer {signed('demo')}\1\1".encode()) + b"\r\n")
        assert until(client, b"\r\n").startswith(b"a OK")


def test_a_refused_token_and_the_next_try(server: Chain) -> None:
    other = ECKey.generate_key("P-256", {"kid": "e"})
    with server.greeted() as client:
        for user, token in (("demo", signed("demo", other)), ("demo", signed("else")),
                            ("nobody", signed("nobody")), ("demo", "garbage")):
            said = authenticate(client, b"OAUTHBEARER", bearer(user, token))
            assert json.loads(b64decode(said.removeprefix(b"+ "))) == {
                "status": "invalid_token", "openid-configuration": "https://id.example.org/x"}
            client.sendall(b"AQ==\r\n")                        # RFC 7628 3.2.3
            assert until(client, b"\r\n") == b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n"
        assert authenticate(client, b"OAUTHBEARER", bearer("demo", signed("demo"))).startswith(b"a OK")
    log = server.wait_log("the token is refused: its signature is wrong, user=demo")
    server.wait_log("the token is refused: it is else's, user=demo")
    server.wait_log("LOGIN FAILED, user=nobody, method=OAUTHBEARER")
    assert SECRET not in log and "eyJ" not in log


@pytest.mark.parametrize("name", [b"OAUTHBEARER", b"XOAUTH2"])
def test_no_token_stays_in_the_session(server: Chain, name: bytes) -> None:
    token = signed("demo")
    data = bearer("demo", token) if name == b"OAUTHBEARER" else b64encode(
        f"user=demo\1auth=Bearer {token}\1\1".encode())
    for said in ([b"a AUTHENTICATE %s %s\r\n" % (name, data)],
                 [b"a AUTHENTICATE %s\r\n" % name, data + b"\r\n"]):
        with server.connect() as client:
            seen = memory(session(server, client, said))
        for part in (*token.encode().split(b"."), data[20:200]):
            assert part not in seen


def test_a_client_may_give_up(server: Chain) -> None:
    with server.greeted() as client:
        assert authenticate(client, b"XOAUTH2", b64encode(b"user=demo\1auth=Bearer x\1\1")).startswith(b"+ ")
        client.sendall(b"*\r\n")
        assert until(client, b"\r\n").startswith(b"a NO")
        client.sendall(b"b NOOP\r\n")
        assert until(client, b"\r\n").startswith(b"b OK")


def test_tokens_may_be_large(server: Chain) -> None:
    """With all groups of a user in them."""
    token = signed("demo", groups=[f"group {number}" for number in range(2000)])
    data = bearer("demo", token)
    assert 40_000 < len(data) < 65_000
    with server.greeted() as client:
        assert authenticate(client, b"OAUTHBEARER", data).startswith(b"a OK")
    with server.greeted() as client:
        client.sendall(b"a AUTHENTICATE OAUTHBEARER\r\n")
        until(client, b"\r\n")
        for at in range(0, len(data), 1000):
            client.sendall(data[at:at + 1000])
        client.sendall(b"\r\n")
        assert until(client, b"\r\n").startswith(b"a OK")
    with server.greeted() as client:
        client.sendall(b"a AUTHENTICATE OAUTHBEARER\r\n")
        until(client, b"\r\n")
        try:
            client.sendall(b"x" * 200_000 + b"\r\nb NOOP\r\n")
        except OSError:
            pass
        assert until(client, b"b OK").startswith(b"a BAD Line too long.\r\nb OK")


def test_keys_that_cannot_be_read_refuse_nobody(tmp_path: Path) -> None:
    with chain(OAUTH_KEYFILE=str(tmp_path / "none"), OAUTH_AUDIENCE="imap") as server:
        server.wait_log("OAUTH_KEYFILE")
        with server.greeted() as client:
            said = authenticate(client, b"OAUTHBEARER", bearer("demo", signed("demo")))
            assert said.startswith(b"* BYE [UNAVAILABLE]")
        server.session().close()                               # passwords are as good as ever


@pytest.mark.parametrize("method", ["oauthbearer_login", "oauth2_login"])
def test_a_library_that_speaks_it(server: Chain, method: str) -> None:
    import imapclient  # the quick tests of other Pythons do without
    client = imapclient.IMAPClient("127.0.0.1", server.port, ssl=False, timeout=60)
    with pytest.raises(imapclient.exceptions.LoginError):
        getattr(client, method)("demo", signed("demo", ECKey.generate_key("P-256", {"kid": "e"})))
    getattr(client, method)("demo", signed("demo"))
    assert client.select_folder("INBOX")[b"EXISTS"] >= 0
    client.logout()
