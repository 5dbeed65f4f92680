"""What sessions, the keeper and the listener say to each other; keeper.py says when.

All are octets of fixed form, and descriptors that travel with them.
"""
from __future__ import annotations

import socket
import struct

VERSION = 1                    # of what is said over the link; another listener needs another keeper
KEPT, GOOD, TAKEN = b"k", b"g", b"t"
# over the link: a letter, and what follows it
SLEPT, GONE = struct.Struct("!cQI"), struct.Struct("!cQ")       # b"S" number pid; b"G" number
WAKE = struct.Struct("!cQIIH")                 # b"W" number uid gid count, then the groups; client, channel
END, DROP, LOG = b"E", b"D", b"L"      # of the listener: end all; number: drop one; a new descriptor 2
# due (monotonic clock), every, sent, started (monotonic clock), octets of the note and of what is known
RECORD = struct.Struct("!dIQdHI")
WOKEN = struct.Struct("!dQI")                  # due, octets that the keeper sent, octets of what is known
MAX_KNOWN = 8 * 1024 * 1024
MAX_DIRECTORIES = 4
ALIVE = b"* OK Still here\r\n"
BYE = b"* BYE Courier-IMAP server shut down by signal.\r\n"
ROOT, NEW, CUR, KEYWORDS = b"r", b"n", b"c", b"k"               # what a directory is in its folder


class borrowed:  # noqa: N801  (as a function)
    """A socket object for a descriptor that stays open."""

    def __init__(self, fd: int) -> None:
        self.socket = socket.socket(fileno=fd)

    def __enter__(self) -> socket.socket:
        return self.socket

    def __exit__(self, *error: object) -> None:
        self.socket.detach()


def is_connection(fd: int) -> bool:
    """Is it TCP, and connected still?  OSError when it is not, or no socket at all."""
    with borrowed(fd) as client:
        client.getpeername()
        return client.family in (socket.AF_INET, socket.AF_INET6) and client.type == socket.SOCK_STREAM
