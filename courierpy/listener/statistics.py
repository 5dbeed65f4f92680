"""The process that keeps what is counted, and tells it: METRICS.  And the listener's side of it.

All processes send to it by one socket (system/metrics.py); it adds up (model/measures.py), and answers HTTP
on a unix socket or a port of this machine, or writes a file for node_exporter's textfile collector.  It may
hang or end without harm to anybody: nobody waits for it.  Where it writes no file it has no rights once its
places are open.  Of several listeners one starts it, the first of ``courierpy serve``; it outlives a reload,
unless METRICS is another one then.
"""
from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from functools import partial

from courierpy import __version__
from courierpy.listener import children, places
from courierpy.listener.options import UsageError
from courierpy.model import measures
from courierpy.system import confined, log, metrics, passing, proc, title
from courierpy.system.seldom import due

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from courierpy.listener.places import Place

RESTART_AFTER = 1.0            # seconds between two starts
FILE_SECONDS = 15.0            # between two files
STALE_SECONDS = 30.0           # after which a listener that says nothing is gone, and its gauges with it
CLIENTS = 16                   # at a time
CLIENT_SECONDS = 10.0          # that one has for its request and its answer
REQUEST_OCTETS = 8192
TURN = 1.0


class Statistics:
    """The listener's side.  ``pid``: of the process, 0 without.  ``reads``: is it this listener that starts
    it?"""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """``environ``: of the programs that the listener starts, which is told where to send counts.  Raises
        UsageError."""
        self.wanted = environ.get(metrics.SETTING, "").strip()
        try:
            self._places = places.parse(self.wanted)
        except ValueError as error:
            raise UsageError(f"{metrics.SETTING}: {error}") from None
        self.pid = 0
        self._old = 0                  # one that ends
        self._next_start = 0.0
        self._environ = environ
        self._reader = -1

    @property
    def reads(self) -> bool:
        return self._reader >= 0

    def go_on(self, pid: int, setting: str) -> None:
        """With the process of an earlier image, if it was started for the same METRICS."""
        if self.wanted and setting == self.wanted:
            self.pid = pid
        elif pid:
            self._old = pid
            children.tell_all((pid,))

    def open(self) -> None:
        """Where counts go, and from here on they are counted.  OSError."""
        environ = self._environ
        own = os.environ
        if self.wanted and metrics.descriptor(own.get(metrics.VARIABLE, "")) < 0:
            own[metrics.READER], own[metrics.VARIABLE] = metrics.pair()
        environ.pop(metrics.VARIABLE, None)
        if self.wanted:
            environ[metrics.VARIABLE] = own[metrics.VARIABLE]
            self._reader = metrics.descriptor(own.get(metrics.READER, ""))

    def kept(self) -> list[int]:
        """The descriptor that a process of a client needs."""
        fd = metrics.descriptor(self._environ.get(metrics.VARIABLE, ""))
        return [fd] if fd >= 0 else []

    def tend(self) -> None:
        """Start the process if it is missing."""
        now = time.monotonic()
        if not self.wanted or not self.reads or self.pid or now < self._next_start:
            return
        self._next_start = now + RESTART_AFTER
        try:
            self.pid = proc.fork(partial(run, self._reader, self._places))
        except OSError as error:
            if due("statistics"):
                log.crit(f"the statistics process cannot be started: fork: {error.strerror}")

    def ended(self, pid: int) -> bool:
        """Was this the process of the counts, which has ended?"""
        if pid == self._old:
            self._old = 0
            return True
        if not self.pid or pid != self.pid:
            return False
        self.pid = 0
        if due("statistics ended"):
            log.crit("the statistics process ended; counts begin at zero")
        return True

    def left(self) -> tuple[int, str]:
        """What go_on() of the next image is told."""
        return self.pid, self.wanted

    def stop(self) -> None:
        """It ends, when all who counted have."""
        pids = {self.pid, self._old} - {0}
        children.tell_all(pids)
        children.wait_for(pids, lambda: None)
        for place in self._places if self.reads else ():
            if place.kind == "unix":
                _unlink(place.path)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return                         # it is not there, or not ours


# -- the process

def run(reader: int, wanted: list[Place]) -> int:
    """Until SIGTERM; the exit status."""
    log.be("courierpy-metrics")
    title.be("couriertcpd: statistics")
    metrics.current = None
    for number, manner in ((signal.SIGHUP, signal.SIG_IGN), (signal.SIGPIPE, signal.SIG_IGN),
                           (signal.SIGCHLD, signal.SIG_DFL)):
        signal.signal(number, manner)
    proc.keep_open((reader,))
    keeper = Keeper(socket.socket(fileno=reader), [each.path for each in wanted if each.kind == "file"])
    for place in wanted:
        if place.kind != "file":
            keeper.listen(place)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, keeper.told)
    if not keeper.files:
        try:
            confined.enter(confined.folder(), threads=True)
        except proc.ProcError as error:
            log.crit(f"statistics: {error}")
            return 1
    keeper.serve()
    return 0


class Client:
    """Somebody who asks.  ``out``: what is not sent yet, None before the request is whole."""

    __slots__ = ("data", "end", "out", "until")

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.data = b""
        self.out: memoryview | None = None
        self.until = time.monotonic() + CLIENT_SECONDS


