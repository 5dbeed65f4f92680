"""The listener's password helper: long-lived processes that check passwords.

They speak authdaemond's protocol on a private socket, so that a real
authdaemond can stand in their place, and keep hash libraries and slow hashes
out of the processes of connections.
"""
from __future__ import annotations

import os
import signal
import socket

from courierpy import log
from courierpy.auth import Rejected, TemporaryFailure, check
from courierpy.auth.protocol import parse_request, render_account

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WORKERS = 2
READ_TIMEOUT = 10.0


def start(modules: Sequence[str], environ: Mapping[str, str]) -> tuple[list[int], str]:
    """Fork the helpers; (their pids, the socket's path)."""
    import tempfile
    folder = tempfile.mkdtemp(prefix="courierpy-auth-")        # mode 0700
    path = os.path.join(folder, "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)
    pids = []
    for _ in range(WORKERS):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)
                signal.set_wakeup_fd(-1)
                serve(listener, modules, environ)
            finally:
                os._exit(status)
        pids.append(pid)
    listener.close()
    return pids, path


def clean(path: str) -> None:
    """Remove the socket and its directory."""
    try:
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
    except OSError:
        pass


def serve(listener: socket.socket, modules: Sequence[str], environ: Mapping[str, str]) -> None:
    """Answer requests, one at a time, until killed."""
    while True:
        client, _ = listener.accept()
        with client:
            client.settimeout(READ_TIMEOUT)
            try:
                answer(client, modules, environ)
            except OSError:
                continue


def answer(client: socket.socket, modules: Sequence[str], environ: Mapping[str, str]) -> None:
    """One request.  A temporary failure is a connection closed without a word."""
    data = b""
    while True:
        piece = client.recv(65536)
        data += piece
        try:
            request = parse_request(data, dict(environ))
        except (ValueError, UnicodeDecodeError):
            return
        if request is not None:
            break
        if not piece:
            return
    try:
        reply = render_account(check(modules, request))
    except Rejected:
        reply = b"FAIL\n"
    except TemporaryFailure as error:
        log.err(f"authentication error: {error}")
        return
    client.sendall(reply)
