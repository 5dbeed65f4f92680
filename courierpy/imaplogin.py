"""imaplogin: the few commands before the login; then it becomes the user, and imapd goes on.

``imaplogin [auth modules...] program [arguments...]``.  The whole stage has 60
seconds.  What the client sent behind LOGIN goes on to the program; what it sent
ahead of a TLS handshake is dropped unread.  What the client is told is decided here;
who may come in, and what goes on then, in login/stage.py, which every protocol shares.
"""
from __future__ import annotations

import os
import signal
from base64 import b64decode, b64encode
from functools import partial

from courierpy.auth import Account, Rejected, TemporaryFailure, mechanisms, sasl
from courierpy.imap import capability, ident
from courierpy.imap.commands import Done
from courierpy.imap.dialogue import Dialogue
from courierpy.imap.grammar import lines
from courierpy.imap.grammar.args import ERROR, Args
from courierpy.imap.grammar.framer import Frame, Framer, LiteralAhead, TooLong
from courierpy.login.stage import Refused, Stage
from courierpy.model.replies import Bad, Bye, No
from courierpy.system import about, channelbinding, log, proc, programs
from courierpy.system.conn import Conn, Gone, TimedOut
from courierpy.system.settings import from_environ
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    sys.exit(programs.run(["imaplogin", *sys.argv[1:]], os.environ, None, inside=False))


def main(argv: list[str], environ: Mapping[str, str], conn: Conn | None = None) -> int | programs.Next:
    """Gives the exit status, or the program that goes on.  ``conn``: the client, where this is no
    program of its own."""
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
    result: int | programs.Next = 1
    try:
        if words:
            own = environ if isinstance(environ, dict) else dict(environ)
            result = Login(Stage("IMAP", "143", modules, words, own, client)).serve()
        else:
            why = "imaplogin expects a program to start; imaplogin --help tells how."
            client.say_last(lines.told(lines.BYE, why))
    finally:
        if isinstance(result, int):
            client.end()
    return result


