"""Settings: Courier's files, read by a parser of the shell's assignments.

The files become the environment of the whole chain, so every program reads the
same words.  One table names each setting, its kind, default and meaning.
"""
from __future__ import annotations

import re

from courierpy.model.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


_UMASK = re.compile(r"\s*0{0,3}[0-7]{1,3}\s*")


class SettingsError(Exception):
    """A file that cannot be read or understood; str() names file and line."""


class Setting:
    """``kind``: "text", "number", "flag" (non-zero is on), "yes" (Y or N).
    ``built``: False for what is accepted and does nothing yet."""

    __slots__ = ("built", "default", "doc", "kind", "name")

    def __init__(self, name: str, kind: str, default: str, doc: str, built: bool = True) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.doc = doc
        self.built = built


TABLE: tuple[Setting, ...] = (
    Setting("ADDRESS", "text", "0", "address of the plain listener, 0 for all"),
    Setting("PORT", "text", "143", "ports of the plain listener, comma separated"),
    Setting("MAXDAEMONS", "number", "40", "connections at a time"),
    Setting("MAXPERIP", "number", "20", "connections of one address"),
    Setting("IMAP_MAXPRELOGIN", "number", "50", "connections before their login, 0: no bound"),
    Setting("PIDFILE", "text", "", "file for the listener's process id"),
    Setting("TCPDOPTS", "text", "-nodnslookup -noidentlookup", "more options of couriertcpd"),
    Setting("IMAPACCESSFILE", "text", "", "access rules by address"),
    Setting("LOGGEROPTS", "text", "", "options of the logger", built=False),
    Setting("DEFDOMAIN", "text", "", "appended to user names without a domain"),
    Setting("DOMAINSEP", "text", "", "characters that show that a user name has a domain"),
    Setting("IMAP_CAPABILITY", "text", "all", "capabilities to tell: all, a list, and +X or -X"),
    Setting("IMAP_CAPABILITY_ORIG", "text", "", "used by webadmin only", built=False),
    Setting("IMAP_CAPABILITY_TLS", "text", "", "the same under TLS"),
    Setting("IMAP_CAPABILITY_TLS_ORIG", "text", "", "used by webadmin only", built=False),
    Setting("IMAP_KEYWORDS", "number", "1", "0 switches keywords off"),
    Setting("IMAP_ACL", "flag", "0", "access control lists", built=False),
    Setting("SMAP_CAPABILITY", "text", "", "Courier's private protocol", built=False),
    Setting("IMAP_PROXY", "flag", "0", "send logins on to mailhost", built=False),
    Setting("PROXY_HOSTNAME", "text", "", "this host's name as a proxy", built=False),
    Setting("IMAP_PROXY_FOREIGN", "flag", "0", "ask the other host for its capabilities", built=False),
    Setting("IMAP_IDLE_TIMEOUT", "number", "60", "seconds between looks while idle"),
    Setting("IMAP_MAILBOX_SANITY_CHECK", "flag", "1", "the Maildir must be the user's own"),
    Setting("IMAP_DISABLETHREADSORT", "flag", "0", "refuse SORT and THREAD"),
    Setting("IMAP_CHECK_ALL_FOLDERS", "flag", "0", "tell \\Marked for every folder"),
    Setting("IMAP_OBSOLETE_CLIENT", "flag", "0", "LIST flags for very old clients"),
    Setting("IMAP_UMASK", "text", "022", "umask of the servers"),
    Setting("IMAP_ULIMITD", "text", "", "data segment limit in KiB", built=False),
    Setting("IMAP_USELOCKS", "text", "1", "dot-locks; only another first character than 1 switches off"),
    Setting("IMAP_SHAREDINDEXFILE", "text", "", "index of shared folders", built=False),
    Setting("IMAP_SHAREDMUNGENAMES", "flag", "0", "quoting of shared names", built=False),
    Setting("IMAP_LAYOUT", "text", "auto", "where mailboxes lie: auto, maildir++, fs, legacy, flat"),
    Setting("IMAP_FSYNC", "text", "optimized", "what is on disk before an OK: optimized, always, never"),
    Setting("IMAP_INDEXDIR", "text", "", "directory for the indexes; empty: in each folder"),
    Setting("IMAP_ENHANCEDIDLE", "flag", "1", "changes told at once while idle"),
    Setting("IMAP_IDLE_KEEPALIVE", "number", "240", "seconds between words to a client that is idle"),
    Setting("IMAP_HIBERNATE", "number", "10", "seconds of IDLE after which a process ends, 0: never"),
    Setting("IMAP_TRASHFOLDERNAME", "text", "Trash", "the trash folder"),
    Setting("IMAP_EMPTYTRASH", "text", "Trash:7", "folder:days, older files there are removed"),
    Setting("IMAP_MOVE_EXPUNGE_TO_TRASH", "flag", "0", "EXPUNGE moves to the trash", built=False),
    Setting("IMAP_MIME_PARTS", "number", "10000", "parts of a message that are told apart"),
    Setting("IMAP_MIME_DEPTH", "number", "1000", "how deep parts may be nested and still be told apart"),
    Setting("IMAP_HEADER_BYTES", "number", "1048576", "octets of a header that are looked into"),
    Setting("IMAP_APPENDLIMIT", "number", "0", "octets of the largest message that APPEND takes, 0 for any"),
    Setting("IMAP_APPEND_8BIT", "flag", "1", "8-bit headers from clients without UTF8=ACCEPT"),
    Setting("IMAP_LOG_DELETIONS", "text", "", "log each removed file", built=False),
    Setting("IMAP_LOGIN_DELAY", "number", "5", "seconds until a refused login is answered, at first"),
    Setting("IMAP_LOGINEXEC", "flag", "0", "run ./loginexec of a Maildir at the login"),
    Setting("IMAP_PREAUTH_LOGIN", "flag", "0", "LOGIN is answered OK after PREAUTH too"),
    Setting("IMAP_LOG", "text", "", "form of the log: courier, lines, journal, syslog"),
    Setting("AUTH_MKHOMEDIR_SKEL", "text", "", "copied to make a missing home directory"),
    Setting("IMAPDEBUGFILE", "text", "", "record of the dialogue"),
    Setting("OUTBOX", "text", "", "folder whose new messages are sent", built=False),
    Setting("SENDMAIL", "text", "/usr/sbin/sendmail", "program that sends them", built=False),
    Setting("HEADERFROM", "text", "X-IMAP-Sender", "header that names the sender", built=False),
    Setting("OUTBOX_MULTIPLE_SEND", "flag", "0", "several messages at a time", built=False),
    Setting("IMAP_ID_FIELDS", "number", "0", "what ID tells: 1 version, 2 os, 4 its version"),
    Setting("IMAPDSTART", "yes", "YES", "start the plain listener"),
    Setting("MAILDIRPATH", "text", "Maildir", "the Maildir below the home directory"),
    Setting("USERDB", "text", "/etc/courier/userdb", "account file of authuserdb"),
    Setting("AUTH_TIMEOUT", "text", "15", "seconds that a module has to answer"),
    Setting("AUTH_WORKERS", "text", "10", "processes at most that ask a module at the same time"),
    Setting("AUTHMODULES", "text", "authuserdb authpwd", "modules that check passwords, in order"),
    Setting("AUTHDAEMON_SOCKET", "text", "", "authdaemon: the socket; empty: Courier's"),
    Setting("AUTHPIPE", "text", "", "authpipe: the program; empty: /etc/courier/authProg"),
    Setting("AUTHCUSTOM", "text", "", "authcustom: package.module:function"),
    Setting("IMAP_TLS", "flag", "0", "set by the listener: the connection is encrypted"),
    Setting("IMAP_STARTTLS", "yes", "NO", "set by the listener: STARTTLS can be offered"),
    Setting("SSLPORT", "text", "993", "ports of the TLS listener"),
    Setting("SSLADDRESS", "text", "0", "address of the TLS listener"),
    Setting("SSLPIDFILE", "text", "", "file for its process id"),
    Setting("SSLLOGGEROPTS", "text", "", "options of its logger", built=False),
    Setting("IMAPDSSLSTART", "yes", "NO", "start the TLS listener"),
    Setting("IMAPDSTARTTLS", "yes", "YES", "offer STARTTLS on the plain listener"),
    Setting("IMAP_TLS_REQUIRED", "flag", "0", "no login without TLS"),
    Setting("COURIERTLS", "text", "", "TLS is built in", built=False),
    Setting("TLS_PRIORITY", "text", "", "GnuTLS priorities", built=False),
    Setting("TLS_PROTOCOL", "text", "", "lowest protocol: TLSv1.2 or TLSv1.3"),
    Setting("TLS_STARTTLS_PROTOCOL", "text", "", "the same for STARTTLS", built=False),
    Setting("TLS_CIPHER_LIST", "text", "", "OpenSSL cipher list"),
    Setting("TLS_MIN_DH_BITS", "text", "", "GnuTLS only", built=False),
    Setting("TLS_TIMEOUT", "text", "", "not used by Courier either", built=False),
    Setting("TLS_CERTFILE", "text", "", "certificate chain and key, PEM"),
    Setting("TLS_PRIVATE_KEYFILE", "text", "", "the key when it is apart"),
    Setting("TLS_DHPARAMS", "text", "", "not needed with today's key exchange", built=False),
    Setting("TLS_TRUSTCERTS", "text", "", "authorities of client certificates"),
    Setting("TLS_VERIFYPEER", "text", "NONE", "NONE, PEER or REQUIREPEER"),
    Setting("TLS_EXTERNAL", "text", "", "subject field that is the user of EXTERNAL"),
    Setting("TLS_CACHEFILE", "text", "", "session tickets need none", built=False),
    Setting("TLS_CACHESIZE", "text", "", "session tickets need none", built=False),
    Setting("TLS_ALPN", "text", "imap", "protocol names for ALPN"),
)
_BY_NAME = {setting.name: setting for setting in TABLE}


