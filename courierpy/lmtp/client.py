"""What the client says: lines, and octets that are none.

Nothing is waited for longer than LMTP_TIMEOUT, and nothing when we are told to end; whatever else ends a
dialogue in the middle is an exception here, too.
"""
from __future__ import annotations

from courierpy.lmtp import grammar
from courierpy.lmtp.grammar import Reply
from courierpy.system import proc
from courierpy.system.conn import Gone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.system.conn import Conn

STRANGER_LINE = 2048               # octets of a line of who may not deliver
ENDS = Reply(421, "4.3.2", "The server is shutting down")


class Over(Exception):
    """Nothing more is said but ``reply``."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class Client:
    """The client of an LMTP session, as it is read and written to.

    ``conn``: to it.  ``timeout``: seconds that it may be silent.  ``most``: octets of its lines."""

    def __init__(self, conn: Conn, timeout: float) -> None:
        self.conn = conn
        self.timeout = timeout
        self.most = STRANGER_LINE
        self._data = b""               # what it has said and nobody has read
        self._stopping = False
        self._waiting = False
        proc.on_signal(self._told)

    def _told(self, number: int, frame: object) -> None:
        """What is being delivered is delivered first."""
        self._stopping = True
        if self._waiting:
            self._waiting = False
            raise Over(ENDS)

    def _more(self) -> None:
        """Raises Gone, TimedOut, Over."""
        self._waiting = True           # first, so that no signal comes between the look and the wait
        if self._stopping:
            raise Over(ENDS)
        data = self.conn.read(self.timeout)
        self._waiting = False
        if not data:
            raise Gone
        self._data += data

    def line(self) -> bytes:
        """Up to CR LF, without it.  Raises Reply for what is no line, which is gone then."""
        looked, too_long = 0, False
        while (end := self._data.find(b"\n", looked)) < 0:
            looked = len(self._data)
            if looked > self.most:
                too_long, looked, self._data = True, 0, b""
            self._more()
        line = self.octets(end + 1)
        if too_long or len(line) > self.most + 2:
            raise Reply(500, "5.5.2", "The line is too long")
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            raise Reply(500, "5.5.2", "A line ends in CR LF, and has no other CR, LF or NUL")
        return line[:-2]

    def octets(self, most: int) -> bytes:
        """At most so many, at least one."""
        if not self._data:
            self._more()
        data, self._data = self._data[:most], self._data[most:]
        return data

    def all(self) -> bytes:
        """What is there, at least one octet."""
        if not self._data:
            self._more()
        data, self._data = self._data, b""
        return data

    def give_back(self, data: bytes) -> None:
        """It is read again, first."""
        self._data = data + self._data

    def trusted(self) -> None:
        """The client may deliver: longer lines are taken, and no deadline counts."""
        self.most = grammar.MAX_LINE
        self.conn.deadline = None
