"""i;unicode-casemap, the collation of SEARCH, SORT and THREAD.  RFC 5051, RFC 5255 4.2.

A text becomes its key character by character: titlecase, then decomposition.
Equal keys are equal texts, a key inside another is a match, and keys in order
of code points are texts in order.
"""
from __future__ import annotations

_BLANKS = bytes(32 if chr(code).isspace() and code < 128 else code for code in range(256))
_ASCII = _BLANKS.upper()                   # of an ASCII text: blanks and capitals
_ASCII_LINES = _ASCII[:10] + b"\n" + _ASCII[11:]


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


def key(text: str) -> str:
    """What ``text`` is compared by."""
    return text.upper() if text.isascii() else text.translate(_MAP)


def fold(text: str) -> str:
    """The key for a search: runs of white space, as folding leaves them, count as one blank."""
    if text.isascii():
        return fold_ascii(text.encode()).decode()
    text = text.translate(_FOLDED)
    while "\n\n" in text:
        text = text.replace("\n\n", "\n")
    return text.replace("\n", " ")


def fold_ascii(text: bytes, lines: bool = False) -> bytes:
    """``fold`` of a text of ASCII; with ``lines`` of each of its lines."""
    text = text.translate(_ASCII_LINES if lines else _ASCII)
    while b"  " in text:
        text = text.replace(b"  ", b" ")
    return text
