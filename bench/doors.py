"""What sessions a second there could be: a server of the same processes, with as little Python as can be.

One process accepts, greets, and gives each client to one of those that speak before the login.  That asks,
with the client, one which checks the password and gives it back to the first; a process for sessions does for
it what a SELECT and a LOGOUT ask of the system, and waits for the next, or ends and had been forked for this
one.
All messages and system calls are those of couriertcpd and its processes; nothing is parsed or refused.
"""
from __future__ import annotations

import os
import select
import signal
import socket
import tempfile
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count

from bench.client import sessions
from bench.peers import HASH, MEMORY, PASSWORD
from courierpy.auth import passwords
from courierpy.system import passing, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = [b"LOGIN ann secret", b"SELECT INBOX"]
WARM = 30                              # sessions before those that count
LOGINS, AHEAD = 2, 2                   # processes before the login, and forked ahead
PAGE, PAGES = os.sysconf("SC_PAGE_SIZE"), 770      # that a session writes to where its process was forked
NUMBER = 4                             # octets of the number of a client
WORDS, LINE = b"* OK " + bytes(300), b"d imapd: a line of the log, which says who it is and from where\n"


def sessions_a_second(total: int, at_once: int, forked: bool = False) -> float:
    """``forked``: each has a process of its own."""
    prefix, memory = "courierpy-bench-doors-", MEMORY if os.path.isdir(MEMORY) else None
    with tempfile.TemporaryDirectory(prefix=prefix) as home, \
            tempfile.TemporaryDirectory(prefix=prefix, dir=memory) as folder, \
            _serving(home, folder, forked) as port:
        sessions(port, COMMANDS, WARM, 1)
        return total / sessions(port, COMMANDS, total, at_once)


@contextmanager
def _serving(home: str, folder: str, forked: bool) -> Iterator[int]:
    for name in ("cur", "new", "tmp"):
        os.mkdir(os.path.join(home, name))
    open(os.path.join(home, "courierimapuiddb"), "wb").close()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        pid = proc.fork(partial(_accept, listening, home, folder, forked), signal.SIGKILL)
        port = int(listening.getsockname()[1])
    try:
        yield port
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class _Pool:
    """The processes of sessions.  ``ready``: their channels, the last one first; ``waiting``: clients for
    whom there is none yet."""

    def __init__(self, home: str, folder: str, poll: select.poll, forked: bool) -> None:
        self.home = home
        self.folder = folder
        self.poll = poll
        self.forked = forked
        self.area = bytearray(PAGE * PAGES)
        self.ready: list[socket.socket] = []
        self.by_fd: dict[int, socket.socket] = {}
        self.waiting: list[tuple[bytes, int]] = []
        for _ in range(AHEAD if forked else proc.processors() + 1):
            self._fork()

    def _fork(self) -> None:
        ours, theirs = passing.pair()
        proc.fork(partial(_serve, theirs, self.home, self.folder, self.area if self.forked else None),
                  signal.SIGKILL)
        theirs.close()
        self.ready.append(ours)
        self.by_fd[ours.fileno()] = ours
        self.poll.register(ours, select.POLLIN)

    def give(self, order: bytes, fd: int) -> None:
        if not self.ready:
            self.waiting.append((order, os.dup(fd)))
            return
        end = self.ready.pop()
        passing.send(end, [order], (fd,))
        if self.forked:
            self.poll.unregister(end)
            del self.by_fd[end.fileno()]
            end.close()

    def done(self, fd: int) -> None:
        end = self.by_fd[fd]
        for _ in passing.waiting(end, ""):
            self.ready.append(end)

    def tend(self) -> None:
        """There are processes for those who wait, and who waits gets one."""
        if self.forked and len(self.ready) < AHEAD / 2:
            while len(self.ready) < max(AHEAD, len(self.waiting)):
                self._fork()
            for _ in proc.ended():
                continue
        while self.waiting and self.ready:
            order, client = self.waiting.pop(0)
            self.give(order, client)
            os.close(client)


