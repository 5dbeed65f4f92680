"""A message's file is brought to another directory, which may be on another file system."""
from __future__ import annotations

import errno
import os

from courierpy.maildir.errors import unreadable
from courierpy.maildir.files import remove
from courierpy.maildir.messagefile import PIECE_OCTETS
from courierpy.maildir.names import base
from courierpy.system.regular import open_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

FICLONE = 0x40049409               # of ioctl(2): the octets are shared until one of the files is written to


def link_or_copy(source: bytes, target: bytes) -> None:
    """It is in both then.  Raises OSError, or a store error."""
    if not link(source, target):
        copy_file(source, target)


def link(source: bytes, target: bytes) -> bool:
    """A second name for a file; what a link leads to, as it may lead elsewhere from there.  False where that
    cannot be had, and it has to be copied.  Raises OSError."""
    try:
        # link(2) would give the link itself a second name
        os.link(os.path.realpath(source, strict=True) if os.path.islink(source) else source, target)
        return True
    except OSError as error:
        # EPERM: another's file that may not be written either gets no second name of ours.  The last
        # two may be the source's as well: who reads it knows
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES,
                               errno.ELOOP):
            raise
        return False


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


def copy_file(source: bytes, target: bytes, mode: int = 0, sync: bool = True) -> None:
    """Through tmp/, so that nobody sees a part of it.  ``mode``: of the copy; 0: as of any file.  ``sync``:
    its octets are on the disk before it is seen.  Raises OSError, or a store error."""
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
            fill(copied, file)
            if mode:
                os.fchmod(copied.fileno(), mode)
            if sync:
                os.fsync(copied.fileno())
        found = os.stat(source)
        os.utime(scratch, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.rename(scratch, target)
    except OSError:
        remove(os.fsdecode(scratch))
        raise


def fill(copied: BinaryIO, original: BinaryIO) -> None:
    """A file that is empty has the octets of the other one: the same on the disk, where the file system can
    have them in two files.  Raises OSError."""
    from fcntl import ioctl  # where a file is copied
    try:
        ioctl(copied.fileno(), FICLONE, original.fileno())
    except OSError:
        while chunk := original.read(PIECE_OCTETS):
            copied.write(chunk)
        copied.flush()
