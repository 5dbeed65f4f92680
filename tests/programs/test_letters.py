"""The letters of Cyrus's imapd: what each does for who starts imapd or pop3d by itself."""
from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from courierpy import entering
from courierpy.admin import mkcert
from tests.conftest import plain_environ, until
from tests.programs.chain import DEADLINE, eventually

LOGIN = b"a LOGIN x y\r\nb LOGOUT\r\n"


@contextmanager
def over(pair: tuple[socket.socket, socket.socket], maildir: Path, *words: str,
         **environ: str) -> Iterator[socket.socket]:
    """The client's end of a program that has the other one."""
    ours, theirs = pair
    with theirs:
        process = subprocess.Popen([sys.executable, "-m", "courierpy.imapd", *words, str(maildir)],
                                   stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL,
                                   env=plain_environ(AUTHENTICATED="demo", IMAP_NOLOGIN="", **environ))
    ours.settimeout(DEADLINE)
    try:
        with ours:
            yield ours
    finally:
        process.wait(60)


def tcp(host: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
    with socket.create_server((host, 0)) as listening:
        ours = socket.create_connection(listening.getsockname()[:2], DEADLINE)
        theirs, _ = listening.accept()
    return ours, theirs


def said(maildir: Path, dialogue: bytes, *words: str, program: str = "imapd", **environ: str) -> list[str]:
    """All that is answered to a dialogue, over pipes."""
    done = subprocess.run([sys.executable, "-m", f"courierpy.{program}", *words, str(maildir)],
                          input=dialogue, stdout=subprocess.PIPE, check=False, timeout=60,
                          env=plain_environ(AUTHENTICATED="demo", IMAP_NOLOGIN="", **environ))
    return done.stdout.decode().splitlines()


def test_settings_of_a_file(maildir: Path, tmp_path: Path) -> None:
    for name, value in (("first", "IMAP_READONLY=1\n"), ("second", "IMAP_READONLY=0\n")):
        (tmp_path / name).write_text(value)
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert "only for reading" in said(maildir, LOGIN, "-C", first)[0]
    assert "only for reading" in said(maildir, LOGIN, f"-C{second}", "-C", first, IMAP_READONLY="0")[0]
    assert "only for reading" not in said(maildir, LOGIN, "-C", first, "-C", second)[0]
    assert "only for reading" in said(maildir, b"QUIT\r\n", "-C", first, program="pop3d")[0]
    (tmp_path / "first").write_text("a b c\n")
    for program in ("imapd", "pop3d"):
        done = subprocess.run([sys.executable, "-m", f"courierpy.{program}", "-C", first, str(maildir)],
                              capture_output=True, check=False, timeout=60, env=plain_environ())
        assert done.returncode == 78 and done.stderr.startswith(f"{program}: {first}".encode())
        assert not done.stdout


def test_whatever_the_quota_is(maildir: Path) -> None:
    append = b"a APPEND INBOX {30+}\r\n" + b"Subject: x\r\n\r\n".ljust(30, b"y") + b"\r\nb LOGOUT\r\n"
    quota = {"MAILDIRQUOTA": "10S"}
    assert "a NO [OVERQUOTA]" in " ".join(said(maildir, append, **quota))
    assert "a OK" in " ".join(said(maildir, append, "-q", **quota))
    sizes = (maildir / "maildirsize").read_text().split("\n", 1)[1].split()
    assert sum(map(int, sizes[1::2])) == 4         # it is counted all the same


def test_a_layer_that_somebody_else_has(maildir: Path) -> None:
    locked = {"OPTIONS": "disableinsecureimap=1"}
    for words, refused in (((), True), (("-p", "1"), True), (("-p0",), True), (("-p", "2"), False),
                           (("-p256",), False)):
        assert ("* BYE" in said(maildir, LOGIN, *words, **locked)[1]) == refused, words


def test_any_password_for_who_is_on_this_host(maildir: Path) -> None:
    assert "a BAD" in " ".join(said(maildir, LOGIN))
    assert "a OK LOGIN Ok." in said(maildir, LOGIN, "-N")
    for pair in (socket.socketpair(), tcp()):
        with over(pair, maildir, "-N") as client:
            client.sendall(LOGIN)
            assert b"a OK LOGIN Ok." in until(client, b"b OK")


@pytest.mark.parametrize(("address", "near"), [
    ("127.0.0.1", True), ("::ffff:127.3.2.1", True), ("::1", True), ("192.0.2.1", False),
    ("::ffff:192.0.2.1", False), ("2001:db8::1", False)])
def test_who_is_on_this_host(address: str, near: bool, maildir: Path) -> None:
    """A proxy may be here, and its client far away."""
    kind = "TCP6" if ":" in address else "TCP4"
    there = "::1" if ":" in address else "127.0.0.1"
    with over(tcp(), maildir, "-H", "-N") as client:
        client.sendall(f"PROXY {kind} {address} {there} 4711 143\r\n".encode() + LOGIN)
        heard = until(client, b"b OK" if near else b"\r\n")
    assert (b"a OK LOGIN Ok." in heard) == near
    assert (b"-N: whoever is not on this host needs a password." in heard) != near


def test_tls_from_the_first_octet_on(maildir: Path, tmp_path: Path) -> None:
    certificate = tmp_path / "imapd.pem"
    mkcert.make(str(certificate), "localhost")
    context = ssl.create_default_context(cafile=str(certificate))
    with over(tcp(), maildir, "-s", TLS_CERTFILE=str(certificate)) as plain, \
            context.wrap_socket(plain, server_hostname="localhost") as client:
        client.sendall(b"a LOGOUT\r\n")
        told = b""
        while b"a OK" not in told:
            piece = client.recv(65536)
            assert piece, told
            told += piece
        assert told.startswith(b"* PREAUTH ")
    with over(tcp(), maildir, "-s", TLS_CERTFILE=str(tmp_path / "none")) as client:
        assert until(client, b"nothing") == b""    # no word in clear


def test_a_proxy_says_who_it_is(maildir: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o755)
    with over(tcp(), maildir, "-H", RUNDIRECTORY=str(run)) as client:
        client.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 143\r\na NOOP\r\n")
        assert until(client, b"a OK").startswith(b"* PREAUTH ")
        file, = (path for path in (run / "others").iterdir() if not path.name.startswith("."))
        assert b"ip=192.0.2.7" in file.read_bytes() and b"port=4711" in file.read_bytes()
    with over(tcp(), maildir, "-H") as client:
        client.sendall(b"a NOOP with more octets than a header\r\n")
        assert until(client, b"nothing") == b""


def test_a_debugger(maildir: Path, tmp_path: Path) -> None:
    found = tmp_path / "found"
    command = f"sh -c 'echo %s %d > {found}.new; mv {found}.new {found}'"
    assert "b OK LOGOUT completed" in said(maildir, LOGIN, "-D", DEBUG_COMMAND=command)
    eventually(found.exists)
    program, pid = found.read_text().split()
    assert program == "imapd" and pid.isdecimal()
    for wrong in ("", "/none/such", "'"):
        assert "b OK LOGOUT completed" in said(maildir, LOGIN, "-D", DEBUG_COMMAND=wrong)


@pytest.mark.parametrize(("words", "left", "found"), [
    (["-r", "-q", "-U", "3", "-T0", "x"], ["x"], {"-q": [""]}),
    (["-p", "2", "-sN", "x"], ["-sN", "x"], {"-p": ["2"]}), (["-px", "x"], ["-px", "x"], {}),
    (["-p"], ["-p"], {}), (["-C"], ["-C"], {}), (["-U", "x"], ["-U", "x"], {}), (["-x"], ["-x"], {}),
    (["x", "-q"], ["x", "-q"], {}), ([], [], {})])
def test_command_lines(words: list[str], left: list[str], found: dict[str, list[str]]) -> None:
    options = entering.Options(["imapd", *words], {})
    assert (options.argv, options.letters) == (["imapd", *left], found)
