"""SASL mechanisms of the server side, sans-IO.

``start(...)`` gives a generator: it yields challenges (bytes, not yet base64),
is sent responses, and returns the Account; it raises Rejected or
TemporaryFailure.  ``initial`` is the response that came with the command.
RFC 4616, RFC 2195, RFC 5802, RFC 7677, RFC 4422 appendix A.
"""
from __future__ import annotations

import hashlib
import hmac
import os
from base64 import b64decode, b64encode

from courierpy.auth import Account, Rejected, Request, with_domain
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    Exchange = Generator[bytes, bytes, Account]
    Check = Callable[[Request], Account]


class Context:
    """What a mechanism needs of the login: how to check, service, environment, identity.

    ``user``: whom the client named, for the log; None as long as it named nobody.
    """

    def __init__(self, check: Check, service: str, environ: Mapping[str, str], external: str = "") -> None:
        self.check = check
        self.service = service
        self.environ = environ
        self.external = external
        self.user: str | None = None

    def names(self, user: bytes | str) -> None:
        self.user = user if isinstance(user, str) else user.decode("utf-8", "surrogateescape")

    def login(self, user: bytes, password: bytes) -> Account:
        self.names(user)
        name, secret = _text(user), _text(password)
        try:
            if not name or not secret:
                raise Rejected
            return self.check(Request("login", self.service, self.environ,
                                      user=with_domain(name, self.environ), password=secret))
        finally:
            wipe(secret)

    def lookup(self, user: str) -> Account:
        return self.check(Request("pre", self.service, self.environ, user=user))


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Rejected from None
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        wipe(text)
        raise Rejected
    return text


def _itself(wanted: bytes | str, user: bytes | str) -> None:
    """Nobody may log in with his own password and be somebody else (RFC 4616 2: authzid)."""
    if wanted and wanted != user:
        raise Rejected


def plain(context: Context, initial: bytes | None) -> Exchange:
    data = initial if initial is not None else (yield b"")
    parts = data.split(b"\0")
    try:
        if len(parts) != 3:
            raise Rejected
        wanted, user, password = parts
        context.names(user)
        _itself(wanted, user)
        return context.login(user, password)
    finally:
        wipe(*parts)


def login(context: Context, initial: bytes | None) -> Exchange:
    user = initial if initial is not None else (yield b"Username:")
    context.names(user)
    password = yield b"Password:"
    return context.login(user, password)


def _cram(kind: str) -> Callable[[Context, bytes | None], Exchange]:
    def exchange(context: Context, initial: bytes | None) -> Exchange:
        challenge = f"<{os.urandom(16).hex().upper()}@{os.uname().nodename}>".encode()
        response = yield challenge
        context.names(response.rpartition(b" ")[0])
        return context.check(Request(f"cram-{kind}", context.service, context.environ,
                                     challenge=b64encode(challenge).decode(),
                                     response=b64encode(response).decode()))
    return exchange


def external(context: Context, initial: bytes | None) -> Exchange:
    """The user is who the client's certificate says."""
    asked = initial if initial is not None else (yield b"")
    context.names(asked or context.external)
    if not context.external or (asked and _text(asked) != context.external):
        raise Rejected
    return context.lookup(context.external)


ITERATIONS = 4096


def _saslname(text: str) -> str:
    return text.replace("=2C", ",").replace("=3D", "=")


def scram_sha_256(context: Context, initial: bytes | None) -> Exchange:
    """RFC 5802 section 3 with SHA-256, no channel binding.  Needs a clear password.

    An unknown user gets a challenge all the same and is refused at the end.
    """
    first = _text(initial if initial is not None else (yield b""))
    binding, comma, rest = first.partition(",")
    if binding not in ("n", "y") or not comma:
        raise Rejected
    authzid, _, bare = rest.partition(",")
    fields = dict(part.partition("=")[::2] for part in bare.split(","))
    if "n" not in fields or not fields.get("r") or "m" in fields:
        raise Rejected
    name = _saslname(fields["n"])
    context.names(name)
    _itself(_saslname(authzid.removeprefix("a=")), name)
    user = with_domain(name, context.environ)
    account, secret, refusal = None, "", Rejected()
    try:
        account = context.lookup(user)
        secret = account.passwd2
    except Rejected as error:
        refusal = error                    # when it is due
    # the salt of a name is always the same, also of one that is not there
    salt = hmac.new(_KEY, user.encode(), "sha256").digest()[:16]
    nonce = fields["r"] + os.urandom(18).hex()
    server_first = f"r={nonce},s={b64encode(salt).decode()},i={ITERATIONS}"
    final = _text((yield server_first.encode()))
    without_proof, _, proof = final.rpartition(",p=")
    answer = dict(part.partition("=")[::2] for part in without_proof.split(","))
    channel = b64encode(f"{binding},{rest.partition(',')[0]},".encode()).decode()
    if answer.get("r") != nonce or answer.get("c", "").rstrip("=") != channel.rstrip("="):
        raise Rejected
    octets = secret.encode()
    salted = hashlib.pbkdf2_hmac("sha256", octets, salt, ITERATIONS)
    wipe(octets)
    message = f"{bare},{server_first},{without_proof}".encode()
    client_key = hmac.new(salted, b"Client Key", "sha256").digest()
    signature = hmac.new(hashlib.sha256(client_key).digest(), message, "sha256").digest()
    wanted = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    try:
        given = b64decode(proof, validate=True)
    except ValueError:
        raise Rejected from None
    if account is None or not secret or not hmac.compare_digest(wanted, given):
        raise refusal
    server_key = hmac.new(salted, b"Server Key", "sha256").digest()
    verifier = b64encode(hmac.new(server_key, message, "sha256").digest())
    wipe(salted, client_key, server_key)
    yield b"v=" + verifier
    return account


_KEY = os.urandom(32)

MECHANISMS: dict[bytes, Callable[[Context, bytes | None], Exchange]] = {
    b"PLAIN": plain, b"LOGIN": login, b"CRAM-MD5": _cram("md5"), b"CRAM-SHA1": _cram("sha1"),
    b"CRAM-SHA256": _cram("sha256"), b"EXTERNAL": external, b"SCRAM-SHA-256": scram_sha_256,
}
