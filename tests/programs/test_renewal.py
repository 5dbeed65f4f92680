"""SIGHUP: the listener goes on as a new image of itself, and nobody notices but for the settings."""
from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import REPO, Server, account_python, free_port, plain_environ, serving, until, wait_for
from tests.programs.chain import chain, children, eventually
from tests.programs.test_doorway import login_processes

pytestmark = pytest.mark.server


def wait_log(log: Path, text: str, times: int = 1) -> str:
    end = time.monotonic() + 30
    while log.read_text().count(text) < times:
        assert time.monotonic() < end, f"not logged {times} times: {text}\n{log.read_text()}"
        time.sleep(0.02)
    return log.read_text()


def connect(port: int) -> tuple[socket.socket, bytes]:
    client = socket.create_connection(("127.0.0.1", port), 30)
    client.settimeout(30)
    return client, until(client, b"\r\n")


def renew(server: Server, times: int) -> None:
    """``times``: how often it was done by then.  The master passes the signal on to both listeners."""
    server.process.send_signal(signal.SIGHUP)
    wait_log(server.log, "]: settings read again", 2 * times)


@pytest.mark.parametrize("mode", ["fork", "exec", "doorway"])
def test_twenty_clients_go_on(mode: str) -> None:
    with serving(mode, MAXPERIP="22") as server:
        listeners = children(server.process.pid)
        clients = []
        for number in range(20):
            client, _ = connect(server.port)
            clients.append(client)
            if number >= 5:                               # the others have not logged in
                client.sendall(b"a LOGIN demo demo\r\n")
                assert b"a OK" in until(client, b"a OK")
            if number % 3 == 1 and number >= 5:
                client.sendall(b"b SELECT INBOX\r\nc IDLE\r\n")
                until(client, b"+ ")
            elif number % 3 == 2 and number >= 5:
                client.sendall(b"b APPEND INBOX {19}\r\n")
                until(client, b"+ ")
                client.sendall(b"Subject: ")              # half a literal
            else:
                client.sendall(b"b NO")                   # half a command
        settings = server.home / "imapd"
        text = settings.read_text()
        settings.write_text(text + "IMAP_CAPABILITY=IMAP4rev1\n")
        renew(server, 1)
        renew(server, 2)
        settings.write_text(text + "IMAP_CAPABILITY=IMAP4rev1\nnot an assignment\n")
        server.process.send_signal(signal.SIGHUP)
        wait_log(server.log, "not an assignment; the settings in force stay", 2)
        settings.write_text(text + "IMAP_CAPABILITY=IMAP4rev1\n")
        renew(server, 3)
        assert children(server.process.pid) == listeners

        for number, client in enumerate(clients):
            if number % 3 == 1 and number >= 5:
                client.sendall(b"DONE\r\n")
                assert b"c OK" in until(client, b"c OK")
            elif number % 3 == 2 and number >= 5:
                client.sendall(b"x\r\n\r\nbody.\r\n")
                assert b"b OK" in until(client, b"b OK")
            else:
                client.sendall(b"OP\r\n")
                assert b"b OK" in until(client, b"b OK")
            if number < 5:                                # its password helpers are new ones
                client.sendall(b"d LOGIN demo demo\r\n")
                assert b"d OK" in until(client, b"d OK")
        new = [connect(server.port), connect(server.port)]
        for client, greeting in new:
            assert greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=")   # the changed setting
            client.sendall(b"a LOGIN demo demo\r\n")
            assert b"a OK" in until(client, b"a OK")
        assert connect(server.port)[1] == b""             # the limit counts those from before
        wait_log(server.log, "ALERT: Maximum connection limit reached")
        clients[0].close()
        end = time.monotonic() + 20
        while not connect(server.port)[1]:                # and hears when they end
            assert time.monotonic() < end
            time.sleep(0.05)


