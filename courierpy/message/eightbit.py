"""Charsets in which each octet is a letter, by a table of these.

What the library has of such a charset are five classes and a dozen functions, many times as much memory as
the table, and a server has seventy of them in all its processes.
"""
from __future__ import annotations

from codecs import charmap_decode

from courierpy.system import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OCTETS = bytes(range(256))
_letters: dict[str, str] = {}          # by codec


def letters(codec: str) -> str:
    """What the octets from 0 to 255 are; U+FFFD for what is no letter."""
    found = _letters.get(codec)
    if found is None:
        found = _letters[codec] = OCTETS.decode(codec, "replace")
    return found


def read(octets: bytes, codec: str) -> str:
    """The text.  What is no letter becomes U+FFFD."""
    return charmap_decode(octets, "replace", letters(codec))[0]


class Decoder:
    """The same piece by piece."""

    def __init__(self, codec: str) -> None:
        self._codec = codec

    def decode(self, octets: bytes, final: bool = False) -> str:
        return read(octets, self._codec)


def load(codecs: Sequence[str]) -> None:
    """Have the tables of these, for who may not be able to read the library later.  Another process does so,
    and the library's part is in its memory; only where there can be none it is in ours."""
    told = proc.elsewhere(lambda: "".join(map(letters, codecs)).encode())()
    if told is None:
        for codec in codecs:
            letters(codec)
    else:
        text = told.decode()
        for number, codec in enumerate(codecs):
            _letters[codec] = text[number * len(OCTETS):][:len(OCTETS)]
