"""What a login process says to couriertcpd, which may be busy with others' sessions: in its order, all of it.

A word that is lost is a client that is counted for ever, or one with the right password and no session.
"""
from __future__ import annotations

import os
import select
from collections import deque

from courierpy.system import log, passing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Collection


class Telling:
    """``unsaid``: words that there was no room for, each with copies of its descriptors.  ``poll``: tells
    when the link can be read, and as long as there are such words, also when there is room."""

    def __init__(self, link: socket.socket, poll: select.epoll) -> None:
        self.unsaid: deque[tuple[list[bytes], list[int]]] = deque()
        self._link = link
        self._poll = poll

    def say(self, parts: list[bytes], fds: Collection[int] = ()) -> bool:
        """Now, or as soon as there is room.  ``fds`` stay the caller's.  False: it cannot be said."""
        try:
            if not self.unsaid:
                passing.send(self._link, parts, fds)
                return True
        except BlockingIOError:
            pass
        except OSError as error:
            log.err(f"a word cannot be said: {error.strerror}")
            return False
        kept: list[int] = []
        try:
            for fd in fds:
                kept.append(os.dup(fd))
        except OSError as error:
            passing.close(kept)
            log.err(f"a word cannot be said later: {error.strerror}")
            return False
        if not self.unsaid:
            self._poll.modify(self._link.fileno(), select.EPOLLIN | select.EPOLLOUT)
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
                log.err(f"a word cannot be said: {error.strerror}")
            passing.close(fds)
            self.unsaid.popleft()
        self._poll.modify(self._link.fileno(), select.EPOLLIN)

    def end(self) -> None:
        """Nobody hears it any more."""
        while self.unsaid:
            passing.close(self.unsaid.popleft()[1])
