"""Magic trash, the log of deletions and the outbox: Courier's imapd and ours do and write the same."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import need, plain_environ

pytestmark = pytest.mark.peers

# its file of each mailbox has numbers and times; ours are beside them
BESIDE = re.compile(r"courierimap(?:uiddb|acl|keywords|hieracl)|courierpy|tmp/")
UNIQUE = re.compile(r"\d+\.M\d+P\d+V[0-9A-F]+I[0-9A-F]+_\d+\.host")


class Session:
    """One behind a login, a command at a time; ``{n}`` stands before a literal in the same words."""

    def __init__(self, program: str, maildir: Path, **environ: str) -> None:
        words = ([need("/usr/bin/imapd"), str(maildir)] if program == "courier"
                 else [sys.executable, "-m", "courierpy.imapd", str(maildir)])
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=plain_environ(AUTHENTICATED="demo", IMAPLOGINTAG="x", TCPREMOTEIP="::1", TCPREMOTEPORT="9",
                              IMAP_KEYWORDS="1", IMAP_ACL="0", IMAP_LOG="courier", HOSTNAME="host",
                              IMAP_EMPTYTRASH="", **environ), cwd=maildir.parent)
        assert self.line().startswith(b"x OK ")

    def line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ask(self, command: bytes) -> bytes:
        """The tagged reply."""
        assert self.process.stdin is not None
        before, mark, literal = command.partition(b"}\r\n")
        self.process.stdin.write(b"a " + before + mark + (b"" if mark else b"\r\n"))
        self.process.stdin.flush()
        while True:
            line = self.line()
            assert line, "the session ended"
            if line.startswith(b"+ "):
                self.process.stdin.write(literal + b"\r\n")
                self.process.stdin.flush()
            elif line.startswith(b"a "):
                return line.rstrip()[2:]

    def errors(self) -> list[str]:
        """What it wrote to the log of what it did."""
        errors = self.process.communicate(b"a LOGOUT\r\n", timeout=60)[1]
        return [UNIQUE.sub("UNIQUE", line) for line in errors.decode().splitlines()
                if "LOGIN, " not in line and "LOGOUT, " not in line]


def files(maildir: Path) -> dict[str, bytes]:
    return {UNIQUE.sub("UNIQUE", str(path.relative_to(maildir))): path.read_bytes()
            for path in sorted(maildir.rglob("*"))
            if path.is_file() and not BESIDE.search(str(path.relative_to(maildir)))}


def make(place: Path) -> Path:
    maildir = place / "Maildir"
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True)
    for at, letters in enumerate(("T", "ST", "DFT", "", "RT")):
        file = maildir / "cur" / f"100{at}.M{at}P1.host,S=20:2,{letters}"
        file.write_text(f"Subject: {at}\n\nx{at:05}\n")
    return maildir


def both(tmp_path: Path, commands: list[bytes], **environ: str) -> dict[str, tuple[list[bytes], list[str],
                                                                                   dict[str, bytes]]]:
    """By program: replies, lines of the log, files."""
    found = {}
    for program in ("courier", "ours"):
        maildir = make(tmp_path / program)
        session = Session(program, maildir, **environ)
        replies = [session.ask(command) for command in commands]
        found[program] = replies, session.errors(), files(maildir)
    return found


def test_trash_and_log(tmp_path: Path) -> None:
    found = both(tmp_path, [
        b"SELECT INBOX", b"STORE 1 +FLAGS (word)", b"UID EXPUNGE 1:2", b"EXPUNGE", b"CREATE INBOX.a",
        b"COPY 1 INBOX.a", b"STORE 1 +FLAGS (\\Deleted)", b"EXPUNGE", b"SELECT INBOX.Trash",
        b"STORE 1 +FLAGS (\\Deleted)", b"EXPUNGE", b"SELECT INBOX.a", b"STORE 1 +FLAGS (\\Deleted)",
        b"CLOSE", b"STATUS INBOX.Trash (MESSAGES RECENT UNSEEN)"],
        IMAP_MOVE_EXPUNGE_TO_TRASH="1", IMAP_LOG_DELETIONS="1")
    assert found["courier"][1:] == found["ours"][1:]
    assert len(found["ours"][1]) == 12
    assert [name for name in found["ours"][2] if name.startswith(".Trash/cur/")] == [
        ".Trash/cur/1001.M1P1.host,S=20:2,S", ".Trash/cur/1002.M2P1.host,S=20:2,F",
        ".Trash/cur/1004.M4P1.host,S=20:2,R", ".Trash/cur/UNIQUE,S=19:2,"]


@pytest.mark.parametrize("value", ["", "0", "00", "1", "y", "no"])
def test_log_alone(value: str, tmp_path: Path) -> None:
    found = both(tmp_path, [b"SELECT INBOX", b"EXPUNGE"], IMAP_LOG_DELETIONS=value)
    assert found["courier"][1:] == found["ours"][1:]


SENDMAIL = '#!/bin/sh\n(echo "$@"; pwd -P | sed "s,.*/,,"; cat) >> ../sent\n'


@pytest.mark.parametrize("more", [
    {}, {"AUTHADDR": "a@example.org", "HEADERFROM": "", "OUTBOX_MULTIPLE_SEND": "1"}])
def test_outbox(more: dict[str, str], tmp_path: Path) -> None:
    program = tmp_path / "sendmail"
    program.write_text(SENDMAIL)
    program.chmod(0o755)
    found = both(tmp_path, [
        b"APPEND INBOX.Outbox {20}\r\nSubject: x\r\n\r\nbody\r\n", b"CREATE INBOX.Outbox",
        b"APPEND INBOX.Outbox (\\Seen \\Draft) {20}\r\nSubject: x\r\n\r\nbody\r\n", b"SELECT INBOX",
        b"COPY 1 INBOX.Outbox", b"COPY 1:2 INBOX.Outbox", b"COPY 1 INBOX", b"SELECT INBOX.Outbox",
        b"COPY 1 INBOX.Outbox"],
        **{"OUTBOX": ".Outbox", "SENDMAIL": str(program), "HEADERFROM": "X-Who", **more})
    assert found["courier"][1:] == found["ours"][1:]
    assert (tmp_path / "courier" / "sent").read_bytes() == (tmp_path / "ours" / "sent").read_bytes()
    for theirs, ours in zip(found["courier"][0], found["ours"][0], strict=True):
        if not ours.startswith(b"OK "):            # of which codes say more
            assert theirs == ours
        assert theirs[:3] == ours[:3]


def test_an_outbox_that_refuses(tmp_path: Path) -> None:
    program = tmp_path / "sendmail"
    program.write_text("#!/bin/sh\ncat >/dev/null\necho no such user\necho sorry >&2\nexit 75\n")
    program.chmod(0o755)
    found = both(tmp_path, [b"CREATE INBOX.Outbox",
                            b"APPEND INBOX.Outbox {20}\r\nSubject: x\r\n\r\nbody\r\n"],
                 OUTBOX=".Outbox", SENDMAIL=str(program))
    assert found["courier"][2] == found["ours"][2]
    assert found["courier"][0][1] == b"NO [ALERT] Unable to send E-mail message."
    assert found["ours"][0][1] == b"NO [ALERT] Unable to send E-mail message: no such user; sorry"
    line, = found["courier"][1]
    assert line == "ERR: error sending a message, user=demo: no such user/sorry/Message send FAILED./"
    assert found["ours"][1][0].startswith("ERR: error sending a message, user=demo: no such user/sorry/")
