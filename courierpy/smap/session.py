"""A session that speaks SMAP: one line, what there is to tell, and ``+OK`` or ``-ERR``.

The mailbox that is open, the rights on it and all that is looked for in it are those of an IMAP session,
whose commands nobody says.  Between two commands the client is told nothing: it asks by NOOP, EXPUNGE or
IDLE. """
from __future__ import annotations

from courierpy.imap import commands, permitted
from courierpy.maildir import errors as store
from courierpy.model.replies import Bad, Bye, No
from courierpy.smap import grammar
from courierpy.smap.client import Client
from courierpy.smap.commands import COMMANDS
from courierpy.system import log, title
from courierpy.system.bug import bug
from courierpy.system.conn import Gone, TimedOut
from courierpy.system.memory import is_short
from courierpy.system.stream import Garbled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session as Account
    from courierpy.smap.commands import Row

# the reasons, in the words of the system's errors as Courier tells them
_REASONS: dict[type[store.StoreError], str] = {
    store.FolderMissing: "No such file or directory", store.FolderExists: "File exists",
    store.NameInvalid: "Invalid argument", store.OtherAccount: "Invalid cross-device link",
    store.DiskFull: "No space left on device", store.QuotaExceeded: "Disk quota exceeded",
    store.MailboxFull: "Too many messages in the folder", store.TooManyKeywords: "Too many keywords",
    store.Denied: "Permission denied", store.Vanished: "The message no longer exists",
    store.Busy: "Resource temporarily unavailable", store.DiskTrouble: "Input/output error"}


class Session:
    """``account``: see Client."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.client = Client(account)

    def serve(self) -> None:
        """Until LOGOUT (returns), end of input (Gone) or Bye."""
        client = self.client
        try:
            while not client.over:
                self._do(client.line())
            self.account.waiting.end()
        finally:
            client.upload.abort()
            self.account.leave()

    def _do(self, line: bytes) -> None:
        """Does one command, and answers it.  Raises Bye and what ends a connection."""
        client, row = self.client, None
        client.said = False
        try:
            words = grammar.words(line)
            name = words[0].upper() if words else b""
            row = COMMANDS.get(name)
            if name != b"ADD":
                client.upload.abort()
            like = commands.find(row.like) if row is not None and row.like else None
            if row is None or like is not None and like.states == commands.SELECTED \
                    and self.account.selected is None:
                raise Bad(grammar.SYNTAX)
            if title.show is not None:
                self.account.show(name.decode())
            client.renew()
            if like is not None:
                permitted.check(self.account, like)
            text = row.handler(client, words[1:])
            self.account.errors = 0
            self.account.write(grammar.ok(text))
        except (Bye, Gone, TimedOut, Garbled):
            raise
        except Bad as error:
            self.account.put_up_with()
            self.account.write(grammar.err(error.text))
        except No as error:
            self._no(error.text)
        except store.StoreError as why:
            if is_short(why):
                raise
            log.err(str(why))
            self._no(_failed(row, why))
        except Exception as error:
            if is_short(error):
                raise
            self._no(f"Internal error {bug()}, it was logged.")

    def _no(self, text: str) -> None:
        self.account.errors = 0
        self.account.write(grammar.err(text))


def _failed(row: Row | None, why: store.StoreError) -> str:
    """The reason for a client; the detail stays in the log."""
    reason = next((_REASONS[kind] for kind in type(why).__mro__ if kind in _REASONS), "Invalid argument")
    return f"{row.failed}: {reason}" if row is not None and row.failed else reason
