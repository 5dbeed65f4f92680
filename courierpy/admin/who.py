"""courierpy who [WORD...]: the sessions that are on, those that sleep too.

A WORD is a user, an address, a network or a pid; without one all are told.  A session that sleeps has no
process.
"""
from __future__ import annotations

import json
import os
import time

from courierpy.admin import online
from courierpy.system import presence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.system.presence import Seen

HEAD = ("USER", "ADDRESS", "PROTOCOL", "STATE", "SINCE", "PID", "MAILBOX")


def main(words: list[str]) -> int:
    parser = online.parser("who", __doc__)
    parser.add_argument("-J", "--json", action="store_true", help="an object of JSON for each, a line")
    parser.add_argument("words", metavar="WORD", nargs="*", help="a user, an address, a network, a pid")
    options = parser.parse_args(words)
    found = online.sessions(online.settings(options.files))
    if options.words:
        found = online.chosen(found, options.words)
    if options.json:
        for each in found:
            print(json.dumps(_values(each)))
        return os.EX_OK
    rows = [HEAD, *map(row, found)] if found else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for each_row in rows:
        print("  ".join(map(str.ljust, each_row, widths)).rstrip())
    return os.EX_OK


def _values(each: Seen) -> dict[str, object]:
    return {"user": each.user, "ip": each.ip, "port": each.port, "protocol": each.protocol,
            "mailbox": each.mailbox or None, "state": each.state, "since": each.since,
            "pid": each.pid if each.has_process else None, "uid": each.uid}


def row(each: Seen) -> tuple[str, ...]:
    """What is told of a session, in the order of HEAD."""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.since))
    pid = str(each.pid) if each.has_process else "-"
    words = each.user, each.ip, each.protocol, each.state, since, pid, each.mailbox
    return tuple(presence.shown(word) or "-" for word in words)
