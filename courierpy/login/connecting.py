"""Connections to the hosts of accounts, made beside couriertcpd for its login processes, which may make none.

A host's name is looked up in a thread, once for all who wait for it; and all that is to be connected is
waited for in one loop, so a host that is away holds up nobody who wants another one.  The process reads what
the DNS says, and no octet of a client or a host: a connection goes on as it is made.

A question: the variables HOST (with a port or without), PORT, which it has else, SECONDS, LOCAL and
LOCAL_PORT, where the client came in.  The answer: b"" with the connection, or why there is none.
"""
from __future__ import annotations

import os
import select
import socket
import time

from courierpy.login import onward
from courierpy.system import channels, confined, log, passing, proc, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    import queue

HOST, PORT, SECONDS, LOCAL, LOCAL_PORT = "HOST", "PORT", "SECONDS", "LOCAL", "LOCAL_PORT"
MODULES = ("queue", "threading")       # that the listener does without, loaded while files can be read
NAMES = 64                     # that are looked up at a time
MOST_SECONDS = 600.0
NO_ANSWER = "no answer in time"


def question(host: str, port: int, seconds: float, local: tuple[str, str]) -> bytes:
    """The octets that ask for a connection."""
    return channels.pack({HOST: host, PORT: str(port), SECONDS: f"{seconds:.3f}", LOCAL: local[0],
                          LOCAL_PORT: local[1]})


class _Attempt:
    """A connection that is being made.

    ``number``: of the question, as octets.  ``address``: that is tried; ``left``: those that were not.
    ``end``: until when there is time, on the monotonic clock; ``due``: and for what it is at.  ``why``: the
    last address was not to be had."""

    __slots__ = ("address", "due", "end", "left", "local", "name", "number", "port", "socket", "why")

    def __init__(self, number: bytes, said: dict[str, str]) -> None:
        """Raises KeyError and ValueError."""
        seconds = min(MOST_SECONDS, max(0.0, float(said[SECONDS])))
        self.number = number
        self.name, self.port = onward.place(said[HOST], int(said[PORT]))
        self.local = said[LOCAL], said[LOCAL_PORT]
        self.end = self.due = time.monotonic() + seconds
        self.left: list[onward.Found] = []
        self.why, self.address = "it has no address", ""
        self.socket: socket.socket | None = None


