"""What another host says before a login there is done: bounded, and shown in the log without the password.
Sans-IO."""
from __future__ import annotations

from courierpy.model.steps import Read, Unreachable
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.model.steps import Steps

MAX_OCTETS = 128 * 1024        # that the host may say before the login is done
MAX_SHOWN = 200                # characters of its words in the log


class Answers:
    """``data``: what it said and nobody took yet."""

    __slots__ = ("_read", "data")

    def __init__(self) -> None:
        self.data = bytearray()
        self._read = 0

    def more(self, due: int = 0) -> Steps[None]:
        """Waits for more.  ``due``: octets that are known to come.  Raises Unreachable where it says too much
        or nothing any more."""
        if self._read + due > MAX_OCTETS:
            raise Unreachable("it says too much before the login")
        data = yield Read(None)
        if not data:
            raise Unreachable("it closed the connection")
        self._read += len(data)
        self.data += data

    def take(self, end: int) -> bytes:
        """Its first line or lines, whose last line end stands at ``end``, without that."""
        line = bytes(self.data[:end]).removesuffix(b"\r")
        del self.data[:end + 1]
        return line


def shown(line: bytes, password: str) -> str:
    """Words of the host, for the log; some say again what they were told.  ``password``: that is on its way,
    "" for none."""
    if password and password.encode() in line:
        return "words with the password in them"
    return log.quoted(line, MAX_SHOWN)
