"""Which SASL mechanisms there are: name -> the file and the function in it, with what that takes first.

A file is loaded when its mechanism is asked for.
"""
from __future__ import annotations

from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.auth.sasl import Context, Exchange

    Mechanism = Callable[[Context, bytes | None], Exchange]

BINDS = b"-PLUS"               # ends the names of those that need a channel binding (RFC 5801 5)
TABLE: dict[bytes, tuple[str | bool, ...]] = {
    b"PLAIN": ("sasl", "plain"), b"LOGIN": ("sasl", "login"), b"EXTERNAL": ("sasl", "external"),
    b"CRAM-MD5": ("sasl", "cram", "md5"), b"CRAM-SHA1": ("sasl", "cram", "sha1"),
    b"CRAM-SHA256": ("sasl", "cram", "sha256"),
    b"SCRAM-SHA-1": ("scram", "exchange", "sha1", False),
    b"SCRAM-SHA-1-PLUS": ("scram", "exchange", "sha1", True),
    b"SCRAM-SHA-256": ("scram", "exchange", "sha256", False),
    b"SCRAM-SHA-256-PLUS": ("scram", "exchange", "sha256", True),
}


def find(name: bytes) -> Mechanism | None:
    """The mechanism of this name, in upper case; None for an unknown one."""
    if name not in TABLE:
        return None
    import importlib
    file, function, *first = TABLE[name]
    return partial(getattr(importlib.import_module(f"courierpy.auth.{file}"), str(function)), *first)
