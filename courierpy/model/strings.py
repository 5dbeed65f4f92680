"""How strings stand in a reply: in quotes where that is possible, else as a literal.  RFC 9051 4.3, 9."""
from __future__ import annotations

from courierpy.model.regex import later

LONGEST_OCTETS = 4096              # of a quoted string
NOT_PLAIN = later(rb'[^ !#-\[\]-~]')          # cannot stand between quotes as it is, for all
_NOT_QUOTABLE = later(rb"[\x00\r\n\x80-\xff]")
_NOT_PLAIN = later(rb"[^A-Za-z0-9._~-]")      # has to be written otherwise in a URL
_NOT_QUOTABLE_UTF8 = later(rb"[\x00\r\n]")


def quoted(data: bytes) -> bytes:
    """A quoted string; ``data`` must hold no CR, LF or NUL."""
    # replace() gives the very object where there is nothing to replace, and "in" of octets costs an error
    return b'"%s"' % data.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def char8(data: bytes) -> bytes:
    """What may stand in a literal: a NUL, which only a literal8 may hold, becomes 0x80, as
    Dovecot gives it; the size stays.  RFC 3501 9 CHAR8, RFC 9051 9."""
    return data.replace(b"\0", b"\x80")           # the very object where there is none


def literal(data: bytes) -> bytes:
    """A literal, with the number of its octets."""
    return b"{%d}\r\n%s" % (len(data), char8(data))


def string(data: bytes, utf8: bool = False) -> bytes:
    """Quoted if that is possible, else a literal.  ``utf8``: ``data`` is UTF-8, and the client
    takes it quoted (RFC 6855 3)."""
    if len(data) > LONGEST_OCTETS:
        return literal(data)
    if NOT_PLAIN.search(data) is None:             # most are so
        return b'"%s"' % data
    if (_NOT_QUOTABLE_UTF8 if utf8 else _NOT_QUOTABLE).search(data):
        return literal(data)
    return quoted(data)


def percent(text: str) -> bytes:
    """As it stands in a URL, for a user or a mailbox.  RFC 5092 3.2, RFC 3986 2.1."""
    return _NOT_PLAIN.sub(lambda octet: b"%%%02X" % octet[0][0], text.encode("utf-8", "surrogateescape"))
