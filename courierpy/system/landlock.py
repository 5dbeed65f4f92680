"""Of the file system only what a session needs: Landlock, by the calls of the kernel.

A process that confined itself reads programs, libraries and settings, writes below the directories that it
named, and nothing gives it more again, what it starts neither.  What was open before stays open.  Before its
second version a kernel refuses to rename between directories, which each delivery in a Maildir is: such a one
is left alone.
"""
from __future__ import annotations

import ctypes
import os
import struct
import sys

from courierpy.system import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# the same numbers on each kind of machine
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << bit for bit in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
# version of the kernel's interface -> rights that came with it
_SINCE = ((1, (1 << 13) - 1), (2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))

READ = EXECUTE | READ_FILE | READ_DIR
WRITE = (READ_FILE | READ_DIR | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | REFER
         | TRUNCATE)
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")

# path -> rights, and (device, inode) of what was there
_confined: dict[str, tuple[int, tuple[int, int] | None]] | None = None


def version() -> int:
    """Of the kernel's interface; 0 where there is none that is of use."""
    libc = proc.library()
    if libc is None:
        return 0
    found: int = libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    return found if found >= 2 else 0


def is_confined() -> bool:
    """Has this process confined itself?"""
    return _confined is not None


def confine(written: Iterable[str], read: Iterable[str]) -> set[str]:
    """For good.  ``written``: directories below which all may be done that a Maildir needs; ``read``: files
    and directories that are only read, besides those of programs and settings.  What is not there is passed
    over.

    Gives the real paths that are out of reach, as this process confined itself before, to others or to what
    had these names then.  Raises OSError."""
    global _confined
    rights = dict.fromkeys([*_of_programs(), *map(os.path.realpath, read)], READ)
    rights.update(dict.fromkeys(DEVICES, READ_FILE | WRITE_FILE))
    rights.update(dict.fromkeys(map(os.path.realpath, written), WRITE))
    if _confined is not None:
        return {path for path, wanted in rights.items() if _identity(path) and not _is_reached(path, wanted)}
    _confined = {path: (wanted, _identity(path)) for path, wanted in rights.items()}
    _restrict(rights)
    return set()


def _identity(path: str) -> tuple[int, int] | None:
    """None for what is not there, or out of reach of anybody but us."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_reached(path: str, wanted: int) -> bool:
    """By what was granted to it, or to a directory above."""
    assert _confined is not None
    while True:
        had, identity = _confined.get(path, (0, None))
        if not wanted & ~had and identity == _identity(path):
            return True
        above = os.path.dirname(path)
        if above == path:
            return False
        path = above


def _of_programs() -> Iterable[str]:
    """Where the interpreter, its libraries, time zones, programs and settings are."""
    yield from ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/proc", "/nix/store")
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for path in (sys.prefix, sys.base_prefix, os.path.join(own, "courierpy"), *sys.path):
        if os.path.isabs(path) and path != own:
            yield os.path.realpath(path)


def _restrict(rights: dict[str, int]) -> None:
    libc, has = proc.library(), version()
    handled = sum(bits for since, bits in _SINCE if since <= has)
    ruleset = _called(libc, _CREATE, struct.pack("=Q", handled), ctypes.c_size_t(8), ctypes.c_uint32(0))
    try:
        for path, wanted in rights.items():
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                allowed = wanted & handled if os.path.isdir(path) else wanted & handled & OF_FILES
                _called(libc, _ADD, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH),
                        struct.pack("=Qi", allowed, fd), ctypes.c_uint32(0))
            finally:
                os.close(fd)
        proc.gain_nothing()            # the kernel asks for it
        _called(libc, _RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _called(libc: ctypes.CDLL, *words: object) -> int:
    found: int = libc.syscall(*words)
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"landlock: {os.strerror(number)}")
    return found
