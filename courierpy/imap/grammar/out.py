"""Values to bytes: strings, flags, lists, as they stand in replies.  RFC 9051 9."""
from __future__ import annotations

from courierpy.model import utf7
from courierpy.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from courierpy.model.regex import later
from courierpy.model.strings import char8, literal, quoted, string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    Flags = tuple[int, Collection[bytes], int]         # arguments of flag_list()

__all__ = ["FLAG_LISTS", "FLAG_NAMES", "astring", "char8", "flag_list", "flag_lists", "literal", "mailbox",
           "nstring", "quoted", "rights", "string"]

# In the order in which FETCH shows them, Courier's.
FLAG_NAMES = ((DRAFT, b"\\Draft"), (FLAGGED, b"\\Flagged"), (ANSWERED, b"\\Answered"),
              (SEEN, b"\\Seen"), (DELETED, b"\\Deleted"))
_FLAG_TEXT = tuple(b" ".join(name for bit, name in FLAG_NAMES if bits & bit) for bits in range(32))
FLAG_LISTS = tuple(b"(" + text + b")" for text in _FLAG_TEXT)      # without keywords, by flag bits
_ATOM = later(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")


def nstring(data: bytes | None) -> bytes:
    """A string, None as NIL."""
    return b"NIL" if data is None else string(data)


def astring(data: bytes) -> bytes:
    """An atom if that is possible."""
    return data if _ATOM.fullmatch(data) and data.upper() != b"NIL" else string(data)


def mailbox(name: str, utf8: bool = False) -> bytes:
    """A mailbox name, always quoted; modified UTF-7, or UTF-8 for clients that enabled it."""
    if utf8:
        try:
            return quoted(name.encode())
        except UnicodeEncodeError:
            pass                    # a name that is no UTF-8: only modified UTF-7 can carry it
    return quoted(utf7.encode(name))


def flag_list(bits: int, keywords: Collection[bytes] = (), recent: bool = False) -> bytes:
    """``(\\Seen \\Recent $Label1)`` in Courier's order."""
    if not recent and not keywords:
        return FLAG_LISTS[bits & 31]
    text = _FLAG_TEXT[bits & 31]
    if recent:
        text = text + b" \\Recent" if text else b"\\Recent"
    if keywords:
        text = b" ".join(([text] if text else []) + sorted(keywords))
    return b"(" + text + b")"


def flag_lists(bits: Iterable[int], keywords: Iterable[Collection[bytes]],
               recent: Iterable[int]) -> list[bytes]:
    """flag_list() of each of many messages, of which most have the same as another one.  The keywords
    are frozensets."""
    return list(map(_FlagLists().__getitem__, zip(bits, keywords, recent, strict=False)))


class _FlagLists(dict["Flags", bytes]):
    def __missing__(self, flags: Flags) -> bytes:
        bits, keywords, recent = flags
        text = self[flags] = flag_list(bits, keywords, bool(recent))
        return text


RIGHTS = b"lrswipkxtea"            # in the order of RFC 4314 2.1


def rights(letters: Collection[str]) -> bytes:
    """The letters of ACL and MYRIGHTS; with c and d, for clients of RFC 2086.  RFC 4314 2.1.1."""
    told = bytes(letter for letter in RIGHTS if chr(letter) in letters)
    if "k" in letters:
        told += b"c"
    return told if {*"xte"}.isdisjoint(letters) else told + b"d"
