"""Messages of a mailbox, opened to be read: small ones as a whole, large ones by offset.

Clients fetch a large message in many pieces.  So what was found out of the one that was
read last, its parts and where its lines are, is kept until another one is read; its file is
not kept open, and must be the same when it is opened again.

One message that we cannot make sense of, by a fault of ours, does not cost a command its
answer: it is told as a plain text without a header, and the log hears of it once.
"""
from __future__ import annotations

import os

from courierpy.maildir.errors import StoreError
from courierpy.message import Message
from courierpy.message.headers import wire_form
from courierpy.message.source import MessageSource
from courierpy.model.replies import Reply
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from courierpy.maildir.mailbox import Mailbox
    from courierpy.maildir.messagefile import MessageFile
    from courierpy.message.mime import Limits

    T = TypeVar("T")

LARGE_OCTETS = 1024 * 1024         # a file that has more is never held
KEPT_OCTETS = 64 * 1024            # nothing is kept of smaller ones: they are read sooner


class TooLong(Exception):
    """A value that is too long to be held."""


# what is no fault of a parser: it goes to whoever asked
SAID = (StoreError, Reply, TooLong, OSError, MemoryError)


class Opened:
    """A message, and its file until close().  A context manager."""

    __slots__ = ("_before", "_reading", "_uid", "file", "message")

    def __init__(self, reading: Reading, uid: int, file: MessageFile, message: Message) -> None:
        self.file = file
        self.message = message
        self._reading = reading        # it hears of an error of ours
        self._uid = uid
        data = message.data
        if not isinstance(data, bytes):
            self._before = data.read       # somebody may be in the middle of it
            data.read = file.read

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def told(self, tell: Callable[[Message], T]) -> T:
        """What ``tell`` says of the message; where it fails, of the same octets as a plain text,
        and where that fails too, of no octets."""
        try:
            return tell(self.message)
        except SAID:
            raise
        except Exception as error:     # whatever it was, it is of this message alone
            self._reading.complain(self._uid, error)
        try:
            return tell(self.message.as_text())
        except SAID:
            raise
        except Exception as error:
            self._reading.complain(self._uid, error)
        return tell(Message(b"", self.message.limits))

    def close(self) -> None:
        data = self.message.data
        if not isinstance(data, bytes):
            data.read = self._before
        self.file.close()


class Reading:
    """Opens the messages of one mailbox.  ``odd``: UIDs of those that we could not make sense of."""

    def __init__(self, folder: Mailbox, limits: Limits) -> None:
        self.folder = folder
        self.finder = folder.finder
        self.limits = limits
        self.odd: set[int] = set()
        self._kept: Message | None = None
        self._identity: object = None

    def open(self, uid: int, header: bool = False, path: bytes = b"") -> Opened:
        """``header``: the message may end behind its header.  ``path``: where its file was last, if that is
        known.  Raises Vanished."""
        file = self.finder.open(uid, path)
        try:
            return Opened(self, uid, file, self._message(file, header))
        except BaseException:
            file.close()
            raise

    def whole(self, uid: int, most: int, path: bytes = b"") -> bytes | None:
        """The wire form of a message, which nobody looks into; None where its file has more than ``most``
        octets.  ``path``: as for open().  Raises Vanished."""
        file = self.finder.open(uid, path)
        try:
            return wire_form(file.whole()) if file.size <= most else None
        finally:
            file.close()

    def complain(self, uid: int, error: Exception) -> None:
        if uid in self.odd:
            return
        self.odd.add(uid)
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = "" if trace is None else (
            f" ({os.path.basename(trace.tb_frame.f_code.co_filename)}, line {trace.tb_lineno})")
        log.err(f"{self.folder.path}: uid {uid} cannot be parsed, and is told as a plain text: "
                f"{error!r:.300}{place}")

    def _message(self, file: MessageFile, header: bool) -> Message:
        if file.size > KEPT_OCTETS and self._kept is not None and self._identity == file.identity:
            return self._kept
        if header:
            data = file.header(LARGE_OCTETS)
            if len(data) < LARGE_OCTETS or file.size <= LARGE_OCTETS:
                return Message(data, self.limits)
        message = Message(MessageSource(file.size) if file.size > LARGE_OCTETS else file.whole(), self.limits)
        if file.size > KEPT_OCTETS:
            self._kept, self._identity = message, file.identity
        return message
