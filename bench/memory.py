"""Row 19: what a session takes of the memory, awake and in IDLE."""
from __future__ import annotations

import time

from bench import procs
from bench.apart import sharing
from bench.rows import HIBERNATED, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.lab import At
    from bench.rows import Figures


def row_memory(at: At) -> Figures:
    """Processes end with their sessions: one that waits for the next would be there before and be taken."""
    found = {}
    with sharing(at, "no") as apart:
        for keys, count in zip(("19a 19c", "19b 19d"), at.scale.idle, strict=True):
            awake, idle = keys.split()
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
                client.close()
            _quiet(roots, base)
            # the kernel takes back what a server has not touched for a while: the base may be less now
            base = min(base, procs.memory(roots))
            found[awake] = (used - base) / count
            found[idle] = (resting - base) / count
    return found


def _quiet(roots: list[int], base: int) -> None:
    """Until the sessions are gone again, ten seconds at most."""
    end = now() + 10
    while procs.memory(roots) > 1.2 * base + 2000 and now() < end:
        time.sleep(0.1)
