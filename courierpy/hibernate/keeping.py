"""The keeper's process: what it is before the first word, and until the last."""
from __future__ import annotations

import os

from courierpy.hibernate.keeper import Ended, Keeper
from courierpy.system import proc, title
from courierpy.system.inotify import Ear

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket


def run(door: socket.socket, link: socket.socket, left: list[tuple[int, int, int, int]]) -> None:
    """The keeper's process, forked by the listener: until the listener says so, or is gone.

    ``left``: what an earlier one had; see adopt().
    """
    import resource
    import signal

    for number in proc.TOLD:           # the listener says when to end, or its own end does
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit == resource.RLIM_INFINITY:
        limit = 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    proc.keep_open((door.fileno(), link.fileno(), *(fd for each in left for fd in each[1:3])))
    os.chdir("/")
    title.be("couriertcpd: keeper")
    heard = Ear()                  # while we are who has few of them: nobody's may be used up
    proc.confine()
    keeper = Keeper(door, link, heard, limit)
    try:
        keeper.adopt(left)
        keeper.serve()
    except Ended:
        pass
    keeper.end()
