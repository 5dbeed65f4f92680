"""A client that takes nothing, or says nothing, is let go; one that is only slow is not."""
from __future__ import annotations

import fcntl
import os
import random
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courierpy.admin import mkcert
from courierpy.system import conn as conns
from courierpy.system.conn import Conn, Gone, TimedOut
from courierpy.system.deflate import Deflate
from courierpy.system.stream import Plain
from courierpy.system.tls import TlsStream
from courierpy.system.writers import GivenWriter

# more than any buffer between two ends holds, and nothing that can be said shorter
MUCH = random.Random(5).randbytes(16 << 20)
Ends = tuple[Conn, Callable[[int], bytes]]


def over_socket() -> Ends:
    ours, theirs = socket.socketpair()
    conn = Conn(ours.fileno(), ours.fileno())
    conn.keep = ours, theirs                       # type: ignore[attr-defined]
    return conn, theirs.recv


def over_tcp() -> Ends:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours = listener.accept()[0]
    conn = Conn(ours.fileno(), ours.fileno())
    conn.keep = ours, theirs                       # type: ignore[attr-defined]
    return conn, theirs.recv


def over_pipe() -> Ends:
    theirs, ours = os.pipe()
    return Conn(ours, ours), lambda size: os.read(theirs, size)


def over_pipe_that_cannot_be_opened_again() -> Ends:
    theirs, ours = os.pipe()
    conn = Conn(ours, ours)
    plain = Plain(ours, ours)
    plain._writer = GivenWriter(ours, True)
    conn.stream = plain
    return conn, lambda size: os.read(theirs, size)


def over_terminal() -> Ends:
    import tty
    theirs, ours = os.openpty()
    tty.setraw(ours)
    return Conn(ours, ours), lambda size: os.read(theirs, size)


def over_tls(folder: Path) -> Ends:
    certificate = folder / "cert.pem"
    mkcert.make(str(certificate), "localhost")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=str(certificate))
    ours, theirs = socket.socketpair()
    found: list[ssl.SSLSocket] = []
    shake = threading.Thread(target=lambda: found.append(client.wrap_socket(theirs,
                                                                            server_hostname="localhost")))
    shake.start()
    secure = server.wrap_socket(ours, server_side=True)
    shake.join()
    conn = Conn(secure.fileno(), secure.fileno())
    conn.put_on(lambda plain: TlsStream(secure))
    return conn, found[0].recv


def over_deflate(folder: Path) -> Ends:
    """With TLS below, whose records and buffers are in the way of a layer's own."""
    conn, take = over_tls(folder)
    conn.put_on(Deflate)
    inflate = zlib.decompressobj(-15)

    def taken(size: int) -> bytes:
        return inflate.decompress(take(size))
    return conn, taken


KINDS = {"socket": over_socket, "tcp": over_tcp, "pipe": over_pipe, "terminal": over_terminal,
         "given pipe": over_pipe_that_cannot_be_opened_again}


LAYERS = {"tls": over_tls, "deflate": over_deflate}


@pytest.fixture(params=[*KINDS, *LAYERS])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ends]:
    yield LAYERS[request.param](tmp_path) if request.param in LAYERS else KINDS[request.param]()


def test_a_client_that_takes_nothing(ends: Ends) -> None:
    conn, _ = ends
    conn.write_timeout = 0.2
    conn.write(b"greeting\r\n")
    conn.flush()
    with pytest.raises(TimedOut):
        conn.write(MUCH)
        conn.flush()
    conn.say_last(b"* BYE\r\n")


def test_a_client_that_takes_it_all(ends: Ends) -> None:
    conn, take = ends
    conn.write_timeout = 20.0
    got = bytearray()

    def read() -> None:
        while len(got) < len(MUCH):
            got.extend(take(1 << 16))

    reader = threading.Thread(target=read)
    reader.start()
    conn.write(MUCH)
    conn.flush()
    reader.join(60)
    assert bytes(got) == MUCH
    assert conn.sent == len(MUCH)


def test_a_slow_client_is_served_as_long_as_it_takes_something(monkeypatch: pytest.MonkeyPatch) -> None:
    conn, take = over_socket()
    conn.write_timeout = 0.5
    monkeypatch.setattr(conns, "TAKES", 4096)
    got = 0

    def read() -> None:
        nonlocal got
        while got < 1 << 20:
            time.sleep(0.05)
            got += len(take(1 << 16))

    reader = threading.Thread(target=read)
    reader.start()
    conn.write(MUCH[:1 << 20])
    conn.flush()
    reader.join(60)
    assert got == 1 << 20


def test_a_client_that_takes_an_octet_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    conn, take = over_socket()
    conn.write_timeout = 0.5
    done = threading.Event()

    def read() -> None:
        while not done.wait(0.05):
            take(1000)

    reader = threading.Thread(target=read)
    reader.start()
    with pytest.raises(TimedOut):
        conn.write(MUCH)
        conn.flush()
    done.set()
    reader.join(60)


def test_a_deadline_ends_reading_and_writing() -> None:
    conn, _ = over_socket()
    conn.deadline = time.monotonic() + 0.2
    with pytest.raises(TimedOut):
        conn.read(None)
    with pytest.raises(TimedOut):
        conn.write(MUCH)
        conn.flush()
    conn.keep[1].sendall(b"late")              # type: ignore[attr-defined]
    with pytest.raises(TimedOut):
        conn.read(5)


def test_the_descriptors_of_others_stay_blocking(ends: Ends) -> None:
    conn, _ = ends
    conn.write(b"x")
    conn.flush()
    if conn.plain:
        assert not fcntl.fcntl(conn.stream.outfd, fcntl.F_GETFL) & os.O_NONBLOCK


@pytest.mark.parametrize("kind", [over_socket, over_tcp])
def test_a_client_that_is_gone(kind: Callable[[], Ends]) -> None:
    conn, _ = kind()
    conn.keep[1].close()                       # type: ignore[attr-defined]
    with pytest.raises(Gone):
        conn.write(MUCH)
        conn.flush()


def test_a_file(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        file.write(b"before ")
        file.flush()
        conn = Conn(0, file.fileno())
        conn.write(MUCH)
        conn.flush()
        conn.end()
    assert (tmp_path / "out").read_bytes() == b"before " + MUCH
