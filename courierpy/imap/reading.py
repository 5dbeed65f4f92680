"""Messages of a mailbox, opened to be read: small ones as a whole, large ones by offset.

Clients fetch a large message in many pieces.  So what was found out of the one that was
read last, its parts and where its lines are, is kept until another one is read; its file is
not kept open, and must be the same when it is opened again.
"""
from __future__ import annotations

from courierpy.message import Message
from courierpy.message.source import MessageSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.mailbox import Folder
    from courierpy.maildir.messagefile import MessageFile
    from courierpy.message.mime import Limits

LARGE_OCTETS = 1024 * 1024         # a file that has more is never held
KEPT_OCTETS = 64 * 1024            # nothing is kept of smaller ones: they are read sooner


class Opened:
    """A message, and its file until close().  A context manager."""

    __slots__ = ("_before", "file", "message")

    def __init__(self, file: MessageFile, message: Message) -> None:
        self.file = file
        self.message = message
        data = message.data
        if not isinstance(data, bytes):
            self._before = data.read       # somebody may be in the middle of it
            data.read = file.read

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        data = self.message.data
        if not isinstance(data, bytes):
            data.read = self._before
        self.file.close()


class Reading:
    """Opens the messages of one mailbox."""

    def __init__(self, folder: Folder, limits: Limits) -> None:
        self.folder = folder
        self.limits = limits
        self._kept: Message | None = None
        self._identity: object = None

    def open(self, uid: int, header: bool = False) -> Opened:
        """``header``: the message may end behind its header.  Raises Vanished."""
        file = self.folder.message(uid)
        try:
            return Opened(file, self._message(file, header))
        except BaseException:
            file.close()
            raise

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
