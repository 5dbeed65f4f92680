"""A process that changes nothing on the disk: from ``begin`` to ``end`` the files of the file system are
to it as those of a disk that takes nothing (EROFS), whichever part of the program asks.

What is no file of a disk stays as it is: descriptors that are open, /dev and /proc, sockets, memory files.
The interpreter tells of each such call before it is made (sys.audit); what the C code of other modules
does by itself it does not tell, and of these a session has none that writes.
"""
from __future__ import annotations

import errno
import os
import sys

CHANGES = frozenset(("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.utime",
                     "os.chmod", "os.chown", "os.truncate", "os.setxattr", "os.removexattr"))
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ELSEWHERE = ("/dev/", "/proc/")        # where writing changes no file of a disk
_on = _hooked = False


def begin() -> None:
    """From now on nothing is written."""
    global _on, _hooked
    if not _hooked:
        sys.addaudithook(_heard)       # for good: there is no way to take one back
        _hooked = True
    _on = True


def end() -> None:
    """From now on files are written again."""
    global _on
    _on = False


class Lifted:
    """Within it this process may write: what is no mail, and nobody's of the session's."""

    def __enter__(self) -> None:
        global _on
        self._before, _on = _on, False

    def __exit__(self, *_: object) -> None:
        global _on
        _on = self._before


def _heard(event: str, words: tuple[object, ...]) -> None:
    """Raises OSError where the call would write."""
    if not _on:
        return
    if event in CHANGES:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), words[0])
    if event == "open":
        path, _, flags = words
        if isinstance(flags, int) and flags & WRITES and isinstance(path, (str, bytes)) \
                and not os.fsdecode(path).startswith(ELSEWHERE):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
