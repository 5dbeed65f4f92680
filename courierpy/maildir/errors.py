"""What can go wrong in the store, named by cause.  Texts are for the log."""
from __future__ import annotations

import errno


class StoreError(Exception):
    """Base; str() has the detail, paths included."""


class FolderMissing(StoreError):
    """No such folder."""


class FolderExists(StoreError):
    """The name is taken."""


class OtherAccount(StoreError):
    """A mailbox would have to go to another account's Maildir."""


class NameInvalid(StoreError):
    """The name cannot be a folder's."""


class QuotaExceeded(StoreError):
    """No room left by quota."""


class DiskFull(QuotaExceeded):
    """No room left on the disk."""


class Renumbered(StoreError):
    """A message has another number than its client was told."""


class MailboxFull(StoreError):
    """The mailbox has as many messages as the settings allow."""


class TooManyKeywords(StoreError):
    """A message or its mailbox would have more keywords than the settings allow, or too long ones."""


class Denied(StoreError):
    """The file system says no."""


class MessageDenied(Denied):
    """The file system says no to the file of one message; others may be well."""


class Vanished(StoreError):
    """A message is gone."""


class Busy(StoreError):
    """Another session holds the lock."""


class DiskTrouble(StoreError):
    """Any other failure of a system call.  ``errno`` as the kernel gave it."""

    def __init__(self, path: str | bytes, error: OSError) -> None:
        shown = path.decode("utf-8", "backslashreplace") if isinstance(path, bytes) else path
        super().__init__(f"{shown}: {error.strerror or error}")
        self.errno = error.errno


def trouble(path: str | bytes, error: OSError) -> StoreError:
    """The store error of an OSError."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Denied(str(DiskTrouble(path, error)))
    if error.errno == errno.ENOSPC:
        return DiskFull(str(DiskTrouble(path, error)))
    if error.errno == errno.EDQUOT:
        return QuotaExceeded(str(DiskTrouble(path, error)))
    return DiskTrouble(path, error)


# A file that others may not read, a link that leads nowhere, a directory or a socket in the place of a
# message; and one that is immutable, or another's where the sticky bit is set, a name that has no room for a
# flag.  Who may not change the directory may change no message: that is no trouble of one of them.
_UNREADABLE = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR, errno.ENXIO)
_UNCHANGEABLE = (errno.EPERM, errno.ENAMETOOLONG, errno.EISDIR)


def unreadable(path: str | bytes, error: OSError) -> StoreError:
    """As trouble(), where the file of one message was to be read."""
    if error.errno in _UNREADABLE:
        return MessageDenied(str(DiskTrouble(path, error)))
    return trouble(path, error)


def unchangeable(path: str | bytes, error: OSError) -> StoreError:
    """As trouble(), where the file of one message was to be renamed or removed."""
    if error.errno in _UNCHANGEABLE:
        return MessageDenied(str(DiskTrouble(path, error)))
    return trouble(path, error)


def refuse(why: StoreError, refused: list[StoreError] | None) -> None:
    """Raises it, unless it is of one message alone and others may go on: then it is added to ``refused``."""
    if refused is None or not isinstance(why, MessageDenied):
        raise why from None
    refused.append(why)
