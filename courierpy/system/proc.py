"""Processes: forking, starting programs, changing ids.  The only door to them."""
from __future__ import annotations

import errno
import functools
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, NoReturn
else:
    # what signal wraps in enumerations, which are slow to make at each call and to load
    import _signal as signal

# SIGUSR1: the listener wants the place of a connection that has not logged in.  SIGUSR2: the administrator
# ends a session; to couriertcpd: those that sleep
TOLD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_HELD = (*TOLD, signal.SIGCHLD)
CRASHED = 70                   # exit status of a process that could not do its work (EX_SOFTWARE)
ENDED = 128                    # and the number of a signal: exit status of a child that was told to end
PR_SET_PDEATHSIG, PR_GET_PDEATHSIG = 1, 2
_hearer: Callable[[int, object], None] | None = None
_heard = 0


def on_signal(hearer: Callable[[int, object], None]) -> Callable[[int, object], None] | None:
    """From now on ``hearer`` hears the signals of TOLD; gives the one before.

    A forked child has the listener's registration: to register anew would cost it more
    than the rest of its start.
    """
    global _hearer
    before, _hearer = _hearer, hearer
    if before is None:
        for number in TOLD:
            signal.signal(number, _hear)
    return before


def heard() -> int:
    """How many signals of TOLD this process has heard."""
    return _heard


def _hear(number: int, frame: object) -> None:
    global _heard
    _heard += 1
    if _hearer is not None:
        _hearer(number, frame)


def ends(number: int, frame: object) -> None:
    """What a process does that hears no signal itself."""
    os._exit(ENDED + number)


def fork(main: Callable[[], int], death: int = signal.SIGTERM,
         hearer: Callable[[int, object], None] = ends) -> int:
    """Start a child that does ``main`` and ends with the status that it gives; its pid.  OSError.

    No signal is lost: ``hearer`` hears TOLD in the child from its first moment on; without
    it the child ends by them, until it hears them itself.  (Between the fork and the child's
    first step they are held back: what comes then Python forgets, with what was on its way
    to the parent.)
    No child is left: it gets ``death``, if that is not 0, when this process ends, however
    that comes.
    """
    parent, _ = os.getpid(), library()        # before: a child has no use for an import
    held = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        pid = os.fork()
        if pid == 0:
            _be_child(main, parent, death, hearer, held)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    return pid


def _be_child(main: Callable[[], int], parent: int, death: int, hearer: Callable[[int, object], None],
              held: Iterable[int]) -> NoReturn:
    global _tied
    status, _tied = CRASHED, None
    try:
        signal.set_wakeup_fd(-1)       # else a signal writes into whatever gets that number now
        on_signal(hearer)
        if death:
            die_with(parent, death)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        status = main()
    finally:
        os._exit(status)               # never into what the parent was at


def ended() -> Iterator[tuple[int, int]]:
    """The children that have ended since: pid, and status as waitpid(2) has it."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, status


def leave(status: int) -> NoReturn:
    """Ends a program whose work is done.  The kernel takes back at once what the interpreter would take apart
    piece by piece, which lasts a tenth as long as all that a short session does."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            status = status or 1       # nobody reads, or closed
    os._exit(status)


def keep_open(kept: Iterable[int] = (), above: int = 0) -> None:
    """Of the descriptors from 3 on only ``kept`` stay.  ``above``: all are below it; 0: it is found out."""
    low = 3
    for fd in sorted(kept):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, max(low, above or 1 + max(map(int, os.listdir("/proc/self/fd")))))


_libc: Any = None
_tied: tuple[int, int] | None = None   # pid of the parent, and the signal at its end, where we know


def library() -> Any:
    """The C library, by ctypes; None where that is not to be had."""
    global _libc
    if _libc is None:
        try:
            import ctypes
            _libc = ctypes.CDLL(None, use_errno=True)
            _libc.prctl.restype = ctypes.c_int         # looked up now, and not in each child
        except (ImportError, OSError):
            return None
        except AttributeError:
            return _libc               # another C library
    return _libc


