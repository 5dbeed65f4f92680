"""The commands before the login: what the client is told.  RFC 1939 4, RFC 2449 5, RFC 2595 4, RFC 5034.

Who may come in is the stage's affair (login/stage.py), and what is read, asked and waited for that of
whoever drives the dialogue (model/steps.py).  What the client sent behind its login is kept for the next
program; what it sent ahead of a TLS handshake is dropped unread.
"""
from __future__ import annotations

from base64 import b64encode
from functools import partial

from courierpy.auth import TemporaryFailure
from courierpy.auth.exchange import decoded, exchanged
from courierpy.model.replies import Bad, Bye, No, anew
from courierpy.model.steps import Elsewhere, NoPassword, Read, Refused, Secure, Unreachable
from courierpy.pop3 import backend, capabilities, lines
from courierpy.pop3.lines import MAX_LINE, MAX_SASL_LINE, Lines, TooLong
from courierpy.system import log
from courierpy.system.bug import bug
from courierpy.system.conn import Gone, TimedOut
from courierpy.system.settings import from_environ
from courierpy.system.starttls import starttls_offered, starttls_required
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from courierpy.auth import Account
    from courierpy.auth.mechanisms import Mechanism
    from courierpy.auth.sasl import Context
    from courierpy.model.steps import Accepted, Speak, Steps
    from courierpy.model.steps import Client as Host
    from courierpy.system.settings import Settings

    class Client(Protocol):
        """What is said to a client goes here, as to a Conn."""

        def write(self, data: bytes) -> None: ...

        def say_last(self, line: bytes) -> None: ...

    class Stage(Protocol):
        """As login/stage.py has it."""

        environ: dict[str, str]
        peer: str
        tls: bool
        accepted: Accepted | None

        @property
        def client(self) -> Client: ...

        def refusal(self) -> str: ...

        def disconnected(self) -> None: ...

        def mechanism(self, name: bytes) -> Mechanism | None: ...

        def admitted(self, service: str, ask: Callable[[Context], Steps[Account]], speak: Speak,
                     **more: str) -> Steps[Account]: ...

PROTOCOL, PORT = "POP3", "110"
MAX_ERRORS = 10                # commands in a row that are none
TEMPORARY = Bye("Temporary problem, please try again later", b"SYS/TEMP", 1)
CROWDED = Bye("Too many connections that have not logged in.", b"SYS/TEMP")
STOPPED = Bye(lines.SHUT_DOWN, b"SYS/TEMP")


def told(bye: Bye) -> bytes:
    """The last line for a client."""
    return lines.err(bye.text, bye.code)


HELLO = lines.ok("Hello there.")
LAST_WORDS, CROWDED_WORDS, STOPPED_WORDS = told(TEMPORARY), told(CROWDED), told(STOPPED)


