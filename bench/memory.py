"""Row 19: what a session takes of the memory, awake, in IDLE, and where its client says nothing for long."""
from __future__ import annotations

import statistics
import time

from bench import procs
from bench.apart import sharing
from bench.client import now, timed
from bench.rows import HIBERNATED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.client import Client
    from bench.lab import At
    from bench.rows import Figures

QUIET = 20                             # seconds without a command after which a session sleeps; by default 90
ASLEEP = QUIET + 3.0                   # and after which all of them do


def row_memory(at: At) -> Figures:
    """Processes end with their sessions: one that waits for the next would be there before and be taken."""
    found = {}
    with sharing(at, "no", IMAP_HIBERNATE_QUIET=str(QUIET)) as apart:
        for keys, count in zip(("19a 19c 19e 19g", "19b 19d 19f 19h"), at.scale.idle, strict=True):
            awake, idle, quiet, wake = keys.split()
            roots = apart.roots()
            for number in range(4):        # what the first connections cost the server itself is not theirs
                apart.opened(f"idle{number}").logout()
            time.sleep(1.0 if at.scale.seconds > 1 else 0.1)
            base = procs.memory(roots)
            clients = [apart.opened(f"idle{number % 20}") for number in range(count)]
            used = procs.memory(roots)
            for client in clients:
                client.idle()
            time.sleep(HIBERNATED if at.scale.seconds > 1 else 0.1)
            resting = procs.memory(roots)
            for client in clients:
                _leave_idle(client)
            time.sleep(ASLEEP if at.scale.seconds > 1 else 0.1)
            silent = procs.memory(roots)
            wakes = [timed(client, b"NOOP")[0] for client in clients]
            for client in clients:
                client.close()
            _quiet(roots, base)
            # the kernel takes back what a server has not touched for a while: the base may be less now
            base = min(base, procs.memory(roots))
            found[awake] = (used - base) / count
            found[idle] = (resting - base) / count
            found[quiet] = (silent - base) / count
            found[wake] = 1000 * statistics.median(wakes)
    return found


def _leave_idle(client: Client) -> None:
    client.sock.sendall(b"DONE\r\n")
    client.reply(b"zq%dx" % client.number)


def _quiet(roots: list[int], base: int) -> None:
    """Until the sessions are gone again, ten seconds at most."""
    end = now() + 10
    while procs.memory(roots) > 1.2 * base + 2000 and now() < end:
        time.sleep(0.1)
