"""The ways out of a command that are not OK.

A handler returns text (tagged OK) or raises one of these; anything else that
escapes is a bug of ours and is answered ``NO [SERVERBUG]``.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    Told = TypeVar("Told", bound=Exception)

KICKED = "Your session was ended by the administrator."


class Reply(Exception):
    """text (str, for the client) and code (bytes inside the brackets, or None)."""

    def __init__(self, text: str, code: bytes | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class Bad(Reply):
    """Syntax or wrong state: tagged BAD.  Nothing has happened."""


class UidRequired(Bad):
    """The client enabled that nothing is told of sequence numbers, and used one.  RFC 9586."""

    def __init__(self) -> None:
        super().__init__("There are no sequence numbers here, name UIDs.", b"UIDREQUIRED")


class No(Reply):
    """Could not or may not: tagged NO.  Nothing, or all, has happened."""


class Bye(Reply):
    """The session cannot go on: untagged BYE, then close."""

    def __init__(self, text: str, code: bytes | None = None, status: int = 0) -> None:
        super().__init__(text, code)
        self.status = status


class Slept(BaseException):
    """The client is the keeper's now, and another process goes on: nothing here may answer it."""


class TurnedAway(Bye):
    """The login was right, and there is no session: it is answered NO, and then the connection ends."""


def anew(reply: Told) -> Told:
    """Another one that says the same, to be raised: one that was raised keeps all that was at work then, and
    as a constant it would keep it for ever, a little more each time."""
    found = type(reply).__new__(type(reply), *reply.args)
    found.__dict__.update(reply.__dict__)
    return found


def too_many(most: int) -> str:
    """What a user is told who has so many sessions."""
    return f"You have {most} sessions, and may have no more: end another one."
