"""What a client gets in the place of a message whose header it cannot read.  RFC 6856 4.

A client that has not said UTF8 must not get octets above 127 in a header.  As with Courier it gets a
message of ours, which tells why and has the one that was sent as an attachment.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TEXT = b"""\
From: Mail Delivery Subsystem <postmaster>
Subject: Cannot display Unicode content
Mime-Version: 1.0
Content-Type: multipart/mixed; boundary="%(boundary)s"

--%(boundary)s
Content-Type: text/plain

The header of this message has characters beyond ASCII, and your mail
reader did not say that it understands these.

Please use one that knows POP3 with UTF-8 (RFC 6856).  The program that
sent the message may be at fault as well, if it did not encode them.

The message is attached as it was sent, and can be saved.

--%(boundary)s
Content-Type: %(type)s

""".replace(b"\n", b"\r\n")


def surrogate(kind: str, unique: bytes, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The wire form.  ``kind``: MIME type of the attachment.  ``unique``: is of this message alone, as its
    UIDL.
    ``pieces``: the wire form of the message, which ends in CRLF."""
    head, tail = _ends(kind, unique)
    yield head
    yield from pieces
    yield tail


def more(kind: str, unique: bytes) -> int:
    """Octets that it has beside those of the message."""
    return sum(map(len, _ends(kind, unique)))


def _ends(kind: str, unique: bytes) -> tuple[bytes, bytes]:
    boundary = b"=_%s" % unique
    return (_TEXT % {b"boundary": boundary, b"type": kind.encode("ascii", "replace")},
            b"\r\n--%s--\r\n" % boundary)
