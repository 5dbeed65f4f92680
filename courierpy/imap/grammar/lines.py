"""Reply lines: the one place that spells them.  RFC 9051 7.

A function gives whole lines with their CRLF, as ``bytes``; or, of a line that grows with the
mailbox, pieces that are made while it is written.  What stands inside (lists, strings, sets)
comes from ``out`` and ``numset``.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NUMBERS_AT_ONCE = 4096         # of a line, that are made into octets together
OK, NO, BAD, BYE, PREAUTH = b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"
# how a line begins that tells of a message, by its sequence number or by its UID
FETCH, UIDFETCH = b"* %d FETCH (", b"* %d UIDFETCH ("


def status(tag: bytes, word: bytes, text: str, code: bytes | None = None) -> bytes:
    """``a OK [CODE] text``.  ``tag``: ``b"*"`` for an untagged one.  RFC 9051 7.1.

    What of ``text`` is not ASCII is shown as a question mark: RFC 9051 9 has no other octets there.
    """
    shown = text.encode("ascii", "replace")
    if code is None:
        return b"%s %s %s\r\n" % (tag, word, shown)
    return b"%s %s [%s] %s\r\n" % (tag, word, code, shown)


def told(word: bytes, text: str, code: bytes | None = None) -> bytes:
    """An untagged status: ``* OK [UIDNEXT 4] text``."""
    return status(b"*", word, text, code)


def go_on(text: bytes = b"OK") -> bytes:
    """A continuation request.  RFC 9051 7.6."""
    return b"+ %s\r\n" % text


def data(name: bytes, *values: bytes) -> bytes:
    """``* NAME value ...``: CAPABILITY, ENABLED, LIST, SEARCH, STATUS and their kind."""
    return b"* %s %s\r\n" % (name, b" ".join(values)) if values else b"* %s\r\n" % name


def long_data(name: bytes, *values: bytes | Iterable[bytes]) -> Iterator[bytes]:
    """As data(), in pieces; a value may come in pieces too, and is left out where it has no octet."""
    yield b"* " + name
    for value in values:
        blank = b" "
        for piece in (value,) if isinstance(value, bytes) else value:
            if piece:
                yield blank + piece
                blank = b""
    yield b"\r\n"


def numbers(name: bytes, values: Sequence[int], *besides: bytes) -> Iterator[bytes]:
    """``* SEARCH 2 3 6``, and what stands behind, in pieces."""
    piece = b"* " + name
    for start in range(0, len(values), NUMBERS_AT_ONCE):
        if start:
            yield piece
            piece = b""
        some = values[start:start + NUMBERS_AT_ONCE]
        piece += b" %d" * len(some) % tuple(some)
    yield b" ".join((piece, *besides)) + b"\r\n"


def sizes(exists: int, recent: int | None) -> bytes:
    """EXISTS and RECENT.  RFC 9051 7.4.1, RFC 3501 7.3.2.  ``recent``: None where nothing is told of it."""
    if recent is None:
        return b"* %d EXISTS\r\n" % exists
    return b"* %d EXISTS\r\n* %d RECENT\r\n" % (exists, recent)


def expunged(seqs: Sequence[int]) -> bytes:
    """An EXPUNGE for each; a number counts after those before it are gone.  RFC 9051 7.5.1."""
    return b"* %d EXPUNGE\r\n" * len(seqs) % tuple(seqs)


# -- lines and sentences that more than one program says

STILL_HERE = told(OK, "Still here")            # to a client that idles
SHUT_DOWN = "Courier-IMAP server shut down by signal."
BUSY = told(BYE, "The server has too much to do, please try again later.", b"UNAVAILABLE")