class Connector:
    """The process that connects to hosts for login processes.

    ``channel``: to who asks.  ``open``: attempts by descriptor; ``named``: those that wait for a name.
    ``size``: octets of the number of a question."""

    def __init__(self, channel: socket.socket, size: int) -> None:
        self.channel = channel
        self.size = size
        self.open: dict[int, _Attempt] = {}
        self.named: dict[str, list[_Attempt]] = {}
        import queue
        self._found: queue.SimpleQueue[tuple[str, list[onward.Found]]] = queue.SimpleQueue()
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self._poll = select.poll()
        for end in (channel, self._woken):
            self._poll.register(end, select.POLLIN)

    def turn(self) -> bool:
        """Wait, and do what is to be done.  False: nobody asks any more."""
        for fd, _ in self._poll.poll(self._milliseconds()):
            if fd == self.channel.fileno():
                if not self._hear():
                    return False
            elif fd == self._woken.fileno():
                self._look()
            elif fd in self.open:
                self._ready(self.open[fd])
        now = time.monotonic()
        for attempt in [each for each in self.open.values() if each.due <= now]:
            self._leave(attempt, NO_ANSWER)
        for name, waiting in self.named.items():
            for attempt in [each for each in waiting if each.end <= now]:
                waiting.remove(attempt)
                self._answer(attempt, f"{name}: the DNS says nothing in time")
        return True

    def _milliseconds(self) -> float | None:
        ends = [each.due for each in self.open.values()]
        ends += [each.end for waiting in self.named.values() for each in waiting]
        return max(0.0, min(ends) - time.monotonic()) * 1000 + 1 if ends else None

    def _hear(self) -> bool:
        for data, fds in passing.waiting(self.channel, "couriertcpd"):
            passing.close(fds)
            if not data:
                return False
            try:
                self._begin(_Attempt(data[:self.size], channels.unpack(data[self.size:])))
            except (KeyError, ValueError) as error:
                log.err(f"a question for a connection is none: {error}")
        return True

    # -- names

    def _begin(self, attempt: _Attempt) -> None:
        if not attempt.port:
            self._answer(attempt, "it has no such port")
            return
        try:
            attempt.left = onward.found(attempt.name, attempt.port, socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            self._look_up(attempt)
        else:
            self._next(attempt)

    def _look_up(self, attempt: _Attempt) -> None:
        name = attempt.name
        if name in self.named:
            self.named[name].append(attempt)
        elif len(self.named) >= NAMES:
            self._answer(attempt, "too many names are looked up already")
        else:
            self.named[name] = [attempt]
            import threading
            threading.Thread(target=self._ask, args=(name,), daemon=True).start()

    def _ask(self, name: str) -> None:
        """Look a name up, in a thread of its own."""
        try:
            addresses = onward.found(name, 0, 0)
        except (OSError, UnicodeError):
            addresses = []
        self._found.put((name, addresses))
        try:
            self._waker.send(b"x")
        except BlockingIOError:
            return                     # it is awake

    def _look(self) -> None:
        self._woken.recv(512)
        while not self._found.empty():
            name, addresses = self._found.get()
            for attempt in self.named.pop(name):
                attempt.left = [(family, (address, attempt.port)) for family, (address, _) in addresses]
                self._next(attempt)

    # -- connections

    def _next(self, attempt: _Attempt) -> None:
        """Try the next address, which has its share of the time."""
        while attempt.left:
            family, address = attempt.left.pop(0)
            if onward.leads_back(address, *attempt.local):
                attempt.why = onward.OURSELVES
                break
            attempt.address = address[0]
            made = None
            try:
                made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                for option in onward.OPTIONS:
                    made.setsockopt(*option)
                made.connect(address)
            except BlockingIOError:
                pass
            except OSError as error:
                if made is not None:
                    made.close()
                attempt.why = f"{address[0]}, port {attempt.port}: {error.strerror}"
                continue
            assert made is not None
            now = time.monotonic()
            attempt.socket, attempt.due = made, now + (attempt.end - now) / (1 + len(attempt.left))
            self.open[made.fileno()] = attempt
            self._poll.register(made, select.POLLOUT)
            return
        self._answer(attempt, attempt.why)

    def _ready(self, attempt: _Attempt) -> None:
        assert attempt.socket is not None
        error = attempt.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._leave(attempt, os.strerror(error))
            return
        with self._taken(attempt) as made:
            self._answer(attempt, "", (made.fileno(),))

    def _leave(self, attempt: _Attempt, why: str) -> None:
        self._taken(attempt).close()
        attempt.why = f"{attempt.address}, port {attempt.port}: {why}"
        self._next(attempt)

    def _taken(self, attempt: _Attempt) -> socket.socket:
        made = attempt.socket
        assert made is not None
        attempt.socket = None
        self._poll.unregister(made)
        del self.open[made.fileno()]
        return made

    def _answer(self, attempt: _Attempt, why: str, fds: tuple[int, ...] = ()) -> None:
        try:
            passing.send(self.channel, [attempt.number, why.encode("utf-8", "surrogateescape")], fds)
        except OSError as error:
            log.err(f"an answer is not heard: {error.strerror}")


def serve(channel: socket.socket, size: int) -> int:
    """What the process does that connects; its exit status."""
    proc.keep_open((channel.fileno(),))
    title.be("couriertcpd: connections")
    from importlib import import_module
    for name in MODULES:
        import_module(name)
    try:
        confined.enter("", threads=True)
        connector = Connector(channel, size)
        while connector.turn():
            continue
    except BaseException as error:     # the child must never return into the loop
        log.crit(f"connections to hosts: {type(error).__name__}: {error}")
        return proc.CRASHED
    os._exit(0)                        # couriertcpd is gone, or another image; threads are not waited for
