"""IMAP URLs of messages and their parts, as one session names them to itself.  RFC 5092, RFC 4469 3."""
from __future__ import annotations

import re

from courierpy.imap.grammar import fetchitems
from courierpy.imap.grammar.args import Args
from courierpy.imap.grammar.framer import Frame
from courierpy.model.replies import Bad
from courierpy.model.section import Section

_NUMBER = rb"[1-9][0-9]{0,9}"
# relative, that is without a scheme and a server; the base is the selected mailbox
_URL = re.compile(rb"/?(?P<mailbox>[^;?#]*?)(?:;UIDVALIDITY=(?P<uidvalidity>" + _NUMBER + rb"))?/?"
                  rb";UID=(?P<uid>" + _NUMBER + rb")"
                  rb"(?:/?;SECTION=(?P<section>[^;]+?))?"
                  rb"(?:/?;PARTIAL=(?P<start>[0-9]{1,19})(?:\.(?P<count>" + _NUMBER + rb"))?)?/?", re.I)
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")


class MessageUrl:
    """A URL of a message, or of a part of one.

    ``mailbox``: "" for the selected one.  ``uidvalidity``: None where it is not named.  ``partial``:
    (first octet, how many or None for all behind it), None for all."""

    __slots__ = ("mailbox", "partial", "section", "uid", "uidvalidity")

    def __init__(self, url: bytes) -> None:
        """Raises ValueError for what names no message of this account."""
        match = _URL.fullmatch(url)
        if match is None:
            raise ValueError("no URL of a message")
        self.mailbox = _plain(match["mailbox"]).decode()
        self.uidvalidity = int(match["uidvalidity"]) if match["uidvalidity"] else None
        self.uid = int(match["uid"])
        self.section = _section(_plain(match["section"] or b""))
        self.partial: tuple[int, int | None] | None = None
        if match["start"]:
            self.partial = int(match["start"]), int(match["count"]) if match["count"] else None


def _plain(text: bytes) -> bytes:
    """Without percent signs.  RFC 3986 2.1."""
    if b"%" in _PERCENT.sub(b"", text):
        raise ValueError("a percent sign that begins no octet")
    return _PERCENT.sub(lambda match: bytes([int(match[1], 16)]), text)


def _section(text: bytes) -> Section:
    """As it stands in BODY[ ].  Raises ValueError."""
    if b"\r" in text or b"\n" in text or b"\0" in text:
        raise ValueError("no section")
    try:
        args = Args(Frame([b"a BODY [" + text + b"]"], []))
        item = fetchitems.section(args, b"BODY")
        args.end()
    except Bad:
        raise ValueError("no section") from None
    found: Section = item.value[0]
    return found