class Alone:
    """couriertcpd by itself, from a copy of the package that a test may break."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], log: Path, package: Path) -> None:
        self.port = port
        self.process = process
        self.log = log
        self.package = package

    def echo(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 30) as client:
            client.settimeout(30)
            client.sendall(b"here\n")
            return until(client, b"\n") == b"here\n"


@contextmanager
def alone(folder: Path, *words: str, python: str = sys.executable, library: str = "",
          program: tuple[str, ...] = ("/bin/cat",)) -> Iterator[Alone]:
    if not library:
        shutil.copytree(REPO / "courierpy", folder / "library" / "courierpy",
                        ignore=shutil.ignore_patterns("__pycache__"))
        library = str(folder / "library")
    port, log = free_port(), folder / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen([python, "-m", "courierpy.tcpd", "-address=127.0.0.1", "-nodnslookup",
                                    *words, str(port), *program], stderr=stderr, cwd="/",
                                   env=plain_environ(PYTHONPATH=library))
    try:
        wait_for(port, process, log)
        yield Alone(port, process, log, Path(library.split(os.pathsep)[0]) / "courierpy")
    finally:
        process.terminate()
        process.wait(20)


def test_none_is_turned_away_meanwhile(tmp_path: Path) -> None:
    with alone(tmp_path, "-maxperip=100", "-maxprocs=100") as tcpd:
        for _ in range(5):
            tcpd.process.send_signal(signal.SIGHUP)
            end = time.monotonic() + 0.4
            while time.monotonic() < end:
                assert tcpd.echo()
        wait_log(tcpd.log, "settings read again")
        assert tcpd.process.poll() is None


def test_a_program_that_does_not_start_is_not_started(tmp_path: Path) -> None:
    with alone(tmp_path) as tcpd:
        assert tcpd.echo()
        source = tcpd.package / "tcpd.py"
        text = source.read_text()
        source.write_text("this is no Python\n")
        tcpd.process.send_signal(signal.SIGHUP)
        wait_log(tcpd.log, "ERR: the program does not start again")
        assert tcpd.echo()
        source.write_text(text.replace('log.info("settings read again")', 'log.info("new code runs")'))
        tcpd.process.send_signal(signal.SIGHUP)
        wait_log(tcpd.log, "]: new code runs")
        assert tcpd.echo()


def test_a_program_whose_sessions_fail_is_not_taken(tmp_path: Path) -> None:
    with alone(tmp_path, program=("imaplogin", "authuserdb", "imapd", "Maildir")) as tcpd:
        source = tcpd.package / "imapd.py"
        text = source.read_text()
        assert "def _greet(self) -> None:\n" in text
        source.write_text(text.replace("def _greet(self) -> None:\n",
                                       "def _greet(self) -> None:\n        raise KeyError('bug')\n"))
        tcpd.process.send_signal(signal.SIGHUP)
        said = wait_log(tcpd.log, "the settings in force stay")
        assert "ERR: rehearsal of a session: KeyError: 'bug'; the settings in force stay" in said
        assert connect(tcpd.port)[1].startswith(b"* OK ")


def test_the_end_comes_also_during_a_renewal(tmp_path: Path) -> None:
    """SIGTERM at any moment of it: while the new image is tried, started or has just begun."""
    for number in range(6):
        folder = tmp_path / str(number)
        folder.mkdir()
        with alone(folder) as tcpd, socket.create_connection(("127.0.0.1", tcpd.port), 30) as client:
            client.settimeout(30)
            client.sendall(b"x\n")
            until(client, b"\n")
            tcpd.process.send_signal(signal.SIGHUP)
            time.sleep(number * 0.06)
            tcpd.process.terminate()
            assert tcpd.process.wait(20) == 0
            assert until(client, b"never") == b""         # its child ended too


def test_without_root_the_sockets_are_enough(tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("not root: there is nobody else to become")
    folder = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    folder.chmod(0o755)
    try:
        python, library = account_python(folder)
        with alone(folder, "-user=nobody", "-group=nogroup", python=python, library=library) as tcpd:
            tcpd.process.send_signal(signal.SIGHUP)
            wait_log(tcpd.log, "settings read again")
            assert os.stat(f"/proc/{tcpd.process.pid}").st_uid == pwd.getpwnam("nobody").pw_uid
            assert tcpd.echo()
    finally:
        shutil.rmtree(folder)


# -- login processes that there are no more

def settings_of(file: Path) -> str:
    """What a listener runs first, so that these settings are read anew with each image."""
    return f"import os\nos.environ.update(line.split('=') for line in open({str(file)!r}).read().split())"


# those who begin while the file is there take no client
NEVER_READY = """
import signal
from courierpy import doorway
log_in = doorway.log_in
def wait_instead(*words, **more):
    while os.path.exists({path!r}):
        signal.sigtimedwait((), 0.05)
    return log_in(*words, **more)
