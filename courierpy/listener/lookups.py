"""Names of clients and lists in the DNS, asked beside a listener whose clients have no process yet.

An answer takes as long as the name servers do, and strangers write it.  So a process asks that has no
right (system/confined.py), and many questions at a time; it sees the file system, where the resolver
has its settings.  A question is a number and what is known of a connection; the answer is the number and
the variables that were found.  Where there is none, nothing was found: the DNS shuts nobody out by
being away.
"""
from __future__ import annotations

import os
import select
import socket
import struct
import time
from functools import partial

from courierpy.listener import admission
from courierpy.system import confined, doorway, log, passing, proc, title
from courierpy.system.seldom import due

TYPE_CHECKING = False
if TYPE_CHECKING:
    import queue
    from collections.abc import Callable, Mapping

    from courierpy.listener.loop import Loop
    from courierpy.listener.options import Options

    Found = Callable[[dict[str, str]], object]

NUMBER = struct.Struct("!Q")
SECONDS = 30.0                 # that an answer may take
RESTART_AFTER = 1.0            # seconds between two starts of a process that ends
THREADS = 16                   # questions at a time
MOST = 1024                    # that wait for an answer


def wanted(options: Options) -> bool:
    return bool(options.lists) or "nodnslookup" not in options.switches


def allowed(options: Options) -> frozenset[str]:
    """The variables that an answer may set."""
    names = {"TCPREMOTEHOST", "TCPLOCALHOST"}
    for number, entry in enumerate(options.lists):
        names |= {f"ALLOW_{number}", entry.variable,
                  *(f"{entry.variable}_{end}" for end in ("IP", "ZONE", "TXT"))}
    return frozenset(names)


class Lookups:
    """``open``: who waits for an answer, by number, with the moment from which on it waits no more.
    ``above``: our descriptor is below this."""

    def __init__(self, options: Options, loop: Loop) -> None:
        self.open: dict[int, tuple[float, Found]] = {}
        self.above = 3
        self.pid = 0
        self._options = options
        self._allowed = allowed(options)
        self._loop = loop
        self._channel: socket.socket | None = None
        self._next_start = 0.0
        self._last = 0

    def tend(self) -> None:
        """Start the process when it is missing; who has waited long enough waits no more."""
        now = time.monotonic()
        for number in [number for number, (until, _) in self.open.items() if until <= now]:
            self._found(number, {})
        if not self.pid and now >= self._next_start:
            self._next_start = now + RESTART_AFTER
            try:
                self._start()
            except OSError as error:
                if due("lookups"):
                    log.crit(f"no process for names can be started: {error.strerror}")

    def _start(self) -> None:
        """OSError."""
        ours, theirs = passing.pair()
        with theirs:
            try:
                self.pid = proc.fork(partial(_work, theirs, self._options))
            except OSError:
                ours.close()
                raise
        self._channel = ours
        self.above = max(self.above, ours.fileno() + 1)
        self._loop.hear(ours.fileno(), self._answers)

    def ended(self, pid: int) -> bool:
        """Was it this one?  What it was asked has no answer then."""
        if not pid or pid != self.pid:
            return False
        log.crit("the process that asks for names ended")
        self.pid = 0
        self._close()
        self.finish()
        return True

    def _close(self) -> None:
        if self._channel is not None:
            self._loop.forget((self._channel.fileno(),))
            self._channel.close()
            self._channel = None

    def finish(self) -> None:
        """Nobody waits any more."""
        for number in list(self.open):
            self._found(number, {})

    def ask(self, variables: Mapping[str, str], found: Found) -> None:
        """``found`` is called with the variables that are found, maybe at once."""
        self._last += 1
        self.open[self._last] = time.monotonic() + SECONDS, found
        try:
            if self._channel is None or len(self.open) > MOST:
                raise BlockingIOError(0, "there are too many questions, or nobody answers")
            passing.send(self._channel, [NUMBER.pack(self._last), doorway.pack(variables)])
        except OSError as error:
            if due("ask for names"):
                log.err(f"names and lists of the DNS are left out: {error.strerror}")
            self._found(self._last, {})

    def _found(self, number: int, variables: dict[str, str]) -> None:
        _, found = self.open.pop(number, (0.0, None))
        if found is not None:
            found(variables)

    def _answers(self) -> None:
        if self._channel is None:
            return
        for data, fds in passing.waiting(self._channel, "the process that asks for names"):
            passing.close(fds)
            if len(data) < NUMBER.size:
                self._close()          # it ends, and is reaped soon
                return
            number, = NUMBER.unpack_from(data)
            variables = doorway.unpack(data[NUMBER.size:])
            self._found(number, {
                name: value for name, value in variables.items()
                if name in self._allowed and len(value) <= doorway.MAX_VALUE and value.isprintable()})


# -- in the process

def _work(channel: socket.socket, options: Options) -> int:
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
            found = look_up(options, doorway.unpack(data[NUMBER.size:]))
        except Exception as error:     # an odd answer costs one question
            log.err(f"a name cannot be looked up: {type(error).__name__}: {error}")
            found = {}
        try:
            passing.send(channel, [data[:NUMBER.size], doorway.pack(found)])
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
