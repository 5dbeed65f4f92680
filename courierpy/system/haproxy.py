"""PROXY protocol, versions 1 and 2: who the client is, as the proxy in front says."""
from __future__ import annotations

import socket
import struct
import time

from courierpy.model.numbers import decimal

LINE = b"PROXY "
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


class ProxyError(Exception):
    """No header, or one that is none."""


class Ends:
    """Addresses and ports of both ends; None where the proxy speaks for itself."""

    __slots__ = ("local", "remote")

    def __init__(self, remote: tuple[str, int], local: tuple[str, int]) -> None:
        self.remote = remote
        self.local = local


MAX_LINE = 107                 # octets of a line of version 1, with its end
HEAD_OCTETS = 16               # of version 2, before what it announces


def cut(data: bytes) -> tuple[Ends | None, bytes] | None:
    """The header at the beginning of what has come, and what came behind it; None: it is not whole yet.
    Raises ProxyError."""
    size = min(len(data), len(SIGNATURE))
    if data[:size] == SIGNATURE[:size]:
        if len(data) < HEAD_OCTETS:
            return None
        command, family, length = struct.unpack_from("!BBH", data, len(SIGNATURE))
        if len(data) < HEAD_OCTETS + length:
            return None
        return (_ends_of_2(command, family, data[HEAD_OCTETS:HEAD_OCTETS + length]),
                data[HEAD_OCTETS + length:])
    size = min(len(data), len(LINE))
    if data[:size] != LINE[:size]:
        raise ProxyError("no PROXY header")
    line, end, rest = data.partition(b"\r\n")
    if len(line) + 2 > MAX_LINE:
        raise ProxyError("PROXY header too long")
    return (parse_line(line), rest) if end else None


def read_header(client: socket.socket, timeout: float) -> Ends | None:
    """Take the header, and not an octet more, from the connection."""
    end = time.monotonic() + timeout
    head = _exactly(client, 12, end)
    if head == SIGNATURE:
        return _version_2(client, end)
    if not head.startswith(LINE):
        raise ProxyError("no PROXY header")
    while not head.endswith(b"\r\n"):
        if len(head) > MAX_LINE:
            raise ProxyError("PROXY header too long")
        head += _exactly(client, 1, end)
    return parse_line(head)


def parse_line(line: bytes) -> Ends | None:
    """Version 1.  An address is told as all others are, however it is spelled there."""
    words = line.decode("ascii", "replace").removesuffix("\r\n").split(" ")
    if words[1:2] == ["UNKNOWN"]:
        return None
    try:
        _, kind, source, target, source_port, target_port = words
        family = {"TCP4": socket.AF_INET, "TCP6": socket.AF_INET6}[kind]
        source, target = (socket.inet_ntop(family, socket.inet_pton(family, word))
                          for word in (source, target))
        ports = decimal(source_port, 65535), decimal(target_port, 65535)
        if ports[0] is None or ports[1] is None:
            raise ValueError
        return Ends((source, ports[0]), (target, ports[1]))
    except (KeyError, ValueError, OSError):
        raise ProxyError("bad PROXY header") from None


def _version_2(client: socket.socket, end: float) -> Ends | None:
    command, family, length = struct.unpack("!BBH", _exactly(client, 4, end))
    return _ends_of_2(command, family, _exactly(client, length, end))


def _ends_of_2(command: int, family: int, data: bytes) -> Ends | None:
    if command >> 4 != 2:
        raise ProxyError("unknown PROXY version")
    if command & 15 == 0:
        return None                     # the proxy's own health check, of whatever family
    if command & 15 > 1 or family >> 4 > 3 or family & 15 > 2:
        raise ProxyError("unknown words in a PROXY header")
    sizes = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}
    if family not in sizes:
        return None
    kind, size = sizes[family]
    if len(data) < 2 * size + 4:
        raise ProxyError("short PROXY header")
    source, target = data[:size], data[size:2 * size]
    ports = struct.unpack("!HH", data[2 * size:2 * size + 4])
    return Ends((socket.inet_ntop(kind, source), ports[0]), (socket.inet_ntop(kind, target), ports[1]))


def header(remote: tuple[str, str], local: tuple[str, str]) -> bytes:
    """Of version 2, for a client that came from ``remote`` to ``local``: addresses and ports in words.  Where
    they are none it says that the proxy speaks for itself."""
    try:
        ends = [(address.removeprefix("::ffff:"), int(port)) for address, port in (remote, local)]
        if any(":" in address for address, _ in ends):
            ends = [(address if ":" in address else f"::ffff:{address}", port) for address, port in ends]
            family, kind = socket.AF_INET6, 0x21
        else:
            family, kind = socket.AF_INET, 0x11
        data = b"".join(socket.inet_pton(family, address) for address, _ in ends)
        data += struct.pack("!HH", *(port for _, port in ends))
    except (OSError, ValueError, struct.error):
        return SIGNATURE + struct.pack("!BBH", 0x20, 0, 0)
    return SIGNATURE + struct.pack("!BBH", 0x21, kind, len(data)) + data


def _exactly(client: socket.socket, count: int, end: float) -> bytes:
    data = b""
    while len(data) < count:
        left = end - time.monotonic()
        if left <= 0:
            raise ProxyError("PROXY header did not come in time")
        client.settimeout(left)
        try:
            piece = client.recv(count - len(data))
        except OSError:
            raise ProxyError("PROXY header did not come in time") from None
        if not piece:
            raise ProxyError("closed before the PROXY header")
        data += piece
    client.settimeout(None)
    return data
