"""A fork that is refused: one client hears of it, one line a minute is in the log, and all goes on."""
from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.system import proc
from tests.conftest import descriptors, until
from tests.programs.chain import RESIDENT, chain, eventually

server_test = pytest.mark.server
BUSY = b"* BYE [UNAVAILABLE] The server has too much to do, please try again later.\r\n"


def refusing(flag: Path, number: int = errno.EAGAIN) -> str:
    """Python after which no fork succeeds while the file ``flag`` is there."""
    return f"""
fork = os.fork
def refuse():
    if os.path.exists({str(flag)!r}):
        raise OSError({number}, os.strerror({number}))
    return fork()
os.fork = refuse
"""


@pytest.fixture
def flag() -> Iterator[Path]:
    """Its name, where the account sees it too."""
    folder = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    folder.chmod(0o755)
    yield folder / "flag"
    shutil.rmtree(folder)


@server_test
@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
def test_a_new_connection(number: int, flag: Path) -> None:
    with chain(before=refusing(flag, number), IMAP_LOGIN_PROCESSES="0") as server:
        there = server.session()
        flag.touch()
        for _ in range(3):
            with server.connect() as client:
                assert until(client, b"never") == BUSY
        flag.unlink()
        server.session().close()
        there.sendall(b"a NOOP\r\n")
        assert b"a OK" in until(there, b"a OK")
        said = [line for line in server.log.read_text().splitlines() if "cannot be" in line]
        assert len(said) == 1
        assert said[0].endswith(f"CRIT: a connection cannot be served: {os.strerror(number)}; "
                                "accepting pauses for 1 s")


@server_test
def test_a_session_behind_a_login_process(flag: Path) -> None:
    with chain(before=refusing(flag), IMAP_LOGIN_PROCESSES="1", IMAP_REUSE="no", IMAP_PREFORK="0") as server:
        there = server.session()
        flag.touch()
        for _ in range(3):
            with server.greeted() as client:
                client.sendall(b"a LOGIN demo demo\r\n")
                assert until(client, b"never").startswith(b"* BYE [UNAVAILABLE] ")
        flag.unlink()
        server.session().close()
        there.sendall(b"a NOOP\r\n")
        assert b"a OK" in until(there, b"a OK")
        said = server.log.read_text()
        assert said.count("CRIT: a session cannot be started: " + os.strerror(errno.EAGAIN)) == 1


@server_test
def test_a_program_that_does_not_speak_imap_says_nothing(flag: Path) -> None:
    with chain(before=refusing(flag), program=("/bin/cat",)) as server:
        flag.touch()
        with server.connect() as client:
            assert until(client, b"never") == b""
        flag.unlink()
        with server.connect() as client:
            client.sendall(b"x\n")
            assert until(client, b"\n") == b"x\n"


@server_test
def test_password_helpers_and_keeper(flag: Path) -> None:
    """They are started again as soon as there can be any."""
    with chain(before=refusing(flag), IMAP_PREFORK="0") as server:
        eventually(lambda: len(server.children()) == RESIDENT)
        flag.touch()
        for pid in server.children():
            os.kill(pid, signal.SIGKILL)
        server.wait_log("no password helper can be started: fork")
        server.wait_log("the keeper of idle connections cannot be started: fork")
        assert server.process.poll() is None
        flag.unlink()
        eventually(lambda: len(server.children()) == RESIDENT)
        server.session(b"SELECT INBOX", b"IDLE").close()
        said = server.log.read_text()
        assert said.count("no password helper can be started") == 1
        assert said.count("the keeper of idle connections cannot be started") == 1


@server_test
def test_an_idle_connection_waits_until_it_can_be_woken(flag: Path) -> None:
    with chain(before=refusing(flag), IMAP_PREFORK="0", IMAP_REUSE="no") as server:
        eventually(lambda: len(server.children()) == RESIDENT)
        client = server.session(b"SELECT INBOX", b"IDLE")
        eventually(lambda: len(server.children()) == RESIDENT)
        flag.touch()
        client.sendall(b"DONE\r\n")
        server.wait_log("an idle connection cannot be woken: fork")
        flag.unlink()
        assert b"s2 OK" in until(client, b"s2 OK")


@server_test
def test_a_start_without_a_rehearsal(flag: Path) -> None:
    flag.touch()
    with chain(before=refusing(flag)) as server:
        server.wait_log("WARN: no rehearsal of a session")
        flag.unlink()
        server.session().close()


@server_test
def test_the_relay_of_a_program_that_is_execd(flag: Path) -> None:
    """Octets behind LOGIN need one.  The client hears why it is not served."""
    with chain(before=refusing(flag), program=("imaplogin", "/bin/cat")) as server:
        client = server.greeted()
        flag.touch()
        client.sendall(b"a LOGIN demo demo\r\nbehind\r\n")
        assert until(client, b"never").startswith(b"* BYE [UNAVAILABLE] ")
        flag.unlink()
        client = server.greeted()
        client.sendall(b"a LOGIN demo demo\r\nbehind\r\n")
        assert until(client, b"behind\r\n") == b"behind\r\n"


@server_test
def test_no_descriptor_is_left() -> None:
    """accept() cannot take the connection: it hears why all the same, and the listener does not spin."""
    with chain(IMAP_HIBERNATE="0") as server:
        there = server.session()
        limits = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)

        def is_turned_away() -> bool:
            """False where one was closed meanwhile that the listener still had for its last client."""
            used = {int(fd) for fd in os.listdir(f"/proc/{server.process.pid}/fd")}
            free = min(set(range(len(used) + 1)) - used)
            resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (free, limits[1]))
            with server.connect() as client:
                return until(client, b"\r\n") == BUSY and until(client, b"never") == b""
        eventually(is_turned_away)
        server.wait_log("CRIT: a connection cannot be taken: Too many open files; accepting pauses for 1 s")
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limits)
        server.session().close()
        there.sendall(b"a NOOP\r\n")
        assert b"a OK" in until(there, b"a OK")


def test_work_beside_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proc.elsewhere(lambda: b"done")() == b"done"
    assert proc.elsewhere(lambda: 1 // 0)() is None  # type: ignore[arg-type,return-value]
    before = len(descriptors())

    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "no")

    monkeypatch.setattr(os, "fork", refuse)
    assert proc.elsewhere(lambda: b"done")() is None
    assert len(descriptors()) == before


def test_one_door_leads_to_fork() -> None:
    """All forks hold signals back and tie the child to its parent; a daemon's are another thing."""
    house = Path(proc.__file__).parents[1]
    found = {path.name for path in house.rglob("*.py") if "os.fork(" in path.read_text()}
    assert found == {"proc.py", "pidfile.py"}
