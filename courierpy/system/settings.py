"""Settings, by Courier's names.

Their files (settingsfile.py) become the environment of the whole chain, so every program reads the
same words.  One table names each setting, its kind, default and meaning.
"""
from __future__ import annotations

from functools import lru_cache

from courierpy.model.namespaces import INBOX
from courierpy.model.numbers import decimal
from courierpy.model.regex import later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


_OCTAL = later(r"\s*0{0,3}[0-7]{1,3}\s*")
_NUMBERS = later(r"(?s)(?:.+=)?([0-9]{1,18})")
MOST_DIGITS = 5                        # of a number of days
MAX_OCTETS = 4294967295                # what IMAP has for the size of a message
_SIGNED = later(r"\s*-?[0-9]{0,18}\s*")
KEPT_NUMBERS = 500             # values of settings that are known as numbers
_NUMBER = later(r"\s*(-?[0-9]{1,18})")          # what atoi() reads
MOST_READ = 18                 # digits of it


def days_of(value: str, trash: str = "") -> list[tuple[str, int]]:
    """(folder, days) of each that a setting of the kind "days" names; a bare number means the folder
    ``trash``.  Raises ValueError for what is none."""
    found = []
    for part in filter(None, value.replace(" ", "").split(",")):
        folder, colon, digits = part.rpartition(":")
        days = decimal(digits) if len(digits) <= MOST_DIGITS else None
        if days is None:
            raise ValueError(f"folder:days is expected, not {part}")
        found.append((folder if colon else trash, days))
    return found


class SettingsError(Exception):
    """A file that cannot be read or understood; str() names file and line."""


class Setting:
    """A row of the table.

    ``kind``: "text", "number", "flag" (non-zero is on), "yes" (Y or N), "choice" (one of ``choices``, in any
    case), "octal" (permissions), "numbers" (one, and others by name: see Settings.of_word), "days"
    (folder:days of each).  ``low``, ``high``: of a number; one beyond counts as the nearest that is not,
    None: no bound.  ``off``: (pattern of values, what these switch off;
    ``{NAME}`` is another setting's value).  What is accepted and does nothing has ``unneeded``, why nobody
    misses it.
    """

    __slots__ = ("choices", "default", "doc", "high", "kind", "low", "name", "off", "unneeded")

    def __init__(self, name: str, kind: str, default: str, doc: str, *, low: int | None = None,
                 high: int | None = None, choices: tuple[str, ...] = (), off: tuple[str, str] | None = None,
                 unneeded: str = "") -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.doc = doc
        self.low = low
        self.high = high
        self.choices = choices
        self.off = off
        self.unneeded = unneeded

    def wrong(self, value: str) -> str:
        """What was expected instead of this value; "" for one that is right."""
        if self.kind in ("number", "flag"):
            if (len(value) > MOST_READ or decimal(value) is None) and not _SIGNED.fullmatch(value):
                return "a number is expected"
            number = int(value) if value.strip() not in ("", "-") else None
            if number is not None and (self.low is not None and number < self.low
                                       or self.high is not None and number > self.high):
                return f"a number {self.span()} is expected"
        for word in value.split() if self.kind == "numbers" else ():
            found = _NUMBERS.fullmatch(word)
            if found is None:
                return "a number is expected, and others for some names, as in 1000 name=2000"
            if not (self.low or 0) <= int(found[1]) <= (self.high or MAX_OCTETS):
                return f"a number {self.span()} is expected"
        if self.kind == "octal" and value and not _OCTAL.fullmatch(value):
            return "octal digits are expected, as in 077"
        if self.kind == "yes" and value[:1].upper() not in ("Y", "N", ""):
            return "YES or NO is expected"
        if self.kind == "choice" and value and value.lower() not in map(str.lower, self.choices):
            return f"one of {', '.join(self.choices)} is expected"
        if self.kind == "days":
            try:
                days_of(value)
            except ValueError:
                return "folder:days is expected, several with commas between, as in Trash:7"
        return ""

    def span(self) -> str:
        """The range in words."""
        if self.high is None:
            return f"of {self.low} or more"
        return f"from {self.low} to {self.high}" if self.low is not None else f"of {self.high} or less"


