"""The octets of one message on their way from the client to the recipients: dots, header, spool.

The message comes once and goes to many.  A short one waits in memory, a long one in a file without a name, so
what a message needs of memory does not grow with it.  Nothing of it is promised to anybody: that is done by
those who write it to a Maildir.

Fields that the message has already and we write anew (Return-Path) are taken off as it comes.
"""
from __future__ import annotations

import errno
import os

from courierpy.maildir.files import write_all
from courierpy.system.temporary import folders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

IN_MEMORY = 256 * 1024             # octets
PIECE = 256 * 1024                 # octets that are read at once
HEADER = 1024 * 1024               # octets in which fields are looked for
MAX_ID = 1000                      # octets of a Message-ID
_OURS = (b"return-path",)
_BEGIN = b"\r\n"                   # what stands before the first line, for whoever looks for the start of one


class Dots:
    """The lines between DATA and a lone dot, RFC 5321 4.5.2.  Only CR LF ends a line: a dot between other
    ends is text, or one message could say commands behind itself.

    ``rest``: what came behind the end; None as long as there is none."""

    __slots__ = ("_before", "_held", "rest")

    def __init__(self) -> None:
        self.rest: bytes | None = None
        self._held = _BEGIN            # what may be the beginning of an end
        self._before = len(_BEGIN)     # octets that come first and are no text

    def feed(self, data: bytes) -> bytes:
        """The octets of ``data`` that are text of the message: dots that were doubled are single."""
        seen = self._held + data
        start = 0
        texts = []
        while (found := seen.find(b"\r\n.", start)) >= 0:
            behind = seen[found + 3:found + 5]
            if behind in (b"", b"\r"):
                break                  # the next octets tell
            texts.append(seen[start:found + 2])
            start = found + 3
            if behind == b"\r\n":
                self.rest, self._held = seen[found + 5:], b""
                return self._text(texts)
        if found < 0:
            found = len(seen) - (2 if seen.endswith(b"\r\n") else 1 if seen.endswith(b"\r") else 0)
            found = max(found, start)
        texts.append(seen[start:found])
        self._held = seen[found:]
        return self._text(texts)

    def _text(self, texts: list[bytes]) -> bytes:
        text = b"".join(texts)
        if self._before:
            text, self._before = text[self._before:], max(0, self._before - len(text))
        return text


class Header:
    """The header of a message that goes by; without the fields that are ours to write.

    ``message_id``: b"" without one.  ``over``: what comes now is the body."""

    __slots__ = ("_field", "_first", "_held", "_seen", "_value", "message_id", "over")

    def __init__(self) -> None:
        self.message_id = b""
        self.over = False
        self._held = b""               # of a line that is not whole
        self._field = b""              # which one the line before belongs to
        self._value = b""
        self._seen = 0
        self._first = True

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(header that stays, body) of it."""
        self._seen += len(data)
        lines = _lines(self._held + data)
        self._held = b"" if not lines or lines[-1].endswith(b"\n") else lines.pop()
        kept: list[bytes] = []
        for at, line in enumerate(lines):
            if self._ends(line):
                return b"".join(kept), b"".join([*lines[at:], self._take()])
            if self._stays(line):
                kept.append(line)
        if self._seen > HEADER:        # there is no end of it
            self._settle()
            self.over = True
            return b"".join(kept), self._take()
        return b"".join(kept), b""

    def _take(self) -> bytes:
        held, self._held = self._held, b""
        return held

    def finish(self) -> bytes:
        """There is no more; what was held back of the header."""
        line = self._take()
        stays = not line or self._ends(line) or self._stays(line)
        self._settle()
        return line if stays else b""

    def _ends(self, line: bytes) -> bool:
        """Is this line no part of a header any more?"""
        first, self._first = self._first, False
        if line[:1] in (b" ", b"\t") and not first:
            return False
        name, colon, _ = line.partition(b":")
        if colon and name and not name.strip(b" \t").translate(None, _NAME_OCTETS):
            return False
        self._settle()
        self.over = True
        return True

    def _stays(self, line: bytes) -> bool:
        if line[:1] not in (b" ", b"\t"):
            self._settle()
            self._field = line.partition(b":")[0].rstrip(b" \t").lower()
        if self._field == b"message-id" and len(self._value) <= MAX_ID:
            self._value += line
        return self._field not in _OURS

    def _settle(self) -> None:
        """A field of the header is whole: take from it what is looked for."""
        if self._field == b"message-id" and not self.message_id:
            value = b" ".join(self._value.partition(b":")[2].split())
            self.message_id = value if len(value) <= MAX_ID else b""
        self._field = self._value = b""


_NAME_OCTETS = bytes(octet for octet in range(33, 127) if octet != 58)


def _lines(data: bytes) -> list[bytes]:
    """At LF alone, the ends kept."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


