"""The row about sessions that share a process: connect, LOGIN, SELECT, LOGOUT, by one account and by many.

courierpy is started once more for each way to share (IMAP_REUSE), with login processes; the others serve the
same sessions as they always do.
"""
from __future__ import annotations

import os
import time
from contextlib import contextmanager

from bench import procs
from bench.client import Client, sessions
from bench.lab import TURNS
from bench.peers import PASSWORD, START, Courierpy, Missing, free_port
from bench.rows import now, one_session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.lab import At
    from bench.rows import Figures

REAPED = 0.3                       # seconds until what ended is reaped


def row_reuse(at: At) -> Figures:
    found = {}
    with _sharing(at, "account") as (port, first):
        one = [one_session(at)]
        found["39a"] = _by_turns(at, port, one)
        found["39b"] = at.scale.sessions / sessions(port, one[0], at.scale.sessions, 16)
        before = procs.cpu(_roots(at, first))
        _by_turns(at, port, one)
        time.sleep(REAPED)
        found["39c"] = 1000 * (procs.cpu(_roots(at, first)) - before) / at.scale.sessions
        found["39e"] = _by_turns(at, port, _many(at))
    with _sharing(at, "uid") as (port, _):
        found["39d"] = _by_turns(at, port, _many(at))
    with _sharing(at, "no") as (port, _):
        found["39f"] = _by_turns(at, port, one)
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


def _roots(at: At, first: int) -> list[int]:
    return [process.pid for process in at.server.started[first:]]


@contextmanager
def _sharing(at: At, reuse: str) -> Iterator[tuple[int, int]]:
    """The port of a server whose sessions share processes so, and the first of its processes in ``started``;
    of one that knows nothing of it, what it is anyway."""
    server = at.server
    if not isinstance(server, Courierpy):
        yield server.port, 0
        return
    port, first = free_port(), len(server.started)
    place = os.path.join(server.folder, f"reuse-{port}")
    os.makedirs(place, 0o755)
    server.serve(place, PORT=str(port), IMAPDSSLSTART="NO", IMAP_LOGIN_PROCESSES="2", IMAP_REUSE=reuse)
    try:
        end = time.monotonic() + START
        while True:
            try:
                Client(port).logout()
                break
            except OSError as error:
                if time.monotonic() > end:
                    raise Missing(f"did not start ({error}): {server.last_words()}") from None
                time.sleep(0.05)
        yield port, first
    finally:
        server.stop_from(first)
