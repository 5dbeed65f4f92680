"""Streams: what they carry comes whole, in whatever pieces it comes and goes, in bounded memory."""
from __future__ import annotations

import os
import random
import select
import socket
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from courierpy.imap.session import Session
from courierpy.system.conn import Conn, TimedOut
from courierpy.system.deflate import Deflate
from courierpy.system.stream import Garbled, Plain
from courierpy.system.writers import Blocked

TEXT = b"".join(b"a%d FETCH 1:* (FLAGS)\r\n" % number for number in range(5000))
NOISE = random.Random(7).randbytes(100_000)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(60)
    with ours, theirs:
        yield ours, theirs


def connected(ours: socket.socket, ahead: bytes = b"") -> Conn:
    conn = Conn(ours.fileno(), ours.fileno())
    conn.put_on(lambda plain: Deflate(plain, ahead))
    return conn


def deflated(data: bytes) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    return squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH)


def all_of(conn: Conn, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        piece = conn.read(10)
        assert piece
        found += piece
    return bytes(found)


@pytest.mark.parametrize("data", [TEXT, NOISE, b"x", b"\0" * 300_000])
def test_what_the_client_compresses_is_read(pair: tuple[socket.socket, socket.socket], data: bytes) -> None:
    ours, theirs = pair
    whole = deflated(data)
    theirs.sendall(whole)
    conn = connected(ours)
    assert all_of(conn, len(data)) == data
    assert conn.rcvd == len(data)
    with pytest.raises(TimedOut):
        conn.read(0)
    assert not conn.ready()


def test_in_pieces(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    conn = connected(ours)
    found = bytearray()
    for octet in deflated(TEXT[:400]):
        theirs.send(bytes((octet,)))
        try:
            found += conn.read(0)
        except TimedOut:
            continue
    assert bytes(found) == TEXT[:400]


def test_what_was_read_ahead_comes_first(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    whole = deflated(TEXT)
    theirs.sendall(whole[100:])
    conn = connected(ours, whole[:100])
    assert conn.ready()
    assert conn.wait((), 10) == {ours.fileno()}
    assert all_of(conn, len(TEXT)) == TEXT


@pytest.mark.parametrize("size", [1, 4096, 65536, 10_000_000])
def test_few_octets_that_stand_for_many(size: int) -> None:
    """No more comes than was asked for, and the rest is not lost, nor made before."""
    reader, writer = os.pipe()
    bomb = deflated(b"a" * 20_000_000)
    os.write(writer, bomb)
    os.close(writer)
    stream = Deflate(Plain(reader, reader))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    total, calls = 0, 0
    while calls < 300:
        try:
            piece = stream.read(size)
        except Blocked:
            continue
        if not piece:
            break
        assert len(piece) <= size
        total, calls = total + len(piece), calls + 1
    most = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    os.close(reader)
    assert total == 20_000_000 if calls < 300 else total == size * 300
    assert most < 3 * size + 200_000
    assert stream.buffered() == (calls == 300)


def test_what_is_written_can_be_read_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    conn = connected(ours)
    inflate = zlib.decompressobj(-15)
    for line in (b"* OK Still here\r\n", TEXT[:5000], b"a OK\r\n"):
        conn.write(line)
        conn.flush()
        assert inflate.decompress(theirs.recv(65536)) == line
    assert conn.sent == len(TEXT[:5000]) + 23


def test_what_is_written_after_a_rest(pair: tuple[socket.socket, socket.socket]) -> None:
    """It is of the same stream, and no memory was kept for it."""
    ours, theirs = pair
    conn = connected(ours)
    inflate = zlib.decompressobj(-15)
    for _ in range(3):
        conn.write(TEXT[:5000])
        conn.rest()
        assert inflate.decompress(theirs.recv(65536)) == TEXT[:5000]


def test_a_client_that_reads_slowly(pair: tuple[socket.socket, socket.socket]) -> None:
    """What is compressed already is not compressed again, nor lost, when the descriptor takes a part."""
    ours, theirs = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    stream = Deflate(Plain(ours.fileno(), ours.fileno()))
    inflate = zlib.decompressobj(-15)
    left, found = memoryview(NOISE), bytearray()
    while left or stream.held:
        try:
            left = left[stream.write(left):]
        except Blocked:
            assert select.select([theirs], [], [], 10)[0]
            found += inflate.decompress(theirs.recv(1000))
    theirs.settimeout(0)
    while True:
        try:
            found += inflate.decompress(theirs.recv(65536))
        except BlockingIOError:
            break
    assert bytes(found) == NOISE


@pytest.mark.parametrize("data", [b"a LOGOUT\r\n", deflated(b"a NOOP\r\n") + b"\xff\xff\xff"])
def test_what_is_not_compressed(pair: tuple[socket.socket, socket.socket], data: bytes) -> None:
    ours, theirs = pair
    theirs.sendall(data)
    conn = connected(ours)
    with pytest.raises(Garbled):
        for _ in range(3):
            conn.read(10)


@pytest.mark.parametrize("ends", [lambda data: data, lambda data: data + b"\x03\x00"])
def test_the_end(pair: tuple[socket.socket, socket.socket], ends: Callable[[bytes], bytes]) -> None:
    """The client closes its side, or says before that nothing more comes."""
    ours, theirs = pair
    theirs.sendall(ends(deflated(b"a NOOP\r\n")))
    theirs.shutdown(socket.SHUT_WR)
    conn = connected(ours)
    assert all_of(conn, 8) == b"a NOOP\r\n"
    assert conn.read(10) == b""
    conn.end()
    assert theirs.recv(10) == b""


def segments(client: socket.socket) -> int:
    """That have come: tcpi_segs_in of tcp(7)."""
    return int.from_bytes(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 144)[140:], "little")


def test_the_last_words_and_the_end_are_one_segment() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname(), 60)
        ours, _ = listening.accept()
    with client, ours:
        conn = Conn(ours.fileno(), ours.fileno())
        conn.write(b"a OK\r\n")
        conn.flush()
        assert client.recv(100) == b"a OK\r\n"
        before = segments(client)
        conn.write(b"* BYE\r\n")
        conn.write(b"b OK\r\n")
        conn.flush_and_shut()
        assert client.recv(100) == b"* BYE\r\nb OK\r\n" and client.recv(100) == b""
        assert segments(client) == before + 1
        assert conn.shut()             # there was something to close, also for who asks later


@pytest.mark.parametrize("layered", [False, True])
def test_the_end_comes_behind_all_that_was_said(pair: tuple[socket.socket, socket.socket],
                                                layered: bool) -> None:
    ours, theirs = pair
    conn = connected(ours) if layered else Conn(ours.fileno(), ours.fileno())
    said = NOISE * 20
    with ThreadPoolExecutor(1) as other:
        hears = other.submit(lambda: b"".join(iter(lambda: theirs.recv(1 << 16), b"")))
        conn.write(said)
        conn.flush_and_shut()
        heard = hears.result(60)
    assert (zlib.decompressobj(-15).decompress(heard) if layered else heard) == said


def test_layers_are_told_by_their_names(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    conn = Conn(ours.fileno(), ours.fileno())
    assert conn.plain
    conn.put_on(Deflate)
    assert conn.stream.layers == ("deflate",)
    assert not conn.plain


def test_what_is_not_on_its_way_is_taken_back(pair: tuple[socket.socket, socket.socket]) -> None:
    """A line for whose end there is no memory: refused, where the client has nothing of it."""
    ours, theirs = pair
    conn = Conn(ours.fileno(), ours.fileno())
    session = SimpleNamespace(conn=conn)

    def breaks_off(size: int) -> Iterator[bytes]:
        yield b"* SEARCH" + b" 1" * size
        raise MemoryError

    for size, left in ((10, False), (1 << 16, True)):
        conn.write(b"* 1 EXISTS\r\n")
        with pytest.raises(MemoryError):
            Session.write_long(session, breaks_off(size))
        assert conn.midway == left
        conn.flush()
        assert (theirs.recv(1 << 20) == b"* 1 EXISTS\r\n") != left
