"""imapd alone: what it writes where."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


def test_wrong_settings_are_told_one_line_each(maildir: Path) -> None:
    """From a shell nobody else looks at them; the session goes on with what counts instead."""
    wrong = {"IMAP_UMASK": "9x", "IMAP_LAYOUT": "fo", "IMAP_FSYNC": "x", "IMAP_ULIMITD": "many",
             "IMAP_IDLE_TIMEOUT": "soon"}
    process = start(maildir, subprocess.PIPE, subprocess.PIPE, IMAP_LOG="courier", **wrong)
    out, error = process.communicate(b"a SELECT INBOX\r\nb LOGOUT\r\n", timeout=20)
    assert b"\r\na OK " in out
    lines = error.decode().splitlines()
    for name, value in wrong.items():
        assert len([line for line in lines if f"WARN: {name}: " in line and value in line]) == 1, error


def test_behind_a_login_the_log_is_standard_error(maildir: Path) -> None:
    process = start(maildir, subprocess.PIPE, subprocess.PIPE, IMAPLOGINTAG="x", TCPREMOTEIP="::1",
                    TCPREMOTEPORT="7")
    out, error = process.communicate(b"d LOGOUT\r\n", timeout=20)
    assert out.startswith(b"x OK LOGIN Ok.\r\n")
    assert b"INFO: LOGIN, user=demo, ip=[::1], port=[7], protocol=IMAP\n" in error


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a Maildir to somebody else")
def test_a_maildir_of_somebody_else(maildir: Path) -> None:
    """From a shell its user is told whose it is; behind a login a client hears what Courier says, no path."""
    os.chown(maildir, 23456, 23457)
    text = b"* BYE [ALERT] Fatal error: Account's mailbox directory is not owned by the correct uid or gid: "
    why = (f"{maildir} belongs to uid 23456, gid 23457; uid 0, gid {os.getegid()} was expected: chown it, or "
           "set IMAP_MAILBOX_SANITY_CHECK=0").encode()
    login = {"IMAPLOGINTAG": "x", "TCPREMOTEIP": "::1", "TCPREMOTEPORT": "7"}
    for said, environ in ((why, {}), (b"", login)):
        process = start(maildir, subprocess.PIPE, subprocess.PIPE, **environ)
        out, error = process.communicate(b"d LOGOUT\r\n", timeout=20)
        assert (process.returncode, out) == (1, text + said + b"\r\n")
        assert (why in error) == bool(environ)           # over a pipe it goes to syslog
    process = start(maildir, subprocess.PIPE, subprocess.PIPE, IMAP_MAILBOX_SANITY_CHECK="0")
    assert process.communicate(b"d LOGOUT\r\n", timeout=20)[0].startswith(b"* PREAUTH ")


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


WORK = (b"a APPEND INBOX {4+}\r\na: b\r\nb CREATE INBOX.new\r\nc SUBSCRIBE INBOX.new\r\nd SELECT INBOX\r\n"
        b"e STORE 1 +FLAGS (word \\Seen)\r\nf COPY 1 INBOX.new\r\ng FETCH 1:* ENVELOPE\r\n"
        b"h STORE 1 +FLAGS.SILENT (\\Deleted)\r\ni EXPUNGE\r\nj LOGOUT\r\n")


def made(maildir: Path, **environ: str) -> dict[str, int]:
    """The mode of what a session makes, by path."""
    before = {path.lstat().st_ino for path in maildir.rglob("*")}
    process = start(maildir, subprocess.PIPE, subprocess.PIPE, **environ)
    out, _ = process.communicate(WORK, timeout=20)
    assert out.count(b" OK ") >= 10, out
    return {str(path.relative_to(maildir)): path.lstat().st_mode & 0o777
            for path in maildir.rglob("*") if path.lstat().st_ino not in before}


@pytest.mark.parametrize(("umask", "mail"), [("077", 0o600), ("022", 0o644), ("0027", 0o640), ("007", 0o660),
                                             ("", 0o644), ("x", 0o644)])
def test_umask(maildir: Path, umask: str, mail: int) -> None:
    """IMAP_UMASK holds for whatever is made; what is no octal number is none."""
    modes = made(maildir, **({"IMAP_UMASK": umask} if umask else {}))
    taken = int(umask, 8) if umask.isdecimal() else 0o022
    assert {mode for path, mode in modes.items() if mode & taken} == set(), modes
    assert {mode for path, mode in modes.items() if path.startswith("cur/")} == {mail}
    assert modes["courierimapuiddb"] == modes["courierimapsubscribed"] == mail
    assert modes[".new"] == 0o700


def test_our_own_umask_counts_where_none_is_set(maildir: Path) -> None:
    before = os.umask(0o077)
    try:
        assert {mode for path, mode in made(maildir).items() if mode & 0o077} == set()
    finally:
        os.umask(before)


@pytest.mark.parametrize("wanted", ["", "0", "1"])
def test_loginexec_runs_where_it_is_wanted(maildir: Path, wanted: str) -> None:
    program = maildir / "loginexec"
    program.write_text("#!/bin/sh\ntouch it-ran\n")
    program.chmod(0o755)
    start(maildir, subprocess.PIPE, subprocess.PIPE, IMAP_LOGINEXEC=wanted).communicate(b"a LOGOUT\r\n",
                                                                                         timeout=20)
    assert (maildir / "it-ran").exists() is (wanted == "1")
    assert program.exists() is (wanted != "1")


def test_the_greeting_names_nothing_of_the_login(maildir: Path) -> None:
    words = "IMAP4rev1 SASL-IR IDLE AUTH=PLAIN STARTTLS LOGINDISABLED"
    process = start(maildir, subprocess.PIPE, subprocess.PIPE, IMAP_CAPABILITY=words, IMAP_STARTTLS="YES",
                    TLS_CERTFILE=__file__)
    out, _ = process.communicate(b"a CAPABILITY\r\nb LOGOUT\r\n", timeout=20)
    assert out.startswith(b"* PREAUTH [CAPABILITY IMAP4rev1 IDLE] Ready.\r\n* CAPABILITY IMAP4rev1 IDLE\r\n")


def test_a_line_that_is_too_long_has_its_tag(maildir: Path) -> None:
    process = start(maildir, subprocess.PIPE, subprocess.PIPE)
    long = b"x" * 70000
    out, _ = process.communicate(b"a SELECT %s\r\nb NOOP\r\n%s\r\nc LOGOUT\r\n" % (long, long), timeout=20)
    assert out.splitlines()[1:4] == [b"a BAD Command line too long.", b"b OK NOOP completed",
                                     b"* BAD Command line too long."]


def test_a_command_that_comes_by_and_by_has_an_end(maildir: Path) -> None:
    code = "import courierpy.imap.dialogue as d; d.READ_TIMEOUT = 1.0\nfrom courierpy.imapd import run; run()"
    with subprocess.Popen([sys.executable, "-c", code, str(maildir)], stdin=subprocess.PIPE, bufsize=0,
                          stdout=subprocess.PIPE, env=plain_environ(AUTHENTICATED="demo")) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for _ in range(200):
                process.stdin.write(b"a")
                time.sleep(0.1)
        except BrokenPipeError:
            pass
        assert process.stdout.read().endswith(b"* BYE Disconnected for inactivity.\r\n")
        assert process.wait(20) == 0


def test_a_uid_without_a_name(maildir: Path) -> None:
    """As in a container: passwd does not know it, its mail is there all the same."""
    nobody = ("import os, pwd, sys\n"
              "def nameless(uid): raise KeyError(uid)\n"
              "pwd.getpwuid = nameless\n"
              "from courierpy.imapd import main\n"
              "sys.exit(main(['imapd', sys.argv[1]], os.environ))\n")
    done = subprocess.run([sys.executable, "-c", nobody, str(maildir)],
                          input=b"a SELECT INBOX\r\nb LOGOUT\r\n",
                          capture_output=True, env=plain_environ(), timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"* PREAUTH ")
    assert b"\r\na OK [READ-WRITE]" in done.stdout


@pytest.mark.parametrize("missing", ["AUTHENTICATED", "TCPREMOTEIP", "TCPREMOTEPORT"])
def test_behind_a_login_that_did_not_say_all(maildir: Path, missing: str) -> None:
    environ = {"IMAPLOGINTAG": "x", "AUTHENTICATED": "demo", "TCPREMOTEIP": "::1", "TCPREMOTEPORT": "7"}
    del environ[missing]
    done = subprocess.run([sys.executable, "-m", "courierpy.imapd", str(maildir)], input=b"",
                          capture_output=True, env=plain_environ(**environ), timeout=20, check=False)
    assert done.returncode == 1
    assert done.stdout == b"* BYE %s environment variable not set.\r\n" % missing.encode()
    assert done.stderr == (b"ERR: IMAPLOGINTAG is set, %s not: imaplogin sets all of them; unset "
                           b"IMAPLOGINTAG to start imapd without a login\n" % missing.encode())


def test_a_limit_of_memory_that_is_none(maildir: Path) -> None:
    """As where somebody took IMAP_ULIMITD for a switch."""
    process = start(maildir, subprocess.PIPE, subprocess.PIPE, IMAP_ULIMITD="1")
    out, error = process.communicate(b"a SELECT INBOX\r\nb LOGOUT\r\n", timeout=20)
    assert b"Traceback" not in error
    assert b"a OK [READ-WRITE]" in out or b"* BYE [LIMIT] " in out


def test_what_a_client_asks_in_vain_is_no_error_of_the_server(maildir: Path) -> None:
    """The log says what it was answered, and why."""
    process = start(maildir, subprocess.PIPE, subprocess.PIPE, IMAP_LOG="lines")
    _, error = process.communicate(b"a SELECT INBOX.none\r\nb CREATE elsewhere\r\nc LOGOUT\r\n", timeout=20)
    assert b"ERR" not in error
    told = [line.partition(b"]: ")[2].partition(b", user=")[0] for line in error.splitlines()
            if b"NO [" in line]
    assert told == [b"NO [NONEXISTENT], ./.none", b"NO [CANNOT], in no namespace: 'elsewhere'"]
