"""``courierpy-metadata``: annotations of a mailbox or of an account as bytes.  RFC 5464.

The first line is the version.  Then for each entry a line with the octets of its value and its
name, the value, and a line feed:

    courierpy-metadata 1
    15 /private/comment
    My own comment!
"""
from __future__ import annotations

from courierpy.model.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD = b"courierpy-metadata 1\n"
MAX_VALUE = 1 << 40                # octets


class Damaged(Exception):
    """``entries``: what could be read before it."""

    def __init__(self, entries: dict[bytes, bytes]) -> None:
        super().__init__("the file is damaged")
        self.entries = entries


def parse(data: bytes) -> dict[bytes, bytes]:
    """Name -> value, in the order of the file.  Raises Damaged."""
    found: dict[bytes, bytes] = {}
    if not data.startswith(HEAD):
        raise Damaged(found)
    at = len(HEAD)
    while at < len(data):
        end = data.find(b"\n", at)
        size, blank, name = data[at:end].partition(b" ") if end >= 0 else (b"", b"", b"")
        octets = decimal(size.decode("ascii", "replace"), MAX_VALUE)
        at = end + 1
        if octets is None or not name or data[at + octets:at + octets + 1] != b"\n":
            raise Damaged(found)
        found[name] = data[at:at + octets]
        at += octets + 1
    return found


def render(entries: Mapping[bytes, bytes]) -> bytes:
    """The file.  Names hold no line feed."""
    return HEAD + b"".join(b"%d %s\n%s\n" % (len(value), name, value) for name, value in entries.items())
