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
    from collections.abc import Callable, Generator, Sequence
    from typing import Any, Protocol, TypeVar

    Found = TypeVar("Found")
    Steps = Generator[Any, Any, Found]

    class Client(Protocol):
        """Where a dialogue writes to."""

        def write(self, data: bytes) -> None: ...

    class Speech(Protocol):
        """A login at another host.  ``sent``: the password is on its way."""

        sent: bool

        def steps(self) -> Steps[Accepted]: ...

    # a login there, by this user and password; where what is said goes
    Speak = Callable[[str, str, Client], Speech]


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


class Forward:
    """The mail of the account ``user`` is at another host: the client logs in there, by what it said here.
    ``protocol``: IMAP or POP3.  ``hosts``: each with its port or without, in the order in which they are
    asked.  ``speak``: makes the dialogue with one of them.  ``account``: as it was found here.
    Answered by Accepted, or by Unreachable or
    Rejected; by No or Bye, where the administrator lets nobody in, or not this one."""

    __slots__ = ("account", "hosts", "protocol", "speak", "user")

    def __init__(self, protocol: str, hosts: Sequence[str], speak: Callable[[Client], Speech],
                 user: str = "", account: object = None) -> None:
        self.protocol = protocol
        self.user = user
        self.account = account
        self.hosts = hosts
        self.speak = speak


class Accepted:
    """The login at another host.  ``rest``: what was said there behind it; ``capabilities``: what that host
    says that it can."""

    __slots__ = ("capabilities", "rest")

    def __init__(self, rest: bytes, capabilities: bytes = b"") -> None:
        self.rest = rest
        self.capabilities = capabilities


class Unreachable(Exception):
    """No host takes the login now; str() is for the log.  ``code``: that the client is told."""

    def __init__(self, why: str, code: bytes = b"") -> None:
        super().__init__(why)
        self.code = code


class NoPassword(Exception):
    """The account's mail is at another host, which wants a password that the client has not said."""


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