TABLE: tuple[Setting, ...] = (
    Setting("ADDRESS", "text", "0", "address of the plain listener, 0 for all"),
    Setting("PORT", "text", "143", "ports of the plain listener, comma separated"),
    Setting("MAXDAEMONS", "number", "40", "connections at a time", low=1),
    Setting("MAXPERIP", "number", "20", "connections of one address",
            low=1, off=("[1-9]", "a mail reader opens five connections and more: the next is refused")),
    Setting("IMAP_MAXPRELOGIN", "number", "50", "connections before their login, 0: no bound",
            low=0, off=("0", "connections before their login can take all of MAXDAEMONS")),
    Setting("IMAP_LOGIN_PROCESSES", "number", "2",
            "processes for all connections before their login, 0: one for each", low=0, high=64),
    Setting("IMAP_REUSE", "choice", "account", "whose session a process serves after one: account, uid, no",
            choices=("account", "uid", "no")),
    Setting("IMAP_WAITING", "number", "16", "processes that wait for another session", low=0, high=1000),
    Setting("IMAP_PREFORK", "number", "2", "processes that are forked ahead of sessions", low=0, high=100),
    Setting("PIDFILE", "text", "", "file for the listener's process id"),
    Setting("TCPDOPTS", "text", "-nodnslookup -noidentlookup", "more options of couriertcpd"),
    Setting("IMAPACCESSFILE", "text", "", "access rules by address"),
    Setting("LOGGEROPTS", "text", "", "options of the logger",
            unneeded="the log needs no options, see LOG_FORMAT"),
    Setting("DEFDOMAIN", "text", "", "appended to user names without a domain"),
    Setting("DOMAINSEP", "text", "", "characters that show that a user name has a domain"),
    Setting("DEFAULTOPTIONS", "text", "", "options of every account that has none of the name, with commas"),
    Setting("IMAP_CAPABILITY", "text", "all", "capabilities to tell: all, a list, and +X or -X"),
    Setting("IMAP_CAPABILITY_ORIG", "text", "", "used by webadmin only", unneeded="webadmin alone reads it"),
    Setting("IMAP_CAPABILITY_TLS", "text", "", "the same under TLS"),
    Setting("IMAP_CAPABILITY_TLS_ORIG", "text", "", "used by webadmin only",
            unneeded="webadmin alone reads it"),
    Setting("IMAP_KEYWORDS", "number", "1", "0 switches keywords off",
            low=0, high=2, off=("0", "keywords: labels, junk marks and the like are not kept")),
    Setting("IMAP_ACL", "flag", "1", "tell clients of access control lists"),
    Setting("SMAP_CAPABILITY", "text", "", "SMAP1: speak Courier's other protocol too, and tell so"),
    Setting("IMAP_PROXY", "flag", "0", "send logins on to mailhost"),
    Setting("PROXY_HOSTNAME", "text", "", "this host's name, as mailhost has it"),
    Setting("PROXY_TLS", "choice", "may", "TLS to mailhost: may, no, starttls, tls",
            choices=("may", "no", "starttls", "tls")),
    Setting("PROXY_TRUSTCERTS", "text", "", "authorities of mailhost's certificate; empty: the system's"),
    Setting("PROXY_VERIFYPEER", "flag", "1", "with starttls and tls mailhost's certificate must be good",
            off=("0", "whoever answers as mailhost is told passwords, whatever his certificate")),
    Setting("PROXY_ORIGIN", "choice", "none", "how mailhost is told the client's address: none, id, proxy",
            choices=("none", "id", "proxy")),
    Setting("PROXY_TIMEOUT", "number", "10", "seconds until a login at mailhost is given up", low=1, high=50),
    Setting("IMAP_LOGIN_REFERRALS", "flag", "0", "tell clients of mailhost where a user's mail is"),
    Setting("IMAP_PROXY_FOREIGN", "flag", "0", "ask mailhost for its capabilities, as Courier does"),
    Setting("IMAP_IDLE_TIMEOUT", "number", "60", "seconds between looks while idle", low=1),
    Setting("IMAP_MAILBOX_SANITY_CHECK", "flag", "1", "the Maildir must be the user's own",
            off=("0", "a Maildir that is another user's is served")),
    Setting("IMAP_DISABLETHREADSORT", "flag", "0", "refuse SORT and THREAD",
            off=("[1-9].*", "SORT and THREAD: mail readers sort by themselves, message by message")),
    Setting("IMAP_CHECK_ALL_FOLDERS", "flag", "0", "tell \\Marked for every folder"),
    Setting("IMAP_OBSOLETE_CLIENT", "flag", "0", "LIST flags for very old clients"),
    Setting("IMAP_UMASK", "octal", "022", "umask of the servers"),
    Setting("IMAP_ULIMITD", "number", "0", "KiB of memory that a session may take, 0: any amount", low=0),
    Setting("IMAP_LANDLOCK", "text", "",
            "YES: after its login a session reaches its Maildir alone; or these directories too"),
    Setting("IMAP_USELOCKS", "text", "1", "dot-locks; only another first character than 1 switches off",
            off=("[^1].*", "the lock on a mailbox: sessions that number new mail at once may disagree")),
    Setting("IMAP_SHAREDINDEXFILE", "text", "", "index of the accounts that share mailboxes"),
    Setting("IMAP_REMOTE_MAILBOXES", "text", "", "list of others' mailboxes that are at other servers"),
    Setting("IMAP_SHAREDMUNGENAMES", "flag", "0", "dots and slashes in names of accounts are kept apart"),
    Setting("IMAP_LAYOUT", "choice", "auto", "where mailboxes lie: auto, maildir++, fs, legacy, flat",
            choices=("auto", "maildir++", "fs", "legacy", "flat")),
    Setting("IMAP_NO_PREFIX", "flag", "0", "mailboxes are named without INBOX. before their names"),
    Setting("IMAP_FSYNC", "choice", "optimized", "what is on disk before an OK: optimized, always, never",
            choices=("optimized", "always", "never", "0", "1"),
            off=("never|0", "after a crash of the host mail may be gone that was answered OK")),
    Setting("IMAP_INDEXDIR", "text", "", "directory for the indexes; empty: in each folder"),
    Setting("IMAP_ENHANCEDIDLE", "flag", "1", "changes told at once while idle",
            off=("0", "an idle client hears of mail after up to {IMAP_IDLE_TIMEOUT} s instead of at once")),
    Setting("IMAP_IDLE_KEEPALIVE", "number", "240", "seconds between words to a client that is idle",
            low=0, high=1740,
            off=("0", "routers on the way forget idle clients, and an IDLE ends after 30 minutes")),
    Setting("IMAP_HIBERNATE", "number", "10", "seconds of IDLE after which a process ends, 0: never",
            low=0, off=("0", "each idle connection keeps a process")),
    Setting("IMAP_HIBERNATE_QUIET", "number", "90",
            "seconds without a command after which a process ends, 0: never", low=0),
    Setting("MAILDIRQUOTA", "text", "", "quota of accounts that have none of their own: 1000000S,1000C"),
    Setting("IMAP_TRASHFOLDERNAME", "text", "Trash", "the trash folder"),
    Setting("IMAP_SPECIALUSE", "text", "", "names by which mailboxes have a use: Sent=name,name;Junk=name"),
    Setting("IMAP_EMPTYTRASH", "days", "Trash:7", "folder:days, older files there are removed"),
    Setting("IMAP_MOVE_EXPUNGE_TO_TRASH", "flag", "0", "EXPUNGE moves to the trash"),
    Setting("IMAP_EXPUNGE_KEEP", "number", "0",
            "days for which expunged messages are kept, 0: they go at once", low=0, high=36500),
    Setting("IMAP_MIME_PARTS", "number", "10000", "parts of a message that are told apart", low=1),
    Setting("IMAP_MIME_DEPTH", "number", "1000", "how deep parts may be nested and still be told apart",
            low=1),
    Setting("IMAP_HEADER_BYTES", "number", "1048576", "octets of a header that are looked into", low=1024),
    Setting("IMAP_LITERAL_BYTES", "number", "1048576",
            "octets of all literals of a command that are no messages", low=65536),
    Setting("IMAP_FOLDER_MESSAGES", "number", "5000000", "messages of a folder, 0: any number", low=0),
    Setting("IMAP_FOLDER_KEYWORDS", "number", "5000", "different keywords in a folder, 0: any number", low=0),
    Setting("IMAP_MESSAGE_KEYWORDS", "number", "200", "keywords of a message, 0: any number", low=0),
    Setting("IMAP_MESSAGELIMIT", "number", "0", "messages that one command works on, 0 for any", low=0,
            off=("[1-9].*", "clients that do not know RFC 9738 see the newest messages of a mailbox alone")),
    Setting("IMAP_SAVELIMIT", "number", "0", "messages that COPY or APPEND saves, 0: as IMAP_MESSAGELIMIT",
            low=0),
    Setting("IMAP_APPENDLIMIT", "numbers", "0", "octets of the largest message that APPEND takes, 0 for any",
            low=0, high=MAX_OCTETS),
    Setting("IMAP_METADATA_OCTETS", "number", "65536", "octets of the largest value of METADATA",
            low=1024, high=65536),
    Setting("IMAP_METADATA_ENTRIES", "number", "100", "entries of METADATA of a mailbox, or of the account",
            low=10, high=10000),
    Setting("IMAP_METADATA_ADMIN", "text", "", "address of the administrator: mailto:... or tel:..."),
    Setting("IMAP_APPEND_8BIT", "flag", "1", "8-bit headers from clients without UTF8=ACCEPT",
            off=("0", "APPEND of messages with 8-bit headers, which programs that copy mail need")),
    Setting("IMAP_LOG_DELETIONS", "text", "", "log each file that EXPUNGE removes"),
    Setting("IMAP_LOGIN_DELAY", "number", "5", "seconds until a refused login is answered, at first", low=0),
    Setting("IMAP_LOGINEXEC", "flag", "0", "run ./loginexec of a Maildir at the login"),
    Setting("IMAP_READONLY", "flag", "0", "sessions only read, and write nothing to the Maildir (imapd -r)"),
    Setting("IMAP_IGNORE_QUOTA", "flag", "0", "what is stored is counted, and nothing is too much"),
    Setting("DEBUG_COMMAND", "text", "", "command that -D starts: %s is the program, %d its pid"),
    Setting("IMAP_PREAUTH_LOGIN", "flag", "0", "LOGIN is answered OK after PREAUTH too"),
    Setting("LOG_FORMAT", "choice", "", "form of the log: courier, lines, journal, syslog, logfmt, json",
            choices=("courier", "lines", "journal", "syslog", "logfmt", "json")),
    Setting("IMAP_LOG", "choice", "", "older name of LOG_FORMAT, which counts before it",
            choices=("courier", "lines", "journal", "syslog", "logfmt", "json")),
    Setting("METRICS", "text", "", "where counts are told: unix:/path, file:/path, 127.0.0.1:port"),
    Setting("IMAP_PROCTITLE", "flag", "0", "ps shows who each process serves, the mailbox and the command"),
    Setting("AUTH_MKHOMEDIR_SKEL", "text", "", "copied to make a missing home directory"),
    Setting("IMAPDEBUGFILE", "text", "", "record of the dialogue"),
    Setting("CONFIGDIRECTORY", "text", "", "directory of msg/shutdown, msg/motd, denied and log/USER/"),
    Setting("RUNDIRECTORY", "text", "/run/courierpy", "directory where sessions say that they are on"),
    Setting("MAXPERUSER", "number", "0", "sessions of a protocol that a user may have, 0: any number", low=0),
    Setting("IMAP_MOTD", "choice", "day", "how often a user is told msg/motd: day, session",
            choices=("day", "session")),
    Setting("IMAP_NOLOGIN", "text", "/etc/nologin", "where this file is nobody is let in"),
    Setting("IMAP_ALERT", "text", "/etc/imapd.alert", "file that each session is told as an ALERT"),
    Setting("OUTBOX", "text", "", "folder whose new messages are sent, as .Outbox"),
    Setting("SENDMAIL", "text", "/usr/sbin/sendmail", "program that sends them"),
    Setting("HEADERFROM", "text", "X-IMAP-Sender", "header that names the sender"),
    Setting("OUTBOX_MULTIPLE_SEND", "flag", "0", "several messages at a time"),
    Setting("OUTBOX_TIMEOUT", "number", "60", "seconds that SENDMAIL has for a message", low=1, high=3600),
    Setting("IMAP_ID_FIELDS", "number", "0", "what ID tells: 1 version, 2 os, 4 its version", low=0, high=7),
    Setting("IMAPDSTART", "yes", "YES", "start the plain listener"),
    Setting("MAILDIRPATH", "text", "Maildir", "the Maildir below the home directory"),
    Setting("USERDB", "text", "/etc/courier/userdb", "account file of authuserdb"),
    Setting("AUTH_TIMEOUT", "text", "15", "seconds that a module has to answer"),
    Setting("AUTH_WORKERS", "text", "10", "processes at most that ask a module at the same time"),
    Setting("AUTHMODULES", "text", "", "modules that check passwords; unset: userdb and system"),
    Setting("AUTHDAEMON_SOCKET", "text", "", "authdaemon: the socket; empty: Courier's"),
    Setting("AUTHPIPE", "text", "", "authpipe: the program; empty: /etc/courier/authProg"),
    Setting("AUTHLDAPRC", "text", "/etc/courier/authldaprc", "authldap: its file"),
    Setting("AUTHPGSQLRC", "text", "/etc/courier/authpgsqlrc", "authpgsql: its file"),
    Setting("AUTHMYSQLRC", "text", "/etc/courier/authmysqlrc", "authmysql: its file"),
    Setting("AUTHSQLITERC", "text", "/etc/courier/authsqliterc", "authsqlite: its file"),
    Setting("AUTHCUSTOM", "text", "", "authcustom: package.module:function"),
    Setting("OAUTH_KEYFILE", "text", "", "keys of who issues access tokens: JWK set or PEM"),
    Setting("OAUTH_INTROSPECTION_URL", "text", "", "where the authorization server tells of a token"),
    Setting("OAUTH_CLIENT_ID", "text", "", "as whom it is asked"),
    Setting("OAUTH_CLIENT_SECRET_FILE", "text", "", "file with the secret for that, mode 0600"),
    Setting("OAUTH_TRUSTCERTS", "text", "", "authorities of its certificate; empty: the system's"),
    Setting("OAUTH_TIMEOUT", "number", "5", "seconds that it has to answer", low=1, high=60),
    Setting("OAUTH_ISSUER", "text", "", "issuers of access tokens (iss); empty: any whose key it is"),
    Setting("OAUTH_AUDIENCE", "text", "", "names of this service in access tokens (aud)"),
    Setting("OAUTH_SCOPE", "text", "", "scopes that an access token must have"),
    Setting("OAUTH_USER_CLAIM", "text", "email", "claim of an access token that is the user"),
    Setting("OAUTH_ALGORITHMS", "text", "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519",
            "algorithms that an access token may be signed by"),
    Setting("OAUTH_LEEWAY", "number", "60", "seconds that clocks may differ", low=0, high=3600),
    Setting("OAUTH_CONFIGURATION_URL", "text", "", "told to clients whose token is refused"),
    Setting("IMAP_TLS", "flag", "0", "set by the listener: the connection is encrypted"),
    Setting("IMAP_STARTTLS", "yes", "NO", "set by the listener: STARTTLS can be offered"),
    Setting("SSLPORT", "text", "993", "ports of the TLS listener"),
    Setting("SSLADDRESS", "text", "0", "address of the TLS listener"),
    Setting("SSLPIDFILE", "text", "", "file for its process id"),
    Setting("SSLLOGGEROPTS", "text", "", "options of its logger",
            unneeded="the log needs no options, see LOG_FORMAT"),
    Setting("IMAPDSSLSTART", "yes", "NO", "start the TLS listener"),
    Setting("IMAPDSTARTTLS", "yes", "YES", "offer STARTTLS on the plain listener",
            off=("[nN].*", "STARTTLS: passwords go over the plain listener as they are")),
    Setting("IMAP_TLS_REQUIRED", "flag", "0", "no login without TLS"),
    Setting("COURIERTLS", "text", "", "TLS is built in", unneeded="TLS is built in"),
    Setting("TLS_PRIORITY", "text", "", "GnuTLS priorities",
            unneeded="GnuTLS is not used, see TLS_CIPHER_LIST"),
    Setting("TLS_PROTOCOL", "text", "", "lowest protocol: TLSv1.2 or TLSv1.3"),
    Setting("TLS_STARTTLS_PROTOCOL", "text", "", "the same for STARTTLS; empty: as TLS_PROTOCOL"),
    Setting("TLS_CIPHER_LIST", "text", "", "OpenSSL cipher list"),
    Setting("TLS_MIN_DH_BITS", "text", "", "GnuTLS only", unneeded="GnuTLS is not used"),
    Setting("TLS_TIMEOUT", "text", "", "not used by Courier either",
            unneeded="Courier does not use it either"),
    Setting("TLS_CERTFILE", "text", "", "certificate chain and key, PEM"),
    Setting("TLS_PRIVATE_KEYFILE", "text", "", "the key when it is apart"),
    Setting("TLS_DHPARAMS", "text", "", "not needed with today's key exchange",
            unneeded="today's key exchange needs none"),
    Setting("TLS_TRUSTCERTS", "text", "", "authorities of client certificates"),
    Setting("TLS_VERIFYPEER", "choice", "NONE", "NONE, PEER or REQUIREPEER",
            choices=("NONE", "PEER", "REQUIREPEER")),
    Setting("TLS_EXTERNAL", "text", "", "subject field that is the user of EXTERNAL"),
    Setting("EXTERNAL_MAP", "text", "", "file of the users that names in certificates stand for"),
    Setting("TLS_CACHEFILE", "text", "", "session tickets need none", unneeded="session tickets need none"),
    Setting("TLS_CACHESIZE", "text", "", "session tickets need none", unneeded="session tickets need none"),
    Setting("TLS_ALPN", "text", "imap", "protocol names for ALPN"),
    Setting("LMTP_SOCKET", "text", "", "unix sockets at which mail is taken by LMTP; empty: none"),
    Setting("LMTP_SOCKET_MODE", "octal", "0660", "permissions of these sockets"),
    Setting("LMTP_GROUP", "text", "", "group of these sockets, whose members may deliver"),
    Setting("LMTP_ADMINS", "text", "", "users who may deliver over the network when they have logged in"),
    Setting("LMTP_AUTH", "text", "PLAIN LOGIN", "SASL mechanisms for them"),
    Setting("LMTP_DOMAINS", "text", "", "domains whose local parts are accounts too; empty: all"),
    Setting("LMTP_DELIMITER", "text", "+", "character between a user and a mailbox in an address"),
    Setting("LMTP_FOLD_CASE", "flag", "1", "a local part names an account in small letters too"),
    Setting("LMTP_DETAIL_MUST_EXIST", "flag", "0", "user+mailbox is refused where the mailbox is not there"),
    Setting("LMTP_XCLIENT", "text", "", "who may say for whom it speaks: addresses, networks, unix"),
    Setting("LMTP_DELIVERED_TO", "flag", "1", "write Delivered-To above a message"),
    Setting("LMTP_DUPLICATE_DAYS", "number", "3", "days in which no message comes twice, 0: it may", low=0,
            high=90),
    Setting("LMTP_OVERQUOTA_PERMANENT", "flag", "0", "mail for a full mailbox goes back at once"),
    Setting("LMTP_RECIPIENTS", "number", "2000", "recipients of one message", low=100, high=100000),
    Setting("LMTP_TIMEOUT", "number", "300", "seconds that a client may be silent", low=10, high=3600),
    Setting("SMMAP_SOCKET", "text", "", "where an MTA asks for recipients: /path, 127.0.0.1:port"),
    Setting("SMMAP_SOCKET_MODE", "octal", "0660", "permissions of these sockets"),
    Setting("SMMAP_GROUP", "text", "", "group of these sockets; empty: LMTP_GROUP"),
    Setting("SMMAP_CONNECTIONS", "number", "500", "connections of programs that ask, at a time", low=10,
            high=10000),
    Setting("SMMAP_WORKERS", "number", "4", "processes that answer them", low=1, high=64),
    Setting("SMMAP_TIMEOUT", "number", "30", "seconds for a question to be answered", low=1, high=90),
    Setting("NOTIFYD_SOCKET", "text", "", "unix socket where notifyd hears of new mail; empty: nobody does"),
    Setting("NOTIFYD_SOCKET_MODE", "octal", "0666", "permissions of that socket"),
    Setting("NOTIFYD_USER", "text", "", "user that notifyd is"),
    Setting("NOTIFYD_TRUSTED", "text", "", "users who may tell of mail that is not theirs, beside root"),
    Setting("NOTIFYD_MAILBOXES", "text", INBOX, "mailboxes whose new mail is told, * for any characters"),
    Setting("NOTIFYD_METHODS", "text", "log", "how it is told: null, log, mailto, external, webhook"),
    Setting("NOTIFYD_FIELDS", "text", "", "what is told of a message: from, subject, date, message-id, size"),
    Setting("NOTIFYD_MAILTO", "text", "", "mailto: the address"),
    Setting("NOTIFYD_EXTERNAL", "text", "", "external: the program and its words"),
    Setting("NOTIFYD_WEBHOOK_URL", "text", "", "webhook: the URL"),
    Setting("NOTIFYD_TOKEN_URL", "text", "", "URL that tells devices by the tokens they set in METADATA"),
    Setting("NOTIFYD_SECRET_FILE", "text", "", "webhook: file with a bearer token, mode 0600"),
    Setting("NOTIFYD_NETWORKS", "text", "", "addresses that URLs may lead to; empty: public ones, by https"),
    Setting("NOTIFYD_TRUSTCERTS", "text", "", "authorities of certificates of URLs; empty: the system's"),
    Setting("NOTIFYD_TIMEOUT", "number", "20", "seconds that one has to be told", low=1, high=300),
    Setting("NOTIFYD_HOURS", "number", "24", "hours in which it is tried again", low=0, high=720),
    Setting("NOTIFYD_QUEUE", "text", "/var/spool/courierpy/notify", "folder of what is still to be told"),
    Setting("NOTIFYD_QUEUE_MOST", "number", "10000", "how much may wait there", low=10, high=1000000),
    Setting("POP3AUTH", "text", "PLAIN LOGIN", "POP3: SASL mechanisms that CAPA tells"),
    Setting("POP3AUTH_ORIG", "text", "", "used by webadmin only", unneeded="webadmin alone reads it"),
    Setting("POP3AUTH_TLS", "text", "", "the same under TLS"),
    Setting("POP3AUTH_TLS_ORIG", "text", "", "used by webadmin only", unneeded="webadmin alone reads it"),
    Setting("POP3_PROXY", "flag", "0", "POP3: send logins on to mailhost"),
    Setting("POP3_LOG_DELETIONS", "text", "", "POP3: log each removed file"),
    Setting("POP3_LOGIN_DELAY", "number", "10", "POP3: seconds between logins that CAPA asks for, 0: none",
            low=0, high=86400),
    Setting("POP3_LOGIN_DELAY_ENFORCED", "flag", "0", "POP3: refuse who comes sooner than that"),
    Setting("POP3_EXPIRE", "text", "NEVER", "POP3: days that messages stay, for CAPA; empty: not told"),
    Setting("MIME_UNICODE_MESSAGE_TYPE", "text", "message/global", "POP3: wraps 8-bit headers; empty: as is"),
    Setting("POP3DSTART", "yes", "YES", "start the plain POP3 listener"),
    Setting("POP3DSSLSTART", "yes", "NO", "start the POP3 listener by TLS"),
    Setting("POP3_STARTTLS", "yes", "YES", "offer STLS on the plain POP3 listener",
            off=("[nN].*", "STLS: passwords go over the plain listener as they are")),
    Setting("POP3_TLS_REQUIRED", "flag", "0", "no POP3 login without TLS"),
    Setting("POP3_TLS", "flag", "0", "set by the listener: the connection is encrypted"),
)
BY_NAME = {setting.name: setting for setting in TABLE}


