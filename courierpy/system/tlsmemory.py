"""TLS over memory: octets go in and out, and nobody waits for a socket.

RFC 8446.  What the library keeps of a connection that is quiet is some 20 kB.
"""
from __future__ import annotations

from courierpy.system import channelbinding
from courierpy.system.tls import TlsError, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    from courierpy.system.tls import Certificates

READ_OCTETS = 65536


class Keys:
    """What a process hears of the secrets of its handshakes, one at a time; see channelbinding.KeyLog.  Made
    before the process loses sight of /proc."""

    def __init__(self, offered: Certificates) -> None:
        self._log = channelbinding.KeyLog(offered.end_points)
        self._log.__enter__()          # for the life of the process

    def heard(self) -> bytes:
        """The exporter's binding, of the handshake that went on just now; b"" without one."""
        self._log.look()
        found, self._log.exporter = self._log.exporter, b""
        return found


class MemoryTls:
    """One connection.  ``secure``: its handshake is done.  ``over``: the other side has ended it, in order or
    not."""

    __slots__ = ("_in", "_object", "_out", "over", "secure")

    def __init__(self, context: ssl.SSLContext, host: str | None = None) -> None:
        """``host``: whose certificate is expected, as a client; None: we are the server.  Raises TlsError for
        a name that no certificate has."""
        import ssl  # what has no TLS does without
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self._object = context.wrap_bio(self._in, self._out, server_side=host is None,
                                            server_hostname=host)
        except ValueError as error:
            raise TlsError(str(error)) from None
        self.secure = self.over = False

    def feed(self, data: bytes) -> None:
        """What the socket gave; b"" at its end."""
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def handshake(self) -> bool:
        """Go on with it; is it done?  Raises TlsError; what take() gives then is for the other side still."""
        if self.secure:
            return True
        from ssl import SSLWantReadError
        try:
            self._object.do_handshake()
        except SSLWantReadError:
            if self._in.eof:
                raise TlsError("closed during the handshake") from None
            return False
        except OSError as error:       # SSLError is one
            text = getattr(error, "verify_message", "") or error.strerror
            raise TlsError(str(text or error)) from None
        self.secure = True
        return True

    def read(self) -> bytes:
        """What there is, of whole records; b"" for nothing now, or for good where it is ``over``."""
        from ssl import SSLWantReadError
        found = []
        size = 0
        while size < READ_OCTETS and not self.over:
            try:
                data = self._object.read(READ_OCTETS)
            except SSLWantReadError:
                break
            except OSError:            # not in order, or garbled: nothing behind it can be read
                data = b""
            self.over = not data
            found.append(data)
            size += len(data)
        return found[0] if len(found) == 1 else b"".join(found)

    def write(self, data: bytes | memoryview) -> None:
        """Raises OSError when the connection is broken."""
        self._object.write(data)

    def take(self) -> bytes:
        """What is for the socket now."""
        return self._out.read() if self._out.pending else b""

    def close(self) -> None:
        """Say that nothing follows."""
        try:
            self._object.unwrap()
        except OSError:
            return                     # it is said; the other side's own word is not waited for


class ServerTls(MemoryTls):
    """``found``: the variables that tell of the connection when it is secure."""

    __slots__ = ("_exporter", "_keys", "_offered", "found")

    def __init__(self, offered: Certificates, keys: Keys, local_ip: str) -> None:
        super().__init__(offered.context(local_ip))
        self._offered: Certificates | None = offered
        self._keys: Keys | None = keys
        self._exporter = b""
        self.found: dict[str, str] = {}

    def handshake(self) -> bool:
        if self.secure:
            return True
        assert self._keys is not None and self._offered is not None
        try:
            if not super().handshake():
                return False
        finally:
            self._exporter = self._keys.heard() or self._exporter
        self.found = told(self._object, self._offered, self._exporter)
        self._offered = self._keys = None
        self._exporter = b""
        return True
