"""A client that speaks SMAP: what it says, the mailbox that it has open, and what it is told of that."""
from __future__ import annotations

from courierpy.imap.commands.cmd_select import leave
from courierpy.imap.dialogue import LITERAL_TIMEOUT, READ_TIMEOUT
from courierpy.imap.grammar.framer import TooLong
from courierpy.model.replies import Bye
from courierpy.smap import grammar, told
from courierpy.smap.upload import Upload
from courierpy.system.conn import Gone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.selected import Selected
    from courierpy.imap.session import Session
    from courierpy.imap.updates import Update
    from courierpy.smap.snapshots import Snapshots


class Client:
    """``account``: a session of IMAP whose commands nobody says.  ``upload``: the message that it is about to
    add.  ``snapshots``: of the open mailbox, None where it asked for none.  ``said``: was it told of a change
    by the command that is done?  ``over``: the command is the last."""

    def __init__(self, account: Session) -> None:
        self.account = account
        self.said = self.over = False
        self.upload = Upload()
        self.snapshots: Snapshots | None = None
        self._listed = False
        account.enabled.on_updates.append(self._spelled)

    def _spelled(self, account: Session, updates: list[Update]) -> list[Update]:
        found = told.spelled(updates, account.rules.keywords_on)
        self.said = self.said or bool(found)
        return found

    # -- what it says

    def line(self) -> bytes:
        """Its next line without the end; of one that is too long nothing.  Raises Gone, TimedOut, Bye."""
        framer = self.account.framer
        self.account.conn.flush_held()
        while (line := framer.line(grammar.MAX_LINE)) is None:
            self.read(READ_TIMEOUT)
        return b"" if isinstance(line, TooLong) else line

    def read(self, timeout: float) -> None:
        """More of what it says.  Raises as line()."""
        data = self.account.waiting.read(timeout)
        if not data:
            raise Gone
        self.account.framer.feed(data)

    def octets(self, most: int) -> bytes:
        """Octets that it sends, one at least.  Raises as line()."""
        framer = self.account.framer
        while not (data := framer.rest()):
            self.read(LITERAL_TIMEOUT)
        if len(data) > most:
            framer.feed(data[most:])
        return data[:most]

    # -- the open mailbox

    def open(self, selected: Selected) -> None:
        """This is the open mailbox from now on."""
        self.account.selected = selected
        self.listed_anew()

    def listed_anew(self) -> None:
        """Somebody may change the rights on the open mailbox from now on, or nobody any more."""
        selected = self.account.selected
        if selected is not None:
            self._listed = self.account.folders.listed(selected.folder.name)
            selected.listed = False    # what the user may do would be told in IMAP's words

    def renew(self) -> None:
        """Looks at the rights on the open mailbox.  Raises Bye where it may not be read any more."""
        selected = self.account.selected
        if selected is None or not self._listed:
            return
        found = self.account.folders.rights(selected.folder.name)
        if "r" not in found:
            raise Bye("You may not read this folder any more.", b"NOPERM")
        selected.limit(found)

    def close(self) -> None:
        """No mailbox is open any more."""
        self.snapshots = None
        leave(self.account)
