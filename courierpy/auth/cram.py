"""A CRAM request taken apart: who, and the digest.  RFC 2195."""
from __future__ import annotations

from base64 import b64decode

from courierpy.auth import Rejected, Request, passwords


def parts(request: Request) -> tuple[bytes, str, str]:
    """(challenge, user, hex digest) of a request.  Raises Rejected."""
    try:
        challenge = b64decode(request.challenge, validate=True)
        user, _, digest = b64decode(request.response, validate=True).decode().rpartition(" ")
    except ValueError:
        raise Rejected from None
    if not user:
        raise Rejected
    return challenge, user, digest


def verify(clear: str, states: str, request: Request) -> None:
    """Raises Rejected unless the clear password, or its HMAC states, made the response."""
    challenge, _, digest = parts(request)
    if not passwords.cram_matches(request.kind.removeprefix("cram-"), clear, states, challenge, digest):
        raise Rejected
