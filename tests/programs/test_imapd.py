"""imapd alone: what it writes where."""
from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from tests.conftest import plain_environ


def start(maildir: Path, stdin: object, stdout: object, **environ: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "courierpy.imapd", str(maildir)], stdin=stdin,  # type: ignore[call-overload,no-any-return]
                            stdout=stdout, stderr=subprocess.PIPE,
                            env=plain_environ(AUTHENTICATED="demo", **environ))


def test_a_reply_is_one_write(maildir: Path) -> None:
    """Over a socket that keeps writes apart, as the kernel sees them."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = start(maildir, theirs, theirs)
    theirs.close()
    ours.settimeout(20)
    assert ours.recv(65536).startswith(b"* PREAUTH ")
    for command in (b"SELECT INBOX", b"FETCH 1:3 (UID FLAGS ENVELOPE BODY[])",
                    b"UID STORE 1:3 +FLAGS (\\Seen $a)",
                    b"APPEND INBOX {4+}\r\na: b", b"COPY 1:2 INBOX", b"LIST \"\" *", b"SEARCH ALL", b"NOOP",
                    b"UNSELECT"):
        ours.sendall(b"a " + command + b"\r\n")
        assert b"\r\na OK " in b"\r\n" + ours.recv(1 << 20), command
    ours.sendall(b"a LOGOUT\r\n")
    assert ours.recv(65536).startswith(b"* BYE ")
    ours.close()
    process.communicate(timeout=20)


def test_standard_error_stays_clean_over_a_pipe(maildir: Path) -> None:
    """Clients read it as they read standard output: alpine, and whoever starts ssh like that."""
    process = start(maildir, subprocess.PIPE, subprocess.PIPE)
    out, error = process.communicate(b"a SELECT INBOX\r\nb FOO\r\nc SELECT INBOX.no\r\nd LOGOUT\r\n",
                                     timeout=20)
    assert b"c NO [NONEXISTENT]" in out
    assert error == b""


def test_behind_a_login_the_log_is_standard_error(maildir: Path) -> None:
    process = start(maildir, subprocess.PIPE, subprocess.PIPE, IMAPLOGINTAG="x", TCPREMOTEIP="::1",
                    TCPREMOTEPORT="7")
    out, error = process.communicate(b"d LOGOUT\r\n", timeout=20)
    assert out.startswith(b"x OK LOGIN Ok.\r\n")
    assert b"INFO: LOGIN, user=demo, ip=[::1], port=[7], protocol=IMAP\n" in error


def test_a_record_of_the_dialogue(maildir: Path) -> None:
    """IMAPDEBUGFILE: only where the user made the file."""
    for there in (False, True):
        if there:
            (maildir / "talk").write_bytes(b"")
        process = start(maildir, subprocess.PIPE, subprocess.PIPE, IMAPDEBUGFILE="talk")
        process.communicate(b"a APPEND INBOX {4+}\r\na: b\r\nb LOGOUT\r\n", timeout=20)
        assert (maildir / "talk").exists() is there
    lines = (maildir / "talk").read_bytes().splitlines()
    assert lines[0].startswith(b"WRITE: * PREAUTH ")
    assert b"READ: a APPEND INBOX {4+}" in lines
    assert b"READ: a: b" in lines
    assert lines[-1] == b"WRITE: b OK LOGOUT completed"
