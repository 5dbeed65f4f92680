"""What notifyd says to a webhook of who it is: the first line of NOTIFYD_SECRET_FILE.

It is read before notifyd becomes its own user, who need not be able to read it.  At SIGHUP a file that this
user may not open is read by the descriptor of that time: what was written into it counts.  A new file of that
name cannot be seen so; then the secret stays, and who sent the signal is told.
"""
from __future__ import annotations

import os
import stat

from courierpy.system.regular import open_regular

MOST_OCTETS = 4096


class Secret:
    """The secret of the webhook.

    ``text``: "" without a file.  ``old``: another file has its name now, which we may not read."""

    __slots__ = ("_fd", "_path", "old", "text")

    def __init__(self) -> None:
        self.text = ""
        self.old = False
        self._path = ""
        self._fd = -1

    def read(self, path: str) -> None:
        """From the file at ``path``; all is as it was where that raises ValueError."""
        try:
            fd, old = self._opened(path) if path else (-1, False)
        except OSError as error:
            raise ValueError(f"NOTIFYD_SECRET_FILE: {path}: {error.strerror}") from None
        try:
            text = _first_line(fd) if path else ""
        except (OSError, ValueError) as error:
            if fd != self._fd:
                os.close(fd)
            why = getattr(error, "strerror", "") or error
            raise ValueError(f"NOTIFYD_SECRET_FILE: {path}: {why}") from None
        if self._fd not in (fd, -1):
            os.close(self._fd)
        self.text, self.old, self._path, self._fd = text, old, path, fd

    def _opened(self, path: str) -> tuple[int, bool]:
        """A descriptor, and whether it is of a file that has its name no more.  Raises OSError."""
        try:
            return open_regular(path), False
        except PermissionError:
            if path != self._path:
                raise
            return self._fd, not os.fstat(self._fd).st_nlink


def _first_line(fd: int) -> str:
    """Raises OSError, ValueError."""
    if stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
        raise ValueError("others can read or write it, mode must be 0600")
    try:
        return os.pread(fd, MOST_OCTETS, 0).partition(b"\n")[0].decode().strip()
    except UnicodeDecodeError:
        raise ValueError("it is no text") from None
