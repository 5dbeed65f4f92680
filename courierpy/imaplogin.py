"""imaplogin: the few commands before the login; then it becomes the user and starts imapd.

``imaplogin [auth modules...] program [arguments...]``.  The whole stage has 60
seconds.  What the client sent behind LOGIN goes on to the program; what it sent
ahead of a TLS handshake is dropped unread.  Who may try how often, and when a refusal
is answered, is login.gate's affair; whether an account can be served, login.start's.
"""
from __future__ import annotations

import os
import signal
import time
from base64 import b64decode, b64encode

from courierpy.auth import (
    Account,
    Rejected,
    Request,
    TemporaryFailure,
    Unservable,
    check,
    configured,
    with_domain,
)
from courierpy.imap import capability, ident
from courierpy.imap.grammar import lines
from courierpy.imap.grammar.args import ERROR, Args, tag_of
from courierpy.imap.grammar.framer import Frame, Framer, LiteralAhead, TooLong
from courierpy.login import gate, start
from courierpy.model.replies import Bad, Bye, No
from courierpy.system import about, log, proc
from courierpy.system.conn import Conn, Gone, TimedOut
from courierpy.system.settings import from_environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from courierpy.auth import sasl

    class Start(Protocol):
        def __call__(self, argv: list[str], environ: Mapping[str, str],
                     conn: Conn | None = None) -> int: ...

STAGE = 60.0                   # seconds for everything before the login
FAILURE_DELAY = gate.FIRST     # seconds until a refusal is answered, where IMAP_LOGIN_DELAY does not say
MAX_ERRORS = 10
MAX_LINE = 8192                # octets of a command without its literals
MAX_ID_LINE = 65536            # RFC 2971 3.3: 30 pairs of 30 and 1024 octets, any of which may be escaped
# literals of a command and octets of each
LITERALS = {b"ID": (2 * ident.MAX_PAIRS, ident.MAX_VALUE)}
OTHER_LITERALS = (4, 4096)
TEMPORARY = Bye("Temporary problem, please try again later", b"UNAVAILABLE", 1)
USAGE = """
Usage: imaplogin [MODULE...] PROGRAM [ARGUMENT...]

The IMAP commands before the login, on standard input and output; couriertcpd starts
it.  After the login it becomes the user and starts PROGRAM.  MODULEs, words that
begin with auth, check passwords in this order; without any AUTHMODULES names them.

  -h, --help      tell this
  -V, --version   tell the version

"courierpy serve" starts all of it as the settings say.
"""
GREETING = "Courier-IMAP ready. See the documentation of courierpy for distribution information."


def run() -> None:
    """The ``imaplogin`` command."""
    import sys
    sys.exit(main(["imaplogin", *sys.argv[1:]], os.environ))


def main(argv: list[str], environ: Mapping[str, str], conn: Conn | None = None,
         go_on: Start | None = None) -> int:
    """Gives the exit status.  ``go_on``: the main of the program, which then runs in this process."""
    if conn is None:
        status = about.told(argv, USAGE)
        if status is not None:
            return status
        log.start("imaplogin", environ)
    log.be("imaplogin")
    words = argv[1:]
    modules = []
    while words and words[0].startswith("auth") and "/" not in words[0]:
        modules.append(words.pop(0))
    client = conn if conn is not None else Conn(0, 1)
    if not words:
        why = "imaplogin expects a program to start; imaplogin --help tells how."
        client.write(lines.told(lines.BYE, why))
        client.flush()
        return 1
    try:
        own = environ if isinstance(environ, dict) else dict(environ)
        return Login(modules, words, own, client, go_on).serve()
    finally:
        client.end()


