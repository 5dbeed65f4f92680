"""couriertcpd with imaplogin and imapd behind it, in a process group of its own."""
from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from courierpy.admin import demo
from courierpy.system.programs import interpreter
from tests.conftest import MODE, REPO, account_python, free_port, of_mode, plain_environ, until, wait_for

DEADLINE = 30.0
MARK = "COURIERPY_TEST_MARK"
# children of a listener that has no client, and forks none ahead of sessions: the keeper, and password
# helpers, or one and login processes
RESIDENT = 4 if MODE == "doorway" else 3


def eventually(true: Callable[[], object], what: str = "it did not come about") -> None:
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """As the kernel tells them, which passes one over where another ends meanwhile: until it says the same
    twice."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    found = path.read_text()
    while (again := path.read_text()) != found:
        found = again
    return [int(word) for word in found.split()]


class Chain:
    """``process``: the listener.  ``home``: with userdb and Maildir of the account demo/demo."""

    def __init__(self, home: Path, port: int, process: subprocess.Popen[bytes], log: Path, mark: str) -> None:
        self.home = home
        self.port = port
        self.process = process
        self.log = log
        self.mark = mark

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), DEADLINE)
        client.settimeout(DEADLINE)
        return client

    def greeted(self) -> socket.socket:
        client = self.connect()
        assert until(client, b"\r\n").startswith(b"* OK ")
        return client

    def session(self, *commands: bytes) -> socket.socket:
        """A client that has logged in."""
        client = self.greeted()
        for number, command in enumerate((b"LOGIN demo demo", *commands)):
            client.sendall(b"s%d %s\r\n" % (number, command))
            end = b"+ " if command == b"IDLE" else b"s%d OK" % number
            said = until(client, end)
            assert end in said, said
        return client

    def processes(self) -> dict[int, str]:
        """Everything that was started by this listener and lives: pid -> command line."""
        found = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    environ = Path(f"/proc/{entry}/environ").read_bytes()
                    state = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0]
                    words = Path(f"/proc/{entry}/cmdline").read_bytes()
                except OSError:
                    continue
                if f"{MARK}={self.mark}".encode() in environ.split(b"\0") and state not in "ZX":
                    found[int(entry)] = words.replace(b"\0", b" ")[-80:].decode(errors="replace")
        return found

    def children(self) -> list[int]:
        """Of the listener, those that live."""
        return sorted({*children(self.process.pid)} & {*self.processes()})

    def wait_log(self, text: str, times: int = 1) -> str:
        eventually(lambda: self.log.read_text().count(text) >= times,
                   f"not logged {times} times: {text}\n{self.log.read_text()}")
        return self.log.read_text()

    def hup(self, times: int) -> None:
        """``times``: how often it was done by then."""
        self.process.send_signal(signal.SIGHUP)
        self.wait_log(": settings read again", times)


@contextmanager
def chain(*options: str, before: str = "", program: tuple[str, ...] = ("imaplogin", "imapd", "Maildir"),
          mode: str = MODE, **settings: str) -> Iterator[Chain]:
    """``before``: Python that the listener runs first, also when it starts anew."""
    top = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    top.chmod(0o755)
    home = top / "demo"
    demo.make(str(home))
    port, log, mark = free_port(), top / "log", os.urandom(8).hex()
    *words, _ = interpreter("courierpy.tcpd")
    # what is exec'd is the account's already, and must be able to read the package; so must another user
    python, path = (account_python(top) if any(each.startswith(("-exec", "-user")) for each in options)
                    else (sys.executable, str(REPO)))
    words[0] = python
    paths = [*path.split(os.pathsep), *(word for word in sys.path if "site-packages" in word)]
    run = "import os; exec(os.environ['COURIERPY_TEST_CODE'])"
    code = f"""
import sys
sys.path[:0] = {paths!r}
{before}
from courierpy import tcpd
sys.exit(tcpd.main(["couriertcpd", *sys.argv[1:]], os.environ, [*{words!r}, {run!r}, *sys.argv[1:]]))
"""
    environ = plain_environ(**{MARK: mark, "COURIERPY_TEST_CODE": code, "USERDB": str(home / "userdb"),
                               "AUTHMODULES": "authuserdb", "IMAP_HIBERNATE": "1", **of_mode(mode),
                               **settings})
    with log.open("wb") as stderr:
        process = subprocess.Popen([*words, run, "-address=127.0.0.1", "-nodnslookup", "-maxperip=100",
                                    "-maxprocs=100", *options, str(port), *program], stderr=stderr,
                                   env=environ, cwd="/", start_new_session=True)
    found = Chain(home, port, process, log, mark)
    try:
        wait_for(port, process, log)
        yield found
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            for pid in found.processes():
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(top)

