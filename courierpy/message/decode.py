"""Encoded words, charsets, transfer encodings.  RFC 2047, RFC 2045, RFC 2231."""
from __future__ import annotations

import re
from binascii import Error, a2b_base64, a2b_qp, b2a_base64
from urllib.parse import unquote_to_bytes

_WORD = re.compile(rb"=\?([^?\s]+)\?([BbQq])\?([^?]*)\?=")
_BETWEEN = re.compile(rb"(\?=)\s+(=\?[^?\s]+\?[BbQq]\?)")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_TAG = re.compile(r"<(/?)([A-Za-z]*)[^<>]*>")
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
    """Whatever decodes; rubbish is passed over."""
    clean = _NOT_BASE64.sub(b"", data.split(b"=")[0] if b"=" in data[:-4] else data)
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
    value = _BETWEEN.sub(rb"\1\2", value)
    value = _BETWEEN.sub(rb"\1\2", value)
    out = []
    at = 0
    for match in _WORD.finditer(value):
        out.append(charset_text(value[at:match.start()], ""))
        charset = match[1].partition(b"*")[0].decode("ascii", "replace")
        if match[2] in b"Bb":
            data = base64(match[3])
        else:
            data = a2b_qp(match[3].replace(b"_", b" "), header=False)
        out.append(charset_text(data, charset))
        at = match.end()
    out.append(charset_text(value[at:], ""))
    return "".join(out)


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


def html_text(text: str) -> str:
    """Text of HTML: tags, scripts and styles go, entities become characters."""
    from html import unescape
    kept = []
    at = 0
    hidden = ""                     # the element that hides its text, while it is open
    for tag in _TAG.finditer(text):
        name = tag[2].lower()
        if hidden:
            if not (tag[1] and name == hidden):
                continue
            hidden = ""
        else:
            kept.append(text[at:tag.start()])
            if name in ("script", "style") and not tag[1]:
                hidden = name
        at = tag.end()
    kept.append(text[at:])
    return unescape(" ".join(kept))


def extended(value: bytes) -> tuple[str, bytes]:
    """RFC 2231 4: charset'language'percent-encoded -> (charset, octets)."""
    parts = value.split(b"'", 2)
    if len(parts) == 3:
        return parts[0].decode("ascii", "replace"), unquote_to_bytes(parts[2])
    return "", unquote_to_bytes(value)
