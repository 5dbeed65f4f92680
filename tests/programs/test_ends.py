"""The end, however it comes: every process hears of it, and nothing is left."""
from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from courierpy.listener import sockets
from tests.conftest import plain_environ, until
from tests.programs.chain import RESIDENT, Chain, chain, eventually

server_test = pytest.mark.server
ROUNDS = int(os.environ.get("COURIERPY_TEST_ROUNDS", "4"))

CHILDREN = """
import os, signal, sys, time
from courierpy.system import proc

def sleep():
    time.sleep(60)
    return 0

lost = 0
for _ in range(100):
    pid = proc.fork(sleep)
    os.kill(pid, signal.SIGTERM)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    lost += status not in (proc.ENDED + signal.SIGTERM, -signal.SIGTERM)
print(lost)
"""


def test_no_signal_to_a_new_child_is_lost() -> None:
    done = subprocess.run([sys.executable, "-c", CHILDREN], capture_output=True, text=True, timeout=60,
                          env=plain_environ(), check=True)
    assert done.stdout == "0\n"


PARENT = """
import os, sys, time
from courierpy.system import proc

def child():
    {then}
    print(os.getpid(), flush=True)
    time.sleep(60)
    return 0

proc.fork(child)
time.sleep(60)
"""


@pytest.mark.parametrize("then", ["pass", "proc.become(65534, 65534, None)",
                                  "os.execvp('sleep', ['sleep', '60'])"])
