"""East Asian charsets as they are sent: with letters that Python's codecs leave out.

Mail in EUC-JP and ISO-2022-JP holds the letters of Microsoft's code pages (NEC's row
13, IBM's extensions), Big5 the euro, Shift_JIS what JIS X 0213 added.  Where a codec
fails, another one is asked for that letter.  ISO 2022 is read by its escapes (RFC 1468,
RFC 1554, RFC 1557, RFC 1922): each set that one names is a half of some EUC.
"""
from __future__ import annotations

import codecs
import re
from functools import lru_cache

from courierpy.message import eightbit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Plane = Callable[[bytes], str]

ISO_2022 = "iso-2022"              # all of its kinds for mail at once
CODECS = frozenset(("big5hkscs", "cp932", "euc_jp", "gb18030", "iso8859_8", ISO_2022))
# what is asked then, or first
SECOND = frozenset(("cp1255", "cp932", "cp950", "euc_jis_2004", "iso2022_jp", "shift_jis_2004"))

# the six signs that JIS and Microsoft give to different characters: what is typed is the latter
_SIGNS = tuple(zip("\u301c\u2016\u2212\xa2\xa3\xac", "\uff5e\u2225\uff0d\uffe0\uffe1\uffe2", strict=True))
_SIGN = re.compile(f"[{''.join(jis for jis, _ in _SIGNS)}]")
LINE_OCTETS = 1 << 16              # a line of ISO 2022 that is longer may be cut
FEW = 1000                         # unreadable letters that any text may have
ESCAPE = 27
BEGINS = re.compile(rb"\x1b(?:\$[@-B]|\$[(][@-D]|\$[(][OPQ]|[(]I|\$[)][AC])")
_SPLIT = re.compile(rb"\x1b(\$\([@-S]|\$[)*+]?[@-S]|[(.][@-Z])|(\x1bN.|[\x0e\x0f\n])", re.S)
_HIGH = bytes(code | 0x80 if 0x21 <= code <= 0x7E else code for code in range(256))
_PAIR = re.compile(rb"[\xa1-\xfe]{2}")


def is_iso_2022(octets: bytes) -> bool:
    """Does text that names no charset say by an escape that it is ISO 2022?  Mail from before MIME does, and
    header fields that nobody encoded."""
    return ESCAPE in octets and BEGINS.search(octets) is not None


def read(octets: bytes, codec: str) -> str:
    """The text, in one of CODECS."""
    if codec == ISO_2022:
        if b"\x0e" not in octets:
            try:                       # most of it is plain RFC 1468, which the library reads at once
                return _as_typed(octets.decode("iso2022_jp"))
            except UnicodeDecodeError:
                pass
        return Iso2022Decoder().decode(octets, final=True)
    text = octets.decode(codec, "replace")
    # to ask for a letter costs fifty times as much as to decode one: not for what is no text at all
    if 0 < text.count("\ufffd") <= FEW + len(octets) // 10:
        text = octets.decode(codec, "courierpy." + codec)
    return _as_typed(text) if codec == "euc_jp" else text


def _as_typed(text: str) -> str:
    if _SIGN.search(text) is None:
        return text
    for jis, microsoft in _SIGNS:
        text = text.replace(jis, microsoft)
    return text


class EastAsianDecoder:
    """The same piece by piece, but for ISO 2022."""

    def __init__(self, codec: str) -> None:
        self._decoder = codecs.getincrementaldecoder(codec)("courierpy." + codec)
        self._jis = codec == "euc_jp"

    def decode(self, octets: bytes, final: bool = False) -> str:
        text = self._decoder.decode(octets, final)
        return _as_typed(text) if self._jis else text


# -- letters that a codec does not have

@lru_cache(None)
def _more(codec: str) -> dict[bytes, str]:
    """Octets of a letter that only the second codec has -> the letter."""
    if codec == "gb18030":
        return {b"\x80": "€"}                      # as in code page 936
    if codec == "iso8859_8":
        return _difference(codec, "cp1255", [bytes((code,)) for code in range(0x80, 0x100)])
    if codec == "euc_jp":                          # a pair by its place in Shift_JIS
        pairs = [bytes((lead, trail)) for lead in range(0xA1, 0xFF) for trail in range(0xA1, 0xFF)]
        return {pair: text for pair in pairs
                if not pair.decode(codec, "ignore") and (text := _shifted(pair).decode("cp932", "ignore"))}
    pairs = [bytes((lead, trail)) for lead in range(0x81, 0xFF) for trail in range(0x40, 0xFF)]
    return _difference(codec, "cp950" if codec == "big5hkscs" else "shift_jis_2004", pairs)


def _difference(codec: str, second: str, letters: list[bytes]) -> dict[bytes, str]:
    found = {}
    for letter in letters:
        try:
            letter.decode(codec)
        except UnicodeDecodeError:
            try:
                found[letter] = letter.decode(second)
            except UnicodeDecodeError:
                continue
    return found


