"""What a client wants to hear of, and what it has heard: events by mailboxes.  RFC 5465 5, 6.  Pure."""
from __future__ import annotations

from courierpy.model.namespaces import SHARED_PREFIXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.imap.grammar.fetchitems import FetchItem
    from courierpy.maildir.index.statuscache import Status

NEW, EXPUNGE, FLAGS = b"MESSAGENEW", b"MESSAGEEXPUNGE", b"FLAGCHANGE"
NAME, SUBSCRIPTION = b"MAILBOXNAME", b"SUBSCRIPTIONCHANGE"
ENTRIES, SERVER_ENTRIES = b"MAILBOXMETADATACHANGE", b"SERVERMETADATACHANGE"
# one that is not supported is one of messages too: what goes with what is looked at first
MESSAGE_EVENTS = frozenset((NEW, EXPUNGE, FLAGS, b"ANNOTATIONCHANGE"))
OVERFLOW = b"NOTIFICATIONOVERFLOW"
NONE: frozenset[bytes] = frozenset()


class Group:
    """A group of events of NOTIFY SET, and the mailboxes that it is for.

    ``kind``: which mailboxes, by the word of RFC 5465 6; ``names``: behind SUBTREE and MAILBOXES.
    ``events``: in upper case.  ``items``: what of new messages is fetched."""

    __slots__ = ("events", "items", "kind", "names")

    def __init__(self, kind: bytes, names: list[str], events: frozenset[bytes],
                 items: list[FetchItem]) -> None:
        self.kind = kind
        self.names = names
        self.events = events
        self.items = items

    def has(self, name: str, separator: str, subscribed: frozenset[str]) -> bool:
        """Is this one of its mailboxes?  All the user's own can get mail: INBOXES is PERSONAL."""
        if self.kind == b"SUBSCRIBED":
            return name in subscribed
        if self.kind == b"MAILBOXES":
            return name in self.names
        if self.kind == b"SUBTREE":
            return any(name == top or name.startswith(top + separator) for top in self.names)
        return not name.startswith(SHARED_PREFIXES)

    def reaches(self, prefix: str, subscribed: frozenset[str]) -> bool:
        """May there be mailboxes of others among them, whose names begin so, or are that without the
        separator at its end?"""
        top = prefix[:-1]
        if self.kind == b"SUBSCRIBED":
            return any(name == top or name.startswith(prefix) for name in subscribed)
        return any(name == top or name.startswith(prefix)
                   or self.kind == b"SUBTREE" and prefix.startswith(name + prefix[-1]) for name in self.names)


class Wish:
    """What a client has asked for by NOTIFY.

    ``selected``: the group of the selected mailbox, None for nothing; ``others``: of the others."""

    __slots__ = ("others", "selected")

    def __init__(self, selected: Group | None = None, others: Sequence[Group] = ()) -> None:
        self.selected = selected
        self.others = others

    @property
    def events(self) -> frozenset[bytes]:
        """All that is to be heard of the selected mailbox."""
        return NONE if self.selected is None else self.selected.events

    def wants(self, event: bytes) -> bool:
        """Is it to be heard of some mailbox that is not selected?"""
        return any(event in group.events for group in self.others)

    @property
    def of_subscriptions(self) -> bool:
        """Is it the subscriptions that decide what is told of the others, or are they what is told?"""
        return self.wants(SUBSCRIPTION) or any(group.kind == b"SUBSCRIBED" for group in self.others)

    @property
    def delayed(self) -> bool:
        """Is what is expunged told by commands only?"""
        return self.selected is None or self.selected.kind == b"SELECTED-DELAYED"

    def reaches(self, prefix: str, subscribed: frozenset[str]) -> bool:
        """Is something to be heard of mailboxes of others, whose names begin so?"""
        return any(group.reaches(prefix, subscribed) for group in self.others)

    def of(self, name: str, separator: str, subscribed: frozenset[str]) -> frozenset[bytes]:
        """What is to be heard of a mailbox that is not selected."""
        found = [group.events for group in self.others if group.has(name, separator, subscribed)]
        return NONE.union(*found)


class Told:
    """Counts of a mailbox as the client knows them; ``unseen``, ``modseq``: -1 where it does not."""

    __slots__ = ("messages", "modseq", "uidnext", "uidvalidity", "unseen")

    def __init__(self, uidvalidity: int, uidnext: int, messages: int, unseen: int = -1,
                 modseq: int = -1) -> None:
        self.uidvalidity = uidvalidity
        self.uidnext = uidnext
        self.messages = messages
        self.unseen = unseen
        self.modseq = modseq

    def numbers(self) -> tuple[int, ...]:
        """In the order of __init__."""
        return self.uidvalidity, self.uidnext, self.messages, self.unseen, self.modseq

    @classmethod
    def of(cls, count: Status, modseq: int = -1) -> Told:
        return cls(count.uidvalidity, count.uidnext, count.messages, count.unseen, modseq)
