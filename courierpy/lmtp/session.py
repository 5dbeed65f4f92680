"""The dialogue with one client, from the greeting to QUIT.  RFC 2033, RFC 2920 (PIPELINING), RFC 3030
(CHUNKING).

Commands may come in one piece; their replies are gathered, and go out before anything is waited for.  A
message is answered for each recipient when it is on the disk of that recipient, and not before.

What a stranger may cost is bounded: the length of a line, the number of errors and recipients, the time.
"""
from __future__ import annotations

import time

from courierpy.lmtp import commands, grammar, trace
from courierpy.lmtp.carrier import Carriers
from courierpy.lmtp.client import Client, Over
from courierpy.lmtp.content import Dots
from courierpy.lmtp.grammar import Address, Reply
from courierpy.lmtp.logins import PROTOCOL, Logins
from courierpy.lmtp.transaction import NO_SPOOL, Transaction
from courierpy.model import measures
from courierpy.model.namespaces import INBOX
from courierpy.model.replies import anew
from courierpy.system import log, metrics
from courierpy.system.conn import Gone, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from courierpy.auth.postal import Accounts
    from courierpy.lmtp.content import Content
    from courierpy.lmtp.peer import Peer
    from courierpy.lmtp.transaction import Recipient
    from courierpy.system.conn import Conn
    from courierpy.system.settings import Settings

UNKNOWN = "unknown"                # counted for a verb that is none: what a client says is no label
WAITS = (b"DATA", b"BDAT", b"AUTH")        # for the client, which is no time of ours
XCLIENT = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
MOST_ERRORS = 20                   # refused commands, and recipients, in a row
STRANGER_ERRORS = 5                # all in all, of who may not deliver
STRANGER_SECONDS = 60.0            # until who may not deliver has logged in


