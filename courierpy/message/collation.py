"""How SEARCH, SORT and THREAD compare texts: by the active comparator.  RFC 5255 4.2, RFC 4790.

By i;unicode-casemap (RFC 5051), the default, a text becomes its key character by character:
titlecase, then decomposition.  By i;ascii-casemap only the letters of ASCII become capitals, and by
i;octet nothing changes.  Whatever the comparator: equal keys are equal texts, a key inside another
is a match, and keys in order of code points are texts in order.

The active comparator is the process's, which serves one client; what is kept of messages is kept
for each of them (see ``kind``).
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BLANKS = bytes(32 if chr(code).isspace() and code < 128 else code for code in range(256))


# soft hyphen, joiners, widths of zero, directions, selectors of a variant
_UNSEEN = frozenset((0xAD, 0x34F, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070),
                     *range(0xFE00, 0xFE10), 0xFEFF))


class _Map(dict[int, str]):
    """Code point -> its part of the key, filled as characters come."""

    def __missing__(self, code: int) -> str:
        from unicodedata import normalize
        char = chr(code)
        title = char.title()
        # only the simple mapping counts: what would become two letters stays
        value = self[code] = normalize("NFKD", title if len(title) == 1 else char)
        return value


class _FoldedMap(dict[int, str]):
    """The same, with a line end for white space, which no key of other characters holds, and
    nothing for what is not seen, as where a word may be broken."""

    def __missing__(self, code: int) -> str:
        value = self[code] = "\n" if chr(code).isspace() else "" if code in _UNSEEN else _MAP[code]
        return value


_MAP = _Map()
_FOLDED = _FoldedMap()
_SMALL_ASCII = {code: chr(code).upper() for code in range(ord("a"), ord("z") + 1)}


class Comparator:
    """``name``: as RFC 4790 registers it.  ``suffix``: of the kinds of what is kept of messages.
    ``capital``: is a letter of ASCII its capital?  ``cased``: function (text that is not ASCII)
    giving its key."""

    __slots__ = ("_lines", "_words", "capital", "cased", "name", "suffix")

    def __init__(self, name: str, suffix: str, capital: bool, cased: Callable[[str], str]) -> None:
        self.name = name
        self.suffix = suffix
        self.capital = capital
        self.cased = cased
        self._words = _BLANKS.upper() if capital else _BLANKS      # of an ASCII text, blanks for white space
        self._lines = self._words[:10] + b"\n" + self._words[11:]

    def key(self, text: str) -> str:
        """What ``text`` is compared by."""
        if text.isascii():
            return text.upper() if self.capital else text
        return self.cased(text)

    def fold(self, text: str) -> str:
        """The key for a search: runs of white space, as folding leaves them, count as one blank."""
        if text.isascii():
            return self.fold_ascii(text.encode()).decode()
        text = text.translate(_FOLDED) if self is UNICODE else self.cased(text.translate(_SPACED))
        while "\n\n" in text:
            text = text.replace("\n\n", "\n")
        return text.replace("\n", " ")

    def fold_ascii(self, text: bytes, lines: bool = False) -> bytes:
        """``fold`` of a text of ASCII; with ``lines`` of each of its lines."""
        text = text.translate(self._lines if lines else self._words)
        while b"  " in text:
            text = text.replace(b"  ", b" ")
        return text


class _SpacedMap(dict[int, str]):
    """White space as in _FoldedMap, and each other character as it is."""

    def __missing__(self, code: int) -> str:
        value = self[code] = "\n" if chr(code).isspace() else chr(code)
        return value


_SPACED = _SpacedMap()
UNICODE = Comparator("i;unicode-casemap", "", True, lambda text: text.translate(_MAP))
ASCII = Comparator("i;ascii-casemap", ".ascii-casemap", True, lambda text: text.translate(_SMALL_ASCII))
OCTET = Comparator("i;octet", ".octet", False, lambda text: text)
COMPARATORS = (UNICODE, ASCII, OCTET)
_active = UNICODE


def active() -> Comparator:
    """The comparator by which texts are compared now."""
    return _active


def use(comparator: Comparator) -> None:
    """From now on texts are compared by this one."""
    global _active
    _active = comparator


def kind(name: str) -> str:
    """What the values of this kind (see ``Attributes``) are called that the active comparator makes."""
    return name + _active.suffix


def plain(name: str) -> str:
    """The kind whose values are called ``name``."""
    return name.partition(".")[0]


def key(text: str) -> str:
    """As Comparator.key, by the active one."""
    return _active.key(text)


def fold(text: str) -> str:
    """As Comparator.fold, by the active one."""
    return _active.fold(text)


def fold_ascii(text: bytes, lines: bool = False) -> bytes:
    """As Comparator.fold_ascii, by the active one."""
    return _active.fold_ascii(text, lines)
