"""What carries a connection's octets: descriptors as they are, or a layer over another stream.

``Conn`` reads and writes through one stream and knows none of them by name: deadlines, gathering
and the record of the dialogue are its own, whatever lies below.  ``Plain`` is here; TLS is in
system/tls.py, compression in system/deflate.py.  A layer is put on by ``Conn.put_on``.
"""
from __future__ import annotations

import errno
import os
import select

from courierpy.system.writers import Blocked, writer_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from courierpy.system.writers import Writer

    class Stream(Protocol):
        """``infd``, ``outfd``: what is polled until something can be read or written.  ``layers``: the
        names of what lies between the client's octets and ours, the lowest first.  ``most``: octets to
        offer to ``write`` at once.  ``held``: something that was written has not gone to the descriptor yet;
        ``write`` of nothing goes on with it."""

        @property
        def infd(self) -> int: ...

        @property
        def outfd(self) -> int: ...

        @property
        def layers(self) -> tuple[str, ...]: ...

        @property
        def most(self) -> int: ...

        @property
        def held(self) -> bool: ...

        def buffered(self) -> bool:
            """Can read() give something that the descriptor does not tell of?"""

        def read(self, size: int) -> bytes:
            """At most ``size`` octets of what is there; b"" at the end.  To be called when there is
            something; Blocked says that it makes no octet yet.  Raises Garbled where it is not what
            the layer expects, and OSError."""

        def write(self, data: bytes | memoryview) -> int:
            """The octets that were taken.  Raises Blocked or OSError."""

        def rest(self) -> None:
            """Nothing may be said for long: memory is given back."""

        def kept(self) -> dict[str, bytes] | None:
            """What another process needs to go on with the descriptors: layer -> its state, the lowest
            first.  None where none can, at least not at this moment."""

        def last(self) -> None:
            """The end follows what is written from now on: both may go together."""

        def end(self) -> bool:
            """Close our side in order.  False where there is nothing to close.  OSError."""


class Garbled(Exception):
    """What came is not what the stream is made of; str() says how.  Nothing behind it can be read."""


class Plain:
    """Two descriptors, or one twice: socket, pipe, terminal or file."""

    layers: tuple[str, ...] = ()
    held = False

    def __init__(self, infd: int, outfd: int) -> None:
        self.infd = infd
        self.outfd = outfd
        self._writer: Writer | None = None

    @property
    def writer(self) -> Writer:
        """How the descriptor is written to, found out when it first is.  OSError."""
        if self._writer is None:
            self._writer = writer_of(self.outfd)
        return self._writer

    @property
    def most(self) -> int:
        return (self._writer or self.writer).most

    def buffered(self) -> bool:
        return False

    def read(self, size: int) -> bytes:
        try:
            return os.read(self.infd, size)
        except BlockingIOError:        # who gave it to us does not want it to block
            raise Blocked(self.infd, select.POLLIN) from None
        except (ConnectionError, TimeoutError):
            return b""
        except OSError as error:
            if error.errno == errno.EIO:   # a pty whose other end is closed
                return b""
            raise

    def write(self, data: bytes | memoryview) -> int:
        return (self._writer or self.writer).write(data)

    def rest(self) -> None:
        """There is nothing to give."""

    def kept(self) -> dict[str, bytes] | None:
        return {}

    def last(self) -> None:
        if self._writer is not None:
            self._writer.last()

    def end(self) -> bool:
        return self.writer.end()
