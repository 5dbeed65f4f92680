"""TLS of the client side: where we ask another host."""
from __future__ import annotations

import os
import re
import socket

from courierpy.system import log
from courierpy.system.tls import TlsError, TlsStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    from courierpy.system.conn import Conn


def context(trusted: str, checks: bool = True, at_once: bool = False) -> ssl.SSLContext:
    """``trusted``: a file or a folder of authorities; "" for the system's.  ``checks``: the certificate must
    be good, and name the host.  ``at_once``: all authorities are read now, as no file can be later; else
    those of a folder are read when the library asks for them.  Raises OSError, of which ssl.SSLError is one,
    where the authorities cannot be read."""
    import ssl
    if not checks:
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
        return found
    if os.path.isdir(trusted):
        found = ssl.create_default_context(capath=trusted)
    else:
        found = ssl.create_default_context(cafile=trusted or None)
        trusted = "" if trusted else ssl.get_default_verify_paths().capath or ""
    if at_once and os.path.isdir(trusted):
        for name in filter(_HASHED.fullmatch, sorted(os.listdir(trusted))):
            try:
                found.load_verify_locations(cafile=os.path.join(trusted, name))
            except OSError as error:   # ssl.SSLError is one
                log.warn(f"{os.path.join(trusted, name)}: {error.strerror or error}")
    return found


_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]{1,4}")       # names by which the library finds authorities


def handshake(conn: Conn, client: ssl.SSLContext, host: str, seconds: float) -> None:
    """Encrypt ``conn``, a connection to ``host``, from here on.  Raises TlsError."""
    try:
        conn.flush()
        plain = socket.socket(fileno=os.dup(conn.infd))
        plain.settimeout(max(0.01, seconds))
        secure = client.wrap_socket(plain, server_hostname=host)
    except (OSError, ValueError) as error:         # SSLError is one; a name that is none in a certificate
        text = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
        raise TlsError(f"TLS: {text or 'no answer in time'}") from None
    conn.put_on(lambda below: TlsStream(secure))