def _shifted(pair: bytes) -> bytes:
    """EUC-JP as Shift_JIS."""
    lead, trail = pair[0] - 0x80, pair[1] - 0x80
    return bytes(((lead - 0x21 >> 1) + (0x81 if lead < 0x5F else 0xC1),
                  trail + (0x1F if trail < 0x60 else 0x20) if lead & 1 else trail + 0x7E))


def _handler(codec: str, width: int) -> Callable[[UnicodeError], tuple[str, int]]:
    """What codecs.register_error wants.  ``width``: octets of a letter that may be missing."""
    def handle(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)
        at = error.start
        text = _more(codec).get(error.object[at:at + width])
        return (text, at + width) if text else ("\ufffd", error.end)
    return handle


for _codec, _width in (("euc_jp", 2), ("cp932", 2), ("big5hkscs", 2), ("iso8859_8", 1), ("gb18030", 1)):
    codecs.register_error("courierpy." + _codec, _handler(_codec, _width))


# -- ISO 2022

def _ascii(octets: bytes) -> str:
    """8-bit octets are none of it, but some are sent."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return read(octets, "cp932")


def _roman(octets: bytes) -> str:
    return _ascii(octets).replace("\\", "¥").replace("~", "‾")


def _katakana(octets: bytes) -> str:
    return octets.translate(_HIGH).decode("cp932", "replace")


def _pairs(codec: str, third: bytes = b"") -> Plane:
    """``third``: what stands before each pair in the EUC."""
    def text(octets: bytes) -> str:
        octets = octets.translate(_HIGH)
        if third:
            octets = _PAIR.sub(lambda pair: third + pair[0], octets)
        return read(octets, codec) if codec in CODECS else octets.decode(codec, "replace")
    return text


_JIS = _pairs("euc_jp")
_PLANES: dict[bytes, Plane] = {
    b"(B": _ascii, b"(J": _roman, b"(I": _katakana, b"$@": _JIS, b"$B": _JIS, b"$(@": _JIS, b"$(B": _JIS,
    b"$(D": _pairs("euc_jp", b"\x8f"), b"$A": _pairs("gb18030"), b"$(A": _pairs("gb18030"),
    b"$(C": _pairs("cp949"), b"$(O": _pairs("euc_jis_2004"), b"$(Q": _pairs("euc_jis_2004"),
    b"$(P": _pairs("euc_jis_2004", b"\x8f"), b"$)A": _pairs("gb18030"), b"$)C": _pairs("cp949")}
_HALVES = {b".A": "cp1252", b".F": "iso8859_7"}                # RFC 1554


def _unknown(octets: bytes) -> str:
    """A set that nobody here has (CNS 11643): as many letters."""
    return re.sub(r"[^\s]{2}", "\ufffd", octets.decode("latin-1"))


ESCAPE_OCTETS = 4                  # at most; the end of a piece may cut one


class Iso2022Decoder:
    """ISO 2022 piece by piece: runs of octets, each by the set that the escapes before it chose."""

    def __init__(self) -> None:
        self._low: Plane = _ascii
        self._high: Plane = _katakana
        self._half = "cp1252"
        self._shifted = False
        self._held = b""               # of a line that goes on in the next piece

    def decode(self, octets: bytes, final: bool = False) -> str:
        octets, self._held = self._held + octets, b""
        if not final:
            end = octets.rfind(b"\n") + 1
            if not end and len(octets) > LINE_OCTETS:
                end = max(octets.rfind(b"\x1b"), 0)
                if not end:            # not between the octets of a pair, which begin behind an escape
                    begun = _SPLIT.match(octets)
                    start = begun.end() if begun is not None else 0
                    end = start + (len(octets) - start - ESCAPE_OCTETS) // 2 * 2
            octets, self._held = octets[:end], octets[end:]
        found = []
        pieces = _SPLIT.split(octets)
        for at in range(0, len(pieces), 3):
            if pieces[at]:
                found.append((self._high if self._shifted else self._low)(pieces[at]))
            escape, other = pieces[at + 1:at + 3] or (None, None)
            if escape:
                self._choose(escape)
            elif other == b"\n":
                self._low, self._shifted = _ascii, False           # RFC 1468: a line begins in ASCII
                found.append("\n")
            elif other in (b"\x0e", b"\x0f"):
                self._shifted = other == b"\x0e"
            elif other:
                found.append(eightbit.read(bytes((other[2] | 0x80,)), self._half))
        return "".join(found)

    def _choose(self, escape: bytes) -> None:
        plane = _PLANES.get(escape, _unknown)
        if escape in _HALVES:
            self._half = _HALVES[escape]
        elif escape.startswith(b"$)"):
            self._high = plane
        elif not escape.startswith((b"$*", b"$+", b".")):
            self._low = plane
