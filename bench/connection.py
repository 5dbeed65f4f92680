"""Rows about the connection itself."""
from __future__ import annotations

import os
import statistics
import time

from bench import procs
from bench.client import Squeezed
from bench.corpus import give
from bench.peers import Courier, Courierpy
from bench.rows import MESSAGE, now, timed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.lab import At
    from bench.rows import Figures


PUSHES = 5                         # deliveries whose way to the client is timed


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
    at.settle("many")
    root = at.maildir("many")
    roots = at.server.roots()
    client = at.login("many")
    client.do(b"NOOP")
    before = procs.memory(roots)
    seconds, _ = timed(client, b"NOTIFY SET (personal (MessageNew MessageExpunge))")
    after = procs.memory(roots)
    if not isinstance(at.server, Courierpy):       # Dovecot tells nothing of such a delivery
        client.logout()
        return {"31a": 1000 * seconds}
    pushes = []
    for number in range(PUSHES):
        name = f"F{number:03d}"
        folder = os.path.join(root, "." + name)
        file = f"{int(time.time())}.M{number}P{os.getpid()}.bench"
        with open(os.path.join(folder, "tmp", file), "wb") as new:
            new.write(MESSAGE % (number, 0))
        give(new.name, at.server.owner(at.account("many")))
        start = now()
        os.rename(new.name, os.path.join(folder, "new", file))
        client.read_until(b"* STATUS")
        pushes.append(now() - start)
    client.logout()
    return {"31a": 1000 * seconds, "31b": 1000 * statistics.median(pushes), "31c": max(0, after - before)}
