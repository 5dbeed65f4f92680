"""Rows about TLS: handshakes, what a quiet connection costs, how soon it hears, how fast it carries.

Each row starts the server once more, on a port of its own, as its maker means TLS to be had: courierpy with
login processes, Courier behind couriertls, Dovecot's imaps.
"""
from __future__ import annotations

import os
import resource
import select
import socket
import ssl
import statistics
import subprocess
import time

from bench import procs
from bench.client import TIMEOUT, Client, Refused, now
from bench.peers import PASSWORD, START, Courier, Courierpy, Missing, free_port
from bench.rows import HIBERNATED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.lab import At
    from bench.rows import Figures

KINDS = {"ecdsa": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["rsa:2048"]}
ROUNDS = 3                         # deliveries that are pushed


class SecureClient(Client):
    """``session``: of TLS, to go on with."""

    def __init__(self, port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self._context = context
        self._session = session
        super().__init__(port)

    def _connect(self, port: int) -> socket.socket:
        self.secure = self._context.wrap_socket(super()._connect(port), session=self._session)
        self.secure.settimeout(TIMEOUT)
        return self.secure


class Secured:
    """A server behind TLS, as long as this is entered.  ``roots``: its processes."""

    def __init__(self, at: At, kind: str = "ecdsa", **more: str) -> None:
        """``more``: settings of courierpy."""
        self.at = at
        self.port = free_port()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self._kind = kind
        self._more = more
        self._before = len(at.server.started)

    def __enter__(self) -> Secured:
        server = self.at.server
        place = os.path.join(server.folder, f"secure-{self.port}")
        os.makedirs(place, 0o755)
        server.start_secure(self.port, place, self._pem(place), **self._more)
        end = time.monotonic() + START
        while True:
            try:
                self.client().logout()
                return self
            except OSError as error:
                if time.monotonic() > end:
                    self.__exit__()
                    raise Missing(f"did not start by TLS ({error}): {server.last_words()}") from None
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.at.server.stop_from(self._before)

    def _pem(self, place: str) -> str:
        path = os.path.join(place, "imapd.pem")
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", *KINDS[self._kind], "-nodes",
                               "-days", "9", "-subj", "/CN=localhost", "-keyout", "-", "-out", "-"],
                              check=True, capture_output=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(made.stdout)
        return path

    def roots(self) -> list[int]:
        return [process.pid for process in self.at.server.started[self._before:]]

    def client(self, session: ssl.SSLSession | None = None) -> SecureClient:
        return SecureClient(self.port, self.context, session)

    def login(self, account: str) -> SecureClient:
        client = self.client()
        client.login(self.at.account(account), PASSWORD)
        return client

    def idling(self, account: str, count: int) -> list[SecureClient]:
        """So many, all of them in IDLE on INBOX."""
        clients = []
        for _ in range(count):
            clients.append(self.login(account))
            clients[-1].do(b"SELECT INBOX")
            clients[-1].idle()
        return clients


def row_handshakes(at: At) -> Figures:
    """Connect, LOGIN, SELECT, LOGOUT; and the same of a client that has the ticket of its last session, which
    not all servers take: theirs is a whole handshake then."""
    found = {}
    for kind, keys in (("ecdsa", "ab"), ("rsa", "cd")):
        with Secured(at, kind) as secured:
            _sessions(secured, 2, resume=False)        # what the first ones cost
            for key, resume in zip(keys, (False, True), strict=True):
                seconds, resumed = _sessions(secured, at.scale.sessions // 4, resume)
                if resume and resumed < 0.9 and isinstance(at.server, Courierpy):
                    raise ValueError(f"row 32: {resumed:.0%} of the tickets were taken")
                found["32" + key] = 1 / seconds
    return found


def _sessions(secured: Secured, count: int, resume: bool) -> tuple[float, float]:
    """Seconds of one, and the share of those whose handshake was resumed."""
    account = secured.at.account("tiny")
    resumed, last = 0, None
    start = now()
    for _ in range(count):
        client = secured.client(last)
        resumed += bool(client.secure.session_reused)
        client.login(account, PASSWORD)
        client.do(b"SELECT INBOX")
        last = client.secure.session if resume else None
        client.logout()
    return (now() - start) / count, resumed / max(1, count - 1)    # the first has nothing to go on with


def many_files() -> None:
    """As many as we may have open, and the servers that we start."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def row_memory(at: At) -> Figures:
    """Courier has three processes for each, and is left out."""
    if isinstance(at.server, Courier):
        return {}
    many_files()
    with Secured(at, IMAP_REUSE="no") as secured:      # no process waits for the next session when it begins
        for client in secured.idling("tiny", 4):
            client.close()
        time.sleep(1.0 if at.scale.seconds > 1 else 0.1)
        base = procs.memory(secured.roots())
        clients = secured.idling("tiny", at.scale.secure)
        time.sleep(2 * HIBERNATED if at.scale.seconds > 1 else 0.1)
        used = procs.memory(secured.roots())
        for client in clients:
            client.close()
    return {"33": max(0.0, (used - base) / at.scale.secure)}


def row_push(at: At) -> Figures:
    """All in one INBOX."""
    if isinstance(at.server, Courier):
        return {}
    many_files()
    found = []
    with Secured(at) as secured:
        clients = secured.idling("tiny", at.scale.told)
        for number in range(ROUNDS):
            time.sleep(HIBERNATED if at.scale.seconds > 1 else 1.5)
            found.append(pushed(at, "tiny", clients, number))
        for client in clients:
            client.close()
    median, last = (1000 * statistics.median(values) for values in zip(*found, strict=True))
    return {"34a": median, "34b": last}


def pushed(at: At, account: str, clients: Sequence[Client], number: int) -> tuple[float, float]:
    """Seconds from a delivery to the first octet at each of these clients, who idle: the median, the last.
    ``number``: of the message."""
    poll = select.poll()
    waiting = {client.sock.fileno(): client for client in clients}
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    for fd, _ in poll.poll(0):         # what came behind the first line of the time before
        waiting[fd].read_until(b"* ")
    start = now()
    at.deliver(account, 1000 + number)
    came = []
    while waiting:
        ready = poll.poll(1000 * TIMEOUT)
        if not ready:
            raise Refused("a push did not come")
        for fd, _ in ready:
            waiting.pop(fd).read_until(b"* ")
            came.append(now() - start)
            poll.unregister(fd)
    return statistics.median(came), max(came)


def row_bodies(at: At) -> Figures:
    """Beside it the same with TLS in the process of the session."""
    found = {}
    ways: list[tuple[str, dict[str, str]]] = [("35", {})]
    if isinstance(at.server, Courierpy):
        ways.append(("35:in process", {"IMAP_LOGIN_PROCESSES": "0"}))
    for key, more in ways:
        with Secured(at, **more) as secured:
            client = secured.login("mail")
            client.do(b"SELECT INBOX")
            client.drain(b"FETCH 1:* (FLAGS)")
            start = now()
            octets = client.drain(b"FETCH 1:* (BODY.PEEK[])")
            found[key] = octets / (now() - start) / 1e6
            client.logout()
    return found
