"""A mailbox of somebody else, as the user has it: Courier's ``shared-folders/NAME/FOLDER``.

The directory is a mailbox like others, with numbers, flags and keywords of the user's own.  What lies in
its ``cur`` are symbolic links to the files in the other's ``cur``, named as those and with the user's flags;
``shared`` is a link to the other's directory.  Whoever looks brings the links up to date before, under the
lock of the user's directory (Mirror.refresh): new messages come to ``new``, as mail does, and what is
gone there goes here.  Where the other's file has another name, as its owner changed a flag, the link leads
there and keeps its own.  ``shared-timestamp`` is as old as what the links show; while the other's directories
are older nothing has to be read.

What is sent there comes to the other's ``cur``, readable as that directory is; an expunged message goes
from both.
"""
from __future__ import annotations

import errno
import os
import stat
import time

from courierpy.maildir import directory
from courierpy.maildir.errors import StoreError, trouble
from courierpy.maildir.files import Replacement, remove
from courierpy.maildir.index.statuscache import Status
from courierpy.maildir.names import MAX_NAME, SUFFIXES, base, tmp_name
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.locks import FolderLock
    from courierpy.maildir.quota import Quota

LINK = "shared"
TIMESTAMP = "shared-timestamp"
NO_FLAGS = SUFFIXES[0]


