"""The backups of one Maildir: a directory that has each of them, a Maildir by itself, as any server reads it.

    20261128T054500Z/          a whole one; courierpy-backup in it says what it is of
    .unfinished.<unique>/      one that is being made, and flock(2) says whether somebody still does
    .removed.<unique>/         one that is going

A backup has its name by one rename, when all of it is on the disk: who is killed leaves none that looks
whole.  Which one is newer say the numbers in them, no names and no times.
"""
from __future__ import annotations

import errno
import json
import os
import time

from courierpy.maildir.errors import Busy, DiskTrouble, trouble
from courierpy.maildir.files import Directory, close, listed, remove_tree, write_all
from courierpy.maildir.names import tmp_name
from courierpy.system import proc
from courierpy.system.regular import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MANIFEST = "courierpy-backup"      # in the root of a whole one
MOST_OCTETS = 1 << 16              # of that
UNFINISHED, REMOVED = ".unfinished.", ".removed."
STAMP = "%Y%m%dT%H%M%SZ"
TRIES = 1000                       # for a name, in one second


class Backup:
    """A whole one.  ``number``: higher than those of the backups before it; ``when``: seconds since 1970;
    ``told``: all that it says of itself."""

    __slots__ = ("number", "path", "told", "when")

    def __init__(self, path: str, told: dict[str, Any]) -> None:
        self.path = path
        self.told = told
        self.number = int(told["number"])
        self.when = float(told["when"])
        time.gmtime(self.when)         # it can be shown

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


def find(path: str) -> Backup | None:
    """The whole backup in this directory; None where there is none."""
    try:
        told = json.loads(whole(os.path.join(path, MANIFEST), MOST_OCTETS))
        return Backup(path, told)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


class Backups:
    """The backups of one account.

    ``path``: of their directory; ``host``: for names of files."""

    __slots__ = ("host", "path")

    def __init__(self, path: str, host: str) -> None:
        self.path = path
        self.host = host

    def whole(self) -> list[Backup]:
        """Those that are there, the oldest first."""
        found = [find(entry.path) for entry in listed(self.path) if not entry.name.startswith(".")]
        return sorted((one for one in found if one is not None), key=lambda one: one.number)

    def begin(self) -> Unfinished:
        """Raises a store error."""
        path = os.path.join(self.path, UNFINISHED + tmp_name(self.host))
        try:
            os.mkdir(path, 0o700)
            return Unfinished(self, path)
        except OSError as error:
            raise trouble(path, error) from None

    def clean(self) -> None:
        """What who was killed left behind goes."""
        for entry in listed(self.path):
            if entry.name.startswith((UNFINISHED, REMOVED)) and entry.is_dir(follow_symlinks=False):
                fd = _claim(entry.path)
                if fd >= 0:            # nobody else's
                    remove_tree(entry.path)
                    close(fd)

    def keep(self, count: int) -> list[Backup]:
        """The oldest go, but for so many; gives those that went.  Raises a store error."""
        went = self.whole()[:-count]
        for one in went:
            # by another name first: half of one is none
            gone = os.path.join(self.path, REMOVED + tmp_name(self.host))
            try:
                os.rename(one.path, gone)
            except OSError as error:
                raise trouble(one.path, error) from None
            remove_tree(gone)
        return went


def _claim(path: str) -> int:
    """A descriptor of a directory that nobody works in but us, while it is open; -1 where others do, or it
    went."""
    import fcntl
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        close(fd)
        return -1
    except OSError:
        pass                           # a file system without such locks: as if it was ours
    return fd


class Unfinished:
    """One that is being made, in the directory ``path``."""

    __slots__ = ("_backups", "_fd", "path")

    def __init__(self, backups: Backups, path: str) -> None:
        self._backups = backups
        self.path = path
        self._fd = _claim(path)
        if self._fd < 0:
            raise Busy(f"{path}: another process cleans up")

    def finish(self, told: dict[str, Any]) -> Backup:
        """It is whole, and says this of itself.  Raises a store error."""
        above = self._backups.path
        before = self._backups.whole()
        told = {"number": before[-1].number + 1 if before else 1, **told}
        manifest = os.path.join(self.path, MANIFEST)
        with Directory(above) as entries:
            try:
                fd = os.open(manifest, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    write_all(fd, json.dumps(told, indent=1).encode() + b"\n")
                    proc.sync_file_system(fd)
                finally:
                    os.close(fd)
                path = self._named(os.path.join(above, time.strftime(STAMP, time.gmtime(told["when"]))))
            except OSError as error:
                raise trouble(manifest, error) from None
            entries.sync()
        self.close()
        return Backup(path, told)

    def _named(self, wanted: str) -> str:
        """Its name, or another one where that is taken.  Raises OSError."""
        for count in range(TRIES):
            path = f"{wanted}-{count}" if count else wanted
            try:
                os.rename(self.path, path)
                return path
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
        raise DiskTrouble(wanted, OSError(errno.EEXIST, os.strerror(errno.EEXIST)))

    def give_up(self) -> None:
        remove_tree(self.path)
        self.close()

    def close(self) -> None:
        close(self._fd)
