"""A command after whose OK the session goes through another layer."""
from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy import imapd
from courierpy.imap.commands import ANY, Done, command
from courierpy.system.conn import Conn
from courierpy.system.deflate import Deflate


@pytest.fixture
def session(maildir: Path) -> Iterator[socket.socket]:
    """The client's end of a session that knows the command SQUEEZE."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            theirs.close()
            command(b"SQUEEZE", when=ANY)(lambda session, args: Done("Squeezed.", layer=Deflate))
            imapd.main(["imapd", str(maildir)], {"AUTHENTICATED": "joe", "IMAP_LOG": "lines"},
                       Conn(ours.fileno(), ours.fileno()))
        finally:
            os._exit(0)
    ours.close()
    theirs.settimeout(10)
    with theirs:
        yield theirs
    assert os.waitpid(pid, 0)[1] == 0


def lines(client: socket.socket, until: bytes) -> bytes:
    found = b""
    while until not in found:
        piece = client.recv(1)
        assert piece, found
        found += piece
    return found


def squeezed(client: socket.socket, text: bytes) -> None:
    squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)
    client.sendall(squeeze.compress(text) + squeeze.flush(zlib.Z_SYNC_FLUSH))


def rest(client: socket.socket) -> bytes:
    found = b""
    while piece := client.recv(65536):
        found += piece
    return zlib.decompressobj(-15).decompress(found)


@pytest.mark.parametrize("ahead", [False, True])
def test_behind_its_ok(session: socket.socket, ahead: bool) -> None:
    """Also for who does not wait for the OK."""
    lines(session, b"Ready.\r\n")
    session.sendall(b"a SQUEEZE\r\n")
    if not ahead:
        assert lines(session, b"\r\n") == b"a OK Squeezed.\r\n"
    squeezed(session, b"b NOOP\r\nc LOGOUT\r\n")
    if ahead:
        assert lines(session, b"\r\n") == b"a OK Squeezed.\r\n"
    said = rest(session)
    assert said.startswith(b"b OK ")
    assert b"\r\nc OK " in said


def test_who_says_something_else_hears_that(session: socket.socket) -> None:
    lines(session, b"Ready.\r\n")
    session.sendall(b"a SQUEEZE\r\nb NOOP\r\n")
    lines(session, b"a OK Squeezed.\r\n")
    assert rest(session) == b"* BYE What you send cannot be read.\r\n"
