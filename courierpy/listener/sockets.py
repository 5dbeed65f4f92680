"""The listening sockets: bound here, opened by systemd, or left by an earlier image."""
from __future__ import annotations

import os
import socket

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


def inherited() -> list[socket.socket]:
    """Sockets that systemd opened for us (LISTEN_FDS)."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    return adopted(range(3, 3 + int(os.environ.get("LISTEN_FDS", "0"))))


def adopted(descriptors: range | list[int]) -> list[socket.socket]:
    return [_tuned(socket.socket(fileno=fd)) for fd in descriptors]


def shown(address: str) -> str:
    """An address as Courier shows it: IPv4 mapped into IPv6."""
    return address if ":" in address else f"::ffff:{address}"
