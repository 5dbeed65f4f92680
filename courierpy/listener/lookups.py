"""Names of clients and lists in the DNS, asked beside a listener whose clients have no process yet.

An answer takes as long as the name servers do, and strangers write it.  So a process asks that has no
right (system/confined.py), and many questions at a time; it sees the file system, where the resolver
has its settings.  Where there is no answer, nothing was found: the DNS shuts nobody out by being away.
"""
from __future__ import annotations

import os
import select
from functools import partial

from courierpy.listener import admission
from courierpy.listener.beside import NUMBER, Beside
from courierpy.system import channels, confined, log, passing, proc, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    import queue
    import socket
    from collections.abc import Callable, Mapping

    from courierpy.listener.loop import Loop
    from courierpy.listener.options import Options

    Found = Callable[[dict[str, str]], object]

SECONDS = 30.0                 # that an answer may take
THREADS = 16                   # questions at a time


def wanted(options: Options) -> bool:
    return bool(options.lists) or "nodnslookup" not in options.switches


def allowed(options: Options) -> frozenset[str]:
    """The variables that an answer may set."""
    names = {"TCPREMOTEHOST", "TCPLOCALHOST"}
    for number, entry in enumerate(options.lists):
        names |= {f"ALLOW_{number}", entry.variable,
                  *(f"{entry.variable}_{end}" for end in ("IP", "ZONE", "TXT"))}
    return frozenset(names)


class Lookups(Beside):
    """A question is what is known of a connection, an answer the variables that were found."""

    def __init__(self, options: Options, loop: Loop) -> None:
        super().__init__("asks for names", partial(_work, options), loop)
        self._allowed = allowed(options)

    def ask(self, variables: Mapping[str, str], found: Found) -> None:
        """``found`` is called with the variables that are found, maybe at once."""
        def answered(data: bytes | None, fds: list[int]) -> None:
            told = channels.unpack(data or b"")
            found({name: value for name, value in told.items()
                   if name in self._allowed and len(value) <= channels.MAX_VALUE and value.isprintable()})

        self.put(channels.pack(variables), SECONDS, answered)


# -- in the process

def _work(options: Options, channel: socket.socket) -> int:
    import queue
    import threading
    proc.keep_open((channel.fileno(),))
    title.be("couriertcpd: names")
    confined.enter("", threads=True)
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    for _ in range(THREADS):
        threading.Thread(target=_answer, args=(waiting, channel, options), daemon=True).start()
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    while True:
        poll.poll()
        for data, fds in passing.waiting(channel, "couriertcpd"):
            passing.close(fds)
            if not data:
                os._exit(0)            # couriertcpd is gone, or another image
            waiting.put(data)


def _answer(waiting: queue.SimpleQueue[bytes], channel: socket.socket, options: Options) -> None:
    while True:
        data = waiting.get()
        try:
            found = look_up(options, channels.unpack(data[NUMBER.size:]))
        except Exception as error:     # an odd answer costs one question
            log.err(f"a name cannot be looked up: {type(error).__name__}: {error}")
            found = {}
        try:
            passing.send(channel, [data[:NUMBER.size], channels.pack(found)])
        except OSError as error:
            log.err(f"an answer is not heard: {error.strerror}")


def look_up(options: Options, known: Mapping[str, str]) -> dict[str, str]:
    """What the DNS says of a connection of which these variables are known."""
    variables = dict(known)
    if options.lists:
        from courierpy.listener import dnslists
        dnslists.apply(options.lists, known["TCPREMOTEIP"], variables)
    if "nodnslookup" not in options.switches:
        admission.names(variables)
    return {name: value for name, value in variables.items() if known.get(name) != value}
