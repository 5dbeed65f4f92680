"""Access tokens: signed by local keys, or introspected; which are good, and whose they are."""
from __future__ import annotations

import hmac
import http.server
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from courierpy.auth import Request, TemporaryFailure, introspection, sound, token
from courierpy.auth.token import Refused

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA")        # what signs here calls it deprecated
KEYS: dict[str, Any] = {"RSA": RSAKey.generate_key(2048, {"kid": "r"}),
                        "EC": ECKey.generate_key("P-256", {"kid": "e"}),
                        "OKP": OKPKey.generate_key("Ed25519", {"kid": "o"}),
                        "oct": OctKey.generate_key(256, {"kid": "s"})}
ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA", "oct": "HS256"}
OTHER = RSAKey.generate_key(2048, {"kid": "r"})
Make = Callable[..., Request]


def signed(claims: dict[str, Any] | None = None, kind: str = "RSA", key: Any = None, **header: Any) -> str:
    now = int(time.time())
    known = {"iss": "https://id.example.org", "aud": "imap", "exp": now + 600, "email": "demo"}
    known = {name: value for name, value in {**known, **(claims or {})}.items() if value is not None}
    headers = {"alg": ALGORITHMS[kind], "kid": (key or KEYS[kind]).kid, **header}
    return jwt.encode({name: value for name, value in headers.items() if value is not None}, known,
                      key or KEYS[kind], algorithms=[headers["alg"]])