class Login:
    """``account``: whose the session is, when that is known.  ``framer``: has what the client said behind its
    login."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.client = stage.client
        self.environ = stage.environ
        self.who = stage.peer
        self.framer = Lines()
        self.account: Account | None = None
        self._user: bytes | None = None
        self._utf8 = self._quits = self._handshake = False
        self._errors = 0

    def steps(self) -> Steps[Account | int]:
        """The whole dialogue.  Gives whose the session is, or, without one, the exit status."""
        try:
            if why := self.stage.refusal():
                raise Bye(why, b"SYS/TEMP")
            if not self.environ.pop("COURIERPY_AGAIN", ""):        # else it was greeted
                self.client.write(HELLO)
            while self.account is None and not self._quits:
                yield from self._command()
                if self._handshake:
                    self._handshake = False
                    self.framer.rest()     # came before it
                    self._user = None      # nor is anything else of before known any more: RFC 2595 4
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
        """Did it end by QUIT?"""
        return self._quits

    def may_go(self) -> bool:
        """While a password is checked: does the environment say all that the session needs to know?"""
        return not self.framer.has_more

    def _line(self, limit: int = MAX_LINE) -> Steps[bytes]:
        """Raises TooLong."""
        while (line := self.framer.line(limit, MAX_SASL_LINE)) is None:
            data = yield Read(None)        # until the end of the stage
            if not data:
                raise Gone
            self.framer.feed(data)
        return line

    def _command(self) -> Steps[None]:
        """Read one command, and answer it."""
        line = rest = b""
        try:
            line = yield from self._line()
            verb, rest = lines.words(line)
            if verb in ADMITTING:
                self.environ["UTF8"] = str(int(self._utf8))
                self.account = yield from ADMITTING[verb](self, rest)
                if self.stage.accepted is not None:
                    self.client.write(lines.ok("connected to proxy server."))
            else:
                handler = COMMANDS.get(verb)
                if handler is None:
                    raise Bad(lines.INVALID)
                self.client.write(handler(self, rest))
            self._errors = 0
        except TooLong:
            self._bad("Line too long.")
        except Bad as error:
            self._bad(error.text)
        except No as error:
            self._errors = 0
            self.client.write(lines.err(error.text, error.code))
        except (Bye, Gone, TimedOut):
            raise
        except Exception:
            self.client.write(lines.err(f"Internal error {bug()}, it was logged.", b"SYS/TEMP"))
        finally:
            wipe(line, rest)

    def _bad(self, text: str) -> None:
        self._errors += 1
        if self._errors >= MAX_ERRORS:
            log.err(f"TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS, {self.who}")
            raise Bye(lines.TOO_MANY, status=1)
        self.client.write(lines.err(text))

    # -- commands

    def capa(self, rest: bytes) -> bytes:
        return lines.several(capabilities.CAPABILITIES,
                             capabilities.before_login(from_environ(self.environ), self.stage.tls))

    def quit(self, rest: bytes) -> bytes:
        self._quits = True
        return lines.ok("Better luck next time.")

    def utf8(self, rest: bytes) -> bytes:
        self._utf8 = True
        return lines.ok("UTF8 enabled")

    def lang(self, rest: bytes) -> bytes:
        return capabilities.language(rest)

    def stls(self, rest: bytes) -> bytes:
        """Not behind UTF8: RFC 6856 2.1."""
        if self._utf8 or not starttls_offered(from_environ(self.environ), self.stage.tls):
            raise Bad(lines.INVALID)
        self._handshake = True
        return lines.ok("Begin SSL/TLS negotiation now.")

    def _need_secure(self) -> None:
        if starttls_required(from_environ(self.environ), self.stage.tls):
            raise No("TLS required to log in.")

    def user(self, rest: bytes) -> bytes:
        self._need_secure()
        name = rest.strip(b" ")
        if not name:
            raise Bad(lines.INVALID)
        self._user = bytes(bytearray(name))    # a copy: what was read is wiped
        return lines.ok("Password required.")

    def password(self, rest: bytes) -> Steps[Account]:
        """It is all behind the first blank: a password may have blanks."""
        self._need_secure()
        user, self._user = self._user, None
        if user is None:
            raise Bad("USER/PASS required.")
        return (yield from self._admitted(lambda context: context.login(user, rest)))

    def auth(self, rest: bytes) -> Steps[Account]:
        """RFC 5034."""
        self._need_secure()
        name, _, text = rest.strip().partition(b" ")
        initial: bytes | None = None
        try:
            if text:
                initial = b"" if text == b"=" else _decoded(text)
            mechanism = self.stage.mechanism(name.upper())
            if mechanism is None:
                raise No("Unsupported authentication mechanism.")
            return (yield from self._admitted(partial(self._by, mechanism, initial),
                                              method=name.upper().decode()))
        finally:
            wipe(initial)

    def _admitted(self, ask: Callable[[Context], Steps[Account]], **more: str) -> Steps[Account]:
        try:
            return (yield from self.stage.admitted("pop3", ask, self._speak, **more))
        except TemporaryFailure:
            raise anew(TEMPORARY) from None
        except Unreachable as error:
            raise No("The server of your mail cannot be reached, please try again later.",
                     error.code or b"SYS/TEMP") from None
        except NoPassword:
            raise No("Your mail is at another server, which needs your password: log in by USER and PASS.",
                     b"SYS/PERM") from None
        except Elsewhere as there:
            raise No(f"Your mail is at another server. Try {there.host}.", b"SYS/PERM") from None
        except Refused as refused:
            if refused.again:
                raise No("Login failed.", b"AUTH") from None
            raise Bye("Too many failed logins.", b"AUTH") from None

    def _speak(self, user: str, password: str, host: Host) -> backend.Backend:
        """The same login at ``host``."""
        tls = from_environ(self.environ).text("PROXY_TLS").lower()
        return backend.Backend(user, password, tls, self._utf8, host)

    def _by(self, mechanism: Mechanism, initial: bytes | None, context: Context) -> Steps[Account]:
        context.told = capabilities.told(from_environ(self.environ), self.stage.tls)
        return (yield from exchanged(mechanism(context, initial), self._respond))

    def _respond(self, challenge: bytes) -> Steps[bytes]:
        self.client.write(b"+ %s\r\n" % b64encode(challenge))
        try:
            line = yield from self._line(MAX_SASL_LINE)
        except TooLong:
            raise Bad("Line too long.") from None
        if line.strip() == b"*":
            raise Bad("The exchange is cancelled.")        # RFC 5034 4
        return _decoded(line)


def greeting(settings: Settings) -> bytes:
    """What a client in clear hears first, whoever it is."""
    return HELLO


def dialogue(stage: Stage) -> Login:
    """What is said to a client before its login (see login/stage.py)."""
    return Login(stage)


COMMANDS: Mapping[bytes, Callable[[Login, bytes], bytes]] = {
    b"CAPA": Login.capa, b"LANG": Login.lang, b"QUIT": Login.quit, b"STLS": Login.stls, b"USER": Login.user,
    b"UTF8": Login.utf8}
ADMITTING: Mapping[bytes, Callable[[Login, bytes], Steps[Account]]] = {
    b"AUTH": Login.auth, b"PASS": Login.password}


def _decoded(text: bytes) -> bytes:
    try:
        return decoded(text)
    except ValueError:
        raise Bad("Invalid base64.") from None
