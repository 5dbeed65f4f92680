"""Lines of LMTP, octets <-> values.  RFC 5321 4.1, as RFC 2033 takes it over.

An address is taken apart only where its parts matter: the local part in the words that it means, without
quotes, and the domain.
"""
from __future__ import annotations

import re

from courierpy.model.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

MAX_LINE = 12288                   # octets of a command, as AUTH may need: RFC 4954 4
MAX_LOCAL = 64 * 4                 # octets of a local part: RFC 5321 4.5.3.1.1 has 64, many senders have more
MAX_DOMAIN = 255                   # octets, RFC 5321 4.5.3.1.2
MAX_OCTETS = 10 ** 18              # of a message that a client announces

_VERB = re.compile(rb"([A-Za-z]+)(?: +(.*))?", re.S)
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\x80-\U0010ffff-]+")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])*)"')
_DOMAIN = re.compile(r"\[[A-Za-z0-9:.-]+\]|[A-Za-z0-9\x80-\U0010ffff](?:[A-Za-z0-9_.\x80-\U0010ffff-]*)")
_ROUTE = re.compile(r"@[^<>:\s]+:")
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\xff]+))?")
_XTEXT = re.compile(rb"\+([0-9A-F]{2})")
_CHUNK = re.compile(rb"([0-9]{1,18})(?: +([A-Za-z]+))? *")
_ATTRIBUTE = re.compile(rb"([A-Za-z]+)=([!-<>-~]{0,1024})")
_XCLIENT = frozenset((b"NAME", b"ADDR", b"PORT", b"PROTO", b"HELO", b"LOGIN", b"DESTADDR", b"DESTPORT"))
_UNKNOWN = (b"[UNAVAILABLE]", b"[TEMPUNAVAIL]")
_NAME = re.compile(rb"[A-Za-z0-9_.:\[\]-]{1,255}")
_PORT = re.compile(rb"[0-9]{1,5}")
_SHOWN = bytes(range(32, 127))


