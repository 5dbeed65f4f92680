"""Keywords of several messages that are about to change, written and seen by nobody until all are.

A few are updates, a file each.  More are one new ``:list``, which costs what it holds and not a file for
each, to us and to every session that has to read all of it then; but not those of messages that have a file
already, as that counts for more than the list (Courier reads ``<base>``, and the newest ``.<N>.<base>``):
these get an update.
"""
from __future__ import annotations

from courierpy.maildir.errors import StoreError
from courierpy.model.flags import NO_KEYWORDS
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from courierpy.maildir.formats.keywordlist import Keywords, NewList, Update, Which

TOGETHER = 8                       # changes from which on they are a new list,
TOGETHER_SYNCED = 2                # and where each file would be waited for, until it is on the disk
SHARE = 64                         # but where that has more than so many lines for each


class KeywordDrafts:
    """To be made, committed and taken back while the folder's lock is held.  ``before``, ``words``: by base
    name, the keywords that each message has on disk, and those that it is to have."""

    __slots__ = ("_files", "_list", "_listed", "_on_list", "_read", "_together", "_updates", "before",
                 "words")

    def __init__(self, files: Keywords, names: Sequence[bytes],
                 after: Callable[[bytes, frozenset[bytes]], frozenset[bytes]]) -> None:
        """``after``: function (base name, keywords of the message) giving those that it is to have.  Raises
        a store error, and leaves nothing behind then."""
        self._files = files
        self._updates: dict[bytes, Update] = {}
        self._list: NewList | None = None
        self._on_list: list[bytes] = []        # whose keywords the new list has
        self._listed: dict[bytes, frozenset[bytes]] | None = None      # by the list that was there
        self._read: Which | None = None
        apart: Collection[bytes] = names
        self._together = TOGETHER_SYNCED if files.sync else TOGETHER
        if len(names) < self._together:
            self.before = dict(zip(names, map(files.current(), names), strict=True))
        else:
            apart = files.apart()
            self._listed, self._read = files.listed()
            self.before = {name: self._listed.get(name, NO_KEYWORDS) for name in names}
            for name in apart & self.before.keys():
                words = files.updated(name)
                if words is not None:
                    self.before[name] = words
        self.words = {name: after(name, words) for name, words in self.before.items()}
        try:
            self._draft(apart)
        except BaseException:
            self.abort()
            raise

    def _draft(self, apart: Collection[bytes]) -> None:
        changed = [name for name, words in self.words.items() if words != self.before[name]]
        listed = [name for name in changed if name not in apart]
        if len(listed) < max(self._together, len(self._listed or ()) // SHARE):
            listed = []
        there = set(listed)
        for name in changed:
            if name not in there:
                self._updates[name] = self._files.draft(name, self.before[name], self.words[name])
        if listed:
            self._files.make()
            self._draft_list(listed)

    def _draft_list(self, names: list[bytes]) -> None:
        self._list = self._files.draft_list({
            **(self._listed or {}), **{name: self.words[name] for name in names}})
        self._on_list = names

    def commit(self, names: Collection[bytes]) -> None:
        """Let the keywords of these messages be seen; those of others stay as they are.  Raises a store
        error, and take_back() undoes what was done."""
        for name, update in self._updates.items():
            if name in names:
                update.commit()
        if self._list is None:
            return
        left = [name for name in self._on_list if name in names]
        if len(left) < len(self._on_list):
            self._list.abort()
            self._draft_list(left)
        new, self._list = self._list, None
        files = self._files
        try:
            new.commit()
        except StoreError:
            self._on_list = []
            raise
        # who knew all of the old list knows all of the new one
        files.seen = new.which if self._read is not None and files.seen == self._read else None
        files.settle()

    def take_back(self) -> None:
        """Make it as it was, as far as that can be."""
        for update in self._updates.values():
            if not update.seen:
                continue
            try:
                self._files.write(update.name, update.before)
            except StoreError as error:
                _complain(error)
        if self._list is None and self._on_list:
            files = self._files
            knew = files.seen is not None
            try:
                files.write_list(self._listed or {})
            except StoreError as error:
                _complain(error)
            if not knew:               # as commit() says
                files.seen = None

    def abort(self) -> None:
        """What was not committed goes."""
        for update in self._updates.values():
            update.abort()
        if self._list is not None:
            self._list.abort()
            self._list, self._on_list = None, []


def _complain(error: StoreError) -> None:
    log.err(f"{error}: a change of keywords cannot be taken back")
