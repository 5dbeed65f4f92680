"""The commands before the login: what the client is told.  RFC 9051 6.1, 6.2.

Who may come in is the stage's affair (login/stage.py), and what is read, asked and waited for that
of whoever drives the dialogue (model/steps.py).  What the client sent behind LOGIN is kept for the
next program; what it sent ahead of a TLS handshake is dropped unread.
"""
from __future__ import annotations

from base64 import b64encode
from functools import partial

from courierpy.auth import TemporaryFailure, mechanisms
from courierpy.auth.exchange import decoded, exchanged
from courierpy.imap import backend, capability, ident, languages
from courierpy.imap.commands import Done
from courierpy.imap.dialogue import Dialogue
from courierpy.imap.grammar import lines
from courierpy.imap.grammar.args import ERROR, Args
from courierpy.imap.grammar.framer import Framer, LiteralAhead, TooLong
from courierpy.model.replies import Bad, Bye, No, anew
from courierpy.model.steps import Elsewhere, NoPassword, Read, Refused, Secure, Unreachable
from courierpy.model.strings import percent
from courierpy.system import concluded, log
from courierpy.system.conn import Gone, TimedOut
from courierpy.system.starttls import starttls_offered, starttls_required
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from courierpy.auth import Account
    from courierpy.auth.mechanisms import Mechanism
    from courierpy.auth.sasl import Context
    from courierpy.imap.dialogue import Client
    from courierpy.model.steps import Accepted, Speak, Steps
    from courierpy.system.settings import Settings

    class Stage(Protocol):
        """As login/stage.py has it."""

        environ: dict[str, str]
        settings: Settings
        client: Client
        peer: str
        tls: bool
        accepted: Accepted | None

        def refusal(self) -> str: ...

        def disconnected(self) -> None: ...

        def mechanism(self, name: bytes) -> Mechanism | None: ...

        def admitted(self, service: str, ask: Callable[[Context], Steps[Account]], speak: Speak,
                     **more: str) -> Steps[Account]: ...

MAX_LINE = 8192                # octets of a command without its literals
MAX_SASL_LINE = 65536          # access tokens may hold all groups of a user
MAX_ID_LINE = 65536            # RFC 2971 3.3: 30 pairs of 30 and 1024 octets, any of which may be escaped
LINES = {b"ID": MAX_ID_LINE, b"AUTHENTICATE": MAX_SASL_LINE}
# literals of a command and octets of each
LITERALS = {b"ID": (2 * ident.MAX_PAIRS, ident.MAX_VALUE)}
OTHER_LITERALS = (4, 4096)
TEMPORARY = Bye("Temporary problem, please try again later", b"UNAVAILABLE", 1)
CROWDED = Bye("Too many connections that have not logged in.", b"UNAVAILABLE")
STOPPED = Bye(lines.SHUT_DOWN)
PROTOCOL, PORT = "IMAP", "143"
GREETING = "Courier-IMAP ready. See the documentation of courierpy for distribution information."


def told(bye: Bye) -> bytes:
    """The last line for a client."""
    return lines.told(lines.BYE, bye.text, bye.code)


LAST_WORDS = told(TEMPORARY)   # where no program can be started
CROWDED_WORDS, STOPPED_WORDS = told(CROWDED), told(STOPPED)