class Mirror:
    """A user's copy of a mailbox that another one shares.

    ``path``: the user's directory.  ``source``: the other's.  ``host``: as it stands in names of files.
    ``quota``: of the other's Maildir, None where nobody limits it, or nobody but its owner may count.
    """

    __slots__ = ("_cur", "_host", "_seen", "_stuck", "path", "quota", "source")

    def __init__(self, path: str, source: str, host: str, quota: Quota | None) -> None:
        self.path = path
        self.source = source
        self.quota = quota
        self._host = host
        self._cur = os.fsencode(os.path.join(source, "cur"))
        self._seen: tuple[int, int, int] | None = None     # how the source looked when we did
        self._stuck: frozenset[bytes] = frozenset()        # in its new/, and not ours to move

    @property
    def directories(self) -> tuple[str, str]:
        """The other's new and cur: what happens there is news."""
        return os.path.join(self.source, "new"), os.path.join(self.source, "cur")

    # -- what is there

    def refresh(self, lock: FolderLock, always: bool = False) -> None:
        """The links are as the source is now.  ``lock``: of the user's directory.  ``always``: something
        was found otherwise.  Raises a store error."""
        now = self._look()
        if not always and now is not None and now == self._seen:
            return
        if not always and now is not None and self._is_younger(now):
            self._seen = now
            return
        with lock:
            now = self._look()
            self._show()
            self._seen = now

    def _look(self) -> tuple[int, int, int] | None:
        """How the source looks; None where a change from now on would not show, or where it is gone."""
        new, cur = self.directories
        try:
            first, second = os.stat(new), os.stat(cur)
        except OSError:
            return None
        now = time.time_ns()
        if not directory.settled(first.st_mtime_ns, now) or not directory.settled(second.st_mtime_ns, now):
            return None
        return first.st_mtime_ns, second.st_mtime_ns, second.st_ino

    def _is_younger(self, found: tuple[int, int, int]) -> bool:
        """Are the links, by their timestamp, younger than what the source has?"""
        try:
            when = os.stat(os.path.join(self.path, TIMESTAMP)).st_mtime_ns
        except OSError:
            return False
        return all(directory.settled(mtime, when) for mtime in found[:2])

    def _show(self) -> None:
        """Under the lock.  Raises a store error."""
        timestamp = None
        try:
            timestamp = Replacement(os.path.join(self.path, TIMESTAMP), b"\0", os.path.join(self.path, "tmp"),
                                    self._host, "sync", sync=False)
        except StoreError:
            pass                       # it only saves work
        try:
            self._take_new()
            there = self._there()
            known = self._relink(there)
            for name in there.keys() - known:
                self._link_new(name, there[name])
        except BaseException:
            if timestamp is not None:
                timestamp.abort()
            raise
        if timestamp is not None:
            try:
                timestamp.commit()
            except StoreError:
                return

    def _there(self) -> dict[bytes, bytes]:
        """base name -> file name in the source.  One that is not there, or not now, raises a store error:
        the user's numbers and flags stay."""
        return directory.by_base(directory.files(os.fsdecode(self._cur)))

    def _take_new(self) -> None:
        """Mail in the source's new/ comes to its cur/, as far as the user may; else its owner does it."""
        new, cur = self.directories
        try:
            waiting = [name for name in directory.files(new) if name not in self._stuck]
        except StoreError:
            return
        for name in waiting:
            try:
                directory.bring_in(os.path.join(os.fsencode(new), name), self._cur + b"/", self._host)
            except FileNotFoundError:
                continue               # somebody else was first
            except OSError as error:
                if not self._stuck:
                    log.warn(f"{new}: {error.strerror}: mail stays there, and is not shown before its owner "
                             "has looked")
                self._stuck |= {name}

    def _relink(self, there: dict[bytes, bytes]) -> set[bytes]:
        """The links that are there lead to the files of ``there``, or go.  Gives their base names."""
        known: set[bytes] = set()
        for part in ("cur", "new"):
            inside = os.fsencode(os.path.join(self.path, part))
            try:
                names = os.listdir(inside)
            except OSError as error:
                raise trouble(inside, error) from None
            for name in names:
                link = os.path.join(inside, name)
                try:
                    leads = os.readlink(link)
                except OSError:
                    continue           # no link of ours
                file = there.get(base(name))
                try:
                    if file is None or base(name) in known:
                        os.unlink(link)
                    elif leads != os.path.join(self._cur, file):
                        self._link(file, link)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise trouble(link, error) from None
                if file is not None:
                    known.add(base(name))
        return known

    def _link_new(self, name: bytes, file: bytes) -> None:
        try:
            self._link(file, os.path.join(os.fsencode(self.path), b"new", name + NO_FLAGS))
        except OSError as error:
            why = trouble(os.path.join(self._cur, file), error)
            if len(name) <= MAX_NAME - len(NO_FLAGS):
                raise why from None
            log.err(f"{why}: it is not shown")

    def _link(self, file: bytes, link: bytes) -> None:
        """A link to that file of the source, in the place of one that may be there.  Raises OSError."""
        scratch = os.path.join(self.path, "tmp", tmp_name(self._host, "newlink"))
        os.symlink(os.path.join(self._cur, file), scratch)
        try:
            os.rename(scratch, link)
        except OSError:
            remove(scratch)
            raise

    def names(self) -> list[bytes]:
        """Names of the links in cur/, wherever they lead: a message goes when its link does."""
        return directory.entries(os.path.join(self.path, "cur"))

    def count(self, uidvalidity: int) -> Status:
        """The counts, as far as one can know them who has no copy.  ``uidvalidity``: that it will have.
        Raises a store error."""
        new, cur = self.directories
        there = len(self._there())
        if os.access(new, os.W_OK) and os.access(cur, os.W_OK):
            there += sum(_may_take(os.fsencode(new), name) for name in directory.files(new))
        return Status((there, there, there + 1, uidvalidity, there))

    # -- what is brought there, and removed

    @property
    def mode(self) -> int:
        """Of files that come: who may look at the directory may read them.  Raises OSError."""
        return stat.S_IMODE(os.stat(self._cur).st_mode) & 0o444 | 0o600

    def target(self, there: bytes) -> bytes:
        """Where the file is whose link is ``there``, which need not be there yet."""
        return os.path.join(self._cur, os.path.basename(there))

    def came(self, there: bytes) -> None:
        """The file at target(there) has come.  Raises OSError, and then it is gone again."""
        try:
            self._link(os.path.basename(there), there)
        except OSError:
            remove(os.fsdecode(self.target(there)))
            raise

    def real(self, link: bytes) -> bytes:
        """The file that a link leads to; by its name, where that was changed since.  Raises OSError."""
        try:
            leads = os.readlink(link)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return link            # a file that somebody brought here
            raise
        if os.path.lexists(leads):
            return leads
        name = base(os.path.basename(leads))
        for suffix in SUFFIXES:
            if os.path.lexists(os.path.join(self._cur, name + suffix)):
                return os.path.join(self._cur, name + suffix)
        return leads

    def may_remove(self, link: bytes) -> bool:
        """May the user remove the message?  Not another's from a directory with the sticky bit."""
        try:
            real = self.real(link)
        except OSError:
            return True                # it is gone, or who removes it says why not
        return _may_take(*os.path.split(real))

    def unlink(self, link: bytes) -> None:
        """The message goes.  Raises OSError."""
        real = self.real(link)
        if os.path.dirname(real) == self._cur:
            try:
                os.unlink(real)
            except FileNotFoundError:
                pass                   # its owner was first
        os.unlink(link)


def _may_take(inside: bytes, name: bytes) -> bool:
    """Does the sticky bit of the directory, if it has one, let the user take this file away?"""
    try:
        above, found = os.stat(inside), os.lstat(os.path.join(inside, name))
    except OSError:
        return True
    return not above.st_mode & stat.S_ISVTX or os.geteuid() in (0, above.st_uid, found.st_uid)
