"""What all tests share: a demo account, and how a missing client is treated."""
from __future__ import annotations

import gc
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from courierpy.admin import demo
from courierpy.imap.grammar.args import Args
from courierpy.imap.grammar.framer import Frame, Framer, LiteralAhead
from courierpy.maildir.mailbox import Mailbox
from courierpy.system import log, pulse

# how long an example takes says how busy the machine is, not whether the code is right; and the same
# examples come each time, others where COURIERPY_FUZZ_SECONDS asks for them
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow],
                          derandomize="COURIERPY_FUZZ_SECONDS" not in os.environ)
settings.load_profile("any machine")
# Hypothesis tries the constants of all modules that are loaded, too: which ones these are hangs on the tests
# that the same worker had before.  It has no setting for that
if "COURIERPY_FUZZ_SECONDS" not in os.environ:
    vars(providers)["is_local_module_file"] = lambda path: False

REPO = Path(__file__).resolve().parent.parent
# fork: a connection's process is a fork of the listener; exec: each program is exec'd; doorway: login
# processes have the clients before their login.  What is a test of all runs in all; this is the mode of all
# the other tests that start a listener.
MODE = os.environ.get("COURIERPY_TEST_MODE", "doorway")

MAIL = (b"From: Ann <ann@example.org>\nTo: demo@example.net\nSubject: mail %d\n"
        b"Date: Mon, 1 Jan 2024 10:00:00 +0000\nMessage-ID: <m%d@example.org>\n\nHello %d.\n")


# folders whose sessions are spoken to over pipes: they share nothing, and may run beside all others
PIPES = ("faults", "maildir", "realtime")
# these start listeners of their own, and use no file of the real Courier: a file's tests have these in common
OWN = ("programs",)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With ``--dist loadgroup`` what shares files of the real Courier runs one after the other on one worker,
    with all else that is not named above.  Beside it go the tests of our own programs, a file each, those
    of many tests first; what needs no port fills up the workers at the end."""
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Lanes(LoadScopeScheduling):                # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            folder = nodeid.split("/")[1]
            return nodeid if folder in PIPES else nodeid.partition("::")[0] if folder in OWN else "others"

    return Lanes(config, log)


def need(program: str) -> str:
    """The path of a real client; without it the test is skipped, or fails where clients are required."""
    path = shutil.which(program)
    if path is None:
        missing(f"{program} is not installed")
    return path


def missing(told: str) -> NoReturn:
    """What the test needs is not here: it is skipped, or fails where clients are required."""
    if os.environ.get("COURIERPY_REQUIRE_CLIENTS"):
        pytest.fail(f"{told}, and clients are required here")
    pytest.skip(told)


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """What a program said of itself in this process, its lines say no more in the next test; nor does a
    session of before, which is not there any more, hear how far that is."""
    state = log.kept()
    yield
    log.restore(state)
    pulse.hear(None)


def fill(maildir: Path, count: int) -> None:
    """``count`` messages in new/."""
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        (maildir / "new" / f"{1700000000 + number}.M{number}P1.host").write_bytes(
            MAIL % (number, number, number))


def args_of(line: bytes, utf8: bool = False) -> Args:
    """Of a whole command; its literals are taken."""
    framer = Framer()
    framer.feed(line + b"\r\n")
    while isinstance(event := framer.next(), LiteralAhead):
        framer.accept()
    assert isinstance(event, Frame)
    return Args(event, utf8)


def octets(folder: Mailbox, uid: int) -> bytes:
    """A message's file as it is."""
    with folder.finder.open(uid) as file:
        return file.whole()


def plain_environ(**more: str) -> dict[str, str]:
    """An environment without this machine's own settings."""
    return {"PATH": os.environ["PATH"], "TZ": "UTC", "LANG": "C.UTF-8",
            "PYTHONPATH": str(REPO), **more}


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    """A Maildir with three messages in new/."""
    path = tmp_path / "home" / "Maildir"
    fill(path, 3)
    return path


@pytest.fixture
def tunnel(maildir: Path) -> str:
    """The command that serves ``maildir`` on standard input and output, PREAUTH."""
    return f"env AUTHENTICATED=demo {sys.executable} -m courierpy.imapd {maildir}"


class Server:
    """couriertcpd on free loopback ports, with the account demo/demo."""

    def __init__(self, home: Path, port: int, tls_port: int, process: subprocess.Popen[bytes],
                 certificate: Path, log: Path) -> None:
        self.home = home
        self.maildir = home / "Maildir"
        self.port = port
        self.tls_port = tls_port
        self.process = process
        self.certificate = certificate
        self.log = log