class Login:
    """The dialogue before the login.  ``_check`` and ``_become`` are its two effects on who is served."""

    def __init__(self, modules: list[str], program: list[str], environ: dict[str, str],
                 conn: Conn, go_on: Start | None = None) -> None:
        environ.setdefault("TCPREMOTEIP", "127.0.0.1")
        environ.setdefault("TCPREMOTEPORT", "N/A")
        environ.setdefault("TCPLOCALPORT", "143")
        environ.setdefault("PROTOCOL", "IMAP")
        self.environ = environ
        self.program = program
        self.conn = conn
        self.go_on = go_on
        self.framer = Framer(MAX_LINE, {b"ID": MAX_ID_LINE})
        delay = (from_environ(environ).number("IMAP_LOGIN_DELAY") if "IMAP_LOGIN_DELAY" in environ
                 else FAILURE_DELAY)
        self.gate = gate.Gate(environ, STAGE, delay)
        self.errors = 0
        self.tls = environ.get("IMAP_TLS", "0") not in ("", "0")
        if modules:
            self.modules = modules
        elif environ.get("COURIERPY_AUTHSOCKET"):
            self.modules = ["authdaemon"]
        else:
            self.modules = configured(environ)
        self.peer = self._who(None)

    def _who(self, user: str | None, **more: str) -> str:
        return log.who(self.environ["TCPREMOTEIP"], self.environ["TCPREMOTEPORT"], user, **more)

    # -- the loop

    def serve(self) -> int:
        log.about(self.peer)
        log.debug(f"Connection, {self.peer}")
        proc.on_signal(self._on_signal)
        self.conn.deadline = self.gate.end
        try:
            told = b"CAPABILITY " + self._capabilities()
            self.conn.write(lines.told(lines.OK, GREETING, told))
            while True:
                account = self._command(self._frame())
                if account is not None:
                    return self._start(account)
        except Bye as bye:
            return self._goodbye(bye)
        except _Logout:
            self.conn.flush()
            log.info(f"LOGOUT, {self.peer}, rcvd={self.conn.rcvd}, sent={self.conn.sent}")
            return 0
        except (Gone, TimedOut):
            seconds = int(time.monotonic() - self.gate.started)
            tail = ", starttls=1" if self.tls else ""
            log.debug(f"Disconnected, {self.peer}, time={seconds}{tail}")
            return 0

    def _on_signal(self, number: int, frame: object) -> None:
        if number == signal.SIGUSR1:
            raise Bye("Too many connections that have not logged in.", b"UNAVAILABLE")
        raise Bye("Courier-IMAP server shut down by signal.")

    def _goodbye(self, bye: Bye) -> int:
        self.conn.say_last(lines.told(lines.BYE, bye.text, bye.code))
        return bye.status

    def _read(self) -> None:
        data = self.conn.read(None)            # until the end of the stage
        if not data:
            raise Gone
        self.framer.feed(data)

    def _frame(self) -> Frame:
        while True:
            event = self.framer.next()
            if isinstance(event, Frame):
                return event
            if isinstance(event, LiteralAhead):
                self._literal(event)
            elif isinstance(event, TooLong):
                self._error(tag_of(event.text), Bad("Command line too long."))
            else:
                self._read()

    def _literal(self, ahead: LiteralAhead) -> None:
        """Take or refuse a literal before its bytes come."""
        words = ahead.text.split(None, 2)
        count, octets = LITERALS.get(words[1].upper() if len(words) > 1 else b"", OTHER_LITERALS)
        if ahead.size > octets or len(ahead.frame.literals) >= count:
            self.framer.refuse()
            self._error(tag_of(ahead.text), Bad("Literal too long.", b"TOOBIG"))
            return
        self.framer.accept()
        if ahead.sync:
            self.conn.write(lines.go_on())

    def _line(self) -> bytes:
        """A line of a SASL exchange."""
        while True:
            line = self.framer.line()
            if isinstance(line, TooLong):
                raise Bye("Line too long.")
            if line is not None:
                return line
            self._read()

    def _command(self, frame: Frame) -> Account | None:
        tag = tag_of(frame.lines[0])
        try:
            args = Args(frame)
            tag = args.tag
            handler = COMMANDS.get(args.command)
            if handler is None:
                raise Bad(ERROR)
            done = handler(self, args)
            self.errors = 0
            if isinstance(done, Account):
                self.environ["IMAPLOGINTAG"] = tag.decode("ascii", "replace")
                return done
            self.conn.write(lines.status(tag, lines.OK, done))
            if args.command == b"LOGOUT":
                raise _Logout
            if args.command == b"STARTTLS":
                self._handshake()
        except Bad as error:
            self._error(tag, error)
        except No as error:
            self.conn.write(lines.status(tag, lines.NO, error.text, error.code))
        return None

    def _error(self, tag: bytes, error: Bad) -> None:
        self.errors += 1
        if self.errors >= MAX_ERRORS:
            log.err(f"TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS, {self.peer}")
            raise Bye("Fatal error: TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS: ", b"ALERT", 1)
        self.conn.write(lines.status(tag, lines.BAD, error.text, error.code))

    # -- commands

    def _capabilities(self) -> bytes:
        return capability.line(from_environ(self.environ), "login", self.tls)

    def capability(self, args: Args) -> str:
        args.end()
        self.conn.write(lines.data(b"CAPABILITY", self._capabilities()))
        return "CAPABILITY completed"

    def noop(self, args: Args) -> str:
        args.end()
        return "NOOP completed"

    def logout(self, args: Args) -> str:
        args.end()
        self.conn.write(lines.told(lines.BYE, "Courier-IMAP server shutting down"))
        return "LOGOUT completed"

    def ident(self, args: Args) -> str:
        pairs = ident.pairs(args)
        if pairs:
            log.info(f"ID, {self.peer}, {ident.told(pairs)}")
        self.conn.write(ident.reply(from_environ(self.environ)))
        return "ID completed"

    def starttls(self, args: Args) -> str:
        args.end()
        if not capability.starttls_offered(from_environ(self.environ), self.tls):
            raise Bad(ERROR)
        return "Begin SSL/TLS negotiation now."

    def _handshake(self) -> None:
        """Octets that came before it are dropped; a failure ends the connection."""
        from courierpy.system import tls
        self.framer.rest()
        try:
            context = tls.server_context(from_environ(self.environ), self.environ.get("TCPLOCALIP", ""))
            self.environ.update(tls.handshake(self.conn, context, max(1.0, self.gate.left())))
        except tls.TlsError as error:
            log.err(f"STARTTLS failed, {self.peer}: {error}")
            raise Gone from None
        self.tls = True

    def _need_secure(self) -> None:
        settings = from_environ(self.environ)
        if settings.flag("IMAP_TLS_REQUIRED") and capability.starttls_offered(settings, self.tls):
            raise No("STARTTLS required", b"PRIVACYREQUIRED")

    @property
    def service(self) -> str:
        return self.environ.get(f"AUTHSERVICE{self.environ['TCPLOCALPORT']}") or "imap"

    def _check(self, request: Request) -> Account:
        if self.modules == ["authdaemon"]:             # it has its own deadlines
            return check(self.modules, request)
        from courierpy.auth import apart
        return apart.check(self.modules, request, self.gate.left())

    def login(self, args: Args) -> Account:
        args.sp()
        user = args.astring()
        args.sp()
        password = args.astring()
        args.end()
        self._need_secure()
        return self._admitted(lambda context: context.login(user, password))

    def authenticate(self, args: Args) -> Account:
        from courierpy.auth import sasl
        args.sp()
        name = args.word()
        initial: bytes | None = None
        if args.maybe_sp():
            text = args.rest_text()
            initial = b"" if text == b"=" else _base64(text)
        else:
            args.end()
        self._need_secure()
        mechanism = sasl.MECHANISMS.get(name)
        if mechanism is None or (name == b"EXTERNAL" and not self.tls):
            raise No("Unsupported authentication mechanism.", b"CANNOT")
        return self._admitted(lambda context: self._exchange(mechanism(context, initial)),
                              method=name.decode())

    def _exchange(self, exchange: sasl.Exchange) -> Account:
        """Challenges and responses, until the mechanism decides."""
        try:
            challenge = next(exchange)
            while True:
                self.conn.write(lines.go_on(b64encode(challenge)))
                line = self._line()
                if line.startswith(b"*"):
                    raise Rejected
                challenge = exchange.send(_base64(line))
        except StopIteration as done:
            account: Account = done.value
            return account

    def _admitted(self, ask: Callable[[sasl.Context], Account], **more: str) -> Account:
        """The account that ``ask`` finds, if it can be served; else No or Bye, when that is due.

        ``more``: what the log says besides the user and the client.
        """
        from courierpy.auth import sasl
        began = time.monotonic()
        identity = from_environ(self.environ).external_identity() if self.tls else ""
        context = sasl.Context(self._check, self.service, self.environ, identity)
        why = None
        try:
            account = ask(context)
            self._look(account)
            return account
        except TemporaryFailure as error:
            log.err(f"authentication error: {error}, {self._who(context.user, **more)}")
            raise TEMPORARY from None
        except Unservable as error:
            why = error
        except Rejected:
            pass
        raise self._failed(began, context.user, self._who(context.user, **more), why)

    def _look(self, account: Account) -> None:
        """Raises Unservable, or TemporaryFailure, where a session of the account could not begin."""
        settings = from_environ(self.environ)
        program, *arguments = self.program
        maildir = start.maildir_of(account, arguments, self.environ) if proc.is_ours(program) else ""
        start.look(account, maildir, settings.text("AUTH_MKHOMEDIR_SKEL"), settings.checks_owner)

    def _failed(self, began: float, user: str | None, who: str, why: Unservable | None) -> No | Bye:
        """Every refusal comes at the same time after the question, whatever its reason."""
        if why is not None:
            log.err(f"the account cannot be served: {why}, {who}")
        log.info(f"LOGIN FAILED, {who}")
        self.conn.flush()
        if self.gate.refuse(began, with_domain(user, self.environ) if user else ""):
            return No("Login failed.", b"AUTHENTICATIONFAILED")
        return Bye("Too many failed logins.")

    # -- after the login

    def _become(self, account: Account) -> None:
        start.enter(account)

    def _start(self, account: Account) -> int:
        environ = self.environ
        program, *arguments = self.program
        maildir = start.maildir_of(account, arguments, environ)
        if maildir:
            arguments = [maildir, *arguments[1:]]
        try:
            self._become(account)
        except TemporaryFailure as error:
            log.err(f"{error}, {self._who(account.address)}")
            return self._goodbye(TEMPORARY)
        start.hand_over(account, maildir, environ)
        self.conn.pending = self.framer.rest()
        self.conn.deadline = None
        if self.go_on is not None:
            self.conn.rcvd = self.conn.sent = 0
            return self.go_on([program, *arguments], environ, self.conn)
        try:
            proc.execute(program, arguments, environ, self.conn)
        except proc.ProcError as error:
            log.err(str(error))
        return self._goodbye(TEMPORARY)


class _Logout(Exception):
    """The client said LOGOUT."""


COMMANDS: dict[bytes, Callable[[Login, Args], str | Account]] = {
    b"CAPABILITY": Login.capability, b"NOOP": Login.noop, b"LOGOUT": Login.logout,
    b"ID": Login.ident, b"STARTTLS": Login.starttls, b"LOGIN": Login.login,
    b"AUTHENTICATE": Login.authenticate}


def _base64(text: bytes) -> bytes:
    try:
        return b64decode(text.strip(), validate=True)
    except ValueError:
        raise Bad("Invalid base64.") from None


if __name__ == "__main__":
    run()
