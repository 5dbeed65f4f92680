"""What an MTA asks, in whatever tongue: one address, and how much would come."""
from __future__ import annotations

import struct

_HEAD = struct.Struct("!Q?")
MOST_OCTETS = 10 ** 18
PART_SECONDS = 10.0            # that a client has to say all of a request
SILENT_SECONDS = 3600.0        # that a client may say nothing


class Broken(Exception):
    """Where the next request begins nobody knows.  ``answer``: what is said before the end."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


class Question:
    """What an MTA asks.

    ``address``: as the MTA has it, quoted or not, b"" for a request that asks of nobody; ``octets``: of
    the message, 0 for any number; ``only_exists``: room by the quota is not asked for."""

    __slots__ = ("address", "octets", "only_exists")

    def __init__(self, address: bytes, octets: int = 0, only_exists: bool = False) -> None:
        self.address = address
        self.octets = octets
        self.only_exists = only_exists

    def data(self) -> bytes:
        """For another process."""
        return _HEAD.pack(self.octets, self.only_exists) + self.address

    @classmethod
    def of(cls, data: bytes) -> Question:
        octets, only_exists = _HEAD.unpack_from(data)
        return cls(data[_HEAD.size:], octets, only_exists)

    def __repr__(self) -> str:
        return f"Question({self.address!r}, {self.octets}, {self.only_exists})"
