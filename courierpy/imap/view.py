"""What one client was told of the selected mailbox: messages by sequence number.

A ``View`` is the client's picture, a ``Snapshot`` what the mailbox holds now.  The
difference is ``Messages.changed_since``; ``updates`` decides what of it may be said.
"""
from __future__ import annotations

from bisect import bisect_left

from courierpy.imap.grammar import lines
from courierpy.model.flags import NO_KEYWORDS
from courierpy.model.messages import NO_MESSAGES
from courierpy.model.uidset import NO_UIDS, UidSet, places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Sequence

    from courierpy.model.messages import Keywords, Messages, Snapshot


class View:
    """The messages this client knows: sequence number n is row n - 1 of ``messages``.

    ``recent``: UIDs of those that it knows as recent.  ``numbered``: it is told sequence numbers; where not,
    UIDs alone (RFC 9586).  A client that knows all of a snapshot shares its columns.
    """

    __slots__ = ("messages", "numbered", "recent")

    def __init__(self, messages: Messages = NO_MESSAGES, recent: UidSet = NO_UIDS) -> None:
        self.messages = messages
        self.recent = recent
        self.numbered = True

    @classmethod
    def of(cls, snapshot: Snapshot) -> View:
        """The view of a client that is told all of ``snapshot``."""
        return cls(snapshot.messages, snapshot.recent)

    def __len__(self) -> int:
        return len(self.messages.uids)

    @property
    def uids(self) -> array[int]:
        return self.messages.uids

    @property
    def flags(self) -> bytes:
        return self.messages.flags

    @property
    def keywords(self) -> Keywords:
        return self.messages.keywords

    def uids_of(self, seqs: Sequence[int]) -> list[int]:
        """The UIDs of messages that the client knows, by sequence numbers."""
        uids = self.messages.uids
        return [uids[seq - 1] for seq in seqs]

    def seq(self, uid: int) -> int:
        """The sequence number of ``uid``; 0 when the client does not know it."""
        return self.messages.find(uid) + 1

    def bits(self, seq: int) -> int:
        return self.messages.flags[seq - 1]

    def words(self, uid: int) -> frozenset[bytes]:
        return self.messages.keywords.get(uid, NO_KEYWORDS)

    def expunge(self, uids: Sequence[int]) -> list[int]:
        """Forget these, which ascend; gives the sequence number that each had when those
        before it were forgotten."""
        rows = places(self.messages.uids, uids)
        self.messages = self.messages.without(rows)
        self.recent -= UidSet.of(uids)
        return [row + 1 - before for before, row in enumerate(rows)]

    def lines(self, uids: Sequence[int], form: bytes, *columns: Iterable[object]) -> bytes:
        """The lines that tell of these messages, which ascend.  ``form``: what stands in the parentheses, of
        what each of the columns has of the message.  RFC 9051 7.5.2, RFC 9586."""
        head = lines.FETCH if self.numbered else lines.UIDFETCH
        numbers = [row + 1 for row in places(self.messages.uids, uids)] if self.numbered else uids
        return b"".join(map((head + form + b")\r\n").__mod__, zip(numbers, *columns, strict=False)))

    def seqs_in(self, ranges: Iterable[tuple[int, int]]) -> list[int]:
        """Sequence numbers of the ascending ``ranges`` of sequence numbers."""
        count = len(self.messages.uids)
        found: list[int] = []
        for low, high in ranges:
            found += range(low, min(high, count) + 1)
        return found

    def seqs_of_uids(self, ranges: Iterable[tuple[int, int]]) -> list[int]:
        """Sequence numbers of the known UIDs in the ascending ``ranges``."""
        uids = self.messages.uids
        found: list[int] = []
        for low, high in ranges:
            start = bisect_left(uids, low)
            stop = bisect_left(uids, high + 1, start) if high < 0xFFFFFFFF else len(uids)
            found += range(start + 1, stop + 1)
        return found
