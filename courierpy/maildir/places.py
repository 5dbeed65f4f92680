"""Directories of mailboxes appear, go, and get other names.

In a Maildir++ (Siblings) a directory comes from tmp/ and goes there by one rename, so
that nobody sees half of it.  Where one mailbox may lie in another (Levels) its directory
may be there before it and stay behind it: its ``cur`` is what makes it a mailbox, comes
last and goes first.  What a failure leaves half done is taken back.
"""
from __future__ import annotations

import errno
import os
from functools import partial

from courierpy.maildir import names
from courierpy.maildir.errors import DiskTrouble, FolderExists, FolderMissing, StoreError, trouble
from courierpy.maildir.expunged import has_room
from courierpy.maildir.files import (
    Directory,
    exists,
    is_directory,
    listed,
    open_as,
    remove,
    remove_tree,
    replace,
    sync_directory,
)
from courierpy.maildir.formats import uiddb
from courierpy.maildir.index.columns import COLUMNS, LOG, RECENT
from courierpy.maildir.layout import DELETED, PARTS
from courierpy.maildir.locks import FolderLock
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from courierpy.maildir.layout import Layout
    from courierpy.maildir.options import StoreOptions
    from courierpy.maildir.uidvalidity import Uidvalidities


class Steps:
    """Names that change: all of them stay so, or none.  ``sync``: settle() brings them to the disk."""

    def __init__(self, sync: bool) -> None:
        self.sync = sync
        self._undo: list[Callable[[], None]] = []
        self._directories: list[Directory] = []

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *error: object) -> None:
        for directory in self._directories:
            directory.__exit__()

    def enter(self, directory: str) -> None:
        """Something in this directory is about to change; settle() brings it to the disk."""
        if all(known.path != directory for known in self._directories):
            self._directories.append(Directory(directory, self.sync))

    def make(self, path: str) -> None:
        """A directory, and those above it that are missing."""
        if is_directory(path):
            return
        above = os.path.dirname(path)
        self.make(above)
        self.enter(above)
        try:
            os.mkdir(path, open_as(above))
        except OSError as error:
            raise trouble(path, error) from None
        self._undo.append(partial(_remove_directory, path))

    def wrote(self, path: str) -> None:
        """This file was made, and goes if the steps are undone."""
        self._undo.append(partial(remove, path))

    def rename(self, here: str, there: str) -> None:
        try:
            os.rename(here, there)
        except OSError as error:
            raise trouble(here, error) from None
        self._undo.append(partial(_name_again, there, here))

    def settle(self) -> None:
        for directory in self._directories:
            directory.sync()

    def undo(self) -> None:
        for step in reversed(self._undo):
            step()


def _name_again(now: str, before: str) -> None:
    try:
        os.rename(now, before)
    except OSError as error:
        log.err(f"{now}: cannot be named {before} again: {error.strerror}")


def _remove_directory(path: str) -> None:
    """Unless there is something in it."""
    try:
        os.rmdir(path)
    except OSError:
        return


