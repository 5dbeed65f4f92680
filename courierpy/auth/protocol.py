"""authdaemond's text protocol: requests and replies as bytes."""
from __future__ import annotations

from courierpy.auth import Account, Rejected, Request, TemporaryFailure, Unservable, number_of
from courierpy.model.numbers import decimal
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FIELDS = (("USERNAME", "username"), ("UID", "uid"), ("GID", "gid"), ("HOME", "home"),
           ("ADDRESS", "address"), ("NAME", "name"), ("MAILDIR", "maildir"), ("QUOTA", "quota"),
           ("PASSWD", "passwd"), ("PASSWD2", "passwd2"), ("OPTIONS", "options"))
MAX_REPLY = 64 * 1024              # octets
CLIENT = ("TCPREMOTEIP", "TCPREMOTEPORT")
BY_PASSWORD = ("login", "token")       # kinds whose request is a user and a secret


def render_environ(environ: Mapping[str, str], names: Iterable[str] = CLIENT) -> bytes:
    """The lines ahead of a request: of which client it is.  Raises Rejected for what would be two lines."""
    lines = [f"{name}={environ[name]}\n" for name in names if environ.get(name)]
    text = "".join(lines)
    if text.count("\n") != len(lines):
        raise Rejected
    return text.encode()


def render_request(request: Request) -> bytes:
    """To be wiped when it is sent.  Raises Rejected for what the lines of the protocol cannot carry."""
    for word in (request.service, request.user, request.password, request.challenge, request.response):
        if "\n" in word or "\0" in word:
            raise Rejected
    if request.kind == "pre":
        return f"PRE . {request.service} {request.user}\n".encode()
    first, second = ((request.user, request.password) if request.kind in BY_PASSWORD
                     else (request.challenge, request.response))
    if not second or not first and request.kind != "token":
        raise Rejected
    begin, secret = f"{request.service}\n{request.kind}\n{first}\n".encode(), second.encode()
    size = len(begin) + len(secret) + 1
    whole_of_it = b"".join((b"AUTH %d\n" % size, begin, secret, b"\n"))
    wipe(secret)
    return whole_of_it


def parse_request(data: bytes, environ: dict[str, str]) -> Request | None:
    """None while it is not whole.  Raises ValueError for what is no request."""
    head, newline, body = data.partition(b"\n")
    while newline and b"=" in head and b" " not in head.partition(b"=")[0]:
        name, _, value = head.decode().partition("=")
        environ[name] = value
        head, newline, body = body.partition(b"\n")
    if not newline:
        if len(data) > MAX_REPLY:
            raise ValueError("too long")
        return None
    words = head.decode().split(" ", 3)
    if words[0] == "PRE" and len(words) == 4:
        return Request("pre", words[2], environ, user=words[3])
    if words[0] == "AUTH" and len(words) == 2:
        size = decimal(words[1], MAX_REPLY)
        if size is None:
            raise ValueError("not a request, or too long")
        if len(body) < size:
            return None
        lines = body[:size].decode().split("\n")
        if len(lines) < 4:
            raise ValueError("not a request")
        service, kind, first, second = lines[:4]
        if kind in BY_PASSWORD:
            return Request(kind, service, environ, user=first, password=second)
        return Request(kind, service, environ, challenge=first, response=second)
    raise ValueError("not a request")


def render_account(account: Account, clear: bool) -> bytes:
    """``clear``: with the clear password, for a mechanism that computes with it.  Its hash is nobody's
    business but the module's.  Raises Unservable for a value that would be two lines."""
    lines = []
    for key, attribute in _FIELDS:
        if key == "PASSWD" or key == "PASSWD2" and not clear:
            continue
        value = str(getattr(account, attribute))
        if key == "NAME":              # which users may change by themselves, and nobody relies on
            value = value.partition("\n")[0]
        if "\n" in value:
            raise Unservable(f"{account.address.partition(chr(10))[0]}: a line ends in its {attribute}")
        if value and not (key == "UID" and account.username):
            lines.append(f"{key}={value}\n")
    return "".join(lines).encode("utf-8", "surrogateescape") + b".\n"


def without_clear(reply: bytes) -> bytes:
    """An account's reply without its clear password."""
    return b"".join(line for line in reply.splitlines(keepends=True) if not line.startswith(b"PASSWD"))


def whole(data: bytes) -> bool:
    """Is a reply all there?"""
    return data == b"FAIL\n" or data.endswith(b"\n.\n")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def parse_reply(data: bytes) -> Account:
    """The account; the reply and all copies of what is secret in it, but the account's, are wiped.
    Raises Rejected, Unservable for one of an account that lacks something, or TemporaryFailure for a
    reply that is not whole."""
    if data == b"FAIL\n":
        raise Rejected
    if not whole(data):
        raise TemporaryFailure("no answer from the password daemon")
    values: dict[str, str] = {}
    for line in data.split(b"\n"):
        key, equals, value = line.partition(b"=")
        if equals:
            values.setdefault(_text(key), _text(value))
        if key.startswith(b"PASSWD"):
            wipe(line, value)
    wipe(data)
    username = values.get("USERNAME", "")
    try:
        if username and "UID" not in values:
            import pwd
            entry = pwd.getpwnam(username)
            values["UID"], values["GID"] = str(entry.pw_uid), str(values.get("GID", entry.pw_gid))
        return Account(values["ADDRESS"], number_of(values["UID"]), number_of(values["GID"]), values["HOME"],
                       username=username, name=values.get("NAME", ""), maildir=values.get("MAILDIR", ""),
                       quota=values.get("QUOTA", ""), passwd=values.get("PASSWD", ""),
                       passwd2=values.get("PASSWD2", ""), options=values.get("OPTIONS", ""))
    except (KeyError, ValueError) as error:
        raise Unservable(f"the password daemon's answer lacks {error}") from None
