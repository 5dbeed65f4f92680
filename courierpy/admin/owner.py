"""Act as the owner of a Maildir: what root writes there must be the owner's, and root should
follow no link that the owner made.  Here, not in system/proc: for a while only."""
from __future__ import annotations

import os
from contextlib import contextmanager

from courierpy.maildir import layout
from courierpy.maildir.errors import FolderMissing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def inside(maildir: str, choice: str = "auto") -> Iterator[None]:
    """In the Maildir as working directory, with its owner's rights.

    ``choice``: of its layout.  Raises OSError where that cannot be, FolderMissing for a directory that is
    no Maildir.
    """
    with working_in(maildir):
        if not layout.find(".", choice).is_there():
            raise FolderMissing(f"{maildir}: no Maildir, it has no cur, new and tmp "
                                '("courierpy maildirmake" makes one)')
        yield


@contextmanager
def working_in(directory: str) -> Iterator[None]:
    """In a directory as working directory, with its owner's rights.  Raises OSError."""
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    groups = os.getgroups()
    root = os.geteuid() == 0
    try:
        os.chdir(directory)
        owner = os.stat(".")
        if root:
            # what a lock that has to be waited for loads: the owner may not be able to read the library
            import fcntl  # noqa: F401
            import select  # noqa: F401
            os.setgroups([owner.st_gid])
            os.setegid(owner.st_gid)
            os.seteuid(owner.st_uid)
        yield
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)
        os.fchdir(here)
        os.close(here)