class Settings:
    """Values by name, with the table's defaults."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if value is None:
            setting = _BY_NAME.get(name)
            return setting.default if setting is not None else ""
        return value

    def number(self, name: str) -> int:
        """As atoi(): the digits at the beginning, else 0."""
        match = re.match(r"\s*(-?[0-9]{1,18})", self.text(name))
        return int(match[1]) if match else 0

    def of_word(self, name: str, word: str) -> int:
        """A number that may differ by word: ``15 authpam=30``."""
        found = 0
        for part in self.text(name).split():
            own, equals, value = part.rpartition("=")
            number = decimal(value, 999_999_999)
            if number is not None and (own == word or not equals and not found):
                found = number
                if equals:
                    return found
        return found

    def flag(self, name: str) -> bool:
        return self.number(name) != 0

    def yes(self, name: str) -> bool:
        return self.text(name)[:1] in ("y", "Y")

    @property
    def checks_owner(self) -> bool:
        """Must a Maildir be its user's own?  As Courier reads IMAP_MAILBOX_SANITY_CHECK."""
        return self.text("IMAP_MAILBOX_SANITY_CHECK") in ("", "1")

    def umask(self) -> int | None:
        """IMAP_UMASK, octal; None where it is not set or is none."""
        word = self.values.get("IMAP_UMASK", "")
        return int(word, 8) if _UMASK.fullmatch(word) else None

    def external_identity(self) -> str:
        """The subject field of the client certificate that EXTERNAL logs in as."""
        field = self.text("TLS_EXTERNAL").upper()
        return self.values.get(f"TLS_SUBJECT_{field}", "") if field else ""


