"""``Server``: an IMAP server for tests, as a context manager."""
from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import threading

from courierpy.system.findings import WRONG, check
from courierpy.system.settings import TABLE, SettingsError
from courierpy.system.settingsfile import parse_text
from courierpy.testing import lacking, places
from courierpy.testing.account import Account
from courierpy.testing.guard import Guard, ServerError
from courierpy.testing.listener import LMTP

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping
    from typing import Any

FORBIDDEN = "\t\n\r\0|"        # in a password: they end it in the userdb

# Of the demands of a server on the net none is one of tests: all clients are one address, wrong passwords are
# tried by intent, and what is lost when the machine fails is of no value.
SETTINGS = {
    "MAXDAEMONS": "1000", "MAXPERIP": "1000", "IMAP_MAXPRELOGIN": "1000", "IMAP_LOGIN_DELAY": "0",
    "IMAP_FSYNC": "never", "IMAP_LOG": "lines", "AUTH_WORKERS": "4", "IMAP_NOLOGIN": "", "IMAP_ALERT": "",
    "TCPDOPTS": "-nodnslookup -noidentlookup",
    "IMAP_CAPABILITY": "all +AUTH=CRAM-MD5 +AUTH=SCRAM-SHA-1 +AUTH=SCRAM-SHA-256",
}


