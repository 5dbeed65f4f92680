"""A connection that the keeper has: what is known of it, and how far it is."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from courierpy.hibernate.protocol import State

OFFERED, ASLEEP, QUEUED, WAKING, REFUSED, DROPPED = range(6)


class Entry:
    """One connection.  ``stage``: OFFERED, ASLEEP, QUEUED (to be woken), WAKING, REFUSED (a wake;
    there will be another) or DROPPED.  ``channel``: to the session while it offers, or to the one
    that is woken.  ``taken``: the client is that one's.  ``state``, and ``file``, its descriptor:
    from ASLEEP on.  ``changed``: the folder, and there is no wake for that yet.  ``ear``: the
    session's instance of inotify, which hears of other folders; -1 where it has none."""

    __slots__ = ("buffer", "changed", "channel", "client", "ear", "file", "kept_at", "number", "pid", "stage",
                 "state", "taken", "tries", "uid", "watches", "woken_at")

    def __init__(self, number: int, client: int, channel: socket.socket | None, pid: int, uid: int) -> None:
        self.number = number
        self.client = client
        self.channel = channel
        self.pid, self.uid = pid, uid
        self.stage = OFFERED
        self.state: State | None = None
        self.file = self.ear = -1
        self.buffer = b""
        self.watches: tuple[int, ...] = ()
        self.kept_at = self.woken_at = 0.0
        self.tries = 0
        self.taken = self.changed = False
