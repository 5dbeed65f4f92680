"""The listening sockets: bound here, opened by systemd, or left by an earlier image."""
from __future__ import annotations

import os
import socket

from courierpy.model.numbers import decimal
from courierpy.system import temporary

FDS_MOST = 1024                    # descriptors that can be inherited
FIRST_FD = 3                       # of these: sd_listen_fds(3)
NAMES = ("imap", "imaps", "pop3", "pop3s")         # FileDescriptorName= of such a socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# A client that is gone without a word is noticed within five minutes: probes when all is
# quiet, and an end to waiting for its acknowledgements (milliseconds).  A reply is never
# delayed.  Linux gives a connection the options of the socket that it came through.
OPTIONS = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
           (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 180), (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30),
           (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
           (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300_000))


def listen_on(address: str, port: int) -> socket.socket:
    """A socket for one entry of the port list; the wildcard is both families.  OSError."""
    if address:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return _bound(family, address, port, v6only=family == socket.AF_INET6)
    try:
        return _bound(socket.AF_INET6, "::", port, v6only=False)
    except OSError as error:
        import errno
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise
        return _bound(socket.AF_INET, "0.0.0.0", port, v6only=False)


def todo(error: OSError) -> str:
    """What can be done where listening was refused, behind a semicolon."""
    import errno
    if isinstance(error, socket.gaierror):
        return "; an address, as 192.0.2.1, was expected"
    return {errno.EADDRINUSE: "; end the program that listens there, or take another port",
            errno.EACCES: "; ports below 1024 are root's: start as root, or take another port",
            errno.EADDRNOTAVAIL: "; an address of this host was expected"}.get(error.errno or 0, "")


def _bound(family: int, address: str, port: int, v6only: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6only))
        sock.bind((address, port))
        sock.listen(socket.SOMAXCONN)
        return _tuned(sock)
    except OSError:
        sock.close()
        raise


def _tuned(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    os.set_inheritable(sock.fileno(), False)
    for level, option, value in OPTIONS:
        sock.setsockopt(level, option, value)
    return sock


def inherited(name: str) -> list[socket.socket]:
    """Sockets that systemd opened for us (LISTEN_FDS): those of this FileDescriptorName=, or all where none
    has one of NAMES."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = decimal(os.environ.get("LISTEN_FDS", ""), FDS_MOST) or 0
    every = list(range(FIRST_FD, FIRST_FD + count))
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    if not set(NAMES).isdisjoint(names):
        ours = [fd for fd, its in zip(every, names, strict=False) if its == name]
        for fd in set(every) - set(ours):
            os.close(fd)                           # another listener's
        every = ours
    return adopted(every)


def name_of(program: str, tls: bool) -> str:
    """One of NAMES, for the listener in front of this program; another word where it is none of ours."""
    return os.path.basename(program).removesuffix("login") + "s" * tls


def inherit_from(pid: int) -> None:
    """What systemd opened for the process that started this one, by name, is for this one, too."""
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    # without names nobody knows which of several listeners they are for
    if os.environ.get("LISTEN_PID") == str(pid) and not set(NAMES).isdisjoint(names):
        os.environ["LISTEN_PID"] = str(os.getpid())


def adopted(descriptors: range | list[int]) -> list[socket.socket]:
    return [_tuned(socket.socket(fileno=fd)) for fd in descriptors]


def shown(address: str) -> str:
    """An address as Courier shows it: IPv4 mapped into IPv6."""
    return address if ":" in address else f"::ffff:{address}"


def private(owner: int = -1) -> tuple[socket.socket, int]:
    """A listening AF_UNIX socket without a name, and a descriptor that leads to it.  OSError.

    Who has the descriptor connects to ``/proc/self/fd/NUMBER``; who has not cannot find the
    socket, and nothing is left of it when its processes end.  Only root and ``owner`` may
    connect.  For a moment it has a name, in a folder for such things; the error names all that
    were tried.
    """
    name = f"courierpy-{os.urandom(8).hex()}"
    trouble: OSError | None = None
    tried: list[str] = []
    for folder in _folders():
        sock = socket.socket(socket.AF_UNIX)
        try:
            directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # by the descriptor: a path to a socket has 107 octets at most
                return sock, _nameless(sock, f"/proc/self/fd/{directory}/{name}", owner)
            finally:
                os.close(directory)
        except OSError as error:
            sock.close()
            tried.append(folder)
            trouble = trouble or error
    assert trouble is not None
    raise OSError(trouble.errno, f"{trouble.strerror} (no socket can be made there: "
                  "let TMPDIR name a folder that may be written into)", ", ".join(tried))


def _nameless(sock: socket.socket, path: str, owner: int) -> int:
    umask = os.umask(0o177)
    try:
        sock.bind(path)
    finally:
        os.umask(umask)
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        if owner >= 0 and os.geteuid() == 0:
            os.chown(path, owner, -1)
        sock.listen(128)
    finally:
        os.unlink(path)
    return fd


def _folders() -> Iterator[str]:
    if os.geteuid() == 0:
        try:
            temporary.directory(temporary.RUN)
        except OSError:
            pass                       # it cannot be
        yield temporary.RUN
    if os.environ.get("XDG_RUNTIME_DIR"):
        yield os.environ["XDG_RUNTIME_DIR"]
    yield from temporary.folders()


class Spare:
    """A descriptor that is given up when there is no other, to send a client away with a word."""

    def __init__(self) -> None:
        self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def turn_away(self, listener: socket.socket, words: bytes) -> None:
        """The client that waits longest hears ``words`` and is closed."""
        os.close(self._fd)
        try:
            client, _ = listener.accept()
            turn_away(client, words)
        except OSError:
            pass                       # it went by itself
        finally:
            self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def turn_away(client: socket.socket, words: bytes) -> None:
    """Say ``words``, without waiting, and close."""
    with client:
        try:
            if words:
                client.send(words, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            return                     # it is gone