class Server:
    """Runs from start(), or the ``with``, to stop(): processes of its own, a folder of its own.

    ``host``: an address.  Any number may run at a time.  Its processes end with the process that started it,
    however that ends.
    """

    host = places.HOST

    def __init__(self, settings: Mapping[str, str] | None = None, without: Iterable[str] = ()) -> None:
        """``settings``: by their names in etc/imapd and etc/imapd-ssl.  ``without``: capabilities that it
        lacks, as ``Account.without``.  Raises ValueError for what is none, or has a wrong value."""
        self.lacks = tuple(sorted({word.upper() for word in without}))
        lacking.files(self.lacks)
        self._settings = {**SETTINGS, **(settings or {})}
        known = {setting.name for setting in TABLE}
        wrong = [f"{name}: there is no such setting" for name in self._settings if name not in known]
        wrong += [str(finding) for finding in check(self._settings) if finding.kind == WRONG]
        if wrong:
            raise ValueError("; ".join(wrong))
        self.layout = self._settings.get("IMAP_LAYOUT", "auto")
        self._guard: Guard | None = None
        self._lock = threading.Lock()
        self._ports: dict[str, int] = {}
        self._count = 0

    # -- from start to end

    def start(self) -> Server:
        """Returns when it greets clients.  Raises ServerError, with the server's log."""
        if self._guard is not None:
            raise ServerError("the server runs already")
        folder = tempfile.mkdtemp(prefix="courierpy-", dir=_above())
        try:
            self._prepare(folder)
            self._guard = Guard(folder, self.lacks)
            self._ports = {}
            self.listener("imap")
        except BaseException:
            self.stop()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return self

    def stop(self) -> None:
        """Returns when none of its processes runs and its folder is gone.  May be called again."""
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.stop()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepare(self, folder: str) -> None:
        if places.owner() is not None:
            os.chmod(folder, 0o755)        # the owner of the mail must come through
        os.mkdir(os.path.join(folder, "home"), 0o755)
        with open(os.open(places.userdb(folder), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"):
            pass
        # TLS_CERTFILE may name a file that is not there: then there is no STARTTLS
        values = {"ADDRESS": self.host, "AUTHMODULES": "authuserdb", "USERDB": places.userdb(folder),
                  "MAILDIRPATH": "Maildir", "TLS_CERTFILE": places.certificate(folder),
                  "IMAPDSTARTTLS": "YES", **self._settings}
        text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
        try:
            parse_text(text, "settings")
        except SettingsError as error:
            raise ValueError(str(error)) from None
        with open(places.settings_file(folder), "w", encoding="utf-8") as file:
            file.write(text)

    # -- what a test needs

    @property
    def port(self) -> int:
        """Of IMAP, with STARTTLS; of all accounts.  Connections to it are in no transcript."""
        return self.listener("imap")

    @property
    def tls_port(self) -> int:
        """Of IMAP under TLS from the first octet; its listener is started when it is first asked for."""
        return self.listener("imaps")

    @property
    def pop3_port(self) -> int:
        """Of POP3, with STLS; its listener is started when it is first asked for."""
        return self.listener("pop3")

    @property
    def lmtp_socket(self) -> str:
        """The path of a unix socket that takes mail by LMTP, for all accounts; its listener is started when
        it is first asked for."""
        self.listener(LMTP)
        return places.lmtp(self.folder)

    @property
    def smtp_port(self) -> int:
        """Of SMTP, for mail to ``name`` or ``name@anything`` of an account.  Needs aiosmtpd."""
        return int(self.ask("smtp", layout=self.layout)["port"])

    @property
    def tls_context(self) -> ssl.SSLContext:
        """Trusts the server's certificate, which is for 127.0.0.1 and localhost."""
        import ssl
        self.listener("imap")
        path = places.certificate(self.folder)
        if not os.path.exists(path):
            raise ServerError("the server has no certificate: TLS needs the program openssl")
        return ssl.create_default_context(cafile=path)

    @property
    def log(self) -> str:
        """What the server has logged until now."""
        return self.logged_since(0)[0]

    def logged_since(self, offset: int) -> tuple[str, int]:
        """What stands in the log behind ``offset`` octets, and the octets of all of it."""
        with open(places.log(self.folder), "rb") as file:
            file.seek(offset)
            return file.read().decode("utf-8", "backslashreplace"), file.tell()

    def account(self, name: str = "", password: str = "") -> Account:
        """A new account with an empty Maildir; without a name, or a password, one that no other has.
        Raises ValueError for what cannot be one."""
        with self._lock:
            self._count += 1
            name = name or f"user{self._count}"
        password = password or f"secret-{name}"
        home, maildir = places.home_of(self.folder, name), places.maildir_of(self.folder, name)
        if home is None or maildir is None:
            raise ValueError(f"{name!r}: an account's name of letters, digits and _ . @ + - was expected")
        if not set(password).isdisjoint(FORBIDDEN):
            raise ValueError(f"{password!r}: a password without tab, newline, NUL and | was expected")
        try:
            os.mkdir(home, 0o755)
        except FileExistsError:
            raise ValueError(f"{name}: there is such an account already") from None
        for part in ("", "cur", "new", "tmp"):
            os.mkdir(os.path.join(maildir, part), 0o700)
        owner = places.owner()
        if owner is not None:
            for path in (home, maildir, *(os.path.join(maildir, part) for part in ("cur", "new", "tmp"))):
                os.chown(path, *owner)
        uid, gid = owner or (os.getuid(), os.getgid())
        # appended: a reader who meets half of the line knows all other accounts
        with open(places.userdb(self.folder), "a", encoding="utf-8") as file:
            file.write(f"{name}\tuid={uid}|gid={gid}|home={home}|clearpw={password}\n")
        return Account(self, name, password, maildir)

    # -- the guardian

    def listener(self, kind: str, without: Iterable[str] = ()) -> int:
        """The port of a listener of a kind of testing/listener.py.  Raises ServerError."""
        key = " ".join([kind, *without])
        if key not in self._ports:
            lacks = [] if kind == LMTP else sorted({*self.lacks, *without})
            answer = self.ask("listen", kind=kind, without=lacks)
            self._ports[key] = int(answer["port"])
        return self._ports[key]

    def ask(self, do: str, **more: object) -> dict[str, Any]:
        """As ``Guard.ask``."""
        return self._running().ask(do, **more)

    def _running(self) -> Guard:
        if self._guard is None:
            raise ServerError("the server does not run")
        return self._guard

    @property
    def folder(self) -> str:
        """Where all that it has lies: settings, accounts, mail, certificate, log."""
        return self._running().folder


def _above() -> str:
    """Where the folder is made: as root a place that the owner of the mail may come through."""
    first = tempfile.gettempdir()
    if places.owner() is None:
        return first
    for place in (first, "/tmp", "/var/tmp"):
        if os.path.isdir(place) and _open_to_all(place):
            return place
    raise ServerError(f"{first}: as root the mail of tests is nobody's, who may not enter there: "
                      "let TMPDIR name a folder that all may enter")


def _open_to_all(path: str) -> bool:
    while os.stat(path).st_mode & 0o001:
        if path == "/":
            return True
        path = os.path.dirname(os.path.abspath(path))
    return False
