"""What couriertcpd finds out of accounts whose mail is at another host, for its login processes."""
from __future__ import annotations

from functools import partial

from courierpy.auth import Account, Rejected, TemporaryFailure, Unservable
from courierpy.auth.protocol import parse_reply
from courierpy.listener.beside import NUMBER
from courierpy.login import connecting, onward, start, welcome
from courierpy.model.replies import Bye, No
from courierpy.system import channels, log
from courierpy.system.presence import VARIABLE, Presence
from courierpy.system.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping


def leads_on(protocol: str, settings: Settings) -> bool:
    """Does it matter where the mail of an account is?"""
    return settings.flag(f"{protocol}_PROXY") or settings.flag("IMAP_LOGIN_REFERRALS")


class Forwarding:
    """Where the mail of accounts is, and whether a session of theirs at another host may be.

    ``environ``: of the listener.  An account is as the helper rendered it, variables are of its client.
    ``work``: of the process that connects."""

    def __init__(self, protocol: str, environ: Mapping[str, str]) -> None:
        self._protocol = protocol
        self._environ = environ
        self._settings = settings = Settings(environ)
        self._leads_on = leads_on(protocol, settings)
        self._port = onward.PORTS[protocol][settings.text("PROXY_TLS").lower() == "tls"]
        self.connects = settings.flag(f"{protocol}_PROXY")
        self.work: Callable[[socket.socket], int] = partial(connecting.serve, size=NUMBER.size)

    def hosts(self, account: bytes) -> list[str]:
        """Where its mail is; none where that is here."""
        try:
            return start.elsewhere(_parsed(account), self._settings) if self._leads_on else []
        except (Unservable, Rejected, TemporaryFailure):
            return []

    def question(self, host: str, seconds: float, variables: Mapping[str, str]) -> bytes:
        """To the process that connects."""
        return connecting.question(host, self._port, seconds,
                                   (variables["TCPLOCALIP"], variables["TCPLOCALPORT"]))

    def refusal(self, account: bytes, variables: Mapping[str, str]) -> bytes:
        """What a login process is told of a session that must not be; b"" where it may."""
        user = _parsed(account).address
        try:
            welcome.look(self._settings, self._protocol, user, variables["TCPREMOTEIP"],
                         self._who(user, variables))
        except (Bye, No) as why:
            return _told(why)
        return b""

    def enter(self, account: bytes, variables: Mapping[str, str],
              inode: int) -> tuple[Presence | None, bytes]:
        """The file of a session, None where there is none; and as refusal()."""
        user = _parsed(account).address
        try:
            return welcome.enter(self._settings, {**self._environ, **variables}, self._protocol, user, inode,
                                 0, self._who(user, variables)), b""
        except No as why:
            return None, _told(why)

    def entered(self, name: str) -> Presence:
        """The file of this name, of an earlier image."""
        return Presence.left(self._environ.get(VARIABLE, ""), name)

    @staticmethod
    def _who(user: str, variables: Mapping[str, str]) -> str:
        return log.who(variables["TCPREMOTEIP"], variables["TCPREMOTEPORT"], user)


def _parsed(account: bytes) -> Account:
    """Its octets stay: what is parsed is wiped.  Raises Rejected and TemporaryFailure."""
    return parse_reply(bytes(bytearray(account)))


def _told(why: Bye | No) -> bytes:
    return b"".join((channels.TURNS.pack(isinstance(why, Bye)), why.code or b"", b"\0", why.text.encode()))
