"""TLS of the server side, from Courier's settings to Python's ssl."""
from __future__ import annotations

import os
import re
import select

from courierpy.system import channelbinding
from courierpy.system.wipe import wipe, wipe_found
from courierpy.system.writers import OFFERED, Blocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from typing import Any

    from courierpy.system.conn import Conn
    from courierpy.system.settings import Settings


MAX_FILE_OCTETS = 1024 * 1024
HEAD_OCTETS = 40               # of freed memory, at most, that the C library uses for itself
_PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END")
# the names of X.520 that certificates' subjects are shown with
SHORT = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C",
         "localityName": "L", "stateOrProvinceName": "ST", "userId": "UID"}


class TlsError(Exception):
    """A certificate that does not load or a handshake that fails; str() for the log."""


class Certificates:
    """A context for each certificate of the settings, loaded at once.

    ``TLS_CERTFILE`` and beside it ``TLS_CERTFILE.<address>`` and
    ``TLS_CERTFILE.<server name>``; the same for TLS_PRIVATE_KEYFILE.  Raises
    TlsError for any that does not load.
    """

    def __init__(self, settings: Settings) -> None:
        certificate = settings.text("TLS_CERTFILE")
        if not certificate:
            raise TlsError("TLS_CERTFILE is not set")
        self.main = _context(settings, certificate, "")
        files = {self.main: certificate}
        self.named: dict[str, ssl.SSLContext] = {}
        folder, name = os.path.split(certificate)
        try:
            found = os.listdir(folder or ".")
        except OSError as error:
            raise TlsError(f"{folder}: {error.strerror}") from None
        for entry in sorted(found):
            suffix = entry.removeprefix(name + ".")
            if suffix != entry and "." in suffix.strip("."):
                self.named[suffix.lower()] = _context(settings, f"{certificate}.{suffix}", suffix)
                files[self.named[suffix.lower()]] = f"{certificate}.{suffix}"
        for context in files:
            context.sni_callback = self._by_name  # type: ignore[assignment]
        # context -> what its certificate is known by, where somebody may ask for it
        self.end_points: dict[ssl.SSLContext, bytes] = {}
        if channelbinding.wanted(settings):
            self.end_points = {context: _end_point(file) for context, file in files.items()}

    def _by_name(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: object) -> None:
        context = self.named.get((name or "").lower())
        if context is not None:
            connection.context = context

    def context(self, local_ip: str) -> ssl.SSLContext:
        """The one for a connection to this address, before the client names a server."""
        return self.named.get(local_ip.removeprefix("::ffff:"), self.main)


_loaded: Certificates | None = None


def load(settings: Settings) -> None:
    """Load the certificates for all processes forked from now on; on TlsError the old ones stay."""
    global _loaded
    _loaded = Certificates(settings)
    _forget_files(settings)