doorway.log_in = wait_instead
"""


# a process cannot have its second session, as its groups are others; that comes when the next image begins
LATE = """
import select
from courierpy import sessions
from courierpy.listener import renewal
is_of, begin = sessions.Sessions._is_of, renewal.Renewal.begin
def late(self, account):
    while self._whose is not None and not os.path.exists({path!r}):
        select.select([], [], [], 0.02)
    return self._whose is None and is_of(self, account)
def begin_late(self, left, *words):
    open({path!r}, "w").close()
    links = [each.link for each in left.__self__.services.pool.workers.values() if each.given is not None]
    select.select(links, [], [], 20)
    begin(self, left, *words)
sessions.Sessions._is_of, renewal.Renewal.begin = late, begin_late
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "settings"
    file.write_text("IMAP_LOGIN_PROCESSES=1\n")
    return file


def test_who_had_a_login_process_logs_in_where_there_is_none_any_more(settings: Path) -> None:
    """With the processes of sessions there are no more of either kind: the variables of one mean other
    descriptors in the other."""
    with chain(before=settings_of(settings)) as server, server.greeted() as waiting, \
            server.session() as session:
        settings.write_text("IMAP_LOGIN_PROCESSES=0\n")
        server.hup(1)
        for client in waiting, session:
            client.sendall(b"a LOGIN demo demo\r\n" if client is waiting else b"a UNAUTHENTICATE\r\n")
            assert b"a OK" in until(client, b"a OK")
        session.sendall(b"b LOGIN demo demo\r\n")
        waiting.sendall(b"b SELECT INBOX\r\n")
        for client in waiting, session:
            assert b"b OK" in until(client, b"b OK")
        settings.write_text("IMAP_LOGIN_PROCESSES=1\n")
        server.hup(2)
        for client in waiting, session:
            client.sendall(b"c UNAUTHENTICATE\r\nd LOGIN demo demo\r\n")
            assert b"d OK" in until(client, b"d OK")


def test_who_came_back_while_there_was_none_is_not_forgotten(settings: Path, tmp_path: Path) -> None:
    never = tmp_path / "never"
    with chain(before=settings_of(settings) + NEVER_READY.format(path=str(never))) as server, \
            server.session() as client:
        never.touch()
        before = {*server.children()}
        os.kill(login_processes(server)[0], signal.SIGKILL)
        eventually(lambda: {*server.children()} - before, "no other one has begun")
        client.sendall(b"a UNAUTHENTICATE\r\n")
        assert b"a OK" in until(client, b"a OK")
        settings.write_text("IMAP_LOGIN_PROCESSES=0\n")
        server.hup(1)
        client.sendall(b"b LOGIN demo demo\r\nc SELECT INBOX\r\n")
        assert b"c OK" in until(client, b"c OK")


def test_a_session_that_is_given_back_at_that_moment_goes_on(run_directory: Path) -> None:
    with chain(before="import os" + LATE.format(path=str(run_directory / "begins"))) as server:
        server.session(b"LOGOUT").close()
        eventually(lambda: "LOGOUT, user=demo" in server.log.read_text())
        with server.greeted() as client:
            client.sendall(b"a LOGIN demo demo\r\nb SELECT INBOX\r\n")
            server.hup(1)
            assert b"b OK" in until(client, b"b OK")


def looked(client: socket.socket) -> bytes:
    """What a session tells that follows from the settings."""
    client.sendall(b"a LOGIN demo demo\r\nb GETQUOTAROOT INBOX\r\n"
                   b'c LIST "" *\r\nd STATUS INBOX (MESSAGES)\r\ne LOGOUT\r\n')
    said = until(client, b"e OK")
    assert said.startswith(b"a OK"), said
    return said


def test_the_next_session_has_the_settings_that_were_read_again(settings: Path) -> None:
    """Also that of a client who had come before, and where a process has served the account already and waits
    for it with the Maildir of then."""
    changed = "IMAP_LOGIN_PROCESSES=1\nIMAP_NO_PREFIX=1\nMAILDIRQUOTA=4711000S\n"
    with chain(before=settings_of(settings)) as server:
        with server.greeted() as client:
            old = looked(client)
        with server.greeted() as waiting:
            settings.write_text(changed)
            server.hup(1)
            said = [looked(waiting)]
        for _ in range(2):
            with server.greeted() as client:
                said.append(looked(client))
    with chain(before=settings_of(settings)) as server, server.greeted() as client:
        wanted = looked(client)
    assert b" 4601)" in wanted and wanted != old
    assert said == [wanted] * 3
