"""The selected mailbox as one client sees it: its view of the messages, and what goes with it."""
from __future__ import annotations

from courierpy.imap.grammar import lines
from courierpy.imap.view import View
from courierpy.model.messages import keywords_used
from courierpy.model.rights import CHANGING, OWNER_RIGHTS, flags_of
from courierpy.model.uidset import NO_UIDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from courierpy.imap.attributes import Attributes
    from courierpy.imap.manners import Manners
    from courierpy.imap.session import Session
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.message.mime import Limits
    from courierpy.model.messages import Snapshot

    class Follower(Protocol):
        """Follows the selected mailbox, and says something of its own of what changes.  ``gone``: lines told
        before these UIDs lose their numbers, which are known to be gone; it may hear of them twice.
        ``changed``: lines told when the client has heard of all: of these messages, which are new or have
        other flags, and of those that went.  UIDs ascend."""

        def gone(self, session: Session, uids: Sequence[int]) -> bytes: ...

        def changed(self, session: Session, uids: Sequence[int]) -> bytes: ...

        def packed(self) -> tuple[bytes, bytes]:
            """What makes it again in another process: the key in the extensions' table ``woken``, octets."""


class Selected:
    """The selected mailbox as this client sees it.

    ``behind``: the view still holds messages that are gone.  ``keywords``: as
    told in the last FLAGS line.  ``recent``: UIDs that this session was the
    first to see.  ``rights``: letters of RFC 4314 2.1 that the session has here; ``listed``: somebody may
    change them.
    ``entered``: UIDs of messages that this session itself has put here and was not told of yet.
    ``saved``: UIDs of the saved result, `$`.  ``hears_recent``: the client is told what is recent.
    ``followers``: who adds lines of its own to what is told of changes.  ``fetched``: (UID, label, value) of
    the items that were told of new messages by the last look.  ``stale``: the session was woken, and has not
    looked since.  ``ahead``: what its first look found then, for the command before which it looked, as
    long as that is not told.
    """

    __slots__ = ("_attributes", "ahead", "behind", "entered", "fetched", "folder", "followers",
                 "hears_recent", "keywords", "listed", "readonly", "recent", "rights", "saved", "snapshot",
                 "stale", "view")

    def __init__(self, folder: Mailbox, snapshot: Snapshot, readonly: bool,
                 rights: frozenset[str] = OWNER_RIGHTS, manners: Manners | None = None,
                 listed: bool = False) -> None:
        self.folder = folder
        self.snapshot = snapshot
        self.readonly = readonly
        self.view = View.of(snapshot)
        self.keywords = keywords_used(snapshot.messages.keywords)
        self.recent = snapshot.recent
        self.listed = listed
        self.limit(rights)
        self.saved = NO_UIDS
        self.followers: list[Follower] = []
        self.entered = NO_UIDS
        self.fetched: set[tuple[int, bytes, object]] = set()
        self.behind = self.stale = False
        self.ahead: Snapshot | None = None
        self.hears_recent = True
        self._attributes: Attributes | None = None
        if manners is not None:
            self.mind(manners)

    def limit(self, rights: frozenset[str]) -> None:
        """From now on the session has these rights here."""
        self.rights = rights
        self.folder.settable = flags_of(rights)

    @property
    def changeable(self) -> bool:
        """Is it READ-WRITE?  RFC 4314 5.2."""
        return not self.readonly and not CHANGING.isdisjoint(self.rights)

    def mind(self, manners: Manners) -> None:
        """From now on the client is told of the mailbox in this way."""
        self.view.numbered = manners.numbered
        self.hears_recent = manners.recent
        if not manners.recent:
            self.recent = self.view.recent = NO_UIDS

    def sizes(self) -> bytes:
        """How many messages the client knows, and how many of them as recent."""
        return lines.sizes(len(self.view), len(self.view.recent) if self.hears_recent else None)

    def attributes(self, limits: Limits) -> Attributes:
        """What is known of the messages without opening them."""
        if self._attributes is None:
            from courierpy.imap.attributes import Attributes
            self._attributes = Attributes(self.folder, limits)
        return self._attributes

    def recent_from(self, snapshot: Snapshot) -> None:
        """What this look found recent is so for the client."""
        if self.hears_recent:
            self.recent |= snapshot.recent

    def forget(self) -> None:
        """What is known beside the view goes, and is had anew."""
        self._attributes = None
        self.behind = True
        self.folder.forget()
