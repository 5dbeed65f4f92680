"""Every link of the chain swapped with the real Courier's: listener, login, session, password daemon."""
from __future__ import annotations

import imaplib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.admin import demo
from tests.conftest import account_python, free_port, need, plain_environ, wait_for

pytestmark = pytest.mark.peers

ETC = Path("/etc/courier")
RUN = Path("/run/courier/authdaemon")
LOGIN = "/usr/lib/courier/courier/imaplogin"


class Lab:
    """``account`` demo/demo with its home, and our programs as scripts that anybody may start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "demo"
        self.userdb = self.home / "userdb"
        python, path = account_python(folder)
        for name in ("imaplogin", "imapd"):
            script = folder / name
            script.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {python} -m courierpy.{name} "$@"\n')
            script.chmod(0o755)

    def program(self, whose: str, name: str) -> str:
        theirs = {"imaplogin": LOGIN, "imapd": "/usr/bin/imapd"}
        return need(theirs[name]) if whose == "courier" else str(self.folder / name)

    def work(self, words: list[str], port: int, **environ: str) -> None:
        """Start a listener and use it as a mail client does."""
        log = self.folder / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(words, stderr=stderr, cwd="/", env=plain_environ(
                USERDB=str(self.userdb), AUTHMODULES="authuserdb", IMAP_CAPABILITY="IMAP4rev1 UIDPLUS",
                IMAP_KEYWORDS="1", **environ))
        try:
            wait_for(port, process, log)
            client = imaplib.IMAP4("127.0.0.1", port, 20)
            with pytest.raises(imaplib.IMAP4.error):
                client.login("demo", "wrong")
            assert client.login("demo", "demo")[0] == "OK", log.read_text()
            assert client.select("INBOX") == ("OK", [b"4"])
            assert client.store("2", "+FLAGS", r"(\Flagged $Label1)")[0] == "OK"
            assert b"$Label1" in client.fetch("2", "(UID FLAGS)")[1][0]
            assert client.uid("SEARCH", "KEYWORD", "$Label1") == ("OK", [b"2"])
            client.logout()
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def lab() -> Iterator[Lab]:
    if os.getuid():
        pytest.skip("not root: Courier's chain becomes the user")
    need("/usr/sbin/authdaemond")
    folder = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    folder.chmod(0o755)
    demo.make(str(folder / "demo"))
    yield Lab(folder)
    shutil.rmtree(folder)


@pytest.fixture
def authdaemond(lab: Lab) -> Iterator[None]:
    """The real one, with the account; what was in /etc/courier comes back afterwards."""
    kept = {path: path.read_bytes() if path.exists() else None for path in
            (ETC / "userdb", ETC / "userdb.dat", ETC / "userdbshadow.dat", ETC / "authdaemonrc")}
    RUN.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(lab.userdb, ETC / "userdb")
    (ETC / "userdb").chmod(0o600)
    text = (kept[ETC / "authdaemonrc"] or b"").decode()
    (ETC / "authdaemonrc").write_text("\n".join(
        line for line in text.splitlines() if not line.startswith(("authmodulelist=", "daemons="))) +
        '\nauthmodulelist="authuserdb"\ndaemons=2\n')
    subprocess.run(["makeuserdb"], check=True)
    subprocess.run(["/usr/sbin/authdaemond", "start"], check=True)
    try:
        end = time.monotonic() + 60
        while not (RUN / "socket").exists() and time.monotonic() < end:
            time.sleep(0.05)
        yield
    finally:
        subprocess.run(["/usr/sbin/authdaemond", "stop"], check=False)
        for path, data in kept.items():
            if data is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(data)


@pytest.mark.parametrize("imapd", ["courier", "ours"])
@pytest.mark.parametrize("login", ["courier", "ours"])
@pytest.mark.parametrize("tcpd", ["courier", "ours"])
@pytest.mark.usefixtures("authdaemond")
def test_chain(lab: Lab, tcpd: str, login: str, imapd: str) -> None:
    port = free_port()
    listener = ([need("/usr/sbin/couriertcpd")] if tcpd == "courier"
                else [sys.executable, "-m", "courierpy.tcpd"])
    lab.work([*listener, "-address=127.0.0.1", "-nodnslookup", "-noidentlookup", str(port),
              lab.program(login, "imaplogin"), lab.program(imapd, "imapd"), "Maildir"], port)


@pytest.mark.parametrize("imapd", ["courier", "ours"])
@pytest.mark.usefixtures("authdaemond")
def test_one_process_asks_the_real_daemon(lab: Lab, imapd: str) -> None:
    port = free_port()
    program = "imapd" if imapd == "ours" else lab.program("courier", "imapd")
    lab.work([sys.executable, "-m", "courierpy.tcpd", "-address=127.0.0.1", "-nodnslookup", str(port),
              "imaplogin", "authdaemon", program, "Maildir"], port)


def test_courier_asks_our_helper(lab: Lab) -> None:
    """Courier's imaplogin cannot tell our password helper from its daemon."""
    RUN.mkdir(parents=True, exist_ok=True)
    path = RUN / "socket"
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.set_inheritable(True)
    code = ("import socket, sys; from courierpy.auth import helper; "
            "helper.serve(socket.socket(fileno=int(sys.argv[1])), ['authuserdb'], {'USERDB': sys.argv[2]})")
    process = subprocess.Popen([sys.executable, "-c", code, str(listener.fileno()), str(lab.userdb)],
                               pass_fds=[listener.fileno()], env=plain_environ())
    listener.close()
    try:
        port = free_port()
        lab.work([need("/usr/sbin/couriertcpd"), "-address=127.0.0.1", "-nodnslookup", "-noidentlookup",
                  str(port), LOGIN, "/usr/bin/imapd", "Maildir"], port)
    finally:
        process.terminate()
        process.wait(20)
        path.unlink()


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256"])
def test_hmac_secrets_of_userdbpw(kind: str) -> None:
    import hmac

    from courierpy.auth import hmacstate
    done = subprocess.run([need("userdbpw"), f"-hmac-{kind}"], input=b"secret\n", capture_output=True,
                          check=True)
    assert hmacstate.digest(kind, done.stdout.decode().strip(), b"<1@host>") == (
        hmac.new(b"secret", b"<1@host>", kind).digest())
