"""couriertcpd, pop3login and pop3d, spoken to by poplib."""
from __future__ import annotations

import os
import poplib
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.admin import mkcert
from courierpy.maildir.formats import pop3list
from courierpy.system.programs import interpreter
from tests.conftest import fill, free_port, plain_environ, until, wait_for
from tests.programs.chain import DEADLINE, Chain, chain

pytestmark = pytest.mark.server
POP3 = ("pop3login", "pop3d", "Maildir")


@pytest.fixture(scope="module", params=["process", "doorway"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """With and without login processes."""
    certificate = tmp_path_factory.mktemp("tls") / "pem"
    assert mkcert.main([str(certificate)]) == 0
    with chain(program=POP3, POP3_STARTTLS="YES", TLS_CERTFILE=str(certificate), IMAP_LOGIN_DELAY="0",
               IMAP_LOGIN_PROCESSES="1" if request.param == "doorway" else "0") as found:
        yield found


def client(served: Chain) -> poplib.POP3:
    return poplib.POP3("127.0.0.1", served.port, timeout=DEADLINE)


def context() -> ssl.SSLContext:
    found = ssl.create_default_context()
    found.check_hostname, found.verify_mode = False, ssl.CERT_NONE
    return found


def test_a_session(served: Chain) -> None:
    pop = client(served)
    assert pop.getwelcome() == b"+OK Hello there."
    told = pop.capa()
    assert told["SASL"] == ["PLAIN", "LOGIN"] and "STLS" in told and "UIDL" in told
    assert pop.user("demo") == b"+OK Password required."
    assert pop.pass_("demo") == b"+OK logged in."
    assert "SASL" not in pop.capa()
    count, octets = pop.stat()
    listed = [row.split() for row in pop.list()[1]]
    assert len(listed) == count > 0 and sum(int(size) for _, size in listed) == octets
    for number, size in listed:
        _, lines, _ = pop.retr(int(number))
        assert sum(len(line) + 2 for line in lines) == int(size)
    assert len(pop.uidl()[1]) == count
    assert pop.quit() == b"+OK Bye-bye."
    served.wait_log(": LOGIN, user=demo, ip=[")
    served.wait_log("top=0, retr=")
    assert (served.home / "Maildir" / pop3list.NAME).exists()


def test_tls(served: Chain) -> None:
    pop = client(served)
    pop.stls(context())
    assert "STLS" not in pop.capa()
    pop.user("demo")
    pop.pass_("demo")
    assert pop.retr(1)
    pop.quit()
    served.wait_log(", stls=1", 2)


def test_what_is_pipelined_is_answered_and_what_came_before_tls_is_not(served: Chain) -> None:
    with served.connect() as plain:
        plain.sendall(b"USER demo\r\nPASS demo\r\nSTAT\r\nNOOP\r\nQUIT\r\n")
        said = until(plain, b"+OK Bye-bye.\r\n").splitlines()
        assert [line.split()[0] for line in said] == [b"+OK"] * 6
    with served.connect() as plain:
        plain.sendall(b"STLS\r\nUSER demo\r\n")
        until(plain, b"negotiation now.\r\n")
        with context().wrap_socket(plain) as secure:
            secure.sendall(b"PASS demo\r\n")
            assert until(secure, b"\r\n") == b"-ERR USER/PASS required.\r\n"


def test_a_refusal_and_then_a_login(served: Chain) -> None:
    pop = client(served)
    pop.user("demo")
    with pytest.raises(poplib.error_proto, match=r"-ERR \[AUTH\] Login failed\."):
        pop.pass_("wrong")
    pop.user("demo")
    pop.pass_("demo")
    pop.quit()
    served.wait_log("LOGIN FAILED, user=demo, ip=[")


def test_utf8_of_before_the_login_counts_behind_it(served: Chain) -> None:
    box = served.home / "Maildir"
    name = f"17{os.getpid():08d}.M1P1.utf8"
    path = box / "new" / name
    path.write_bytes("Subject: gr\u00fc\u00dfe\n\nx\n".encode())
    shutil.chown(path, box.stat().st_uid, box.stat().st_gid)
    for utf8 in (True, False):
        pop = client(served)
        if utf8:
            pop.utf8()
        pop.user("demo")
        pop.pass_("demo")
        last = [row.rpartition(b" ")[0] for row in pop.list()[1]]
        texts = [b"\n".join(pop.retr(int(number))[1]) for number in last]
        assert any(b"Cannot display Unicode content" in text for text in texts) is not utf8
        pop.quit()


BY_UWS_NAME = "from courierpy.pop3d import run_ipop3d; run_ipop3d()"


@pytest.mark.parametrize("words", [
    [*interpreter("courierpy.pop3login"), "pop3d", "Maildir"],
    pytest.param([sys.executable, "-c", BY_UWS_NAME], marks=pytest.mark.skipif(
        os.getuid() != 0, reason="of inetd's users only root can log others in"))],
    ids=["pop3login", "ipop3d"])
def test_from_inetd(words: list[str]) -> None:
    """A socket on descriptors 0 and 1, and no listener of ours."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(DEADLINE)
        process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL,
                                   env=plain_environ())
        theirs.close()
        ours.sendall(b"CAPA\r\nUSER joe\r\nQUIT\r\n")
        said = until(ours, b"+OK Better luck next time.\r\n")
        assert said.startswith(b"+OK Hello there.\r\n") and b"\r\n+OK Password required.\r\n" in said
        assert process.wait(DEADLINE) == 0


def test_ipop3d_is_pop3d(tmp_path: Path) -> None:
    """From a shell or over ssh: as who it is, without a login."""
    fill(tmp_path / "Maildir", 2)
    said = {subprocess.run([*words, tmp_path / "Maildir"], input=b"STAT\r\nQUIT\r\n", capture_output=True,
                           check=True, timeout=DEADLINE, env=plain_environ()).stdout
            for words in ([sys.executable, "-c", BY_UWS_NAME], interpreter("courierpy.pop3d"))}
    answer, = said
    assert answer.startswith(b"+OK ") and b"\r\n+OK 2 " in answer


def test_deleted_by_quit_alone(served: Chain) -> None:
    box = served.home / "Maildir"

    def files() -> list[Path]:
        return [*(box / "cur").iterdir(), *(box / "new").iterdir()]

    before = len(files())
    for ends in (False, True):
        pop = client(served)
        pop.user("demo")
        pop.pass_("demo")
        pop.dele(1)
        if ends:
            pop.quit()
        else:
            pop.close()
            served.wait_log("DISCONNECTED, user=demo")
        assert len(files()) == before - ends


def test_courierpy_serve(served: Chain, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    settings = tmp_path / "pop3d"
    settings.write_text(f"ADDRESS=127.0.0.1\nPORT={port}\nPOP3_STARTTLS=NO\n"
                        f"AUTHMODULES=authuserdb\nUSERDB={served.home / 'userdb'}\n")
    with log.open("wb") as errors:
        process = subprocess.Popen([sys.executable, "-m", "courierpy", "serve", "--pop3", "-C",
                                    str(settings)], stderr=errors, env=plain_environ(), cwd="/")
    try:
        wait_for(port, process, log)
        pop = poplib.POP3("127.0.0.1", port, timeout=DEADLINE)
        assert "STLS" not in pop.capa()
        pop.user("demo")
        assert pop.pass_("demo") == b"+OK logged in."
        pop.quit()
    finally:
        process.terminate()
        assert process.wait(DEADLINE) == 0
