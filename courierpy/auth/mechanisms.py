"""Which SASL mechanisms there are: name -> the file and the function in it, with what that takes first.

A file is loaded when its mechanism is asked for.
"""
from __future__ import annotations

from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.auth.sasl import Context, Exchange
    from courierpy.system.settings import Settings

    Mechanism = Callable[[Context, bytes | None], Exchange]

BY_TOKEN = (b"OAUTHBEARER", b"XOAUTH2")
BINDS = b"-PLUS"               # ends the names of those that need a channel binding (RFC 5801 5)
TABLE: dict[bytes, tuple[str | bool, ...]] = {
    b"PLAIN": ("sasl", "plain"), b"LOGIN": ("sasl", "login"), b"EXTERNAL": ("sasl", "external"),
    b"CRAM-MD5": ("sasl", "cram", "md5"), b"CRAM-SHA1": ("sasl", "cram", "sha1"),
    b"CRAM-SHA256": ("sasl", "cram", "sha256"),
    b"OAUTHBEARER": ("oauth", "bearer"), b"XOAUTH2": ("oauth", "xoauth2"),
    b"SCRAM-SHA-1": ("scram", "exchange", "sha1", False),
    b"SCRAM-SHA-1-PLUS": ("scram", "exchange", "sha1", True),
    b"SCRAM-SHA-256": ("scram", "exchange", "sha256", False),
    b"SCRAM-SHA-256-PLUS": ("scram", "exchange", "sha256", True),
}


def usable(name: bytes, settings: Settings, tls: bool) -> bool:
    """Has the connection, of which the environment tells, what this mechanism needs?"""
    if name.endswith(BINDS):
        from courierpy.system import channelbinding
        return bool(channelbinding.known(settings.values))
    if name in BY_TOKEN:
        # TLS is a must (RFC 6750 5.3) but for a program of this machine, as a webmail
        return takes_tokens(settings) and (tls or is_here(settings.text("TCPREMOTEIP")))
    return tls or name != b"EXTERNAL"


def takes_tokens(settings: Settings) -> bool:
    """Is there anything to check access tokens of OAuth with?"""
    return bool(settings.text("OAUTH_KEYFILE") or settings.text("OAUTH_INTROSPECTION_URL"))


def is_here(address: str) -> bool:
    """Is it an address of the loopback interface?"""
    return address == "::1" or address.removeprefix("::ffff:").startswith("127.")


def find(name: bytes) -> Mechanism | None:
    """The mechanism of this name, in upper case; None for an unknown one."""
    if name not in TABLE:
        return None
    import importlib
    file, function, *first = TABLE[name]
    return partial(getattr(importlib.import_module(f"courierpy.auth.{file}"), str(function)), *first)
