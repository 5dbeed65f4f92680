"""A change of flags: what STORE does.

A change is applied to what is there at that moment, so that what another session set is never
lost: for flags the name of the file, which the rename takes over whole; for keywords a file, which is
read and written under the lock.
"""
from __future__ import annotations

import os

from courierpy.maildir.errors import MessageDenied, StoreError, Vanished, unchangeable
from courierpy.maildir.files import Directory, exists
from courierpy.maildir.messagefile import TRIES
from courierpy.model.flags import NO_KEYWORDS, FlagChange
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from courierpy.maildir.changes import Changes
    from courierpy.maildir.contents import Contents
    from courierpy.maildir.finder import Finder
    from courierpy.maildir.formats.keywordlist import Update
    from courierpy.maildir.keywords import KnownKeywords
    from courierpy.maildir.mailboxdirectory import MailboxDirectory

    States = dict[int, tuple[int, frozenset[bytes]]]       # by UID, flag bits and keywords
    # what was done to a message: row, file name before and after, keywords before if they changed
    Undo = tuple[int, bytes, bytes, frozenset[bytes] | None]


class FlagWriter:
    """Changes the flags and keywords of messages that are held."""

    __slots__ = ("_changes", "_contents", "_finder", "_keywords", "_place")

    def __init__(self, place: MailboxDirectory, contents: Contents, finder: Finder, changes: Changes,
                 keywords: KnownKeywords) -> None:
        self._place = place
        self._contents = contents
        self._finder = finder
        self._changes = changes
        self._keywords = keywords

    def store(self, uids: Sequence[int], change: FlagChange, refused: list[StoreError] | None) -> States:
        """What each of the messages has now.  Those that are gone are left out, and so are those that
        alone cannot be changed: why they cannot is added to ``refused``; None: it is raised."""
        if self._keywords.kept and (change.keywords or change.mode == "="):
            with self._place.lock:
                return self._store(uids, change, self._keywords.files.current(), refused)
        return self._store(uids, change, None, refused)

    def _store(self, uids: Sequence[int], change: FlagChange,
               current: Callable[[bytes], frozenset[bytes]] | None,
               refused: list[StoreError] | None) -> States:
        """``current``: gives the keywords of a base name as they are now."""
        done: States = {}
        undo: list[Undo] = []
        # 1. what needs room on the disk, where nobody sees it
        drafts = self._draft_keywords(uids, change, current) if current is not None else {}
        try:
            with Directory(self._place.cur, self._place.options.sync_all) as entries:
                # 2. what is seen
                for uid in uids:
                    try:
                        self._store_one(uid, change, drafts.get(uid), done, undo)
                    except MessageDenied as why:
                        if refused is None:
                            raise
                        refused.append(why)
                entries.sync()
        except StoreError:
            self._take_back(undo)
            raise
        finally:
            for draft in drafts.values():
                draft.abort()
        return done

    def _draft_keywords(self, uids: Sequence[int], change: FlagChange,
                        current: Callable[[bytes], frozenset[bytes]]) -> dict[int, Update]:
        """By UID, for the messages whose keywords change or are others than we knew."""
        drafts: dict[int, Update] = {}
        try:
            for uid in uids:
                try:
                    row = self._finder.row(uid)
                except Vanished:
                    continue
                name = self._contents.held.database.name(row)
                old = current(name)
                drafts[uid] = self._keywords.files.draft(name, old, change.words(old))
        except StoreError:
            for draft in drafts.values():
                draft.abort()
            raise
        return drafts

    def _store_one(self, uid: int, change: FlagChange, keywords: Update | None, done: States,
                   undo: list[Undo]) -> None:
        """Change one message, if it is there still."""
        try:
            row = self._finder.row(uid)
            bits, before, after = self._rename(row, change)
        except Vanished:
            return
        undo.append((row, before, after, None))
        words = self._keywords.by_uid.get(uid, NO_KEYWORDS)
        if keywords is not None:
            words = keywords.words
            if keywords.commit():
                undo[-1] = row, before, after, keywords.before
            self._keywords.put(uid, words)
        done[uid] = bits, words

    def _rename(self, row: int, change: FlagChange) -> tuple[int, bytes, bytes]:
        """(flag bits now, file name before, file name after).  Raises Vanished."""
        held, cur = self._contents.held, self._place.inside
        for _ in range(TRIES):
            old = held.file(row)
            bits = change.bits(held.flags[row])
            new = held.file_with(row, bits)
            if new == old:
                if exists(cur + old):
                    return bits, old, old
            else:
                try:
                    os.rename(cur + old, cur + new)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    raise unchangeable(cur + old, error) from None
                else:
                    held.set_flags(row, bits, new)
                    self._changes.did(new, True)
                    return bits, old, new
            if not self._finder.find_again(row):
                break
        raise Vanished(self._place.path)

    def _take_back(self, undo: list[Undo]) -> None:
        """A command that is refused has changed nothing, as far as that can be."""
        held, cur = self._contents.held, self._place.inside
        for row, before, after, words in reversed(undo):
            try:
                if before != after:
                    os.rename(cur + after, cur + before)
                    held.set_file(row, before)
                    self._changes.did(before, True)
                if words is not None:
                    self._keywords.files.write(held.database.name(row), words)
                    self._keywords.put(held.database.uids[row], words)
            except (OSError, StoreError) as error:
                log.err(f"{self._place.cur}: a change cannot be taken back: {error}")