class Login(Dialogue):
    """The commands before the login.  ``account``: whose the session is, when that is known;
    ``tag``: of the command that said so, which the next program answers."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.conn, Framer(MAX_LINE, {b"ID": MAX_ID_LINE}, wipe), stage.peer)
        self.stage = stage
        self.environ = stage.environ
        self.account: Account | None = None
        self._handshake = False            # is due behind this command

    def serve(self) -> int | programs.Next:
        proc.on_signal(self._on_signal)
        try:
            self.greet(lines.OK, GREETING, b"CAPABILITY " + self._capabilities())
            while not self.ended:
                self.do(self.next_frame())
                if self._handshake:
                    self._handshake = False
                    self.framer.rest()     # came before it
                    self.stage.secure()
            if self.account is not None:
                return self._next(self.account)
            self.conn.flush()
            log.info(f"LOGOUT, {self.who}, rcvd={self.conn.rcvd}, sent={self.conn.sent}")
        except Bye as bye:
            self.conn.say_last(lines.told(lines.BYE, bye.text, bye.code))
            return bye.status
        except (Gone, TimedOut):
            self.stage.disconnected()
        return 0

    def _next(self, account: Account) -> programs.Next:
        try:
            return self.stage.goes_on(account, self.framer.rest(),
                                      lines.told(lines.BYE, TEMPORARY.text, TEMPORARY.code))
        except TemporaryFailure:
            raise TEMPORARY from None

    def _on_signal(self, number: int, frame: object) -> None:
        if number == signal.SIGUSR1:
            raise Bye("Too many connections that have not logged in.", b"UNAVAILABLE")
        raise Bye("Courier-IMAP server shut down by signal.")

    # -- what the dialogue asks

    def do(self, frame: Frame) -> None:
        try:
            super().do(frame)
        finally:
            wipe(*frame.lines, *(literal.data for literal in frame.literals))

    def place(self, ahead: LiteralAhead) -> None:
        words = ahead.text.split(None, 2)
        count, octets = LITERALS.get(words[1].upper() if len(words) > 1 else b"", OTHER_LITERALS)
        if ahead.size > octets or len(ahead.frame.literals) >= count:
            raise Bad("Literal too long.", b"TOOBIG")

    def perform(self, args: Args) -> Done | None:
        handler = COMMANDS.get(args.command)
        if handler is None:
            raise Bad(ERROR)
        done = handler(self, args)
        if isinstance(done, str):
            return Done(done)
        self.account, self.ended = done, True
        self.environ["IMAPLOGINTAG"] = args.tag.decode("ascii", "replace")
        return None

    # -- commands

    def _capabilities(self) -> bytes:
        return capability.line(from_environ(self.environ), "login", self.stage.tls)

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
        self.ended = True
        return "LOGOUT completed"

    def ident(self, args: Args) -> str:
        pairs = ident.pairs(args)
        if pairs:
            log.info(f"ID, {self.who}, {ident.told(pairs)}")
        self.conn.write(ident.reply(from_environ(self.environ)))
        return "ID completed"

    def starttls(self, args: Args) -> str:
        args.end()
        if not capability.starttls_offered(from_environ(self.environ), self.stage.tls):
            raise Bad(ERROR)
        self._handshake = True
        return "Begin SSL/TLS negotiation now."

    def _need_secure(self) -> None:
        settings = from_environ(self.environ)
        if settings.flag("IMAP_TLS_REQUIRED") and capability.starttls_offered(settings, self.stage.tls):
            raise No("STARTTLS required", b"PRIVACYREQUIRED")

    def login(self, args: Args) -> Account:
        args.sp()
        user = args.astring()
        args.sp()
        password = args.astring()
        try:
            args.end()
            self._need_secure()
            return self._admitted(lambda context: context.login(user, password))
        finally:
            wipe(password)

    def authenticate(self, args: Args) -> Account:
        args.sp()
        name = args.word()
        initial: bytes | None = None
        if args.maybe_sp():
            text = args.rest_text()
            initial = b"" if text == b"=" else _base64(text)
        else:
            args.end()
        try:
            self._need_secure()
            mechanism = mechanisms.find(name) if self._can(name) else None
            if mechanism is None:
                raise No("Unsupported authentication mechanism.", b"CANNOT")
            return self._admitted(partial(self._by, mechanism, initial), method=name.decode())
        finally:
            wipe(initial)

    def _can(self, mechanism: bytes) -> bool:
        """Does the connection have what the mechanism needs?"""
        if mechanism.endswith(capability.BINDS):
            return bool(channelbinding.known(self.environ))
        return mechanism != b"EXTERNAL" or self.stage.tls

    def _admitted(self, ask: Callable[[sasl.Context], Account], **more: str) -> Account:
        try:
            return self.stage.admitted("imap", ask, **more)
        except TemporaryFailure:
            raise TEMPORARY from None
        except Refused as refused:
            if refused.again:
                raise No("Login failed.", b"AUTHENTICATIONFAILED") from None
            raise Bye("Too many failed logins.") from None

    def _by(self, mechanism: mechanisms.Mechanism, initial: bytes | None, context: sasl.Context) -> Account:
        """Challenges and responses, until the mechanism decides."""
        context.told = [word[5:] for word in self._capabilities().split() if word.startswith(b"AUTH=")]
        exchange = mechanism(context, initial)
        said: list[bytes] = []             # which it may need until the end
        try:
            challenge = next(exchange)
            while True:
                self.conn.write(lines.go_on(b64encode(challenge)))
                line = self._line()
                if line.startswith(b"*"):
                    raise Rejected
                said.append(_base64(line))
                challenge = exchange.send(said[-1])
        except StopIteration as done:
            account: Account = done.value
            return account
        finally:
            wipe(*said)

    def _line(self) -> bytes:
        """A line of a SASL exchange."""
        while True:
            line = self.framer.line()
            if isinstance(line, TooLong):
                raise Bye("Line too long.")
            if line is not None:
                return line
            data = self.conn.read(None)    # until the end of the stage
            if not data:
                raise Gone
            self.framer.feed(data)


COMMANDS: dict[bytes, Callable[[Login, Args], str | Account]] = {
    b"CAPABILITY": Login.capability, b"NOOP": Login.noop, b"LOGOUT": Login.logout,
    b"ID": Login.ident, b"STARTTLS": Login.starttls, b"LOGIN": Login.login,
    b"AUTHENTICATE": Login.authenticate}


def _base64(text: bytes) -> bytes:
    """``text`` is wiped."""
    bare = text.strip()
    try:
        return b64decode(bare, validate=True)
    except ValueError:
        raise Bad("Invalid base64.") from None
    finally:
        wipe(text, bare)


if __name__ == "__main__":
    run()
