"""The folders of an account: names, creation, renaming, removal, subscriptions.

A folder appears and goes by one rename, so that nobody sees half of it.  The
highest UIDVALIDITY ever given is remembered for the account: a name that is used
again never gets one that it had before.
"""
from __future__ import annotations

import os
import time

from courierpy.maildir import layout, names
from courierpy.maildir.bounds import Bounds
from courierpy.maildir.errors import (
    Denied,
    FolderExists,
    FolderMissing,
    NameInvalid,
    QuotaExceeded,
    StoreError,
    trouble,
)
from courierpy.maildir.files import Directory, close, is_directory, remove_tree, replace, sync_directory
from courierpy.maildir.formats import dovecot, uiddb
from courierpy.maildir.formats.keywordlist import Keywords
from courierpy.maildir.index.columns import Index, place
from courierpy.maildir.index.statuscache import Counts, stamp
from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.locks import FolderLock
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.places import Levels, Siblings
from courierpy.model.flags import SEEN
from courierpy.model.namespaces import (
    ALL_RIGHTS,
    INBOX,
    PERSONAL,
    SHARED,
    SHARED_PREFIXES,
    Namespace,
    Namespaces,
)
from courierpy.system import log, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from courierpy.maildir.index.statuscache import Status
    from courierpy.system.settings import Settings

SUBSCRIBED = "courierimapsubscribed"
HIGHEST = "courierpy-uidvalidity"
UNSHOWN = "unshown"                # in the index of INBOX: Maildirs that the client was told of
EPOCH = 1_000_000_000              # Courier's UIDVALIDITY counts seconds from here
ALONE_TRIES = 200                  # of 10 ms, for what takes less than one


def _fsync(word: str) -> str:
    word = {"0": "never", "1": "optimized", "": "optimized"}.get(word, word)
    if word not in ("never", "optimized", "always"):
        log.warn(f"IMAP_FSYNC: never, optimized or always is expected, not {word}")
        return "optimized"
    return word


