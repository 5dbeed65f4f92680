"""What the listener's password helpers do: they check passwords, and live long.

They speak authdaemond's protocol on a private socket, so that a real
authdaemond can stand in their place, and keep hash libraries and slow hashes
out of the processes of connections.
"""
from __future__ import annotations

import os
import signal
import socket

from courierpy.auth import Rejected, TemporaryFailure, check
from courierpy.auth.protocol import parse_request, render_account
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

READ_TIMEOUT = 10.0


def serve(listener: socket.socket, modules: Sequence[str], environ: Mapping[str, str]) -> None:
    """Answer requests, one at a time, until SIGTERM; a request that was begun is answered."""
    ending = busy = False

    def end(number: int, frame: object) -> None:
        nonlocal ending
        ending = True
        if not busy:
            os._exit(0)

    signal.signal(signal.SIGTERM, end)
    while not ending:
        client, _ = listener.accept()
        busy = True
        with client:
            client.settimeout(READ_TIMEOUT)
            try:
                answer(client, modules, environ)
            except OSError as error:
                log.err(f"password helper: {error.strerror or error}")
        busy = False
    os._exit(0)


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
