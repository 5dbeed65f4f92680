"""Rows about the connection itself."""
from __future__ import annotations

import os
import statistics
import time

from bench import procs
from bench.apart import sharing
from bench.client import Squeezed, now, timed
from bench.corpus import give
from bench.limits import seconds_to_watch
from bench.peers import Courier, Courierpy
from bench.rows import HIBERNATED, MESSAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.apart import Apart
    from bench.client import Client
    from bench.lab import At
    from bench.rows import Figures


PUSHES = 5                         # deliveries whose way to the client is timed
SLEEPERS = 10                      # sessions that share the memory that is measured
ASLEEP_BY = 30.0                       # seconds after which it is measured, whoever is awake
AGAIN_ASLEEP = 2.0                 # seconds after which who was woken sleeps, and may be woken at once


def row_compress(at: At) -> Figures:
    """Octets of mail, before they are compressed; and how many of them are one on the wire."""
    if isinstance(at.server, Courier):
        return {}
    client = Squeezed(at.opened("squeezed"))
    start = now()
    octets = client.drain(b"FETCH 1:* (BODY.PEEK[])")
    seconds = now() - start
    return {"30a": octets / seconds / 1e6, "30b": octets / client.received}


def row_notify(at: At) -> Figures:
    """NOTIFY over many mailboxes: until it is set, and from a delivery to the STATUS; the memory of a session
    that listens."""
    if isinstance(at.server, Courier):
        return {}
    at.settle("heard")
    root = at.maildir("heard")
    roots = at.server.roots()
    client = at.login("heard")
    client.do(b"NOOP")
    before = procs.memory(roots)
    seconds, _ = timed(client, b"NOTIFY SET (personal (MessageNew MessageExpunge))")
    after = procs.memory(roots)
    if not isinstance(at.server, Courierpy):       # Dovecot tells nothing of such a delivery
        client.logout()
        return {"31a": 1000 * seconds}
    pushes = [_pushed(at, client, root, number) for number in range(PUSHES)]
    client.logout()
    limit = seconds_to_watch(root, [f"F{number:03d}" for number in range(at.scale.heard)])
    return {"31a": 1000 * seconds, "31a:limit": 1000 * limit, "31b": 1000 * statistics.median(pushes),
            "31c": max(0, after - before), **_asleep(at, root)}


def _asleep(at: At, root: str) -> Figures:
    """The memory of sessions that listen and sleep, and how long it takes until one of them tells."""
    with sharing(at, "no") as apart:   # processes that wait for the next session would be there before
        return _asleep_in(at, apart, root)


def _asleep_in(at: At, apart: Apart, root: str) -> Figures:
    quiet = at.scale.seconds > 1
    roots = apart.roots()
    for client in [apart.login("heard") for _ in range(SLEEPERS)]:
        client.logout()                # what so many logins cost the server itself is not theirs
    time.sleep(1.0 if quiet else 0.1)
    before, processes = procs.memory(roots) + procs.files(roots), len(procs.family(roots))
    clients = [apart.login("heard") for _ in range(SLEEPERS)]
    for client in clients:
        client.do(b"NOTIFY SET (personal (MessageNew MessageExpunge))")
    time.sleep(HIBERNATED if quiet else 0.1)
    end = now() + ASLEEP_BY
    while quiet and len(procs.family(roots)) > processes and now() < end:
        time.sleep(0.1)                # beside other work some take longer, and have a process as long
    memory = procs.memory(roots) + procs.files(roots) - before
    for client in clients[1:]:
        client.close()
    pushes = []
    for number in range(PUSHES):
        time.sleep(AGAIN_ASLEEP if quiet else 0.1)
        pushes.append(_pushed(at, clients[0], root, PUSHES + number))
    clients[0].logout()
    return {"31d": max(1.0, memory / SLEEPERS), "31e": 1000 * statistics.median(pushes)}


def _pushed(at: At, client: Client, root: str, number: int) -> float:
    """Seconds from a delivery to the STATUS that tells of it."""
    folder = os.path.join(root, f".F{number:03d}")
    file = f"{int(time.time())}.M{number}P{os.getpid()}.bench"
    with open(os.path.join(folder, "tmp", file), "wb") as new:
        new.write(MESSAGE % (number, 0))
    give(new.name, at.server.owner(at.account("heard")))
    start = now()
    os.rename(new.name, os.path.join(folder, "new", file))
    client.read_until(b"* STATUS")
    return now() - start
