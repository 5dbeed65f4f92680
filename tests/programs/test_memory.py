"""IMAP_ULIMITD: what has no memory is refused with a word, and nothing is untrue afterwards."""
from __future__ import annotations

import re
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import plain_environ

COUNT = 4000                       # messages
COMMANDS = [b"UID FETCH 1:* (FLAGS ENVELOPE)", b"FETCH 1:* (BODYSTRUCTURE)", b"SEARCH TEXT zebra",
            b"UID SEARCH ALL", b"SORT (SUBJECT DATE) UTF-8 ALL", b"THREAD REFERENCES UTF-8 ALL",
            b"STORE 1:* +FLAGS (\\Flagged)",
            b"FETCH 1:* (BODY.PEEK[])", b"COPY 1:500 INBOX.other", b"STATUS INBOX (MESSAGES UNSEEN)"]
STEPS = 8


class Limited:
    """A session, whose answers are told one by one; None once the server has said BYE."""

    def __init__(self, maildir: Path, kib: int) -> None:
        self.client, theirs = socket.socketpair()
        self.client.settimeout(60)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "courierpy.imapd", str(maildir)], stdin=theirs, stdout=theirs,
            stderr=subprocess.PIPE, env=plain_environ(
                AUTHENTICATED="demo", IMAPLOGINTAG="x", TCPREMOTEIP="::1", TCPREMOTEPORT="7",
                IMAP_ULIMITD=str(kib)))
        theirs.close()
        self.before = b""
        self.greeting = self._answer(b"x ")

    def _answer(self, tag: bytes) -> bytes:
        """The tagged line, or the BYE; ``before`` has what came before it."""
        data = b""
        while True:
            more = self.client.recv(1 << 20)
            data += more
            last = data.rstrip(b"\r\n").rpartition(b"\n")[2]
            if data.endswith(b"\r\n") and last.startswith((tag, b"* BYE ")):
                self.before = data[:len(data) - len(last) - 2]
                return last
            assert more, (data[-300:], self.log())

    def do(self, command: bytes) -> bytes:
        self.client.sendall(b"t1 " + command + b"\r\n")
        return self._answer(b"t1 ")

    def log(self) -> str:
        self.client.close()
        return self.process.communicate(timeout=30)[1].decode()


@pytest.fixture
def mailbox(maildir: Path) -> Path:
    for path in (maildir / "new").iterdir():
        path.unlink()
    for name in ("cur", "new", "tmp"):
        (maildir / ".other" / name).mkdir(parents=True)
    for number in range(1, COUNT + 1):
        text = f"Subject: {'word ' * (number % 40)}{number}\nFrom: a{number}@example.org\n" \
               f"Message-ID: <{number}@x>\n\n{'body ' * 30}\n"
        (maildir / "cur" / f"{1600000000 + number}.M1P1.host:2,").write_text(text)
    return maildir


def needed(maildir: Path) -> int:
    """KiB that a session has that does no more than to log in."""
    session = Limited(maildir, 1 << 20)
    status = Path(f"/proc/{session.process.pid}/status").read_text()
    session.log()
    return int(status.partition("VmData:")[2].split()[0])


def known(session: Limited) -> dict[int, bytes]:
    """UID -> flags, as a client of this session knows them."""
    assert session.do(b"UID FETCH 1:* (FLAGS)").startswith(b"t1 OK")
    return {int(uid): flags for uid, flags in re.findall(rb"UID (\d+) FLAGS \((.*?)\)", session.before)}


@pytest.mark.server
def test_no_limit_ends_a_session_without_a_word(mailbox: Path) -> None:
    """From less than a login needs to enough: a command is done, or refused, or the session says BYE."""
    assert Limited(mailbox, 0).do(b"SELECT INBOX").startswith(b"t1 OK")
    least = needed(mailbox)
    answers: set[bytes] = set()
    for kib in range(least - 2000, least + 14_000, 16_000 // STEPS):
        session = Limited(mailbox, kib)
        said = session.greeting
        for command in (b"SELECT INBOX", *COMMANDS, b"NOOP", b"LOGOUT"):
            if said.startswith(b"* BYE"):
                break
            said = session.do(command)
            answers.add(said.split()[1] + (b" [LIMIT]" if b"[LIMIT]" in said else b""))
            assert said.startswith((b"t1 OK", b"t1 NO [LIMIT]", b"t1 BAD No mailbox", b"* BYE [LIMIT]")), \
                print(session.log())
        log = session.log()
        assert "Traceback" not in log, (kib, log)
        assert "bug " not in log, (kib, log)
        assert session.process.returncode == 0
        assert "IMAP_ULIMITD" in log or b"[LIMIT]" not in said
    assert {b"OK", b"NO [LIMIT]"} <= answers
    # all of it is as it was
    session = Limited(mailbox, 0)
    assert session.do(b"SELECT INBOX").startswith(b"t1 OK")
    assert len(known(session)) == COUNT
    assert not list((mailbox / ".other" / "tmp").iterdir())
    session.log()


@pytest.mark.server
def test_the_view_stays_true(mailbox: Path) -> None:
    """What is refused for want of memory changes nothing that the client knows but by what it is told."""
    other = Limited(mailbox, 0)
    assert other.do(b"SELECT INBOX").startswith(b"t1 OK")
    session = Limited(mailbox, 0)
    assert session.do(b"SELECT INBOX").startswith(b"t1 OK")
    status = Path(f"/proc/{session.process.pid}/status").read_text()
    now = 1024 * int(status.partition("VmData:")[2].split()[0])
    resource.prlimit(session.process.pid, resource.RLIMIT_DATA, (now + 200_000, resource.RLIM_INFINITY))
    assert session.do(b"THREAD REFERENCES UTF-8 ALL").startswith(b"t1 NO [LIMIT]")
    assert other.do(b"UID STORE 7 +FLAGS (\\Deleted)").startswith(b"t1 OK")
    assert other.do(b"EXPUNGE").startswith(b"t1 OK")
    assert other.do(b"UID STORE 9 +FLAGS (\\Seen)").startswith(b"t1 OK")
    resource.prlimit(session.process.pid, resource.RLIMIT_DATA, (resource.RLIM_INFINITY,) * 2)
    assert session.do(b"NOOP").startswith(b"t1 OK")
    assert session.before.splitlines() == [b"* 7 EXPUNGE", b"* %d EXISTS" % (COUNT - 1), b"* 0 RECENT",
                                           b"* 8 FETCH (FLAGS (\\Seen))"]
    theirs = {uid: flags.replace(b"\\Recent", b"").strip() for uid, flags in known(other).items()}
    assert known(session) == theirs
    session.log()
    other.log()


def test_a_lower_limit_of_the_system_stays() -> None:
    code = ("import resource; from courierpy.system import memory; "
            "resource.setrlimit(resource.RLIMIT_DATA, (50 << 20, 60 << 20)); "
            "memory.limit(100 << 10); print(*resource.getrlimit(resource.RLIMIT_DATA)); "
            "memory.limit(40 << 10); print(*resource.getrlimit(resource.RLIMIT_DATA)); "
            "memory.limit(0); print(*resource.getrlimit(resource.RLIMIT_DATA))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30,
                          check=True)
    assert done.stdout.split("\n")[:3] == [f"{50 << 20} {60 << 20}"] + [f"{40 << 20} {44 << 20}"] * 2
