"""``Account``: the mail of one test, and a way to the server that can be watched and disturbed."""
from __future__ import annotations

import imaplib
import os
import re
import shlex
import shutil
import threading
import time
from email import message_from_bytes, policy
from email.message import EmailMessage

from courierpy.maildir import layout
from courierpy.model import utf7
from courierpy.model.namespaces import INBOX
from courierpy.system.programs import interpreter
from courierpy.testing import lacking, places
from courierpy.testing.guard import ServerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, Protocol

    class Server(Protocol):
        """As server.py has it."""

        host: str
        lacks: tuple[str, ...]
        layout: str

        @property
        def folder(self) -> str: ...

        @property
        def port(self) -> int: ...

        @property
        def lmtp_socket(self) -> str: ...

        @property
        def tls_context(self) -> ssl.SSLContext: ...

        def ask(self, do: str, **more: object) -> dict[str, Any]: ...

        def logged_since(self, offset: int) -> tuple[str, int]: ...

_FETCHED = re.compile(rb"\d{1,20} \(UID (\d{1,20}) FLAGS \(([^)]*)\) INTERNALDATE \"([^\"]*)\" BODY\[\]")
CLIENT_SECONDS = 60.0          # that an answer on our own connection may take
SOON, LATER = 0.01, 0.1        # seconds between two looks, at first and at last


class Message:
    """A message as a client sees it.

    ``uid``; ``flags``: as ``\\\\Seen``, and keywords; ``date``: when it came, seconds since 1970; ``octets``:
    all of it, lines end in CR LF; ``email``: the same, parsed.
    """

    __slots__ = ("date", "email", "flags", "octets", "uid")

    def __init__(self, uid: int, flags: frozenset[str], date: float, octets: bytes) -> None:
        self.uid = uid
        self.flags = flags
        self.date = date
        self.octets = octets
        parsed = message_from_bytes(octets, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        self.email = parsed

    def __getitem__(self, field: str) -> str | None:
        """A field of the header; None without it."""
        value = self.email[field]
        return None if value is None else str(value)

    def __repr__(self) -> str:
        return f"Message(uid={self.uid}, flags={sorted(self.flags)}, subject={self['Subject']!r})"


class Mailbox:
    """A mailbox of an account.  ``name``: as clients name it; ``path``: its directory."""

    def __init__(self, account: Account, name: str, path: str) -> None:
        self.account = account
        self.name = name
        self.path = path

    def deliver(self, message: bytes | EmailMessage, flags: str | Iterable[str] = ()) -> None:
        """Without flags the message is in new/ when this returns, as if a mail server had brought it; with
        flags (``\\\\Seen``, or keywords) it is appended."""
        octets = message if isinstance(message, bytes) else message.as_bytes()
        words = [flags] if isinstance(flags, str) and flags else list(flags)
        if words:
            self.account.append(self.name, octets, words)
        else:
            self.account.bring(self.name, octets)

    def messages(self) -> list[Message]:
        """All that is in it, by UID.  The flags of no message change by this, nor is one recent no more."""
        return self.account.fetch(self.name)

    def wait(self, count: int, timeout: float = 10.0) -> list[Message]:
        """Until there are ``count`` messages, or more; gives all.  Raises TimeoutError."""
        end, pause = time.monotonic() + timeout, SOON
        while (there := self.account.count(self.name)) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name} has {there} messages, not {count} after {timeout:g} seconds")
            time.sleep(pause)
            pause = min(LATER, pause * 1.5)
        return self.messages()