class Content:
    """A message as it comes.  ``most``: octets that it may have, 0 for any number.  ``size``: octets of it
    that came.  ``failure``: why it cannot be kept; what comes then is swallowed.  ``digest``: of the body,
    ``line_end``: of its first line, when it is whole."""

    def __init__(self, most: int = 0) -> None:
        import hashlib
        self.size = 0
        self.failure: OSError | None = None
        self.too_large = False
        self.header = Header()
        self._most = most
        self._kept = 0
        self._body = hashlib.blake2b(digest_size=16)
        self._in_memory = True
        self._first = b""              # line, until it is whole
        self.line_end = b""
        self.fd = os.memfd_create("message")

    @property
    def digest(self) -> bytes:
        return self._body.digest()

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self._most and self.size > self._most:
            self.too_large = True
            self._drop()
        if self.too_large or self.failure is not None:
            return
        if not self.line_end:
            self._look(data)
        if not self.header.over:
            head, data = self.header.feed(data)
            self._put(head)
        if data:
            self._body.update(data)
            self._put(data)

    def _look(self, data: bytes) -> None:
        """How does its first line end?"""
        line, newline, _ = (self._first + data).partition(b"\n")
        if newline:
            self.line_end = b"\r\n" if line.endswith(b"\r") else newline
        self._first = line[-1:]

    def finish(self) -> None:
        """The message is whole."""
        self.line_end = self.line_end or b"\r\n"
        if not self.too_large and self.failure is None:
            self._put(self.header.finish())

    def pieces(self) -> Iterator[bytes]:
        return pieces(self.fd)

    def _put(self, data: bytes) -> None:
        if not data:
            return
        try:
            if self._in_memory and self._kept + len(data) > IN_MEMORY:
                self._to_disk()
            write_all(self.fd, data)
            self._kept += len(data)
        except OSError as error:
            self.failure = error
            self._drop()

    def _to_disk(self) -> None:
        fd = unnamed()
        try:
            for piece in pieces(self.fd):
                write_all(fd, piece)
            os.dup2(fd, self.fd, inheritable=False)
        finally:
            os.close(fd)
        self._in_memory = False

    def _drop(self) -> None:
        """Give back the room that the message has on the disk."""
        try:
            os.ftruncate(self.fd, 0)
        except OSError:
            return

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


def unnamed() -> int:
    """A file that has no name and goes with its descriptor.  OSError."""
    trouble = OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    for folder in folders():
        try:
            return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        except OSError as error:
            trouble = error
        path = os.path.join(folder, f"courierpy-{os.urandom(8).hex()}")
        try:                           # a file system that has no such files
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.unlink(path)
            return fd
        except OSError as error:
            trouble = error
    raise trouble


def pieces(fd: int) -> Iterator[bytes]:
    """All octets of a file, wherever its descriptor stands.  OSError."""
    at = 0
    while piece := os.pread(fd, PIECE, at):
        at += len(piece)
        yield piece