def test_a_child_ends_with_its_parent(then: str) -> None:
    """Also one that has become somebody else, or another program."""
    if "become" in then and os.getuid():
        pytest.skip("not root: cannot become anybody else")
    if "exec" in then:
        then = "print(os.getpid(), flush=True); " + then
    with subprocess.Popen([sys.executable, "-c", PARENT.format(then=then)], stdout=subprocess.PIPE,
                          env=plain_environ()) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        # its end of the pipe is closed with it
        assert parent.stdout.read() == b""
        eventually(lambda: not os.path.exists(f"/proc/{child}")
                   or Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z")


# -- the listener

def idle(server: Chain) -> list[socket.socket]:
    """Clients before and after the login, awake, asleep and about to be."""
    return [server.connect(), server.greeted(), server.session(), server.session(b"SELECT INBOX", b"IDLE")]


def ended(server: Chain, tmp: Path) -> float:
    """Seconds until nothing was left."""
    began = time.monotonic()
    eventually(lambda: server.process.poll() is not None and not server.processes(),
               f"left: {server.processes()}\n{server.log.read_text()}")
    eventually(lambda: os.listdir(tmp) == [], f"left: {os.listdir(tmp)}")
    return time.monotonic() - began


@server_test
@pytest.mark.parametrize("kind", ["group", "kill"])
def test_at_any_moment(kind: str, tmp_path: Path) -> None:
    """SIGTERM to the whole group, as service managers send it; SIGKILL to the listener alone.  Every
    second time while it starts anew."""
    tmp_path.chmod(0o755)
    dice = random.Random(4)
    slowest = 0.0
    for number in range(ROUNDS):
        tmp = tmp_path / str(number)
        tmp.mkdir()
        tmp.chmod(0o1777)
        with chain(TMPDIR=str(tmp)) as server:
            clients = idle(server)
            if number % 2:
                server.process.send_signal(signal.SIGHUP)
            time.sleep(dice.uniform(0.0, 1.5))
            if kind == "group":
                os.killpg(server.process.pid, signal.SIGTERM)
            else:
                server.process.kill()
            slowest = max(slowest, ended(server, tmp))
            assert server.process.wait() == (0 if kind == "group" else -signal.SIGKILL)
            for client in clients[1:]:
                assert until(client, b"never").startswith(b"* BYE ") or client is clients[1]
    print(f"{kind}: {ROUNDS} rounds, nothing left after {slowest:.2f} s at most")


@server_test
def test_all_who_are_told_to_end_are_no_loss() -> None:
    """The log has no alarm of processes that heard the same signal as the listener."""
    with chain() as server:
        clients = idle(server)
        eventually(lambda: len(server.children()) >= RESIDENT)
        os.killpg(server.process.pid, signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert "CRIT" not in server.log.read_text()
        for client in clients:
            client.close()


@server_test
def test_who_does_not_end_is_killed() -> None:
    """A session that is stopped hears nothing."""
    with chain(IMAP_PREFORK="0") as server:
        eventually(lambda: len(server.children()) == RESIDENT)
        before = server.children()
        client = server.session()
        (pid,) = set(server.children()) - set(before)
        os.kill(pid, signal.SIGSTOP)
        server.process.terminate()
        assert server.process.wait(30) == 0
        assert server.processes() == {}
        assert until(client, b"never") == b""


@server_test
def test_a_session_that_is_about_to_sleep() -> None:
    """It waits for the listener's word, which has heard of the end already."""
    before = """
from courierpy.hibernate.link import Sleepers
from courierpy.listener import children
children.PATIENCE = 600.0
hear = Sleepers.hear
def slow(self):
    return hear(self) if self._ending else iter(())
Sleepers.hear = slow
"""
    with chain(before=before, IMAP_PREFORK="0") as server:
        eventually(lambda: len(server.children()) == RESIDENT)
        client = server.session(b"SELECT INBOX", b"IDLE")
        time.sleep(2.5)                        # it has offered its client, and the keeper has told of it
        server.process.terminate()
        assert until(client, b"never").startswith(b"* BYE ")
        assert server.process.wait(30) == 0


@server_test
@pytest.mark.parametrize("where", ["TMPDIR", "XDG_RUNTIME_DIR"])
def test_a_long_path_does_not_break_the_start(where: str, tmp_path: Path) -> None:
    """AF_UNIX takes 107 octets."""
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    with chain(**{where: str(folder)}) as server:
        server.session().close()
        assert list(folder.iterdir()) == []
        assert "rehearsal" not in server.log.read_text()


def test_the_private_socket_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TMPDIR", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    listening, door = sockets.private()
    with listening, socket.socket(socket.AF_UNIX) as client:
        assert os.listdir(tmp_path) == []
        client.connect(f"/proc/self/fd/{door}")
        served, _ = listening.accept()
        served.close()
        assert os.stat(f"/proc/self/fd/{door}").st_mode & 0o777 == 0o600
    os.close(door)


@server_test
def test_a_session_has_no_way_to_the_helpers() -> None:
    """The descriptor of their socket is closed with the login."""
    with chain(IMAP_LOGIN_PROCESSES="0") as server:
        eventually(lambda: len(server.children()) == 3)
        before = server.children()
        client = server.greeted()
        (login,) = set(server.children()) - set(before)
        assert len(_doors(login)) == 2         # and to the counts of refused logins
        client.sendall(b"a LOGIN demo demo\r\n")
        assert b"a OK" in until(client, b"a OK")
        assert _doors(login) == []


def _doors(pid: int) -> list[str]:
    """What descriptors say that lead to a private socket."""
    found = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    return [link for link in found if link.endswith(" (deleted)") and "courierpy-" in link]


# -- a renewal that is disturbed

@server_test
def test_a_signal_just_before_the_new_image_is_not_lost(tmp_path: Path) -> None:
    """It was heard, by one that goes: the next one knows nothing of it."""
    before = """
from courierpy.listener import renewal
tried = renewal.Renewal.tried
def disturbed(self, status):
    os.kill(os.getpid(), 15)
    return tried(self, status)
renewal.Renewal.tried = disturbed
"""
    with chain(before=before) as server:
        client = server.session()
        server.process.send_signal(signal.SIGHUP)
        assert server.process.wait(30) == 0
        assert b"* BYE " in until(client, b"never")


@server_test
@pytest.mark.parametrize("end", [False, True])
def test_a_certificate_that_is_broken_after_the_trial(end: bool, tmp_path: Path) -> None:
    """The new image waits for a sound one; sessions go on, and it can be ended."""
    from courierpy.admin import mkcert
    certificate = tmp_path / "imapd.pem"
    mkcert.make(str(certificate), "localhost")
    sound = certificate.read_bytes()
    before = f"""
from courierpy.listener import renewal
begin = renewal.Renewal.begin
def disturbed(*words):
    open({str(certificate)!r}, "w").write("garbage")
    begin(*words)
renewal.Renewal.begin = disturbed
"""
    with chain(before=before, TLS_CERTFILE=str(certificate), IMAP_STARTTLS="YES") as server:
        client = server.session()
        server.process.send_signal(signal.SIGHUP)
        server.wait_log("connections wait until that is mended")
        client.sendall(b"a NOOP\r\n")
        assert b"a OK" in until(client, b"a OK")
        if end:
            server.process.terminate()
            assert server.process.wait(30) == 0
            assert b"* BYE " in until(client, b"never")
            return
        with server.connect() as waiting:
            certificate.write_bytes(sound)
            assert until(waiting, b"\r\n").startswith(b"* OK ")
        server.wait_log("settings read again")


@server_test
def test_settings_that_are_broken_after_the_trial(tmp_path: Path) -> None:
    """The settings in force stay, and their environment."""
    before = """
from courierpy.listener import renewal
begin = renewal.Renewal.begin
def disturbed(self, *words):
    self.image = [*self.image[:-4], "-nonsense", *self.image[-4:]]
    os.environ["DEFDOMAIN"] = "@example.net"
    begin(self, *words)
renewal.Renewal.begin = disturbed
"""
    with chain(before=before) as server:
        client = server.session()
        server.process.send_signal(signal.SIGHUP)
        server.wait_log("settings read again")
        assert "Invalid option: -nonsense" in server.wait_log("the settings in force stay")
        client.sendall(b"a NOOP\r\n")
        assert b"a OK" in until(client, b"a OK")
        server.session().close()