class Account:
    """An account with its mail.  More methods than most: they are the words of a test.

    ``host``, ``user``, ``password``: what a client is told.  ``maildir``: path of the Maildir.  Clients of
    ``port`` and ``tls_port`` come through a relay of this account alone, which writes down what is said,
    delays and cuts.
    """

    def __init__(self, server: Server, name: str, password: str, maildir: str) -> None:
        self.server = server
        self.host = server.host
        self.user = name
        self.password = password
        self.maildir = maildir
        self._lacks: tuple[str, ...] = ()
        self._ports: dict[str, int] = {}
        self._logged = server.logged_since(0)[1]
        self._own: imaplib.IMAP4 | None = None     # our own way to the mail
        self._lock = threading.RLock()

    def __enter__(self) -> Account:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    # -- what a client is told

    @property
    def port(self) -> int:
        """Of IMAP, with STARTTLS."""
        return self._port("imap")

    @property
    def tls_port(self) -> int:
        """Of IMAP under TLS from the first octet."""
        return self._port("imaps")

    @property
    def pop3_port(self) -> int:
        """Of POP3, with STLS."""
        return self._port("pop3")

    @property
    def pop3_tls_port(self) -> int:
        """Of POP3 under TLS from the first octet."""
        return self._port("pop3s")

    @property
    def lmtp_socket(self) -> str:
        """As ``Server.lmtp_socket``: mail to ``user``, ``user+mailbox`` and with any domain behind it."""
        return self.server.lmtp_socket

    @property
    def tls_context(self) -> ssl.SSLContext:
        """Trusts the server's certificate, which is for 127.0.0.1 and localhost."""
        return self.server.tls_context

    @property
    def preauth_command(self) -> str:
        """A command of the shell that serves this Maildir on its standard input and output, as over ssh."""
        return shlex.join([*interpreter("courierpy.testing.preauth"), self.server.folder, self.maildir,
                           *sorted({*self.server.lacks, *self._lacks})])

    def _port(self, kind: str) -> int:
        with self._lock:
            if kind not in self._ports:
                self._ports[kind] = int(self._ask("relay", kind=kind, without=self._all_lacks())["port"])
            return self._ports[kind]

    def _ask(self, do: str, **more: object) -> dict[str, Any]:
        return self.server.ask(do, name=self.user, **more)

    def _all_lacks(self) -> list[str]:
        return sorted({*self.server.lacks, *self._lacks})

    # -- its mail

    def mailbox(self, name: str = INBOX) -> Mailbox:
        """A mailbox, which is made if it is not there.  ``Sent`` is INBOX.Sent."""
        found = layout.find(self.maildir, self.server.layout)
        path = "" if name.upper() == INBOX else name.removeprefix(found.prefix)
        directory = found.directory(path)
        full = found.prefix + path if path else INBOX
        if not os.path.isdir(directory):
            self._done(lambda client: client.create(_quoted(full)))
        return Mailbox(self, full, directory)

    def deliver(self, message: bytes | EmailMessage, mailbox: str = INBOX,
                flags: str | Iterable[str] = ()) -> None:
        """As ``Mailbox.deliver``."""
        self.mailbox(mailbox).deliver(message, flags)

    def messages(self, mailbox: str = INBOX) -> list[Message]:
        """As ``Mailbox.messages``."""
        return self.mailbox(mailbox).messages()

    def wait(self, count: int, timeout: float = 10.0, mailbox: str = INBOX) -> list[Message]:
        """As ``Mailbox.wait``."""
        return self.mailbox(mailbox).wait(count, timeout)

    def bring(self, mailbox: str, octets: bytes) -> None:
        """Into new/, by the guardian: what a test does with the files or the clock of its own process is
        nothing to the mail."""
        spool = places.spool(self.server.folder)
        with open(spool, "wb") as file:
            file.write(octets)
        self._ask("deliver", mailbox=mailbox, layout=self.server.layout, spool=spool)

    def append(self, mailbox: str, octets: bytes, flags: Iterable[str]) -> None:
        """By the command APPEND, on a connection of our own."""
        self._done(lambda client: client.append(_quoted(mailbox), f"({' '.join(flags)})", None, octets))

    def count(self, mailbox: str) -> int:
        """How many messages are in it."""
        data = self._done(lambda client: client.status(_quoted(mailbox), "(MESSAGES)"))
        told = b" ".join(piece for piece in data if isinstance(piece, bytes))
        found = re.search(rb"MESSAGES (\d{1,20})", told)
        assert found is not None
        return int(found[1])

    def fetch(self, mailbox: str) -> list[Message]:
        """All messages of a mailbox."""
        found = []
        for piece in self._done(lambda client: _all(client, _quoted(mailbox))):
            head, octets = piece if isinstance(piece, tuple) else (piece, b"")
            match = _FETCHED.match(head or b"")
            if match is not None:
                when = imaplib.Internaldate2tuple(b'INTERNALDATE "' + match[3] + b'"')
                found.append(Message(int(match[1]), frozenset(match[2].decode().split()),
                                     time.mktime(when) if when is not None else 0.0, octets))
        return sorted(found, key=lambda message: message.uid)

    def _done(self, ask: Callable[[imaplib.IMAP4], tuple[str, list[Any]]]) -> list[Any]:
        """What the server says on a connection of our own, which is not in the transcript.  Raises
        ServerError for a refusal."""
        with self._lock:
            try:
                try:
                    status, data = ask(self._client())
                except imaplib.IMAP4.abort:
                    self._own = None               # it has ended meanwhile
                    status, data = ask(self._client())
            except (imaplib.IMAP4.error, OSError) as error:
                raise ServerError(f"{self.user}: {error}; the server's log:\n{self._log()}") from error
        if status != "OK":
            raise ServerError(f"{self.user}: {status} {data}")
        return data

    def _client(self) -> imaplib.IMAP4:
        if self._own is None:
            client = imaplib.IMAP4(self.host, self.server.port, timeout=CLIENT_SECONDS)
            if "LOGINDISABLED" in client.capabilities:
                client.starttls(self.tls_context)
            client.login(self.user, self.password)
            self._own = client
        return self._own

    # -- misbehaviour, for clients of this account

    def without(self, *capabilities: str) -> Account:
        """From the next connection on the server lacks these: they are not told, what they add is refused.

        As ``MOVE``, ``AUTH=PLAIN``, ``STARTTLS``; what has no use without one of them goes with it.  Further
        calls add to it.  Raises ValueError for what the server does not have.
        """
        lacks = tuple(sorted({*self._lacks, *(word.upper() for word in capabilities)}))
        lacking.files(lacks)
        self._port("imap")                         # so that there is a relay
        self._lacks = lacks
        self._ask("aim", without=self._all_lacks())
        return self

    def delay(self, seconds: float, command: str = "") -> Account:
        """From now on the answer to a command, as FETCH, comes that much later; without one all that the
        server says, its greeting too.  0 ends it."""
        self._port("imap")
        self._ask("delay", seconds=seconds, command=command)
        return self

    def cut(self, command: str | None = None, after: int = 0, times: int = 1, reset: bool = False) -> Account:
        """Cut the connections that there are; or, with a command, the one that says it next, when it was done
        and ``after`` octets of the answer have come, ``times`` times.  ``reset``: the client hears a reset
        (RST), else an end (FIN)."""
        self._port("imap")
        self._ask("cut", command=command, after=after, times=times, reset=reset)
        return self

    # -- what happened

    @property
    def transcript(self) -> str:
        """What clients of this account and the server have said: ``1 C:`` the client of the first connection,
        ``1 S:`` the server."""
        self._port("imap")
        return str(self._ask("transcript")["text"])

    def told(self) -> list[tuple[str, str]]:
        """(title, text) of what helps to understand a test that failed."""
        try:
            return [("IMAP dialogue", self.transcript if self._ports else ""),
                    ("log of the server", self._log())]
        except (ServerError, OSError) as error:
            return [("server", str(error))]

    def _log(self) -> str:
        return self.server.logged_since(self._logged)[0]

    def close(self) -> None:
        """Its connections are cut, its mail is gone.  May be called again, and when the server has ended."""
        with self._lock:
            if self._own is not None:
                self._own.shutdown()
                self._own = None
            try:
                if self._ports:
                    self._ask("close")
            except ServerError:
                pass                               # the server has ended, and they with it
            self._ports = {}
        shutil.rmtree(os.path.dirname(self.maildir), ignore_errors=True)


def _all(client: imaplib.IMAP4, mailbox: str) -> tuple[str, list[Any]]:
    """FETCH of all of a mailbox, which is not selected afterwards."""
    status, count = client.select(mailbox, readonly=True)
    if status != "OK":
        return status, list(count)
    found = client.fetch("1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])") if count != [b"0"] else ("OK", [])
    client.close()                                 # of EXAMINE: nothing is expunged
    return found


def _quoted(name: str) -> str:
    """The name of a mailbox as an argument."""
    text = utf7.encode(name).decode("ascii").replace("\\", r"\\").replace('"', r'\"')
    return f'"{text}"'
