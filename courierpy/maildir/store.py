"""The folders of an account: names, creation, renaming, removal, subscriptions.

A folder appears and goes by one rename, so that nobody sees half of it.  The
highest UIDVALIDITY ever given is remembered for the account: a name that is used
again never gets one that it had before.
"""
from __future__ import annotations

import errno
import os
import time

from courierpy.maildir import directory, names
from courierpy.maildir.errors import (
    Denied,
    FolderExists,
    FolderMissing,
    NameInvalid,
    QuotaExceeded,
    StoreError,
    trouble,
)
from courierpy.maildir.files import (
    Directory,
    close,
    is_directory,
    remove,
    remove_tree,
    replace,
    sync_directory,
)
from courierpy.maildir.formats import dovecot, uiddb
from courierpy.maildir.formats.keywordlist import DIRECTORY as KEYWORDS
from courierpy.maildir.index.columns import COLUMNS, DIRECTORY, LOG, RECENT, Index, place
from courierpy.maildir.index.statuscache import Counts, stamp
from courierpy.maildir.locks import FolderLock
from courierpy.maildir.mailbox import Folder
from courierpy.model.flags import SEEN
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from courierpy.maildir.index.statuscache import Status
    from courierpy.system.settings import Settings

SUBSCRIBED = "courierimapsubscribed"
HIGHEST = "courierpy-uidvalidity"
EPOCH = 1_000_000_000              # Courier's UIDVALIDITY counts seconds from here
ALONE_TRIES = 200                  # of 10 ms, for what takes less than one


def _fsync(word: str) -> str:
    word = {"0": "never", "1": "optimized", "": "optimized"}.get(word, word)
    if word not in ("never", "optimized", "always"):
        log.warn(f"IMAP_FSYNC: never, optimized or always is expected, not {word}")
        return "optimized"
    return word


