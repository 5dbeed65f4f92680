"""LIST patterns: `*` any text, `%` any text without the separator.  RFC 9051 6.3.9.

A pattern is simulated as a set of positions in one int, a step a character:
many wildcards cost no more than few.
"""
from __future__ import annotations

import re

from courierpy.model import namespaces

_WILDCARDS = re.compile("[%*]+")       # of which `*` matches all that the others do


class Pattern:
    """``text``: reference and pattern joined, as Unicode.  INBOX in any case
    matches as a first level.  ``separator``: between the levels of names."""

    __slots__ = ("_accept", "_any", "_chars", "_separator", "_stay", "text")

    def __init__(self, text: str, separator: str = ".") -> None:
        text = namespaces.folded(text, separator, "*%")
        self._separator = separator
        self.text = text = _WILDCARDS.sub(lambda run: "*" if "*" in run[0] else "%", text)
        # positions 0..n; a wildcard at position i may stay at i or step over freely
        self._chars: dict[str, int] = {}
        self._stay = self._any = 0
        for i, char in enumerate(text):
            bit = 1 << i
            if char == "*":
                self._stay |= bit
                self._any |= bit
            elif char == "%":
                self._stay |= bit
            else:
                self._chars[char] = self._chars.get(char, 0) | bit
        self._accept = 1 << len(text)

    def _skip(self, state: int) -> int:
        """Step over wildcards that match nothing."""
        return state | (state & self._stay) << 1

    def matches(self, name: str) -> bool:
        if self.text == "*":
            return True
        state = self._skip(1)
        for char in name:
            stays = self._any if char == self._separator else self._stay
            state = self._skip((state & stays) | (state & self._chars.get(char, 0)) << 1)
            if not state:
                return False
        return bool(state & self._accept)
