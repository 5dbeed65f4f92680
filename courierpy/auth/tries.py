"""Refused logins, counted by address and by user, for all connections of a listener.

A small file without a name (a memfd) that the listener makes and its connections inherit:
COURIERPY_TRIES is its descriptor.  It is a table of buckets; a key belongs to one of them, and
pushes out the key there that was refused least.  A count goes down by one for each FORGET
seconds, so that who mistypes today pays nothing tomorrow.
"""
from __future__ import annotations

import fcntl
import os
import struct
import time

from courierpy.model.numbers import PID_MOST, decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VARIABLE = "COURIERPY_TRIES"
NAME = "courierpy-tries"
FORGET = 300.0                 # seconds after which one refusal is forgotten
MAX_COUNT = 1000
BUCKETS = 2048
SLOTS = 4                      # keys of a bucket
_SLOT = struct.Struct("<12sfd")                # key, count, when it was that (seconds since 1970)
_BUCKET_OCTETS = SLOTS * _SLOT.size


def make() -> int:
    """The descriptor of an empty table, inherited by whatever is started; -1 where there can be none."""
    try:
        fd = os.memfd_create(NAME, 0)
        os.ftruncate(fd, BUCKETS * _BUCKET_OCTETS)
    except OSError:
        return -1
    return fd


def inherited(environ: Mapping[str, str]) -> int:
    """The descriptor of the table that whoever started us made; -1 without one."""
    fd = decimal(environ.get(VARIABLE, ""), PID_MOST)
    try:
        found = "" if fd is None else os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return -1
    return fd if fd is not None and NAME in found else -1


def refused(table: int, keys: Iterable[str]) -> float:
    """Counts a refusal of each key; gives the highest count.  1.0 without a table (-1)."""
    highest = 1.0
    for key in keys if table >= 0 else ():
        try:
            highest = max(highest, _add(table, key))
        except OSError:
            continue                   # no lock to be had: this one is not counted
    return highest


def _add(table: int, key: str) -> float:
    from hashlib import blake2b
    digest = blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16).digest()
    own, at = digest[:12], int.from_bytes(digest[12:], "big") % BUCKETS * _BUCKET_OCTETS
    # a lock of this process, so that others wait who inherited the same descriptor
    fcntl.lockf(table, fcntl.LOCK_EX, _BUCKET_OCTETS, at)
    try:
        now = time.time()
        rows = [(name, _left(count, now - when)) for name, count, when
                in _SLOT.iter_unpack(os.pread(table, _BUCKET_OCTETS, at))]
        count = min(MAX_COUNT, next((count for name, count in rows if name == own), 0.0) + 1)
        others = sorted((row for row in rows if row[0] != own), key=lambda row: -row[1])
        table_rows = [(own, count), *others][:SLOTS]
        os.pwrite(table, b"".join(_SLOT.pack(*row, now) for row in table_rows), at)
        return count
    finally:
        fcntl.lockf(table, fcntl.LOCK_UN, _BUCKET_OCTETS, at)


def _left(count: float, seconds: float) -> float:
    """What is not forgotten yet."""
    return max(0.0, count - max(0.0, seconds) / FORGET)