class Folders:
    """The Maildir at ``root``.  ``fsync``: "never", "optimized" (what an OK promises) or
    "always" (flags and keywords too).  ``index_at``: a directory for what can be derived,
    outside the Maildir."""

    def __init__(self, root: str = ".", *, locks: bool = True, keywords: bool = True,
                 fsync: str = "optimized", trash: str = "Trash", host: str | None = None,
                 index_at: str = "") -> None:
        self.root = root
        self.locks = locks
        self.keywords = keywords
        self.fsync = fsync
        self.trash = trash
        self.host = names.host_name(host)
        self.index_at = index_at
        self.unrecorded: dict[str, int] = {}    # UIDVALIDITY by folder's path, which no disk has
        self._unsettled: set[str] = set()       # folders whose counts could not be kept
        self.counts = Counts(Index(root, self.host, place(root, index_at)))
        # stamp of the Maildir, what in it may be a folder, what of that is one
        self._listed: tuple[tuple[int, int], list[bytes], dict[bytes, str]] | None = None

    @classmethod
    def of(cls, settings: Settings, host: str | None = None) -> Folders:
        """The Maildir in the working directory, as the settings say."""
        locks = settings.text("IMAP_USELOCKS")
        return cls(locks=not locks or locks.startswith("1"), keywords=settings.number("IMAP_KEYWORDS") != 0,
                   fsync=_fsync(settings.text("IMAP_FSYNC").lower()),
                   trash=settings.text("IMAP_TRASHFOLDERNAME") or "Trash", host=host,
                   index_at=settings.text("IMAP_INDEXDIR"))

    def path_of(self, name: str) -> str:
        """The directory of a folder, which need not be there.  Raises NameInvalid."""
        return os.path.join(self.root, os.fsdecode(names.directory(name)))

    def exists(self, name: str) -> bool:
        try:
            return is_directory(os.path.join(self.path_of(name), "cur"))
        except NameInvalid:
            return False

    def open(self, name: str) -> Folder:
        """Raises FolderMissing, also for names that cannot be."""
        try:
            path = self.path_of(name)
        except NameInvalid as error:
            raise FolderMissing(str(error)) from None
        self._repair(path)
        return Folder(self, name, path)

    @staticmethod
    def _repair(path: str) -> None:
        """A Maildir reader may make what is missing of cur, new and tmp; a directory
        that has none of the three is no folder."""
        parts = [os.path.join(path, part) for part in ("cur", "new", "tmp")]
        missing = [part for part in parts if not is_directory(part)]
        if len(missing) == len(parts):
            raise FolderMissing(path)
        for part in missing:
            try:
                os.mkdir(part, 0o700)
            except FileExistsError:
                continue               # another session was first
            except OSError as error:
                raise trouble(part, error) from None

    def status(self, name: str) -> Status:
        """Counts of a folder, which is opened only if it is not as it was."""
        try:
            path = self.path_of(name)
            found = self.counts.find(path, stamp(path, self.keywords))
        except (NameInvalid, FolderMissing):
            found = None               # open() says it, or makes what is missing
        if found is not None:
            return found
        folder = self.open(name)
        found = folder.status()
        if self.counts.find(folder.path, stamp(folder.path, self.keywords)) is None:
            self._unsettled.add(name)
        return found

    def save(self) -> None:
        """The session ends, and nobody waits for it: what it learned of all folders is kept.
        Counts of folders that were too young to be sure of are taken again."""
        for name in self._unsettled:
            try:
                self.open(name).status()
            except StoreError:
                continue               # it went, or the disk is sick: who asks next is told
        self.counts.save()

    def names(self) -> list[str]:
        """All folders, INBOX first, then by name."""
        root = os.fsencode(self.root)
        try:
            before = os.stat(root)
            stamp = before.st_ino, before.st_mtime_ns
            if self._listed is None or self._listed[0] != stamp:
                found = [entry for entry in os.listdir(root) if names.is_folder_entry(entry)]
                settled = directory.settled(before.st_mtime_ns, time.time_ns())
                self._listed = stamp if settled else (0, 0), found, {}
        except OSError as error:
            raise trouble(self.root, error) from None
        # a directory that was a folder once stays one while the Maildir's own is as it was
        _, entries, known = self._listed
        for entry in entries:
            # what can be selected is listed, as open() makes what is missing of the three
            if entry not in known and any(os.path.isdir(os.path.join(root, entry, part))
                                          for part in (b"cur", b"new", b"tmp")):
                known[entry] = names.folder_name(entry)
        return ["INBOX", *sorted(known.values())]

    def _below(self, top: str) -> list[str]:
        """A folder and all below it.  One that cannot be looked at raises: it would be left behind."""
        try:
            entries = os.listdir(os.fsencode(self.root))
        except OSError as error:
            raise trouble(self.root, error) from None
        found = sorted(names.folder_name(entry) for entry in entries if names.is_folder_entry(entry))
        return [name for name in found if (name == top or name.startswith(top + "."))
                and is_directory(os.path.join(self.path_of(name), "cur"))]

    def marked(self, name: str) -> bool:
        """Is there mail in new/, or unseen mail in cur/?"""
        path = self.path_of(name)
        try:
            if any(not entry.startswith(".") for entry in os.listdir(os.path.join(path, "new"))):
                return True
            return any(not names.bits_of(names.info(entry)) & SEEN
                       for entry in os.listdir(os.fsencode(os.path.join(path, "cur")))
                       if not entry.startswith(b"."))
        except OSError:
            return False

    # -- UIDVALIDITY

    def next_uidvalidity(self, record: bool = True, above: int = 0) -> int:
        """One that no folder of this account had before, and greater than ``above``."""
        path = os.path.join(self.root, HIGHEST)
        alone = self._alone()
        try:
            with open(path, "rb") as file:
                last = int(file.read(32) or b"0")
        except (FileNotFoundError, ValueError):
            last = 0
        except OSError as error:
            close(alone)
            raise trouble(path, error) from None
        try:
            last = max(last, dovecot.last_uidvalidity(self.root), above)
            value = max(int(time.time()) - EPOCH, last + 1)
            if record:
                # what the folder's own uiddb says is on stable storage before anybody is told, and
                # DELETE writes it down here: this file alone need not be
                replace(path, b"%d\n" % value, os.path.join(self.root, "tmp"), self.host,
                        "uidvalidity", sync=self.fsync == "always")
                if self.fsync == "always":
                    sync_directory(self.root)
            return value
        finally:
            close(alone)

    def _alone(self) -> int:
        """A descriptor: while it is open no other session of this host gives or remembers a
        UIDVALIDITY.  Not the folder's lock: INBOX's may be ours already."""
        import fcntl
        try:
            fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise trouble(self.root, error) from None
        for _ in range(ALONE_TRIES):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break                  # a file system without such locks
        return fd

    # -- making and removing

    def create(self, name: str) -> None:
        path = self.path_of(name)
        if is_directory(os.path.join(path, "cur")):
            raise FolderExists(path)
        scratch = os.path.join(self.root, "tmp", names.tmp_name(self.host, "folder"))
        with self._entries() as entries:
            try:
                self._make(scratch)
                try:
                    os.rename(scratch, path)
                except OSError as error:
                    if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                        raise FolderExists(path) from None
                    raise trouble(path, error) from None
                self._sync(entries, [(path, scratch)])
            except StoreError:
                self._unmake(scratch)
                raise

    def _discard(self, path: str) -> None:
        """A folder that we made, unless there are messages in it."""
        scratch = os.path.join(self.root, "tmp", names.tmp_name(self.host, "deleted"))
        try:
            os.rmdir(os.path.join(path, "cur"))
            os.rename(path, scratch)
        except OSError:
            return
        self._unmake(scratch)
        remove_tree(scratch)

    @staticmethod
    def _unmake(scratch: str) -> None:
        """By its known parts: to list it may need the descriptor that cannot be had."""
        derived = [os.path.join(DIRECTORY, name) for name in (COLUMNS, LOG, RECENT)]
        for name in ("maildirfolder", uiddb.NAME, *derived):
            remove(os.path.join(scratch, name))
        for part in ("cur", "new", "tmp", KEYWORDS, DIRECTORY, "."):
            try:
                os.rmdir(os.path.join(scratch, part) if part != "." else scratch)
            except OSError:
                continue               # it is not there; a rest is garbage in tmp/

    def _make(self, scratch: str) -> None:
        """A whole folder, where nobody sees it."""
        path = scratch
        try:
            os.mkdir(path, 0o700)
            for part in ("cur", "new", "tmp"):
                path = os.path.join(scratch, part)
                os.mkdir(path, 0o700)
            path = os.path.join(scratch, "maildirfolder")
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise trouble(path, error) from None
        value = self.next_uidvalidity()
        replace(os.path.join(scratch, uiddb.NAME), b"".join(uiddb.UidDb(value, 1).pieces()),
                os.path.join(scratch, "tmp"), self.host, "imapuid_0", sync=self.fsync != "never")
        if self.fsync != "never":
            sync_directory(scratch)

    def _entries(self) -> Directory:
        """The Maildir's own directory, before something in it gets another name."""
        return Directory(self.root, self.fsync != "never")

    @staticmethod
    def _sync(entries: Directory, renamed: Sequence[tuple[str, str]] = ()) -> None:
        """What changed stays so, or is taken back: (name now, name before)."""
        try:
            entries.sync()
        except StoreError:
            for now, before in reversed(renamed):
                try:
                    os.rename(now, before)
                except OSError as error:
                    log.err(f"{now}: cannot be named {before} again: {error.strerror}")
            raise

    def delete(self, name: str) -> None:
        """The folder itself; folders below it stay."""
        if name == "INBOX":
            raise Denied("INBOX cannot be deleted")
        folder = self.open(name)
        database = uiddb.read(os.path.join(folder.path, uiddb.NAME))
        full = False
        if database is not None:
            try:
                self.remember(database.uidvalidity)
            except QuotaExceeded:
                full = True            # there is room when the folder is gone
        scratch = os.path.join(self.root, "tmp", names.tmp_name(self.host, "deleted"))
        index = place(folder.path, self.index_at)
        with self._entries() as entries:
            try:
                os.rename(folder.path, scratch)
            except OSError as error:
                raise trouble(folder.path, error) from None
            self._sync(entries, [(scratch, folder.path)])
        remove_tree(scratch)
        if index:
            remove_tree(index)
        if full and database is not None:
            try:
                self.remember(database.uidvalidity)
            except StoreError as why:
                log.err(f"{why}: UIDVALIDITY {database.uidvalidity} is not remembered")

    def remember(self, value: int) -> None:
        """A value given by another program counts too."""
        path = os.path.join(self.root, HIGHEST)
        alone = self._alone()
        try:
            with open(path, "rb") as file:
                if int(file.read(32) or b"0") >= value:
                    close(alone)
                    return
        except (OSError, ValueError):
            pass
        try:
            replace(path, b"%d\n" % value, os.path.join(self.root, "tmp"), self.host, "uidvalidity",
                    sync=self.fsync != "never")
        finally:
            close(alone)

    def rename(self, old: str, new: str) -> None:
        """The folder and all below it; UIDs and UIDVALIDITY move along.

        INBOX: its messages move to the new folder, INBOX stays (RFC 9051 6.3.6).
        """
        target = self.path_of(new)
        if is_directory(os.path.join(target, "cur")):
            raise FolderExists(target)
        if old == "INBOX":
            self.create(new)
            try:
                source = self.open("INBOX")
                source.move(source.scan().messages.uids, self.open(new))
            except StoreError:
                self._discard(target)
                raise
            return
        self.path_of(old)
        tree = self._below(old)
        if not tree:
            raise FolderMissing(old)
        pairs = [(self.path_of(name), self.path_of(new + name[len(old):])) for name in tree]
        for _, there in pairs:
            if is_directory(there):
                raise FolderExists(there)
        with self._entries() as entries:
            done: list[tuple[str, str]] = []
            try:
                for here, there in pairs:
                    os.rename(here, there)
                    done.append((there, here))
            except OSError as error:
                for there, here in reversed(done):
                    try:
                        os.rename(there, here)
                    except OSError as why:
                        log.err(f"{there}: cannot be named {here} again: {why.strerror}")
                raise trouble(pairs[len(done)][0], error) from None
            self._sync(entries, done)

    # -- subscriptions

    def subscriptions(self) -> list[str]:
        path = os.path.join(self.root, SUBSCRIBED)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return dovecot.subscriptions(self.root) or []
        except OSError as error:
            raise trouble(path, error) from None
        return [line.decode("utf-8", "surrogateescape") for line in data.split(b"\n") if line]

    def subscribe(self, name: str, wanted: bool) -> None:
        """Raises NameInvalid for what cannot be a folder's name."""
        if not name.startswith(("#shared.", "shared.")):
            self.path_of(name)
        with FolderLock(self.root, self.host, self.locks):
            have = self.subscriptions()
            if (name in have) == wanted:
                return
            with self._entries() as entries:
                self._write_subscriptions([*have, name] if wanted
                                          else [other for other in have if other != name])
                try:
                    entries.sync()
                except StoreError:
                    self._write_subscriptions(have)
                    raise

    def _write_subscriptions(self, names: Iterable[str]) -> None:
        data = b"".join(name.encode("utf-8", "surrogateescape") + b"\n" for name in names)
        replace(os.path.join(self.root, SUBSCRIBED), data, os.path.join(self.root, "tmp"), self.host,
                "imapsubscribe0", sync=self.fsync != "never")


__all__ = ["Folders", "StoreError"]
