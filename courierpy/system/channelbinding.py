"""What a TLS connection can be recognized by at both of its ends: channel bindings.

``tls-server-end-point`` (RFC 5929 4) is a hash of our certificate, the same for all connections.
``tls-exporter`` (RFC 9266) is a value that only the two ends of one TLS 1.3 connection can compute.
``tls-unique`` is not defined for TLS 1.3, and unsafe before: it is not offered.

Who ends TLS leaves them as variables of the environment (``variables``), since the program that
asks for them may be another one; ``known`` reads them.
"""
from __future__ import annotations

import os
import re

from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Iterator, Mapping
    from types import TracebackType

    from courierpy.system.settings import Settings

END_POINT, EXPORTER = "tls-server-end-point", "tls-exporter"
VARIABLES = {END_POINT: "COURIERPY_BINDING_END_POINT", EXPORTER: "COURIERPY_BINDING_EXPORTER"}
LABEL = b"EXPORTER-Channel-Binding"    # RFC 9266 2, with an empty context
EXPORTER_OCTETS = 32
# a mechanism that binds may be told: SCRAM is named, or AUTH for all mechanisms
_WANTED = re.compile(r"SCRAM-|AUTH(?!=)", re.I)

RSA_PSS = "1.2.840.113549.1.1.10"
# signature algorithms (RFC 8017 C, RFC 5758) with the hash in them; MD5 and SHA-1 count as SHA-256
SIGNATURES = {
    "1.2.840.113549.1.1.4": "sha256", "1.2.840.113549.1.1.5": "sha256", "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384", "1.2.840.113549.1.1.13": "sha512", "1.2.840.113549.1.1.14": "sha224",
    "1.2.840.10045.4.1": "sha256", "1.2.840.10045.4.3.1": "sha224", "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384", "1.2.840.10045.4.3.4": "sha512",
}
# hashes that RSASSA-PSS names beside itself; it means SHA-1 where it names none
HASHES = {"1.3.14.3.2.26": "sha256", "2.16.840.1.101.3.4.2.1": "sha256", "2.16.840.1.101.3.4.2.2": "sha384",
          "2.16.840.1.101.3.4.2.3": "sha512", "2.16.840.1.101.3.4.2.4": "sha224"}


def variables(bindings: Mapping[str, bytes]) -> dict[str, str]:
    """The variables for these bindings; those that there are not are empty."""
    return {variable: bindings.get(kind, b"").hex() for kind, variable in VARIABLES.items()}


def known(environ: Mapping[str, str]) -> dict[str, bytes]:
    """Binding -> its octets, as who ends TLS left them; without any where TLS ends somewhere else."""
    return {kind: bytes.fromhex(value) for kind, variable in VARIABLES.items()
            if (value := environ.get(variable, ""))}


def wanted(settings: Settings) -> bool:
    """May anybody ask for them?"""
    return any(_WANTED.search(settings.text(name)) for name in ("IMAP_CAPABILITY", "IMAP_CAPABILITY_TLS"))


# -- tls-server-end-point

def end_point(pem: str) -> bytes:
    """The hash of the first certificate in ``pem``, by the hash of its own signature (RFC 5929 4.1).

    b"" where that is not defined: for a signature without a hash of its own (Ed25519), or with
    one that we do not know."""
    found = re.search(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", pem, re.S)
    if found is None:
        return b""
    import hashlib
    from base64 import b64decode
    try:
        certificate = b64decode(found[1])
        name = _hash_of(certificate)
    except (ValueError, IndexError):
        return b""
    return hashlib.new(name, certificate).digest() if name else b""


def _hash_of(certificate: bytes) -> str | None:
    """Of its signature algorithm.  RFC 5280 4.1.  Raises ValueError, IndexError for what is no DER."""
    (_, whole), = _elements(certificate)
    _, (_, algorithm), _ = _elements(whole)
    (_, oid), *parameters = _elements(algorithm)
    if _dotted(oid) != RSA_PSS:
        return SIGNATURES.get(_dotted(oid))
    # RFC 4055 3.1: SEQUENCE { [0] hashAlgorithm DEFAULT sha1, ... }
    for tag, value in _elements(parameters[0][1] if parameters else b""):
        if tag == 0xa0:
            (_, hashed), = _elements(value)
            return HASHES.get(_dotted(next(_elements(hashed))[1]))
    return "sha256"


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element of DER."""
    at = 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            octets = size & 0x7f
            size, at = int.from_bytes(data[at:at + octets], "big"), at + octets
        if at + size > len(data):
            raise ValueError("an element goes on behind the end")
        yield tag, data[at:at + size]
        at += size


def _dotted(oid: bytes) -> str:
    numbers, number = [oid[0] // 40, oid[0] % 40] if oid[0] < 80 else [2, oid[0] - 80], 0
    for octet in oid[1:]:
        number = number << 7 | octet & 0x7f
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    return ".".join(map(str, numbers))


# -- tls-exporter

class KeyLog:
    """Listens to the secrets of one handshake, since Python's ssl does not export keying material.

    A context tells them to a file (NSS's format of key logs), which here is memory that only this
    process has, and that is overwritten.  ``contexts``: all those that the handshake may end with; with
    none nothing is heard.  Where there can be no such file there is no tls-exporter.
    """

    def __init__(self, contexts: Collection[ssl.SSLContext]) -> None:
        self._contexts = contexts
        self._fd = -1
        self.exporter = b""                # when the handshake is over; b"" unless it is TLS 1.3

    def __enter__(self) -> KeyLog:
        if not self._contexts:
            return self
        try:
            self._fd = os.memfd_create("courierpy-keys")
            for context in self._contexts:
                context.keylog_filename = f"/proc/self/fd/{self._fd}"
        except OSError:
            self._close()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._fd < 0:
            return
        try:
            self.look()
        finally:
            self._close()

    def look(self) -> None:
        """Take what was told so far, and overwrite it."""
        if self._fd < 0:
            return
        text = os.pread(self._fd, 65536, 0)
        os.pwrite(self._fd, bytes(len(text)), 0)
        os.ftruncate(self._fd, 0)
        secret = re.search(rb"^EXPORTER_SECRET [0-9a-f]+ ([0-9a-f]+)$", text, re.M)
        if secret is not None:
            self.exporter = exporter(bytes.fromhex(secret[1].decode()))
        wipe(text)

    def _close(self) -> None:
        for context in self._contexts:
            context.keylog_filename = None  # type: ignore[assignment]
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def exporter(secret: bytes) -> bytes:
    """The binding, of the exporter_master_secret of TLS 1.3.  RFC 8446 7.5, RFC 9266 2."""
    import hashlib
    name = "sha384" if len(secret) == 48 else "sha256"
    nothing = hashlib.new(name).digest()
    own = _expand(name, secret, LABEL, nothing, len(secret))
    return _expand(name, own, b"exporter", nothing, EXPORTER_OCTETS)


def _expand(name: str, secret: bytes, label: bytes, context: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 7.1), for no more than one block of HKDF-Expand (RFC 5869 2.3)."""
    import hmac
    label = b"tls13 " + label
    info = b"%b%c%b%c%b" % (size.to_bytes(2, "big"), len(label), label, len(context), context)
    return hmac.new(secret, info + b"\1", name).digest()[:size]
