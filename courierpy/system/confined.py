"""A process that parses what strangers say, and has no right to do anything about it.

Its user is ``courierpy-login``, else ``nobody``; its root an empty folder; no program that it starts
gains a right (and it may start none); it leaves no core.  Where a library for that is installed the
kernel answers few of its calls (calls.py).  Without root only what needs no right is done.
"""
from __future__ import annotations

import os

from courierpy.system import calls, log, proc, temporary

USERS = ("courierpy-login", "nobody")
PR_SET_DUMPABLE = 4
# looked up by the interpreter when they are first used
ENCODINGS = ("ascii", "latin-1", "utf-8", "idna")


def folder() -> str:
    """An empty folder of root's that nobody writes to; "" where there can be none.  For root."""
    if os.geteuid() != 0:
        return ""
    path = f"{temporary.RUN}/empty"
    try:
        temporary.directory(temporary.RUN)
        temporary.directory(path)
        found = os.stat(path)
        if found.st_uid != 0 or found.st_mode & 0o022 or os.listdir(path):
            raise OSError(0, "is not an empty folder of root's")
    except OSError as error:
        log.warn(f"{path}: {error.strerror}; login processes see the whole file system")
        return ""
    return path


def enter(folder: str, threads: bool = False) -> None:
    """For good.  Raises ProcError.  ``folder``: of folder(); "" for the root that there is.  ``threads``: it
    may start those, and so processes too."""
    import resource
    import time
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    proc.leave_no_core()
    for name in ENCODINGS:
        "".encode(name)
    time.tzset()                       # of a file that is out of reach then
    log.connect()
    seccomp = None if threads else calls.library()
    if os.geteuid() == 0:
        _become(folder)
        if not threads:
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    proc.gain_nothing()
    libc = proc.library()
    if libc is not None and hasattr(libc, "prctl"):
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if seccomp is not None:
        calls.confine(seccomp)


def _become(folder: str) -> None:
    import pwd
    entry = None
    for name in USERS:
        try:
            entry = pwd.getpwnam(name)
            break
        except KeyError:
            continue
    if entry is None or entry.pw_uid == 0:
        raise proc.ProcError(f"there is neither a user {' nor '.join(USERS)}")
    if folder:
        try:
            os.chroot(folder)
            os.chdir("/")
        except OSError as error:
            log.warn(f"chroot({folder}): {error.strerror}; login processes see the whole file system")
    proc.become(entry.pw_uid, entry.pw_gid, None, ())
    try:
        os.setuid(0)
    except OSError:
        return
    raise proc.ProcError("root can be had again")
