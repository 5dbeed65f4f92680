"""The directories by which a session hears of mailboxes that are not selected.  RFC 5465.

Of a mailbox those of its messages and keywords are watched, and beside them those in which mailboxes may come
and go.  All of that is in the process's instance of inotify; where another process goes on with that, so
does another ``Watched``.
"""
from __future__ import annotations

import errno
import os
import time

from courierpy.imap.listing import parents_of
from courierpy.imap.wishes import FLAGS, MESSAGE_EVENTS
from courierpy.maildir import access
from courierpy.maildir.errors import NameInvalid, StoreError
from courierpy.maildir.subscriptions import FILE as SUBSCRIBED
from courierpy.maildir.watch import INSIDE
from courierpy.model import packed
from courierpy.model.namespaces import INBOX, SHARED_PREFIXES
from courierpy.system import inotify, log
from courierpy.system.inotify import (
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_IGNORED,
    IN_MOVED_TO,
    IN_Q_OVERFLOW,
    Ear,
)
from courierpy.system.seldom import due

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from courierpy.maildir.store import Store

    Wanted = Callable[[str], frozenset[bytes]]
    Reaches = Callable[[str], bool]

# files in a directory of mailboxes that say which there are for this user
TELLING = (SUBSCRIBED.encode(), access.NAME.encode(), access.LEVELS.encode())
# what the system says of a directory that may not be watched: it is nothing against the others
DENIED = (errno.EACCES, errno.EPERM, errno.ELOOP)
RENAMING = 1.0                     # seconds that the directories of one RENAME may take
AGAIN = 0.002                      # seconds between two looks meanwhile


class News:
    """What was heard.  ``mailboxes``: whose messages may have changed; None: of any.  ``names``: there may be
    other names or subscriptions.  ``made``: directories that may be on their way to be mailboxes."""

    __slots__ = ("made", "mailboxes", "names")

    def __init__(self) -> None:
        self.mailboxes: set[str] | None = set()
        self.names = False
        self.made: list[str] = []


class _Directory:
    """One of a mailbox, and what is to be heard of it.  ``needed``: without it there is no mailbox."""

    __slots__ = ("mailbox", "mask", "needed", "path")

    def __init__(self, mailbox: str, path: str, mask: int, needed: bool = True) -> None:
        self.mailbox = mailbox
        self.path = path
        self.mask = mask
        self.needed = needed


