"""Access tokens that an identity server knows, through the whole chain: it says what they are worth
(RFC 7662), takes them back (RFC 7009), is slow, is sick, is not there.  Its two endpoints are oauthlib's."""
from __future__ import annotations

import http.server
import json
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from tests.conftest import until
from tests.programs.chain import Chain, chain, eventually

oauth2 = pytest.importorskip("oauthlib.oauth2", reason="oauthlib is not installed")
pytestmark = pytest.mark.server
CLIENT = "Basic " + b64encode(b"mail+server:s%3A3cret").decode()       # RFC 6749 2.3.1
ISSUER, CONFIGURATION = "https://id.example.org", "https://id.example.org/.well-known/openid-configuration"


class Tokens(oauth2.RequestValidator):                         # type: ignore[misc,name-defined]
    """``known``: by token, what it is worth."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, dict[str, Any]] = {}

    def issue(self, token: str, user: str = "demo", **claims: Any) -> str:
        now = int(time.time())
        known = {"username": user, "iss": ISSUER, "aud": "imap", "scope": "mail other", "iat": now,
                 "exp": now + 600, **claims}
        self.known[token] = {name: value for name, value in known.items() if value is not None}
        return token

    def authenticate_client(self, request: Any, *args: Any, **kwargs: Any) -> bool:
        return bool(request.headers.get("Authorization") == CLIENT)

    def introspect_token(self, token: str, token_type_hint: str, request: Any, *args: Any,
                         **kwargs: Any) -> dict[str, Any] | None:
        return self.known.get(token)

    def revoke_token(self, token: str, token_type_hint: str, request: Any, *args: Any, **kwargs: Any) -> None:
        self.known.pop(token, None)


class Identity(http.server.ThreadingHTTPServer):
    """``asked``: how often what a token is worth; ``seen``: paths that were asked for; ``behave``: what is
    answered in place of oauthlib's answer: status, headers, body; ``held``: nothing is until it is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Face)
        self.tokens = Tokens()
        self.endpoints = {"/introspect": oauth2.IntrospectEndpoint(self.tokens).create_introspect_response,
                          "/revoke": oauth2.RevocationEndpoint(self.tokens).create_revocation_response}
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.seen: list[str] = []
        self.behave: tuple[int, dict[str, str], str] | None = None
        self.held: threading.Event | None = None

    def revoke(self, token: str) -> None:
        body = urlencode({"token": token}).encode()
        with urlopen(Request(f"{self.url}/revoke", body, {"Authorization": CLIENT})) as answer:
            assert answer.status == 200