@lru_cache(KEPT_NUMBERS)
def _number(name: str, text: str) -> int:
    """What Settings.number() says of a setting that has this value: each session asks twenty times."""
    # as most are written, without a pattern to compile
    found = decimal(text) if len(text) <= MOST_READ else None
    match = _NUMBER.match(text) if found is None and text else None
    is_one = found is not None or match is not None
    if found is None:
        found = int(match[1]) if match else 0
    setting = BY_NAME.get(name)
    if setting is None:
        return found
    if setting.kind == "number" and not text.strip():
        return int(setting.default)
    if setting.low is not None and found < setting.low:
        return setting.low if is_one else int(setting.default)
    return found if setting.high is None else min(found, setting.high)


class Variables(dict[str, str]):
    """The environment of a session whose process knows ``alike`` of its settings; None: it does not."""

    __slots__ = ("alike",)

    def __init__(self, *variables: Mapping[str, str]) -> None:
        super().__init__(*variables)
        self.alike: Settings | None = None


class Settings:
    """Values by name, with the table's defaults.  ``alike``: the same without what is a client's own, None
    as long as nobody asked; ``concluded``: what follows from them, by what found it (concluded.py)."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values
        self.alike: Settings | None = None
        self.concluded: dict[Any, Any] = {}

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if value is None:
            setting = BY_NAME.get(name)
            return setting.default if setting is not None else ""
        return value

    def words(self, name: str) -> list[str]:
        """Of a list, with blanks or commas between."""
        return self.text(name).replace(",", " ").split()

    def number(self, name: str) -> int:
        """As atoi(): the digits at the beginning, else 0; one beyond the bounds of the table is the
        nearest within, and a 0 that no digit says is the default where it is beyond.  An empty one is the
        default too, but of a flag off."""
        return _number(name, self.text(name))

    def of_word(self, name: str, word: str) -> int:
        """A number that may differ by word: ``15 authpam=30``.  A blank in a word is ``%20``."""
        word = word.replace(" ", "%20")
        found = 0
        for part in self.text(name).split():
            own, equals, value = part.rpartition("=")
            number = decimal(value, MAX_OCTETS)
            if number is not None and (own == word or not equals and not found):
                found = number
                if equals:
                    return found
        return found

    def flag(self, name: str) -> bool:
        return self.number(name) != 0

    def says(self, name: str) -> bool:
        """Is a flag on, or does a text say something?"""
        setting = BY_NAME.get(name)
        return bool(self.text(name)) if setting is not None and setting.kind == "text" else self.flag(name)

    def yes(self, name: str) -> bool:
        return self.text(name)[:1] in ("y", "Y")

    @property
    def checks_owner(self) -> bool:
        """Must a Maildir be its user's own?  As Courier reads IMAP_MAILBOX_SANITY_CHECK."""
        return self.text("IMAP_MAILBOX_SANITY_CHECK") in ("", "1")

    @property
    def landlock(self) -> list[str] | None:
        """The directories of IMAP_LANDLOCK that a session reaches besides its own; None: all there are."""
        word = self.text("IMAP_LANDLOCK")
        if word.lower() in ("", "0", "no", "n"):
            return None
        return [path for path in word.split(":") if path.startswith("/")]

    @property
    def reuse(self) -> str:
        """IMAP_REUSE; a process that is confined to a Maildir serves no other account."""
        word = self.text("IMAP_REUSE").lower()
        return "account" if word == "uid" and self.landlock is not None else word

    def umask(self) -> int | None:
        """IMAP_UMASK, octal; None where it is not set or is none."""
        word = self.values.get("IMAP_UMASK", "")
        return int(word, 8) if word and _OCTAL.fullmatch(word) else None

    def external_identity(self) -> str:
        """The subject field of the client certificate that EXTERNAL logs in as."""
        field = self.text("TLS_EXTERNAL").upper()
        return self.values.get(f"TLS_SUBJECT_{field}", "") if field else ""


def from_environ(environ: Mapping[str, str]) -> Settings:
    """The settings that a program was started with."""
    found = Settings(environ)
    if isinstance(environ, Variables):
        found.alike = environ.alike
    return found
