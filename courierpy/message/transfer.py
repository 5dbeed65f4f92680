"""Content-Transfer-Encoding undone, at once or piece by piece.  RFC 2045 6.7, 6.8."""
from __future__ import annotations

import re
from binascii import a2b_base64, a2b_qp

_NOT_BASE64 = re.sub(rb"[A-Za-z0-9+/]", b"", bytes(range(256)))
_LETTERS_AND_ENDS = bytes(set(range(256)) - {*_NOT_BASE64} | {*b"=\r\n"})
_BASE64_LINE = re.compile(rb"[A-Za-z0-9+/=]*")
_BEHIND_PADDING = re.compile(rb"(?<==)[ \t]+")
# blanks that transport put behind a line, a soft line break too (RFC 2045 6.7 (3))
_PADDING = re.compile(rb"(?<![ \t])[ \t]+(?=\r?\n|\Z)")
# a soft line break where lines end in CR alone: the library would drop all up to the next LF
_BROKEN_BY_CR = re.compile(rb"=\r(?!\r*\n)")
LINE_OCTETS = 1 << 16              # a longer line may be cut


def transfer(octets: bytes, encoding: bytes) -> bytes:
    """All of a body; an encoding that nobody knows changes nothing."""
    if encoding == b"base64":
        return base64(octets)
    return QuotedPrintableDecoder().decode(octets, final=True) if encoding == b"quoted-printable" else octets


def base64(octets: bytes) -> bytes:
    """Whatever decodes, see ``Base64Decoder``."""
    letters, _, behind = octets.partition(b"=")
    if behind.strip(b"= \t\r\n"):
        return Base64Decoder().decode(octets, final=True)
    letters = letters.translate(None, _NOT_BASE64)
    return a2b_base64((letters if len(letters) & 3 != 1 else letters[:-1]) + b"==")


class Base64Decoder:
    """Rubbish is passed over.  Behind padding may stand another text in base64, as senders do
    that encode by pieces; but the first line there that is none ends it: a footer of a list."""

    def __init__(self) -> None:
        self._letters = b""            # fewer than four
        self._padded = self._over = False
        self._line = b""               # behind padding, not whole yet

    def decode(self, octets: bytes, final: bool = False) -> bytes:
        found = []
        if not self._padded:
            octets, padding, behind = octets.partition(b"=")
            self._padded = bool(padding)
            found.append(self._take(octets.translate(None, _NOT_BASE64), final or self._padded))
            octets = behind
        if self._padded and not self._over:
            found += self._behind(octets, final)
        return b"".join(found)

    def _take(self, letters: bytes, end: bool) -> bytes:
        letters = self._letters + letters
        whole = len(letters) - len(letters) % 4
        letters, self._letters = letters[:whole], letters[whole:]
        if end:
            rest, self._letters = self._letters, b""
            if len(rest) > 1:          # one letter alone is no octet
                letters += rest + b"=" * (4 - len(rest))
        return a2b_base64(letters)

    def _behind(self, octets: bytes, final: bool) -> list[bytes]:
        text = self._line + octets
        whole = len(text) if final else text.rfind(b"\n") + 1
        if not text.translate(None, _LETTERS_AND_ENDS) and text.count(b"\r") == text.count(b"\r\n"):
            # nothing else: where the lines end does not matter
            self._line = text[whole:]
            return self._texts(text[:whole].translate(None, b"\r\n"), final)
        lines = text.split(b"\n")
        self._line = b"" if final or len(lines[-1]) > LINE_OCTETS else lines.pop()
        found = []
        for line in lines:
            line = _BEHIND_PADDING.sub(b"", line.strip())
            self._over = _BASE64_LINE.fullmatch(line) is None
            if self._over:
                break
            found += self._texts(line, False)
        if final or self._over:
            found.append(self._take(b"", True))
        return found

    def _texts(self, line: bytes, final: bool) -> list[bytes]:
        """Texts in base64 with padding between them."""
        found = []
        *padded, last = line.split(b"=")
        if padded:
            found.append(self._take(padded[0], True))
            # many may be short; one letter alone is no octet
            found += [a2b_base64((letters if len(letters) & 3 != 1 else letters[:-1]) + b"==")
                      for letters in padded[1:] if letters]
        found.append(self._take(last, final))
        return found


class QuotedPrintableDecoder:
    """Line by line."""

    def __init__(self) -> None:
        self._held = b""

    def decode(self, octets: bytes, final: bool = False) -> bytes:
        octets, self._held = self._held + octets, b""
        if not final:
            end = octets.rfind(b"\n") + 1
            if not end and len(octets) > LINE_OCTETS:
                # not between =, blanks and what belongs to them
                end = len(octets[:-2].rstrip(b" \t"))
                end -= _begun(octets[:end]) or 2 * _begun(octets[:max(0, end - 1)])
                if len(octets) - end > 2 * LINE_OCTETS:        # blanks, of which some fewer will do
                    octets = octets[:end + LINE_OCTETS]
            octets, self._held = octets[:end], octets[end:]
        if octets.endswith((b" ", b"\t")) or b" \n" in octets or b"\r" in octets and b" \r" in octets \
                or b"\t" in octets and (b"\t\n" in octets or b"\t\r" in octets):
            octets = _PADDING.sub(b"", octets)
        octets = unencoded(octets)
        if b"=\r" in octets and octets.count(b"=\r") != octets.count(b"=\r\n"):
            octets = _BROKEN_BY_CR.sub(b"=\n", octets)
        return a2b_qp(octets)


def unencoded(octets: bytes) -> bytes:
    """As quoted-printable, what was never encoded: both octets stand as they are, the "=" and what is behind
    it (RFC 2045 6.7, note 2).  The library drops the first of two "="."""
    return octets.replace(b"==", b"=3D=3D")


def _begun(octets: bytes) -> bool:
    """Does it end in an "=" that has yet to be followed by what it means?"""
    return bool((len(octets) - len(octets.rstrip(b"="))) & 1)
