"""A password daemon on a unix socket: Courier's authdaemond, or the listener's own helper.

AUTHDAEMON_SOCKET names the socket.  Whatever goes wrong on the way is a
temporary failure.
"""
from __future__ import annotations

import socket

from courierpy.auth import Account, Request, TemporaryFailure
from courierpy.auth.protocol import CLIENT, parse_reply, render_environ, render_request, whole
from courierpy.system.wipe import wipe

DEFAULT = "/run/courier/authdaemon/socket"
TIMEOUT = 30.0                 # seconds that authdaemond has
OWN_TIMEOUT = 120.0            # our own helper has a deadline for each module


def lookup(request: Request) -> Account:
    path = request.environ.get("COURIERPY_AUTHSOCKET") or request.environ.get("AUTHDAEMON_SOCKET") or DEFAULT
    own = "COURIERPY_AUTHSOCKET" in request.environ
    told = render_environ(request.environ, CLIENT[:1 + own])
    asked = render_request(request)
    data = b"".join((told, asked))
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(OWN_TIMEOUT if own else TIMEOUT)
            client.connect(path)
            client.sendall(data)
            reply = b""
            while not whole(reply):
                piece = client.recv(65536)
                if not piece:
                    break
                before, reply = reply, b"".join((reply, piece)) if reply else piece
                if before:
                    wipe(before, piece)
    except OSError as error:
        raise TemporaryFailure(f"{path}: {error.strerror or error}") from None
    finally:
        wipe(data)
        if told:
            wipe(asked)                # else it is the same
    return parse_reply(reply)
