"""How SEARCH, SORT and THREAD compare texts: by the active comparator.  RFC 5255 4.2, RFC 4790.

By i;unicode-casemap (RFC 5051), the default, a text becomes its key character by character:
titlecase, then decomposition.  By i;ascii-casemap only the letters of ASCII become capitals, and by
i;octet nothing changes.  Whatever the comparator: equal keys are equal texts, a key inside another
is a match, and keys in order of code points are texts in order.

The active comparator is the process's, which serves one client; what is kept of messages is kept
for each of them (see ``kind``).
"""
from __future__ import annotations

import re
from codecs import charmap_decode
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BLANKS = bytes(32 if chr(code).isspace() and code < 128 else code for code in range(256))
_ASCII_WORDS = _BLANKS.upper()
_ASCII_BREAKS = _ASCII_WORDS.replace(b" ", b"\n")            # capitals, and line ends for white space
_ALL_ASCII = bytes(range(128))
SHORT = 100                        # characters up to which it is not worth it to look what there is
MOSTLY = 3                         # characters of ASCII to an octet more than one of others
FEW = 16                           # letters that are replaced one by one
_RUN_OF_BLANKS, _RUN_OF_BREAKS = re.compile(rb"  +"), re.compile(r"\n\n+")
# a letter that hardly any text of an alphabet is without, and a codec of what else it is written with
_ALPHABETS = (("\u043e", "cp1251"), ("\u03b1", "cp1253"), ("\u05d5", "cp1255"), ("\u0627", "cp1256"))

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


class _SettledMap(dict[str, str | None]):
    """The same of a letter; None where that, as a part of the text, would be folded once more."""

    def __missing__(self, letter: str) -> str | None:
        folded = _FOLDED[ord(letter)]
        settled = all(char.isascii() or _FOLDED[ord(char)] == char for char in folded)
        value = self[letter] = folded if settled else None
        return value


_MAP = _Map()
_FOLDED = _FoldedMap()
_SETTLED = _SettledMap()
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
        if self is UNICODE:
            if len(text) > SHORT and (folded := _by_letter(text) or _by_alphabet(text)):
                return folded
            text = text.translate(_FOLDED)
        else:
            text = self.cased(text.translate(_SPACED))
        return _blanks_for_breaks(text)

    def fold_ascii(self, text: bytes, lines: bool = False) -> bytes:
        """``fold`` of a text of ASCII; with ``lines`` of each of its lines."""
        text = text.translate(self._lines if lines else self._words)
        return _RUN_OF_BLANKS.sub(b" ", text) if b"  " in text else text


def _blanks_for_breaks(text: str) -> str:
    """A blank for each run of line ends."""
    if "\n\n" in text:
        text = _RUN_OF_BREAKS.sub("\n", text)
    return text.replace("\n", " ")


def _by_letter(text: str) -> str | None:
    """The fold of a text that is mostly ASCII, with few letters besides: each of them is replaced
    everywhere, in a third of the time that _FOLDED takes.  None of another text."""
    try:
        octets = text.encode()
    except UnicodeEncodeError:                 # half of a pair of surrogates
        return None
    if MOSTLY * (len(octets) - len(text)) > len(text):
        return None
    letters = [(letter, value) for letter in set(octets.translate(None, _ALL_ASCII).decode())
               if (value := _SETTLED[letter]) != letter]
    if len(letters) > FEW:
        return None
    breaks = any(value in ("", "\n") for _, value in letters)     # then runs of blanks come of them
    octets = octets.translate(_ASCII_BREAKS if breaks else _ASCII_WORDS)
    text = (octets if breaks else _RUN_OF_BLANKS.sub(b" ", octets)).decode()
    for letter, value in letters:
        if value is None:
            return None
        text = text.replace(letter, value)
    return _blanks_for_breaks(text) if breaks else text


def _by_alphabet(text: str) -> str | None:
    """The fold of a text in one of _ALPHABETS, in a quarter of that time.  None of another text."""
    for letter, codec in _ALPHABETS:
        if letter in text:
            try:
                table, blanks, unseen, several = _alphabet(codec)
                octets = _RUN_OF_BLANKS.sub(b" ", text.encode(codec).translate(blanks, unseen))
                text, _ = charmap_decode(octets, "strict", table)
            except (UnicodeError, LookupError):        # other letters; a codec that cannot be loaded
                return None
            for letter, value in several:
                text = text.replace(letter, value)
            return text
    return None


@lru_cache(None)
def _alphabet(codec: str) -> tuple[str, bytes, bytes, list[tuple[str, str]]]:
    """For octets of a codec: their letters, folded; blanks for white space; those that are not seen; and
    letters that stand, in the first of these, for several."""
    table, blanks, unseen = "", bytearray(range(256)), b""
    several: dict[str, str] = {}
    for code, letter in enumerate(bytes(range(256)).decode(codec, "replace")):
        folded = _SETTLED[letter]
        if folded == "\n":
            blanks[code], folded = 32, " "
        elif folded == "":
            unseen += bytes((code,))
        if folded is None:
            table += "\ufffe"                          # as if it were no letter
        else:
            table += folded if len(folded) == 1 else several.setdefault(folded, letter)
    return table, bytes(blanks), unseen, [(letter, folded) for folded, letter in several.items() if folded]


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
