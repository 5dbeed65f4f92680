"""The login at another host whose mail a client wants: what is said there, as a client.  Sans-IO.

RFC 9051 6.1, 6.2, RFC 4959 (SASL-IR), RFC 2971 (ID).  The dialogue asks whoever drives it as
those with clients do (model/steps.py).  What the host says is read by its lines; it is trusted with one
password, and with nothing else: a line without an end, a greeting that is none or an answer to another
tag end the try.
"""
from __future__ import annotations

import re
from base64 import b64encode

from courierpy.auth import Rejected
from courierpy.imap.grammar import lines, out
from courierpy.model.numbers import decimal
from courierpy.model.steps import Accepted, Secure, Unreachable
from courierpy.system.answers import Answers, shown
from courierpy.system.settings import from_environ
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from courierpy.model.steps import Client, Steps

HOPS = 5                       # that a login goes from one proxy to the next
HOPS_FIELD = b"x-proxy-ttl"    # of ID, as other proxies call it: how many are left
# fields that only a proxy says of its client: from a client itself they would be believed behind us
OF_PROXIES = (b"x-originating-", b"x-connected-", b"x-proxy-", b"x-session-", b"x-forward-")
# what a proxy that is told to says of its client
ORIGIN = ((b"x-originating-ip", "TCPREMOTEIP"), (b"x-originating-port", "TCPREMOTEPORT"),
          (b"x-connected-ip", "TCPLOCALIP"), (b"x-connected-port", "TCPLOCALPORT"))
MAX_FIELDS = 24                # of the client's own that are passed on
# codes of a refusal that has nothing to do with the password (RFC 5530 3)
PASSING = (b"UNAVAILABLE", b"LIMIT", b"INUSE", b"SERVERBUG", b"CONTACTADMIN")
_LITERAL = re.compile(rb"\{([0-9]{1,9})\+?\}\r?\Z")
_CAPABILITY = re.compile(rb"[!-\\^-~]+")     # a word without "]"
_CODE = re.compile(rb"\[([A-Za-z0-9-]+)(?: ([^\]]*))?\]")
_UNTAGGED = re.compile(rb"\* ([^ ]{1,64})(?: |\Z)")
_QUOTABLE = re.compile(rb'[\x20-\x7e]{0,900}')


class Wish:
    """What is to be done at the host.  ``tls``: "no", "may", "starttls", or "tls" where the connection has it
    from its first octet.  ``fields``: of ID.  ``asks``: ask what the host can do when the login is done,
    whatever it has said of it."""

    __slots__ = ("asks", "fields", "password", "tls", "user")

    def __init__(self, user: str, password: str, tls: str, fields: Sequence[tuple[bytes, bytes]],
                 asks: bool) -> None:
        self.user = user
        self.password = password
        self.tls = tls
        self.fields = fields
        self.asks = asks


def passed_on(pairs: Sequence[tuple[bytes, bytes | None]]) -> tuple[list[tuple[bytes, bytes]], int]:
    """Of the fields that a client says by ID, those that its mail's host is told; and how many proxies the
    login may go through from here on."""
    hops = HOPS
    kept = []
    for field, value in pairs:
        name = field.lower()
        if name == HOPS_FIELD and value is not None:
            found = decimal(value, HOPS)
            hops = hops if found is None else min(hops, found)
        if value is not None and not name.startswith(OF_PROXIES) and _QUOTABLE.fullmatch(field) \
                and _QUOTABLE.fullmatch(value):
            kept.append((bytes(bytearray(field)), bytes(bytearray(value))))    # what was read is wiped
    return kept[:MAX_FIELDS], hops