class Keeper:
    """``sums``: all that was counted.  ``files``: where they are written to."""

    def __init__(self, reader: socket.socket, files: list[str]) -> None:
        self.sums = measures.Sums()
        self.files = files
        self.sums.add((measures.STARTED,), round(time.time(), 3))
        python = ".".join(map(str, sys.version_info[:3]))
        self.sums.add((measures.BUILD, __version__, python))
        self._reader = reader
        self._heard: dict[str, float] = {}         # listener -> when
        self._clients: dict[int, Client] = {}
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], object]] = {}
        self._ends = False
        self._written = 0.0
        self._hear(reader.fileno(), self._take)
        woken, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self._hear(woken, lambda: os.read(woken, 512))         # by now told() has been called

    def told(self, number: int, frame: object) -> None:
        """A signal came, by which serve() ends."""
        self._ends = True

    def _hear(self, fd: int, handler: Callable[[], object]) -> None:
        self._handlers[fd] = handler
        self._poll.register(fd, select.POLLIN)

    def listen(self, place: Place) -> None:
        """Answer there; where that cannot be, the log says so."""
        try:
            end = _listening(place)
        except OSError as error:
            log.crit(f"{metrics.SETTING}: {place}: {error.strerror}; counts are not to be had there")
            return
        self._hear(end.fileno(), partial(self._accept, end))

    def serve(self) -> None:
        """Take counts and tell them, until a signal comes."""
        while not self._ends:
            for fd, _ in self._poll.poll(TURN * 1000):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler()
            now = time.monotonic()
            for client in [client for client in self._clients.values() if client.until <= now]:
                self._close(client)
            if self.files and now >= self._written + FILE_SECONDS:
                self._written = now
                self._write()
        for path in self.files:        # else what was true once is read for ever
            _unlink(path)

    # -- what is counted

    def _take(self) -> None:
        for data, fds in passing.waiting(self._reader, "a process that counts"):
            passing.close(fds)
            if not data:
                self._ends = True      # nobody is there who could say anything
                return
            for line in data.split(b"\n"):
                if self.sums.take(line):
                    name, _, rest = line.partition(b"\t")
                    if name.decode() == measures.UP:
                        self._heard[rest.partition(b"\t")[0].decode()] = time.monotonic()

    def text(self) -> str:
        """All of it, without gauges of listeners that are gone."""
        self._take()
        now = time.monotonic()
        for listener in [name for name, when in self._heard.items() if now - when > STALE_SECONDS]:
            del self._heard[listener]
            for key in [key for key in self.sums.numbers
                        if key[1:2] == (listener,) and measures.TABLE[key[0]].kind == measures.GAUGE]:
                del self.sums.numbers[key]
        return measures.text_of(self.sums)

    def _write(self) -> None:
        self.sums.numbers[measures.WRITTEN,] = int(time.time())
        data = self.text().encode()
        for path in self.files:
            scratch = f"{path}.{os.getpid()}"
            try:
                with open(scratch, "wb") as file:
                    os.fchmod(file.fileno(), 0o644)
                    file.write(data)
                os.rename(scratch, path)
            except OSError as error:
                _unlink(scratch)
                if due(path):
                    log.err(f"{metrics.SETTING}: {path}: {error.strerror}; a folder that can be written to "
                            "was expected")

    # -- who asks

    def _accept(self, listener: socket.socket) -> None:
        try:
            end, _ = listener.accept()
        except OSError:
            return                     # it went by itself
        if len(self._clients) >= CLIENTS:
            end.close()
            return
        end.setblocking(False)
        client = self._clients[end.fileno()] = Client(end)
        self._hear(end.fileno(), partial(self._move, client))

    def _move(self, client: Client) -> None:
        try:
            if client.out is None:
                piece = client.end.recv(REQUEST_OCTETS)
                client.data += piece
                whole = b"\r\n\r\n" in client.data or b"\n\n" in client.data
                if not whole and (not piece or len(client.data) >= REQUEST_OCTETS):
                    return self._close(client)
                if not whole:
                    return None
                client.out = memoryview(answer(client.data, self.text))
                self._poll.modify(client.end.fileno(), select.POLLOUT)
            client.out = client.out[client.end.send(client.out):]
        except BlockingIOError:
            return None
        except OSError:
            return self._close(client)
        return None if client.out else self._close(client)

    def _close(self, client: Client) -> None:
        fd = client.end.fileno()
        del self._clients[fd], self._handlers[fd]
        self._poll.unregister(fd)
        client.end.close()


def answer(request: bytes, text: Callable[[], str]) -> bytes:
    """The whole answer to a whole request.  HTTP/1.0: the connection ends behind it."""
    words = request.split(b"\n", 1)[0].split()
    status, body, kind = "404 Not Found", b"/metrics was expected\n", "text/plain"
    if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
        status, body = "400 Bad Request", b"GET /metrics was expected\n"
    elif words[1].partition(b"?")[0] in (b"/metrics", b"/"):
        status, body, kind = "200 OK", text().encode(), measures.CONTENT_TYPE
    head = f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n" \
           "Connection: close\r\n\r\n".encode()
    return head if words[:1] == [b"HEAD"] else head + body


def _listening(place: Place) -> socket.socket:
    """OSError."""
    if place.kind == "tcp":
        family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
        end = socket.socket(family, socket.SOCK_STREAM)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        where: tuple[str, int] | str = (place.address, place.port)
    else:
        end, where = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), place.path
    umask = os.umask(0o117)            # for the owner and the group of the folder
    try:
        if place.kind == "unix":
            _remove_socket(place.path)
        end.bind(where)
        end.listen(CLIENTS)
        end.setblocking(False)
    except OSError:
        end.close()
        raise
    finally:
        os.umask(umask)
    return end


def _remove_socket(path: str) -> None:
    """Of an earlier process that was killed; nothing else is removed."""
    import stat
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        return
