"""How much a mailbox may hold: generous, so that nobody meets them but who fills a server on purpose."""
from __future__ import annotations

from courierpy.maildir.errors import MailboxFull, TooManyKeywords
from courierpy.system import concluded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from courierpy.system.settings import Settings

KEYWORD_OCTETS = 255               # of one keyword


def _numbers(settings: Settings) -> tuple[int, int, int]:
    number = settings.number
    return number("IMAP_FOLDER_MESSAGES"), number("IMAP_FOLDER_KEYWORDS"), number("IMAP_MESSAGE_KEYWORDS")


class Bounds:
    """How much a mailbox may hold.

    ``messages`` and ``keywords`` of a mailbox, different ones; ``own``: keywords of one message.
    0: any number."""

    __slots__ = ("_used", "keywords", "messages", "own")

    def __init__(self, messages: int = 0, keywords: int = 0, own: int = 0) -> None:
        self.messages = messages
        self.keywords = keywords
        self.own = own
        # by mailbox's path, keywords that were in use there: in small letters, and as they are spelled
        self._used: dict[str, dict[bytes, bytes]] = {}

    @classmethod
    def of(cls, settings: Settings) -> Bounds:
        return cls(*concluded.of(settings, _numbers))

    def forget(self) -> None:
        """Nothing is known of what is in use."""
        self._used.clear()

    def enters(self, path: str, count: int, more: int) -> None:
        """``more`` messages come to ``count``.  Raises MailboxFull."""
        if self.messages and count + more > self.messages:
            raise MailboxFull(f"{path}: {count} messages, and {more} more")

    def tags(self, path: str, messages: Iterable[frozenset[bytes]], used: Callable[[], Collection[bytes]],
             known: Collection[bytes] = ()) -> dict[bytes, bytes]:
        """``messages``: all keywords that each will have.  ``used``: gives those that messages of the mailbox
        have now, whoever set them; asked where a keyword is neither among ``known``, which the session
        knows to be in use, nor was among those of the last call.

        Gives the keywords that are in use there in another spelling, and that: two spellings would be two
        keywords for other programs.  Raises TooManyKeywords."""
        new: dict[bytes, None] = {}
        for words in dict.fromkeys(messages):
            if self.own and len(words) > self.own:
                raise TooManyKeywords(f"{path}: {len(words)} keywords of a message")
            new.update(dict.fromkeys(sorted(words)))
        first = {word.lower(): word for word in sorted(known, reverse=True)}
        there = self._used.get(path, {})
        fresh = [word for word in new if word.lower() not in first and word.lower() not in there]
        if any(len(word) > KEYWORD_OCTETS for word in fresh):
            raise TooManyKeywords(f"{path}: a keyword of more than {KEYWORD_OCTETS} octets")
        if fresh:
            there = {word.lower(): word for word in sorted(used(), reverse=True)}
            count = len(there)
            for word in new:           # also those of the last call that no message has any more
                if word.lower() not in first:
                    there.setdefault(word.lower(), word)
            if self.keywords and len(there) > self.keywords:
                raise TooManyKeywords(f"{path}: {count} keywords, and {len(there) - count} more")
            self._used[path] = there
        spelled = {word: first.get(word.lower()) or there[word.lower()] for word in new}
        return {word: other for word, other in spelled.items() if other != word}
