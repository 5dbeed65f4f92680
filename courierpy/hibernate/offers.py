"""What comes over the keeper's door: words of sessions, with descriptors, and who says them.

The kernel says whose process it is (SCM_CREDENTIALS).  What a session sends is looked at before
anything of it is kept.
"""
from __future__ import annotations

import array
import fcntl
import os
import socket
import stat

from courierpy.hibernate.hearing import MOST
from courierpy.hibernate.protocol import EAR, MAX_DIRECTORIES, is_connection
from courierpy.system import passing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.system.passing import Who

AT_ONCE = 64                   # words that are taken before anything else is done
INSTANCE = "anon_inode:inotify"        # as the kernel names it
DESCRIPTORS = 2 + MOST         # that come with one word, at most


class Refused(Exception):
    """An offer that is not taken; str() says why."""


def received(door: socket.socket) -> Iterator[tuple[bytes, array.array[int], Who]]:
    """The words that are there, but for those that root says, or nobody knows who: root's sessions do
    not sleep.  The descriptors are the caller's to close."""
    for _ in range(AT_ONCE):
        try:
            data, ancillary, flags, _ = door.recvmsg(
                8 * MOST, socket.CMSG_SPACE(4 * DESCRIPTORS) + passing.WHO_SPACE,
                passing.RECEIVING)
        except BlockingIOError:
            return
        fds, who = passing.unpacked(ancillary)
        if flags & socket.MSG_CTRUNC or who is None or not who[1]:
            for fd in fds:
                os.close(fd)
            continue
        yield data, fds, who


def channel(data: bytes, fds: array.array[int], uid: int, limit: int) -> socket.socket:
    """The channel of an offer: ``o``, and for each directory a letter; with client, channel and
    directories, and behind them, where the last letter says so, an instance of inotify.  A copy: ``fds``
    are as they were.  Raises Refused or OSError.

    ``limit``: all descriptors have to be below it.
    """
    if data[:1] != b"o" or len(fds) != 1 + len(data):
        raise Refused("not an offer")
    client, fd, *directories = fds
    ear = [directories.pop()] if data[1:].endswith(EAR) else []
    if max(fds) > limit:
        raise Refused("too many descriptors")
    if uid == 0 or len(directories) > MAX_DIRECTORIES:
        raise Refused("not a session")
    found = socket.socket(fileno=os.dup(fd))
    try:
        if found.family != socket.AF_UNIX or found.type != socket.SOCK_STREAM:
            raise Refused("not a channel")
        if not is_connection(client):
            raise Refused("not a connection")
        for directory in directories:
            # to watch takes the right to read, which this process has for all: the opener had it
            if not stat.S_ISDIR(os.fstat(directory).st_mode) \
                    or fcntl.fcntl(directory, fcntl.F_GETFL) & os.O_PATH:
                raise Refused("not a directory that can be read")
        if EAR in data[1:-1] or ear and os.readlink(f"/proc/self/fd/{ear[0]}") != INSTANCE:
            raise Refused("not an instance of inotify")
        found.setblocking(False)
    except BaseException:
        found.close()
        raise
    return found
