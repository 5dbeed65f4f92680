"""INTERNALDATE of many messages as it stands in the reply: by their times once, then from the index.

It is kept as it was told first in this time zone: the same moment, should the zone get other rules.
"""
from __future__ import annotations

import time
from array import array

from courierpy.imap.attributes import DATE, FEW, put_together
from courierpy.imap.grammar.dates import internaldates
from courierpy.maildir.index.segments import END, NUMBER_OCTETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.attributes import Attributes
    from courierpy.maildir.index.segments import Texts

TOLD = "internaldate."             # how the kinds begin


def kind() -> str:
    """The kind of this process's time zone: by how far it is from UTC, in winter and in summer."""
    return f"{TOLD}{-time.timezone}.{-time.altzone}"


def wanted(attributes: Attributes, count: int) -> str | None:
    """The times, where the index does not have so many of them."""
    return None if attributes.folder.cache.number(kind()) >= count else DATE


def told(attributes: Attributes, uids: array[int],
         times: list[bytes | None] | bytes = b"") -> list[bytes | None] | Texts:
    """Those of these messages, which ascend, with END behind each; None for a message that vanished.
    ``times``: their values of DATE, or b""."""
    if len(uids) <= FEW:
        return _spelled(times or attributes.values(DATE, uids))
    cache = attributes.folder.cache
    texts = cache.texts(kind(), uids)
    if texts is not None and len(texts) == len(uids):
        return texts
    found = cache.values(kind(), uids)
    if None in found:
        before, found = found, _spelled(times or attributes.values(DATE, uids))
        for uid, old, text, stays in zip(uids, before, found, cache.values(DATE, uids), strict=True):
            if old is None and text is not None and stays is not None:
                cache.add(kind(), uid, text)
    return put_together(found, uids)


def _spelled(times: list[bytes | None] | bytes) -> list[bytes | None]:
    """Of values of DATE; None for a message that vanished."""
    if isinstance(times, bytes):
        return [text + END for text in internaldates(array("d", times))]
    octets = b"".join([when or bytes(NUMBER_OCTETS) for when in times])
    return [text + END if when is not None else None
            for when, text in zip(times, internaldates(array("d", octets)), strict=True)]
