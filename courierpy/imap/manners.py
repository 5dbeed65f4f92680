"""How a client is spoken to: what it enabled changes the form of what it says and hears.  RFC 5161."""
from __future__ import annotations

from courierpy.imap import ext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from courierpy.imap.session import Session


class Manners:
    """What the centre asks before it reads or tells; as RFC 3501 has it until an extension changes it.

    ``utf8``: mailbox names and strings are UTF-8, both ways.  ``charsets``: SEARCH may name a CHARSET.
    ``utf8_messages``: APPEND has ``UTF8 (~{n} ... )``.  ``eight_bits``: APPEND takes headers with 8-bit
    octets.  ``recent``: the client hears of \\Recent, of RECENT and of the first message that is unseen.
    ``esearch``: SEARCH without RETURN is answered as with ``RETURN (ALL)``.  ``numbered``: messages have
    sequence numbers; where they have none commands name UIDs, and so does all that is told.
    ``normal``: function (session, name) giving the name that a mailbox has for the one that was sent.
    """

    __slots__ = ("charsets", "eight_bits", "esearch", "normal", "numbered", "recent", "utf8", "utf8_messages")

    def __init__(self) -> None:
        self.utf8 = False
        self.charsets = True
        self.utf8_messages = False
        self.eight_bits = False
        self.recent = True
        self.esearch = False
        self.numbered = True
        self.normal: Callable[[Session, str], str] | None = None

    @classmethod
    def of(cls, enabled: Iterable[bytes]) -> Manners:
        """Those of a client that enabled these."""
        manners = cls()
        for token in sorted(enabled):
            change = ext.find("manners", token)
            if change is not None:
                change(manners)
        return manners


class Enabled:
    """The tokens that a client has enabled, ascending, and what they bring about, found when one is added
    and not for each command.

    ``manners``: see above.  ``fetch_besides``, ``news``, ``on_updates``: what these tokens have in the
    extensions' tables of that name.
    """

    __slots__ = ("_heard", "_tokens", "fetch_besides", "manners", "news", "on_updates")

    def __init__(self, heard: Callable[[Manners], object]) -> None:
        """``heard``: is told how the client is spoken to from now on."""
        self._tokens: list[bytes] = []
        self._heard = heard
        self.manners = Manners()
        self.fetch_besides: list[Any] = []
        self.news: list[Any] = []
        self.on_updates: list[Any] = []

    def add(self, *tokens: bytes) -> None:
        """From now on these are enabled."""
        self._tokens = sorted({*self._tokens, *tokens})
        self.manners = Manners.of(self._tokens)
        self.fetch_besides = self.find("fetch_besides")
        self.news = self.find("news")
        self.on_updates = self.find("on_updates")
        self._heard(self.manners)

    def __contains__(self, token: bytes) -> bool:
        return token in self._tokens

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._tokens)

    def find(self, table: str) -> list[Any]:
        """What the extensions have in ``table`` under these tokens, in their order."""
        if not self._tokens:
            return []                  # mostly
        found = [ext.find(table, token) for token in self._tokens]
        return [one for one in found if one is not None]
