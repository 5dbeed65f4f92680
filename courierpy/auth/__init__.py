"""Who may log in: one interface, one file per module.

A module has ``lookup(request) -> Account`` and raises ``Rejected`` (no such
user, wrong password: the next module is asked) or ``TemporaryFailure`` (nobody
can tell now: the login ends, and it is never the user's fault).
"""
from __future__ import annotations

from courierpy.model.accountoptions import SEPARATE, with_defaults
from courierpy.model.numbers import decimal
from courierpy.system.wipe import wipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

DELIVERY = "lmtp"                      # service of who brings mail, and asks whose it is


class Rejected(Exception):
    """The user or the password is wrong."""


class Unservable(Rejected):
    """The password is right, the account is not: str() says why, for the log.

    The client must not learn that it was right.
    """


class TemporaryFailure(Exception):
    """The module cannot tell; str() is for the log."""


def is_module(word: str) -> bool:
    """Does a word of a command line name a module that checks passwords?"""
    return word.startswith("auth") and "/" not in word


MAX_ID = 0xFFFFFFFE                    # (uid_t)-1 means nobody in particular


def number_of(text: str) -> int:
    """A uid or gid as a module has it written.  Raises ValueError for what cannot be one."""
    number = decimal(text, MAX_ID)
    if number is None:
        raise ValueError(f"{text[:20]!r} is no uid or gid")
    return number


class Account:
    """What a module says of an account.  ``passwd2`` is the clear password where
    it is known, ``options`` Courier's comma-separated account options."""

    __slots__ = ("address", "gid", "home", "maildir", "name", "options", "passwd", "passwd2", "quota",
                 "uid", "username")

    def __init__(self, address: str, uid: int, gid: int, home: str, *, username: str = "",
                 name: str = "", maildir: str = "", quota: str = "", passwd: str = "",
                 passwd2: str = "", options: str = "") -> None:
        self.address = address
        self.uid = uid
        self.gid = gid
        self.home = home
        self.username = username
        self.name = name
        self.maildir = maildir
        self.quota = quota
        self.passwd = passwd
        self.passwd2 = passwd2
        self.options = options

    def option(self, name: str) -> str | None:
        """The value of the first option of this name; "1" for a bare one."""
        for part in self.options.split(SEPARATE):
            key, equals, value = part.partition("=")
            if key.strip() == name:
                return value if equals else "1"
        return None

    def forget(self) -> None:
        """Its passwords: nobody computes with them any more."""
        wipe(self.passwd, self.passwd2)
        self.passwd = self.passwd2 = ""

    def __repr__(self) -> str:
        return f"Account({self.address!r}, uid={self.uid}, gid={self.gid}, home={self.home!r})"


class Request:
    """What is asked.  ``kind``: "login" (user, password), "cram-md5" and the like
    (``challenge``, ``response``, both base64), "pre" (no password, for EXTERNAL) or "token" (an access
    token as the password; ``user`` may be "").  Modules are never asked for a "token": whoever asks
    them has checked it, and asks for "pre"."""

    __slots__ = ("challenge", "environ", "kind", "password", "response", "service", "user")

    def __init__(self, kind: str, service: str, environ: Mapping[str, str], *, user: str = "",
                 password: str = "", challenge: str = "", response: str = "") -> None:
        self.kind = kind
        self.service = service
        self.environ = environ
        self.user = user
        self.password = password
        self.challenge = challenge
        self.response = response


NAMES = ("authuserdb", "authpwd", "authshadow", "authpam", "authldap", "authpgsql", "authmysql", "authsqlite",
         "authpipe", "authdaemon", "authcustom")
# kinds of requests: a module may take any other for one without a password
KINDS = frozenset(("login", "cram-md5", "cram-sha1", "cram-sha256", "pre", "token"))


def configured(environ: Mapping[str, str]) -> list[str]:
    """The modules of AUTHMODULES.  Where it is not set: the userdb, then the system's accounts, by PAM
    when python-pam is installed."""
    words = environ.get("AUTHMODULES")
    if words is not None:
        return words.split()
    from importlib.util import find_spec
    return ["authuserdb", "authpwd" if find_spec("pam") is None else "authpam"]


_lookups: dict[str, Callable[[Request], Account]] = {}     # of the modules that are loaded


def check(modules: Iterable[str], request: Request) -> Account:
    """Ask the modules in order.  Raises Rejected or TemporaryFailure."""
    if request.kind not in KINDS:
        raise Rejected
    refusal = Rejected()
    for name in modules:
        if request.kind == "token" and name != "authdaemon":       # the listener's helper checks it first
            raise TemporaryFailure("a token comes to a module that nobody has checked")
        lookup = _lookups.get(name)
        if lookup is None:
            if name not in NAMES:
                raise TemporaryFailure(f"no such auth module: {name}")
            import importlib
            lookup = _lookups[name] = importlib.import_module(f"courierpy.auth.{name}").lookup
        try:
            account = lookup(request)
        except Unservable as error:
            refusal = error
            continue
        except Rejected:
            continue
        defaults = request.environ.get("DEFAULTOPTIONS")
        if defaults:
            account.options = with_defaults(account.options, defaults)
        return account
    raise refusal


def with_domain(user: str, environ: Mapping[str, str]) -> str:
    """DEFDOMAIN is appended to a name that has no domain."""
    domain = environ.get("DEFDOMAIN", "")
    separators = environ.get("DOMAINSEP") or domain[:1]
    if domain and not any(char in user for char in separators):
        return user + domain
    return user
