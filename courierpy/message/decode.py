"""Encoded words, charsets, transfer encodings.  RFC 2047, RFC 2045, RFC 2231."""
from __future__ import annotations

import re
from binascii import Error, a2b_base64, a2b_qp, b2a_base64
from urllib.parse import unquote_to_bytes

from courierpy.message.headers import wire_form

_WORD = re.compile(rb"=\?([^?\s]+)\?([BbQq])\?([^?]*)\?=")
_BETWEEN = re.compile(rb"(\?=)\s+(=\?[^?\s]+\?[BbQq]\?)")
_NOT_BASE64 = re.sub(rb"[A-Za-z0-9+/]", b"", bytes(range(256)))
_TAG = re.compile(r"<[^<>]*>")
_HIDES = re.compile(r"<(script|style)(?![a-z])[^<>]*>", re.I | re.A)
_SHOWS = {name: re.compile(f"</{name}(?![a-z])[^<>]*>", re.I | re.A) for name in ("script", "style")}
# codecs of Python that are no charsets of mail, and some slow with long texts
_NO_CHARSETS = frozenset(("idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"))


def charset_text(data: bytes, charset: str) -> str:
    """Bytes of a charset as text; unknown charsets as UTF-8, then Latin-1."""
    try:
        if charset and charset.lower().replace("_", "-") not in _NO_CHARSETS:
            return data.decode(charset, "replace")
    except (LookupError, ValueError):
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def base64(data: bytes) -> bytes:
    """Whatever decodes; rubbish is passed over, and what stands behind the padding."""
    end = data.find(b"=")
    if end >= 0 and len(wire_form(data[end:])) > 4:
        data = data[:end]
    clean = data.translate(None, _NOT_BASE64)
    if len(clean) % 4 == 1:
        clean = clean[:-1]
    try:
        return a2b_base64(clean + b"=" * (-len(clean) % 4))
    except Error:
        return b""


def transfer(data: bytes, encoding: bytes) -> bytes:
    """Content-Transfer-Encoding undone."""
    if encoding == b"base64":
        return base64(data)
    if encoding == b"quoted-printable":
        return a2b_qp(data)
    return data


def words(value: bytes) -> str:
    """A header value with its encoded words decoded."""
    if b"=?" not in value:
        return charset_text(value, "")
    value, joined = _BETWEEN.subn(rb"\1\2", value)
    if joined:
        value = _BETWEEN.sub(rb"\1\2", value)
    out = []
    pieces = _WORD.split(value)            # between, charset, encoding, text, between, ...
    for at in range(0, len(pieces) - 1, 4):
        between, charset, encoding, text = pieces[at:at + 4]
        if between:
            out.append(charset_text(between, ""))
        data = base64(text) if encoding in b"Bb" else a2b_qp(text.replace(b"_", b" "), header=False)
        out.append(charset_text(data, charset.partition(b"*")[0].decode("ascii", "replace")))
    if pieces[-1]:
        out.append(charset_text(pieces[-1], ""))
    return "".join(out)


def utf_8(value: bytes) -> bytes:
    """A header value in UTF-8, whatever it was."""
    return charset_text(value, "").encode("utf-8", "replace")


def encode_8bit(value: bytes) -> bytes:
    """A header value in ASCII: 8-bit text becomes encoded words of at most 75 octets."""
    if value.isascii():
        return value
    text = charset_text(value, "")
    chunks = []
    while text:
        size = 30
        chunk = text[:size].encode("utf-8", "replace")
        while len(chunk) > 45:
            size -= 5
            chunk = text[:size].encode("utf-8", "replace")
        chunks.append(b"=?utf-8?B?" + b2a_base64(chunk, newline=False) + b"?=")
        text = text[size:]
    return b" ".join(chunks)


def html_text(text: str, blanks: bool = False) -> str:
    """Text of HTML: tags, scripts and styles go, entities become characters.

    ``blanks``: where any white space will do, a no-break space may be a blank.
    """
    from html import unescape
    if blanks:
        text = text.replace("&nbsp;", " ")
    kept = []
    at = 0
    while (hides := _HIDES.search(text, at)) is not None:
        kept += _TAG.split(text[at:hides.start()])
        shows = _SHOWS[hides[1].lower()].search(text, hides.end())
        if shows is None:               # it hides nothing: no end of it comes
            return unescape(" ".join([*kept, text[hides.end():]]))
        at = shows.end()
    return unescape(" ".join(kept + _TAG.split(text[at:])))


def extended(value: bytes) -> tuple[str, bytes]:
    """RFC 2231 4: charset'language'percent-encoded -> (charset, octets)."""
    parts = value.split(b"'", 2)
    if len(parts) == 3:
        return parts[0].decode("ascii", "replace"), unquote_to_bytes(parts[2])
    return "", unquote_to_bytes(value)
