"""POP3's lines: cut from what a client says, and made for it.  RFC 1939 3, RFC 2449 3, 8.  Sans-IO."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LINE = 8192                # octets of a command; RFC 2449 4 wants 255 at least
MAX_SASL_LINE = 65536          # of AUTH and what follows it: access tokens may hold all groups of a user
END = b".\r\n"
INVALID = "Invalid command."
SHUT_DOWN = "The server is shut down."
TOO_MANY = "Too many errors."


class TooLong(Exception):
    """A line was longer than it may be; all of it is skipped."""


class Lines:
    """What a client says, line by line.  Nothing of it stays in memory when it has been taken."""

    __slots__ = ("_data", "_skips")

    def __init__(self) -> None:
        self._data = bytearray()
        self._skips = False            # the rest of a line that was too long

    def feed(self, data: bytes) -> None:
        self._data += data

    def line(self, limit: int = MAX_LINE, auth_limit: int = MAX_LINE) -> bytes | None:
        """The next line without its end; None: it is not whole yet.  ``auth_limit``: octets of one that
        begins with AUTH.  Raises TooLong when the end of such a one has come."""
        data = self._data
        if data[:5].upper() == b"AUTH ":
            limit = max(limit, auth_limit)
        end = data.find(b"\n")
        if end < 0:
            if self._skips or len(data) > limit:
                self._skips = True
                self._drop(len(data))
            return None
        text = bytes(data[:end])
        self._drop(end + 1)
        if self._skips or len(text) > limit:
            self._skips = False
            raise TooLong
        return text[:-1] if text.endswith(b"\r") else text

    def _drop(self, count: int) -> None:
        self._data[:count] = bytes(count)      # it may be a password
        del self._data[:count]

    @property
    def has_more(self) -> bool:
        return bool(self._data)

    def rest(self) -> bytes:
        """All that was not taken, which is somebody else's now."""
        found = bytes(self._data)
        self._drop(len(found))
        return found


def words(line: bytes) -> tuple[bytes, bytes]:
    """(command in upper case, what stands behind the blank after it)."""
    verb, _, rest = line.lstrip(b" ").partition(b" ")
    return verb.upper(), rest


def ok(text: str | bytes = b"") -> bytes:
    text = text.encode() if isinstance(text, str) else text
    return b"+OK %s\r\n" % text if text else b"+OK\r\n"


CODES = {b"CONTACTADMIN": b"SYS/PERM", b"LIMIT": b"IN-USE", b"ALERT": b""}


def err(text: str, code: bytes | None = None) -> bytes:
    """``code``: RFC 2449 8, RFC 3206, or what IMAP has for the same."""
    code = CODES.get(code, code) if code else None
    shown = "".join(char if char.isprintable() else "?" for char in text).encode()
    return b"-ERR [%s] %s\r\n" % (code, shown) if code else b"-ERR %s\r\n" % shown


def several(first: bytes, rows: Iterable[bytes]) -> bytes:
    """A reply of several lines.  ``first``: whole; ``rows``: without their ends."""
    return b"".join([first, *[row + b"\r\n" for row in rows], END])


BUSY = err("The server has too much to do, please try again later.", b"SYS/TEMP")
