"""Mailboxes that others share by the rights of their files: Courier's older way, the names ``shared.``.

``shared-maildirs`` in the Maildir (and ``maildirshared`` for all) names Maildirs, each of which is a level of
the names; what the user may read there can be selected.  Of each that was, or is subscribed to, there is a
copy in ``shared-folders/NAME/FOLDER``, with links to the messages and the user's own flags (mirror.py).
"""
from __future__ import annotations

import os

from courierpy.maildir import names
from courierpy.maildir.errors import Denied, FolderMissing, NameInvalid, StoreError, trouble
from courierpy.maildir.files import content, is_directory, listed, remove, remove_tree, replace
from courierpy.maildir.formats import sharedmaildirs, uiddb
from courierpy.maildir.formats.sharedmaildirs import COPIES
from courierpy.maildir.index.columns import place
from courierpy.maildir.index.statuscache import Status
from courierpy.maildir.layout import PARTS, MaildirPlusPlus
from courierpy.maildir.mirror import LINK, Mirror
from courierpy.maildir.promised import Promises
from courierpy.maildir.store import Store
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from courierpy.maildir.acl import Lists
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.maildir.quota import Quota

# x: to delete it is to have no copy any more
READER = frozenset("lrswx")
WRITER = READER | frozenset("ite")
OF_WHAT_WENT = frozenset("lx")


def sharables(root: str) -> dict[str, str]:
    """Name -> path of the Maildirs that are named to all, and to the user whose Maildir is at ``root``."""
    found: dict[bytes, bytes] = {}
    for file in (sharedmaildirs.OF_ALL, os.path.join(root, sharedmaildirs.NAME)):
        try:
            data = content(file)
        except StoreError as why:
            log.err(str(why))
            continue
        if data:
            found = sharedmaildirs.parse(data) | found
    return {names.shown(name): os.fsdecode(path) for name, path in found.items()} if found else {}


def copies(root: str, level: str) -> str:
    """The directory of the copies of what one Maildir has."""
    try:
        return os.path.join(root, COPIES, os.fsdecode(names.on_disk(level)))
    except NameInvalid:
        return os.path.join(root, COPIES, ".")     # where nothing is


def has_copies(root: str, level: str) -> bool:
    """Are there any, of what may be named no more?"""
    return bool(level) and "/" not in level and os.path.isdir(copies(root, level))


def levels(root: str) -> list[str]:
    """The names of what there are copies of."""
    return sorted(names.shown(os.fsencode(entry.name)) for entry in listed(os.path.join(root, COPIES))
                  if sharedmaildirs.is_name(os.fsencode(entry.name)) and entry.is_dir(follow_symlinks=False))


def copied(root: str, level: str) -> list[str]:
    """The paths of the mailboxes of which there are."""
    return sorted(names.shown(os.fsencode(entry.name)) for entry in listed(copies(root, level))
                  if names.is_folder_entry(b"." + os.fsencode(entry.name))
                  and os.path.isdir(os.path.join(entry.path, "cur")))


def remove_copies(root: str, level: str) -> None:
    """All of what one Maildir has, as much as goes."""
    where = copies(root, level)
    for entry in listed(where):
        _discard(entry.path)
    remove_tree(where)


class Copies(MaildirPlusPlus):
    """The directories of the copies at ``root``; which there may be says the Maildir at ``sharable``."""

    def __init__(self, root: str, sharable: str) -> None:
        super().__init__(root)
        self.sharable = sharable

    def directory(self, path: str) -> str:
        if not path or path.startswith("."):
            raise NameInvalid(f"bad component: {path!r}")
        return os.path.join(self.root, os.fsdecode(names.directory(path)[1:]))

    def source(self, path: str) -> str:
        """The directory that is shared: as the copy has it, else as it would be.  Raises NameInvalid."""
        try:
            return os.path.join(self.root, os.readlink(os.path.join(self.directory(path), LINK)))
        except OSError:
            if not self.sharable:
                raise NameInvalid(f"shared by nobody: {path!r}") from None
            return os.path.join(self.sharable, os.fsdecode(names.directory(path)))

    def mailboxes(self) -> list[str]:
        """Those of the Maildir that is shared; it has no INBOX.  One that cannot be read has none."""
        return sorted(names.mailbox_path(os.fsencode(entry.name)) for entry in listed(self.sharable)
                      if names.is_folder_entry(os.fsencode(entry.name))) if self.sharable else []


