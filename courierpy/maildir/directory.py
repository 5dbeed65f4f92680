"""What lies in cur/ and new/: names of files, and which message each is."""
from __future__ import annotations

import errno
import os
import stat

from courierpy.maildir.errors import FolderMissing, StoreError, trouble
from courierpy.maildir.files import remove
from courierpy.maildir.names import MAX_NAME, SUFFIXES, bits_of, fresh_name, info
from courierpy.model.flags import SEEN
from courierpy.system.regular import is_there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

GRAIN = 0.02                       # seconds: a directory younger than this may change and show no new mtime
COARSE_GRAIN = 2.0                 # where the file system counts whole seconds
TRIALS = 4                              # renames by which the clock's grain is seen
READINGS = 6                       # of cur/ before a message that is not seen is gone
MOST_KNOWN = 100                   # file systems of which it is known that their times are fine

_fine: set[tuple[int, int]] = set()        # their devices, and their names for themselves


def identity(path: str) -> int:
    """A number that no other directory of the file system has, and that stays when it gets another name.
    Raises a store error."""
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        raise FolderMissing(path) from None
    except OSError as error:
        raise trouble(path, error) from None


def is_message(path: bytes) -> bool:
    """Is this a regular file, or a link to one?  True too for a link that cannot be followed to
    its end, in circles or where we may not go: there may be a message.  False for a link that
    leads nowhere, and for what is not there.  Raises a store error."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return False
        if error.errno in (errno.ELOOP, errno.EACCES):
            return os.path.islink(path)
        raise trouble(path, error) from None


def _is_message(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_file()         # mostly without a look at it
    except OSError:
        return is_message(entry.path)


def files(directory: str) -> list[bytes]:
    """Names of what is_message().  Raises a store error."""
    try:
        return entries(directory, os.DirEntry.is_file)         # mostly without a look at any
    except StoreError:
        return entries(directory, _is_message)         # one of them leads nobody to its end, perhaps


def entries(directory: str, wanted: Callable[[os.DirEntry[bytes]], bool] | None = None) -> list[bytes]:
    """Names that messages can have, of what is ``wanted``; of all without it.  Raises a store error."""
    try:
        with os.scandir(os.fsencode(directory)) as found:
            names = [entry.name for entry in (found if wanted is None else filter(wanted, found))]
    except FileNotFoundError:
        raise FolderMissing(directory) from None
    except OSError as error:
        raise trouble(directory, error) from None
    together = b"/".join((b"", *names))
    if b"/." in together or b"\n" in together:
        names = [name for name in names if not name.startswith(b".") and b"\n" not in name]
    return names


def has_unseen(path: str) -> bool:
    """Has the mailbox there mail in new/, or unseen mail in cur/?  What cannot be read has none."""
    try:
        if any(not entry.startswith(".") for entry in os.listdir(os.path.join(path, "new"))):
            return True
        return any(not bits_of(info(entry)) & SEEN
                   for entry in os.listdir(os.fsencode(os.path.join(path, "cur")))
                   if not entry.startswith(b"."))
    except OSError:
        return False


def by_base(names: Iterable[bytes]) -> dict[bytes, bytes]:
    """base name -> file name.  Of duplicates the last name in byte order is shown."""
    names = list(names)
    found = {name.rpartition(b":")[0] or name: name for name in names}
    if len(found) < len(names):
        names.sort()
        found = {name.rpartition(b":")[0] or name: name for name in names}
    return found


def are_same(path: bytes, other: bytes) -> bool:
    """Is this one file, or are there the same octets in both?  False for what is no file, or cannot be read.
    Raises OSError where one is not there."""
    import filecmp  # hardly ever
    one, two = os.lstat(path), os.lstat(other)
    if os.path.samestat(one, two):
        return True
    try:
        return stat.S_ISREG(one.st_mode) and stat.S_ISREG(two.st_mode) and one.st_size == two.st_size \
            and filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False


def bring_in(path: bytes, cur: bytes, host: str) -> bytes:
    """Move a file of new/ into ``cur``, which ends in a slash, as a message without flags if its name says
    of none.  Its file name there, a fresh one where another message has its own; b"" where that is the same
    one, which somebody moves by a link, or copied once more.  Raises OSError."""
    file = os.path.basename(path)
    if b":" not in file and len(file) <= MAX_NAME - len(SUFFIXES[0]):      # else there is no room for flags
        file += SUFFIXES[0]
    if is_there(cur + file):           # a rename would end that
        if are_same(path, cur + file):
            os.unlink(path)
            return b""
        file = fresh_name(host, file, os.lstat(path))
    os.rename(path, cur + file)
    return file


def mtime(directory: str) -> int:
    """Nanoseconds.  FolderMissing when it is not there."""
    try:
        return os.stat(directory).st_mtime_ns
    except FileNotFoundError:
        raise FolderMissing(directory) from None
    except OSError as error:
        raise trouble(directory, error) from None


def at_once(file: str) -> bool:
    """Does every change of a directory show, however soon after a look at it?

    Since Linux 6.13 the times of some file systems are finer than the clock's tick once
    somebody has looked at them.  Tried with ``file`` in it, a path or "" for none, which has another
    name meanwhile; a tick that falls into each of the tries would have to be a very short one.  One proof
    is enough for a file system, as long as this process lives.
    """
    # not with a file that is made and removed for it: see locks.py for what that costs
    directory = os.path.dirname(file)
    path = os.path.join(directory, f".grain.{os.getpid()}")
    try:
        system = os.stat(file).st_dev, os.statvfs(file).f_fsid
        if system in _fine:
            return True
        for _ in range(TRIALS):
            before = os.stat(directory).st_mtime_ns
            os.rename(file, path)
            try:
                if os.stat(directory).st_mtime_ns == before:
                    return False
            finally:
                os.rename(path, file)
    except OSError:
        remove(path)                   # where it has not its own name again, it has none
        return False
    if system[1] and len(_fine) < MOST_KNOWN:      # else another could be mounted as this device
        _fine.add(system)
    return True


def settled(mtime_ns: int, now_ns: int) -> bool:
    """Would a change from now on show in the mtime of this directory?"""
    return now_ns - mtime_ns > unsettled(mtime_ns)


def unsettled(mtime_ns: int) -> int:
    """Nanoseconds in which a second change may show no other mtime than this one."""
    return int((GRAIN if mtime_ns % 1_000_000_000 else COARSE_GRAIN) * 1e9)