class Watched:
    """The mailboxes, beside the selected one, of which one session hears.

    ``unmade``: mailboxes that were not whole when they were to be watched.  ``denied``: those that may
    not be read, of which nothing is heard.  Raises OSError where the kernel refuses to watch so much."""

    def __init__(self, folders: Store, wanted: Wanted, reaches: Reaches, ear: Ear | None = None) -> None:
        """``wanted``: the events of a mailbox that are to be heard of; ``reaches``: may there be any of
        mailboxes of others whose names begin so?"""
        self.unmade: set[str] = set()
        self.denied: set[str] = set()
        self._folders = folders
        self._wanted = wanted
        self._reaches = reaches
        self._ear = ear or Ear()
        self._of: dict[int, str] = {}           # watch -> mailbox whose messages it is about
        self._roots: dict[int, str] = {}        # watch -> directory in which mailboxes may come and go
        self._before: Ear | None = None         # what the process before us heard beside that

    @property
    def fd(self) -> int:
        """Readable when there may be something to hear, unless that is ``waiting``."""
        return self._ear.fd

    @property
    def waiting(self) -> bool:
        return bool(self._ear.waiting)

    @property
    def mailboxes(self) -> set[str]:
        """Those that are watched whole."""
        return {*self._of.values()} - self.unmade - self.denied

    def begin(self, names: Iterable[str]) -> None:
        """Watch these mailboxes, and what leads to them."""
        folders, names = self._folders, list(names)
        self.root(folders.root)
        self.around()
        if folders.layout.nested:
            for name in names:
                path = folders.path_of(name)
                while path not in (folders.root, "", "/", "."):
                    self.root(path)
                    path = os.path.dirname(path)
        self._watch([directory for name in names for directory in self._directories(name)])

    def around(self) -> None:
        """Where mailboxes of others come and go, and rights to them: of those that are not seen, too."""
        known = {*self._roots.values()}
        for virtual, prefix in zip((True, False), SHARED_PREFIXES, strict=True):
            neighbours = self._folders.neighbours if self._reaches(prefix) else None
            for path in neighbours.around(virtual, self._reaches) if neighbours is not None else ():
                if path not in known and os.access(path, os.R_OK):
                    self.root(path)

    def root(self, path: str) -> None:
        """Mailboxes may come and go in this directory, or the user may see them."""
        if not os.path.isdir(path):
            return
        try:
            self._roots[self._ear.add(path, INSIDE | IN_CLOSE_WRITE | IN_ATTRIB)] = path
        except OSError as why:
            if why.errno not in DENIED:
                raise
            log.warn(f"NOTIFY: {path}: {why.strerror}")

    def mailbox(self, name: str) -> None:
        """The directories of a mailbox, where something of its messages is wanted."""
        self._watch(self._directories(name))

    def _directories(self, name: str) -> list[_Directory]:
        events = self._wanted(name)
        if not events & MESSAGE_EVENTS:
            return []
        path = heard_at(self._folders, name)
        found = [_Directory(name, f"{path}/new", IN_CREATE | IN_MOVED_TO),
                 _Directory(name, f"{path}/cur", INSIDE)]
        keywords = self._folders.options.keyword_directory
        if FLAGS in events and keywords:
            found.append(_Directory(name, f"{path}/{keywords}", INSIDE | IN_CLOSE_WRITE, False))
        copy = self._folders.path_of(name)
        if copy != path and os.path.isdir(os.path.join(copy, "cur")):  # where the user's own flags are
            found = [*(_Directory(name, os.path.join(copy, os.path.relpath(one.path, path)), one.mask, False)
                       for one in found[1:]), *found[:2]]
        return found

    def _watch(self, directories: Sequence[_Directory]) -> None:
        numbers = self._ear.add_all([(one.path, one.mask) for one in directories])
        for one, number in zip(directories, numbers, strict=True):
            if not isinstance(number, OSError):
                self._of[number] = one.mailbox
            elif isinstance(number, (FileNotFoundError, NotADirectoryError)):
                if one.needed:
                    self.unmade.add(one.mailbox)
            elif number.errno not in DENIED:
                raise number
            elif one.mailbox not in self.denied:
                log.warn(f"NOTIFY: {one.path}: {number.strerror}")
                if one.needed:
                    self.denied.add(one.mailbox)

    def heard(self) -> News:
        """What happened since the last time."""
        news = News()
        for number, mask, entry in self._ear.events():
            if mask & IN_Q_OVERFLOW:
                news.mailboxes, news.names = None, True
            if number in self._of:
                if news.mailboxes is not None and self._of[number] not in self.denied:
                    news.mailboxes.add(self._of[number])
                if mask & IN_IGNORED:
                    del self._of[number]
                    news.names = True
            if number in self._roots and (not entry.startswith(b"courier") or entry in TELLING):
                news.names = True
                if mask & IN_IGNORED:
                    del self._roots[number]
                elif mask & (IN_CREATE | IN_MOVED_TO) and entry not in (b"cur", b"new", b"tmp"):
                    news.made.append(os.path.join(self._roots[number], os.fsdecode(entry)))
        return news

    def renamed(self, new: Mapping[str, str]) -> None:
        """``new``: old name -> new name of mailboxes whose directories are the same."""
        self._of = {number: new.get(name, name) for number, name in self._of.items()}
        self.denied = {new.get(name, name) for name in self.denied}

    def close(self) -> None:
        """Hear no more."""
        self.stays()
        self._ear.close()

    # -- where another process goes on

    def packed(self) -> bytes | None:
        """For again(); None where nobody can go on with what hears for this process."""
        if inotify.own() < 0:
            return None
        own = self._ear.watches
        names = sorted({*self._of.values()})
        index = {name: at for at, name in enumerate(names)}
        of = [(number, own[number], index[name]) for number, name in self._of.items() if number in own]
        roots = [(number, own[number], path) for number, path in self._roots.items() if number in own]
        rest = [(number, mask) for number, mask in inotify.watched().items() if number not in own]
        return packed.pack((names, packed.numbers("I", of), roots, sorted(self.unmade | self.denied),
                            packed.numbers("I", rest)))

    @classmethod
    def again(cls, folders: Store, wanted: Wanted, reaches: Reaches, octets: bytes) -> Watched | None:
        """What another process watched, with what it did not hear yet.  None where its instance did not come
        here.  Raises ValueError."""
        names, of, roots, unmade, rest = packed.unpack(octets)
        directories = packed.rows("I", 3, of)
        ear = Ear.again({number: mask for number, mask, _ in (*directories, *roots)})
        if ear is None:
            return None
        found = cls(folders, wanted, reaches, ear)
        found.unmade = {*unmade}
        found._of = {number: names[at] for number, _, at in directories}
        found._roots = {number: path for number, _, path in roots}
        found._before = Ear.again(dict(packed.rows("I", 2, rest)))
        return found

    def stays(self) -> None:
        """The process goes on: what the one before it heard, and this one does not want, goes."""
        if self._before is not None:
            self._before.close()
            self._before = None


