"""Headers of the PROXY protocol, read whole, in pieces, and with what follows them."""
from __future__ import annotations

import socket
import struct
import threading

import pytest

from courierpy.system import haproxy

V4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 5555, 993)
FROM = ("192.0.2.7", 5555)


def version_2(command: int, family: int, data: bytes, length: int | None = None) -> bytes:
    size = len(data) if length is None else length
    return haproxy.SIGNATURE + struct.pack("!BBH", command, family, size) + data


GOOD = {
    "1": (b"PROXY TCP4 192.0.2.7 192.0.2.1 5555 993\r\n", FROM),
    "1, unknown": (b"PROXY UNKNOWN\r\n", None),
    "1, unknown and more": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    "2": (version_2(0x21, 0x11, V4), FROM),
    "2, local": (version_2(0x20, 0x00, b""), None),
    "2, local with addresses": (version_2(0x20, 0x11, V4), None),
    "2, unix": (version_2(0x21, 0x31, bytes(216)), None),
    "2, the longest": (version_2(0x21, 0x11, V4 + bytes(65535 - len(V4))), FROM),
}
BAD = {
    "other octets": b"GET / HTTP/1.0\r\n\r\n",
    "too long a line": b"PROXY TCP4 " + b"1" * 200,
    "no version": version_2(0x31, 0x11, V4),
    "no command": version_2(0x22, 0x11, V4),
    "shorter than its addresses": version_2(0x21, 0x11, b"x" * 11),
    "none at all": version_2(0x21, 0x11, b""),
}


def remote(ends: haproxy.Ends | None) -> tuple[str, int] | None:
    return None if ends is None else ends.remote


@pytest.mark.parametrize("kind", GOOD)
def test_a_header_in_pieces_and_with_a_tail(kind: str) -> None:
    data, client = GOOD[kind]
    found = haproxy.cut(data + b"a LOGIN x y\r\n")
    assert found is not None
    assert (remote(found[0]), found[1]) == (client, b"a LOGIN x y\r\n")
    for at in {*range(min(len(data), 120)), len(data) - 1}:
        assert haproxy.cut(data[:at]) is None, at


@pytest.mark.parametrize("kind", GOOD)
def test_no_octet_more_is_taken_from_the_connection(kind: str) -> None:
    """Octet by octet; the longest one in two pieces."""
    data, client = GOOD[kind]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        size = 1 if len(data) < 1000 else 40_000

        def say() -> None:
            for at in range(0, len(data), size):
                theirs.sendall(data[at:at + size])
            theirs.sendall(b"\x16\x03\x01")
        thread = threading.Thread(target=say)
        thread.start()
        try:
            assert remote(haproxy.read_header(ours, 60)) == client
            assert ours.recv(100) in (b"\x16", b"\x16\x03", b"\x16\x03\x01")
        finally:
            thread.join()


@pytest.mark.parametrize("kind", BAD)
def test_what_is_none(kind: str) -> None:
    with pytest.raises(haproxy.ProxyError):
        haproxy.cut(BAD[kind])
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(BAD[kind])
        with pytest.raises(haproxy.ProxyError):
            haproxy.read_header(ours, 60)


@pytest.mark.parametrize("data", [b"", b"PROX", haproxy.SIGNATURE, version_2(0x21, 0x11, V4, 65535)])
def test_who_closes_before_it_is_whole(data: bytes) -> None:
    """Also a length beyond all that comes: nothing is read that is not there."""
    assert haproxy.cut(data) is None
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(data)
        with pytest.raises(haproxy.ProxyError, match="closed"):
            haproxy.read_header(ours, 60)
