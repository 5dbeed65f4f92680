"""Who is kept out, by name or by address: the file ``denied`` below CONFIGDIRECTORY.

A line for each: whom, services, the word that is told to them; with tabs between.  Whom: the name of an
account, an address, or a network as 192.0.2.0/24.  Services: imap, pop3, lmtp, with commas between; ``*`` at
the end of one stands for the rest, as Cyrus's cyr_deny has it.
"""
from __future__ import annotations

import os

from courierpy.system import log
from courierpy.system.presence import MOST_SHOWN, shown
from courierpy.system.regular import is_there, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.system.settings import Settings

FILE = "denied"                # below CONFIGDIRECTORY
NO_WORD = "You cannot log in now; ask the administrator of your mail."


class Denial:
    """A line of the file."""

    __slots__ = ("services", "text", "whom")

    def __init__(self, whom: str, services: str, text: str) -> None:
        self.whom = whom
        self.services = services
        self.text = text

    def line(self) -> str:
        return f"{self.whom}\t{self.services}\t{self.text}\n"

    def is_of(self, service: str) -> bool:
        return any(service == word or word.endswith("*") and service.startswith(word[:-1])
                   for word in self.services.lower().split(","))

    def hits(self, user: str, ip: str) -> bool:
        """Is it of this user, or of this address?  "": nobody's."""
        return bool(user) and self.whom == user \
            or bool(ip) and (self.whom == ip or "/" in self.whom and within(ip, self.whom))


def word_for(settings: Settings, service: str, user: str, ip: str) -> str:
    """What somebody who is denied is told; "" for all others.  ``service``: imap, pop3 or lmtp."""
    base = settings.text("CONFIGDIRECTORY")
    path = os.path.join(base, FILE)
    if not base or not is_there(path):
        return ""
    try:
        data = whole(path)
    except OSError as error:
        log.err(f"{path}: {error.strerror}: nobody is denied")
        return ""
    ip = ip.removeprefix("::ffff:")
    # a list may be long, and few lines have to be taken apart
    likely = [word.encode("utf-8", "surrogateescape") for word in (user, ip) if word]
    for line in data.splitlines():
        whom = line.partition(b"\t")[0]
        if whom in likely or ip and b"/" in whom:
            found = parsed(line)
            if found is not None and found.is_of(service) and found.hits(user, ip):
                return shown(found.text)[:MOST_SHOWN] or NO_WORD
    return ""


def all_of(base: str) -> list[Denial]:
    """The lines of the file below CONFIGDIRECTORY ``base``; none where there is none.  OSError."""
    try:
        data = whole(os.path.join(base, FILE))
    except FileNotFoundError:
        return []
    return [found for line in data.splitlines() if (found := parsed(line)) is not None]


def parsed(line: bytes) -> Denial | None:
    """None for what is no such line."""
    words = line.decode("utf-8", "surrogateescape").split("\t", 2)
    return Denial(*words) if len(words) == 3 and words[0] and words[1] else None


def network_of(word: str) -> str:
    """An address or a network as the file has it; "" for what is none."""
    import ipaddress
    try:
        found = ipaddress.ip_network(word.removeprefix("::ffff:"), strict=False)
    except ValueError:
        return ""
    return str(found) if "/" in word else str(found.network_address)


def within(ip: str, network: str) -> bool:
    """Is this address of that network?"""
    import ipaddress
    try:
        return ipaddress.ip_address(ip) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
