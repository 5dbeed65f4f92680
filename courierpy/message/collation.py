"""i;unicode-casemap, the collation of SEARCH, SORT and THREAD.  RFC 5051, RFC 5255 4.2.

A text becomes its key character by character: titlecase, then decomposition.
Equal keys are equal texts, a key inside another is a match, and keys in order
of code points are texts in order.
"""
from __future__ import annotations

import re

_SPACE = re.compile(r"\s+")


class _Map(dict[int, str]):
    """Code point -> its part of the key, filled as characters come."""

    def __missing__(self, code: int) -> str:
        from unicodedata import normalize
        char = chr(code)
        title = char.title()
        # only the simple mapping counts: what would become two letters stays
        value = self[code] = normalize("NFKD", title if len(title) == 1 else char)
        return value


_MAP = _Map()


def key(text: str) -> str:
    """What ``text`` is compared by."""
    return text.upper() if text.isascii() else text.translate(_MAP)


def fold(text: str) -> str:
    """The key for a search: runs of white space, as folding leaves them, count as one blank."""
    return key(_SPACE.sub(" ", text))
