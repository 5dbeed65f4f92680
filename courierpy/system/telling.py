"""What couriertcpd and a login process say to each other, who may be busy: in its order, all of it.

A word that is lost is a client that is counted for ever, or one with the right password and no session.
"""
from __future__ import annotations

import os
import select
import time
from collections import deque

from courierpy.system import log, passing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection


class Telling:
    """``unsaid``: words that there was no room for, each with copies of its descriptors.  ``who``: is at the
    other end, for the log.  ``waits``: is called with True when there are such words, and go_on() is to be
    called as soon as there is room, and with False when there are none any more."""

    __slots__ = ("_link", "_waits", "_who", "unsaid")

    def __init__(self, link: socket.socket, who: str, waits: Callable[[bool], object]) -> None:
        self.unsaid: deque[tuple[list[bytes], list[int]]] = deque()
        self._link = link
        self._who = who
        self._waits = waits

    def say(self, parts: list[bytes], fds: Collection[int] = (), quietly: bool = False) -> bool:
        """Now, or as soon as there is room.  ``fds`` stay the caller's.  False: it cannot be said, of which
        the log is told but for what is said ``quietly``."""
        try:
            if not self.unsaid:
                passing.send(self._link, parts, fds)
                return True
        except BlockingIOError:
            pass
        except OSError as error:
            if not quietly:
                log.err(f"{self._who} hears nothing: {error.strerror}")
            return False
        kept: list[int] = []
        try:
            for fd in fds:
                kept.append(os.dup(fd))
        except OSError as error:
            passing.close(kept)
            log.err(f"{self._who} hears nothing later: {error.strerror}")
            return False
        if not self.unsaid:
            self._waits(True)
        self.unsaid.append((parts, kept))
        return True

    def go_on(self) -> None:
        """As much as there is room for now."""
        while self.unsaid:
            parts, fds = self.unsaid[0]
            try:
                passing.send(self._link, parts, fds)
            except BlockingIOError:
                return
            except OSError as error:
                log.err(f"{self._who} hears nothing: {error.strerror}")
            passing.close(fds)
            self.unsaid.popleft()
        self._waits(False)

    def finish(self, until: float) -> None:
        """Before another image has the link: waits until then (time.monotonic()) for room for all that is
        unsaid.  What is left is in the log."""
        room = select.poll()
        room.register(self._link, select.POLLOUT)
        while self.unsaid and (seconds := until - time.monotonic()) > 0 and room.poll(seconds * 1000):
            self.go_on()
        if self.unsaid:
            log.err(f"{self._who} does not hear {len(self.unsaid)} words: it does not read")

    def end(self) -> None:
        """Nobody hears it any more."""
        while self.unsaid:
            passing.close(self.unsaid.popleft()[1])
