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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    Exchange = Generator[bytes, bytes, Account]
    Check = Callable[[Request], Account]


class Context:
    """What a mechanism needs of the login: how to check, service, environment, identity."""

    def __init__(self, check: Check, service: str, environ: Mapping[str, str], external: str = "") -> None:
        self.check = check
        self.service = service
        self.environ = environ
        self.external = external

    def login(self, user: bytes, password: bytes) -> Account:
        return self.check(Request("login", self.service, self.environ,
                                  user=with_domain(_text(user), self.environ), password=_text(password)))

    def lookup(self, user: str) -> Account:
        return self.check(Request("pre", self.service, self.environ, user=user))


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Rejected from None
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise Rejected
    return text


def plain(context: Context, initial: bytes | None) -> Exchange:
    data = initial if initial is not None else (yield b"")
    parts = data.split(b"\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise Rejected
    return context.login(parts[1], parts[2])


def login(context: Context, initial: bytes | None) -> Exchange:
    user = initial if initial is not None else (yield b"Username:")
    password = yield b"Password:"
    return context.login(user, password)


def _cram(kind: str) -> Callable[[Context, bytes | None], Exchange]:
    def exchange(context: Context, initial: bytes | None) -> Exchange:
        challenge = f"<{os.urandom(16).hex().upper()}@{os.uname().nodename}>".encode()
        response = yield challenge
        return context.check(Request(f"cram-{kind}", context.service, context.environ,
                                     challenge=b64encode(challenge).decode(),
                                     response=b64encode(response).decode()))
    return exchange


def external(context: Context, initial: bytes | None) -> Exchange:
    """The user is who the client's certificate says."""
    asked = initial if initial is not None else (yield b"")
    if not context.external or (asked and _text(asked) != context.external):
        raise Rejected
    return context.lookup(context.external)


ITERATIONS = 4096


def scram_sha_256(context: Context, initial: bytes | None) -> Exchange:
    """RFC 5802 section 3 with SHA-256, no channel binding.  Needs a clear password.

    An unknown user gets a challenge all the same and is refused at the end.
    """
    first = _text(initial if initial is not None else (yield b""))
    binding, comma, rest = first.partition(",")
    if binding not in ("n", "y") or not comma:
        raise Rejected
    _, _, bare = rest.partition(",")
    fields = dict(part.partition("=")[::2] for part in bare.split(","))
    if "n" not in fields or not fields.get("r") or "m" in fields:
        raise Rejected
    user = with_domain(fields["n"].replace("=2C", ",").replace("=3D", "="), context.environ)
    try:
        account: Account | None = context.lookup(user)
        secret = account.passwd2 if account is not None else ""
    except Rejected:
        account, secret = None, ""
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
    salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, ITERATIONS)
    message = f"{bare},{server_first},{without_proof}".encode()
    client_key = hmac.new(salted, b"Client Key", "sha256").digest()
    signature = hmac.new(hashlib.sha256(client_key).digest(), message, "sha256").digest()
    wanted = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    try:
        given = b64decode(proof, validate=True)
    except ValueError:
        raise Rejected from None
    if account is None or not secret or not hmac.compare_digest(wanted, given):
        raise Rejected
    server_key = hmac.new(salted, b"Server Key", "sha256").digest()
    verifier = b64encode(hmac.new(server_key, message, "sha256").digest())
    yield b"v=" + verifier
    return account


_KEY = os.urandom(32)

MECHANISMS: dict[bytes, Callable[[Context, bytes | None], Exchange]] = {
    b"PLAIN": plain, b"LOGIN": login, b"CRAM-MD5": _cram("md5"), b"CRAM-SHA1": _cram("sha1"),
    b"CRAM-SHA256": _cram("sha256"), b"EXTERNAL": external, b"SCRAM-SHA-256": scram_sha_256,
}
