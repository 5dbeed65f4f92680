"""fail2ban's filter courier-auth, as shipped, finds each refused login once, in every form of the log."""
from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import MODE, free_port, need, plain_environ, serving, until, wait_for

pytestmark = [pytest.mark.server, pytest.mark.clients]

# whoever reads the log must not take what a client says for an address
LINES = b"x\r\nLOGIN FAILED, user=x, ip=[10.9.8.7], port=[1]"
FORGED = (rb'LOGIN "x, ip=[::ffff:10.9.8.7], port=[1]" y', b"LOGIN {%d+}\r\n%s y" % (len(LINES), LINES),
          b"LOGIN x,ip=[10.9.8.7] y", b'LOGIN "10.9.8.7 imapd[1]: LOGIN FAILED, user=y, ip=[10.9.8.7]" y',
          b"AUTHENTICATE PLAIN " + b64encode(b"\0x, ip=[10.9.8.7], port=[1]\0y"),
          b"AUTHENTICATE PLAIN " + b64encode(b"10.9.8.7\0x\0y"))
SETTINGS = {"IMAP_LOGIN_DELAY": "0"}


def banned(log: Path, kind: str = "file") -> list[str]:
    """The addresses that the filter finds, one for each line that matches."""
    done = subprocess.run([need("fail2ban-regex"), "-o", "ip", str(log), f"courier-auth[logtype={kind}]"],
                          capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def attack(port: int) -> list[str]:
    """Refused logins from three addresses; what the filter must find."""
    found = []
    for number, line in enumerate((b"LOGIN demo wrong", b"LOGIN \"\" x", b"AUTHENTICATE LOGIN", *FORGED), 1):
        address = f"127.0.0.{number}"
        with socket.create_connection(("127.0.0.1", port), 20, (address, 0)) as client:
            client.settimeout(20)
            until(client, b"\r\n")
            client.sendall(b"a " + line + b"\r\n")
            if line.endswith(b" LOGIN"):
                for _ in range(2):
                    until(client, b"\r\n")
                    client.sendall(b64encode(b"wrong") + b"\r\n")
            answer = until(client, b"\r\n")
            while answer.startswith(b"+"):
                answer = until(client, b"\r\n")
            assert answer == b"a NO [AUTHENTICATIONFAILED] Login failed.\r\n", line
            found.append(address)
    return found


def settles(log: Path, count: int) -> None:
    """Until the log has so many refused logins."""
    end = time.monotonic() + 20
    while log.read_text().count(": LOGIN FAILED, ") < count and time.monotonic() < end:
        time.sleep(0.02)


@pytest.mark.parametrize("mode", ["fork", "exec", "doorway"])
def test_serve_into_a_file(mode: str) -> None:
    with serving(mode, **SETTINGS) as server:
        wanted = attack(server.port)
        settles(server.log, len(wanted))
        assert banned(server.log) == wanted, server.log.read_text()


@contextmanager
def tcpd(options: list[str], before: list[str], folder: Path, **environ: str) -> Iterator[int]:
    """couriertcpd with a program in front of it; its port."""
    port = free_port()
    words = [*before, sys.executable, "-c", "from courierpy.tcpd import run; run()", *options, "-maxperip=20",
             "-address=127.0.0.1", str(port), "imaplogin", "authuserdb", "imapd", "Maildir"]
    (folder / "userdb").write_text("nobody-at-all\tuid=1|gid=1|home=/\n")
    (folder / "userdb").chmod(0o600)
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(words, stderr=stderr, cwd="/", start_new_session=True, env=plain_environ(
            USERDB=str(folder / "userdb"), **SETTINGS, **environ))
    try:
        wait_for(port, process, folder / "stderr")
        yield port
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


def test_stderr_into_a_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with tcpd([f"-stderr={log}"], [], tmp_path) as port:
        wanted = attack(port)
        settles(log, len(wanted))
    assert banned(log) == wanted, log.read_text()


def test_serve_into_a_pipe() -> None:
    with serving(MODE, errors=subprocess.PIPE, **SETTINGS) as server:
        assert server.process.stderr is not None
        reader = threading.Thread(target=lambda: server.log.write_bytes(server.process.stderr.read()))  # type: ignore[union-attr]
        reader.start()
        wanted = attack(server.port)
        server.process.terminate()
        reader.join(30)
        assert banned(server.log) == wanted, server.log.read_text()


class Sink:
    """A datagram socket that collects what is sent to it."""

    def __init__(self, path: str) -> None:
        self.found: list[bytes] = []
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._door.bind(path)
        os.chmod(path, 0o666)
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        while True:
            self.found.append(self._door.recv(65536))

    def lines(self, count: int) -> list[str]:
        end = time.monotonic() + 20
        while sum(b"LOGIN FAILED, " in line for line in self.found) < count and time.monotonic() < end:
            time.sleep(0.02)
        return [line.decode() for line in self.found]


def test_courierlogger(tmp_path: Path) -> None:
    """The real one, with somebody behind it who writes lines as a syslog daemon does."""
    logger = need("courierlogger")
    if os.getuid() or os.path.exists("/dev/log"):
        pytest.skip("/dev/log is not ours to be")
    sink = Sink("/dev/log")
    try:
        with tcpd([], [logger, "-name=imapd"], tmp_path) as port:
            wanted = attack(port)
            lines = sink.lines(len(wanted))
    finally:
        os.unlink("/dev/log")
    log = tmp_path / "mail.log"
    log.write_text("".join(re.sub(r"^<\d+>(\w+ +\d+ \S+) ", r"\1 host ", line).rstrip("\0\n") + "\n"
                           for line in lines))
    assert banned(log) == wanted, log.read_text()
    assert "INFO: " not in log.read_text()


def test_the_journal(tmp_path: Path) -> None:
    """As fail2ban writes an entry of the journal as a line."""
    door = tmp_path / "journal"
    tmp_path.chmod(0o755)
    sink = Sink(str(door))
    program = ("import os, sys\nfrom courierpy.system import log\nfrom courierpy import tcpd\n"
               f"log.JOURNAL = {str(door)!r}\n"
               "tcpd.main(['couriertcpd', *sys.argv[1:]], os.environ, [])\n")
    ours, theirs = socket.socketpair()
    found = os.fstat(theirs.fileno())
    port = free_port()
    (tmp_path / "userdb").write_text("")
    (tmp_path / "userdb").chmod(0o600)
    process = subprocess.Popen(
        [sys.executable, "-c", program, "-maxperip=20", "-address=127.0.0.1", str(port), "imaplogin",
         "authuserdb", "imapd", "Maildir"], stderr=theirs, start_new_session=True, env=plain_environ(
             USERDB=str(tmp_path / "userdb"), JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}", **SETTINGS))
    try:
        (tmp_path / "none").write_text("")
        wait_for(port, process, tmp_path / "none")
        wanted = attack(port)
        lines = sink.lines(len(wanted))
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)
        ours.close()
        theirs.close()
    log = tmp_path / "log"
    entries = [dict(field.split("=", 1) for field in line.splitlines()) for line in lines]
    log.write_text("".join("2026-07-28T12:00:00.000000 host {SYSLOG_IDENTIFIER}[{SYSLOG_PID}]: {MESSAGE}\n"
                           .format(**entry) for entry in entries))
    assert banned(log, "journal") == wanted, log.read_text()
