"""The environment as the interface between the programs: each variable, who sets it, who reads it.

The names are Courier's, so that each program of the chain can be Courier's or ours; what begins with
``COURIERPY_`` is between our own.  Settings (system/settings.py) are variables too, and are not
repeated here.  A name that ends in ``*`` stands for all that begin so.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Variable:
    """``setter``, ``readers``: programs; ``text``: what it holds, with its unit."""

    __slots__ = ("name", "readers", "setter", "text")

    def __init__(self, name: str, setter: str, readers: str, text: str) -> None:
        self.name = name
        self.setter = setter
        self.readers = readers
        self.text = text


TABLE: tuple[Variable, ...] = (
    # the connection: ref couriertcpd
    Variable("TCPLOCALIP", "couriertcpd", "imaplogin", "address that the client connected to"),
    Variable("TCPLOCALPORT", "couriertcpd", "imaplogin", "port that the client connected to"),
    Variable("TCPREMOTEIP", "couriertcpd", "imaplogin, imapd", "address of the client"),
    Variable("TCPREMOTEPORT", "couriertcpd", "imaplogin, imapd", "port of the client"),
    Variable("TCPREMOTEHOST", "couriertcpd", "access rules", "name of the client, unless -nodnslookup"),
    Variable("TCPLOCALHOST", "couriertcpd", "access rules", "name of our address, unless -nodnslookup"),
    Variable("TCPREMOTEINFO", "couriertcpd", "access rules", "what identd said, unless -noidentlookup"),
    Variable("BLOCK*", "couriertcpd", "imaplogin", "why a list of -block names the address"),
    Variable("ALLOW_*", "couriertcpd", "imaplogin", "what a list of -allow says of the address"),
    Variable("MAXCPERIP", "access rules", "couriertcpd", "connections of this address at a time"),
    Variable("PROTOCOL", "imaplogin", "auth modules", "IMAP"),
    Variable("TLS_SUBJECT_*", "imaplogin", "imaplogin", "fields of the client's certificate"),
    Variable("TLS_CONNECTED_PROTOCOL", "imaplogin", "imapd", "version of TLS and cipher"),
    # the account: ref authlib
    Variable("AUTHSERVICE*", "administrator", "imaplogin", "service name of the port, else imap"),
    Variable("AUTHENTICATED", "imaplogin", "imapd", "name of the user, for the log"),
    Variable("AUTHADDR", "imaplogin", "imapd", "address of the account"),
    Variable("AUTHFULLNAME", "imaplogin", "imapd", "the account's name"),
    Variable("AUTHOPTIONS", "imaplogin", "imapd", "options of the account"),
    Variable("OPTIONS", "imaplogin", "imapd", "the same, by its older name"),
    Variable("MAILDIR", "imaplogin, shell", "imapd", "the Maildir; wins over the argument"),
    Variable("HOME", "imaplogin", "imapd", "the account's home, which is the working directory"),
    Variable("IMAPLOGINTAG", "imaplogin", "imapd", "tag of the LOGIN that imapd answers; without it PREAUTH"),
    Variable("UTF8", "pop3login", "pop3d", "1: the client has said UTF8; 0: it has not; none: it could not"),
    # between our own programs
    Variable("COURIERPY_AGAIN", "couriertcpd", "imaplogin", "set: the client has heard the greeting"),
    Variable("COURIERPY_AUTHSOCKET", "couriertcpd", "imaplogin", "path of the password helpers' socket"),
    Variable("COURIERPY_BINDING_*", "couriertcpd, imaplogin", "imaplogin",
             "channel bindings of the TLS connection, hex"),
    Variable("COURIERPY_DESK", "couriertcpd", "imaplogin, imapd", "descriptor of the way to the listener"),
    Variable("COURIERPY_HANDOVER", "couriertcpd", "couriertcpd", "descriptor of what the image before left"),
    Variable("COURIERPY_KEEPER", "couriertcpd", "imapd", "descriptor of the way to the keeper"),
    Variable("COURIERPY_METRICS", "couriertcpd, courierpy", "couriertcpd, imaplogin, imapd",
             "descriptor that counts are sent to, and its inode"),
    Variable("COURIERPY_METRICS_READER", "couriertcpd, courierpy", "couriertcpd",
             "the same of its other end"),
    Variable("COURIERPY_REFUSAL", "couriertcpd, imaplogin", "imaplogin", "why nobody is let in now"),
    Variable("COURIERPY_RETURN", "couriertcpd", "imapd", "descriptor by which it gives its client back"),
    Variable("COURIERPY_SESSIONS", "couriertcpd", "imapd, pop3d", "the listener's folder below RUNDIRECTORY"),
    Variable("COURIERPY_TRIAL", "couriertcpd", "couriertcpd", "set: only try whether a start would do"),
    # a delivery: local(8) of Postfix
    Variable("RECIPIENT", "MTA", "deliver", "address that the message came for"),
    Variable("SENDER", "MTA", "deliver", "address of who sent it; empty for a bounce"),
    # the system's
    Variable("COLUMNS", "shell, courierpy", "courierpy", "columns of a help"),
    Variable("HOSTNAME", "shell", "imapd", "name of the host, for names of files; else uname(2)'s"),
    Variable("JOURNAL_STREAM", "systemd", "couriertcpd", "standard error's file, if the journal reads it"),
    Variable("LISTEN_FDS", "systemd", "couriertcpd", "how many sockets are open already, from descriptor 3"),
    Variable("LISTEN_FDNAMES", "systemd", "couriertcpd", "their names, with colons between"),
    Variable("LISTEN_PID", "systemd", "couriertcpd", "the process that they are meant for"),
    Variable("NOTIFY_SOCKET", "systemd, courierpy", "couriertcpd, courierpy", "where it says how it is"),
    Variable("WATCHDOG_PID", "systemd", "couriertcpd, courierpy", "the process that is to say that it lives"),
    Variable("WATCHDOG_USEC", "systemd, courierpy", "couriertcpd", "in how many microseconds it says so"),
    Variable("TMPDIR", "shell", "couriertcpd", "where sockets are made in the last resort"),
    Variable("XDG_RUNTIME_DIR", "session manager", "couriertcpd", "where a user's sockets are made"),
)

TRANSPORT = ("TLS", "STARTTLS", "TLS_REQUIRED")


def of_transport(values: Mapping[str, str], protocol: str, other: str) -> dict[str, str]:
    """What a protocol's variables say of TLS, by the names that another has for the same: as Courier, POP3
    calls POP3_TLS what IMAP calls IMAP_TLS, and here most of what concerns both knows the latter."""
    return {f"{other}_{name}": values[f"{protocol}_{name}"] for name in TRANSPORT
            if f"{protocol}_{name}" in values} if protocol != other else {}