def die_with(parent: int, death: int) -> None:
    """This process gets the signal ``death`` when ``parent`` ends, or now when it has."""
    global _tied
    _tied = parent, death
    try:
        library().prctl(PR_SET_PDEATHSIG, death, 0, 0, 0)
    except AttributeError:
        return                         # another C library, or none at hand
    if os.getppid() != parent:
        os.kill(os.getpid(), death)


def _death() -> tuple[int, int]:
    """The pid of the parent, and the signal that this process gets when that ends, 0 for none."""
    if _tied is not None:
        return _tied
    parent, found = os.getppid(), library()
    if found is None:
        return parent, 0
    import ctypes  # a program that was exec'd: the kernel knows
    number = ctypes.c_int()
    found.prctl(PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0)
    return parent, number.value


def trim_memory() -> None:
    """Give freed memory back to the system, where that is at hand: the C library keeps it."""
    if "ctypes" in sys.modules:
        try:
            library().malloc_trim(0)
        except AttributeError:
            return                     # another C library


@functools.cache
def keep_freed(octets: int) -> None:
    """From now on this process keeps freed blocks of up to so many octets, and twice as many at
    the end of the heap, to use them again: the C library follows the largest block that was given back
    (mallopt(3)).  A page of memory that is had anew costs more than to fill it.  Once is enough."""
    bytes(octets)


def sync_file_system(fd: int) -> None:
    """All that was written to the file system of this descriptor is on the disk.  Raises OSError."""
    try:
        done = library().syncfs(fd)
    except AttributeError:
        os.sync()                      # another C library: all file systems
        return
    if done:
        import ctypes
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def processors() -> int:
    """How many we may use."""
    return len(os.sched_getaffinity(0))


def elsewhere(work: Callable[[], bytes]) -> Callable[[], bytes | None]:
    """Do ``work`` in a process beside this one; gives a function that waits for the result.

    None: there is no result, by a limit or because the work failed, and it is for the
    caller to do.  The process sees what we have now, and changes nothing of it.
    """
    try:
        result = os.memfd_create("result")
    except OSError:
        return lambda: None

    def child() -> int:
        data = memoryview(work())
        while data:
            data = data[os.write(result, data):]
        return 0

    try:
        pid = fork(child, signal.SIGKILL)
    except OSError:
        os.close(result)
        return lambda: None

    def wait() -> bytes | None:
        try:
            if os.waitpid(pid, 0)[1] != 0:
                return None
            return os.pread(result, os.fstat(result).st_size, 0)
        except OSError:
            return None
        finally:
            os.close(result)
    return wait


def identity(pid: int) -> tuple[int, int, tuple[int, ...]]:
    """uid, gid and groups of another process, which may have ended and not been waited for.

    OSError when there is none, or it is about to become somebody else.
    """
    found: dict[bytes, tuple[int, ...]] = {}
    with open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            name, _, words = line.partition(b":")
            if name in (b"Uid", b"Gid", b"Groups"):
                found[name] = tuple(map(int, words.split()))
    uids, gids = set(found.get(b"Uid", ())), set(found.get(b"Gid", ()))
    if len(uids) != 1 or len(gids) != 1:
        raise ProcessLookupError(errno.ESRCH, "its ids differ")
    return uids.pop(), gids.pop(), found.get(b"Groups", ())


class ProcError(Exception):
    """A step that must not fail did; str() says which."""


