"""The mailboxes of an account: names, creation, renaming, removal.

A mailbox appears and goes by one rename, so that nobody sees half of it.
"""
from __future__ import annotations

import os

from courierpy.maildir import layout, names
from courierpy.maildir.access import LEVELS, Access, identities
from courierpy.maildir.access import NAME as ACCESS_LIST
from courierpy.maildir.directory import has_unseen
from courierpy.maildir.errors import (
    Denied,
    FolderExists,
    FolderMissing,
    NameInvalid,
    OtherAccount,
    QuotaExceeded,
    StoreError,
)
from courierpy.maildir.files import is_directory, remove, remove_tree
from courierpy.maildir.formats import uiddb
from courierpy.maildir.index.columns import place
from courierpy.maildir.index.statuscache import Counts, stamp
from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.mailboxdirectory import wait_while_still
from courierpy.maildir.options import StoreOptions, of_all, of_own
from courierpy.maildir.places import Levels, Siblings
from courierpy.maildir.subscriptions import Subscriptions
from courierpy.maildir.uidvalidity import Uidvalidities
from courierpy.model.namespaces import PERSONAL, SHARED, SHARED_PREFIXES, Namespace, Namespaces
from courierpy.model.rights import OWNER_RIGHTS
from courierpy.system import concluded, log, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    from courierpy.maildir.acl import Lists
    from courierpy.maildir.bounds import Bounds
    from courierpy.maildir.formats.maildirsize import Limits
    from courierpy.maildir.index.statuscache import Status
    from courierpy.maildir.layout import Layout
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.maildir.quota import Quota
    from courierpy.system.settings import Settings

    class Neighbours(Protocol):
        """Maildirs of others: see neighbours.py."""
        def around(self, virtual: bool, wanted: Callable[[str], bool]) -> list[str]: ...
        def find(self, name: str) -> Store | None: ...
        def names(self, virtual: bool) -> list[str]: ...
        def subscriptions(self) -> list[str]: ...

KNOWN_NAMES = 1000                 # whose directories are remembered
UNSHOWN = "unshown"                # in the index of INBOX: Maildirs that the client was told of