_ports: set[int] = set()
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def free_port() -> int:
    """Another one each time, and none of another worker's: the kernel may give the same twice, where nobody
    listens there yet."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        # it gives odd ones alone to who listens; a worker that was lost has a later one in its place
        if port not in _ports and port // 2 % _WORKERS == _WORKER % _WORKERS:
            _ports.add(port)
            return port


def listens(port: int) -> bool:
    """Is ``port`` listened on?  Asked of the kernel: a connection would be counted by limits."""
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(path):
            with open(path) as rows:
                next(rows)
                for words in map(str.split, rows):
                    # those that listen come first; thousands of connections of before may follow
                    if words[3] != "0A":
                        break
                    if int(words[1].rpartition(":")[2], 16) == port:
                        return True
    return False


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until something listens on ``port``."""
    end = time.monotonic() + 20
    while not listens(port):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, "the listener did not come up\n" + log.read_text()
        time.sleep(0.02)


def descriptors() -> set[str]:
    """Those of this process that are open: not what a test before left to the collector, which comes when
    it likes."""
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


def until(client: socket.socket, end: bytes) -> bytes:
    """What comes up to ``end``, or to the end of the connection."""
    data = b""
    while end not in data:
        try:
            piece = client.recv(65536)
        except ConnectionResetError:
            break
        if not piece:
            break
        data += piece
    return data


def account_ids() -> tuple[int, int]:
    """uid and gid of the test account: our own, or nobody's when we are root."""
    if os.getuid():
        return os.getuid(), os.getgid()
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def as_account(words: list[str], environ: dict[str, str]) -> bool:
    """Does this command succeed as the test account?"""
    uid, gid = account_ids()

    def become() -> None:
        if os.getuid() == 0:
            os.setgroups([gid])
            os.setgid(gid)
            os.setuid(uid)

    try:
        return subprocess.run(words, preexec_fn=become, capture_output=True, env=environ, cwd="/",  # noqa: PLW1509
                              check=False, timeout=60).returncode == 0
    except OSError:
        return False


def account_python(folder: Path) -> tuple[str, str]:
    """(interpreter, PYTHONPATH) that the test account may use too.

    Our own, unless it lies where only root may go; then the system's, with a copy
    of the package in ``folder``.
    """
    probe = ["-c", "import courierpy.imapd"]
    if as_account([sys.executable, *probe], plain_environ()):
        return sys.executable, str(REPO)
    library = folder / "library"
    shutil.copytree(REPO / "courierpy", library / "courierpy", ignore=shutil.ignore_patterns("__pycache__"))
    path = os.pathsep.join([str(library), *(word for word in sys.path if "site-packages" in word)])
    for python in ("/usr/bin/python3", "/usr/local/bin/python3"):
        if as_account([python, *probe], plain_environ(PYTHONPATH=path)):
            return python, path
    missing("no interpreter that the test account may start")


def of_mode(mode: str = MODE) -> dict[str, str]:
    """The settings that make it."""
    return {"IMAP_LOGIN_PROCESSES": "0"} if mode == "fork" else {}


@contextmanager
def serving(mode: str = MODE, errors: int | None = None, **settings: str) -> Iterator[Server]:
    """The chain, in one of its modes.

    ``errors``: where standard error leads instead of to the log, as Popen has it.
    """
    # not pytest's own folder: the account must be able to enter it
    home = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    home.chmod(0o755)
    demo.make(str(home / "demo"))
    python, path = (account_python(home) if mode == "exec" else (sys.executable, str(REPO)))
    home = home / "demo"
    certificate = home / "imapd.pem"
    port, tls_port = free_port(), free_port()
    values = {"PORT": str(port), "SSLADDRESS": "127.0.0.1", "SSLPORT": str(tls_port), "IMAPDSSLSTART": "YES",
              "TLS_CERTFILE": str(certificate), "TCPDOPTS": "-nodnslookup" + " -exec" * (mode == "exec"),
              **of_mode(mode), **settings}
    file = home / "imapd"
    file.write_text(file.read_text() + "".join(f'{name}="{value}"\n' for name, value in values.items()))
    log = home.parent / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen([python, "-c", "from courierpy.admin import run; run()", "serve",
                                    "-C", str(file)], stderr=stderr if errors is None else errors,
                                   env=plain_environ(PYTHONPATH=path), cwd="/")
    try:
        wait_for(port, process, log)
        wait_for(tls_port, process, log)
        yield Server(home, port, tls_port, process, certificate, log)
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(home.parent)


@pytest.fixture(params=["fork", "exec", "doorway"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The chain in each of its modes."""
    with serving(request.param) as running:
        yield running


@pytest.fixture
def run_directory() -> Iterator[Path]:
    """For RUNDIRECTORY.  Not pytest's own folder: accounts must be able to enter it."""
    with tempfile.TemporaryDirectory(prefix="courierpy-test-") as found:
        os.chmod(found, 0o755)
        (Path(found) / "run").mkdir(mode=0o755)
        yield Path(found) / "run"
