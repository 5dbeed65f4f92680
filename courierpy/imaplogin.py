"""imaplogin: the few commands before the login; then it becomes the user and starts imapd.

``imaplogin [auth modules...] program [arguments...]``.  The whole stage has 60
seconds.  What the client sent behind LOGIN goes on to the program; what it sent
ahead of a TLS handshake is dropped unread.
"""
from __future__ import annotations

import os
import signal
import time
from base64 import b64decode, b64encode

from courierpy.auth import Account, Rejected, Request, TemporaryFailure, check, with_domain
from courierpy.imap import capability
from courierpy.imap.grammar.args import ERROR, Args
from courierpy.imap.grammar.framer import Frame, Framer, LiteralAhead, TooLong
from courierpy.model.replies import Bad, Bye, No
from courierpy.system import about, desk, log, proc
from courierpy.system.conn import Conn, Gone, TimedOut
from courierpy.system.settings import from_environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    class Start(Protocol):
        def __call__(self, argv: list[str], environ: Mapping[str, str],
                     conn: Conn | None = None) -> int: ...

STAGE = 60.0                   # seconds for everything before the login
FAILURE_DELAY = 5.0
MAX_FAILURES = 10
MAX_ERRORS = 10
MAX_LINE = 8192
MAX_LITERAL = 4096
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
    words = argv[1:]
    modules = []
    while words and words[0].startswith("auth") and "/" not in words[0]:
        modules.append(words.pop(0))
    client = conn if conn is not None else Conn(0, 1)
    if not words:
        client.write(b"* BYE imaplogin expects a program to start; imaplogin --help tells how.\r\n")
        client.flush()
        return 1
    try:
        own = environ if isinstance(environ, dict) else dict(environ)
        return Login(modules, words, own, client, go_on).serve()
    finally:
        client.end()