def become(uid: int, gid: int, username: str | None, groups: Sequence[int] | None = None) -> None:
    """Groups, gid, uid, in that order, and a look whether it is true.

    ``groups``: the supplementary ones, else those of ``username``.
    Without root only the own uid can be "become".
    """
    if not _may_become(uid):
        return
    parent, death = _death()
    try:
        _set_groups(gid, username, groups)
        os.setgid(gid)
        os.setuid(uid)
    except (OSError, OverflowError) as error:
        raise ProcError(f"cannot become uid {uid}, gid {gid}: {error}") from None
    if (os.getuid(), os.geteuid(), os.getgid(), os.getegid()) != (uid, uid, gid, gid):
        raise ProcError(f"did not become uid {uid}, gid {gid}")
    if death:
        die_with(parent, death)        # the kernel took it away with the old ids


def is_still(uid: int, gid: int, username: str) -> bool:
    """Is this process who become() would make it now?"""
    groups = os.getgrouplist(username, gid) if username else [gid]
    return (os.getuid(), os.getgid()) == (uid, gid) and {gid, *os.getgroups()} == {gid, *groups}


def _may_become(uid: int) -> bool:
    """False: it is what we are.  Raises ProcError."""
    if os.geteuid() != 0:
        if uid != os.getuid():
            raise ProcError(f"cannot become uid {uid}: not started by root")
        return False
    if uid == 0:
        raise ProcError("refusing to serve root's mail as root")
    return True


def _set_groups(gid: int, username: str | None, groups: Sequence[int] | None) -> None:
    if groups is not None:
        os.setgroups(groups)
    elif username:
        os.initgroups(username, gid)
    else:
        os.setgroups([gid])


class Borrowed:
    """Within it the effective ids are an account's, to see what it may; then they are root's again.

    As become(): raises ProcError where that is not possible.
    """

    def __init__(self, uid: int, gid: int, username: str | None) -> None:
        self._wanted = (uid, gid, username)
        self._own: tuple[int, list[int]] | None = None
        self._parent, self._death = _death()

    def __enter__(self) -> None:
        uid, gid, username = self._wanted
        if not _may_become(uid):
            return
        self._own = os.getegid(), os.getgroups()
        try:
            _set_groups(gid, username, None)
            os.setegid(gid)
            os.seteuid(uid)
        except (OSError, OverflowError) as error:
            self.__exit__()
            raise ProcError(f"cannot become uid {uid}, gid {gid}: {error}") from None

    def __exit__(self, *_: object) -> None:
        if self._own is not None:
            os.seteuid(0)
            os.setegid(self._own[0])
            os.setgroups(self._own[1])
            if self._death:
                die_with(self._parent, self._death)


CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION = 0x20080522
PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS = 8, 38


def confine() -> None:
    """Become nobody, who may read any directory and nothing else that nobody may not: what
    inotify asks of who watches it.  Without root nothing changes.  Raises ProcError."""
    if os.geteuid() != 0:
        return
    import ctypes
    import pwd
    parent, death = _death()
    try:
        nobody = pwd.getpwnam("nobody")
        libc = library()
        steps = libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        mask = 1 << CAP_DAC_READ_SEARCH
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
        # effective, permitted, inheritable; the second three are capabilities from 32 on
        sets = (ctypes.c_uint32 * 6)(mask, mask, 0, 0, 0, 0)
        steps |= libc.capset(header, sets)
    except (KeyError, OSError, AttributeError) as error:
        raise ProcError(f"cannot become nobody: {error}") from None
    if steps or os.getuid() != nobody.pw_uid:
        raise ProcError(f"cannot keep the right to watch directories: {os.strerror(ctypes.get_errno())}")
    if death:
        die_with(parent, death)


def gain_nothing() -> None:
    """What this process, or one that it starts, has no right to now it never has: no_new_privs."""
    libc = library()
    if libc is not None and hasattr(libc, "prctl"):
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def leave_no_core() -> None:
    """What a crash would leave on the disk holds mail, and maybe a password.  For this process and all
    that it starts."""
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def absolute(path: str) -> str:
    """The path from the root on; as it is where the working directory has been removed."""
    try:
        return os.path.abspath(path)
    except OSError:
        return path
