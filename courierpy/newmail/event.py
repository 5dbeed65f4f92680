"""What is told of a message that came: one value, and its octets.

Nothing of the message is in it but what NOTIFYD_FIELDS allows: whoever hears of new mail need not know more
than that there is some.
"""
from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from courierpy.system.settings import Settings

# word of NOTIFYD_FIELDS -> field of the header; size is none
FIELDS = {"from": b"from", "subject": b"subject", "date": b"date", "message-id": b"message-id"}
SIZE = "size"
MARK = b"X-Courierpy-Notification"     # field of a message of ours: no message is sent for one
MAX_OCTETS = 65536             # of an event
AT_MOST = 1 << 33              # seconds since 1970 of a moment that can be written as a date
MAX_WORD = 1024                # characters of a user, of a mailbox
MAX_FIELD = 400                # characters of a field
MAX_TOKENS = 10                # of a mailbox
MAX_TOKEN_OCTETS = 4096


class Event:
    """A message that came, as notifyd hears of it.

    ``ident``: another one for each message and recipient.  ``at``: when it came, seconds since 1970.
    ``wanted``: is the mailbox one of NOTIFYD_MAILBOXES?  ``ours``: the message is a notification itself.
    ``about``: word of NOTIFYD_FIELDS -> text.  ``tokens``: of devices that want to hear."""

    __slots__ = ("about", "at", "ident", "mailbox", "ours", "tokens", "user", "wanted")

    def __init__(self, user: str, mailbox: str, at: int, *, ident: str = "", wanted: bool = True,
                 ours: bool = False, about: Mapping[str, str] | None = None,
                 tokens: Iterable[str] = ()) -> None:
        self.user = user
        self.mailbox = mailbox
        self.at = at
        self.ident = ident or os.urandom(12).hex()
        self.wanted = wanted
        self.ours = ours
        self.about = dict(about or {})
        self.tokens = tuple(tokens)

    def encode(self) -> bytes:
        """One JSON object in ASCII."""
        return json.dumps({name: getattr(self, name) for name in sorted(self.__slots__)}).encode()

    @classmethod
    def of(cls, data: bytes) -> Event:
        """Raises ValueError for what is none.  Texts lose what could begin another line."""
        if len(data) > MAX_OCTETS:
            raise ValueError("more octets than an event has")
        try:
            found = json.loads(data)
        except RecursionError:
            raise ValueError("no event") from None
        if not isinstance(found, dict):
            raise ValueError("no event")
        about, tokens, at = found.get("about"), found.get("tokens"), found.get("at")
        if not isinstance(about, dict) or not isinstance(tokens, list) or type(at) is not int \
                or not 0 <= at < AT_MOST:
            raise ValueError("no event")
        ident = _text(found.get("ident"), 64)
        if not ident.isascii() or not ident.isalnum():
            raise ValueError("an event without a word that tells it from others")
        known = {name: _text(value, MAX_FIELD) for name, value in about.items() if name in (*FIELDS, SIZE)}
        user, mailbox = (_text(found.get(name), MAX_WORD) for name in ("user", "mailbox"))
        if not user or not mailbox:
            raise ValueError("an event of nobody")
        return cls(user, mailbox, at, ident=ident, wanted=found.get("wanted") is True,
                   ours=found.get("ours") is True, about=known,
                   tokens=[token for token in tokens if is_token(token)][:MAX_TOKENS])

    def told(self, fields: Iterable[str]) -> dict[str, Any]:
        """What a program or a URL hears of it.  ``fields``: of NOTIFYD_FIELDS."""
        return {"event": "newmail", "id": self.ident, "user": self.user, "mailbox": self.mailbox,
                "time": self.at, **{name: self.about[name] for name in fields if name in self.about}}


def fields(settings: Settings) -> list[str]:
    """What may be told of a message."""
    return [word.lower() for word in settings.words("NOTIFYD_FIELDS")]


def _text(value: object, most: int) -> str:
    """Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("an event without all its words")
    return plain(value, most)


def plain(text: str, most: int = MAX_FIELD) -> str:
    """In one line of characters that are shown."""
    return "".join(char if char.isprintable() else " " for char in text)[:most]


def is_token(value: object) -> bool:
    """Is it what a device says of itself: characters of ASCII without blanks?"""
    return isinstance(value, str) and 0 < len(value) <= MAX_TOKEN_OCTETS and value.isascii() \
        and value.isprintable() and " " not in value