class Siblings:
    """The directories of a Maildir++."""

    __slots__ = ("_options", "_uidvalidities", "layout")

    def __init__(self, layout: Layout, options: StoreOptions, uidvalidities: Uidvalidities) -> None:
        self.layout = layout
        self._options = options
        self._uidvalidities = uidvalidities

    def steps(self) -> Steps:
        self._options.end()            # or the file that is kept for locks goes along, and nobody finds it
        return Steps(self._options.sync)

    def _scratch(self, unique: str) -> str:
        return os.path.join(self.layout.scratch, names.tmp_name(self._options.host, unique))

    def repair(self, path: str) -> None:
        """A Maildir reader may make what is missing of cur, new and tmp; a directory
        that has none of the three is no folder, and raises FolderMissing."""
        parts = [f"{path}/{part}" for part in PARTS]
        # mostly all three are there; a disk that does not say is in trouble
        missing = [part for part in parts if not os.path.isdir(part) and not is_directory(part)]
        if len(missing) == len(parts):
            raise FolderMissing(path)
        for part in missing:
            try:
                os.mkdir(part, open_as(path))
            except FileExistsError:
                continue               # another session was first
            except OSError as error:
                raise trouble(part, error) from None

    def create(self, path: str, files: Mapping[str, bytes]) -> None:
        """A mailbox at a path where there is none, with these files by name beside its own.  Raises a store
        error, and then there is nothing of it."""
        scratch = self._scratch("folder")
        with self.steps() as steps:
            steps.enter(self.layout.root)
            try:
                self._make(scratch, files)
                steps.rename(scratch, path)
                steps.settle()
            except StoreError as error:
                steps.undo()
                self._unmake(scratch, files)
                if isinstance(error, DiskTrouble) and error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                    raise FolderExists(path) from None
                raise

    def _make(self, scratch: str, files: Mapping[str, bytes]) -> None:
        """A whole folder, where nobody sees it."""
        path, mode = scratch, open_as(self.layout.root)
        try:
            os.mkdir(path, mode)
            for part in PARTS:
                path = os.path.join(scratch, part)
                os.mkdir(path, mode)
            path = os.path.join(scratch, "maildirfolder")
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o660))
        except OSError as error:
            raise trouble(path, error) from None
        self._furnish(scratch, files)
        self._number(scratch)

    def _furnish(self, path: str, files: Mapping[str, bytes]) -> None:
        """These files, before the mailbox is one."""
        for name, data in files.items():
            replace(os.path.join(path, name), data, os.path.join(path, "tmp"), self._options.host, "file",
                    sync=self._options.sync)

    def _number(self, path: str) -> None:
        """An empty uiddb with a UIDVALIDITY of its own."""
        value = self._uidvalidities.next()
        replace(os.path.join(path, uiddb.NAME), b"".join(uiddb.UidDb(value, 1).pieces()),
                os.path.join(path, "tmp"), self._options.host, "imapuid_0", sync=self._options.sync)
        if self._options.sync:
            sync_directory(path)

    def _unmake(self, path: str, files: Iterable[str] = ()) -> None:
        """By its known parts: to list it may need the descriptor that cannot be had."""
        index, keywords = self.layout.index, self.layout.keywords
        derived = [os.path.join(index, name) for name in (COLUMNS, LOG, RECENT)]
        for name in ("maildirfolder", uiddb.NAME, *derived, *files):
            remove(os.path.join(path, name))
        for part in (keywords, index, *PARTS, "."):
            try:
                os.rmdir(os.path.join(path, part) if part != "." else path)
            except OSError:
                continue               # it is not there; a rest is garbage in tmp/

    def discard(self, path: str, files: Iterable[str] = ()) -> None:
        """A folder that we made with these files, unless there are messages in it."""
        scratch = self._scratch("deleted")
        try:
            os.rmdir(os.path.join(path, "cur"))
            os.rename(path, scratch)
        except OSError:
            return
        self._unmake(scratch, files)
        remove_tree(scratch)

    def delete(self, path: str) -> None:
        """The mailbox at this path; those below it stay.  Where what is expunged is kept, and there is room,
        it is put aside with all that it holds, as Cyrus's delayed delete does."""
        kept = self._aside(path)
        scratch = kept or self._scratch("deleted")
        with self.steps() as steps:
            steps.enter(self.layout.root)
            steps.rename(path, scratch)
            self._settle(steps)
        if not kept:
            remove_tree(scratch)

    def _aside(self, path: str) -> str:
        """Where a mailbox is kept when it is deleted, by its name in a directory of its own; "" where it is
        not, and that of one without messages is not."""
        if not self._options.keeps_expunged or os.path.islink(path) \
                or not has_room(os.fsencode(os.path.join(path, "tmp"))):
            return ""
        if not any(listed(os.path.join(path, part)) for part in ("cur", "new", self.layout.graveyard)):
            return ""
        above = os.path.join(self.layout.root, DELETED, names.tmp_name(self._options.host))
        try:
            os.makedirs(above, open_as(self.layout.root))
        except OSError:
            return ""                  # as on a full disk
        return os.path.join(above, os.path.basename(path))

    def rename(self, old: str, new: str) -> None:
        """A mailbox, or a level, and all below it.  Raises FolderMissing, FolderExists."""
        tree = self.layout.below(old)
        if not tree:
            raise FolderMissing(old)
        pairs = [(self.layout.directory(name), self.layout.directory(new + name[len(old):])) for name in tree]
        for _, there in pairs:
            if is_directory(there):
                raise FolderExists(there)
        with self.steps() as steps:
            steps.enter(self.layout.root)
            try:
                for here, there in pairs:
                    steps.rename(here, there)
            except StoreError:
                steps.undo()
                raise
            self._settle(steps)

    @staticmethod
    def _settle(steps: Steps) -> None:
        try:
            steps.settle()
        except StoreError:
            steps.undo()
            raise


