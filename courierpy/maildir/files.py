"""Small files written whole: tmp, then rename.  Every failure is a store error."""
from __future__ import annotations

import errno
import os
import stat
from operator import length_hint

from courierpy.maildir.behind import rename_over
from courierpy.maildir.errors import trouble
from courierpy.maildir.names import tmp_name
from courierpy.system.regular import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]


def replace(path: str, data: bytes, tmp: str, host: str, unique: str, sync: bool,
            more: Iterable[bytes] = ()) -> None:
    """Give ``path`` the content ``data`` and ``more``; ``tmp`` is a directory of the same file system."""
    Replacement(path, data, tmp, host, unique, sync, more).commit()


class Replacement:
    """A new content of ``path``, written to ``tmp`` and seen by nobody until commit().  ``found``: what
    stat() says of it."""

    __slots__ = ("_path", "_scratch", "found")

    def __init__(self, path: str, data: bytes, tmp: str, host: str, unique: str, sync: bool,
                 more: Iterable[bytes] = ()) -> None:
        self._path = path
        self._scratch = scratch = os.path.join(tmp, tmp_name(host, unique))
        try:
            fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            raise trouble(scratch, error) from None
        try:
            try:
                for piece in (data, *more):
                    write_all(fd, piece)
                if sync:
                    os.fsync(fd)
                self.found = os.fstat(fd)
            finally:
                os.close(fd)
        except OSError as error:
            remove(scratch)
            raise trouble(path, error) from None

    def commit(self) -> None:
        """It takes the place of what is there."""
        try:
            rename_over(self._scratch, self._path)
        except OSError as error:
            self.abort()
            raise trouble(self._path, error) from None
        self._scratch = ""

    def abort(self) -> None:
        if self._scratch:
            remove(self._scratch)
            self._scratch = ""


def content(path: str) -> bytes | None:
    """What a file holds; None where there is none.  Raises a store error: what cannot be read is not
    gone."""
    try:
        return whole(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise trouble(path, error) from None


def remove(path: str) -> None:
    """Away with a scratch file; that it is gone already is fine."""
    try:
        os.unlink(path)
    except OSError:
        pass


def unlink(path: str) -> None:
    """Away with a file; that it is gone already is fine.  Raises a store error."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise trouble(path, error) from None


def is_directory(path: str | bytes) -> bool:
    """False for what is not there or is something else; a disk that does not say raises a store error."""
    seen = _look(os.stat, path)
    return seen is not None and stat.S_ISDIR(seen.st_mode)


def exists(path: str | bytes) -> bool:
    """Is there anything of this name?  A disk that does not say raises a store error: what
    cannot be looked at is not gone."""
    return _look(os.lstat, path) is not None


def _look(look: Callable[[str | bytes], os.stat_result], path: str | bytes) -> os.stat_result | None:
    """None when nothing is there, or can be by this name."""
    try:
        return look(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise trouble(path, error) from None


class Directory:
    """A directory that is opened before something in it changes, so that no limit can keep
    sync() from saying that it did.  ``wanted``: False does nothing."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: str, wanted: bool = True) -> None:
        self.path = path
        self._fd = -1
        if wanted:
            try:
                self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise trouble(path, error) from None

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *error: object) -> None:
        if self._fd >= 0:
            close(self._fd)

    def sync(self) -> None:
        if self._fd >= 0:
            try:
                os.fsync(self._fd)
            except OSError as error:
                raise trouble(self.path, error) from None


def until_failure(act: Callable[..., object], *columns: Iterator[bytes]) -> bool:
    """Calls ``act`` with what the columns have next, until one of them has no more, or until it raises
    OSError: True then.  Any other exception ends it."""
    try:
        for _ in map(act, *columns):
            pass
    except OSError:
        return True
    return False


def failures(act: Callable[..., object], *columns: Sequence[bytes]) -> list[int]:
    """Calls ``act`` with what the columns, of one length, have in each place.  Gives the places where it
    raised OSError, ascending; any other exception ends it."""
    *others, last = map(iter, columns)
    failed: list[int] = []
    while until_failure(act, *others, last):           # by the last that was taken; those behind it follow
        failed.append(len(columns[-1]) - length_hint(last) - 1)
    return failed


def close(fd: int) -> None:
    """Where nothing depends on it: what was written was synced, or need not be."""
    try:
        os.close(fd)
    except OSError:
        pass


def sync_directory(path: str) -> None:
    with Directory(path) as directory:
        directory.sync()


def open_as(directory: str) -> int:
    """The mode of what is made in a directory: the user's, and his group's where that may write there and
    has whatever is made there (the setgid bit), less what the umask takes."""
    of_group = stat.S_IWGRP | stat.S_ISGID
    try:
        return 0o770 if os.stat(directory).st_mode & of_group == of_group else 0o700
    except OSError:
        return 0o700


def listed(directory: str) -> list[os.DirEntry[str]]:
    """What is in a directory, where nothing depends on it: none if it cannot be read."""
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []


def remove_tree(path: str) -> None:
    """As much of it as goes; a rest in tmp/ is garbage that is cleaned later."""
    for top, directories, files in os.walk(path, topdown=False):
        for name in files:
            try:
                os.unlink(os.path.join(top, name))
            except OSError:
                pass
        for name in directories:
            try:
                os.rmdir(os.path.join(top, name))
            except OSError:
                pass
    try:
        os.rmdir(path)
    except OSError:
        pass
