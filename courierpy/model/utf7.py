"""Modified UTF-7, the encoding of mailbox names.  RFC 3501 5.1.3."""
from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64

from courierpy.model.regex import later

_SHIFT = later(rb"&([^-]*)-")
_BASE64 = later(rb"[A-Za-z0-9+,]+")
_PLAIN = later("[\x20-\x7e]+")


def encode(name: str) -> bytes:
    """The name as modified UTF-7; code points of any plane, lone surrogates kept."""
    if "&" not in name and name.isascii() and name.isprintable():
        return name.encode("ascii")
    out = []
    at = 0
    for match in _PLAIN.finditer(name):
        if match.start() > at:
            out.append(_shifted(name[at:match.start()]))
        out.append(match[0].replace("&", "&-").encode("ascii"))
        at = match.end()
    if at < len(name):
        out.append(_shifted(name[at:]))
    return b"".join(out)


def _shifted(text: str) -> bytes:
    base64 = b2a_base64(text.encode("utf-16-be", "surrogatepass"), newline=False)
    return b"&" + base64.rstrip(b"=").replace(b"/", b",") + b"-"


def decode(data: bytes) -> str:
    """The name; ValueError when it is not valid: 8-bit bytes, a shift that does
    not end, printable ASCII in a shift, padding bits that are not zero."""
    if not data.isascii():
        raise ValueError("8-bit byte in a mailbox name")
    if data.find(b"&") < 0 and (name := data.decode("ascii")).isprintable():     # to ask "in" costs an error
        return name
    out = []
    at = 0
    for match in _SHIFT.finditer(data):
        out.append(_direct(data[at:match.start()]))
        out.append(_unshift(match[1]) if match[1] else "&")
        at = match.end()
    out.append(_direct(data[at:]))
    name = "".join(out)
    if encode(name) != data:
        raise ValueError("not the canonical form")
    return name


def _direct(data: bytes) -> str:
    if b"&" in data:
        raise ValueError("unfinished shift")
    return data.decode("ascii")


def _unshift(base64: bytes) -> str:
    if not _BASE64.fullmatch(base64):
        raise ValueError("bad character in a shift")
    padded = base64.replace(b",", b"/") + b"=" * (-len(base64) % 4)
    try:
        return a2b_base64(padded).decode("utf-16-be", "surrogatepass")
    except (Error, UnicodeDecodeError):
        raise ValueError("bad shift") from None
