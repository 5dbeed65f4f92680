"""Access tokens of OAuth 2.0: whose is one, if it is good?  Asked in the password helper.

A JWT (RFC 7519) is checked by the keys of ``OAUTH_KEYFILE``, any other token, or all without that
file, by asking the authorization server (RFC 7662) at ``OAUTH_INTROSPECTION_URL``.  What is said of a
token is taken by its claims: who issued it (``OAUTH_ISSUER``), for whom (``OAUTH_AUDIENCE``), when
it is good, what for (``OAUTH_SCOPE``); ``OAUTH_USER_CLAIM`` is the user.

The reasons of a refusal are for the log; the token itself is in none of them.
"""
from __future__ import annotations

import os
import stat
import time

from courierpy.auth import Rejected, Request, TemporaryFailure, mechanisms, with_domain
from courierpy.system import log
from courierpy.system.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from joserfc.jwk import Key

QUEUE = "oauth"                # of the helper, where these requests wait
MAX_FILE_OCTETS = 1024 * 1024
NEVER = ("none",)              # RFC 8725 3.2: an algorithm that nobody signs by
KEY_TYPES = ("RSA", "EC", "OKP")


class Refused(Rejected):
    """The token is no good; str() says why, for the log."""


def user_of(request: Request) -> str:
    """Whose token it is, who must be ``request.user`` where that is not "".  The token is
    ``request.password``.  Raises Refused or TemporaryFailure."""
    settings = Settings(request.environ)
    claims = _claims(request.password, settings)
    check(claims, settings, time.time())
    name = claims.get(settings.text("OAUTH_USER_CLAIM"))
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise Refused(f"it has no claim {settings.text('OAUTH_USER_CLAIM')} that names a user")
    if settings.text("OAUTH_USER_CLAIM") == "email" and claims.get("email_verified", True) is not True:
        raise Refused(f"nobody has verified that {log.quoted(name)} is its user's address")
    user = with_domain(name, request.environ)
    if request.user and with_domain(request.user, request.environ) != user:
        raise Refused(f"it is {log.quoted(name)}'s")
    return user


def _claims(token: str, settings: Settings) -> dict[str, Any]:
    path = settings.text("OAUTH_KEYFILE")
    if path and (token.count(".") == 2 or not settings.text("OAUTH_INTROSPECTION_URL")):
        return _signed(token, keys(path), settings)
    if not mechanisms.takes_tokens(settings):
        raise TemporaryFailure("neither OAUTH_KEYFILE nor OAUTH_INTROSPECTION_URL is set")
    from courierpy.auth import introspection
    claims = introspection.ask(token, settings)
    if claims.get("active") is not True:
        raise Refused("the authorization server says that it is not active")
    return claims


# -- what is said of a token

def check(claims: dict[str, Any], settings: Settings, now: float) -> None:
    """Raises Refused for what is not meant for us, or not now.  RFC 7519 4.1, RFC 7662 2.2.

    ``now``: seconds since 1970.  A JWT must have an end; a server that is asked knows its own."""
    leeway = settings.number("OAUTH_LEEWAY")
    issuers, audiences = settings.text("OAUTH_ISSUER").split(), settings.text("OAUTH_AUDIENCE").split()
    if issuers and claims.get("iss") not in issuers:
        raise Refused(f"its issuer is {_word(claims.get('iss'))}")
    meant = claims.get("aud")
    meant = [meant] if isinstance(meant, str) else meant if isinstance(meant, list) else []
    if (audiences or meant) and not any(word in audiences for word in meant):
        raise Refused(f"it is for {' '.join(map(_word, meant)) or 'nobody in particular'}")
    end = _seconds(claims, "exp")
    if end is None and "active" not in claims:
        raise Refused("it has no end (exp)")
    if end is not None and now >= end + leeway:
        raise Refused(f"it is over since {int(now - end)} seconds")
    for claim in ("nbf", "iat"):
        begin = _seconds(claims, claim)
        if begin is not None and now < begin - leeway:
            raise Refused(f"it begins in {int(begin - now)} seconds ({claim})")
    scope = claims.get("scope", claims.get("scp"))
    granted = scope.split() if isinstance(scope, str) else scope if isinstance(scope, list) else []
    missing = [word for word in settings.text("OAUTH_SCOPE").split() if word not in granted]
    if missing:
        raise Refused(f"it lacks the scope {' '.join(missing)}")


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e15:
        raise Refused(f"its {name} is no time")
    return value


