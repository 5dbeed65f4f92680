"""Emptying the trash: old files of some folders go.  ``IMAP_EMPTYTRASH``, Courier's.

It runs while somebody logs in and out, so nothing that it meets may matter to them: what
cannot be looked at or removed, and what is no message, is passed over, and told in the
log once by a process.  Who waits waits a moment only: the rest is for the next time.  Another
session may be at the same work.
"""
from __future__ import annotations

import os
import time

from courierpy.maildir.directory import is_message
from courierpy.maildir.errors import NameInvalid, StoreError
from courierpy.maildir.mailboxdirectory import MailboxDirectory
from courierpy.model import fresh
from courierpy.system import log
from courierpy.system.settings import days_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from courierpy.maildir.disposal import Tell
    from courierpy.maildir.formats.maildirsize import Amount
    from courierpy.maildir.quota import Quota
    from courierpy.maildir.store import Store

DAY = 86400                        # seconds
AT_ONCE = 200                      # files between two looks whether to go on
MOMENT = 0.04                      # seconds that a login may wait for it
_told: set[bytes] = set()          # directories of which the log knows
fresh.forgets(_told.clear)


def empty(tree: Store, spec: str, goes_on: Callable[[], bool] = lambda: True,
          tell: Tell | None = None) -> bool:
    """``spec``: ``folder:days[,folder:days]``; a bare number means the trash folder.  Files
    whose ctime is older than so many days (one at least) go.  ``goes_on``: is asked now and then, not
    before the first files of a folder, and ends it; ``tell``: as of Disposal.  Gives whether all is done.
    ValueError for a spec that is none.
    """
    now = time.time()
    wanted = [(tree.layout.prefix + name, now - max(1, days) * DAY)
              for name, days in days_of(spec, tree.trash)]
    quota = tree.quota()
    for name, limit in wanted:
        try:
            path = tree.path_of(name)
        except NameInvalid:
            continue                   # no folder can have it
        if MailboxDirectory(path, tree.options).is_still():
            return False               # somebody copies it: at the next login
        for place in (b"cur", b"new"):
            if not _empty(os.path.join(os.fsencode(path), place), limit,
                          quota if quota is not None and quota.counts(path) else None, goes_on, tell):
                return False
    return True


def _empty(directory: bytes, limit: float, quota: Quota | None, goes_on: Callable[[], bool],
           tell: Tell | None) -> bool:
    """Remove the messages whose ctime is before ``limit``.  ``quota``: what counts them.  False: not all."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(b".")]
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        _tell(directory, b"", str(error.strerror))
        return True
    for start in range(0, len(names), AT_ONCE):
        if start and not goes_on():
            return False
        _remove(directory, names[start:start + AT_ONCE], limit, quota, tell)
    return True


def _remove(directory: bytes, names: Sequence[bytes], limit: float, quota: Quota | None,
            tell: Tell | None) -> None:
    """As _empty(), of these files."""
    went: list[Amount] = []
    for name in names:
        path = os.path.join(directory, name)
        try:
            if os.lstat(path).st_ctime < limit:
                if is_message(path):
                    counted = quota.amount_at(path) if quota is not None else None
                    os.unlink(path)
                    if tell is not None:
                        tell(path, b"")
                    if counted:
                        went.append(-counted)
                elif os.path.lexists(path):
                    _tell(directory, name, "no message")
        except FileNotFoundError:
            continue                   # another session was first
        except OSError as error:
            _tell(directory, name, str(error.strerror))
        except StoreError as error:
            _tell(directory, name, str(error))
    if went and quota is not None:
        quota.changed(*went, together=True)


def _tell(directory: bytes, name: bytes, why: str) -> None:
    if directory not in _told:
        _told.add(directory)
        what = os.path.join(directory, name).decode("utf-8", "backslashreplace")
        log.err(f"{what}: {why}: it is not removed")


__all__ = ["empty"]