class Login(Dialogue):
    """The commands before the login, a method for each and for each step.  ``account``: whose the session is,
    when that is known."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.client, Framer(MAX_LINE, LINES, wipe), stage.peer)
        self.stage = stage
        self.environ = stage.environ
        self.account: Account | None = None
        self._onward = backend.Onward(stage.environ)
        self._handshake = False            # is due behind this command

    def steps(self) -> Steps[Account | int]:
        """The whole dialogue.  Gives whose the session is, or, without one, the exit status."""
        try:
            if why := self.stage.refusal():
                raise Bye(why, b"ALERT")
            if not self.environ.pop("COURIERPY_AGAIN", ""):        # else it was greeted
                self.greet(lines.OK, GREETING, b"CAPABILITY " + self._capabilities())
            while not self.ended:
                frame = yield from self.framing()
                try:
                    steps = self.do(frame)
                    if steps is not None:
                        yield from steps
                finally:
                    wipe(*frame.lines, *(literal.data for literal in frame.literals))
                if self._handshake:
                    self._handshake = False
                    self.framer.rest()     # came before it
                    yield Secure()
            if self.account is not None:
                return self.account
        except Bye as bye:
            self.client.say_last(told(bye))
            return bye.status
        except (Gone, TimedOut):
            self.stage.disconnected()
        return 0

    def logged_out(self) -> bool:
        """Did it end by LOGOUT?"""
        return self.ended and self.account is None

    def may_go(self) -> bool:
        """While a password is checked: does the environment say all that the session needs to know?"""
        return not self.framer.has_more

    # -- what the dialogue asks

    def place(self, ahead: LiteralAhead) -> None:
        words = ahead.text.split(None, 2)
        count, octets = LITERALS.get(words[1].upper() if len(words) > 1 else b"", OTHER_LITERALS)
        if ahead.size > octets or len(ahead.frame.literals) >= count:
            raise Bad("Literal too long.", b"TOOBIG")

    def perform(self, args: Args) -> Done | Steps[Done | None]:
        if args.command in ADMITTING:
            return self._admit(args, ADMITTING[args.command])
        handler = COMMANDS.get(args.command)
        if handler is None:
            raise Bad(ERROR)
        return Done(handler(self, args))

    def _admit(self, args: Args, handler: Callable[[Login, Args], Steps[Account]]) -> Steps[None]:
        """A command that may end the dialogue, which the next program answers then; here, what another host
        has accepted."""
        self.environ["IMAPLOGINTAG"] = args.tag.decode("ascii", "replace")
        self.account = yield from handler(self, args)
        self.ended = True
        self._admitted_by(args)

    def _admitted_by(self, args: Args) -> None:
        """Says what goes before another host's sessions."""
        if self.stage.accepted is not None:
            self.client.write(self._onward.connected(args.tag, self.stage.accepted.capabilities))

    # -- commands

    def _capabilities(self) -> bytes:
        settings, tls = self.stage.settings, self.stage.tls
        if settings.alike is None or tls or mechanisms.takes_tokens(settings):
            return capability.line(settings, "login", tls)
        return concluded.of(settings, _in_clear)

    def capability(self, args: Args) -> str:
        args.end()
        self.client.write(lines.data(b"CAPABILITY", self._capabilities()))
        return "CAPABILITY completed"

    def noop(self, args: Args) -> str:
        args.end()
        return "NOOP completed"

    def logout(self, args: Args) -> str:
        args.end()
        self.client.write(lines.told(lines.BYE, "Courier-IMAP server shutting down"))
        self.ended = True
        return "LOGOUT completed"

    def ident(self, args: Args) -> str:
        pairs = ident.pairs(args)
        if pairs:
            log.info(f"ID, {self.who}, {ident.told(pairs)}")
            self._onward.told(pairs)
        self.client.write(ident.reply(self.stage.settings))
        return "ID completed"

    def language(self, args: Args) -> str:
        line, text = languages.answer(args)
        self.client.write(line)
        return text

    def starttls(self, args: Args) -> str:
        args.end()
        if not starttls_offered(self.stage.settings, self.stage.tls):
            raise Bad(ERROR)
        self._handshake = True
        return "Begin SSL/TLS negotiation now."

    def _need_secure(self) -> None:
        if starttls_required(self.stage.settings, self.stage.tls):
            raise No("STARTTLS required", b"PRIVACYREQUIRED")

    def login(self, args: Args) -> Steps[Account]:
        args.sp()
        user = args.astring()
        args.sp()
        password = args.astring()
        try:
            args.end()
            self._need_secure()
            return (yield from self._admitted(lambda context: context.login(user, password)))
        finally:
            wipe(password)

    def authenticate(self, args: Args) -> Steps[Account]:
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
            mechanism = self.stage.mechanism(name)
            if mechanism is None:
                raise No("Unsupported authentication mechanism.", b"CANNOT")
            return (yield from self._admitted(partial(self._by, mechanism, initial), method=name.decode()))
        finally:
            wipe(initial)

    def _admitted(self, ask: Callable[[Context], Steps[Account]], **more: str) -> Steps[Account]:
        try:
            return (yield from self.stage.admitted("imap", ask, self._onward.speak, **more))
        except TemporaryFailure:
            raise anew(TEMPORARY) from None
        except Unreachable as error:
            raise No("The server of your mail cannot be reached, please try again later.",
                     error.code or b"UNAVAILABLE") from None
        except NoPassword:
            raise No("Your mail is at another server, which needs your password: log in by LOGIN or PLAIN.",
                     b"CANNOT") from None
        except Elsewhere as there:
            # RFC 2221 4.1
            raise No(f"Specified user is invalid on this server. Try {there.host}.",
                     b"REFERRAL imap://%s;AUTH=*@%s/" % (percent(there.user), there.host.encode())) from None
        except Refused as refused:
            if refused.again:
                raise No("Login failed.", b"AUTHENTICATIONFAILED") from None
            raise Bye("Too many failed logins.") from None

    def _by(self, mechanism: Mechanism, initial: bytes | None, context: Context) -> Steps[Account]:
        """Challenges and responses, until the mechanism decides."""
        context.told = [word[5:] for word in self._capabilities().split() if word.startswith(b"AUTH=")]
        return (yield from exchanged(mechanism(context, initial), self._respond))

    def _respond(self, challenge: bytes) -> Steps[bytes]:
        self.client.write(self._challenge(challenge))
        line = yield from self._line()
        if line.strip() == b"*":
            raise Bad("The exchange is cancelled.")        # RFC 9051 6.2.2
        return _base64(line)

    def _challenge(self, challenge: bytes) -> bytes:
        """The line that asks for a response."""
        return lines.go_on(b64encode(challenge))

    def _line(self) -> Steps[bytes]:
        """A line of a SASL exchange."""
        while True:
            line = self.framer.line(MAX_SASL_LINE)
            if isinstance(line, TooLong):
                raise Bad("Line too long.")
            if line is not None:
                return line
            data = yield Read(None)        # until the end of the stage
            if not data:
                raise Gone
            self.framer.feed(data)


