"""Folders for what lives for a moment: sockets that lose their name, a rehearsal's Maildir, who is on."""
from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


RUN = "/run/courierpy"         # root's, where all may pass


def folders() -> Iterator[str]:
    """Where such things may be made, the best place first; whether they can be is found out by trying."""
    if os.environ.get("TMPDIR"):
        yield os.environ["TMPDIR"]
    yield from ("/tmp", "/var/tmp", "/dev/shm")


def folder() -> str:
    """The first of ``folders`` that we may write into; the first of all where there is none."""
    every = list(folders())
    return next((one for one in every if os.access(one, os.W_OK | os.X_OK)), every[0])


def directory(path: str, mode: int = 0o755) -> bool:
    """A directory of this mode, whatever the umask.  False: it was there.  OSError."""
    if os.path.isdir(path):
        return False
    try:
        os.makedirs(path)
    except FileExistsError:            # another listener starts, too
        if os.path.isdir(path):
            return False
        raise
    os.chmod(path, mode)
    return True
