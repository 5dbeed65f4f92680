"""Processes: forking, starting programs, changing ids.  The only door to them."""
from __future__ import annotations

import os
import select
import signal
import socket
import sys

import courierpy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from courierpy.system.conn import Conn


TOLD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_hearer: Callable[[int, object], None] | None = None


def on_signal(hearer: Callable[[int, object], None]) -> Callable[[int, object], None] | None:
    """From now on ``hearer`` hears SIGTERM, SIGINT and SIGHUP; gives the one before.

    A forked child has the listener's registration: to register anew would cost it more
    than the rest of its start.
    """
    global _hearer
    before, _hearer = _hearer, hearer
    if before is None:
        for number in TOLD:
            signal.signal(number, _hear)
    return before


def _hear(number: int, frame: object) -> None:
    if _hearer is not None:
        _hearer(number, frame)


def trim_memory() -> None:
    """Give freed memory back to the system, where that is at hand: the C library keeps it."""
    ctypes = sys.modules.get("ctypes")
    if ctypes is not None:
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (AttributeError, OSError):
            return                     # another C library


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
    try:
        pid = os.fork()
    except OSError:
        os.close(result)
        return lambda: None
    if pid == 0:
        status = 1
        try:
            data = memoryview(work())
            while data:
                data = data[os.write(result, data):]
            status = 0
        finally:
            os._exit(status)

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


class ProcError(Exception):
    """A step that must not fail did; str() says which."""


def become(uid: int, gid: int, username: str | None, groups: Sequence[int] | None = None) -> None:
    """Groups, gid, uid, in that order, and a look whether it is true.

    ``groups``: the supplementary ones, else those of ``username``.
    Without root only the own uid can be "become".
    """
    if os.geteuid() != 0:
        if uid != os.getuid():
            raise ProcError(f"cannot become uid {uid}: not started by root")
        return
    if uid == 0:
        raise ProcError("refusing to serve root's mail as root")
    try:
        if groups is not None:
            os.setgroups(groups)
        elif username:
            os.initgroups(username, gid)
        else:
            os.setgroups([gid])
        os.setgid(gid)
        os.setuid(uid)
    except OSError as error:
        raise ProcError(f"cannot become uid {uid}, gid {gid}: {error.strerror}") from None
    if (os.getuid(), os.geteuid(), os.getgid(), os.getegid()) != (uid, uid, gid, gid):
        raise ProcError(f"did not become uid {uid}, gid {gid}")


CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION = 0x20080522
PR_SET_KEEPCAPS = 8


def confine() -> None:
    """Become nobody, who may read any directory and nothing else that nobody may not: what
    inotify asks of who watches it.  Without root nothing changes.  Raises ProcError."""
    if os.geteuid() != 0:
        return
    import ctypes
    import pwd
    try:
        nobody = pwd.getpwnam("nobody")
        libc = ctypes.CDLL(None, use_errno=True)
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


OURS = ("imaplogin", "imapd", "rimapd")


def is_ours(program: str) -> bool:
    """Is this word a program of courierpy: a bare name, or a path beside our interpreter?"""
    if os.path.basename(program) not in OURS:
        return False
    folder = os.path.dirname(program)
    return not folder or os.path.realpath(folder) == os.path.realpath(os.path.dirname(sys.executable))


def interpreter(module: str) -> list[str]:
    """The words that run ``module.run()`` by this interpreter, without ``site``.

    What the hooks of site-packages load costs every process time, and every
    child of the listener memory; the folders of libraries are named instead.
    Nothing is ever imported from the working directory.
    """
    own = os.path.dirname(os.path.dirname(os.path.abspath(courierpy.__file__)))
    library = os.path.dirname(os.__file__)
    standard = {library, os.path.join(library, "lib-dynload")}
    folders = [own, *(entry for entry in sys.path if entry not in standard and entry != own
                      and os.path.isabs(entry) and os.path.isdir(entry))]
    return [sys.executable, "-I", "-S", "-X", "no_debug_ranges", "-c",
            f"import sys; sys.path += {folders}; from {module} import run; run()"]


def command(program: str) -> list[str]:
    """The words that start ``program``; our own by this interpreter."""
    if is_ours(program):
        module = "imaplogin" if os.path.basename(program) == "imaplogin" else "imapd"
        return interpreter(f"courierpy.{module}")
    return [program]


def execute(program: str, args: list[str], environ: Mapping[str, str], conn: Conn) -> None:
    """Replace this process; returns only by raising ProcError.

    A program that is exec'd reads descriptor 0 itself: bytes that were read
    already, or TLS, are carried to it by a relay process.
    """
    conn.flush()
    if conn.tls is not None or conn.pending:
        _relay(conn)
    words = command(program)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)      # Python ignores it, and that would be inherited
    try:
        os.execvpe(words[0], [*words, *args], dict(environ))
    except OSError as error:
        raise ProcError(f"{program}: {error.strerror}") from None


def _relay(conn: Conn) -> None:
    """Fork: the child keeps the client and copies both ways, we get a socket on 0 and 1."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        status = 1
        try:
            theirs.close()
            _copy(conn, ours)
            status = 0
        finally:
            os._exit(status)
    ours.close()
    os.dup2(theirs.fileno(), 0)
    os.dup2(theirs.fileno(), 1)
    theirs.close()


def _copy(conn: Conn, inner: socket.socket) -> None:
    from courierpy.system.conn import Gone, TimedOut
    if conn.pending:
        inner.sendall(conn.pending)
        conn.pending = b""
    poll = select.poll()
    poll.register(conn.infd, select.POLLIN)
    poll.register(inner.fileno(), select.POLLIN)
    client_open = True
    while True:
        ready = ({conn.infd} if client_open and conn.tls is not None and conn.tls.pending()
                 else {fd for fd, _ in poll.poll()})
        if conn.infd in ready and client_open:
            try:
                data = conn.read(60.0)
            except TimedOut:
                data = b"" if conn.tls is None else None  # type: ignore[assignment]
            if data:
                inner.sendall(data)
            elif data == b"":
                client_open = False
                poll.unregister(conn.infd)
                inner.shutdown(socket.SHUT_WR)
        if inner.fileno() in ready:
            data = inner.recv(65536)
            if not data:
                return
            try:
                conn.write(data)
                conn.flush()
            except (Gone, TimedOut):
                return
