"""What a server counts (METRICS), from its processes to who reads it; courierpy stats."""
from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from courierpy.admin import stats
from courierpy.listener import places
from tests.conftest import plain_environ, serving
from tests.system.test_metrics import read

pytestmark = pytest.mark.server

Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]
COMMANDS = "courierpy_commands_total"


class Watched:
    """A server, and the unix socket ``door`` and the ``file`` where its counts are."""

    def __init__(self, port: int, maildir: Path, process: subprocess.Popen[bytes], log: Path,
                 folder: Path) -> None:
        self.port = port
        self.maildir = maildir
        self.process = process
        self.log = log
        self.door = folder / "door"
        self.file = folder / "counts.prom"

    def text(self) -> str:
        return stats.read(places.parse(f"unix:{self.door}")[0])

    def value(self, name: str, **labels: str) -> float:
        """Of all series with these labels."""
        wanted = set(labels.items())
        return sum(value for (own, key), value in read(self.text()).items()
                   if own == name and wanted <= set(key))

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a state of the counts."""
        end = time.monotonic() + 60
        while True:
            try:
                if holds():
                    return
            except OSError:            # the process is not there yet
                pass
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def until_value(self, wanted: float, name: str, **labels: str) -> None:
        self.until(lambda: self.value(name, **labels) == wanted)

    def keeper(self) -> int:
        """The pid of the process that keeps the counts."""
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(str(self.door))
            pid: int = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
            return pid

    @contextmanager
    def client(self) -> Iterator[BinaryIO]:
        with socket.create_connection(("127.0.0.1", self.port), 60) as end, end.makefile("rwb", 0) as client:
            client.readline()
            yield client


def hear(client: BinaryIO, begin: bytes) -> None:
    """Until a line that begins so."""
    while (line := client.readline()) and not line.startswith(begin):
        pass
    assert line, begin


def say(client: BinaryIO, *lines: bytes) -> None:
    """Each is answered before the next."""
    for number, line in enumerate(lines):
        client.write(b"t%d %s\r\n" % (number, line))
        hear(client, b"t%d " % number)


@contextmanager
def watched(mode: str, folder: Path, **settings: str) -> Iterator[Watched]:
    with serving(mode, METRICS=f"unix:{folder}/door file:{folder}/counts.prom", IMAP_LOGIN_DELAY="0",
                 **settings) as server:
        yield Watched(server.port, server.maildir, server.process, server.log, folder)


def session(server: Watched, *lines: bytes) -> None:
    with server.client() as client:
        say(client, b"LOGIN demo demo", *lines, b"LOGOUT")


@pytest.mark.parametrize("mode", ["fork", "exec", "doorway"])
def test_what_is_done_is_counted(mode: str, tmp_path: Path) -> None:
    with watched(mode, tmp_path) as server:
        with server.client() as client:
            say(client, b'LOGIN "a\\"b\\\\" x', b"LOGIN demo wrong", b"LOGIN demo demo", b"NOOP", b"NOOP",
                b"EXAMINE nothing", b"SELECT INBOX", b"UID FETCH 1:* (FLAGS)", b'A"B\\ x', b"NOOP x",
                b"LOGOUT")
        server.until_value(1, COMMANDS, command="LOGOUT")
        by_password = {"protocol": "IMAP", "mechanism": "PASSWORD"}
        for wanted, name, labels in (
                (2, "courierpy_logins_total", {**by_password, "result": "failed"}),
                (1, "courierpy_logins_total", {**by_password, "result": "ok"}),
                (1, "courierpy_sessions_begun_total", {"protocol": "IMAP"}),
                (2, COMMANDS, {"command": "NOOP", "result": "ok"}),
                (1, COMMANDS, {"command": "NOOP", "result": "bad"}),
                (1, COMMANDS, {"command": "EXAMINE", "result": "no"}),
                (1, COMMANDS, {"command": "SELECT", "result": "ok"}),
                (1, COMMANDS, {"command": "UID FETCH", "result": "ok"}),
                (1, COMMANDS, {"command": "unknown", "result": "bad"}),
                (1, "courierpy_command_seconds_count", {"command": "UID FETCH"})):
            server.until_value(wanted, name, **labels)
        text = server.text()
        received = server.value("courierpy_received_octets_total")
        assert server.value("courierpy_sent_octets_total") > received > 100
        assert not re.search(r"demo|a\\+\"b|A\\+\"B", text)        # what a client says is no label
        # both listeners tell how they are, by one process
        server.until_value(2, "courierpy_listener_up")
        assert len(re.findall("^courierpy_start_time_seconds ", text, re.M)) == 1
        server.until(lambda: bool(read(server.file.read_text())))
        assert oct(server.door.stat().st_mode & 0o777) == "0o660"
    assert not server.door.exists()
    assert not server.file.exists()


def test_who_sleeps_and_what_is_pushed(tmp_path: Path) -> None:
    with watched("doorway", tmp_path, IMAP_HIBERNATE="1") as server, server.client() as client:
        say(client, b"LOGIN demo demo", b"SELECT INBOX")
        client.write(b"i IDLE\r\n")
        hear(client, b"+")
        server.until_value(1, "courierpy_sessions", state="asleep")
        server.until_value(1, COMMANDS, command="SELECT")          # who falls asleep has sent it
        server.until_value(0, "courierpy_sessions", state="awake")
        (server.maildir / "new" / "1800000000.M1P1.host").write_bytes(b"Subject: x\n\nx\n")
        hear(client, b"* 5 EXISTS")
        client.write(b"DONE\r\n")
        hear(client, b"i OK")
        say(client, b"LOGOUT")
        server.until_value(1, COMMANDS, command="IDLE", result="ok")
        server.until(lambda: server.value("courierpy_push_seconds_count") >= 1)
        assert server.value("courierpy_command_seconds_count", command="IDLE") == 0
        server.until_value(1, "courierpy_sessions_begun_total")
        server.until_value(0, "courierpy_sessions")


def test_the_keeper_of_counts_may_hang_or_end(tmp_path: Path) -> None:
    with watched("doorway", tmp_path) as server:
        session(server)
        server.until_value(1, COMMANDS, command="LOGOUT")
        pid = server.keeper()
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                session(server, b"NOOP")
        finally:
            os.kill(pid, signal.SIGCONT)
        server.until_value(3, COMMANDS, command="NOOP")
        # a reload goes on with it
        begun = server.value("courierpy_start_time_seconds")
        server.process.send_signal(signal.SIGHUP)
        server.until(lambda: server.log.read_text().count("settings read again") == 2)
        session(server, b"NOOP")
        server.until_value(4, COMMANDS, command="NOOP")
        assert server.value("courierpy_start_time_seconds") == begun
        assert server.keeper() == pid
        # another one begins at zero, and says so by the moment of its start
        os.kill(pid, signal.SIGKILL)
        server.until(lambda: server.value("courierpy_start_time_seconds") > begun)
        session(server, b"NOOP")
        server.until_value(1, COMMANDS, command="NOOP")


def test_a_place_that_is_none_ends_the_start() -> None:
    done = subprocess.run([sys.executable, "-c", "from courierpy.tcpd import run; run()", "1", "imaplogin",
                           "imapd"], env=plain_environ(METRICS="0.0.0.0:9143"), capture_output=True,
                          text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "METRICS: 0.0.0.0:9143: expected was unix:/PATH" in done.stderr
