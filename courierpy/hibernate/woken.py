"""What the process finds that is woken for a connection."""
from __future__ import annotations

import os
import struct

from courierpy.hibernate import protocol
from courierpy.hibernate.record import Damaged, Known, unpack
from courierpy.system import passing


class Woken:
    """``due``: when the client wants a word next, on the monotonic clock.  ``words``: octets that
    it was sent meanwhile."""

    def __init__(self, channel: int, file: int) -> None:
        """Descriptors: to the keeper, and of the connection's state."""
        self.due = 0.0
        self.words = 0
        self._channel = channel
        self._file = file

    def take(self) -> Known:
        """What the session knew.  Raises Damaged."""
        try:
            state = protocol.load(self._file)
        except (OSError, struct.error) as error:
            raise Damaged(str(error)) from None
        finally:
            os.close(self._file)
        self.due, self.words = state.due, state.words
        return unpack(state.known)

    def held(self) -> list[int]:
        """Descriptors that are open still."""
        return [self._channel] if self._channel >= 0 else []

    def instance(self) -> int:
        """The descriptor of the instance of inotify that the session had, which the keeper sends; -1 where it
        had none, or the keeper died since."""
        with protocol.borrowed(self._channel) as channel:
            try:
                found = passing.receive(channel)
            except passing.Refused:
                return -1
        if found is None:
            return -1
        said, fds = found
        if said == protocol.EVENTS and len(fds) == 1:
            return fds[0]
        passing.close(fds)
        return -1

    def let_go(self) -> None:
        """We are here to stay, or free for another: who waits may be woken now.  A process that ends says so
        by that."""
        if self._channel >= 0:
            os.close(self._channel)
            self._channel = -1
