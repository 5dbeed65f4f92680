"""How much a mailbox may hold: generous, so that nobody meets them but who fills a server on purpose."""
from __future__ import annotations

from courierpy.maildir.errors import MailboxFull, TooManyKeywords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from courierpy.system.settings import Settings

KEYWORD_OCTETS = 255               # of one keyword


class Bounds:
    """``messages`` and ``keywords`` of a mailbox, different ones; ``own``: keywords of one message.
    0: any number."""

    __slots__ = ("_brought", "keywords", "messages", "own")

    def __init__(self, messages: int = 0, keywords: int = 0, own: int = 0) -> None:
        self.messages = messages
        self.keywords = keywords
        self.own = own
        self._brought: dict[str, set[bytes]] = {}    # by mailbox's path, keywords that came there

    @classmethod
    def of(cls, settings: Settings) -> Bounds:
        number = settings.number
        return cls(number("IMAP_FOLDER_MESSAGES"), number("IMAP_FOLDER_KEYWORDS"),
                   number("IMAP_MESSAGE_KEYWORDS"))

    def enters(self, path: str, count: int, more: int) -> None:
        """``more`` messages come to ``count``.  Raises MailboxFull."""
        if self.messages and count + more > self.messages:
            raise MailboxFull(f"{path}: {count} messages, and {more} more")

    def tags(self, path: str, messages: Iterable[frozenset[bytes]], known: Collection[bytes]) -> None:
        """``messages``: all keywords that each will have; ``known``: those that some message of the
        mailbox has already.  Raises TooManyKeywords."""
        new: set[bytes] = set()
        for words in messages:
            if self.own and len(words) > self.own:
                raise TooManyKeywords(f"{path}: {len(words)} keywords of a message")
            new |= words
        new.difference_update(known)
        if any(len(word) > KEYWORD_OCTETS for word in new):
            raise TooManyKeywords(f"{path}: a keyword of more than {KEYWORD_OCTETS} octets")
        if self.keywords and new and len(known) + len(new) > self.keywords:
            raise TooManyKeywords(f"{path}: {len(known)} keywords, and {len(new)} more")

    def brings(self, path: str, messages: Iterable[frozenset[bytes]], known: Collection[bytes]) -> None:
        """As tags(), of messages that are about to come: what they bring is known to the next call, as
        nobody may have looked at the mailbox meanwhile."""
        brought = self._brought.setdefault(path, set())
        messages = list(messages)
        self.tags(path, messages, brought.union(known))
        brought.update(*messages)
