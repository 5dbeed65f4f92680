"""What notifyd is told of a message that was delivered: made as its user, sent by who serves the MTA.

The user's process reads what the user has set (METADATA) and takes from the message what the settings allow;
whose mail it is says the other one, which knows.
"""
from __future__ import annotations

import time

from courierpy.lmtp.content import HEADER
from courierpy.maildir import annotation
from courierpy.maildir.errors import StoreError
from courierpy.message import decode, headers
from courierpy.newmail import event, teller
from courierpy.newmail.event import Event
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.store import Store
    from courierpy.system.settings import Settings

# entry of a mailbox, RFC 5464: the token of a device; several devices have entries below it
ENTRY = b"/private/devicetoken"
_SOMEBODY = "-"                        # until it is said whose mail it is


def of(store: Store, name: str, settings: Settings, head: bytes, base: str) -> bytes:
    """An event of the message that is in the mailbox now, without its user; b"" where nobody wants to hear.

    ``head``: its first octets; ``base``: its name there."""
    if not settings.text("NOTIFYD_SOCKET"):
        return b""
    wanted = matches(name, settings.text("NOTIFYD_MAILBOXES"))
    tokens = _tokens(store, name) if settings.text("NOTIFYD_TOKEN_URL") else []
    if not wanted and not tokens:
        return b""
    header = headers.block(head, 0, headers.header_end(head, 0, min(len(head), HEADER)))
    about = {}
    for word in event.fields(settings):
        if word == event.SIZE:
            about[word] = base.rpartition(",S=")[2]
        elif word in event.FIELDS:
            for value in headers.values(header, event.FIELDS[word])[:1]:
                about[word] = event.plain(decode.words(value).strip())
    ours = bool(headers.values(header, event.MARK.lower()))
    try:
        return Event(_SOMEBODY, name, int(time.time()), wanted=wanted, ours=ours, about=about,
                     tokens=tokens).encode()
    except ValueError as error:
        log.err(f"nobody is told of new mail: {error}")
        return b""


def matches(name: str, patterns: str) -> bool:
    """Is the mailbox one of NOTIFYD_MAILBOXES: names with * for any characters, and commas between?"""
    from fnmatch import fnmatchcase
    for pattern in filter(None, map(str.strip, patterns.split(","))):
        # only * is special: a name may have brackets
        if fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]")):
            return True
    return False


def _tokens(store: Store, name: str) -> list[str]:
    try:
        found = annotation.read(store.path_of(name))
    except StoreError as error:
        log.warn(f"devices are not told of new mail: {error}")
        return []
    values = [value.decode("latin-1") for entry, value in found.items()
              if entry.lower() == ENTRY or entry.lower().startswith(ENTRY + b"/")]
    return list(filter(event.is_token, dict.fromkeys(values)))[:event.MAX_TOKENS]


def tell(data: bytes, user: str, settings: Settings) -> None:
    """Send the event that ``of`` made.  It fails nobody."""
    try:
        found = Event.of(data)
        found.user = user
        octets = found.encode()
        if len(octets) > event.MAX_OCTETS:         # of characters that JSON writes as six octets and more
            found.about = {}
            octets = found.encode()
        teller.tell(settings.text("NOTIFYD_SOCKET"), octets)
    except ValueError as error:
        log.err(f"nobody is told of new mail: {error}")
