"""One connection before the login, whatever the protocol: its bounds, its TLS, who may come in.

A protocol's dialogue asks; the stage decides, writes the log, and at the end says which program
goes on.  Nothing is said to the client here.
"""
from __future__ import annotations

import sys
import time

from courierpy.auth import (
    Account,
    Rejected,
    Request,
    TemporaryFailure,
    Unservable,
    check,
    configured,
    sasl,
    with_domain,
)
from courierpy.login import gate, start
from courierpy.system import log, programs
from courierpy.system.conn import Gone
from courierpy.system.settings import from_environ
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.system.conn import Conn

SECONDS = 60.0                 # for everything before the login
FAILURE_DELAY = gate.FIRST     # seconds until a refusal is answered, where IMAP_LOGIN_DELAY does not say


class Refused(Exception):
    """Nobody comes in; the moment to say so is now.  ``again``: the client may try again."""

    def __init__(self, again: bool) -> None:
        self.again = again


class Stage:
    """``program``: the next one with its arguments.  ``environ``: what it will get, and what the login
    was told.  ``peer``: the client, for the log.  ``tls``: is the connection encrypted?"""

    def __init__(self, protocol: str, port: str, modules: list[str], program: list[str],
                 environ: dict[str, str], conn: Conn) -> None:
        """``protocol``, ``port``: of the service, where the environment does not say."""
        environ.setdefault("TCPREMOTEIP", "127.0.0.1")
        environ.setdefault("TCPREMOTEPORT", "N/A")
        environ.setdefault("TCPLOCALPORT", port)
        environ.setdefault("PROTOCOL", protocol)
        self.environ = environ
        self.program = program
        self.conn = conn
        delay = (from_environ(environ).number("IMAP_LOGIN_DELAY") if "IMAP_LOGIN_DELAY" in environ
                 else FAILURE_DELAY)
        self.gate = gate.Gate(environ, SECONDS, delay)
        conn.deadline = self.gate.end
        self.tls = environ.get("IMAP_TLS", "0") not in ("", "0")
        if modules:
            self.modules = modules
        elif environ.get("COURIERPY_AUTHSOCKET"):
            self.modules = ["authdaemon"]
        else:
            self.modules = configured(environ)
        self.peer = self.who(None)
        log.about(self.peer)
        log.debug(f"Connection, {self.peer}")

    def who(self, user: str | None, **more: str) -> str:
        return log.who(self.environ["TCPREMOTEIP"], self.environ["TCPREMOTEPORT"], user, **more)

    def disconnected(self) -> None:
        """The client is gone, or its time is over: the line for the log."""
        tail = ", starttls=1" if self.tls else ""
        log.debug(f"Disconnected, {self.peer}, time={int(time.monotonic() - self.gate.started)}{tail}")

    def secure(self) -> None:
        """From here on by TLS; what came in clear before is forgotten.  A failure ends it: Gone."""
        from courierpy.system import tls
        try:
            offered = tls.certificates(from_environ(self.environ))
            self.environ.update(tls.handshake(self.conn, offered, self.environ.get("TCPLOCALIP", ""),
                                              max(1.0, self.gate.left())))
        except tls.TlsError as error:
            log.err(f"STARTTLS failed, {self.peer}: {error}")
            raise Gone from None
        self.tls = True

    # -- who may come in

    def admitted(self, service: str, ask: Callable[[sasl.Context], Account], **more: str) -> Account:
        """The account that ``ask`` finds, if it can be served.  Raises Refused when that is due, and
        TemporaryFailure.

        ``service``: as the modules know it, where AUTHSERVICE* does not say.  ``more``: what the log
        says besides the user and the client.
        """
        began = time.monotonic()
        environ = self.environ
        service = environ.get(f"AUTHSERVICE{environ['TCPLOCALPORT']}") or service
        identity = from_environ(environ).external_identity() if self.tls else ""
        context = sasl.Context(self._check, service, environ, identity)
        why = None
        try:
            account = ask(context)
            self._look(account)
            return account
        except TemporaryFailure as error:
            log.err(f"authentication error: {error}, {self.who(context.user, **more)}")
            raise
        except Unservable as error:
            why = error
        except Rejected:
            pass
        raise self._refused(began, context.user, self.who(context.user, **more), why)

    def _check(self, request: Request) -> Account:
        if self.modules == ["authdaemon"]:             # it has its own deadlines
            return check(self.modules, request)
        from courierpy.auth import apart
        return apart.check(self.modules, request, self.gate.left())

    def _look(self, account: Account) -> None:
        """Raises Unservable, or TemporaryFailure, where a session of the account could not begin."""
        settings = from_environ(self.environ)
        maildir = self._maildir(account) if programs.find(self.program[0]) is not None else ""
        start.look(account, maildir, settings.text("AUTH_MKHOMEDIR_SKEL"), settings.checks_owner)

    def _maildir(self, account: Account) -> str:
        return start.maildir_of(account, self.program[1:], self.environ)

    def _refused(self, began: float, user: str | None, who: str, why: Unservable | None) -> Refused:
        """Every refusal comes at the same time after the question, whatever its reason."""
        if why is not None:
            log.err(f"the account cannot be served: {why}, {who}")
        log.info(f"LOGIN FAILED, {who}")
        self.conn.flush()
        return Refused(self.gate.refuse(began, with_domain(user, self.environ) if user else ""))

    # -- after the login

    def _become(self, account: Account) -> None:
        start.enter(account)

    def _forget_keys(self) -> None:
        """The keys of the certificates are of no use to a session, unless it speaks TLS itself."""
        if self.conn.plain and "courierpy.system.tls" in sys.modules:
            from courierpy.system import tls
            tls.forget()

    def goes_on(self, account: Account, rest: bytes, last_words: bytes) -> programs.Next:
        """Become the account; what goes on with the client.  Raises TemporaryFailure.

        ``rest``: what the client has said behind its login.  ``last_words``: what it reads where no
        program can be started.
        """
        name, *arguments = self.program
        maildir = self._maildir(account)
        if maildir:
            arguments = [maildir, *arguments[1:]]
        try:
            self._become(account)
        except TemporaryFailure as error:
            log.err(f"{error}, {self.who(account.address)}")
            raise
        start.hand_over(account, maildir, self.environ)
        wipe(account.passwd, account.passwd2)
        account.passwd = account.passwd2 = ""
        self._forget_keys()
        self.conn.pending = rest
        self.conn.deadline = None
        return programs.Next([name, *arguments], self.environ, self.conn, last_words)