class Reply(Exception):
    """What a client is told: ``code`` of three digits, ``status`` (RFC 3463), ``text`` in ASCII.  A command
    that is refused raises it."""

    def __init__(self, code: int, status: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.status = status
        self.text = text

    @property
    def done(self) -> bool:
        return self.code < 300

    @property
    def words(self) -> bytes:
        """All of it, without the end of a line."""
        return f"{self.code} {self.status} {self.text}".encode("ascii", "replace")

    def line(self) -> bytes:
        return self.words + b"\r\n"

    @classmethod
    def of(cls, words: bytes) -> Reply:
        """What another process says by ``words``."""
        code, status, text = words.decode("ascii", "replace").split(" ", 2)
        return cls(int(code), status, text)

    def __repr__(self) -> str:
        return f"Reply({self.code}, {self.status!r}, {self.text!r})"


class Address:
    """``text``: as the client wrote it, less brackets and a route.  ``local``: what the local part means;
    ``domain``: in small letters, "" without one.  The null address of a bounce has neither."""

    __slots__ = ("domain", "local", "text")

    def __init__(self, text: str = "", local: str = "", domain: str = "") -> None:
        self.text = text
        self.local = local
        self.domain = domain

    @property
    def ascii(self) -> bool:
        return self.text.isascii()

    def __repr__(self) -> str:
        return f"Address({self.text!r})"


def syntax(what: str) -> Reply:
    return Reply(501, "5.5.4", f"{what}")


def verb(line: bytes) -> tuple[bytes, bytes]:
    """(command in capitals, what stands behind it) of a line without its end.  Raises Reply."""
    match = _VERB.fullmatch(line.rstrip(b" "))
    if match is None:
        raise Reply(500, "5.5.2", "A command was expected")
    return match[1].upper(), match[2] or b""


def client_name(rest: bytes) -> str:
    """Of LHLO: a domain, or an address in brackets.  Raises Reply."""
    match = _NAME.fullmatch(rest)
    if match is None:
        raise syntax("LHLO expects the name of a host")
    return rest.decode("ascii")


def path(rest: bytes, word: bytes) -> tuple[Address, bytes]:
    """``FROM:<address> parameters`` -> (address, parameters); ``word`` is FROM or TO.  Raises Reply."""
    if rest[:len(word)].upper() != word or rest[len(word):len(word) + 1] != b":":
        raise syntax(f"{word.decode()}:<address> is expected")
    rest = rest[len(word) + 1:].lstrip(b" ")
    end = _closing(rest)
    if end < 0:
        raise Reply(501, "5.1.7" if word == b"FROM" else "5.1.3", "An address in <> is expected")
    found = address(rest[1:end], word == b"FROM")
    if rest[end + 1:end + 2] not in (b"", b" "):
        raise syntax("A blank is expected behind the address")
    return found, rest[end + 1:].strip(b" ")


def _closing(rest: bytes) -> int:
    """Where the bracket is that closes the first one; not in quotes.  -1 for none."""
    if rest[:1] != b"<":
        return -1
    quoted = escaped = False
    for at, octet in enumerate(rest):
        if escaped:
            escaped = False
        elif quoted and octet == 0x5C:
            escaped = True
        elif octet == 0x22:
            quoted = not quoted
        elif octet == 0x3E and not quoted:
            return at
    return -1


def address(octets: bytes, may_be_null: bool = False) -> Address:
    """What stands between brackets.  Raises Reply."""
    wrong = Reply(501, "5.1.7" if may_be_null else "5.1.3", "That is no address")
    if not octets:
        if may_be_null:
            return Address()
        raise wrong
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise wrong from None
    if not text.isprintable():
        raise wrong
    route = _ROUTE.match(text)
    if route is not None:
        text = text[route.end():]
    quoted = _QUOTED.match(text)
    plain = quoted or _ATOM.match(text)
    if plain is None:
        raise wrong
    local = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted is not None else plain[0]
    at, domain = text[plain.end():plain.end() + 1], text[plain.end() + 1:]
    if at not in ("", "@") or at and _DOMAIN.fullmatch(domain) is None or not local:
        raise wrong
    if len(local.encode()) > MAX_LOCAL or len(domain.encode()) > MAX_DOMAIN:
        raise wrong
    return Address(text, local, domain.lower())


def parameters(rest: bytes, known: Collection[bytes]) -> dict[bytes, bytes]:
    """``SIZE=5 BODY=8BITMIME`` -> keyword in capitals: value, b"" without one.  Raises Reply."""
    found: dict[bytes, bytes] = {}
    for word in rest.split():
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise syntax("A parameter was expected")
        key = match[1].upper()
        if key not in known:
            raise Reply(555, "5.5.4", "There is no such parameter")
        if key in found:
            raise syntax("A parameter is there twice")
        found[key] = match[2] or b""
    return found


def octets(value: bytes) -> int:
    """Of SIZE=.  Raises Reply."""
    number = decimal(value.decode("ascii", "replace"), MAX_OCTETS)
    if number is None:
        raise syntax("SIZE expects a number")
    return number


def xclient(rest: bytes) -> dict[str, str]:
    """``ADDR=192.0.2.1 NAME=[UNAVAILABLE]`` -> attribute: what it says, "" where that is not known; in
    Postfix's notation.  Raises Reply."""
    found: dict[str, str] = {}
    for word in rest.split():
        match = _ATTRIBUTE.fullmatch(word)
        if match is None or match[1].upper() not in _XCLIENT:
            raise syntax("An attribute of XCLIENT was expected")
        value = b"" if match[2].upper() in _UNKNOWN else _plain(match[2])
        if value.translate(None, _SHOWN):
            raise syntax("Signs of ASCII are expected in an attribute of XCLIENT")
        found[match[1].decode().upper()] = value.decode("ascii")
    if not found:
        raise syntax("Attributes of XCLIENT were expected")
    for key, pattern in (("NAME", _NAME), ("HELO", _NAME), ("PORT", _PORT)):
        if found.get(key) and pattern.fullmatch(found[key].encode()) is None:
            raise syntax(f"That is no {key}")
    return found


def _plain(coded: bytes) -> bytes:
    """What xtext says, RFC 3461 4."""
    return _XTEXT.sub(lambda match: bytes([int(match[1], 16)]), coded)


def original(value: bytes) -> str:
    """The address of ORCPT=, RFC 3461 4.2; "" where it is none that a header field can hold."""
    kind, _, coded = value.partition(b";")
    try:
        text = _plain(coded).decode()
    except UnicodeDecodeError:
        return ""
    return text if kind.lower() in (b"rfc822", b"utf-8") and text.isprintable() and len(text) <= 512 else ""


def chunk(rest: bytes) -> tuple[int, bool]:
    """``5 LAST`` -> (octets, is it the last one), RFC 3030 2.  Raises Reply."""
    match = _CHUNK.fullmatch(rest)
    if match is None or match[2] is not None and match[2].upper() != b"LAST":
        raise syntax("BDAT expects a number of octets, and LAST")
    return int(match[1]), match[2] is not None
