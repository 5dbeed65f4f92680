"""Large messages: their pieces, the memory that they take, and files that change while they are sent."""
from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.message.headers import wire_form
from tests.conftest import plain_environ

HEAD = (b"Subject: large\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\n\nhello\n"
        b"--bb\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n")
LINE = b"QUJD" * 19 + b"\n"
TAIL = b"--bb--\n"
MULTIPART = b"Subject: parts\nContent-Type: multipart/mixed; boundary=bb\n\n"


class Talk:
    """imapd behind a login: ``do`` gives the untagged octets of a command that must succeed."""

    def __init__(self, maildir: Path, **environ: str) -> None:
        self.client, theirs = socket.socketpair()
        self.client.settimeout(60)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "courierpy.imapd", str(maildir)], stdin=theirs, stdout=theirs,
            stderr=subprocess.PIPE, env=plain_environ(
                AUTHENTICATED="demo", IMAPLOGINTAG="x", TCPREMOTEIP="::1", TCPREMOTEPORT="7", **environ))
        theirs.close()
        self._until(b"x OK ")
        self.do(b"SELECT INBOX")

    def _until(self, start: bytes) -> bytes:
        pieces, end = [], b""
        while not (end.endswith(b"\r\n") and end.rstrip(b"\r\n").rpartition(b"\n")[2].startswith(start)):
            data = self.client.recv(1 << 20)
            assert data, self.process.communicate(timeout=20)[1].decode()
            pieces.append(data)
            end = (end + data)[-200:]
        return b"".join(pieces)

    def do(self, command: bytes) -> bytes:
        self.client.sendall(b"z1x " + command + b"\r\n")
        return self._until(b"z1x OK ")

    def literal(self, command: bytes) -> bytes:
        """The one literal of a reply."""
        reply = self.do(command)
        match = re.match(rb"\* \d+ FETCH \(.*?\{(\d+)\}\r\n", reply)
        assert match is not None, reply[:200]
        found = reply[match.end():match.end() + int(match[1])]
        assert len(found) == int(match[1])
        assert reply[match.end() + len(found):].startswith(b")\r\nz1x OK ")
        return found

    def peak(self) -> int:
        """Octets of memory that the process had at most."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def forget_peak(self) -> int:
        """From now on peak() counts anew; gives what it is."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.peak()

    def end(self) -> str:
        """The log."""
        self.client.close()
        return self.process.communicate(timeout=20)[1].decode()


def write(maildir: Path, number: int, *pieces: bytes) -> Path:
    path = maildir / "cur" / f"17000000{number:02}.M1P1.host:2,S"
    with path.open("wb") as file:
        file.writelines(pieces)
    os.utime(path, (time.time() - 100,) * 2)
    return path


@pytest.fixture
def talk(maildir: Path) -> Iterator[Talk]:
    """With one message of 3 MB and one of 300 kB."""
    for path in (maildir / "new").iterdir():
        path.unlink()
    write(maildir, 1, HEAD, LINE * 40_000, TAIL)
    write(maildir, 2, HEAD.replace(b"\n", b"\r\n"), LINE * 4_000, TAIL)
    running = Talk(maildir)
    yield running
    if running.process.poll() is None:
        running.client.close()
        running.process.communicate(timeout=20)


@pytest.mark.parametrize(("number", "lines"), [(1, 40_000), (2, 4_000)])
def test_pieces_are_the_message(talk: Talk, number: int, lines: int) -> None:
    head = HEAD if number == 1 else HEAD.replace(b"\n", b"\r\n")
    whole = wire_form(head + LINE * lines + TAIL)
    body = wire_form(LINE * lines).removesuffix(b"\r\n")
    for part, wanted in ((b"", whole), (b"2", body)):
        name = b"FETCH %d (BODY.PEEK[%s]" % (number, part)
        assert talk.literal(name + b")") == wanted
        pieces = [talk.literal(name + b"<%d.65536>)" % at) for at in range(0, len(wanted), 65536)]
        assert b"".join(pieces) == wanted
        assert talk.literal(name + b"<%d>)" % (len(wanted) - 3)) == wanted[-3:]
        assert talk.literal(name + b"<%d.7>)" % len(wanted)) == b""
        assert talk.literal(name + b"<9999999999999999999.1>)") == b""


def test_another_file_of_that_name_is_read_anew(talk: Talk, maildir: Path) -> None:
    """What was found out of a file is not believed of another one."""
    assert len(talk.literal(b"FETCH 1 (BODY.PEEK[2]<0.100>)")) == 100
    write(maildir, 1, HEAD, b"short\n", b"x" * 2_000_000, b"\n--bb--\n")
    assert talk.literal(b"FETCH 1 (BODY.PEEK[2]<0.10>)") == b"short\r\nxxx"
    assert len(talk.literal(b"FETCH 1 (BODY.PEEK[2])")) == 2_000_007