class Session:
    """A session of LMTP.

    ``client``: as LHLO names it, "" before.  ``most``: octets of a message, 0 for any number.  ``utf8``:
    of the message that is under way."""

    def __init__(self, conn: Conn, settings: Settings, peer: Peer, accounts: Accounts, maildir: str) -> None:
        self.settings = settings
        self.accounts = accounts
        self.client = ""
        self.over = False
        self.utf8 = False
        self.transaction: Transaction | None = None
        self.most = settings.of_word("IMAP_APPENDLIMIT", INBOX)
        self._client = Client(conn, float(settings.number("LMTP_TIMEOUT")))
        self._conn = conn
        self.peer = peer
        self._maildir = maildir
        self._host = settings.values.get("HOSTNAME") or trace.host()
        self._carriers = Carriers(settings.values)
        self._user = ""                # who has logged in
        self._trusted = peer.trusted
        self._errors = 0
        self._logins = Logins(self._client, settings, accounts)

    # -- from the beginning to the end

    def serve(self) -> None:
        """Until the client or we have enough.  Raises nothing that is the client's doing."""
        self._conn.deadline = time.monotonic() + STRANGER_SECONDS
        if self._trusted:
            self._client.trusted()
        try:
            self._conn.write(f"220 {self._host} LMTP courierpy\r\n".encode())
            metrics.count(measures.BEGUN, PROTOCOL)
            while not self.over:
                self._command()
            self._conn.flush()
        except Over as end:
            self._conn.say_last(end.reply.line())
        except TimedOut:
            self._conn.say_last(Reply(421, "4.4.2", "Nothing was heard for too long").line())
            log.info(f"TIMEOUT, {self._who()}")
        except (Gone, OSError):
            self._conn.discard()
        finally:
            self.reset()
            self._carriers.close()
            self.accounts.close()

    def _who(self) -> str:
        return ", ".join(filter(None, (self._user and f"user={log.quoted(self._user)}", self.peer.who)))

    def _command(self) -> None:
        try:
            line = self._client.line()
        except Reply as refusal:
            return self._answer(refusal)
        reply = self._do(line) if metrics.current is None else self._counted(metrics.current, line)
        return None if reply is None else self._answer(reply)

    def _counted(self, meter: metrics.Meter, line: bytes) -> Reply | None:
        began, result = time.monotonic(), "ended"
        try:
            reply = self._do(line)
            result = "ok" if reply is None or reply.code < 400 else "temporary" if reply.code < 500 else "no"
            return reply
        finally:
            verb = line.partition(b" ")[0].upper()
            meter.command(verb.decode() if verb in commands.TABLE else UNKNOWN, result,
                          None if verb in WAITS else time.monotonic() - began)
            meter.turn()

    def _do(self, line: bytes) -> Reply | None:
        """The reply; None for what has said everything itself.  Raises Over, Gone and TimedOut."""
        try:
            name, rest = grammar.verb(line)
            found = commands.TABLE.get(name)
            if found is None:
                raise Reply(500, "5.5.1", "There is no such command")
            if found.greeted and not self.client:
                raise Reply(503, "5.5.1", "LHLO comes first")
            if found.trusted and not self._trusted:
                raise Reply(530, "5.7.0", "Authentication is required")
            return found.act(self, rest)
        except Reply as refusal:
            return refusal.with_traceback(None)    # some are raised again and again

    # -- what goes

    def _answer(self, reply: Reply) -> None:
        self._conn.write(reply.line())
        if reply.code < 500 or reply.status == "5.1.1":
            if self._trusted:
                self._errors = 0
            return
        self._errors += 1
        if self._errors >= (MOST_ERRORS if self._trusted else STRANGER_ERRORS):
            log.notice(f"too many errors, {self._who()}")
            raise Over(Reply(421, "4.7.0", "Too many errors"))

    def tell(self, lines: Iterable[str]) -> None:
        """A reply to LHLO of several lines."""
        every = list(lines)
        for line in every[:-1]:
            self._conn.write(f"250-{line}\r\n".encode())
        self._conn.write(f"250 {every[-1]}\r\n".encode())

    def offers(self) -> list[str]:
        """The lines of the answer to LHLO."""
        found = [self._host, "PIPELINING", f"SIZE {self.most}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES",
                 "CHUNKING", "IGNOREQUOTA"]
        words = " ".join(name.decode() for name in self._logins.mechanisms(self._trusted))
        if words:
            found.append(f"AUTH {words}")
        return [*found, XCLIENT] if self.peer.speaks_for else found

    def greeting(self) -> Reply:
        return Reply(220, "2.0.0", f"{self._host} LMTP courierpy")

    # -- a message

    def begin(self, sender: Address, utf8: bool, octets: int) -> None:
        """MAIL was said.  ``octets``: as announced, 0 for any number."""
        self.utf8 = utf8
        protocol = "UTF8" * utf8 + "LMTP" + "A" * bool(self._user)
        address = f"[{self.peer.address}]" if self.peer.address else ""
        peer = " ".join(filter(None, (self.peer.name, address)))
        source = trace.Trace(self.client, peer, protocol, self._host, trace.ident())
        self.transaction = Transaction(sender, source, self.settings, self._maildir, octets)

    def add(self, to: Recipient) -> None:
        """RCPT was said.  Raises Reply."""
        transaction = self.transaction
        assert transaction is not None
        refusal = transaction.examine(to, self._carriers)
        if refusal is not None:
            raise refusal
        transaction.recipients.append(to)

    def reset(self) -> None:
        """There is no message under way."""
        if self.transaction is not None:
            self.transaction.close()
            self.transaction = None

    def _open(self) -> Transaction:
        """The transaction that a message may come for.  Raises Reply."""
        if not self._trusted:
            raise Reply(530, "5.7.0", "Authentication is required")
        if self.transaction is None or not self.transaction.recipients:
            raise Reply(503, "5.5.1", "MAIL and RCPT come first")
        return self.transaction

    def data(self, rest: bytes) -> None:
        transaction = self._open()
        if rest.strip():
            raise grammar.syntax("Nothing is expected behind DATA")
        if transaction.content is not None:
            raise Reply(503, "5.5.1", "BDAT was said")
        content = self._content(transaction)
        self._conn.write(b"354 The message, then a dot\r\n")
        dots = Dots()
        while dots.rest is None:
            content.write(dots.feed(self._client.all()))
        self._client.give_back(dots.rest)
        self._deliver(transaction)

    def bdat(self, rest: bytes) -> None:
        """RFC 3030 2: the octets of a chunk that is refused are read too, and are no commands."""
        try:
            octets, last = grammar.chunk(rest)
        except Reply as refusal:
            raise Over(refusal) from None      # where the next command begins nobody knows
        content: Content | None = None
        refused: Reply | None = None
        try:
            transaction = self._open()
            content = self._content(transaction)
        except Reply as why:
            refused = why
        left = octets
        while left:
            data = self._client.octets(left)
            left -= len(data)
            if content is not None:
                content.write(data)
        if refused is not None:
            raise refused
        refused = transaction.refusal() if not last else None
        if refused is not None:
            raise refused
        if last:
            self._deliver(transaction)
        else:
            self._conn.write(Reply(250, "2.0.0", f"{octets} octets").line())

    def _content(self, transaction: Transaction) -> Content:
        """Where the message goes.  Raises Reply."""
        try:
            return transaction.begin(self.most)
        except OSError as error:
            log.err(f"a message cannot be kept until it is delivered: {error.strerror}")
            raise anew(NO_SPOOL) from None

    def _deliver(self, transaction: Transaction) -> None:
        """The message is whole.  Each reply goes as soon as it is known: who waits for the last one might
        give up, and bring all of them again."""
        deadline, self._conn.deadline = self._conn.deadline, None
        for reply in transaction.deliver(self._carriers):
            self._conn.write(reply.line())
            self._conn.flush()
        self._conn.deadline = deadline
        self.reset()

    # -- who it is

    def auth(self, rest: bytes) -> Reply:
        """RFC 4954 4."""
        if self.transaction is not None or self._user:
            raise Reply(503, "5.5.1", "Not now")
        self._user = self._logins.login(rest, self.peer, self._trusted)
        self._trusted = True
        self._client.trusted()
        log.info(f"LOGIN, {self._who()}, protocol=LMTP")
        return Reply(235, "2.7.0", "Welcome")
