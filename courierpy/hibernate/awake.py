"""Sessions that are awake, and hear by the keeper because there is no instance of inotify for them."""
from __future__ import annotations

import select
import socket

from courierpy.hibernate.hearing import Listener
from courierpy.hibernate.offers import Refused
from courierpy.system.inotify import Ear

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Awake:
    """Those who hear by the keeper and have a process.

    ``listeners``: by the descriptor of their channel, which ``poll`` hears."""

    def __init__(self, poll: select.epoll) -> None:
        self.listeners: dict[int, Listener] = {}
        self._poll = poll

    def lend(self, fd: int, limit: int) -> None:
        """Hear for one more, by this channel, which is ours from now on.  Raises Refused or OSError.

        ``limit``: descriptors have to be below it.
        """
        with socket.socket(fileno=fd) as given:
            if fd > limit or given.family != socket.AF_UNIX or given.type != socket.SOCK_SEQPACKET:
                raise Refused("not a channel")
            listener = Listener(given.dup(), Ear())
        self.listeners[listener.channel.fileno()] = listener
        self._poll.register(listener.channel.fileno(), select.EPOLLIN)
        self._act(listener, Listener.greet)

    def asked(self, fd: int) -> bool:
        """Do what is asked there; False: it is nobody's channel."""
        listener = self.listeners.get(fd)
        if listener is None:
            return False
        self._act(listener, Listener.asked)
        return True

    def tell(self) -> None:
        """Pass on what was heard."""
        for listener in [each for each in self.listeners.values() if each.ear.waiting]:
            self._act(listener, Listener.tell)

    def _act(self, listener: Listener, act: Callable[[Listener], None]) -> None:
        """One that is gone, or does what it should not, is forgotten."""
        try:
            act(listener)
        except BlockingIOError:
            return
        except OSError:
            fd = listener.channel.fileno()
            self._poll.unregister(fd)
            del self.listeners[fd]
            listener.close()
