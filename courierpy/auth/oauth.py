"""OAUTHBEARER (RFC 7628) and XOAUTH2, which came before it: an access token in place of a password.

The token is checked by the password helper (see token.py); the account must be one that the modules know.
"""
from __future__ import annotations

import json

from courierpy.auth import Rejected
from courierpy.system.settings import Settings
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.auth.sasl import Context, Exchange

SEPARATOR = b"\1"


def bearer(context: Context, initial: bytes | None) -> Exchange:
    """``n,a=user,^Ahost=...^Aport=...^Aauth=Bearer token^A^A``.  RFC 7628 3.1."""
    data = initial if initial is not None else (yield b"")
    header, *pairs = data.split(SEPARATOR)
    # RFC 5801 4: gs2-cb-flag "," [ "a=" authzid ] ","; nothing is bound here
    flag, user, rest = (*header.split(b",", 2), b"?", b"?")[:3]
    if flag not in (b"n", b"y") or rest or user and not user.startswith(b"a="):
        pairs = []
    name = user.removeprefix(b"a=").replace(b"=2C", b",").replace(b"=3D", b"=")
    return (yield from _exchange(context, name, pairs, data, {
        "status": "invalid_token", "scope": Settings(context.environ).text("OAUTH_SCOPE"),
        "openid-configuration": Settings(context.environ).text("OAUTH_CONFIGURATION_URL")}))


def xoauth2(context: Context, initial: bytes | None) -> Exchange:
    """``user=user^Aauth=Bearer token^A^A``, as Google and Microsoft document it."""
    data = initial if initial is not None else (yield b"")
    pairs = data.split(SEPARATOR)
    name = next((pair[5:] for pair in pairs if pair.startswith(b"user=")), b"")
    return (yield from _exchange(context, name, pairs if name else [], data, {
        "status": "401", "schemes": "bearer", "scope": Settings(context.environ).text("OAUTH_SCOPE")}))


def _exchange(context: Context, name: bytes, pairs: list[bytes], data: bytes,
              refusal: dict[str, str]) -> Exchange:
    """``refusal``: what the client is told of a token that is refused, before the NO (RFC 7628 3.2.2)."""
    token = b""
    try:
        if name:
            context.names(name)
        token = _token(pairs, data)
        return (yield from context.token(name, token))
    except Rejected:
        if not token and refusal["status"] == "invalid_token":
            refusal["status"] = "invalid_request"      # RFC 6750 3.1
        yield json.dumps({key: value for key, value in refusal.items() if value}).encode()
        raise
    finally:
        wipe(token, *pairs)


def _token(pairs: list[bytes], data: bytes) -> bytes:
    """Raises Rejected where there is none, or more than one, or the message is not whole."""
    found = [value for pair in pairs if pair[:5].lower() == b"auth=" for value in [pair[5:]]]
    scheme, _, token = found[0].partition(b" ") if len(found) == 1 else (b"", b"", b"")
    wipe(*found)
    if scheme.lower() != b"bearer" or not token.strip() or not data.endswith(2 * SEPARATOR):
        raise Rejected
    # RFC 6750 2.1: b68token, no blank in it
    if any(octet <= 0x20 or octet >= 0x7f for octet in token):
        raise Rejected
    return token