def _word(value: object) -> str:
    return log.quoted(value) if isinstance(value, str) else "not named"


# -- signed tokens

def algorithms(settings: Settings) -> list[str]:
    """Those of OAUTH_ALGORITHMS that sign."""
    return [word for word in settings.text("OAUTH_ALGORITHMS").split() if word.lower() not in NEVER]


def _signed(token: str, known: list[Key], settings: Settings) -> dict[str, Any]:
    """The claims of a JWT that one of the keys has signed.  RFC 7515 5.2, RFC 8725."""
    import warnings

    from joserfc.errors import JoseError, SecurityWarning
    from joserfc.jws import JWSRegistry, extract_compact
    from joserfc.jwt import decode
    allowed = algorithms(settings)
    registry = JWSRegistry(algorithms=allowed, strict_check_header=False)
    registry.max_header_length = 16384             # x5c holds certificates
    if not allowed:
        raise TemporaryFailure("OAUTH_ALGORITHMS names no algorithm that signs")
    # of algorithms that get new names (EdDSA, RFC 9864): the setting says what is good
    warnings.simplefilter("ignore", SecurityWarning)
    try:
        header = extract_compact(token.encode(), registry=registry).headers()
        if not isinstance(header, dict):
            raise TypeError            # text and arrays pass, where "alg" is in them
        name = header.get("alg")
        if name not in allowed:
            raise Refused(f"it is signed by {_word(name)}, and OAUTH_ALGORITHMS has not that")
        fitting = [key for key in known if _fits(key, str(name), header.get("kid"))]
        if not fitting:
            raise Refused(f"there is no key for it: kid {_word(header.get('kid'))}, {name}")
        for key in fitting:
            try:
                return dict(decode(token, key, registry=registry).claims)
            except JoseError as error:
                if error.error != "bad_signature":
                    raise
    except JoseError as error:
        raise Refused(f"it is not sound: {error.error}") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:      # the last of JSON nested too deep
        raise Refused(f"it is no JWT: {type(error).__name__}") from None
    raise Refused("its signature is wrong")


def _fits(key: Key, algorithm: str, kid: object) -> bool:
    """May this key have signed by ``algorithm``?  A public key is none of HMAC: RFC 8725 2.1."""
    from joserfc.errors import JoseError
    from joserfc.jws import JWSRegistry
    if kid is not None and key.get("kid") not in (None, kid):
        return False
    try:
        key.check_use("sig")
        key.check_alg(algorithm)
        key.check_key_op("verify")
        JWSRegistry.algorithms[algorithm].check_key(key)
    except (JoseError, KeyError):
        return False
    return True


_read: dict[str, tuple[tuple[int, ...], list[Key]]] = {}   # path -> (what stat said, its keys)


def keys(path: str) -> list[Key]:
    """The keys of a file: a JWK set (RFC 7517), or PEM with public keys or certificates, one or more.

    Raises TemporaryFailure."""
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            stamp = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
            known = _read.get(path)
            # a file of the last two seconds may still change within the clock's grain
            if known is not None and known[0] == stamp and time.time() - found.st_ctime > 2:
                return known[1]
            text = file.read(MAX_FILE_OCTETS)
    except OSError as error:
        raise TemporaryFailure(f"OAUTH_KEYFILE: {path}: {error.strerror}") from None
    loaded = _load(text, path)
    if any(key.key_type == "oct" for key in loaded) and stat.S_IMODE(found.st_mode) & 0o077:
        raise TemporaryFailure(f"{path}: others can read or write its secret keys, mode must be 0600")
    _read[path] = (stamp, loaded)
    return loaded


def _load(text: bytes, path: str) -> list[Key]:
    import json

    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet
    try:
        if b"-----BEGIN" in text:
            return [_of_pem(block) for block in _blocks(text)]
        value = json.loads(text)
        return list(KeySet.import_key_set(value if "keys" in value else {"keys": [value]}))
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise TemporaryFailure(f"OAUTH_KEYFILE: {path}: neither a JWK set nor public keys in PEM: "
                               f"{type(error).__name__}: {error}") from None


def _blocks(text: bytes) -> list[bytes]:
    import re
    return [found[0] for found in re.finditer(rb"-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----", text)]


def _of_pem(block: bytes) -> Key:
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry
    for kind in KEY_TYPES:
        try:
            return JWKRegistry.import_key(block, kind)
        except (JoseError, ValueError, TypeError):
            continue
    raise ValueError("a block that is no RSA, EC or EdDSA key")