class Store:
    """The Maildir at ``root``: a method for each thing that is done with the name of a mailbox.

    ``choice``, ``home``: of the layout, see layout.find(); ``trash``: the
    name of the mailbox behind the prefix; ``no_prefix``: mailboxes are named without the layout's prefix,
    and with it too; ``quota``: of the account, "" for none, and ``ignores_quota``: it refuses nothing;
    ``identities``: what the user is by lists of rights (formats/acl.py); ``namespace``: of another
    account's Maildir, which is there under its names alone; ``tree``: the layout, where that is known; the
    others: of the options, see StoreOptions."""

    __slots__ = ("_account_quota", "_ignores_quota", "_known", "_neighbours", "_passed_over", "_unsettled",
                 "access", "counts", "highest", "layout", "meet", "namespaces", "options", "places", "root",
                 "subscribed", "trash", "uidvalidities", "used")

    def __init__(self, root: str = ".", *, locks: bool = True, keywords: bool = True,
                 fsync: str = "optimized", trash: str = "Trash", host: str | None = None,
                 index_at: str = "", choice: str = "auto", home: str = "",
                 bounds: Bounds | None = None, read_only: bool = False, no_prefix: bool = False,
                 quota: str = "", ignores_quota: bool = False,
                 identities: frozenset[str] = frozenset(("owner",)),
                 namespace: Namespace | None = None, tree: Layout | None = None,
                 keeps_expunged: bool = False) -> None:
        self.root = root
        self.trash = trash
        self._known: dict[str, tuple[str, str]] = {}   # path and directory of own mailboxes, by name
        self._know_nothing()
        self.layout = tree or layout.find(root, choice, home)
        self.options = StoreOptions(self.layout, locks=locks, keywords=keywords, fsync=fsync, host=host,
                                    index_at=index_at, bounds=bounds, read_only=read_only,
                                    keeps_expunged=keeps_expunged)
        self.uidvalidities = Uidvalidities(root, self.layout.scratch, self.options)
        own = [Namespace(PERSONAL, prefix, self.layout.separator, root, OWNER_RIGHTS)
               for prefix in (["", self.layout.prefix] if no_prefix and self.layout.prefix
                              else [self.layout.prefix])]
        # beside names that may begin with anything there is no room for others
        shared = SHARED_PREFIXES if self.layout.prefix else ()
        self.namespaces = Namespaces(namespace) if namespace is not None else Namespaces(
            *own, *[Namespace(SHARED, prefix, ".") for prefix in shared])
        places = Siblings if isinstance(self.layout, MaildirPlusPlus) else Levels
        self.places = places(self.layout, self.options, self.uidvalidities)
        levels = f"{root}/{LEVELS}" if isinstance(self.layout, MaildirPlusPlus) else ""
        self.access = Access(self.layout.directory, self.layout.separator, levels, identities)
        index = self.options.index
        self._account_quota = quota
        self._ignores_quota = ignores_quota
        if quota and not isinstance(self.layout, MaildirPlusPlus):
            log.warn(f"MAILDIRQUOTA: no quota is kept for the layout {self.layout.name}, as no other program "
                     "would")
        self.subscribed = Subscriptions(root, self.layout, self.namespaces, self.options)
        self.counts = Counts(index(self.layout.inbox), lambda path: index(path).unclaimed_stamp())

    def _know_nothing(self) -> None:
        self.meet: Callable[[], Neighbours] | None = None      # when they are asked for; None: there are none
        self._neighbours: Neighbours | None = None
        self.highest: dict[str, tuple[object, int]] = {}       # what modseqs.highest() found, by name
        self.used: tuple[object, dict[str, list[bytes]]] = (), {}      # what specialuse.uses() found, of what
        self._passed_over: list[str] = []
        self._unsettled: set[str] = set()       # mailboxes whose counts could not be kept

    def begin(self) -> None:
        """Another session of its account has it, and finds it as one that was just made; but where the
        mailboxes of names are, which is the same for all of them, need not be found again."""
        self._know_nothing()
        for part in (self.layout, self.options, self.uidvalidities, self.access, self.counts):
            part.forget()

    @classmethod
    def of(cls, settings: Settings, host: str | None = None, user: str = "") -> Store:
        """The Maildir in the working directory, as the settings say.  ``user``: whose it is, by the name that
        others give him rights by."""
        values = settings.values
        return cls(home=values.get("HOME", ""), identities=identities(user, values.get("OPTIONS", "")),
                   quota=values.get("MAILDIRQUOTA", ""), **concluded.of(settings, of_own),
                   **of_all(settings, host))

    @property
    def neighbours(self) -> Neighbours | None:
        """Who shares mailboxes with the user, None where nobody may."""
        if self._neighbours is None and self.meet is not None:
            self._neighbours = self.meet()
        return self._neighbours

    def _home(self, name: str) -> Store:
        """The Maildir that has the mailbox of that name: somebody else's, or this one."""
        if self.meet is None or not name.startswith(SHARED_PREFIXES):
            return self
        neighbours = self.neighbours
        return (neighbours and neighbours.find(name)) or self

    def shared_names(self, virtual: bool) -> list[str]:
        """The mailboxes that others share and the user may see: those of accounts (``virtual``) or those that
        files say."""
        from courierpy.maildir.formats import sharedmaildirs  # who lists no mailboxes does not ask
        if self.meet is None or not virtual and not sharedmaildirs.are_there(self.root):
            return []                  # nothing more of it needs to be loaded
        neighbours = self.neighbours
        return neighbours.names(virtual) if neighbours is not None else []

    def resolve(self, name: str) -> tuple[Namespace, str]:
        """(namespace, path there) of the mailbox of that name, there or not.  Raises NameInvalid."""
        found = self.namespaces.find(name)
        if found is None:
            raise NameInvalid(f"in no namespace: {name!r}")
        return found

    def rights(self, name: str) -> frozenset[str]:
        """Letters of RFC 4314 2.1 that the user has on a mailbox, there or not.  Raises NameInvalid, or
        another store error where its list cannot be read."""
        known = self._known.get(name) or self._place(name)
        if known is not None:
            return self.access.rights(*known)
        home = self._home(name)
        if home is not self:
            return home.rights(name)
        namespace, path = self.namespaces.find(name) or self.resolve(name)
        return self.rights_at(path) if namespace.root == self.root else namespace.rights

    def rights_at(self, path: str) -> frozenset[str]:
        """The same by the path in this Maildir.  Raises a store error."""
        return self.access.rights(path)

    def located(self, name: str) -> tuple[Store, str]:
        """The Maildir that has the mailbox of that name, and its path there.  Raises NameInvalid."""
        home = self._home(name)
        return home, home._own_path(name)

    def listed(self, name: str) -> bool:
        """May somebody else change these rights?"""
        home = self._home(name)
        namespace, path = home.resolve(name)
        return namespace.root == home.root and (home is not self or self.access.listed(path))

    def governed(self, name: str) -> tuple[frozenset[str], bool]:
        """rights() and listed(), by one look.  Raises NameInvalid, or another store error."""
        known = self._known.get(name) or self._place(name)
        if known is not None:
            return self.access.governed(*known)
        home = self._home(name)
        if home is not self:
            return home.rights(name), self.listed(name)
        namespace, path = self.namespaces.find(name) or self.resolve(name)
        return self.access.governed(path) if namespace.root == self.root else (namespace.rights, False)

    def lists(self) -> Lists:
        """The lists of rights, to be read or changed.  Raises a store error."""
        from courierpy.maildir.acl import Lists  # for those who have some
        self.places.repair(self.layout.inbox)          # which has the lock
        return Lists(self.access, self.layout, self.options)

    def above(self, name: str) -> str:
        """The name of the mailbox that would be right above the one of that name.  Raises NameInvalid."""
        namespace, path = self._home(name).resolve(name)
        return namespace.name(path.rpartition(namespace.separator)[0])

    def path_of(self, name: str) -> str:
        """The directory of a mailbox, which need not be there.  Raises NameInvalid."""
        known = self._known.get(name) or self._place(name)
        if known is not None:
            return known[1]
        home = self._home(name)
        return home.path_of(name) if home is not self else self.layout.directory(self._own_path(name))

    def _place(self, name: str) -> tuple[str, str] | None:
        """Path and directory of a mailbox of this Maildir, there or not; None of another one, and where a
        directory has to be looked for.  Raises NameInvalid."""
        found = self.namespaces.find(name) if self.layout.fixed else None
        if found is None or found[0].root != self.root:
            return None
        known = found[1], self.layout.directory(found[1])
        if len(self._known) >= KNOWN_NAMES:
            self._known.clear()
        self._known[name] = known
        return known

    def _own_path(self, name: str) -> str:
        """The path of a mailbox of this Maildir.  Raises NameInvalid."""
        namespace, path = self.namespaces.find(name) or self.resolve(name)
        if namespace.root != self.root:
            raise NameInvalid(f"in another Maildir: {name!r}")
        return path

    @property
    def keeps_subscriptions(self) -> bool:
        """Does not the user's own Maildir say what of this one is subscribed to?"""
        return False

    @property
    def trash_mailbox(self) -> str:
        return self.namespaces.name(self.trash)

    def exists(self, name: str) -> bool:
        home = self._home(name)
        if home is not self:
            return home.exists(name)
        try:
            return is_directory(f"{self.path_of(name)}/cur")
        except NameInvalid:
            return False

    def open(self, name: str) -> Mailbox:
        """Raises FolderMissing, also for names that cannot be."""
        home = self._home(name)
        if home is not self:
            return home.open(name)
        try:
            path = self.path_of(name)
        except NameInvalid as error:
            raise FolderMissing(str(error)) from None
        self.places.repair(path)
        return self.mailbox(name, path)

    def mailbox(self, name: str, path: str) -> Mailbox:
        """The mailbox at ``path`` as it is: what is missing of it is not made again."""
        home = self._home(name)
        if home is not self:
            return home.mailbox(name, path)
        from courierpy.maildir.mailbox import Mailbox  # not before the greeting
        self.quota()
        return Mailbox(name, path, self.options, self.uidvalidities, self.counts)

    def quota(self) -> Quota | None:
        """What may be stored here, and what is; None where nobody limits that.  A quota that the Maildir gets
        while it is open is seen when a mailbox is opened next."""
        if self.options.quota is None and isinstance(self.layout, MaildirPlusPlus):
            kept = os.access(f"{self.root}/{names.MAILDIRSIZE}", os.F_OK)
            if kept or self._account_quota:
                from courierpy.maildir.quota import account_limits  # few have one
                account = account_limits(self._account_quota)
                if kept or account is not None:
                    self._keep_quota(account)
        return self.options.quota

    def need_quota(self) -> Quota:
        """As quota(), where a limit is about to be set.  Raises Denied for a Maildir that can have none."""
        if not isinstance(self.layout, MaildirPlusPlus):
            raise Denied(f"{self.root}: no quota is kept for the layout {self.layout.name}")
        return self.quota() or self._keep_quota(None)

    def _keep_quota(self, account: Limits | None) -> Quota:
        from courierpy.maildir.quota import Quota  # few have one
        options = self.options
        options.quota = quota = Quota(self.root, self.layout.scratch, account, host=options.host,
                                      sync=options.sync, read_only=options.read_only)
        quota.is_ignored = self._ignores_quota
        return quota

    def status(self, name: str) -> Status:
        """Counts of a folder, which is opened only if it is not as it was."""
        known = self._known.get(name)          # mostly, as somebody has asked what the user may there
        home = self._home(name) if known is None else self
        if home is not self:
            return home.status(name)
        try:
            found = self.counts.unchanged(known[1] if known is not None else self.path_of(name))
            if found is not None:
                return found
        except NameInvalid:
            pass                       # open() says it
        folder = self.open(name)
        found = folder.status()
        if self.counts.find(folder.path, stamp(folder.path, self.options.keyword_directory)) is None:
            self._unsettled.add(name)
        return found

    def save(self) -> None:
        """The session ends, and nobody waits for it: what it learned of all folders is kept.
        Counts of folders that were too young to be sure of are taken again."""
        for name in self._unsettled:
            try:
                self.mailbox(name, self.path_of(name)).status()       # which may be going
            except StoreError:
                continue               # it went, or the disk is sick: who asks next is told
        self.counts.save()

    def names(self) -> list[str]:
        """All mailboxes, INBOX first, then by name."""
        return list(map(self.namespaces.name, self.layout.mailboxes()))

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
        index = self.options.index(self.layout.inbox)
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
        home = self._home(name)
        if home is not self:
            return home.marked(name)
        return has_unseen(self.path_of(name))

    # -- making and removing

    def create(self, name: str, files: Mapping[str, bytes] | None = None) -> None:
        """``files``: by name, that it has from its first moment on; of those that belong to a mailbox."""
        home = self._home(name)
        if home is not self:
            return home.create(name, files)
        wait_while_still(self.layout.inbox, self.options)
        path = self.path_of(name)
        if is_directory(os.path.join(path, "cur")):
            raise FolderExists(path)
        own = self._own_path(name)
        listed = self.access.listed(own)
        self.places.create(path, files or {})
        if files and ACCESS_LIST in files:
            self.access.forget()
            remove(self.access.level_file(own))
        elif listed:
            try:
                self.lists().keep([own])       # that of the level above: RFC 4314 4
            except StoreError:
                self.places.discard(path, files or {})
                raise

    def delete(self, name: str) -> None:
        """The folder itself; folders below it stay."""
        home = self._home(name)
        if home is not self:
            home.delete(name)
            return
        wait_while_still(self.layout.inbox, self.options)
        if name == self.namespaces.personal.inbox:
            raise Denied("INBOX cannot be deleted")
        folder = self.open(name)
        database = uiddb.read(os.path.join(folder.path, uiddb.NAME))
        full = False
        if database is not None:
            try:
                self.uidvalidities.remember(database.uidvalidity)
            except QuotaExceeded:
                full = True            # there is room when the folder is gone
        index = place(folder.path, self.options.index_at)
        lists = self.lists() if self.access.listed(self._own_path(name)) else None
        if lists is not None:
            lists.goes(self._own_path(name))
        self.places.delete(folder.path)
        if lists is not None:
            lists.tidy()
        if folder.place.quota is not None:
            folder.place.quota.recount_quietly()
        if index:
            remove_tree(index)
        if full and database is not None:
            try:
                self.uidvalidities.remember(database.uidvalidity)
            except StoreError as why:
                log.err(f"{why}: UIDVALIDITY {database.uidvalidity} is not remembered")

    def rename(self, old: str, new: str) -> None:
        """The folder and all below it; UIDs and UIDVALIDITY move along.

        INBOX: its messages move to the new folder, INBOX stays (RFC 9051 6.3.6).
        """
        home = self._home(old)
        if home is not self._home(new):
            raise OtherAccount(f"{old!r} to {new!r}")
        if home is not self:
            home.rename(old, new)
            return
        wait_while_still(self.layout.inbox, self.options)
        target = self.path_of(new)
        if is_directory(os.path.join(target, "cur")):
            raise FolderExists(target)
        if old == self.namespaces.personal.inbox:
            from courierpy.maildir import annotation  # nobody needs it else
            # to the new one, and it keeps its own: RFC 5464 4.1
            files = annotation.files(self.path_of(old))
            self.create(new, files)
            try:
                source = self.open(old)
                source.move(source.scan().messages.uids, self.open(new))
            except StoreError:
                self.places.discard(target, files)
                raise
            return
        here, there = self._own_path(old), self._own_path(new)
        tree = self.layout.below(here)
        lists = self.lists() if any(map(self.access.listed, (*tree, there))) else None
        if lists is not None:
            lists.keep(tree)           # they keep their rights: RFC 4314 4
        self.places.rename(here, there)
        if lists is not None:
            lists.moved(here, there)
        quota = self.quota()
        if quota is not None:          # what counts did not before, or the other way round
            quota.recount_quietly()

    # -- subscriptions

    def subscriptions(self) -> list[str]:
        """The names, in the order in which they came.  Raises a store error."""
        from courierpy.maildir.formats import sharedmaildirs
        found = self.subscribed.names()
        if self.meet is not None and os.path.isdir(os.path.join(self.root, sharedmaildirs.COPIES)):
            neighbours = self.neighbours
            found += neighbours.subscriptions() if neighbours is not None else []
        return found

    def subscribe(self, name: str, wanted: bool, more: Sequence[str] = ()) -> None:
        """``more``: others of this Maildir, at once.  Raises NameInvalid for what cannot be a folder's name,
        FolderMissing where nobody shares what there would be a copy of."""
        home = self._home(name)
        if home is not self and home.keeps_subscriptions:
            home.subscribe(name, wanted)
            return
        namespace, path = self.resolve(name)
        if namespace.root == self.root:
            self.layout.directory(path)
        self.places.repair(self.layout.inbox)          # which has the lock
        self.subscribed.change((name, *more), wanted)


__all__ = ["Store", "StoreError"]
