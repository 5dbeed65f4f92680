"""Logins sent on to the real Courier; three servers in networks of their own behind haproxy."""
from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from courierpy.admin import demo
from tests.conftest import REPO, free_port, need, plain_environ, until, wait_for
from tests.peers.test_links import LOGIN, Lab, authdaemond, lab
from tests.programs.chain import DEADLINE, chain, eventually
from tests.programs.test_proxy import account, line_of

pytestmark = pytest.mark.peers
__all__ = ["authdaemond", "lab"]

CLONE_NEWNET = 0x40000000
NETWORK = "10.77.83"
HAPROXY = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    retries 5
    option redispatch 1
listen imap
    bind {network}.254:143
    balance roundrobin
    server one {network}.1:143 send-proxy-v2
    server two {network}.2:143 send-proxy-v2
    server three {network}.3:143 send-proxy-v2
"""


@pytest.mark.usefixtures("authdaemond")
@pytest.mark.parametrize("foreign", ["0", "1"])
def test_courier_has_the_mail(lab: Lab, foreign: str) -> None:        # noqa: F811
    port, log = free_port(), lab.folder / "log"
    with log.open("wb") as stderr:
        courier = subprocess.Popen([need("/usr/sbin/couriertcpd"), "-address=127.0.0.1", "-nodnslookup",
                                    "-noidentlookup", str(port), need(LOGIN), need("/usr/bin/imapd"),
                                    "Maildir"], stderr=stderr, cwd="/",
                                   env=plain_environ(IMAP_CAPABILITY="IMAP4rev1 UIDPLUS"))
    try:
        wait_for(port, courier, log)
        with chain(IMAP_PROXY="1", IMAP_PROXY_FOREIGN=foreign) as front:
            account(front, "demo", f"127.0.0.1:{port}")
            client = front.greeted()
            client.sendall(b"a LOGIN demo demo\r\n")
            said = line_of(client)
            if foreign == "1":
                assert said.startswith(b"* CAPABILITY IMAP4rev1 UIDPLUS"), said
                said = line_of(client)
            else:
                assert b"[CAPABILITY IMAP4rev1 UIDPLUS" in said
            assert said.startswith(b"a OK ") and said.endswith(b"connected to proxy server.\r\n"), said
            client.sendall(b"b SELECT INBOX\r\n")
            assert b"* 4 EXISTS" in until(client, b"b OK")
            client.sendall(b"c LOGOUT\r\n")
            assert b"Courier-IMAP server shutting down" in until(client, b"c OK")
            client.close()
    finally:
        courier.terminate()
        courier.wait(20)


class Net:
    """Networks by name, at a bridge in that of ``hub``; they are gone when the last process in them is."""

    def __init__(self) -> None:
        self.mark = f"cpy{os.urandom(3).hex()}"
        self.names: list[str] = []
        self.hub = self.add("hub")
        self.run("link", "add", "bridge", "type", "bridge", within=self.hub)
        self.run("addr", "add", f"{NETWORK}.254/24", "dev", "bridge", within=self.hub)
        self.run("link", "set", "bridge", "up", within=self.hub)

    def run(self, *words: str, within: str = "") -> None:
        where = ["-n", within] if within else []
        subprocess.run([need("ip"), *where, *words], check=True, capture_output=True, timeout=30)

    def add(self, name: str) -> str:
        self.run("netns", "add", f"{self.mark}-{name}")
        self.names.append(f"{self.mark}-{name}")
        self.run("link", "set", "lo", "up", within=self.names[-1])
        return self.names[-1]

    def host(self, number: int) -> str:
        """One more, with the address of this number."""
        name = self.add(str(number))
        self.run("link", "add", "eth0", "netns", name, "type", "veth",
                 "peer", "name", f"port{number}", "netns", self.hub)
        self.run("link", "set", f"port{number}", "master", "bridge", "up", within=self.hub)
        self.run("addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0", within=name)
        self.run("link", "set", "eth0", "up", within=name)
        return name

    def connect(self) -> socket.socket:
        """From the hub to haproxy."""
        found: list[socket.socket] = []

        def go() -> None:              # a network is a thread's own
            with open(f"/run/netns/{self.hub}", "rb") as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            found.append(socket.create_connection((f"{NETWORK}.254", 143), DEADLINE))

        thread = threading.Thread(target=go)
        thread.start()
        thread.join()
        found[0].settimeout(DEADLINE)
        assert line_of(found[0]).startswith(b"* OK ")
        return found[0]

    def close(self) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True, timeout=30)


@contextmanager
def process(words: list[str], log: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as stderr:
        started = subprocess.Popen(words, stderr=stderr, stdout=stderr, cwd="/", env=plain_environ(**environ),
                                   start_new_session=True)
    try:
        yield started
    finally:
        try:
            os.killpg(started.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        started.wait(20)


@pytest.fixture
def net() -> Iterator[Net]:
    if os.getuid():
        pytest.skip("not root: networks are root's to make")
    for program in ("haproxy", "ip"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    made = Net.__new__(Net)
    try:
        made.__init__()                # type: ignore[misc]
        for number in (1, 2, 3):
            made.host(number)
    except (OSError, subprocess.SubprocessError) as error:
        made.close()
        pytest.skip(f"no networks can be made here: {error}")
    yield made
    made.close()


@pytest.mark.parametrize("processes", ["0", "2"])
def test_three_servers_behind_haproxy(net: Net, processes: str) -> None:
    """The mail of one user is at the second, of another at the third; each takes all logins."""
    top = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    top.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, top)
        servers = {}
        for number in (1, 2, 3):
            home = top / str(number)
            demo.make(str(home))
            rows = (home / "userdb").read_text().splitlines()
            row = next(row for row in rows if row.startswith("demo\t"))
            (home / "userdb").write_text("".join(
                f"{name}\t{row.partition(chr(9))[2]}|options=mailhost={NETWORK}.{at}\n"
                for name, at in (("ann", 2), ("bob", 3))))
            log = top / f"log{number}"
            servers[number] = stack.enter_context(process(
                ["ip", "netns", "exec", net.names[number], sys.executable, "-m", "courierpy.tcpd",
                 "-address=0", "-nodnslookup", "-maxperip=100", "-maxprocs=100", "-haproxy=30", "143",
                 "imaplogin", "imapd", "Maildir"], log,
                USERDB=str(home / "userdb"), AUTHMODULES="authuserdb", IMAP_PROXY="1", PROXY_ORIGIN="proxy",
                PROXY_HOSTNAME=f"{NETWORK}.{number}", PROXY_TIMEOUT="20", IMAP_LOGIN_DELAY="0",
                IMAP_LOGIN_PROCESSES=processes,
                PYTHONPATH=str(REPO)))
            eventually(partial(listens, net.names[number]), f"{number} does not listen: {log}")
        (top / "haproxy.cfg").write_text(HAPROXY.format(network=NETWORK))
        stack.enter_context(process(["ip", "netns", "exec", net.hub, need("haproxy"), "-db", "-f",
                                     str(top / "haproxy.cfg")], top / "haproxy.log"))
        eventually(partial(listens, net.hub), "haproxy does not listen")
        sessions = [logged_in(net, user) for user in (b"ann", b"bob") * 3]     # by each of the servers
        assert all(said.startswith(b"a OK") for _, said in sessions), sessions
        # whoever carries, the log where the mail is has the client's own address
        for number, user in ((2, "ann"), (3, "bob")):
            own = partial(logins, top / f"log{number}", user)
            eventually(lambda own=own: len(own()) == 3, f"not in the log: {user}")     # type: ignore[misc]
            assert all(f"ip=[::ffff:{NETWORK}.254]" in line for line in own()), own()
        os.killpg(servers[3].pid, signal.SIGKILL)
        servers[3].wait(20)
        # its children end by and by, and have what it listened by
        eventually(lambda: not listens(net.names[3]), "something of the third is there still")
        for _ in range(4):
            client, said = logged_in(net, b"ann")
            assert said.startswith(b"a OK"), said
            client.close()
            client, said = logged_in(net, b"bob")
            assert said.startswith(b"a NO [UNAVAILABLE]"), said
            client.close()
        kept = [client for client, _ in sessions[::2] if answers(client)]
        assert len(kept) >= 2                      # of ann; the one that the third carried is gone with it
        for client, _ in sessions:
            client.close()


def logins(log: Path, user: str) -> list[str]:
    """The lines of sessions that are there, and not carried elsewhere."""
    return [line for line in log.read_text().splitlines()
            if f"LOGIN, user={user}" in line and "proxy=" not in line]


def listens(name: str) -> bool:
    """Does anybody, at the port of IMAP in this network?"""
    found = subprocess.run(["ip", "netns", "exec", name, "cat", "/proc/net/tcp", "/proc/net/tcp6"],
                           capture_output=True, check=True, text=True, timeout=30).stdout
    rows = [row.split() for row in found.splitlines()]
    return any(row[1].endswith(":008F") and row[3] == "0A" for row in rows)


def logged_in(net: Net, user: bytes) -> tuple[socket.socket, bytes]:
    client = net.connect()
    client.sendall(b"a LOGIN %s demo\r\n" % user)
    return client, line_of(client)


def answers(client: socket.socket) -> bool:
    """Does its session go on?"""
    try:
        client.sendall(b"n NOOP\r\n")
        return until(client, b"\r\n").startswith(b"n OK")
    except (AssertionError, OSError):
        return False
