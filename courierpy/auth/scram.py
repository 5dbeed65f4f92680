"""SCRAM: the password is proved, not sent, and the server proves that it knows it too.

RFC 5802, RFC 7677; with channel bindings (RFC 5929, RFC 9266) also that no other TLS connection
lies between.  Needs the clear password of the account, and keeps nothing of it.
"""
from __future__ import annotations

import hashlib
import hmac
import os
from base64 import b64decode, b64encode

from courierpy.auth import Rejected, passwords, with_domain
from courierpy.auth.sasl import itself, text_of
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.auth.sasl import Context, Exchange

ITERATIONS = 4096              # RFC 5802 5.1, RFC 7677 4: the least there may be
MECHANISMS = {"sha1": b"SCRAM-SHA-1", "sha256": b"SCRAM-SHA-256"}
_KEY = os.urandom(32)


def exchange(hashed: str, binds: bool, context: Context, initial: bytes | None) -> Exchange:
    """RFC 5802 section 3 with this hash ("sha1", "sha256").  ``binds``: it is the mechanism with -PLUS.

    An unknown user gets a challenge all the same and is refused at the end.
    """
    first = text_of(initial if initial is not None else (yield b""))
    flag, authzid, bare = (*first.split(",", 2), "", "")[:3]
    fields = _fields(bare)
    if not fields.get("n") or not fields.get("r") or "m" in fields:
        raise Rejected
    name = _saslname(fields["n"])
    context.names(name)
    if authzid and not authzid.startswith("a="):
        raise Rejected
    itself(_saslname(authzid.removeprefix("a=")), name)
    binding = _binding(flag, hashed, binds, context)
    user = with_domain(name, context.environ)
    account, secret, refusal = None, "", Rejected()
    try:
        account = yield from context.lookup(user)
        secret = account.passwd2
    except Rejected as error:
        refusal = error                    # when it is due
    # the salt of a name is always the same, also of one that is not there
    salt = hmac.new(_KEY, user.encode(), "sha256").digest()[:16]
    nonce = fields["r"] + os.urandom(18).hex()
    server_first = f"r={nonce},s={b64encode(salt).decode()},i={ITERATIONS}"
    final = text_of((yield server_first.encode()))
    without_proof, _, proof = final.rpartition(",p=")
    answer = _fields(without_proof)
    # RFC 5802 7: cbind-input = gs2-header [ cbind-data ]
    if answer.get("r") != nonce or not hmac.compare_digest(
            _octets(answer.get("c", "")), f"{flag},{authzid},".encode() + binding):
        raise Rejected
    prepared = prepare(secret)
    octets = passwords.octets(prepared)
    salted = hashlib.pbkdf2_hmac(hashed, octets, salt, ITERATIONS)
    wipe(octets)
    if prepared is not secret:
        wipe(prepared)
    message = f"{bare},{server_first},{without_proof}".encode()
    client_key = hmac.new(salted, b"Client Key", hashed).digest()
    signature = hmac.new(hashlib.new(hashed, client_key).digest(), message, hashed).digest()
    wanted = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    if not hmac.compare_digest(wanted, _octets(proof)) or account is None or not secret:
        raise refusal
    server_key = hmac.new(salted, b"Server Key", hashed).digest()
    verifier = b64encode(hmac.new(server_key, message, hashed).digest())
    wipe(salted, client_key, server_key)
    yield b"v=" + verifier
    return account


def _binding(flag: str, hashed: str, binds: bool, context: Context) -> bytes:
    """What ``c=`` must end in.  RFC 5802 5.1, 6.  Raises Rejected.

    ``y``: the client could bind, and believes that we cannot; where it was told that we can, somebody
    between has taken that away."""
    kind, _, name = flag.partition("=")
    if kind == "p" and binds:
        binding = context.bindings.get(name, b"")
        if binding:
            return binding
    elif kind in ("n", "y") and not name and not binds and (
            kind == "n" or MECHANISMS[hashed] + b"-PLUS" not in context.told):
        return b""
    raise Rejected


def _fields(text: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in text.split(","))


def _saslname(text: str) -> str:
    return text.replace("=2C", ",").replace("=3D", "=")


def _octets(text: str) -> bytes:
    """Of base64, whose padding some clients leave out.  Raises Rejected."""
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise Rejected from None


def prepare(text: str) -> str:
    """SASLprep (RFC 4013) of a stored string; the text itself where it cannot be prepared, so that
    what another server took for a password still is one."""
    if text.isascii():
        return text
    import stringprep as tables
    from unicodedata import ucd_3_2_0 as unicode
    mapped = "".join(" " if tables.in_table_c12(char) else char for char in text
                     if not tables.in_table_b1(char))
    found = unicode.normalize("NFKC", mapped)
    prohibited = (tables.in_table_a1, tables.in_table_c12, tables.in_table_c21_c22, tables.in_table_c3,
                  tables.in_table_c4, tables.in_table_c5, tables.in_table_c6, tables.in_table_c7,
                  tables.in_table_c8, tables.in_table_c9)
    if any(table(char) for char in found for table in prohibited):
        return text
    right_to_left = [tables.in_table_d1(char) for char in found]
    if any(right_to_left) and not (right_to_left[0] and right_to_left[-1]
                                   and not any(map(tables.in_table_d2, found))):
        return text
    return found