class Onward:
    """What a client has said ahead of its login that goes with it to another host, and what it hears then."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._settings = from_environ(environ)
        self._fields: list[tuple[bytes, bytes]] = []
        self._hops = HOPS

    def told(self, pairs: Sequence[tuple[bytes, bytes | None]]) -> None:
        """The client has said these fields by ID."""
        self._fields, self._hops = passed_on(pairs)

    def speak(self, user: str, password: str, server: Client) -> Backend:
        """The same login at ``server``.  Raises Unreachable where it has gone round too often."""
        if self._hops < 1:
            raise Unreachable("the login has come through too many proxies: they send it to each other")
        fields = [*self._fields, (HOPS_FIELD, b"%d" % (self._hops - 1))]
        if self._settings.text("PROXY_ORIGIN").lower() == "id":
            fields += [(name, self._environ.get(variable, "").encode()) for name, variable in ORIGIN]
        return Backend(Wish(user, password, self._settings.text("PROXY_TLS").lower(), fields,
                            self._settings.flag("IMAP_PROXY_FOREIGN")), server)

    def connected(self, tag: bytes, capabilities: bytes) -> bytes:
        """The answer to the login: the session is at another host, which has told what it can."""
        words = b" ".join(word for word in capabilities.split() if _CAPABILITY.fullmatch(word))
        text = "connected to proxy server."
        if self._settings.flag("IMAP_PROXY_FOREIGN"):
            return lines.data(b"CAPABILITY", words) + lines.status(tag, lines.OK, text)
        return lines.status(tag, lines.OK, text, b"CAPABILITY " + words)


class Backend:
    """One connection to a host.  ``sent``: the password is on its way."""

    def __init__(self, wish: Wish, server: Client) -> None:
        self.sent = False
        self._wish = wish
        self._server = server
        self._heard = Answers()
        self._tags = 0
        self._can: frozenset[bytes] | None = None      # what it says that it can, in upper case
        self._told = b""                               # the same in its own words

    def steps(self) -> Steps[Accepted]:
        """From the greeting on.  Raises Unreachable, and Rejected where the password is wrong there."""
        line = yield from self._line()
        if _word(line) != b"OK":
            raise Unreachable(f"it greets with {self._shown(line)}")
        self._note(line)
        yield from self._secured()
        yield from self._identified()
        self._can, told = None, self._can
        if told and b"AUTH=PLAIN" in told:
            answer = yield from self._by_plain(b"SASL-IR" in told)
        elif told and b"LOGINDISABLED" in told:
            raise Unreachable("it takes no password without TLS")
        else:
            answer = yield from self._by_login()
        self._end(answer)
        if self._wish.asks or self._can is None:
            yield from self._ask()
        return Accepted(bytes(self._heard.data), self._told)

    # -- what it says

    def _line(self) -> Steps[bytes]:
        """A whole response without its end, its literals in it."""
        heard, at = self._heard, 0
        while True:
            end = heard.data.find(b"\n", at)
            if end >= 0:
                literal = _LITERAL.search(bytes(heard.data[at:end]))
                if literal is None:
                    return heard.take(end)
                at = end + 1 + int(literal[1])
                if at <= len(heard.data):
                    continue
            yield from heard.more(max(0, at - len(heard.data)))

    def _note(self, line: bytes) -> None:
        """Does a line say what the host can?"""
        words = line.split(None, 2)
        text = words[2] if len(words) > 2 else b""
        if _word(line) == b"CAPABILITY":
            self._told = line.partition(b" ")[2].partition(b" ")[2].strip()
        elif (code := _CODE.match(text)) and code[1].upper() == b"CAPABILITY":
            self._told = (code[2] or b"").strip()
        else:
            return
        self._can = frozenset(self._told.upper().split())

    def _answer(self, tag: bytes, secret: bytes = b"") -> Steps[bytes]:
        """What follows the tag of a command.  ``secret``: what the next "+" is for; another one gives up."""
        while True:
            line = yield from self._line()
            if line.startswith(b"+"):
                self._server.write((secret or b"*") + b"\r\n")
                secret = b""
                continue
            self._note(line)
            if _word(line) == b"BYE":
                raise Unreachable(f"it says {self._shown(line)}", _code(line[6:]))
            if line.startswith(tag + b" "):
                return line[len(tag) + 1:]
            if not _word(line):
                raise Unreachable(f"it says {self._shown(line)}")

    def _shown(self, line: bytes) -> str:
        return shown(line, self._wish.password if self.sent else "")

    # -- what is said to it

    def _tag(self) -> bytes:
        self._tags += 1
        return b"p%d" % self._tags

    def _command(self, text: bytes) -> Steps[bytes]:
        """Its answer, from OK, NO or BAD on."""
        tag = self._tag()
        self._server.write(b"%s %s\r\n" % (tag, text))
        return (yield from self._answer(tag))

    def _ask(self) -> Steps[None]:
        self._can = None
        answer = yield from self._command(b"CAPABILITY")
        if self._can is None:
            raise Unreachable(f"it does not say what it can, but {self._shown(answer)}")

    def _secured(self) -> Steps[None]:
        """STARTTLS where it is due; then it is known what the host can."""
        if self._can is None:
            yield from self._ask()
        wanted = self._wish.tls
        if wanted in ("no", "tls"):
            return
        if self._can is None or b"STARTTLS" not in self._can:
            if wanted != "may":
                raise Unreachable("it offers no STARTTLS")
            return
        answer = yield from self._command(b"STARTTLS")
        if answer[:2].upper() != b"OK":
            raise Unreachable(f"STARTTLS: it says {self._shown(answer)}")
        if self._heard.data:
            raise Unreachable("it says something ahead of TLS")
        yield Secure()
        yield from self._ask()

    def _identified(self) -> Steps[None]:
        if self._wish.fields and self._can is not None and b"ID" in self._can:
            words = b" ".join(out.quoted(word) for pair in self._wish.fields for word in pair)
            yield from self._command(b"ID (%s)" % words)       # whatever it says to it

    def _by_plain(self, at_once: bool) -> Steps[bytes]:
        """RFC 4616, and RFC 4959 where it goes ``at_once``."""
        user, password = self._wish.user.encode("utf-8", "surrogateescape"), self._wish.password.encode()
        clear = b"\0%s\0%s" % (user, password)
        coded = b64encode(clear)
        tag = self._tag()
        line = b"%s AUTHENTICATE PLAIN%s\r\n" % (tag, b" " + coded if at_once else b"")
        self.sent = True
        try:
            self._server.write(line)
            return (yield from self._answer(tag, b"" if at_once else coded))
        finally:
            wipe(password, clear, coded, line)

    def _by_login(self) -> Steps[bytes]:
        """With literals for what no quoted string holds."""
        tag = self._tag()
        password = self._wish.password.encode()
        line = b"%s LOGIN" % tag
        self.sent = True
        try:
            for word in (self._wish.user.encode("utf-8", "surrogateescape"), password):
                if _QUOTABLE.fullmatch(word):
                    line += b" " + out.quoted(word)
                    continue
                self._server.write(b"%s {%d}\r\n" % (line, len(word)))
                answer = yield from self._line()
                while _word(answer):
                    answer = yield from self._line()
                if not answer.startswith(b"+"):
                    return answer.removeprefix(tag + b" ")
                line = word
            line += b"\r\n"
            self._server.write(line)
            return (yield from self._answer(tag))
        finally:
            wipe(password, line)

    def _end(self, answer: bytes) -> None:
        """Raises Unreachable or Rejected, unless it is OK."""
        word = answer[:3].upper().strip()
        if word == b"OK":
            return
        code = _code(answer[3:])
        if word not in (b"NO", b"BAD") or code:
            raise Unreachable(f"it says {self._shown(answer)}", code)
        raise Rejected(f"it says {self._shown(answer)}")


def _word(line: bytes) -> bytes:
    """The first word of an untagged response, in upper case; b"" for a line that is none."""
    found = _UNTAGGED.match(line)
    return found[1].upper() if found is not None else b""


def _code(text: bytes) -> bytes:
    """The response code at the beginning, if it tells that the password is not what is wrong."""
    found = _CODE.match(text)
    return found[1].upper() if found is not None and found[1].upper() in PASSING else b""