def heard_at(folders: Store, name: str) -> str:
    """The directory whose messages a mailbox has: of one that is shared by the rights of files, and is shown
    by links, the one that is shared.  Raises NameInvalid."""
    if name.startswith(SHARED_PREFIXES[1]):
        from courierpy.maildir.linked import Copies  # few share so
        home, path = folders.located(name)
        if isinstance(home.layout, Copies):
            return home.layout.source(path)
    return folders.path_of(name)


def identities(folders: Store, others: Iterable[str] = ()) -> dict[str, tuple[int, int]]:
    """The user's mailboxes and those of ``others``, and the identities of their directories."""
    found = {}
    for name in (*folders.names(), *others):
        try:
            look = os.stat(heard_at(folders, name))
        except (OSError, NameInvalid):
            continue                   # it is going
        found[name] = look.st_dev, look.st_ino
    return found


def settled(folders: Store, others: Callable[[], Iterable[str]],
            before: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """As identities(), which were ``before``.  Directories side by side are renamed one after the other: who
    looks meanwhile may see some under their new names, some under their old ones, and one under none."""
    end = time.monotonic() + RENAMING
    now = identities(folders, others())
    while before.keys() - now.keys() and time.monotonic() < end:
        last, now = now, identities(folders, others())
        below = parents_of(before.keys() & now.keys(), folders.layout.separator)
        if not below.isdisjoint(renamed(before, now).values()):
            time.sleep(AGAIN)
        elif now == last:
            break
    return now


def renamed(before: Mapping[str, tuple[int, int]], now: Mapping[str, tuple[int, int]]) -> dict[str, str]:
    """New names, and the old ones of the same directories; both as of identities()."""
    gone = {identity: name for name, identity in before.items() if name not in now}
    return {name: gone[identity] for name, identity in now.items() if name not in before and identity in gone}


def subscriptions(folders: Store, before: frozenset[str] | None) -> frozenset[str]:
    """``before``: those that stay where they cannot be read; None: a store error is raised then."""
    try:
        return frozenset(folders.subscriptions())
    except StoreError as why:
        if before is None:
            raise
        if due("NOTIFY: subscriptions"):
            log.err(str(why))
        return before


def related(name: str, others: Iterable[str], separator: str) -> bool:
    """Is it one of these, or a level above or below one?  Below INBOX all are: that makes none related."""
    return any(name == other or other.startswith(name + separator)
               or other != INBOX and name.startswith(other + separator) for other in others)