def _accept(listening: socket.socket, home: str, folder: str, forked: bool) -> int:
    """The first process, as long as it lives."""
    poll = select.poll()
    gives, giving = passing.pair()
    questions, order = [], []
    for _ in range(LOGINS):
        ours, theirs = passing.pair()
        asks, asked = passing.pair()
        proc.fork(partial(_speak, theirs, asks), signal.SIGKILL)
        questions.append(asked)
        order.append(ours)
    proc.fork(partial(_check, questions, giving), signal.SIGKILL)
    pool = _Pool(home, folder, poll, forked)
    for end in (listening, gives):
        poll.register(end, select.POLLIN)
    numbers = count()
    while True:
        for fd, _ in poll.poll():
            if fd == listening.fileno():
                client, _ = listening.accept()
                client.send(WORDS[:200] + b"\r\n")
                passing.send(order[next(numbers) % LOGINS], [b"C", bytes(80)], (client.fileno(),))
                client.close()
            elif fd == gives.fileno():
                for data, fds in passing.waiting(gives, ""):
                    pool.give(data, fds[0])
                    passing.close(fds)
            elif fd in pool.by_fd:
                pool.done(fd)
        pool.tend()


def _speak(link: socket.socket, asks: socket.socket) -> int:
    """A process before the login."""
    poll = select.epoll()
    for end in (link, asks):
        poll.register(end.fileno(), select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == link.fileno():
                for _, fds in passing.waiting(link, ""):
                    client = socket.socket(fileno=fds[0])
                    clients[client.fileno()] = client
                    poll.register(client.fileno(), select.EPOLLIN)
            elif fd in clients:
                line = clients[fd].recv(65536)
                poll.unregister(fd)
                passing.send(asks, [fd.to_bytes(NUMBER, "big"), line], (fd,))
            else:
                for answer, _ in passing.waiting(asks, ""):
                    clients.pop(int.from_bytes(answer[:NUMBER], "big")).close()


def _check(questions: list[socket.socket], giving: socket.socket) -> int:
    """The process that knows the passwords."""
    poll = select.poll()
    ends = {end.fileno(): end for end in questions}
    for fd in ends:
        poll.register(fd, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            for data, fds in passing.waiting(ends[fd], ""):
                passwords.verify(HASH, PASSWORD)
                passing.send(giving, [bytes(160)], fds)
                ends[fd].send(data[:NUMBER])
                passing.close(fds)


def _serve(link: socket.socket, home: str, folder: str, area: bytearray | None) -> int:
    """A process of sessions; of one, where there is an ``area`` to write to."""
    os.chdir(home)
    own = f"tmp/{os.getpid()}.kept"
    open(own, "wb").close()
    log = os.open(os.devnull, os.O_WRONLY)
    wait = select.poll()
    wait.register(link, select.POLLIN)
    while True:
        wait.poll()
        found = passing.receive(link)
        if found is None or not found[1]:
            return 0
        for at in range(0, len(area or b""), PAGE):
            area[at] = 1               # type: ignore[index]
        with socket.socket(fileno=found[1][0]) as client:
            _session(client, folder, own, log)
        if area is not None:
            os.unlink(own)
            return 0
        link.send(b"d")


def _session(client: socket.socket, folder: str, own: str, log: int) -> None:
    poll = select.poll()
    poll.register(client, select.POLLIN)
    said = os.path.join(folder, str(os.getpid()))
    _look(".", "/etc/nologin", "/etc/imapd.alert", "cur", ".Trash/cur", "tmp")
    _write(said, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.write(log, LINE)
    client.send(b"zq0x OK\r\n")
    poll.poll()
    client.recv(65536)
    _look("courierimapacl", "cur", "new", "tmp", "maildirsize")
    os.listdir("tmp")
    os.rename(own, own + ".reader")
    for _ in range(2):                 # what the numbers are believed by, before and behind
        _look("cur", "new", "courierimapkeywords", "courierimapuiddb", "courierimapacl")
    _look("courierpyindex/recent", "courierpyindex/modseq")
    _write(said, os.O_WRONLY)
    client.send(WORDS + b"\r\nzq1x OK\r\n")
    poll.poll()
    client.recv(65536)
    client.send(b"* BYE\r\nzq2x OK\r\n")
    os.write(log, LINE)
    os.unlink(said)
    client.shutdown(socket.SHUT_WR)
    poll.poll()
    client.recv(65536)
    os.rename(own + ".reader", own)
    os.listdir("tmp")
    os.stat("/proc/self/fd")


def _look(*paths: str) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            os.stat(path)


def _write(path: str, flags: int) -> None:
    fd = os.open(path, flags, 0o600)
    os.write(fd, LINE)
    os.close(fd)
