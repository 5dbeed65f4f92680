"""The way back: a session gives its client to couriertcpd again, to be before its login (RFC 8437).

COURIERPY_RETURN has a descriptor of it, the same one for all sessions of a listener.  There is one message:
the ends of the connection as the session knows them, and what the client has said since; with the client's
descriptor.  The kernel tells couriertcpd whose process says it.
"""
from __future__ import annotations

import time

from courierpy.model.numbers import decimal
from courierpy.system.writers import Blocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "COURIERPY_RETURN"
AGAIN = "COURIERPY_AGAIN"      # set for who logs in: the client was greeted
LETTER = b"b"                  # of channels.ADDRESS
SECONDS = 10.0                 # that couriertcpd has to make room for a message


def give(environ: Mapping[str, str], client: int, said: bytes) -> None:
    """Give the client back, which is this process's no more then.  OSError where that cannot be."""
    import socket  # the listener has them, and a session that is alone has no way back

    from courierpy.system import channels, passing
    number = decimal(environ.get(VARIABLE, ""))
    if number is None or len(said) > channels.REST_OCTETS:
        raise OSError("the client has said too much" if number is not None else "there is no way back")
    words = [environ[name].encode() if name.endswith("IP") else int(environ[name])
             for name in ("TCPREMOTEIP", "TCPREMOTEPORT", "TCPLOCALIP", "TCPLOCALPORT")]
    parts = [channels.ADDRESS.pack(LETTER, 0, *words), said]
    end = time.monotonic() + SECONDS
    way = socket.socket(fileno=number)
    try:
        while True:
            try:
                passing.send(way, parts, (client,))
                return
            except BlockingIOError:
                if not Blocked(number).wait(end - time.monotonic()):
                    raise
    finally:
        way.detach()
