"""AUTH, of who comes over the network: RFC 4954, for the accounts of LMTP_ADMINS."""
from __future__ import annotations

import time
from base64 import b64decode, b64encode

from courierpy.auth import DELIVERY, Rejected, Request, TemporaryFailure, gate, mechanisms, tries
from courierpy.auth.exchange import is_trial
from courierpy.auth.sasl import Context
from courierpy.lmtp.client import Over
from courierpy.lmtp.grammar import Reply
from courierpy.model import measures
from courierpy.system import log, metrics
from courierpy.system.conn import Gone, TimedOut
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.auth import Account
    from courierpy.auth.postal import Accounts
    from courierpy.auth.sasl import Exchange
    from courierpy.lmtp.client import Client
    from courierpy.lmtp.peer import Peer
    from courierpy.system.settings import Settings

PROTOCOL = "LMTP"                  # as counts have it
MOST = 3                           # that fail


class Logins:
    """Of one client."""

    def __init__(self, client: Client, settings: Settings, accounts: Accounts) -> None:
        self._client = client
        self._settings = settings
        self._accounts = accounts
        self._table = tries.inherited(settings.values)
        self._failures = 0

    def mechanisms(self, trusted: bool) -> list[bytes]:
        """That may be used now; none for who may deliver anyway, or where nobody is named who may."""
        if trusted or not self._settings.text("LMTP_ADMINS"):
            return []
        words = self._settings.text("LMTP_AUTH").upper().encode().split()
        return [name for name in words if name in mechanisms.TABLE
                and mechanisms.usable(name, self._settings, self._settings.flag("IMAP_TLS"))]

    def login(self, rest: bytes, peer: Peer, trusted: bool) -> str:
        """Who it is.  ``rest``: what stands behind AUTH.  Raises Reply and Over."""
        word, _, text = rest.partition(b" ")
        name = word.upper()
        told = self.mechanisms(trusted)
        mechanism = mechanisms.find(name) if name in told else None
        if mechanism is None:
            raise Reply(504, "5.5.4", "There is no such mechanism here")
        context = Context(DELIVERY, self._settings.values)
        context.told = told
        initial = None if not text else b"" if text == b"=" else _base64(text)
        result, began = "failed", time.monotonic()
        try:
            account = self._exchange(mechanism(context, initial))
            if account.address not in self._settings.text("LMTP_ADMINS").split():
                log.notice(f"{log.quoted(account.address)} is none of LMTP_ADMINS, {peer.who}")
                raise Rejected
            result = "ok"
        except Rejected:
            raise self._rejected(context, peer, began) from None
        except TemporaryFailure as error:
            result = "temporary"
            log.err(f"authentication error: {error}, {peer.who}")
            raise Reply(454, "4.7.0", "Nobody can tell now, try again later") from None
        finally:
            wipe(initial)
            metrics.count(measures.LOGINS, PROTOCOL, name.decode(), result)
        return account.address

    def _exchange(self, exchange: Exchange) -> Account:
        """Raises Rejected for a client that was refused, however it ends the exchange, as in
        auth/exchange.py."""
        refused = False
        said: list[bytes] = []
        answer: object = None
        try:
            while True:
                step = exchange.throw(answer) if isinstance(answer, Exception) else exchange.send(answer)
                if isinstance(step, Request):
                    try:
                        answer = self._accounts.ask(step)
                    except (Rejected, TemporaryFailure) as error:
                        refused = isinstance(error, Rejected) and is_trial(step)
                        answer = error
                    continue
                try:
                    said.append(self._respond(step))
                except (Reply, Gone, TimedOut):
                    if refused:
                        raise Rejected from None
                    raise
                answer = said[-1]
        except StopIteration as done:
            found: Account = done.value
            return found
        finally:
            wipe(*said)

    def _respond(self, challenge: bytes) -> bytes:
        self._client.conn.write(b"334 " + b64encode(challenge) + b"\r\n")
        line = self._client.line()
        if line == b"*":
            raise Reply(501, "5.7.0", "As you wish")
        return _base64(line)

    def _rejected(self, context: Context, peer: Peer, began: float) -> Reply:
        """What it hears, as late as a client of IMAP would.  Raises Over."""
        self._failures += 1
        user = context.user or ""
        log.info(f"LOGIN FAILED, user={log.quoted(user)}, {peer.who}")
        first = self._settings.number("IMAP_LOGIN_DELAY")
        time.sleep(max(0.0, gate.due(self._table, began, first, peer.address, user) - time.monotonic()))
        if self._failures >= MOST:
            raise Over(Reply(421, "4.7.0", "Too many failed logins"))
        return Reply(535, "5.7.8", "The user or the password is wrong")


def _base64(text: bytes) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise Reply(501, "5.5.2", "That is not base64") from None
