"""What a session knows, as octets: they wait with the keeper while the session has no process.

``pack`` and ``unpack``.  A record is read by a process that is the user already, and is taken for
what any user might have written: lengths and limits, no code.
"""
from __future__ import annotations

import os
import struct
from itertools import chain
from math import isfinite

from courierpy.model.messages import NO_MESSAGES, Messages
from courierpy.model.uidset import NO_UIDS, UidSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAGIC = b"courierpy 7\n"       # another version of what is known gets another one
LIMIT = 64 * 1024 * 1024       # octets of a record
PLAIN, PACKED = b"-", b"z"     # how the rest of it is written
PAGE_OCTETS = 3072             # that are in a page of memory anyway, and need not be packed
_NUMBERS = struct.Struct("!dQQQQBB")
_FOLDER = struct.Struct("!IQ")
_LENGTH = struct.Struct("!I")
_RUN = struct.Struct("!II")
_SELECTED, _READONLY = 1, 2
_COMMON, _OF_FOLDER = 8, 8     # parts of a record


class Damaged(Exception):
    """A record that no session wrote."""


class Known:
    """What a session knows, apart from its folder's content.  ``started``: on the monotonic
    clock.  ``tag``: of the IDLE, b"" between two commands.  ``messages``, ``told_recent`` are the view's,
    ``recent``, ``saved`` and ``words`` those of
    Selected (its ``keywords``); ``kept``: what extensions keep, and ``objects`` what is to be made again by
    them: (key in their table ``woken``, octets); ``layers``: of the connection, see Conn.kept(); ``name``
    is None when no mailbox is selected."""

    __slots__ = ("body", "cwd", "enabled", "environ", "errors", "headers", "kept", "layers", "messages",
                 "name", "objects", "path", "rcvd", "readonly", "recent", "saved", "sent", "started", "tag",
                 "told_recent", "uidnext", "uidvalidity", "untold", "words")

    def __init__(self) -> None:
        self.started = 0.0
        self.rcvd = self.sent = self.headers = self.body = self.errors = 0
        self.tag = b""
        self.cwd = b"/"
        self.environ: dict[str, str] = {}
        self.enabled: set[bytes] = set()
        self.untold: set[bytes] = set()
        self.kept: dict[bytes, bytes] = {}
        self.objects: list[tuple[bytes, bytes]] = []
        self.layers: dict[str, bytes] = {}
        self.name: str | None = None
        self.path = ""
        self.readonly = False
        self.uidvalidity = self.uidnext = 0
        self.messages = NO_MESSAGES
        self.words: list[bytes] = []
        self.told_recent = NO_UIDS
        self.recent = NO_UIDS
        self.saved = NO_UIDS

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and all(getattr(self, name) == getattr(other, name)
                                                for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]


def pack(known: Known) -> bytes:
    """The record of what a session knows."""
    bits = (known.name is not None) * _SELECTED | known.readonly * _READONLY
    environ = "\0".join([f"{name}={value}" for name, value in known.environ.items()])
    parts = [known.tag, known.cwd, environ.encode("utf-8", "surrogateescape"),
             _list(sorted(known.enabled)), _list(chain.from_iterable(sorted(known.kept.items()))),
             _list(sorted(known.untold)), _list(chain.from_iterable(known.objects)),
             _list(chain.from_iterable((layer.encode(), state) for layer, state in known.layers.items()))]
    numbers = _NUMBERS.pack(known.started, known.rcvd, known.sent, known.headers, known.body, known.errors,
                            bits)
    if known.name is not None:
        parts += [_FOLDER.pack(known.uidvalidity, known.uidnext),
                  known.name.encode("utf-8", "surrogateescape"), os.fsencode(known.path),
                  known.messages.pack(), _list(known.words),
                  _runs(known.told_recent.runs), _runs(known.recent.runs), _runs(known.saved.runs)]
    data = numbers + _list(parts)
    if len(data) <= PAGE_OCTETS:
        return MAGIC + PLAIN + data
    import zlib
    return MAGIC + PACKED + zlib.compress(data, 1)


def unpack(record: bytes) -> Known:
    """Raises Damaged."""
    import zlib
    if not record.startswith(MAGIC):
        raise Damaged("of another version")
    unzip, way, data = zlib.decompressobj(), record[len(MAGIC):len(MAGIC) + 1], record[len(MAGIC) + 1:]
    try:
        if way != PLAIN:
            data = unzip.decompress(data, LIMIT)
            if way != PACKED or unzip.unconsumed_tail or not unzip.eof or unzip.unused_data:
                raise Damaged("too long, or not whole")
        return _unpack(data)
    except (zlib.error, struct.error, UnicodeError, ValueError, IndexError) as error:
        raise Damaged(str(error)) from None


def _unpack(data: bytes) -> Known:
    known = Known()
    (known.started, known.rcvd, known.sent, known.headers, known.body, known.errors,
     bits) = _NUMBERS.unpack_from(data)
    parts = _parts(data[_NUMBERS.size:])
    if len(parts) != _COMMON + (_OF_FOLDER if bits & _SELECTED else 0) or bits > 3:
        raise ValueError("parts")
    if not isfinite(known.started):
        raise ValueError("a moment that is none")
    known.tag, known.cwd = parts[:2]
    if known.tag and (not known.tag.isascii() or len(known.tag.split()) != 1) or b"\0" in known.cwd:
        raise ValueError("tag")
    for pair in parts[2].decode("utf-8", "surrogateescape").split("\0") if parts[2] else ():
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise ValueError("environment")
        known.environ[name] = value
    known.enabled = set(_parts(parts[3]))
    known.kept = dict(_by_two(parts[4]))
    known.untold = set(_parts(parts[5]))
    known.objects = _by_two(parts[6])
    known.layers = {layer.decode("ascii"): state for layer, state in _by_two(parts[7])}
    known.readonly = bool(bits & _READONLY)
    if bits & _SELECTED:
        numbers, mailbox, path, messages, words, *sets = parts[_COMMON:]
        known.uidvalidity, known.uidnext = _FOLDER.unpack(numbers)
        known.name = mailbox.decode("utf-8", "surrogateescape")
        known.path = os.fsdecode(path)
        known.messages = Messages.unpack(messages)
        if not known.path or "\0" in known.path:
            raise ValueError("path")
        known.words = _parts(words)
        known.told_recent, known.recent, known.saved = [UidSet(_pairs(part)) for part in sets]
        if known.told_recent.within(known.messages.uids) != known.told_recent \
                or not set(known.messages.keywords).issubset(known.messages.uids):
            raise ValueError("UIDs")
    return known


def _list(parts: Iterable[bytes]) -> bytes:
    return b"".join([_LENGTH.pack(len(part)) + part for part in parts])


def _parts(data: bytes) -> list[bytes]:
    found = []
    at = 0
    while at < len(data):
        length, = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            raise ValueError("a part is cut")
        found.append(data[at:at + length])
        at += length
    return found


def _by_two(data: bytes) -> list[tuple[bytes, bytes]]:
    parts = _parts(data)
    return list(zip(parts[::2], parts[1::2], strict=True))


def _runs(pairs: Iterable[tuple[int, int]]) -> bytes:
    return b"".join([_RUN.pack(first, last) for first, last in pairs])


def _pairs(data: bytes) -> list[tuple[int, int]]:
    """(first, last) of the runs, which ascend and have gaps between them."""
    found = []
    least = 1
    for first, last in _RUN.iter_unpack(data):
        if first < least or last < first:
            raise ValueError("UIDs")
        found.append((first, last))
        least = last + 2
    return found