class Face(http.server.BaseHTTPRequestHandler):
    server: Identity

    def do_POST(self) -> None:
        identity = self.server
        identity.seen.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if identity.held is not None:
            identity.held.wait(60)
        status, headers, said = identity.behave or self.answer(body)
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write((said or "").encode())
        except OSError:
            pass                                               # nobody waits any more

    def answer(self, body: str) -> tuple[int, dict[str, str], str]:
        headers, said, status = self.server.endpoints[self.path](
            self.server.url + self.path, "POST", body, dict(self.headers))
        return status, headers, said

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def identity() -> Iterator[Identity]:
    with Identity() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server(identity: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    secret = tmp_path_factory.mktemp("identity") / "secret"
    secret.write_text("s:3cret\n")
    secret.chmod(0o600)
    with chain(OAUTH_INTROSPECTION_URL=f"{identity.url}/introspect", OAUTH_CLIENT_ID="mail server",
               OAUTH_CLIENT_SECRET_FILE=str(secret), OAUTH_ISSUER=ISSUER, OAUTH_AUDIENCE="imap",
               OAUTH_SCOPE="mail", OAUTH_USER_CLAIM="username", OAUTH_CONFIGURATION_URL=CONFIGURATION,
               OAUTH_TIMEOUT="2", OAUTH_LEEWAY="0", IMAP_LOGIN_DELAY="0", IMAP_HIBERNATE="0") as found:
        yield found


def said_to(server: Chain, token: str, user: str = "demo", mechanism: bytes = b"OAUTHBEARER") -> bytes:
    """The first line that a client hears of its token."""
    head = f"n,a={user}," if mechanism == b"OAUTHBEARER" else f"user={user}"
    data = b64encode(f"{head}\1auth=Bearer {token}\1\1".encode())
    with server.greeted() as client:
        client.sendall(b"a AUTHENTICATE %s %s\r\n" % (mechanism, data))
        return until(client, b"\r\n")


@pytest.mark.parametrize("mechanism", [b"OAUTHBEARER", b"XOAUTH2"])
def test_a_token_is_good_until_it_is_taken_back(server: Chain, identity: Identity, mechanism: bytes) -> None:
    token = identity.tokens.issue("opaque." + mechanism.decode())
    for _ in range(2):
        assert said_to(server, token, mechanism=mechanism).startswith(b"a OK")
    identity.revoke(token)
    refused = said_to(server, token, mechanism=mechanism)
    assert json.loads(b64decode(refused.removeprefix(b"+ "))) == (
        {"status": "invalid_token", "scope": "mail", "openid-configuration": CONFIGURATION}
        if mechanism == b"OAUTHBEARER" else {"status": "401", "schemes": "bearer", "scope": "mail"})
    server.wait_log("the token is refused: the authorization server says that it is not active, user=demo")


@pytest.mark.parametrize(("claims", "why"), [
    ({"exp": 1000}, "it is over since"), ({"iat": 2 ** 33}, "it begins in"),
    ({"nbf": 2 ** 33}, "it begins in"), ({"aud": "web"}, "it is for web"),
    ({"aud": None}, "it is for nobody in particular"),
    ({"iss": "https://other.example.org"}, "its issuer is https://other.example.org"),
    ({"iss": None}, "its issuer is not named"), ({"scope": "other"}, "it lacks the scope mail"),
    ({"scope": None}, "it lacks the scope mail"), ({"user": "nobody"}, "it is nobody's"),
    ({"username": None}, "it has no claim username")])
def test_what_the_server_calls_active_and_is_not_for_us(server: Chain, identity: Identity,
                                                        claims: dict[str, Any], why: str) -> None:
    """RFC 7628 3.2.2: told what it was that is wrong with the token, and no more."""
    said = said_to(server, identity.tokens.issue("for.others", **claims))
    assert json.loads(b64decode(said.removeprefix(b"+ ")))["status"] == "invalid_token"
    server.wait_log(f"the token is refused: {why}")
    assert "for.others" not in server.log.read_text()


def test_a_client_that_the_identity_server_does_not_know(identity: Identity) -> None:
    """It is asked without a secret: a mistake of who runs the server, and not of who logs in."""
    with chain(OAUTH_INTROSPECTION_URL=f"{identity.url}/introspect", OAUTH_AUDIENCE="imap",
               OAUTH_USER_CLAIM="username") as server:
        said = said_to(server, identity.tokens.issue("good"))
        assert said.startswith(b"* BYE [UNAVAILABLE]")
        server.wait_log("answers 401")
        server.session().close()


@pytest.mark.parametrize(("behave", "logged"), [
    ((500, {}, "no"), "answers 500"), ((503, {"Retry-After": "1"}, ""), "answers 503"),
    ((200, {"Content-Type": "text/html"}, "<html>Sign in"), "answers what is no JSON object"),
    ((200, {}, "[" * 3000), "answers what is no JSON object"),
    ((204, {}, ""), "answers what is no JSON object"),
    ((200, {"Content-Length": "900"}, '{"active": true, '), "/introspect: "),
    ((302, {"Location": "/elsewhere"}, ""), "answers 302"),
    ((307, {"Location": "/elsewhere"}, ""), "answers 307"),
    ((308, {"Location": "/elsewhere"}, ""), "answers 308")])
def test_a_sick_identity_server_refuses_nobody(server: Chain, identity: Identity,
                                               behave: tuple[int, dict[str, str], str], logged: str) -> None:
    """The client may come again; a token is shown to nobody else; passwords are as good as ever."""
    token = identity.tokens.issue("kept.secret")
    identity.behave, before = behave, server.log.read_text().count(logged)
    try:
        assert said_to(server, token).startswith(b"* BYE [UNAVAILABLE]")
    finally:
        identity.behave = None
    server.wait_log(logged, before + 1)
    assert "/elsewhere" not in identity.seen
    assert said_to(server, token).startswith(b"a OK")
    log = server.log.read_text()
    assert "Traceback" not in log and token not in log


def test_a_slow_identity_server_holds_up_tokens_alone(server: Chain, identity: Identity) -> None:
    token = identity.tokens.issue("slow")
    identity.held, before = threading.Event(), len(identity.seen)
    told: list[bytes] = []
    waiting = threading.Thread(target=lambda: told.append(said_to(server, token)))
    try:
        waiting.start()
        eventually(lambda: len(identity.seen) > before)
        server.session().close()                               # by password
        waiting.join(60)
        assert told and told[0].startswith(b"* BYE [UNAVAILABLE]")
    finally:
        identity.held.set()
        identity.held = None
        waiting.join()
    server.wait_log("timed out")
    assert said_to(server, token).startswith(b"a OK")


def test_an_identity_server_that_is_not_there() -> None:
    with Identity() as gone:
        url = f"{gone.url}/introspect"
    with chain(OAUTH_INTROSPECTION_URL=url, OAUTH_AUDIENCE="imap", OAUTH_USER_CLAIM="username") as server:
        assert said_to(server, "any").startswith(b"* BYE [UNAVAILABLE]")
        server.wait_log("Connection refused")
        server.session().close()
