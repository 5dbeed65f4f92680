"""Rows about extensions, on the servers that tell them."""
from __future__ import annotations

import statistics

from bench.client import AGAIN, timed
from bench.rows import cold, fetched, warm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.lab import At
    from bench.rows import Figures

PAGE = 50                              # messages of a window


def _told(at: At, account: str, word: bytes) -> bool:
    client = at.login(account)
    words = client.do(b"CAPABILITY").split()
    client.logout()
    return word in words


def row_list_status(at: At) -> Figures:
    """The counts of all folders by one command, as a client asks every few minutes."""
    if not _told(at, "many", b"LIST-STATUS"):
        return {}
    at.settle("many")
    command = b'LIST "" "*" RETURN (STATUS (MESSAGES UIDNEXT UIDVALIDITY UNSEEN))'
    client = at.login("many")
    client.drain(command)
    client.logout()
    client = at.login("many")
    times = []
    for _ in range(3 * AGAIN):
        seconds, reply = timed(client, command)
        times.append(seconds)
    client.logout()
    if reply.count(b"* STATUS") < at.scale.many:
        raise ValueError(f"row 26: {at.server.name} told {reply.count(b'* STATUS')} folders")
    return {"26": 1000 * statistics.median(times)}


def row_preview(at: At) -> Figures:
    if not _told(at, "mail", b"PREVIEW"):
        return {}
    command = b"FETCH 1:* (PREVIEW)"
    found = {}
    for key, (seconds, reply) in (("27a", cold(at, "mail", command)), ("27b", warm(at, "mail", command))):
        fetched(at, key, reply, at.scale.messages)
        found[key] = at.scale.messages / seconds
    return found


def row_windows(at: At) -> Figures:
    """How many messages, and the first page of them, of a search and of a search in an order."""
    if not _told(at, "big", b"ESEARCH") or not _told(at, "big", b"CONTEXT=SEARCH"):
        return {}
    page = b"1:%d" % PAGE
    found = {}
    for key, command in (
            ("28a", b"UID SEARCH RETURN (COUNT MIN MAX) UNDELETED"),
            ("28b", b"UID SEARCH RETURN (PARTIAL %s) UNDELETED" % page),
            ("28c", b"UID SEARCH RETURN (COUNT) FLAGGED UNSEEN SINCE 1-Jan-2024")):
        at.settle("big")
        client = at.opened("big")
        client.drain(command)
        times = []
        for _ in range(3 * AGAIN):
            seconds, reply = timed(client, command)
            times.append(seconds)
        client.logout()
        if b"* ESEARCH (TAG " not in reply:
            raise ValueError(f"row {key}: {at.server.name} said {reply[:80]!r}")
        at.note(key, b" ".join(sorted(reply.partition(b") UID")[2].partition(b"\r\n")[0].split())))
        found[key] = 1000 * statistics.median(times)
    return found
