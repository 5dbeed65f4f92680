"""A message's file is brought to another directory, which may be on another file system."""
from __future__ import annotations

import errno
import os

from courierpy.maildir.errors import unreadable
from courierpy.maildir.files import remove
from courierpy.maildir.messagefile import PIECE_OCTETS
from courierpy.maildir.names import base
from courierpy.system.regular import open_regular


def link_or_copy(source: bytes, target: bytes) -> None:
    """It is in both then.  Raises OSError, or a store error."""
    try:
        os.link(source, target, follow_symlinks=True)
    except OSError as error:
        # EPERM: another's file that may not be written either gets no second name of ours.  The last
        # two may be the source's as well: who reads it knows
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES,
                               errno.ELOOP):
            raise
        copy_file(source, target)


def rename_or_copy(source: bytes, target: bytes) -> None:
    """The file goes to another directory, of another file system if need be.  Raises OSError, or a store
    error."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:          # a folder may be a link to another file system
            raise
        copy_file(source, target)
        os.unlink(source)


def copy_file(source: bytes, target: bytes, mode: int = 0) -> None:
    """Through tmp/, so that nobody sees a part of it.  ``mode``: of the copy; 0: as of any file.  Raises
    OSError, or a store error."""
    folder = os.path.dirname(os.path.dirname(target))
    scratch = os.path.join(folder, b"tmp", base(os.path.basename(target)))    # what waits has its flags
    try:
        original = open(open_regular(source), "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(source, error) from None
    try:
        with original as file, open(scratch, "xb") as copied:
            while chunk := file.read(PIECE_OCTETS):
                copied.write(chunk)
            copied.flush()
            if mode:
                os.fchmod(copied.fileno(), mode)
            os.fsync(copied.fileno())
        found = os.stat(source)
        os.utime(scratch, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.rename(scratch, target)
    except OSError:
        remove(os.fsdecode(scratch))
        raise