def _forget_files(settings: Settings) -> None:
    """What the library has read of the files of keys is freed, and still there to be found."""
    from base64 import b64decode
    from binascii import Error
    names = {settings.text("TLS_CERTFILE"), settings.text("TLS_PRIVATE_KEYFILE")} - {""}
    for name in names:
        folder, base = os.path.split(name)
        for entry in os.listdir(folder or "."):
            if entry != base and not entry.startswith(base + "."):
                continue
            try:
                with open(os.path.join(folder, entry), "rb") as file:
                    text = file.read(MAX_FILE_OCTETS)
            except OSError:
                continue
            for block in _PRIVATE.findall(text):
                try:
                    coded = b64decode(block)
                except Error:
                    continue
                # without the head, which the allocator has written over; some of it must be there, as
                # keys in use may be the same octets without
                wipe_found(*filter(_telling, block.split()), coded[min(HEAD_OCTETS, len(coded) // 4):])
                wipe(coded, block)
            wipe(text)


def _telling(line: bytes) -> bool:
    return len(line) >= 16


def forget() -> None:
    """Drop what load() left, and overwrite the keys of it: the library does when nobody uses them."""
    global _loaded
    if _loaded is not None:
        for context in (_loaded.main, *_loaded.named.values()):
            context.sni_callback = None            # leads back to us: nobody collects circles here
        _loaded = None


def is_loaded() -> bool:
    """Has load() left certificates here?"""
    return _loaded is not None


def certificates(settings: Settings) -> Certificates:
    """What load() left, or loaded now.  Raises TlsError."""
    return _loaded or Certificates(settings)


def _end_point(path: str) -> bytes:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return channelbinding.end_point(file.read(MAX_FILE_OCTETS))
    except OSError:
        return b""                     # it was there a moment ago


def _lowest(settings: Settings) -> str:
    """The protocol that is the lowest: of STARTTLS, where the listener does not begin with TLS."""
    begins = settings.flag("IMAP_TLS") or settings.flag("POP3_TLS")
    return (not begins and settings.text("TLS_STARTTLS_PROTOCOL")) or settings.text("TLS_PROTOCOL")


def _context(settings: Settings, certificate: str, suffix: str) -> ssl.SSLContext:
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if "1.3" in _lowest(settings) else ssl.TLSVersion.TLSv1_2
    key = settings.text("TLS_PRIVATE_KEYFILE") or None
    if key and suffix and os.path.exists(f"{key}.{suffix}"):
        key = f"{key}.{suffix}"
    at = certificate                   # what is read
    try:
        if key:
            os.stat(key)               # the library does not say which of the two is not there
        context.load_cert_chain(certificate, key)
        ciphers = settings.text("TLS_CIPHER_LIST")
        at = f"TLS_CIPHER_LIST={ciphers}"
        if ciphers:
            context.set_ciphers(ciphers)
        trusted = settings.text("TLS_TRUSTCERTS")
        at = f"TLS_TRUSTCERTS={trusted}"
        mode = settings.text("TLS_VERIFYPEER")[:1].upper()
        if mode not in ("N", "P", "R", ""):
            raise TlsError("TLS_VERIFYPEER is none of NONE, PEER and REQUIREPEER")
        if mode == "R" and not trusted:
            # without authorities nobody would be asked, and everybody served
            raise TlsError("TLS_VERIFYPEER=REQUIREPEER wants the authorities in TLS_TRUSTCERTS")
        if mode in ("P", "R") and trusted:
            if os.path.isdir(trusted):
                context.load_verify_locations(capath=trusted)
            else:
                context.load_verify_locations(cafile=trusted)
            context.verify_mode = ssl.CERT_REQUIRED if mode == "R" else ssl.CERT_OPTIONAL
    except OSError as error:
        what = error.filename or at
        todo = ""
        if what == certificate and isinstance(error, FileNotFoundError):
            todo = f"; a certificate was expected there, courierpy mkcert {certificate} makes one"
        elif what == certificate and isinstance(error, ssl.SSLError):
            todo = "; a certificate and its key were expected, in PEM"
        raise TlsError(f"{what}: {error.strerror or error}{todo}") from None
    names = settings.words("TLS_ALPN")
    if names:
        context.set_alpn_protocols(names)
    return context


class TlsStream:
    """TLS over a socket of its own.  ``secure``: its handshake is done."""

    layers = ("tls",)
    most = OFFERED
    held = False                       # what is Blocked was not taken

    def __init__(self, secure: ssl.SSLSocket) -> None:
        secure.settimeout(0)
        self.infd = self.outfd = secure.fileno()
        self._secure = secure

    def buffered(self) -> bool:
        return self._secure.pending() > 0

    def read(self, size: int) -> bytes:
        from ssl import SSLWantReadError, SSLWantWriteError
        try:
            return self._secure.recv(size)
        except SSLWantReadError:       # a record that is not whole yet
            raise Blocked(self.infd, select.POLLIN) from None
        except SSLWantWriteError:
            raise Blocked(self.infd) from None
        except OSError:                # SSLError is one
            return b""

    def write(self, data: bytes | memoryview) -> int:
        from ssl import SSLWantReadError, SSLWantWriteError
        if not data:
            return 0
        try:
            return self._secure.send(data)
        except SSLWantWriteError:
            raise Blocked(self.outfd) from None
        except SSLWantReadError:
            raise Blocked(self.outfd, select.POLLIN) from None

    def rest(self) -> None:
        """What it has is the library's."""

    def kept(self) -> dict[str, bytes] | None:
        return None                    # the keys are the library's

    def last(self) -> None:
        """The end is a record of its own."""

    def end(self) -> bool:
        try:
            self._secure.unwrap()
        except OSError:
            pass                       # ours is sent; the other one need not come
        self._secure.shutdown(1)       # SHUT_WR
        return True


def handshake(conn: Conn, offered: Certificates, local_ip: str, timeout: float) -> dict[str, str]:
    """Encrypt ``conn``, a connection to ``local_ip``, from here on, within ``timeout`` seconds.  Gives
    TLS_* and other variables for the environment.

    Anything that came in clear before is forgotten.  Raises TlsError.
    """
    import socket
    keys = channelbinding.KeyLog(offered.end_points)
    conn.flush()
    conn.pending = b""
    try:
        sock = socket.socket(fileno=os.dup(conn.infd))
        sock.settimeout(timeout)
        with keys:
            secure = offered.context(local_ip).wrap_socket(sock, server_side=True)
    except OSError as error:          # SSLError is one
        raise TlsError(str(error.strerror or error) or "handshake timed out") from None
    conn.put_on(lambda plain: TlsStream(secure))
    return told(secure, offered, keys.exporter)


def told(secure: ssl.SSLSocket | ssl.SSLObject, offered: Certificates, exporter: bytes) -> dict[str, str]:
    """The variables of a connection whose handshake is done.  ``exporter``: its binding, if it has that."""
    found = {"IMAP_TLS": "1", "IMAP_STARTTLS": "NO", "IMAP_TLS_REQUIRED": "0"}
    cipher = secure.cipher()
    if cipher is not None:
        found["TLS_CONNECTED_PROTOCOL"] = f"{cipher[1]}, {cipher[0]}"
    found.update(subject(secure.getpeercert() or {}))
    found.update(channelbinding.variables({
        channelbinding.END_POINT: offered.end_points.get(secure.context, b""),
        channelbinding.EXPORTER: exporter}))
    return found


def subject(certificate: Mapping[str, Any]) -> dict[str, str]:
    """The TLS_SUBJECT_* variables of what getpeercert() gave.

    A field that a certificate has twice has no variable: which of the two somebody is cannot be told.
    """
    found: dict[str, str] = {}
    twice = set()
    for group in certificate.get("subject", ()):
        for field, value in group:
            for name in {field, SHORT.get(field, field)}:
                variable = f"TLS_SUBJECT_{name.upper()}"
                if variable in found or not value.isprintable():
                    twice.add(variable)
                found[variable] = value
    return {variable: value for variable, value in found.items() if variable not in twice}
