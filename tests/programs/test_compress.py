"""COMPRESS=DEFLATE in a session: RFC 4978, and what went wrong with it elsewhere."""
from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy import imapd
from courierpy.system.conn import Conn
from tests.conftest import MAIL


class Client:
    """A client that counts on nothing being held back.  ``log``, ``pid``: of its session."""

    def __init__(self, sock: socket.socket, pid: int, log: Path) -> None:
        self.sock = sock
        self.pid = pid
        self.log = log
        self.inflate: zlib._Decompress | None = None
        self.squeeze: zlib._Compress | None = None
        self.buffer = b""

    def send(self, text: bytes) -> None:
        if self.squeeze is not None:
            text = self.squeeze.compress(text) + self.squeeze.flush(zlib.Z_SYNC_FLUSH)
        self.sock.sendall(text)

    def until(self, mark: bytes) -> bytes:
        """What comes, as far as ``mark`` and with it."""
        while mark not in self.buffer:
            piece = self.sock.recv(65536 if self.inflate is not None else 1)
            assert piece, self.buffer
            self.buffer += piece if self.inflate is None else self.inflate.decompress(piece)
        found, _, self.buffer = self.buffer.partition(mark)
        return found + mark

    def rest(self) -> bytes:
        found = self.buffer
        while piece := self.sock.recv(65536):
            found += piece if self.inflate is None else self.inflate.decompress(piece)
        return found

    def say(self, command: bytes) -> bytes:
        """All that is answered to a command whose tag is "t"."""
        self.send(b"t " + command + b"\r\n")
        return self.answer()

    def answer(self) -> bytes:
        found = b""
        while True:
            line = self.until(b"\r\n")
            found += line
            if line.startswith(b"t "):
                return found

    def peak(self) -> int:
        """Octets that the session had in memory at most."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def compress(self) -> None:
        assert self.say(b"COMPRESS DEFLATE") == b"t OK DEFLATE active\r\n"
        self.switch()

    def switch(self) -> None:
        self.inflate = zlib.decompressobj(-15)
        self.squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)


@pytest.fixture
def client(maildir: Path, tmp_path: Path) -> Iterator[Client]:
    ours, theirs = socket.socketpair()
    log = tmp_path / "log"
    pid = os.fork()
    if pid == 0:
        try:
            theirs.close()
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
            imapd.main(["imapd", str(maildir)], {"AUTHENTICATED": "joe", "IMAP_LOG": "lines"},
                       Conn(ours.fileno(), ours.fileno()))
        finally:
            os._exit(0)
    ours.close()
    theirs.settimeout(20)
    with theirs:
        found = Client(theirs, pid, log)
        found.until(b"Ready.\r\n")
        yield found
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("ahead", [False, True])
def test_behind_its_ok(client: Client, ahead: bool) -> None:
    """Also for who does not wait for the OK."""
    client.send(b"a COMPRESS deflate\r\n")
    if not ahead:
        assert client.until(b"\r\n") == b"a OK DEFLATE active\r\n"
    client.switch()
    inflate, client.inflate = client.inflate, None
    client.send(b"b NOOP\r\nc LOGOUT\r\n")
    if ahead:
        assert client.until(b"\r\n") == b"a OK DEFLATE active\r\n"
    client.inflate = inflate
    said = client.rest()
    assert said.startswith(b"b OK ")
    assert b"\r\nc OK " in said


def test_what_is_not_compressed_ends_the_session(client: Client) -> None:
    client.send(b"a COMPRESS DEFLATE\r\n")
    client.until(b"\r\n")
    client.send(b"b NOOP\r\n")
    client.inflate = zlib.decompressobj(-15)
    assert client.rest() == b"* BYE What you send cannot be read.\r\n"
    assert "what the client sends cannot be read" in client.log.read_text()


@pytest.mark.parametrize("command", [b"COMPRESS", b"COMPRESS GZIP", b"COMPRESS DEFLATE 9", b"COMPRESS="])
def test_a_wrong_word_turns_nothing_on(client: Client, command: bytes) -> None:
    assert client.say(command).startswith(b"t BAD ")
    assert client.say(b"NOOP").startswith(b"t OK ")


def test_twice(client: Client) -> None:
    assert b" COMPRESS=DEFLATE " in client.say(b"CAPABILITY")
    client.compress()
    assert b"COMPRESS" not in client.say(b"CAPABILITY")
    assert client.say(b"COMPRESS DEFLATE").startswith(b"t NO [COMPRESSIONACTIVE] DEFLATE ")
    assert client.say(b"NOOP").startswith(b"t OK ")
    assert client.say(b"STARTTLS").startswith(b"t BAD ")


def test_each_answer_comes_at_once(client: Client, maildir: Path) -> None:
    """No octet of a whole answer stays in the compressor: not of "+", of IDLE, of what happens in it,
    nor of the last words."""
    client.compress()
    assert b"* 3 EXISTS\r\n" in client.say(b"SELECT INBOX")
    size = 10_000_000
    client.send(b"t APPEND INBOX {%d}\r\n" % size)
    assert client.until(b"\r\n").startswith(b"+ ")
    client.send(b"Subject: big\r\n\r\n" + b"x" * (size - 16) + b"\r\n")
    assert b"t OK " in client.answer()
    client.send(b"i IDLE\r\n")
    assert client.until(b"\r\n").startswith(b"+ ")
    (maildir / "tmp" / "22.M22P2.host").write_bytes(MAIL % (2, 2, 2))
    os.rename(maildir / "tmp" / "22.M22P2.host", maildir / "new" / "22.M22P2.host")
    client.until(b"* 5 EXISTS\r\n")
    client.send(b"DONE\r\n")
    client.until(b"i OK ")
    client.until(b"\r\n")
    client.send(b"t LOGOUT\r\n")
    said = client.rest()
    assert said.startswith(b"* BYE ") and said.endswith(b"completed\r\n")


def test_an_octet_at_a_time(client: Client) -> None:
    client.compress()
    assert client.squeeze is not None
    text = client.squeeze.compress(b"t NOOP\r\n") + client.squeeze.flush(zlib.Z_SYNC_FLUSH)
    for octet in text:
        client.sock.sendall(bytes((octet,)))
    assert client.answer().startswith(b"t OK ")


def test_a_client_that_closes_without_a_final_block(client: Client) -> None:
    """What it said before is done, and its end is no error."""
    client.compress()
    client.send(b"a CREATE INBOX.made\r\n")
    client.sock.shutdown(socket.SHUT_WR)
    assert client.rest().startswith(b"a OK ")
    assert "cannot be read" not in client.log.read_text()


def test_a_client_that_ends_its_stream(client: Client) -> None:
    client.compress()
    assert client.squeeze is not None
    client.sock.sendall(client.squeeze.compress(b"a NOOP\r\n") + client.squeeze.flush(zlib.Z_FINISH))
    assert client.rest().startswith(b"a OK ")
    assert "DISCONNECTED" in client.log.read_text()


def test_few_octets_that_stand_for_many(client: Client) -> None:
    """A line of any length costs no memory: it is refused as one that was sent as it is."""
    assert client.say(b"COMPRESS DEFLATE") == b"t OK DEFLATE active\r\n"
    client.inflate, squeeze = zlib.decompressobj(-15), zlib.compressobj(9, zlib.DEFLATED, -15)
    before = client.peak()
    zeros = bytes(1 << 20)
    for _ in range(40):
        client.sock.sendall(squeeze.compress(zeros))
    client.sock.sendall(squeeze.compress(b"\r\nt NOOP\r\n") + squeeze.flush(zlib.Z_SYNC_FLUSH))
    assert b"Command line too long." in client.until(b"\r\n")
    assert client.answer().startswith(b"t OK ")
    assert client.peak() < before + 4_000_000
