"""Values to bytes: strings, flags, lists, as they stand in replies.  RFC 9051 9."""
from __future__ import annotations

from operator import or_

from courierpy.model import utf7
from courierpy.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from courierpy.model.regex import later
from courierpy.model.strings import char8, literal, quoted, string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["FLAG_LISTS", "FLAG_NAMES", "astring", "char8", "flag_list", "flag_lists", "literal", "mailbox",
           "nstring", "quoted", "rights", "string"]

# In the order in which FETCH shows them, Courier's.
FLAG_NAMES = ((DRAFT, b"\\Draft"), (FLAGGED, b"\\Flagged"), (ANSWERED, b"\\Answered"),
              (SEEN, b"\\Seen"), (DELETED, b"\\Deleted"))
_FLAG_TEXT = tuple(b" ".join(name for bit, name in FLAG_NAMES if bits & bit) for bits in range(32))
# without keywords, by flag bits, and behind these by flag bits of messages that are recent
FLAG_LISTS = tuple(b"(" + b" ".join(filter(None, (text, recent))) + b")"
                   for recent in (b"", b"\\Recent") for text in _FLAG_TEXT)
_RECENT = bytes(len(_FLAG_TEXT) * bool(mark) for mark in range(256))
_ATOM = later(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")


def nstring(data: bytes | None) -> bytes:
    """A string, None as NIL."""
    return b"NIL" if data is None else string(data)


def astring(data: bytes) -> bytes:
    """An atom if that is possible."""
    return data if _ATOM.fullmatch(data) and data.upper() != b"NIL" else string(data)


def mailbox(name: str, utf8: bool = False) -> bytes:
    """A mailbox name, never an atom; modified UTF-7, or UTF-8 for clients that enabled it."""
    if utf8:
        try:
            return string(name.encode(), utf8)         # others write CR into what is subscribed
        except UnicodeEncodeError:
            pass                    # a name that is no UTF-8: only modified UTF-7 can carry it
    return quoted(utf7.encode(name))


def flag_list(bits: int, keywords: Collection[bytes] = (), recent: bool = False) -> bytes:
    """``(\\Seen \\Recent $Label1)`` in Courier's order."""
    flags = FLAG_LISTS[bits & 31 | 32 * bool(recent)]
    return b"(" + b" ".join(filter(None, (flags[1:-1], *sorted(keywords)))) + b")" if keywords else flags


def flag_lists(bits: Iterable[int], keywords: Iterable[frozenset[bytes]] | None,
               recent: bytes) -> list[bytes]:
    """flag_list() of each of many messages, of which most have the same as another one.  ``keywords``: None
    where none has any; ``recent``: an octet each, 0 for one that is not."""
    if any(recent):
        bits = map(or_, bits, recent.translate(_RECENT))
    if keywords is None:
        return list(map(FLAG_LISTS.__getitem__, bits))
    known = _Known()
    return [known[words][both] for words, both in zip(keywords, bits, strict=False)]


class _Known(dict[frozenset[bytes], dict[int, bytes]]):
    """The texts by keywords, and by the place in FLAG_LISTS, as they come to be wanted."""

    def __missing__(self, keywords: frozenset[bytes]) -> dict[int, bytes]:
        found = self[keywords] = _Texts(keywords)
        return found


class _Texts(dict[int, bytes]):
    def __init__(self, keywords: frozenset[bytes]) -> None:
        self._keywords = keywords

    def __missing__(self, both: int) -> bytes:
        text = self[both] = flag_list(both, self._keywords, both >= len(_FLAG_TEXT))
        return text


RIGHTS = b"lrswipkxtea"            # in the order of RFC 4314 2.1


def rights(letters: Collection[str]) -> bytes:
    """The letters of ACL and MYRIGHTS; with c and d, for clients of RFC 2086.  RFC 4314 2.1.1."""
    told = bytes(letter for letter in RIGHTS if chr(letter) in letters)
    if "k" in letters:
        told += b"c"
    return told if {*"xte"}.isdisjoint(letters) else told + b"d"
