"""The row about sessions that share a process: connect, LOGIN, SELECT, LOGOUT, by one account and by many.

courierpy is started once more for each way to share (IMAP_REUSE), with login processes; the others serve the
same sessions as they always do.
"""
from __future__ import annotations

import time

from bench import procs
from bench.apart import sharing
from bench.client import now, sessions
from bench.doors import sessions_a_second
from bench.lab import TURNS
from bench.peers import PASSWORD, Courierpy
from bench.rows import one_session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.lab import At
    from bench.rows import Figures

REAPED = 0.3                       # seconds until what ended is reaped


def row_reuse(at: At) -> Figures:
    found = {}
    with sharing(at, "account") as apart:
        port = apart.port
        one = [one_session(at)]
        found["39a"] = _by_turns(at, port, one)
        found["39b"] = at.scale.sessions / sessions(port, one[0], at.scale.sessions, 16)
        before = procs.cpu(apart.roots())
        _by_turns(at, port, one)
        time.sleep(REAPED)
        found["39c"] = 1000 * (procs.cpu(apart.roots()) - before) / at.scale.sessions
        found["39e"] = _by_turns(at, port, _many(at))
    with sharing(at, "uid") as apart:
        found["39d"] = _by_turns(at, apart.port, _many(at))
    with sharing(at, "no") as apart:
        found["39f"] = _by_turns(at, apart.port, one)
    if isinstance(at.server, Courierpy):
        total = at.scale.sessions
        found["39a:limit"] = sessions_a_second(total, 1)
        found["39b:limit"] = sessions_a_second(total, 16)
        found["39f:limit"] = sessions_a_second(total, 1, forked=True)
    return found


def _many(at: At) -> list[list[bytes]]:
    """A session of each of the accounts that come by turns."""
    return [[b"LOGIN %s %s" % (at.account(f"turn{number}").encode(), PASSWORD.encode()), b"SELECT INBOX"]
            for number in range(TURNS)]


def _by_turns(at: At, port: int, each: list[list[bytes]]) -> float:
    """Sessions a second, one at a time; each account has been there before."""
    for commands in each:
        sessions(port, commands, 1, 1)
    start = now()
    for number in range(at.scale.sessions):
        sessions(port, each[number % len(each)], 1, 1)
    return at.scale.sessions / (now() - start)
