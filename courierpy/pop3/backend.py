"""The login at another host whose mail a client wants: what is said there, as a client.  Sans-IO.

RFC 1939, RFC 2449 (CAPA), RFC 2595 4 (STLS), RFC 5034 (AUTH), RFC 6856 (UTF8).  As imap/backend.py.
"""
from __future__ import annotations

from base64 import b64encode

from courierpy.auth import Rejected
from courierpy.model.steps import Accepted, Secure, Unreachable
from courierpy.system.answers import Answers, shown
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.model.steps import Client, Steps

# codes of a refusal that has nothing to do with the password.  RFC 2449 8.1, RFC 3206 4
PASSING = (b"SYS/TEMP", b"SYS/PERM", b"IN-USE", b"LOGIN-DELAY")


class Backend:
    """One connection to a host.  ``tls``: as in imap/backend.py; ``utf8``: the client has said UTF8.
    ``sent``: the password is on its way."""

    def __init__(self, user: str, password: str, tls: str, utf8: bool, server: Client) -> None:
        self.sent = False
        self._user = user
        self._password = password
        self._tls = tls
        self._utf8 = utf8
        self._server = server
        self._heard = Answers()
        self._can: dict[bytes, bytes] = {}

    def steps(self) -> Steps[Accepted]:
        """From the greeting on.  Raises Unreachable, and Rejected where the password is wrong there."""
        greeting = yield from self._line()
        if not _good(greeting):
            raise Unreachable(f"it greets with {self._shown(greeting)}", _code(greeting))
        yield from self._ask()
        yield from self._secured()
        if self._utf8 and not _good((yield from self._command(b"UTF8"))):
            raise Unreachable("it knows no UTF8, which its client has said", b"SYS/PERM")
        if b"PLAIN" in self._can.get(b"SASL", b"").upper().split():
            answer = yield from self._by_plain()
        else:
            answer = yield from self._by_password()
        if not _good(answer):
            code = _code(answer)
            if code or not answer.upper().startswith(b"-ERR"):
                raise Unreachable(f"it says {self._shown(answer)}", code)
            raise Rejected(f"it says {self._shown(answer)}")
        return Accepted(bytes(self._heard.data))

    def _line(self) -> Steps[bytes]:
        while (end := self._heard.data.find(b"\n")) < 0:
            yield from self._heard.more()
        return self._heard.take(end)

    def _shown(self, line: bytes) -> str:
        return shown(line, self._password if self.sent else "")

    def _command(self, line: bytes) -> Steps[bytes]:
        self._server.write(line + b"\r\n")
        return (yield from self._line())

    def _ask(self) -> Steps[None]:
        """What it can; nothing, where it does not know CAPA."""
        self._can = {}
        if not _good((yield from self._command(b"CAPA"))):
            return
        while (line := (yield from self._line())) != b".":
            name, _, rest = line.partition(b" ")
            self._can[name.upper()] = rest

    def _secured(self) -> Steps[None]:
        """STLS where it is due."""
        if self._tls in ("no", "tls"):
            return
        if b"STLS" not in self._can:
            if self._tls != "may":
                raise Unreachable("it offers no STLS")
            return
        answer = yield from self._command(b"STLS")
        if not _good(answer):
            raise Unreachable(f"STLS: it says {self._shown(answer)}", _code(answer))
        if self._heard.data:
            raise Unreachable("it says something ahead of TLS")
        yield Secure()
        yield from self._ask()

    def _by_plain(self) -> Steps[bytes]:
        """In two lines: the first one may have 255 octets only (RFC 5034 4)."""
        password = self._password.encode()
        clear = b"\0%s\0%s" % (self._user.encode("utf-8", "surrogateescape"), password)
        coded = b64encode(clear)
        try:
            answer = yield from self._command(b"AUTH PLAIN")
            if answer.startswith(b"+") and not _good(answer):
                self.sent = True
                answer = yield from self._command(coded)
                if answer.startswith(b"+") and not _good(answer):
                    answer = yield from self._command(b"*")
            return answer
        finally:
            wipe(password, clear, coded)

    def _by_password(self) -> Steps[bytes]:
        answer = yield from self._command(b"USER " + self._user.encode("utf-8", "surrogateescape"))
        if not _good(answer):
            return answer
        password = self._password.encode()
        self.sent = True
        try:
            return (yield from self._command(b"PASS " + password))
        finally:
            wipe(password)


def _good(line: bytes) -> bool:
    return line[:3].upper() == b"+OK"


def _code(line: bytes) -> bytes:
    """The response code, if it tells that the password is not what is wrong."""
    _, bracket, rest = line.partition(b"[")
    code = rest.partition(b"]")[0].upper()
    return code if bracket and code in PASSING else b""
