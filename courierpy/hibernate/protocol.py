"""What sessions, the keeper and the listener say to each other; keeper.py says when.

All are octets of fixed form, and descriptors that travel with them.
"""
from __future__ import annotations

import os
import socket
import struct

from courierpy.imap.grammar import lines
from courierpy.system import passing

VERSION = 5                    # of what is said to a keeper; another listener needs another one
ALONE = 1                      # the last version whose keeper was the only one that held the connections
KEPT, GOOD, TAKEN = b"k", b"g", b"t"
# over the link: a letter, and what follows it
SLEPT = struct.Struct("!cQI")  # b"S" number pid; with channel, client and state
WAKE, GONE = struct.Struct("!cQ"), struct.Struct("!cQ")        # b"W" number; with a channel.  b"G" number
END, DROP, LOG = b"E", b"D", b"L"      # of the listener: end all; number: drop one; a new descriptor 2
ASK, HERE = b"?", b"!"         # of the listener: does it do anything still?  It does
# due (monotonic clock), every, sent, started (monotonic clock), octets of the note and of what is known,
# is the client spoken to in blocks of DEFLATE?
RECORD = struct.Struct("!dIQdHI?")
MAX_KNOWN = 8 * 1024 * 1024        # octets of a record, with its head and its note
MAX_DIRECTORIES = 4
_LAST_WORDS = lines.told(lines.BYE, lines.SHUT_DOWN)
ROOT, NEW, CUR, KEYWORDS = b"r", b"n", b"c", b"k"               # what a directory is in its folder
EAR = b"i"                     # no directory: an instance of inotify, which hears of other folders
EVENTS = b"v"                  # to who is woken; with that instance, in which the events are still


class borrowed:  # noqa: N801  (as a function)
    """A socket object for a descriptor that stays open."""

    def __init__(self, fd: int) -> None:
        self.socket = socket.socket(fileno=fd)

    def __enter__(self) -> socket.socket:
        return self.socket

    def __exit__(self, *error: object) -> None:
        self.socket.detach()


def is_connection(fd: int) -> bool:
    """Is it TCP, or the way to a login process, and connected still?  OSError when it is not, or no socket
    at all."""
    with borrowed(fd) as client:
        client.getpeername()
        return client.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX) \
            and client.type == socket.SOCK_STREAM


def identity(fd: int) -> tuple[int, int]:
    """What a socket is known by, whoever holds it: device and inode."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


# -- the state of a connection that sleeps: a memory file, which whoever holds it can go on with

_HEAD = struct.Struct("!dQ")   # due, octets of words that the keeper has said: these two change


class State:
    """``due``: when the client wants a word next, on the monotonic clock, and ``every`` how many
    seconds then; 0: never, its time is over.  ``sent``: octets before it slept, ``words``: those
    since.  ``note``: who it is, for the log.  ``known``: what its session knew.  ``deflated``: words
    to the client are blocks of DEFLATE."""

    __slots__ = ("deflated", "due", "every", "known", "note", "sent", "started", "words")

    def __init__(self, record: bytes) -> None:
        """``record``: as the session sent it, whole."""
        self.due, self.every, self.sent, self.started, note, _, self.deflated = RECORD.unpack_from(record)
        self.words = 0
        self.note = record[RECORD.size:RECORD.size + note].decode("utf-8", "replace")
        self.known = record[RECORD.size + note:]

    def octets(self, line: bytes) -> bytes:
        """A line as it goes to the client."""
        return _stored(line) if self.deflated else line

    def say(self, client: socket.socket, line: bytes) -> bool:
        """A line to the client.  False: it took a part of it.  Raises OSError."""
        octets = self.octets(line)
        sent = client.send(octets, passing.SENDING)
        self.words += min(sent, len(line))
        return sent == len(octets)


def _stored(line: bytes) -> bytes:
    """As a block that is not compressed.  RFC 1951 3.2.4."""
    return b"\0" + struct.pack("<HH", len(line), len(line) ^ 0xFFFF) + line


def whole(record: bytes) -> int:
    """Octets that this record will have; 0 when that cannot be said yet."""
    if len(record) < RECORD.size:
        return 0
    note: int
    known: int
    *_, note, known, _ = RECORD.unpack_from(record)
    return RECORD.size + note + known


def save(record: bytes) -> int:
    """The descriptor of a memory file with this state.  OSError."""
    fd = os.memfd_create("asleep")
    try:
        data = memoryview(_HEAD.pack(RECORD.unpack_from(record)[0], 0) + record)
        while data:
            data = data[os.write(fd, data):]
    except OSError:
        os.close(fd)
        raise
    return fd


def note_words(fd: int, due: float, words: int) -> None:
    """The client was told something meanwhile.  OSError."""
    os.pwrite(fd, _HEAD.pack(due, words), 0)


def load(fd: int) -> State:
    """OSError."""
    size = os.fstat(fd).st_size
    data = b""
    while len(data) < size and (piece := os.pread(fd, size - len(data), len(data))):
        data += piece
    state = State(data[_HEAD.size:])
    state.due, state.words = _HEAD.unpack_from(data)
    return state


def farewell(client: int, state: State, words: bytes = _LAST_WORDS) -> bool:
    """Last words to who sleeps.  False: it is gone, takes nothing, or has heard them."""
    with borrowed(client) as connection:
        try:
            state.say(connection, words)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return False
    return True