def from_environ(environ: Mapping[str, str]) -> Settings:
    return Settings(environ)


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_PIECE = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^\s'"\\;#]+)|(#)|([\s;])""", re.S)
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_ESCAPE = re.compile(r'\\(["\\$`])')


def parse_file(path: str, start: Mapping[str, str] | None = None) -> dict[str, str]:
    """The assignments of a file on top of ``start``.  Raises SettingsError."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    return parse_text(text, path, start)


def parse_text(text: str, path: str, start: Mapping[str, str] | None = None) -> dict[str, str]:
    values = dict(start or {})
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("export "):
            line = line[7:].lstrip()
        match = _NAME.match(line)
        if match is None:
            raise SettingsError(f"{path}:{number}: not an assignment: {line[:60]}")
        try:
            values[match[0][:-1]] = _value(line[match.end():], values)
        except ValueError as error:
            raise SettingsError(f"{path}:{number}: {error}") from None
    return values


def _value(text: str, values: Mapping[str, str]) -> str:
    def expand(piece: str) -> str:
        return _VARIABLE.sub(lambda m: values.get(m[1] or m[2], ""), piece)

    out = []
    at = 0
    while at < len(text):
        match = _PIECE.match(text, at)
        if match is None:
            raise ValueError("a quote is not closed")
        single, double, escaped, plain, comment, blank = match.groups()
        at = match.end()
        if single is not None:
            out.append(single)
        elif double is not None:
            if "`" in double or "$(" in double:
                raise ValueError("commands are not run")
            out.append(_ESCAPE.sub(r"\1", expand(double)))
        elif escaped is not None:
            out.append(escaped)
        elif plain is not None:
            if "`" in plain or "$(" in plain:
                raise ValueError("commands are not run")
            out.append(expand(plain))
        elif blank is not None:
            rest = text[at:].strip()
            if rest and not rest.startswith(("#", ";")):
                raise ValueError(f"text behind the value: {rest[:40]}")
            break
        elif comment is not None:
            out.append("#")
    return "".join(out)


def check(values: Mapping[str, str]) -> list[str]:
    """What is odd about the values: a line each."""
    found = []
    for name, value in sorted(values.items()):
        setting = _BY_NAME.get(name)
        if setting is None:
            continue
        if not setting.built and value not in ("", "0", setting.default):
            found.append(f"{name}: accepted, but not built yet")
        if setting.kind in ("number", "flag") and not re.fullmatch(r"\s*-?[0-9]{0,18}\s*", value):
            found.append(f"{name}: a number is expected, not {value!r}")
        if name == "IMAP_UMASK" and value and not _UMASK.fullmatch(value):
            found.append(f"{name}: octal digits are expected, as in 077, not {value!r}")
        if setting.kind == "yes" and value[:1].upper() not in ("Y", "N", ""):
            found.append(f"{name}: YES or NO is expected, not {value!r}")
    return found