class Levels(Siblings):
    """Directories in directories.  A level that holds nothing any more goes."""

    def repair(self, path: str) -> None:
        """Without a cur it is no mailbox; but an INBOX there must be (RFC 9051 5.1), and it is made."""
        if not is_directory(os.path.join(path, "cur")):
            if path != self.layout.inbox:
                raise FolderMissing(path)
            self.create(path, {})
        super().repair(path)

    def create(self, path: str, files: Mapping[str, bytes]) -> None:
        with self.steps() as steps:
            try:
                for part in ("new", "tmp"):
                    steps.make(os.path.join(path, part))
                steps.enter(path)
                with FolderLock(path, self._options.host, self._options.locks):
                    if is_directory(os.path.join(path, "cur")):
                        raise FolderExists(path)       # another session was first
                    for name in (uiddb.NAME, *files):
                        steps.wrote(os.path.join(path, name))
                    self._furnish(path, files)
                    self._number(path)
                    steps.make(os.path.join(path, "cur"))
                steps.settle()
            except StoreError:
                steps.undo()
                raise

    def discard(self, path: str, files: Iterable[str] = ()) -> None:
        try:
            os.rmdir(os.path.join(path, "cur"))
        except OSError:
            return
        self._unmake(path, files)
        self._prune(os.path.dirname(path))

    def delete(self, path: str) -> None:
        gone = os.path.join(path, "tmp", names.tmp_name(self._options.host, "deleted"))
        with self.steps() as steps:
            steps.enter(path)
            steps.rename(os.path.join(path, "cur"), gone)
            self._settle(steps)
        # it is no mailbox any more.  Files in its directory were its own; other directories are levels
        for part in ("tmp", "new"):
            remove_tree(os.path.join(path, part))
        try:
            left = [os.path.join(path, entry) for entry in os.listdir(path)]
        except OSError:
            return                     # a rest, and no mailbox
        levels = [entry for entry in left if os.path.isdir(entry)]
        for entry in left:
            if entry not in levels:
                remove(entry)
        if os.path.islink(path) and not levels:
            remove(path)
        self._prune(path)

    def _prune(self, path: str) -> None:
        """Remove this directory and those above it that are empty."""
        while path not in (self.layout.root, self.layout.inbox):
            try:
                os.rmdir(path)
            except FileNotFoundError:
                pass                   # it was a link
            except OSError:
                return
            path = os.path.dirname(path)

    def rename(self, old: str, new: str) -> None:
        here, there = self.layout.directory(old), self.layout.directory(new)
        if os.path.dirname(self.layout.directory(old + self.layout.separator + "x")) != here:
            Siblings.rename(self, old, new)        # what is below it does not lie in it
            return
        tree = self.layout.below(old)
        if not tree:
            raise FolderMissing(old)
        for name in tree:
            target = self.layout.directory(new + name[len(old):])
            if is_directory(os.path.join(target, "cur")):
                raise FolderExists(target)
        aside: list[str] = []
        emptied: list[str] = []
        with self.steps() as steps:
            try:
                steps.make(os.path.dirname(there))
                if exists(there):
                    self._merge(steps, here, there, aside, emptied)
                else:
                    steps.enter(os.path.dirname(here))
                    steps.enter(os.path.dirname(there))
                    steps.rename(here, there)
                steps.settle()
            except StoreError:
                steps.undo()
                raise
        for path in aside:
            remove_tree(path)
            remove(path)
        for path in emptied:
            _remove_directory(path)
        self._prune(os.path.dirname(here))

    def _merge(self, steps: Steps, here: str, there: str, aside: list[str], emptied: list[str]) -> None:
        """Move all that is in one directory to another; what it replaces there is put ``aside``."""
        steps.enter(here)
        steps.enter(there)
        try:
            entries = sorted(os.listdir(here))
        except OSError as error:
            raise trouble(here, error) from None
        for entry in entries:
            source, target = os.path.join(here, entry), os.path.join(there, entry)
            if exists(target):
                if entry not in PARTS and is_directory(source) and is_directory(target):
                    self._merge(steps, source, target, aside, emptied)
                    continue
                aside.append(os.path.join(there, f".{names.tmp_name(self._options.host, 'replaced')}"))
                steps.rename(target, aside[-1])
            steps.rename(source, target)
        emptied.append(here)
