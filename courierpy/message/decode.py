"""Encoded words of headers.  RFC 2047."""
from __future__ import annotations

import re
from binascii import a2b_qp, b2a_base64
from functools import lru_cache

from courierpy.message import charsets
from courierpy.message.charsets import charset_text
from courierpy.message.eastasian import is_iso_2022
from courierpy.message.transfer import base64, unencoded

# a "?" in it ought to be encoded, and often is not; "=?" begins another one
_WORD = re.compile(rb"=\?([^?\s]+)\?([BbQq])\?([^?]*(?:(?<!=)\?(?!=)[^?]*)*)\?=")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
EQUALS = 61
LABEL_OCTETS = 40                  # of a longer one, what it names is not kept
_LEFT = (0, 63, 15, 3)             # bits of the last letter that make no octet, by letters beyond fours


def words(value: bytes) -> str:
    """A header value with its encoded words decoded.

    Of neighbours in one charset the octets are joined first: a letter may be cut in two,
    against RFC 2047 5, and base64 between two of its letters.
    """
    if EQUALS not in value or b"=?" not in value:
        return charset_text(value, "")
    if is_iso_2022(value):             # in which the same octets are letters
        value = charset_text(value, "").encode()
    out: list[str] = []
    run: list[tuple[bytes, bytes]] = []    # (encoding, text) of neighbours in one charset
    charset = codec = ""
    pieces = _WORD.split(value)            # between, charset, encoding, text, between, ...
    for at in range(0, len(pieces) - 1, 4):
        between, label, encoding, text = pieces[at:at + 4]
        name, own = _named(label) if len(label) <= LABEL_OCTETS else _charset(label)
        apart = between.strip() or not at and between
        if run and (apart or own != codec):
            out.append(charset_text(_octets(run), charset))
            run.clear()
        if apart:
            out.append(charset_text(between, ""))
        charset, codec = name, own
        run.append((encoding, text))
    if run:
        out.append(charset_text(_octets(run), charset))
    if pieces[-1]:
        out.append(charset_text(pieces[-1], ""))
    return "".join(out)


def _charset(label: bytes) -> tuple[str, str]:
    """(name of the charset, its codec)."""
    name = label.partition(b"*")[0].decode("ascii", "replace")         # RFC 2231 5: a language
    return name, charsets.find(name) or charsets.ASCII


_named = lru_cache(64)(_charset)       # mail of one mailbox is in few charsets


def _octets(run: list[tuple[bytes, bytes]]) -> bytes:
    """Of neighbouring encoded words, (encoding, text) each."""
    if len(run) == 1:
        encoding, text = run[0]
        return base64(text) if encoding in b"Bb" else _q(text)
    found = []
    cut = b""                              # base64 that goes on in the next word
    for encoding, text in run:
        if encoding in b"Bb":
            text, cut = cut + text, b""
            rest = len(text) % 4
            # bits left over that are not 0 are no padding (RFC 4648 3.5): the sender cut there
            if rest and not text.translate(None, _BASE64) and _BASE64.index(text[-1:]) & _LEFT[rest]:
                text, cut = text[:-rest], text[-rest:]
            found.append(base64(text))
        else:
            if cut:
                found.append(base64(cut))
                cut = b""
            found.append(_q(text))
    if cut:
        found.append(base64(cut))
    return b"".join(found)


def _q(text: bytes) -> bytes:
    text = unencoded(text.replace(b"_", b" "))
    return a2b_qp(text + b"3D" if text.endswith(b"=") else text)       # the last "=" of a word ends no line


def utf_8(value: bytes) -> bytes:
    """A header value in UTF-8, whatever it was."""
    return charset_text(value, "").encode("utf-8", "replace")


def encode_8bit(value: bytes) -> bytes:
    """A header value in ASCII: 8-bit text becomes encoded words of at most 75 octets."""
    if value.isascii():
        return value
    text = charset_text(value, "")
    chunks = []
    at = 0
    while at < len(text):
        size = 30
        chunk = text[at:at + size].encode("utf-8", "replace")
        while len(chunk) > 45:
            size -= 5
            chunk = text[at:at + size].encode("utf-8", "replace")
        chunks.append(b"=?utf-8?B?" + b2a_base64(chunk, newline=False) + b"?=")
        at += size
    return b" ".join(chunks)
