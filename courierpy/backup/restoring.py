"""Messages of a backup, or of any other Maildir, that are not in a Maildir any more, and come back.

Nothing is overwritten, and what is there is not brought again.  A message is there when the mailbox has one
of the same name (which it keeps as long as it is in that mailbox), or one that came by an earlier restore,
which has in its name what it came from; or when it is in another mailbox now: a message that was in none of
the backup's, of the same size, time and octets.
"""
from __future__ import annotations

import hashlib
import os
import re
import stat

from courierpy.maildir import annotation
from courierpy.maildir.access import NAME as ACCESS_LIST
from courierpy.maildir.errors import FolderMissing, NameInvalid, StoreError
from courierpy.maildir.files import is_directory
from courierpy.maildir.formats.acl import LockedOut
from courierpy.maildir.glance import glance
from courierpy.maildir.mailboxdirectory import MailboxDirectory
from courierpy.maildir.messagefile import PIECE_OCTETS
from courierpy.maildir.store import Store
from courierpy.system import log
from courierpy.system.regular import open_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from courierpy.maildir.acl import Lists
    from courierpy.maildir.glance import Glanced

DIGITS = 18                        # that tell what a message came from; a session does not count so far
_RESTORED = re.compile(rb"_([0-9]{%d})\." % DIGITS)


class Saved:
    """A message of a backup.  ``path``: of its file; ``name``: base name; ``word``: says which message of
    which mailbox it is there, and is in the name of who comes back; ``uid``: that it has there, 0 for none;
    ``arrived``: its INTERNALDATE, in seconds since 1970."""

    __slots__ = ("arrived", "bits", "name", "octets", "path", "uid", "word", "words")

    def __init__(self, mailbox: str, found: Glanced, words: frozenset[bytes]) -> None:
        self.path = found.path
        self.name = found.name
        self.uid = found.uid
        self.bits = found.bits
        self.octets = found.octets
        self.arrived = found.arrived
        self.words = words
        text = os.fsencode(mailbox) + b"\0" + found.name
        number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % 10 ** DIGITS
        self.word = f"{number:0{DIGITS}}"


class Original:
    """The Maildir of a backup, which is only read.  ``layout``: its name, "auto" where nobody knows."""

    def __init__(self, path: str, host: str, layout: str) -> None:
        """Raises FolderMissing where there is no Maildir."""
        if is_directory(path):
            self.store = Store(path, host=host, choice=layout, read_only=True, locks=False)
            if self.store.layout.is_there():
                return
        raise FolderMissing(f"{path}: no Maildir, and no backup of this one is in it")

    def place(self, name: str) -> MailboxDirectory:
        return MailboxDirectory(self.store.path_of(name), self.store.options)

    def messages(self, name: str) -> list[Saved]:
        """Those of a mailbox, in the order of their numbers.  Raises a store error."""
        place = self.place(name)
        path = self.store.resolve(name)[1]
        words = self.store.options.keywords_of(place.path).current()
        return [Saved(path, found, words(found.name)) for found in glance(place)[1]]

    def name_in(self, store: Store, name: str) -> str:
        """What the mailbox of this name is called in another Maildir.  Raises NameInvalid."""
        path = self.store.resolve(name)[1]
        here, there = self.store.layout.separator, store.layout.separator
        if here != there and there in path:
            raise NameInvalid(f"{path!r}: it cannot be in a Maildir of the layout {store.layout.name}")
        return store.namespaces.personal.name(path.replace(here, there))

    def name_of(self, store: Store, name: str) -> str | None:
        """What the mailbox of another Maildir is called here; None where that cannot be."""
        path = store.resolve(name)[1].replace(store.layout.separator, self.store.layout.separator)
        found = self.store.namespaces.personal.name(path)
        return found if self.store.exists(found) else None

    def bases(self, name: str) -> set[bytes]:
        """The names of its messages, without flags.  Raises a store error."""
        return self.place(name).bases()


class Again:
    """Mailboxes of a backup that are not there and are made again, as they were.  What is looked at for one
    of them serves for all."""

    def __init__(self, store: Store, original: Original) -> None:
        self._store = store
        self._original = original
        self._lists: Lists | None = None

    def subscribe(self, chosen: Iterable[str]) -> None:
        """To those of the chosen ones that are not there, ahead of them: a restore that is killed in between
        finds them there and knows of no subscription.  Raises a store error."""
        store, original = self._store, self._original
        wanted = {*original.store.subscriptions()}
        names: list[str] = []
        for name in chosen:
            if name in wanted:
                try:
                    target = original.name_in(store, name)
                    store.path_of(target)
                except NameInvalid:
                    continue           # who makes it tells why it cannot be
                if not store.exists(target):
                    names.append(target)
        if names:
            store.subscribe(names[0], True, names[1:])

    def make(self, name: str, target: str) -> None:
        """With the annotations and the list of rights that it had: with them or not at all, as one that is
        there is not looked at again.  Raises a store error."""
        store, old = self._store, self._original.store
        source = old.path_of(name)
        files = annotation.files(source)
        if os.path.lexists(os.path.join(source, ACCESS_LIST)):
            found = old.access.read(os.path.join(source, ACCESS_LIST))
            if self._lists is None:
                self._lists = store.lists()
            try:
                self._lists.comes(store.resolve(target)[1], found)
                files[ACCESS_LIST] = found.spelled()
            except LockedOut as error:
                log.err(f"{source}/{ACCESS_LIST}: is not taken, it keeps {error} out")
        store.create(target, files)


def absent(store: Store, name: str, messages: Iterable[Saved]) -> list[Saved]:
    """Those that are not in the mailbox of that name, there or not.  Raises a store error."""
    there: set[bytes] = set()
    if store.exists(name):
        there = MailboxDirectory(store.path_of(name), store.options).bases()
    came = {found[1].decode() for found in map(_RESTORED.search, there) if found is not None}
    return [one for one in messages if one.name not in there and one.word not in came]


class Elsewhere:
    """Messages of a Maildir that none of the backup's mailboxes had where they are now: they came since, or
    were moved.  Each stands for one that is missing."""

    def __init__(self, store: Store, original: Original) -> None:
        """Raises a store error."""
        self._found: dict[tuple[int, float], list[bytes]] = {}
        for name in store.names():
            before = original.name_of(store, name)
            known: Collection[bytes] = original.bases(before) if before is not None else ()
            try:
                messages = glance(MailboxDirectory(store.path_of(name), store.options))[1]
            except StoreError:
                continue               # what cannot be read stands for none
            for one in messages:
                if one.name not in known and _RESTORED.search(one.name) is None:
                    self._found.setdefault((one.octets, one.arrived), []).append(one.path)

    def has(self, one: Saved) -> bool:
        """Is it somewhere else now?  It stands for no other one then."""
        paths = self._found.get((one.octets, one.arrived), [])
        for path in paths:
            if _same(path, one.path):
                paths.remove(path)
                return True
        return False


def _same(one: bytes, other: bytes) -> bool:
    """Do two files hold the same?  What cannot be read is another."""
    try:
        with open(open_regular(one), "rb") as first, open(open_regular(other), "rb") as second:
            found, there = os.fstat(first.fileno()), os.fstat(second.fileno())
            if os.path.samestat(found, there):
                return True
            if stat.S_IFMT(found.st_mode) != stat.S_IFMT(there.st_mode) or found.st_size != there.st_size:
                return False
            while piece := first.read(PIECE_OCTETS):
                if piece != second.read(PIECE_OCTETS):
                    return False
            return not second.read(1)
    except OSError:
        return False
