"""What systemd is told of the listeners, what it opens for them, and its units."""
from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.admin import demo
from courierpy.admin.notified import Together
from courierpy.system import notify
from tests.conftest import REPO, need, plain_environ, until

DEADLINE = 60.0                        # seconds
UNITS = REPO / "etc" / "systemd"


class Manager:
    """As systemd hears it: only the main process of the service counts."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.name = f"courierpy-test-{os.urandom(8).hex()}"
        self._socket.bind(f"\0{self.name}")
        self._socket.settimeout(DEADLINE)
        self.main = os.getpid()

    def hear(self) -> list[str]:
        """The lines of the next datagram of the main process."""
        while True:
            data, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
            if struct.unpack("3i", ancillary[0][2][:12])[0] == self.main:
                return data.decode().splitlines()

    def hears(self, line: str) -> list[str]:
        """The lines of the datagram that holds this one, and of none before it."""
        while line not in (lines := self.hear()):
            pass
        return lines

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    manager = Manager()
    monkeypatch.setenv(notify.VARIABLE, f"@{manager.name}")
    yield manager
    manager.close()


def test_what_is_said(manager: Manager) -> None:
    notify.ready("well")
    assert manager.hear() == ["READY=1", "STATUS=well"]
    before = time.monotonic_ns() // 1000
    notify.reloading()
    first, second, _ = manager.hear()
    assert first == "RELOADING=1"
    name, _, value = second.partition("=")
    assert name == "MONOTONIC_USEC" and before <= int(value) <= time.monotonic_ns() // 1000
    notify.stopping()
    assert manager.hear()[0] == "STOPPING=1"


def test_a_socket_in_the_file_system_and_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)                # a path has 107 octets at most
    monkeypatch.setenv(notify.VARIABLE, "socket")
    notify.ready("nobody hears it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind("socket")
        notify.ready("x")
        assert door.recv(100) == b"READY=1\nSTATUS=x"
    monkeypatch.delenv(notify.VARIABLE)
    notify.ready("nobody is there")


@pytest.mark.parametrize(("usec", "pid", "lines"), [
    ("1", "", ["WATCHDOG=1", "STATUS=s"]), ("1", "1", ["STATUS=s"]), ("", "", ["STATUS=s"]),
    ("x", "", ["STATUS=s"])])
def test_the_pulse(usec: str, pid: str, lines: list[str], manager: Manager,
                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", pid)
    pulse = notify.Pulse()
    pulse.turn(lambda: "s")
    assert manager.hear() == lines
    pulse.turn(lambda: "other")                # too soon for a status
    notify.tell("END")
    rest = manager.hear()
    assert rest == (["WATCHDOG=1"] if "WATCHDOG=1" in lines else ["END"])


def test_several_listeners_are_one_service() -> None:
    together, pids = Together(), (1, 2)
    assert together.heard(1, ["READY=1", "STATUS=a"], pids) == ["STATUS=a"]
    assert together.heard(2, ["READY=1", "STATUS=b"], pids) == ["READY=1", "STATUS=a; b"]
    assert together.heard(1, ["WATCHDOG=1"], pids) == ["STATUS=a; b"]
    assert together.heard(1, ["WATCHDOG=1"], pids) == ["STATUS=a; b"]
    assert together.heard(2, ["WATCHDOG=1", "STATUS=c"], pids) == ["WATCHDOG=1", "STATUS=a; c"]
    assert together.heard(2, ["WATCHDOG=1"], pids) == ["STATUS=a; c"]
    assert together.heard(2, ["RELOADING=1", "MONOTONIC_USEC=5"], pids) == [
        "MONOTONIC_USEC=5", "RELOADING=1", "STATUS=a; c"]
    assert together.heard(1, ["RELOADING=1", "MONOTONIC_USEC=6"], pids)[0] == "MONOTONIC_USEC=6"
    assert together.heard(1, ["READY=1"], pids) == ["STATUS=a; c"]
    assert together.heard(2, ["READY=1"], pids) == ["READY=1", "STATUS=a; c"]
    assert together.heard(2, ["STOPPING=1"], pids)[0] == "STOPPING=1"


# -- the listeners

# as systemd starts a service: its sockets from descriptor 3 on, for this pid
START = ("import fcntl, os, sys\nos.environ['LISTEN_PID'] = str(os.getpid())\n"
         "fds = [fcntl.fcntl(int(word), fcntl.F_DUPFD, 100) for word in sys.argv[1].split(',')]\n"
         "for at, fd in enumerate(fds):\n    os.dup2(fd, 3 + at)\n    os.close(fd)\n"
         "os.execv(sys.executable, [sys.executable, '-m', 'courierpy', *sys.argv[2:]])")


@pytest.mark.server
@pytest.mark.parametrize("names", [("imap",), ("imaps", "imap")])
def test_a_service_from_start_to_end(names: tuple[str, ...]) -> None:
    """With one listener, and with two whose sockets come in the other order."""
    manager = Manager()
    folder = Path(tempfile.mkdtemp(prefix="courierpy-test-"))          # which the account may enter
    folder.chmod(0o755)
    demo.make(str(folder / "demo"))
    settings = folder / "demo" / "imapd"
    text = settings.read_text() + f"IMAPDSSLSTART={'YES' if 'imaps' in names else 'NO'}\n"
    settings.write_text(text)
    opened = [socket.create_server(("127.0.0.1", 0), backlog=16) for _ in names]
    ports = {name: one.getsockname()[1] for name, one in zip(names, opened, strict=True)}
    environ = plain_environ(NOTIFY_SOCKET=f"@{manager.name}", WATCHDOG_USEC="200000",
                            LISTEN_FDS=str(len(names)), LISTEN_FDNAMES=":".join(names))
    fds = [one.fileno() for one in opened]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", START, ",".join(map(str, fds)), "serve", "-C",
                                    str(settings)], pass_fds=fds, stderr=log, env=environ, cwd="/")
    try:
        for one in opened:
            one.close()
        manager.main = process.pid
        status = next(line for line in manager.hears("READY=1") if line.startswith("STATUS="))
        assert status.count("connections") == len(names)
        with socket.create_connection(("127.0.0.1", ports["imap"]), timeout=DEADLINE) as client:
            assert until(client, b"\n").startswith(b"* OK")
        if "imaps" in ports:                           # which says nothing before the handshake
            with socket.create_connection(("127.0.0.1", ports["imaps"]), timeout=DEADLINE) as client:
                client.sendall(b"a NOOP\r\n")
                assert not until(client, b"\n").startswith(b"*")
        manager.hears("WATCHDOG=1")
        process.send_signal(signal.SIGHUP)
        assert any(line.startswith("MONOTONIC_USEC=") for line in manager.hears("RELOADING=1"))
        manager.hears("READY=1")
        settings.write_text(text + "no assignment\n")
        process.send_signal(signal.SIGHUP)
        # each listener reloads in its own time, one maybe a second time before the other
        while "the settings in force stay" not in str(manager.hears("READY=1")):
            pass
        process.send_signal(signal.SIGTERM)
        manager.hears("STOPPING=1")
        assert process.wait(DEADLINE) == 0, (folder / "log").read_text()
    finally:
        process.kill()
        process.wait()
        manager.close()
        shutil.rmtree(folder)


# -- units

def test_the_units_are_sound(tmp_path: Path) -> None:
    need("systemd-analyze")
    for path in [*UNITS.glob("*.*"), *(UNITS / "user").iterdir()]:
        text = path.read_text()
        for word in ("/usr/local/bin/courierpy", "/usr/local/bin/imapd", "/usr/local/bin/notifyd"):
            text = text.replace(word, shutil.which("true") or "/bin/true")
        (tmp_path / path.name).write_text(text)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 10
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *names], cwd=tmp_path, text=True,
                          capture_output=True, check=False, timeout=DEADLINE)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_units_start_what_is_installed() -> None:
    """Below the PREFIX that Makefile and README have."""
    started = {line.partition("=")[2].split()[0] for path in [*UNITS.glob("*.service"), *UNITS.glob("user/*")]
               for line in path.read_text().splitlines() if line.startswith("ExecStart=")}
    assert started == {"/usr/local/bin/courierpy", "/usr/local/bin/imapd", "/usr/local/bin/notifyd"}
    assert "PREFIX ?= /usr/local\n" in (REPO / "Makefile").read_text()
