"""courierpy lockmail: run a command while a mailbox in one file is locked, as mail readers lock it.

Letters, files and exit codes are Courier's: the lock of UW's c-client in /tmp, a dot-lock beside the file,
and a lock of the kernel's.  Either all three are held, or none.  A dot-lock that its directory does not let
us make is done without.  What somebody left who is no more is removed: at once where a process of this host
is named in it that does not live, else after five minutes.
"""
from __future__ import annotations

import errno
import fcntl
import os
import sys
import time
from contextlib import ExitStack

from courierpy.admin import complain
from courierpy.admin.running import run
from courierpy.model.numbers import decimal
from courierpy.system.regular import open_regular, whole

USAGE = "Usage: courierpy lockmail [-r] [-t SECONDS] MAILFILE PROGRAM [ARGUMENT...]"
SECONDS = 180                      # for which it is tried
AGAIN = 5                          # seconds from one try to the next
STALE = 300                        # seconds after which a lock of nobody known is nobody's
FAILED = 1                         # exit status of what never began
MAX_PID = (1 << 31) - 1
OCTETS = 400                       # of a lock's text


class _Held(Exception):
    """Somebody else has it locked."""


def main(words: list[str]) -> int:
    if words[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    only_reads, seconds = False, SECONDS
    while words and words[0].startswith("-"):
        if words[0] == "-r":
            only_reads, words = True, words[1:]
            continue
        value = words[0][2:] or "".join(words[1:2])
        found = decimal(value) if words[0].startswith("-t") else None
        if found is None:
            break
        seconds, words = found, words[1 if words[0][2:] else 2:]
    if len(words) < 2 or not words[0] or words[0].startswith("-"):
        complain(USAGE)
        return FAILED
    mailbox, *command = words
    until = time.monotonic() + seconds
    while True:
        with ExitStack() as held:
            try:
                _lock(mailbox, only_reads, held)
            except _Held:
                pass
            except OSError as error:
                complain(f"{error.filename or mailbox}: {error.strerror}")
                return os.EX_TEMPFAIL
            else:
                sys.stdout.flush()
                status = run(command, FAILED, FAILED)
                return status if status >= 0 else os.EX_TEMPFAIL
        if time.monotonic() >= until:
            complain(f"{mailbox}: somebody has locked it")
            return os.EX_TEMPFAIL
        time.sleep(AGAIN)


def _lock(mailbox: str, only_reads: bool, held: ExitStack) -> None:
    """All three, which ``held`` lets go.  Raises _Held, OSError."""
    fd, writes = _opened(mailbox, only_reads)
    held.callback(os.close, fd)
    known = os.fstat(fd)
    name = f"/tmp/.{known.st_dev:x}.{known.st_ino:x}"          # where c-client looks for it
    _c_client(name, held)
    _dot_lock(f"{mailbox}.lock", held)
    try:
        fcntl.lockf(fd, (fcntl.LOCK_EX if writes else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError:
        raise _Held from None


def _opened(mailbox: str, only_reads: bool) -> tuple[int, bool]:
    """The file, and whether it can be written; one that is not there is made."""
    try:
        return open_regular(mailbox, os.O_RDWR | os.O_CREAT), True
    except OSError:
        if not only_reads:
            raise
    return open_regular(mailbox), False


def _text() -> bytes:
    return f"{os.getpid()}:{os.uname().nodename}".encode()


def _c_client(name: str, held: ExitStack) -> None:
    for _ in range(2):
        try:
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except FileExistsError:
            if not _remove_stale(name, ages=False):
                break
            continue
        held.callback(os.close, fd)
        held.callback(_remove, name)
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(fd, _text())
        return
    raise _Held


def _dot_lock(name: str, held: ExitStack) -> None:
    """The file is whole before it has its name."""
    scratch = f"{name}.{int(time.time())}.{os.getpid()}.{os.uname().nodename}"
    try:
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except PermissionError:
        return                         # in /var/mail the other two must do
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return
    try:
        try:
            os.write(fd, _text())
        finally:
            os.close(fd)
        for _ in range(2):
            try:
                os.link(scratch, name)
            except FileExistsError:
                if not _remove_stale(name, ages=True):
                    break
                continue
            held.callback(_remove, name)
            return
    finally:
        _remove(scratch)
    raise _Held


def _remove_stale(name: str, ages: bool) -> bool:
    """May the lock be tried again?  One of who is no more is removed.  ``ages``: also one that names a
    process, where it is old."""
    try:
        found = os.lstat(name)
        text = whole(name, OCTETS)
        if not _is_stale(text, ages, time.time() - found.st_mtime):
            return False
        now = os.lstat(name)
        if (now.st_ino, now.st_mtime_ns) == (found.st_ino, found.st_mtime_ns):
            os.unlink(name)
    except FileNotFoundError:
        return True                    # it has just gone
    except OSError:
        return False                   # another user's
    return True


def _is_stale(text: bytes, ages: bool, age: float) -> bool:
    pid_text, _, host = text.partition(b":")
    pid = decimal(pid_text.strip(), MAX_PID)
    if pid and host.strip() in (b"", os.uname().nodename.encode()):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass                       # it lives, and is another user's
    return age >= STALE and (ages or not text)


def _remove(name: str) -> None:
    try:
        os.unlink(name)
    except OSError as error:
        complain(f"{name}: {error.strerror}: the lock stays")
