"""The session after the login: its maildrop, its commands one after the other, its end.  RFC 1939 5, 6.

Of a command there is one reply.  Bad and No, and what goes wrong with a message or the disk, are -ERR with
the reason in the log; the session goes on.  Only QUIT removes anything.
"""
from __future__ import annotations

from functools import partial
from time import monotonic

from courierpy.maildir.errors import Denied, StoreError, Vanished
from courierpy.model.replies import Bad, Bye, No
from courierpy.pop3 import lines, surrogate, wire
from courierpy.pop3.commands import COMMANDS
from courierpy.pop3.lines import Lines, TooLong
from courierpy.pop3.maildrop import octets_of
from courierpy.system import log, metrics
from courierpy.system.bug import bug
from courierpy.system.conn import Gone, TimedOut
from courierpy.system.memory import is_short
from courierpy.system.stream import Garbled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.maildir.messagefile import MessageFile
    from courierpy.pop3.maildrop import Entry, Maildrop
    from courierpy.system.conn import Conn
    from courierpy.system.settings import Settings

READ_TIMEOUT = 600.0           # seconds of one command: RFC 1939 3 wants at least 10 minutes
MAX_ERRORS = 10                # commands in a row that are none
SURROGATE_OF = "UTF8"          # the login's variable: 0, the client had the choice and did not say UTF8


class Session:
    """A POP3 session behind the login.

    ``utf8``: may the client get headers with octets above 127?  ``octets_of_top``, ``octets_of_retr``:
    that were sent of messages, for the log.  ``reads``: it waits for the client, and nothing is half done.
    ``stopped``: why it ends behind the command that is being done, "" for not."""

    def __init__(self, conn: Conn, settings: Settings, maildrop: Maildrop, who: str) -> None:
        self.conn = conn
        self.settings = settings
        self.maildrop = maildrop
        self.who = who
        self.lines = Lines()
        self.octets_of_top = self.octets_of_retr = 0
        self.over = False
        self.stopped = ""
        self.reads = False
        self.kind = settings.text("MIME_UNICODE_MESSAGE_TYPE")
        self.utf8 = settings.values.get(SURROGATE_OF) != "0" or not self.kind
        self._errors = 0
        self._did = False              # the last command: was it answered +OK?

    def serve(self) -> None:
        """Until QUIT.  Raises Gone, TimedOut, Garbled and Bye."""
        do = self._do if metrics.current is None else partial(self._counted, metrics.current)
        while not self.over:
            try:
                line = self._line()
            except TooLong:
                self._bad(Bad("Line too long."))
                continue
            do(line)
            if self.stopped and not self.over:
                raise Bye(self.stopped, b"SYS/TEMP")
        self.conn.flush()

    def _counted(self, meter: metrics.Meter, line: bytes) -> None:
        """As _do, where commands are counted (METRICS)."""
        began = monotonic()
        verb, self._did = lines.words(line)[0], False
        try:
            self._do(line)
        finally:
            name = verb.decode() if verb in COMMANDS else "unknown"
            meter.command(name, "ok" if self._did else "err", monotonic() - began)
            meter.turn()

    def _line(self) -> bytes:
        """The next command.  Raises TooLong."""
        while (line := self.lines.line()) is None:
            self.reads = True
            data = self.conn.read(READ_TIMEOUT)
            self.reads = False
            if not data:
                raise Gone
            self.lines.feed(data)
        return line

    def _do(self, line: bytes) -> None:
        verb, rest = lines.words(line)
        try:
            command = COMMANDS.get(verb)
            if command is None:
                raise Bad(lines.INVALID)
            reply = command(self, rest)
            self._did = True
            self._errors = 0
            if isinstance(reply, bytes):
                self.conn.write(reply)
            else:
                self._write(reply)
        except Bad as error:
            self._bad(error)
        except No as error:
            self._errors = 0
            self.conn.write(lines.err(error.text, error.code))
        except StoreError as why:
            self._errors = 0
            self.conn.write(self._failed(why))
        except (Bye, Gone, TimedOut, Garbled):
            raise
        except Exception as error:
            if is_short(error):
                raise
            self.conn.write(lines.err(f"Internal error {bug()}, it was logged.", b"SYS/TEMP"))
        self.conn.flush_held()

    def _write(self, pieces: Iterator[bytes]) -> None:
        """A reply in pieces.  What goes wrong in the middle of a message ends the session: whatever was said
        now, the client would take it for a part of the message."""
        self.conn.write(next(pieces))
        self.conn.midway = True
        try:
            for piece in pieces:
                self.conn.write(piece)
        except (Gone, TimedOut, Garbled):
            raise
        except Exception as why:
            if is_short(why):
                raise
            log.err(f"{why if isinstance(why, StoreError) else bug()}: the message breaks off, {self.who}")
            raise Gone from None
        self.conn.midway = False

    def _bad(self, error: Bad) -> None:
        self._errors += 1
        if self._errors >= MAX_ERRORS:
            log.err(f"TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS, {self.who}")
            raise Bye(lines.TOO_MANY, status=1)
        self.conn.write(lines.err(error.text))

    def _failed(self, why: StoreError) -> bytes:
        log.err(str(why))
        if isinstance(why, Vanished):
            return lines.err("Can't open the message file - it's gone!")
        if isinstance(why, Denied):
            return lines.err("The message cannot be read; the log of your mail administrator has the reason.",
                             b"SYS/PERM")
        return lines.err("The disk has trouble, try again later.", b"SYS/TEMP")

    # -- of a message, as this client gets it

    def _wrapped(self, entry: Entry) -> bool:
        return bool(entry.utf8) and not self.utf8

    def size(self, entry: Entry) -> int:
        """Octets that RETR sends, before dots are doubled.  RFC 1939 11."""
        more = surrogate.more(self.kind, _unique(entry)) if self._wrapped(entry) else 0
        return entry.octets + more

    def pieces(self, entry: Entry, file: MessageFile) -> Iterator[bytes]:
        """The wire form."""
        found = wire.whole(octets_of(file))
        return surrogate.surrogate(self.kind, _unique(entry), found) if self._wrapped(entry) else found

    # -- QUIT

    def update(self) -> bytes:
        """What the client deleted goes; the reply.  RFC 1939 6."""
        self.over = True
        gone, refused = self.maildrop.update()
        if self.settings.text("POP3_LOG_DELETIONS") not in ("", "0"):
            for entry in gone:
                log.info(f"DELETED, {self.who}, filename={log.path(b'cur/' + entry.file)}")
        for why in refused:
            log.err(f"{why}: not deleted")
        if refused:
            return lines.err("Some deleted messages not removed.", b"SYS/TEMP")
        return lines.ok("Bye-bye.")


def _unique(entry: Entry) -> bytes:
    return entry.uidl or b"UID%d" % entry.uid