class Linked(Store):
    """What the Maildir at ``sharable`` ("": it is named no more) shares with who has the Maildir ``own``: as
    Store, a method for each thing that is done with the name of a mailbox."""

    __slots__ = ("_own", "_promises", "sharable")

    layout: Copies

    def __init__(self, root: str, sharable: str, own: Store, **options: object) -> None:
        super().__init__(root, tree=Copies(root, sharable), **options)    # type: ignore[arg-type]
        self.sharable = sharable
        self._own = own
        self.counts, self.uidvalidities = own.counts, own.uidvalidities
        self._promises = Promises(own.root, self.uidvalidities, self.options.read_only)

    # -- what the user may

    def rights(self, name: str) -> frozenset[str]:
        return self.rights_at(self._own_path(name))

    def rights_at(self, path: str) -> frozenset[str]:
        try:
            source = self.layout.source(path)
            cur, new, tmp = (os.path.join(source, part) for part in PARTS)
            if os.access(cur, os.R_OK | os.X_OK) and os.access(new, os.R_OK | os.X_OK):
                return WRITER if os.access(cur, os.W_OK) and os.access(tmp, os.W_OK) else READER
        except NameInvalid:
            pass
        return OF_WHAT_WENT if self._is_copied(path) else frozenset()

    def _is_copied(self, path: str) -> bool:
        try:
            return is_directory(os.path.join(self.layout.directory(path), "cur"))
        except NameInvalid:
            return False

    def lists(self) -> Lists:
        raise Denied(f"{self.root}: there are no lists of rights, files have them")

    def quota(self) -> Quota | None:
        """Of who shares it, where the user may count."""
        size = os.path.join(self.sharable, names.MAILDIRSIZE)
        if not self.sharable or not os.access(size, os.R_OK | os.W_OK):
            return None
        from courierpy.maildir.quota import Quota  # few have one
        options = self.options
        return Quota(self.sharable, os.path.join(self.sharable, "tmp"), None, host=options.host,
                     sync=options.sync, read_only=options.read_only)

    # -- one mailbox

    def exists(self, name: str) -> bool:
        try:
            return "l" in self.rights_at(self._own_path(name))
        except NameInvalid:
            return False

    def _readable(self, name: str) -> str:
        """Its path.  Raises FolderMissing where the user may not read it, NameInvalid."""
        path = self._own_path(name)
        if "r" not in self.rights_at(path):
            raise FolderMissing(f"not shared, or not to be read: {name!r}")
        return path

    def open(self, name: str) -> Mailbox:
        try:
            path = self._readable(name)
            self._copy(path)
        except NameInvalid as error:
            raise FolderMissing(str(error)) from None
        return self.mailbox(name, self.layout.directory(path))

    def mailbox(self, name: str, path: str) -> Mailbox:
        from courierpy.maildir.mirrored import MirroredMailbox  # not before the greeting
        source = self.layout.source(self._own_path(name))
        return MirroredMailbox(name, path, self.options, self.uidvalidities, self.counts,
                               Mirror(path, source, self.options.host, self.quota()))

    def status(self, name: str) -> Status:
        """Of what there is no copy of, nobody has seen anything; and none is made, but the UIDVALIDITY that
        it will have is kept."""
        path = self._readable(name)
        if self._is_copied(path):
            return self.mailbox(name, self.layout.directory(path)).status()
        found = Mirror("", self.layout.source(path), self.options.host, None)
        return found.count(self._promises.make(self._copy_name(path)))

    def marked(self, name: str) -> bool:
        """Mail that is not in the copy was seen by nobody."""
        try:
            path = self._own_path(name)
            source = self.layout.source(path)
        except NameInvalid:
            return False
        copied = self._is_copied(path)
        unseen = [entry for part in (PARTS[1:2] if copied else PARTS[:2])
                  for entry in listed(os.path.join(source, part)) if not entry.name.startswith(".")]
        return bool(unseen) or copied and super().marked(name)

    def _copy_name(self, path: str) -> str:
        """Of a copy, there or not, among all that the user has."""
        return f"{os.path.basename(self.root)}.{os.path.basename(self.layout.directory(path))}"

    # -- a copy is a subscription

    @property
    def keeps_subscriptions(self) -> bool:
        return True

    def _copy(self, path: str) -> None:
        """There is one from now on.  Raises a store error."""
        where = self.layout.directory(path)
        if is_directory(os.path.join(where, "cur")):
            return
        scratch = os.path.join(self._own.layout.scratch, names.tmp_name(self.options.host, "folder"))
        promised = self._promises.find(self._copy_name(path))
        try:
            for directory in (os.path.dirname(self.root), self.root):
                if not os.path.isdir(directory):
                    _make(directory)
            os.mkdir(scratch, 0o700)
            for part in PARTS:
                os.mkdir(os.path.join(scratch, part), 0o700)
            os.symlink(self.layout.source(path), os.path.join(scratch, LINK))
            if promised:
                self._number(scratch, promised)
            os.rename(scratch, where)
        except StoreError:
            _discard(scratch)
            raise
        except OSError as error:
            _discard(scratch)
            if not is_directory(os.path.join(where, "cur")):       # or another session was first
                raise trouble(where, error) from None
        self._promises.end(self._copy_name(path))

    def _number(self, copy: str, uidvalidity: int) -> None:
        """A copy that has no messages yet gets that UIDVALIDITY.  Raises a store error."""
        head, *_ = uiddb.UidDb.of(uidvalidity, 1, ()).pieces()
        replace(os.path.join(copy, uiddb.NAME), head, os.path.join(copy, "tmp"), self.options.host,
                "imapuid_0", sync=self.options.sync)

    def subscribe(self, name: str, wanted: bool, more: Sequence[str] = ()) -> None:
        for one in (name, *more):
            path = self._own_path(one)
            if not wanted:
                self._remove(path)
            elif "r" in self.rights_at(path):
                self._copy(path)
            else:
                raise FolderMissing(f"not shared, or not to be read: {one!r}")

    def _remove(self, path: str) -> None:
        """There is no copy any more: what its mailbox was to others is theirs.  Raises a store error."""
        where = self.layout.directory(path)
        self._promises.end(self._copy_name(path))      # a copy that Courier made has not taken it away
        scratch = os.path.join(self._own.layout.scratch, names.tmp_name(self.options.host, "deleted"))
        index = place(where, self.options.index_at)
        try:
            os.rename(where, scratch)
        except FileNotFoundError:
            return
        except OSError as error:
            raise trouble(where, error) from None
        _discard(scratch)
        if index:
            remove_tree(index)
        try:
            os.rmdir(self.root)
        except OSError:
            return                     # there are others

    def delete(self, name: str) -> None:
        self._remove(self._own_path(name))

    def create(self, name: str, files: Mapping[str, bytes] | None = None) -> None:
        raise Denied(f"{name!r}: who shares a Maildir makes its mailboxes")

    def rename(self, old: str, new: str) -> None:
        raise Denied(f"{old!r}: who shares a Maildir names its mailboxes")


def _discard(directory: str) -> None:
    """Away with a copy, and nothing of what it is one of."""
    remove(os.path.join(directory, LINK))
    remove_tree(directory)


def _make(directory: str) -> None:
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        return                         # another session was first
