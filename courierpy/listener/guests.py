"""Who is at the doorway: clients before their login, the processes that have them, and their tickets."""
from __future__ import annotations

import time
from functools import partial

from courierpy.system import channels, log
from courierpy.system.telling import Telling

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Collection, Mapping

    from courierpy.listener.connections import Connection
    from courierpy.listener.loop import Loop

ALARMS = 20                        # of one login process that are in the log


class Guest:
    """A client before its login.  ``variables``: what its address gives its session; ``known``: the same,
    packed.
    ``welcome``: it may come in, which is not known yet of one whose proxy has not said who it is.
    ``told_to_go``: it was.  ``ticket``: by which it goes on to another host, and ``inode``: of its socket to
    that."""

    __slots__ = ("connection", "inode", "known", "process", "ticket", "told_to_go", "variables", "welcome")

    def __init__(self, connection: Connection, process: Login, variables: Mapping[str, str],
                 welcome: bool, known: bytes | None = None) -> None:
        """``known``: None where they are not packed yet."""
        self.connection = connection
        self.process = process
        self.variables = variables
        self.known = channels.pack(variables) if known is None else known
        self.welcome = welcome
        self.told_to_go = False
        self.ticket, self.inode = b"", 0


class Login:
    """A login process.  ``guests``: how many clients it has before their login.  ``ready``: it takes
    clients.  ``old``: it will not, as it was started by an earlier image.  ``its``: our copy of its end of
    the link, where it has one: what it has not read is there still when it has ended.  ``telling``: what it
    has not been told yet, as there was no room."""

    __slots__ = ("_alarms", "guests", "its", "link", "old", "pid", "ready", "since", "telling")

    def __init__(self, loop: Loop, pid: int, link: socket.socket, its: socket.socket | None = None) -> None:
        """``loop``: hears the link."""
        self.pid = pid
        self.link = link
        self.telling = Telling(link, f"login process {pid}", partial(loop.wait_for_room, link.fileno()))
        self.its = its
        self.guests = 0
        self.ready = self.old = False
        self.since = time.monotonic()
        self._alarms = 0

    def tell(self, letter: bytes, number: int, data: bytes = b"", fds: Collection[int] = (),
             quietly: bool = False) -> None:
        """A word of a client, now or as soon as there is room.  ``quietly``: the process may have ended."""
        self.telling.say([channels.HEAD.pack(letter, number), data], fds, quietly)

    def wants(self, what: str) -> None:
        """It asks for what is not its: in the log, but for the many of one that does nothing else."""
        self._alarms += 1
        if self._alarms <= ALARMS:
            log.alert(f"login process {self.pid} wants {what}")


class Grant:
    """The account of a ticket.

    ``account``: as the helper rendered it; ``pid``: of the login process that may use it, until then.
    ``which``: of its hosts may be the next one."""

    __slots__ = ("account", "pid", "until", "which")

    def __init__(self, account: bytes, pid: int) -> None:
        self.account = account
        self.pid = pid
        self.which = 0
        self.until = time.monotonic() + channels.TICKET_SECONDS
