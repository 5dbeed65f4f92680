"""TLS of the server side over memory: octets go in and out, and nobody waits for a socket.

RFC 8446.  What the library keeps of a connection that is quiet is some 20 kB.
"""
from __future__ import annotations

from courierpy.system import channelbinding
from courierpy.system.tls import TlsError, told

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    """One connection.  ``secure``: its handshake is done; ``found``: the variables that tell of it then.
    ``over``: the client has ended it, in order or not."""

    __slots__ = ("_exporter", "_in", "_keys", "_object", "_offered", "_out", "found", "over", "secure")

    def __init__(self, offered: Certificates, keys: Keys, local_ip: str) -> None:
        import ssl  # what has no TLS does without
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = offered.context(local_ip).wrap_bio(self._in, self._out, server_side=True)
        self._offered: Certificates | None = offered
        self._keys: Keys | None = keys
        self._exporter = b""
        self.secure = self.over = False
        self.found: dict[str, str] = {}

    def feed(self, data: bytes) -> None:
        """What the client's socket gave; b"" at its end."""
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def handshake(self) -> bool:
        """Go on with it; is it done?  Raises TlsError; what take() gives then is for the client still."""
        if self.secure:
            return True
        from ssl import SSLWantReadError
        assert self._keys is not None and self._offered is not None
        try:
            self._object.do_handshake()
        except SSLWantReadError:
            if self._in.eof:
                raise TlsError("closed during the handshake") from None
            return False
        except OSError as error:       # SSLError is one
            raise TlsError(str(error.strerror or error)) from None
        finally:
            self._exporter = self._keys.heard() or self._exporter
        self.secure = True
        self.found = told(self._object, self._offered, self._exporter)
        self._offered = self._keys = None
        self._exporter = b""
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
        """What is for the client's socket now."""
        return self._out.read() if self._out.pending else b""

    def close(self) -> None:
        """Say that nothing follows."""
        try:
            self._object.unwrap()
        except OSError:
            return                     # it is said; the client's own word is not waited for