class Store:
    """The Maildir at ``root``.  ``fsync``: "never", "optimized" (what an OK promises) or
    "always" (flags and keywords too).  ``index_at``: a directory for what can be derived,
    outside the Maildir.  ``choice``, ``home``: of the layout, see layout.find()."""

    def __init__(self, root: str = ".", *, locks: bool = True, keywords: bool = True,
                 fsync: str = "optimized", trash: str = "Trash", host: str | None = None,
                 index_at: str = "", choice: str = "auto", home: str = "",
                 bounds: Bounds | None = None) -> None:
        self.root = root
        self.locks = locks
        self.keywords = keywords
        self.fsync = fsync
        self.trash = trash
        self.host = names.host_name(host)
        self.index_at = index_at
        self.bounds = bounds or Bounds()
        self.tagged: dict[str, set[bytes]] = {}  # by folder's path, keywords that messages brought there
        self.unrecorded: dict[str, int] = {}    # UIDVALIDITY by folder's path, which no disk has
        self.highest: dict[str, tuple[object, int]] = {}       # what modseqs.highest() found, by name
        self._passed_over: list[str] = []
        self._unsettled: set[str] = set()       # folders whose counts could not be kept
        self.layout = layout.find(root, choice, home)
        personal = Namespace(PERSONAL, self.layout.prefix, self.layout.separator, root, ALL_RIGHTS)
        # beside names that may begin with anything there is no room for others
        shared = SHARED_PREFIXES if personal.prefix else ()
        self.namespaces = Namespaces(personal, *[Namespace(SHARED, prefix, ".") for prefix in shared])
        self.places = (Siblings if isinstance(self.layout, MaildirPlusPlus) else Levels)(self)
        self.counts = Counts(self.index(self.layout.inbox))

    @classmethod
    def of(cls, settings: Settings, host: str | None = None) -> Store:
        """The Maildir in the working directory, as the settings say."""
        locks = settings.text("IMAP_USELOCKS")
        return cls(locks=not locks or locks.startswith("1"), keywords=settings.number("IMAP_KEYWORDS") != 0,
                   fsync=_fsync(settings.text("IMAP_FSYNC").lower()),
                   trash=settings.text("IMAP_TRASHFOLDERNAME") or "Trash", host=host,
                   index_at=settings.text("IMAP_INDEXDIR"), home=settings.values.get("HOME", ""),
                   choice=settings.text("IMAP_LAYOUT").lower() or "auto", bounds=Bounds.of(settings))

    def resolve(self, name: str) -> tuple[Namespace, str]:
        """(namespace, path there) of the mailbox of that name, there or not.  Raises NameInvalid."""
        found = self.namespaces.find(name)
        if found is None:
            raise NameInvalid(f"in no namespace: {name!r}")
        return found

    def rights(self, name: str) -> frozenset[str]:
        """Letters of RFC 4314 2.1 that the user has on a mailbox.  Raises NameInvalid."""
        return self.resolve(name)[0].rights

    def path_of(self, name: str) -> str:
        """The directory of a mailbox, which need not be there.  Raises NameInvalid."""
        return self.layout.directory(self._own_path(name))

    def _own_path(self, name: str) -> str:
        """The path of a mailbox of this Maildir.  Raises NameInvalid."""
        namespace, path = self.resolve(name)
        if namespace.root != self.root:
            raise NameInvalid(f"in another Maildir: {name!r}")
        return path

    def index(self, path: str) -> Index:
        """What is derived from the mailbox at ``path``."""
        return Index(path, self.host, place(path, self.index_at), self.layout.index)

    def keywords_of(self, path: str) -> Keywords:
        """The keywords in the mailbox at ``path``."""
        return Keywords(path, self.host, self.fsync == "always", self.layout.keywords)

    @property
    def keyword_directory(self) -> str:
        """Below that of a mailbox; "" where keywords are off."""
        return self.layout.keywords if self.keywords else ""

    @property
    def trash_mailbox(self) -> str:
        return self.layout.prefix + self.trash

    def exists(self, name: str) -> bool:
        try:
            return is_directory(os.path.join(self.path_of(name), "cur"))
        except NameInvalid:
            return False

    def open(self, name: str) -> Mailbox:
        """Raises FolderMissing, also for names that cannot be."""
        try:
            path = self.path_of(name)
        except NameInvalid as error:
            raise FolderMissing(str(error)) from None
        self.places.repair(path)
        return Mailbox(self, name, path)

    def status(self, name: str) -> Status:
        """Counts of a folder, which is opened only if it is not as it was."""
        try:
            path = self.path_of(name)
            found = self.counts.find(path, stamp(path, self.keyword_directory))
        except (NameInvalid, FolderMissing):
            found = None               # open() says it, or makes what is missing
        if found is not None:
            return found
        folder = self.open(name)
        found = folder.status()
        if self.counts.find(folder.path, stamp(folder.path, self.keyword_directory)) is None:
            self._unsettled.add(name)
        return found

    def save(self) -> None:
        """The session ends, and nobody waits for it: what it learned of all folders is kept.
        Counts of folders that were too young to be sure of are taken again."""
        for name in self._unsettled:
            try:
                Mailbox(self, name, self.path_of(name)).status()       # as it is: it may be going
            except StoreError:
                continue               # it went, or the disk is sick: who asks next is told
        self.counts.save()

    def names(self) -> list[str]:
        """All mailboxes, INBOX first, then by name."""
        return list(map(self.namespaces.personal.name, self.layout.mailboxes()))

    def passed_over(self) -> list[str]:
        """Paths of Maildirs that names() left out and the client is to be told of.  What it was told once
        it is not told again; the log has them once a session."""
        found = self.layout.unshown()
        if not found or found == self._passed_over:
            return []
        self._passed_over = found
        text = b"".join(os.fsencode(path).replace(b"\n", b"?") + b"\n" for path in found)
        log.warn(f"{proc.absolute(self.root)}: {len(found)} Maildirs are not shown, they are none of the "
                 f"layout {self.layout.name} (IMAP_LAYOUT): {', '.join(map(ascii, found))}")
        index = self.index(self.layout.inbox)
        try:
            with open(index.open(UNSHOWN), "rb", buffering=0) as file:
                told = set(file.readall().splitlines())
        except OSError:
            told = set()
        if told.issuperset(text.splitlines()):
            return []
        index.replace(UNSHOWN, [text])
        return found

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
                replace(path, b"%d\n" % value, self.layout.scratch, self.host,
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
        self.places.create(path)

    def delete(self, name: str) -> None:
        """The folder itself; folders below it stay."""
        if name == INBOX:
            raise Denied("INBOX cannot be deleted")
        folder = self.open(name)
        database = uiddb.read(os.path.join(folder.path, uiddb.NAME))
        full = False
        if database is not None:
            try:
                self.remember(database.uidvalidity)
            except QuotaExceeded:
                full = True            # there is room when the folder is gone
        index = place(folder.path, self.index_at)
        self.places.delete(folder.path)
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
            replace(path, b"%d\n" % value, self.layout.scratch, self.host, "uidvalidity",
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
        if old == INBOX:
            self.create(new)
            try:
                source = self.open(INBOX)
                source.move(source.scan().messages.uids, self.open(new))
            except StoreError:
                self.places.discard(target)
                raise
            return
        self.places.rename(self._own_path(old), self._own_path(new))

    # -- subscriptions

    def subscriptions(self) -> list[str]:
        path = os.path.join(self.root, SUBSCRIBED)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return self.subscribed_by_dovecot() or []
        except OSError as error:
            raise trouble(path, error) from None
        return [names.shown(line) for line in data.split(b"\n") if line]

    def subscribed_by_dovecot(self) -> list[str] | None:
        """None when Dovecot left no list."""
        if isinstance(self.layout, MaildirPlusPlus):
            paths = dovecot.subscriptions(self.root)
        else:
            rows = dovecot.subscribed_levels(self.root)
            paths = None if rows is None else self.layout.named(rows)
        return None if paths is None else list(map(self.namespaces.personal.name, paths))

    def subscribe(self, name: str, wanted: bool) -> None:
        """Raises NameInvalid for what cannot be a folder's name."""
        namespace, path = self.resolve(name)
        if namespace.root == self.root:
            self.layout.directory(path)
        names.on_disk(name)
        self.places.repair(self.layout.inbox)          # which has the lock
        with FolderLock(self.layout.inbox, self.host, self.locks):
            have = self.subscriptions()
            if (name in have) == wanted:
                return
            with Directory(self.root, self.fsync != "never") as entries:
                self._write_subscriptions([*have, name] if wanted
                                          else [other for other in have if other != name])
                try:
                    entries.sync()
                except StoreError:
                    self._write_subscriptions(have)
                    raise

    def _write_subscriptions(self, subscribed: Iterable[str]) -> None:
        data = b"".join(names.on_disk(name) + b"\n" for name in subscribed)
        replace(os.path.join(self.root, SUBSCRIBED), data, self.layout.scratch, self.host,
                "imapsubscribe0", sync=self.fsync != "never")


__all__ = ["Store", "StoreError"]
