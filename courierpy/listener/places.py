"""Where counts are to be had: the words of METRICS."""
from __future__ import annotations

import socket

from courierpy.model.numbers import decimal

EXPECTED = "unix:/PATH, file:/PATH, or a port of this machine alone, as 127.0.0.1:9143 and [::1]:9143"


class Place:
    """``kind``: unix, file or tcp.  ``path``: of the first two.  ``address`` and ``port``: of the third."""

    __slots__ = ("address", "kind", "path", "port")

    def __init__(self, kind: str, path: str = "", address: str = "", port: int = 0) -> None:
        self.kind = kind
        self.path = path
        self.address = address
        self.port = port

    def __str__(self) -> str:
        if self.kind != "tcp":
            return f"{self.kind}:{self.path}"
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def parse(text: str) -> list[Place]:
    """The words of METRICS, with blanks or commas between.  Raises ValueError, which says what is wrong."""
    return [_place(word) for word in text.replace(",", " ").split()]


def _place(word: str) -> Place:
    kind, _, path = word.partition(":")
    if kind in ("unix", "file"):
        if not path.startswith("/"):
            raise ValueError(f"{word}: a whole path was expected: {kind}:/PATH")
        return Place(kind, path)
    address, _, digits = word.rpartition(":")
    port = decimal(digits, 65535)
    bare = address[1:-1] if address[:1] == "[" and address[-1:] == "]" else address
    if not port or not _is_of_this_machine(bare) or (bare != address) != (":" in bare):
        raise ValueError(f"{word}: expected was {EXPECTED}")
    return Place("tcp", address=bare, port=port)


def _is_of_this_machine(address: str) -> bool:
    """Who reads the counts of a server is not asked for a password."""
    for family, first in ((socket.AF_INET, b"\x7f"), (socket.AF_INET6, bytes(15) + b"\1")):
        try:
            if socket.inet_pton(family, address).startswith(first):
                return True
        except OSError:
            continue
    return False