class Login:
    """The stage before the login.  ``_check`` and ``_become`` are its two effects on who is served."""

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
        self.framer = Framer(MAX_LINE)
        self.started = time.monotonic()
        self.end = self.started + STAGE
        self.failures = 0
        self.errors = 0
        self.tls = environ.get("IMAP_TLS", "0") not in ("", "0")
        self.secured_here = False
        if modules:
            self.modules = modules
        elif environ.get("COURIERPY_AUTHSOCKET"):
            self.modules = ["authdaemon"]
        else:
            self.modules = from_environ(environ).text("AUTHMODULES").split()

    @property
    def peer(self) -> str:
        return f"ip=[{self.environ['TCPREMOTEIP']}], port=[{self.environ['TCPREMOTEPORT']}]"

    # -- the loop

    def serve(self) -> int:
        log.debug(f"Connection, {self.peer}")
        proc.on_signal(self._on_signal)
        try:
            self.conn.write(b"* OK [CAPABILITY %s] %s\r\n" % (self._capabilities(), GREETING.encode()))
            while True:
                frame = self._frame()
                account = self._command(frame)
                if account is not None:
                    return self._start(account)
        except Bye as bye:
            return self._goodbye(bye)
        except _Logout:
            self.conn.flush()
            log.info(f"LOGOUT, {self.peer}, rcvd={self.conn.rcvd}, sent={self.conn.sent}")
            return 0
        except (Gone, TimedOut):
            seconds = int(time.monotonic() - self.started)
            tail = ", starttls=1" if self.tls else ""
            log.debug(f"Disconnected, {self.peer}, time={seconds}{tail}")
            return 0

    def _on_signal(self, number: int, frame: object) -> None:
        if number == signal.SIGUSR1:
            raise Bye("Too many connections that have not logged in.", b"UNAVAILABLE")
        raise Bye("Courier-IMAP server shut down by signal.")

    def _goodbye(self, bye: Bye) -> int:
        code = b"[%s] " % bye.code if bye.code else b""
        try:
            self.conn.write(b"* BYE %s%s\r\n" % (code, bye.text.encode("ascii", "replace")))
            self.conn.flush()
        except (Gone, TimedOut):
            pass
        return bye.status

    def _read(self) -> None:
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimedOut
        data = self.conn.read(left)
        if not data:
            raise Gone
        self.framer.feed(data)

    def _frame(self) -> Frame:
        while True:
            event = self.framer.next()
            if isinstance(event, Frame):
                return event
            if isinstance(event, LiteralAhead):
                if event.size > MAX_LITERAL or len(event.frame.literals) >= 4:
                    self.framer.refuse()
                    self._error(event.text.split(None, 1)[0] if event.text.strip() else b"*",
                                Bad("Literal too long.", b"TOOBIG"))
                    continue
                self.framer.accept()
                if event.sync:
                    self.conn.write(b"+ OK\r\n")
            elif isinstance(event, TooLong):
                self._error(b"*", Bad("Command line too long."))
            else:
                self._read()

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
        tag = b"*"
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
            self.conn.write(b"%s OK %s\r\n" % (tag, done.encode()))
            if args.command == b"LOGOUT":
                raise _Logout
            if args.command == b"STARTTLS":
                self._handshake()
        except Bad as error:
            self._error(tag, error)
        except No as error:
            code = b"[%s] " % error.code if error.code else b""
            self.conn.write(b"%s NO %s%s\r\n" % (tag, code, error.text.encode("ascii", "replace")))
        return None

    def _error(self, tag: bytes, error: Bad) -> None:
        self.errors += 1
        if self.errors >= MAX_ERRORS:
            log.err(f"{self.peer}: TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS")
            raise Bye("Fatal error: TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS: ", b"ALERT", 1)
        code = b"[%s] " % error.code if error.code else b""
        self.conn.write(b"%s BAD %s%s\r\n" % (tag, code, error.text.encode("ascii", "replace")))

    # -- commands

    def _capabilities(self) -> bytes:
        return capability.line(from_environ(self.environ), "login", self.tls)

    def capability(self, args: Args) -> str:
        args.end()
        self.conn.write(b"* CAPABILITY %s\r\n" % self._capabilities())
        return "CAPABILITY completed"

    def noop(self, args: Args) -> str:
        args.end()
        return "NOOP completed"

    def logout(self, args: Args) -> str:
        args.end()
        self.conn.write(b"* BYE Courier-IMAP server shutting down\r\n")
        return "LOGOUT completed"

    def ident(self, args: Args) -> str:
        args.sp()
        if args.at(b"("):
            args.open()
            while not args.at(b")"):
                args.string()
                args.sp()
                args.nstring()
                args.maybe_sp()
            args.close()
        elif args.word() != b"NIL":
            raise Bad(ERROR)
        args.end()
        self.conn.write(b'* ID ("name" "courierpy")\r\n')
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
            self.environ.update(tls.handshake(self.conn, context, max(1.0, self.end - time.monotonic())))
        except tls.TlsError as error:
            log.err(f"STARTTLS failed, {self.peer}: {error}")
            raise Gone from None
        self.tls = self.secured_here = True

    def _need_secure(self) -> None:
        settings = from_environ(self.environ)
        if settings.flag("IMAP_TLS_REQUIRED") and capability.starttls_offered(settings, self.tls):
            raise No("STARTTLS required", b"PRIVACYREQUIRED")

    @property
    def service(self) -> str:
        return self.environ.get(f"AUTHSERVICE{self.environ['TCPLOCALPORT']}") or "imap"

    def _check(self, request: Request) -> Account:
        return check(self.modules, request)

    def login(self, args: Args) -> Account:
        args.sp()
        user = args.astring()
        args.sp()
        password = args.astring()
        args.end()
        self._need_secure()
        began = time.monotonic()
        name = user.decode("utf-8", "replace")
        try:
            if _controls(user) or _controls(password) or not user or not password:
                raise Rejected
            return self._check(Request("login", self.service, self.environ,
                                       user=with_domain(user.decode(), self.environ),
                                       password=password.decode()))
        except (Rejected, UnicodeDecodeError):
            raise self._failed(f"user={name}", began) from None
        except TemporaryFailure as error:
            raise self._temporary(error) from None

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
        settings = from_environ(self.environ)
        mechanism = sasl.MECHANISMS.get(name)
        if mechanism is None or (name == b"EXTERNAL" and not self.tls):
            raise No("Unsupported authentication mechanism.", b"CANNOT")
        began = time.monotonic()
        context = sasl.Context(self._check, self.service, self.environ,
                               settings.external_identity() if self.tls else "")
        exchange = mechanism(context, initial)
        try:
            challenge = next(exchange)
            while True:
                self.conn.write(b"+ %s\r\n" % b64encode(challenge))
                line = self._line()
                if line.startswith(b"*"):
                    raise Rejected
                challenge = exchange.send(_base64(line))
        except StopIteration as done:
            account: Account = done.value
            return account
        except (Rejected, ValueError):
            raise self._failed(f"method={name.decode()}", began) from None
        except TemporaryFailure as error:
            raise self._temporary(error) from None

    def _failed(self, who: str, began: float) -> No | Bye:
        """Every refusal comes at the same time after the question, whatever its reason."""
        log.info(f"LOGIN FAILED, {who}, {self.peer}")
        self.conn.flush()
        time.sleep(max(0.0, began + FAILURE_DELAY - time.monotonic()))
        self.failures += 1
        if self.failures >= MAX_FAILURES or time.monotonic() > self.end:
            return Bye("Too many failed logins.")
        return No("Login failed.", b"AUTHENTICATIONFAILED")

    def _temporary(self, error: TemporaryFailure) -> Bye:
        log.err(f"authentication error: {error}")
        return Bye("Temporary problem, please try again later", b"UNAVAILABLE", 1)

    # -- after the login

    def _become(self, account: Account) -> None:
        _make_home(account, self.environ.get("AUTH_MKHOMEDIR_SKEL", ""))
        proc.become(account.uid, account.gid, account.username or None)

    def _start(self, account: Account) -> int:
        environ = self.environ
        program, *arguments = self.program
        maildir = account.maildir or (arguments[0] if arguments else environ.get("MAILDIRPATH", ""))
        environ["AUTHENTICATED"] = account.address
        environ["OPTIONS"] = environ["AUTHOPTIONS"] = account.options
        environ["AUTHADDR"] = account.address
        environ["AUTHFULLNAME"] = account.name
        environ.pop("MAILDIR", None)
        desk.leave(environ)
        if account.quota:
            environ["MAILDIRQUOTA"] = account.quota
        if maildir:
            environ["MAILDIR"] = maildir
            arguments = [maildir, *arguments[1:]]
        try:
            self._become(account)
            os.chdir(account.home)
        except (proc.ProcError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            log.warn(f"{account.address}: chdir({account.home}) failed!!" if isinstance(error, OSError)
                     else f"{account.address}: {why}")
            return self._goodbye(Bye("Temporary problem, please try again later", b"UNAVAILABLE", 1))
        environ["HOME"] = account.home
        self.conn.pending = self.framer.rest()
        if self.go_on is not None:
            self.conn.rcvd = self.conn.sent = 0
            return self.go_on([program, *arguments], environ, self.conn)
        try:
            proc.execute(program, arguments, environ, self.conn)
        except proc.ProcError as error:
            log.err(str(error))
        return self._goodbye(Bye("Temporary problem, please try again later", b"UNAVAILABLE", 1))


class _Logout(Exception):
    """The client said LOGOUT."""


COMMANDS: dict[bytes, Callable[[Login, Args], str | Account]] = {
    b"CAPABILITY": Login.capability, b"NOOP": Login.noop, b"LOGOUT": Login.logout,
    b"ID": Login.ident, b"STARTTLS": Login.starttls, b"LOGIN": Login.login,
    b"AUTHENTICATE": Login.authenticate}


CONTROLS = bytes([*range(32), 127])


def _controls(data: bytes) -> bool:
    return len(data.translate(None, CONTROLS)) < len(data)


def _base64(text: bytes) -> bytes:
    try:
        return b64decode(text.strip(), validate=True)
    except ValueError:
        raise Bad("Invalid base64.") from None


def _make_home(account: Account, skeleton: str) -> None:
    """A home directory that is not there is a copy of the skeleton, owned by the account."""
    if not skeleton or os.path.exists(account.home) or not os.path.isdir(skeleton):
        return
    import shutil
    shutil.copytree(skeleton, account.home, symlinks=True)
    for top, directories, files in os.walk(account.home):
        for name in (".", *directories, *files):
            os.lchown(os.path.join(top, name), account.uid, account.gid)


if __name__ == "__main__":
    run()
