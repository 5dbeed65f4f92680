"""Which way a connection goes where nobody chose one: login processes, and one process for each connection
where something was asked that needs that."""
from __future__ import annotations

import re
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from courierpy.admin import mkcert
from tests.conftest import missing, need, until
from tests.programs.chain import Chain, eventually
from tests.programs.chain import chain as chain_of
from tests.programs.test_doorway import by_tls, login_processes

pytestmark = pytest.mark.server

# no setting says anything of it: also where all other tests are run in another mode
chain = partial(chain_of, mode="doorway", IMAP_LOGIN_DELAY="0")
ALONE = "IMAP_LOGIN_PROCESSES: each connection has a process of its own: "


def test_by_default_there_are_login_processes() -> None:
    with chain() as server, server.session(b"SELECT INBOX"):
        eventually(lambda: len(login_processes(server)) == 2)
        assert ALONE not in server.log.read_text()


@pytest.mark.parametrize(("options", "behind", "why"), [
    (("-exec",), "imapd", "-exec"), (("-stderr=socket",), "imapd", "-stderr=socket"),
    ((), "/bin/cat", "programs that are not ours")])
def test_why_there_are_none_is_told_once(options: tuple[str, ...], behind: str, why: str) -> None:
    with chain(*options, program=("imaplogin", behind)) as server:
        for _ in range(2):
            with server.connect() as client:
                assert b"* OK " in until(client, b"* OK ")
        assert login_processes(server) == []
        assert server.wait_log(ALONE).count(ALONE + why) == 1


def test_it_is_told_in_the_log_that_there_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with chain("-exec", f"-stderr={log}"):
        eventually(lambda: ALONE in log.read_text())
        assert log.read_text().count(ALONE + "-exec") == 1


def test_who_never_had_login_processes_hears_nothing_of_them() -> None:
    with chain(program=("/bin/cat",)) as server, server.connect() as client:
        client.sendall(b"x\n")
        assert until(client, b"\n") == b"x\n"
        assert ALONE not in server.log.read_text()


def calls(server: Chain, to: Path) -> subprocess.Popen[bytes]:
    """strace of the listener alone, which is attached."""
    found = subprocess.Popen([need("strace"), "-yy", "-e", "trace=%net,read,readv,pread64,splice",
                              "-o", str(to), "-p", str(server.process.pid)], stderr=subprocess.PIPE)
    assert found.stderr is not None
    said = found.stderr.readline()
    if b"attached" not in said:
        found.kill()
        found.wait()
        missing(f"strace may not attach here: {said!r}")
    return found


@pytest.mark.parametrize("tls", [False, True])
def test_the_listener_reads_nothing_of_a_client(tls: bool, tmp_path: Path) -> None:
    """By the kernel's own list of its calls, while clients come, log in, idle, are woken and go."""
    certificate = tmp_path / "imapd.pem"
    mkcert.make(str(certificate), "localhost")
    options = ("-tls",) if tls else ()
    with chain(*options, TLS_CERTFILE=str(certificate), IMAP_TLS="1" if tls else "") as server:
        eventually(lambda: len(login_processes(server)) == 2)
        record = tmp_path / "calls"
        tracer = calls(server, record)
        try:
            for word in (b"LOGOUT", b"nonsense", b"IDLE"):
                with by_tls(server, certificate) if tls else server.greeted() as client:
                    client.sendall(b"a LOGIN demo wrong\r\nb LOGIN demo demo\r\nc SELECT INBOX\r\n"
                                   b"d %s\r\n" % word)
                    until(client, b"+ " if word == b"IDLE" else b"d ")
                    if word == b"IDLE":
                        server.wait_log("LOGIN, user=demo", 3)
                        client.sendall(b"DONE\r\n")
                        until(client, b"d OK")
            server.wait_log("DISCONNECTED, user=demo", 2)
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(20)
            assert tracer.stderr is not None
            tracer.stderr.close()
        lines = record.read_text().splitlines()
        taken = [line for line in lines if line.startswith("accept4(") and re.search(r" = \d+<TCP", line)]
        assert len(taken) == 3
        read = [line for line in lines if re.match(r"(recv\w*|read\w*|pread\w*|splice)\(\d+<TCP", line)]
        assert read == []
        assert any(re.match(r"recvmsg\(\d+<UNIX", line) for line in lines)     # it is seen what is read
