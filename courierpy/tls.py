"""TLS of the server side, from Courier's settings to Python's ssl."""
from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    from courierpy.conn import Conn
    from courierpy.settings import Settings


class TlsError(Exception):
    """A certificate that does not load or a handshake that fails; str() for the log."""


def server_context(settings: Settings, local_ip: str) -> ssl.SSLContext:
    """The context for a connection to ``local_ip``.

    Certificate: ``TLS_CERTFILE.<name asked for>``, else ``TLS_CERTFILE.<address>``,
    else TLS_CERTFILE; the same for TLS_PRIVATE_KEYFILE.
    """
    certificate = settings.text("TLS_CERTFILE")
    if not certificate:
        raise TlsError("TLS_CERTFILE is not set")
    address = local_ip.removeprefix("::ffff:")
    found = f"{certificate}.{address}"
    context = _context(settings, found if os.path.exists(found) else certificate, address)
    made: dict[str, ssl.SSLContext] = {}

    def by_name(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: object) -> None:
        if not name or "/" in name or name.startswith("."):
            return
        path = f"{certificate}.{name.lower()}"
        if name not in made and os.path.exists(path):
            made[name] = _context(settings, path, name.lower())
        if name in made:
            connection.context = made[name]

    context.sni_callback = by_name  # type: ignore[assignment]
    return context


def _context(settings: Settings, certificate: str, suffix: str) -> ssl.SSLContext:
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = (ssl.TLSVersion.TLSv1_3 if "1.3" in settings.text("TLS_PROTOCOL")
                               else ssl.TLSVersion.TLSv1_2)
    key = settings.text("TLS_PRIVATE_KEYFILE") or None
    if key and os.path.exists(f"{key}.{suffix}"):
        key = f"{key}.{suffix}"
    try:
        context.load_cert_chain(certificate, key)
        ciphers = settings.text("TLS_CIPHER_LIST")
        if ciphers:
            context.set_ciphers(ciphers)
        trusted = settings.text("TLS_TRUSTCERTS")
        mode = settings.text("TLS_VERIFYPEER")[:1].upper()
        if mode in ("P", "R") and trusted:
            if os.path.isdir(trusted):
                context.load_verify_locations(capath=trusted)
            else:
                context.load_verify_locations(cafile=trusted)
            context.verify_mode = ssl.CERT_REQUIRED if mode == "R" else ssl.CERT_OPTIONAL
    except OSError as error:
        raise TlsError(f"{certificate}: {error.strerror or error}") from None
    names = settings.text("TLS_ALPN").replace(",", " ").split()
    if names:
        context.set_alpn_protocols(names)
    return context


def handshake(conn: Conn, context: ssl.SSLContext, timeout: float) -> dict[str, str]:
    """Encrypt ``conn`` from here on; gives TLS_* variables for the environment.

    Anything that came in clear before is forgotten.  Raises TlsError.
    """
    import socket
    conn.flush()
    conn.pending = b""
    try:
        sock = socket.socket(fileno=os.dup(conn.infd))
        sock.settimeout(timeout)
        secure = context.wrap_socket(sock, server_side=True)
    except OSError as error:          # SSLError is one
        raise TlsError(str(error.strerror or error) or "handshake timed out") from None
    conn.tls = secure
    conn.infd = conn.outfd = secure.fileno()
    found = {"IMAP_TLS": "1", "IMAP_STARTTLS": "NO", "IMAP_TLS_REQUIRED": "0"}
    cipher = secure.cipher()
    if cipher is not None:
        found["TLS_CONNECTED_PROTOCOL"] = f"{cipher[1]}, {cipher[0]}"
    for group in (secure.getpeercert() or {}).get("subject", ()):
        for field, value in group:  # type: ignore[misc,str-unpack]
            found[f"TLS_SUBJECT_{str(field).upper()}"] = str(value)
    return found