@pytest.fixture(scope="module")
def jwks(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    public = KeySet([KEYS[kind] for kind in ("RSA", "EC", "OKP")]).as_dict(private=False)
    public["keys"] += [{"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"}]  # of a kind that nobody knows yet
    path.write_text(json.dumps(public))
    return str(path)


@pytest.fixture
def asked(jwks: str) -> Make:
    def make(password: str, user: str = "demo", **environ: str) -> Request:
        return Request("token", "imap", {"OAUTH_KEYFILE": jwks, "OAUTH_ISSUER": "https://id.example.org",
                                         "OAUTH_AUDIENCE": "imap mail", **environ},
                       user=user, password=password)
    return make


@pytest.mark.parametrize("kind", ["RSA", "EC", "OKP"])
@pytest.mark.parametrize("user", ["demo", ""])
def test_good_tokens(asked: Make, kind: str, user: str) -> None:
    assert token.user_of(asked(signed(kind=kind), user)) == "demo"


@pytest.mark.parametrize("claims", [
    {"aud": ["x", "imap"]}, {"nbf": time.time() - 5}, {"iat": time.time() + 30},
    {"email_verified": True}, {"scope": "openid mail"}])
def test_claims_that_are_fine(asked: Make, claims: dict[str, Any]) -> None:
    assert token.user_of(asked(signed(claims))) == "demo"


@pytest.mark.parametrize(("claims", "why"), [
    ({"iss": "https://evil.example"}, "its issuer is https://evil.example"),
    ({"iss": None}, "issuer is not named"),
    ({"iss": ["https://id.example.org"]}, "issuer is not named"),
    ({"aud": "other"}, "it is for other"), ({"aud": None}, "nobody in particular"),
    ({"aud": ["a", "b"]}, "for a b"), ({"aud": {"imap": 1}}, "nobody in particular"),
    ({"exp": None}, "no end"), ({"exp": 1}, "over since"), ({"exp": "never"}, "exp is no time"),
    ({"exp": True}, "exp is no time"), ({"exp": 1e300}, "exp is no time"),
    ({"nbf": time.time() + 1e6}, "nbf"), ({"iat": time.time() + 1e6}, "iat"), ({"nbf": "x"}, "no time"),
    ({"email": None}, "no claim email"), ({"email": 5}, "no claim email"), ({"email": ""}, "no claim email"),
    ({"email": "de\nmo"}, "no claim email"), ({"email": "other"}, "it is other's"),
    ({"email_verified": False}, "nobody has verified"), ({"email_verified": "false"}, "nobody has verified")])
def test_claims_that_are_refused(asked: Make, claims: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        token.user_of(asked(signed(claims)))


def test_settings_of_claims(asked: Make) -> None:
    named = {"email": None, "sub": "demo"}
    assert token.user_of(asked(signed(named), OAUTH_USER_CLAIM="sub")) == "demo"
    assert token.user_of(asked(signed({"aud": None}), OAUTH_AUDIENCE="")) == "demo"
    with pytest.raises(Refused, match="it is for imap"):       # RFC 7519 4.1.3
        token.user_of(asked(signed(), OAUTH_AUDIENCE=""))
    assert token.user_of(asked(signed({"iss": None}), OAUTH_ISSUER="")) == "demo"
    for scope in ("mail openid", ["mail", "x"]):
        assert token.user_of(asked(signed({"scope": scope}), OAUTH_SCOPE="mail")) == "demo"
        assert token.user_of(asked(signed({"scp": scope}), OAUTH_SCOPE="mail")) == "demo"
    for claims in ({}, {"scope": "mailbox"}, {"scope": 5}, {"scope": "mail"}):
        with pytest.raises(Refused, match="lacks the scope"):
            token.user_of(asked(signed(claims), OAUTH_SCOPE="mail more"))
    with pytest.raises(Refused, match="over since"):
        token.user_of(asked(signed({"exp": int(time.time()) - 30}), OAUTH_LEEWAY="0"))
    assert token.user_of(asked(signed({"email": "demo@x"}), DEFDOMAIN="@x")) == "demo@x"
    assert token.user_of(asked(signed(), user="demo@x", DEFDOMAIN="@x")) == "demo@x"


def changed(word: str, part: int, text: str) -> str:
    parts = word.split(".")
    parts[part] = text
    return ".".join(parts)


def b64(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def by_public_key(kind: str) -> str:
    """By HMAC, with what everybody knows as the secret.  RFC 8725 2.1."""
    said = b64({"alg": "HS256", "kid": KEYS[kind].kid}) + "." + signed().split(".")[1]
    mac = hmac.new(KEYS[kind].as_pem(private=False), said.encode(), "sha256").digest()
    return f"{said}.{urlsafe_b64encode(mac).decode().rstrip('=')}"


def test_signatures_that_are_refused(asked: Make) -> None:
    good = signed()
    confused = by_public_key("RSA")
    none = b64({"alg": "none"}) + "." + good.split(".")[1] + "."
    for name, bad in {
            "other key": signed(key=OTHER), "hmac by the public key": confused, "none": none,
            "None": changed(none, 0, b64({"alg": "None"})), "no alg": changed(good, 0, b64({"kid": "r"})),
            "no kid, other key": signed(key=OTHER, kid=None), "unknown kid": signed(kid="nobody"),
            "secret key that nobody has": signed(kind="oct"), "odd alg": changed(good, 0, b64({"alg": 5})),
            "crit": changed(good, 0, b64({"alg": "RS256", "kid": "r", "crit": ["x"], "x": 1})),
            "key in the header": changed(signed(key=OTHER), 0, b64(
                {"alg": "RS256", "jwk": OTHER.as_dict(private=False)})),
            "no signature": changed(good, 2, ""), "no text": "..", "garbage": "a.b.c", "one part": "opaque",
            "other claims": changed(good, 1, b64({"email": "demo"})), "not utf-8": "\u00e4.\u00e4.\u00e4",
            "list": changed(good, 0, "W10"), "text that names it": changed(good, 0, b64("alg")),
            "list that names it": changed(good, 0, b64(["alg"])),
            "deep header": changed(good, 0, "W1tb" * 2000),
            "deep claims": changed(good, 1, "W1tb" * 2000)}.items():
        with pytest.raises(Refused) as caught:
            print(name, token.user_of(asked(bad)))
        assert bad not in str(caught.value) and good.split(".")[2] not in str(caught.value)


def test_a_token_without_kid_is_tried_with_all_that_fit(asked: Make, tmp_path: Path) -> None:
    path = tmp_path / "jwks"
    path.write_text(json.dumps(KeySet([OTHER, KEYS["RSA"]]).as_dict(private=False)))
    assert token.user_of(asked(signed(kid=None), OAUTH_KEYFILE=str(path))) == "demo"


def test_algorithms_are_those_of_the_setting(asked: Make) -> None:
    for value in ("ES256", "none", ""):
        with pytest.raises((Refused, TemporaryFailure), match="OAUTH_ALGORITHMS"):
            token.user_of(asked(signed(), OAUTH_ALGORITHMS=value))
    none = b64({"alg": "none"}) + "." + signed().split(".")[1] + "."
    with pytest.raises(Refused):
        token.user_of(asked(none, OAUTH_ALGORITHMS="none RS256"))


def test_secret_keys_are_a_matter_of_setting_and_mode(asked: Make, tmp_path: Path) -> None:
    path = tmp_path / "jwks"
    path.write_text(json.dumps({"keys": [KEYS["oct"].as_dict(private=True)]}))
    path.chmod(0o644)
    with pytest.raises(TemporaryFailure, match="mode must be 0600"):
        token.user_of(asked(signed(kind="oct"), OAUTH_KEYFILE=str(path), OAUTH_ALGORITHMS="HS256"))
    path.chmod(0o600)
    good = asked(signed(kind="oct"), OAUTH_KEYFILE=str(path), OAUTH_ALGORITHMS="HS256")
    assert token.user_of(good) == "demo"
    with pytest.raises(Refused, match="HS256"):
        token.user_of(asked(signed(kind="oct"), OAUTH_KEYFILE=str(path)))


@pytest.mark.parametrize("kind", ["RSA", "EC", "OKP"])
def test_keys_in_pem(asked: Make, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "keys.pem"
    path.write_bytes(OTHER.as_pem(private=False) + b"a comment\n" + KEYS[kind].as_pem(private=False))
    assert token.user_of(asked(signed(kind=kind), OAUTH_KEYFILE=str(path))) == "demo"
    assert token.user_of(asked(signed(kind=kind, kid="any"), OAUTH_KEYFILE=str(path))) == "demo"
    with pytest.raises(Refused):
        token.user_of(asked(by_public_key(kind), OAUTH_KEYFILE=str(path), OAUTH_ALGORITHMS="HS256 RS256"))


@pytest.mark.parametrize("text", ["", "{}", "[]", "5", "x", "[" * 5000, '{"keys": 5}', '{"keys": []}',
                                  '{"keys": [{"kty": "RSA"}]}',
                                  "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_file_of_keys(asked: Make, tmp_path: Path, text: str) -> None:
    path = tmp_path / "jwks"
    path.write_text(text)
    with pytest.raises(TemporaryFailure, match="neither a JWK set nor public keys"):
        token.user_of(asked(signed(), OAUTH_KEYFILE=str(path)))
    with pytest.raises(TemporaryFailure, match="No such file"):
        token.user_of(asked(signed(), OAUTH_KEYFILE=str(tmp_path / "none")))
    assert "neither" in sound.tokens_wrong({"OAUTH_KEYFILE": str(path), "OAUTH_AUDIENCE": "x"})[0]


def test_new_keys_are_seen(asked: Make, tmp_path: Path) -> None:
    path = tmp_path / "jwks"
    for key in (OTHER, KEYS["RSA"]):
        path.write_text(json.dumps(KeySet([key]).as_dict(private=False)))
        assert token.user_of(asked(signed(key=key), OAUTH_KEYFILE=str(path))) == "demo"


# -- introspection

class Answers(http.server.BaseHTTPRequestHandler):
    status = 200
    body: bytes | dict[str, Any] = b""
    seen: list[tuple[str | None, dict[str, list[str]]]]

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.seen.append((self.headers["Authorization"], parse_qs(text)))
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        self.send_response(self.status)
        if 300 <= self.status < 400:
            self.send_header("Location", self.path + "x")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def authority(body: bytes | dict[str, Any], status: int = 200) -> Iterator[tuple[str, type[Answers]]]:
    handler = type("Own", (Answers,), {"status": status, "body": body, "seen": []})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/introspect", handler
        finally:
            server.shutdown()
            thread.join()


def opaque(url: str, **environ: str) -> Request:
    known = {"OAUTH_INTROSPECTION_URL": url, "OAUTH_USER_CLAIM": "username", **environ}
    return Request("token", "imap", known, user="demo", password="op&que=")


def test_introspection(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s:3 cret\n")
    secret.chmod(0o600)
    with authority({"active": True, "username": "demo"}) as (url, server):
        assert token.user_of(opaque(url)) == "demo"
        known = {"OAUTH_CLIENT_ID": "a b", "OAUTH_CLIENT_SECRET_FILE": str(secret)}
        assert token.user_of(opaque(url, **known)) == "demo"
        (nobody, first), (client, _) = server.seen
    assert nobody is None and first == {"token": ["op&que="], "token_type_hint": ["access_token"]}
    assert client == "Basic YStiOnMlM0EzK2NyZXQ="          # RFC 6749 2.3.1: a+b:s%3A3+cret
    secret.chmod(0o644)
    with pytest.raises(TemporaryFailure, match="mode must be 0600"):
        token.user_of(opaque(url, **known))


@pytest.mark.parametrize(("body", "why"), [
    ({"active": False}, "not active"), ({"active": "true", "username": "demo"}, "not active"),
    ({"username": "demo"}, "not active"), ({"active": True, "username": "other"}, "it is other's"),
    ({"active": True}, "no claim username"), ({"active": True, "username": "demo", "exp": 5}, "over since"),
    ({"active": True, "username": "demo", "aud": "x"}, "it is for x")])
def test_introspection_refuses(body: dict[str, Any], why: str) -> None:
    with authority(body) as (url, _), pytest.raises(Refused, match=why):
        token.user_of(opaque(url))


@pytest.mark.parametrize(("body", "status"), [
    (b"", 200), (b"[]", 200), (b"[" * 5000, 200), (b"<html>", 200),
    (b"x" * (introspection.MAX_ANSWER_OCTETS + 1), 200),
    ({"active": True, "username": "demo"}, 401), ({"active": True, "username": "demo"}, 500),
    ({"active": True, "username": "demo"}, 302), ({"active": True, "username": "demo"}, 307)])
def test_what_is_no_answer_refuses_nobody(body: bytes | dict[str, Any], status: int) -> None:
    """It is a temporary failure; and a token is shown to nobody who is redirected to."""
    with authority(body, status) as (url, server):
        with pytest.raises(TemporaryFailure):
            token.user_of(opaque(url))
        assert len(server.seen) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "https://127.0.0.1:1/", "file:///etc/passwd",
                                 "ftp://x/", "x"])
def test_an_authority_that_is_not_there(url: str) -> None:
    with pytest.raises(TemporaryFailure):
        token.user_of(opaque(url))


def test_signed_tokens_are_not_introspected_where_there_are_keys(asked: Make) -> None:
    said = {"active": True, "email": "demo", "iss": "https://id.example.org", "aud": "imap"}
    with authority(said) as (url, server):
        assert token.user_of(asked(signed(), OAUTH_INTROSPECTION_URL=url)) == "demo"
        assert server.seen == []
        assert token.user_of(asked("opaque", OAUTH_INTROSPECTION_URL=url)) == "demo"
        assert len(server.seen) == 1
        with pytest.raises(Refused):
            token.user_of(asked(signed(key=OTHER), OAUTH_INTROSPECTION_URL=url))
        assert len(server.seen) == 1


def test_what_keeps_tokens_out_is_told(jwks: str) -> None:
    assert sound.tokens_wrong({}) == []
    assert sound.tokens_wrong({"OAUTH_KEYFILE": jwks, "OAUTH_AUDIENCE": "imap"}) == []
    assert "OAUTH_AUDIENCE" in sound.tokens_wrong({"OAUTH_KEYFILE": jwks})[0]
    assert "OAUTH_ALGORITHMS" in sound.tokens_wrong({"OAUTH_KEYFILE": jwks, "OAUTH_AUDIENCE": "x",
                                                     "OAUTH_ALGORITHMS": "none"})[0]
    assert "http" in sound.tokens_wrong({"OAUTH_INTROSPECTION_URL": "ldap://x"})[0]
