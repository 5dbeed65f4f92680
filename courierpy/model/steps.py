"""What a dialogue before the login asks of whoever drives it, whatever the protocol.

The dialogue is a generator: it reads no clock but to count, waits for nothing, and touches neither
client nor password modules itself.  It yields a step, and is sent the answer, or an exception is
thrown into it.  So one dialogue serves a process that has one client and may wait, and one that
has hundreds and may not.  Besides the steps here a dialogue may yield a ``Request`` for the
password modules, which an ``Account`` answers (see auth/__init__.py).
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, TypeVar

    Found = TypeVar("Found")
    Steps = Generator[Any, Any, Found]


class Read:
    """What was written goes out; then some input of the client, within so many ``seconds``.  Answered by
    octets, b"" at the end of them; or by TimedOut or Gone."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds


class Look:
    """Can a session of this account begin?  Answered by nothing, or by Unservable or TemporaryFailure."""

    __slots__ = ("account",)

    def __init__(self, account: object) -> None:
        self.account = account


class Wait:
    """Until this moment on the monotonic clock.  Answered by nothing."""

    __slots__ = ("until",)

    def __init__(self, until: float) -> None:
        self.until = until


class Secure:
    """What was written goes out, and from here on all goes by TLS.  Answered by nothing, or by Gone."""

    __slots__ = ()


class Elsewhere(Exception):
    """The password is right, and the account's mail is at another host.  ``host``: with a port or
    without; ``user``: its address."""

    def __init__(self, host: str, user: str) -> None:
        self.host = host
        self.user = user


class Refused(Exception):
    """Nobody comes in; the moment to say so is now.  ``again``: the client may try again."""

    def __init__(self, again: bool) -> None:
        self.again = again
