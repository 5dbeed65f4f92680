"""A message that a client is about to add: what its ADD commands have said of it so far."""
from __future__ import annotations

from courierpy.model.flags import NO_KEYWORDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.draft import Draft


class Upload:
    """A message that a client of SMAP is about to add, or to send.

    ``folder``: the mailbox where it goes, None where it is only sent.  ``bits``, ``keywords``, ``date``:
    of the message there.  ``sender``, ``recipients``, ``notify``: of the mail.  ``draft``: its octets, once
    they come."""

    __slots__ = ("bits", "date", "draft", "folder", "keywords", "notify", "recipients", "sender")

    def __init__(self) -> None:
        self.draft: Draft | None = None
        self.abort()

    def abort(self) -> None:
        """All that was said of it is forgotten."""
        draft, self.draft = self.draft, None
        self.folder: str | None = None
        self.bits = 0
        self.keywords = NO_KEYWORDS
        self.date: float | None = None
        self.sender = self.notify = ""
        self.recipients: list[str] = []
        if draft is not None:
            draft.abort()