@pytest.mark.parametrize("becomes", ["shorter", "other line ends"])
def test_a_file_that_changes_while_it_is_sent(talk: Talk, maildir: Path, becomes: str) -> None:
    """The literal cannot be what was announced: nothing follows that would be taken for its rest."""
    whole = HEAD + LINE * 200_000 + TAIL
    path = write(maildir, 3, whole)
    talk.do(b"NOOP")
    talk.client.sendall(b"a FETCH 3 (BODY.PEEK[])\r\nb NOOP\r\n")
    got = talk.client.recv(1000)
    if becomes == "shorter":
        os.truncate(path, 8_000_000)
    else:
        with path.open("r+b") as file:
            file.seek(8_000_000)
            file.write(b"\n" * 5000)
    while data := talk.client.recv(1 << 20):
        got += data
    literal = got.partition(b"}\r\n")[2]
    assert literal == wire_form(whole)[:len(literal)] or becomes != "shorter"
    assert len(literal) <= len(wire_form(whole))
    assert b"a OK" not in got
    assert b"BYE" not in got
    assert "disconnected in the middle of a message: " in talk.end()


def test_a_message_that_is_expunged_while_it_is_sent(talk: Talk, maildir: Path) -> None:
    whole = HEAD + LINE * 200_000 + TAIL
    path = write(maildir, 3, whole)
    talk.do(b"NOOP")
    talk.client.sendall(b"z1x FETCH 3 (BODY.PEEK[])\r\n")
    got = talk.client.recv(1000)
    path.unlink()
    got += talk._until(b"z1x OK ")
    assert wire_form(whole) in got


# commands that look at a whole message in their own ways
COMMANDS = [b"UID FETCH 1:* (BODY.PEEK[])", b"FETCH 1:* (BODY.PEEK[2]<9000000.70000> BODY.PEEK[TEXT]<3.4>)",
            b"FETCH 1:* (RFC822.SIZE)", b"FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY RFC822.SIZE INTERNALDATE)",
            b"FETCH 1:* (BODYSTRUCTURE BODY.PEEK[1] RFC822.HEADER)", b"FETCH 1:* (RFC822.TEXT RFC822)",
            b"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (Subject X-Many)] BODY.PEEK[1.MIME])",
            b"FETCH 1:* (BODY.PEEK[HEADER.FIELDS.NOT (Received X-Many)])",
            b"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (X-Many)] RFC822.SIZE)", b"FETCH 1:* (BODY.PEEK[HEADER])",
            b"SEARCH BODY zebra", b"SEARCH TEXT zebra", b"SEARCH OR TEXT a BODY b LARGER 1000",
            b"SEARCH SUBJECT zebra HEADER X-Many zebra", b"SORT (SIZE SUBJECT DATE FROM) UTF-8 ALL",
            b"THREAD REFERENCES UTF-8 ALL", b"COPY 1:* INBOX"]
SHAPES = {                             # pieces and how often; what stands around them
    "base64": (LINE * 1000, 320, HEAD, TAIL),
    "base64 text": (LINE * 1000, 320, HEAD.replace(b"application/pdf", b"text/plain; charset=utf-8"), TAIL),
    "text": (b"many words on a line, and no end of them\n" * 1000, 600, b"Subject: text\n\n", b""),
    "html": (b"<p>t&ouml;<i>x</i></p><script>z</script>\n" * 500, 1200,
             b"Subject: html\nContent-Type: text/html; charset=iso-8859-1\n\n", b""),
    "one line": (b"=41words without end " * 2000, 600,
                 b"Subject: line\nContent-Transfer-Encoding: quoted-printable\n\n", b""),
    "crlf": (b"a line\r\n" * 5000, 600, b"Subject: crlf\r\n\r\n", b""),
    "line feeds": (b"\n" * 40_000, 600, b"Subject: feeds\n\n", b""),
    "a long header": (b"X-Many: " + b"word " * 20 + b"\n", 240_000, b"Subject: header\n", b"\nbody\n"),
    "a long field": (b" word" * 20 + b"\n", 240_000, b"Subject: field\nX-Many:", b"\nbody\n"),
    "a list of addresses": (b"a@b,\n " * 200_000, 20, b"Subject: people\nTo: ", b"\n\nbody\n"),
    "a list of letters": (b"\xe4," * 500_000, 24, b"Subject: people\nFrom: ", b"\n\nbody\n"),
    "addresses of signs": (b"@a\"(" * 250_000, 24, b"Subject: people\nFrom: ", b"\n\nbody\n"),
    "parameters": (b"; a=b" * 200_000, 24, b"Subject: parameters\nContent-Type: text/plain", b"\n\nbody\n"),
    "no end of the header": (b"x" * 1_000_000, 24, b"", b""),
    "many parts": (b"--bb\nContent-Description: d\n\npart\n" * 100, 7000, MULTIPART, TAIL),
    "long part headers": (b"--bb\nContent-Description: " + b"d" * 40_000 + b"\n\npart\n", 600, MULTIPART,
                          TAIL),
    "delimiters that are none": (b"--b" + b"b" * 2000 + b"\n", 12_000, MULTIPART + b"--bb\n\n", TAIL),
}


@pytest.mark.server
@pytest.mark.parametrize("shape", SHAPES)
def test_memory_does_not_grow_with_the_message(maildir: Path, shape: str) -> None:
    """24 MB, of each shape: no command takes much of it beside what the session has anyway."""
    for path in (maildir / "new").iterdir():
        path.unlink()
    piece, count, before, after = SHAPES[shape]
    assert write(maildir, 1, before, *[piece] * count, after).stat().st_size >= 23_000_000
    talk = Talk(maildir)
    for command in COMMANDS:
        base = talk.forget_peak()
        talk.do(command)
        grown = talk.peak() - base
        assert grown < 19_000_000, (command, grown)
    talk.end()
