"""Password hashes: crypt's and Courier's ``{...}`` schemes, named as in RFC 2307.

What the system's libcrypt knows it checks; passlib, loaded when a hash needs it, has the others, and
all of crypt's where the system has no libcrypt.
"""
from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SCHEME = re.compile(r"\{([A-Za-z0-9.-]+)\}(.*)", re.S)
_DIGESTS = {"MD5": "md5", "SHA": "sha1", "SHA256": "sha256", "SHA512": "sha512"}


def verify(stored: str, password: str) -> bool:
    """Does ``password`` belong to the stored hash?  Unknown hashes belong to nobody's."""
    secret = password.encode()
    match = _SCHEME.fullmatch(stored)
    if match is None:
        return _crypt(stored, password)
    scheme, value = match[1].upper(), match[2]
    if scheme == "CRYPT":
        return _crypt(value, password)
    if scheme in _DIGESTS:
        digest = hashlib.new(_DIGESTS[scheme], secret, usedforsecurity=False).digest()
        return hmac.compare_digest(b64encode(digest), octets(value))
    if scheme == "MD5RAW":
        return hmac.compare_digest(hashlib.md5(secret, usedforsecurity=False).hexdigest().encode(),
                                   octets(value.lower()))
    if scheme in ("SSHA", "SSHA256", "SSHA512"):
        name = {"SSHA": "sha1", "SSHA256": "sha256", "SSHA512": "sha512"}[scheme]
        return _salted(name, value, secret)
    if scheme == "BLF-CRYPT" or scheme.startswith("ARGON2"):
        return _crypt(value, password)
    return False


def octets(stored: str) -> bytes:
    """Of what stands in a file or a database, which need not be UTF-8."""
    return stored.encode("utf-8", "surrogateescape")


def _salted(name: str, value: str, secret: bytes) -> bool:
    try:
        raw = b64decode(value, validate=True)
    except ValueError:
        return False
    size = hashlib.new(name, usedforsecurity=False).digest_size
    digest = hashlib.new(name, secret + raw[size:], usedforsecurity=False).digest()
    return len(raw) > size and hmac.compare_digest(digest, raw[:size])


LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2")     # ctypes.util would start programs to find them
_PASSLIB = (("$1$", "md5_crypt"), ("$5$", "sha256_crypt"), ("$6$", "sha512_crypt"), ("$2", "bcrypt"),
            ("$argon2", "argon2"))


def _crypt(stored: str, password: str) -> bool:
    if not stored or stored[0] in "*!" or "\0" in password:
        return False
    secret, wanted = password.encode(), octets(stored)
    # the system's crypt(3) first, which nothing need be loaded for: yescrypt, gost and DES it has alone
    crypt = _library()
    found = crypt(secret, wanted) if crypt is not None else None
    if found and not found.startswith(b"*"):
        return hmac.compare_digest(found, wanted)
    for prefix, name in _PASSLIB:
        if stored.startswith(prefix):
            import passlib.hash
            try:
                return bool(getattr(passlib.hash, name).verify(password, stored))
            except ValueError:
                return False
    return False


@cache
def _library() -> Callable[[bytes, bytes], bytes | None] | None:
    """crypt(3); None where it is not to be had."""
    import ctypes
    for name in LIBRARIES:
        try:
            crypt = ctypes.CDLL(name).crypt
        except (OSError, AttributeError):
            continue
        crypt.restype = ctypes.c_char_p
        crypt.argtypes = ctypes.c_char_p, ctypes.c_char_p
        return crypt       # type: ignore[no-any-return]
    return None


CRAM_KINDS = ("md5", "sha1", "sha256")


def cram_answer(kind: str, secret: str, challenge: bytes) -> str:
    """The hex digest that a client with the clear password sends."""
    return hmac.new(octets(secret), challenge, kind).hexdigest()


def cram_matches(kind: str, clear: str, states: str, challenge: bytes, digest: str) -> bool:
    """``kind``: "md5", "sha1" or "sha256"; ``clear`` or ``states`` (userdb's hmac field) is known."""
    if kind not in CRAM_KINDS:
        return False
    if clear:
        wanted = cram_answer(kind, clear, challenge)
    elif states:
        from courierpy.auth import hmacstate
        wanted = (hmacstate.digest(kind, states, challenge) or b"").hex()
    else:
        return False
    return hmac.compare_digest(wanted.encode(), digest.lower().encode())