def greeting(settings: Settings) -> bytes:
    """What a client in clear hears first, whoever it is; b"" where that depends on its address."""
    if mechanisms.takes_tokens(settings):
        return b""
    return lines.told(lines.OK, GREETING, b"CAPABILITY " + _in_clear(settings))


def dialogue(stage: Stage) -> Login:
    """What is said to a client before its login (see login/stage.py)."""
    return Login(stage)


COMMANDS: Mapping[bytes, Callable[[Login, Args], str]] = {
    b"CAPABILITY": Login.capability, b"NOOP": Login.noop, b"LOGOUT": Login.logout,
    b"ID": Login.ident, b"LANGUAGE": Login.language, b"STARTTLS": Login.starttls}
ADMITTING: Mapping[bytes, Callable[[Login, Args], Steps[Account]]] = {
    b"LOGIN": Login.login, b"AUTHENTICATE": Login.authenticate}


def _in_clear(settings: Settings) -> bytes:
    """What is told where there is neither TLS, whose client's certificate has a word in it, nor a mechanism
    that depends on the client's address."""
    return capability.line(settings, "login", False)


def _base64(text: bytes) -> bytes:
    """``text`` is wiped."""
    try:
        return decoded(text)
    except ValueError:
        raise Bad("Invalid base64.") from None
