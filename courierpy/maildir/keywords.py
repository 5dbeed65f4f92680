"""What is known of the keywords in an open mailbox, and how little has to be read to know it still.

Without a watch the directory's mtime says whether anything changed, and then all is read
again.  With one, events name the files: an update is read alone, and ``:list`` when it is another one: what
it has otherwise than before is a change, unless there is an update.
"""
from __future__ import annotations

import time

from courierpy.maildir import directory
from courierpy.maildir.errors import StoreError
from courierpy.maildir.formats.keywordlist import ANY, LIST
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from courierpy.maildir.contents import Held
    from courierpy.maildir.formats.keywordlist import Keywords

AGAIN = -1                         # a stamp that no directory has
PILE = 32                          # updates from which on others have to read a new list
STRANGERS_MOST = 10_000            # base names, before all is read again


class KnownKeywords:
    """The keywords of the messages of an open mailbox.

    ``by_uid``: keywords of the messages that have some.  ``unread``: why they may be others.
    ``kept``: are there keywords at all?  ``others``: function that says whether others have the mailbox open
    too."""

    __slots__ = ("_changed", "_complete", "_others", "_stamp", "_strangers", "by_uid", "files", "kept",
                 "unread")

    def __init__(self, files: Keywords, kept: bool, others: Callable[[], bool]) -> None:
        self.files = files
        self.kept = kept
        self._others = others
        self.by_uid: dict[int, frozenset[bytes]] = {}
        self.unread: StoreError | None = None
        self._stamp = 0                # of the directory when it was read
        self._complete = False         # all is known, but for what the watch hears
        self._strangers: set[bytes] = set()      # base names that have keywords and no number yet
        self._changed: set[bytes] = set()        # of messages whose updates have to be read

    @property
    def doubtful(self) -> bool:
        """Was there something at the last look that could not be read?"""
        return self.unread is not None or self.files.missed

    def take(self, by_uid: dict[int, frozenset[bytes]], stamp: int) -> None:
        """As the index knows them."""
        self.by_uid, self._stamp, self._complete = by_uid, stamp, False

    def in_use(self) -> set[bytes]:
        """Keywords that messages have, as far as is known."""
        return {word for words in set(self.by_uid.values()) for word in words}

    def put(self, uid: int, words: frozenset[bytes]) -> None:
        if words:
            self.by_uid[uid] = words
        else:
            self.by_uid.pop(uid, None)

    def forget(self, uids: Iterable[int]) -> None:
        """These messages are gone."""
        for uid in uids:
            self.by_uid.pop(uid, None)

    def again(self) -> None:
        """All has to be read at the next look."""
        self._stamp, self._complete = AGAIN, False

    def lost(self) -> None:
        """Nothing is known any more."""
        self.by_uid = {}
        self.again()

    def merging_pays(self, count: int) -> bool:
        """Are so many updates, or lines of what is gone, worth a new ``:list``?  Others who have the mailbox
        open would read it, so that a few can wait."""
        return count >= PILE or count > 0 and not self._others()

    def comes(self, name: bytes) -> None:
        """The message with this base name has an update by us, and no number yet."""
        if self._complete:
            self._strangers.add(name)
        else:
            self.again()

    def came(self, names: Collection[bytes]) -> None:
        """Messages with these base names have numbers now; theirs may have been there before them."""
        if self._complete:
            here = self._strangers.intersection(names)
            self._strangers -= here
            self._changed |= here
        else:
            self.again()

    def refresh(self, held: Callable[[], Held], changed: set[bytes], hears: bool, locked: bool) -> bool:
        """Read what may have changed.  False: that needs the folder's lock.

        ``held``: gives the messages, with their names.  ``changed``: what the watch heard of.
        ``hears``: there is a watch, since before this look began.
        """
        self.unread = None
        if not self.kept:
            return True
        try:
            if self._complete and hears and self._few(held, changed):
                return True
            return self._all(held, changed, hears, locked)
        except StoreError as why:
            log.err(f"{why}: keywords stay as they were known")
            self.again()
            self.unread = why
            return True

    def _few(self, held: Callable[[], Held], changed: set[bytes]) -> bool:
        """Read what was heard of.  False when that is not enough."""
        if ANY in changed:
            self._stamp = AGAIN
            return False
        # those with a dot are drafts, and updates that are in ``:list``
        names = self._changed.union(name for name in changed if name != LIST and not name.startswith(b"."))
        other = LIST in changed and not self.files.is_seen()
        if not names and not other:
            return True
        here = held()
        rows = here.rows_of(names)
        self._strangers.update(names.difference(rows))     # what they have then is looked for when they come
        merged: list[bytes] = []
        for name, row in rows.items():
            words = self.files.update(name)
            if words is None:
                merged.append(name)
            else:
                self.put(here.database.uids[row], words)
        if self.files.missed:
            self._stamp = AGAIN
            return False
        # into the list that is known already, unless it was of no message then; or into another one
        if merged and not other:
            other = not self._changed.isdisjoint(merged) or not self.files.is_seen()
        if other and not self._listed_anew(here, merged) or len(self._strangers) > STRANGERS_MOST:
            self._stamp = AGAIN
            return False
        self._changed.clear()
        return True

    def _listed_anew(self, here: Held, merged: Collection[bytes]) -> bool:
        """Take what differs in ``:list``.  ``merged``: as for Keywords.news().  False when all has to be
        read."""
        uids = here.database.uids
        mine = {row: words for uid, words in sorted(self.by_uid.items()) if (row := here.row(uid)) >= 0}
        known = dict(zip(here.database.names_of(list(mine)), mine.values(), strict=True))
        news = self.files.news(known, merged, _rows_of(here, self._strangers))
        for row, words in (news or {}).items():
            self.put(uids[row], words)
        return news is not None

    def _all(self, held: Callable[[], Held], changed: set[bytes], hears: bool, locked: bool) -> bool:
        began = time.time_ns()
        stamp = self.files.stamp()
        if stamp == self._stamp and not changed:
            return True
        by_uid: dict[int, frozenset[bytes]] = {}
        strangers: set[bytes] = set()
        if stamp:
            here = held()
            found = self.files.read(_rows_of(here, strangers), locked, self.merging_pays)
            if found is None:
                self.again()
                return False
            uids = here.database.uids
            by_uid = {uids[row]: found[row] for row in sorted(found)}
        after = self.files.stamp()
        self.by_uid, self._strangers, self._complete = by_uid, strangers, hears
        self._changed.clear()
        if self.files.missed:
            self.again()
            return True
        known = after == stamp or locked           # or it is of what came since
        self._stamp = after if known and (not after or directory.settled(after, began)) else AGAIN
        return True


def _rows_of(here: Held, strangers: set[bytes]) -> Callable[[Collection[bytes]], dict[bytes, int]]:
    """Held.rows_of(), which adds the names that have no row to ``strangers``."""
    def rows_of(names: Collection[bytes]) -> dict[bytes, int]:
        rows = here.rows_of(names)
        strangers.update(names)
        strangers.difference_update(rows)
        return rows
    return rows_of
