"""A change of flags: what STORE does.

A change is applied to what is there at that moment, so that what another session set is never
lost: for flags the name of the file, which the rename takes over whole; for keywords files, which are
read and written under the lock.
"""
from __future__ import annotations

import os
from array import array
from itertools import compress
from operator import gt, ne

from courierpy.maildir.changes import AT_ONCE
from courierpy.maildir.directory import are_same
from courierpy.maildir.errors import StoreError, refuse, unchangeable
from courierpy.maildir.files import Directory, exists, failures
from courierpy.maildir.formats.keyworddrafts import KeywordDrafts
from courierpy.maildir.messagefile import TRIES
from courierpy.maildir.names import SUFFIXES, base, fresh_name
from courierpy.model.flags import DELETED, states
from courierpy.system import log
from courierpy.system.regular import is_there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.maildir.changes import Changes
    from courierpy.maildir.contents import Contents
    from courierpy.maildir.finder import Finder
    from courierpy.maildir.keywords import KnownKeywords
    from courierpy.maildir.mailboxdirectory import MailboxDirectory
    from courierpy.maildir.quota import Quota
    from courierpy.model.flags import FlagChange

    States = dict[int, tuple[int, frozenset[bytes]]]       # by UID, flag bits and keywords


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
        if self._place.quota_by_flags is not None:
            self._admit(uids, change, self._place.quota_by_flags)
        if self._keywords.kept and change.of_keywords:
            with self._place.lock:
                return self._store_with_keywords(uids, change, refused)
        renamed = Renamed(self._place, self._contents, self._finder, self._changes)
        with Directory(self._place.cur, self._place.options.sync_all) as entries:
            try:
                renamed.rename(self._finder.rows(uids), change, refused)
                entries.sync()
            except StoreError:
                renamed.take_back()
                raise
        renamed.count()
        return self._states(renamed.rows)

    def _admit(self, uids: Sequence[int], change: FlagChange, quota: Quota) -> None:
        """What is \\Deleted does not count: messages that are about to be so no longer come, as it were.
        Raises QuotaExceeded."""
        after = change.bits_after()
        if not any(bits & ~after[bits] & DELETED for bits in range(32)):
            return
        held, cur = self._contents.held, self._place.inside
        rows = [row for row in self._finder.rows(uids) if held.flags[row] & ~after[held.flags[row]] & DELETED]
        quota.admit(*[quota.renamed(cur, held.file(row), held.file_with(row, after[held.flags[row]]))
                      for row in rows])

    def _store_with_keywords(self, uids: Sequence[int], change: FlagChange,
                             refused: list[StoreError] | None) -> States:
        rows = self._finder.rows(uids)
        database, words = self._contents.held.database, change.after()
        # 1. what needs room on the disk, where nobody sees it
        drafts = KeywordDrafts(self._keywords.files, database.names_of(rows),
                               lambda name, before: words[before])
        renamed = Renamed(self._place, self._contents, self._finder, self._changes)
        try:
            with Directory(self._place.cur, self._place.options.sync_all) as entries:
                # 2. what is seen
                renamed.rename(rows, change, refused)
                names = database.names_of(renamed.rows)
                drafts.commit(drafts.words if len(names) == len(drafts.words) else set(names))
                entries.sync()
        except StoreError:
            drafts.take_back()
            renamed.take_back()
            raise
        finally:
            drafts.abort()
        put = self._keywords.put
        for row, name in zip(renamed.rows, names, strict=True):
            put(database.uids[row], drafts.words[name])
        renamed.count()
        return self._states(renamed.rows)

    def _states(self, rows: Sequence[int]) -> States:
        held = self._contents.held
        uids = list(map(held.database.uids.__getitem__, rows))
        return dict(zip(uids, states(map(held.flags.__getitem__, rows), uids, self._keywords.by_uid),
                        strict=True))


_OTHERS = bytes(range(32, 256))    # behind FlagChange.bits_after(): a table for bytes.translate()


class Renamed:
    """Files of messages that are held, renamed for other flags.  ``rows``: of those that have them now."""

    __slots__ = ("_before", "_changes", "_contents", "_finder", "_place", "_renamed", "rows")

    def __init__(self, place: MailboxDirectory, contents: Contents, finder: Finder, changes: Changes) -> None:
        self._place = place
        self._contents = contents
        self._finder = finder
        self._changes = changes
        self.rows = array("I")
        self._renamed = array("I")     # rows of those that have another name now, each once
        self._before: list[bytes] = []         # their file names before

    def rename(self, rows: Sequence[int], change: FlagChange, refused: list[StoreError] | None) -> None:
        """``refused``: as for FlagWriter.store().  Raises a store error, behind which take_back() is due."""
        held, changes = self._contents.held, self._changes
        bits = bytes(map(held.flags.__getitem__, rows))
        same = bits.translate(change.bits_after() + _OTHERS) == bits
        # the event of one file alone will say whether there were others
        alone = changes.at_rest(held.twins, ask=same or len(rows) > 1)
        if same and alone:             # they are there, as all was heard until now
            self.rows.extend(rows)
            return
        for start in range(0, len(rows), AT_ONCE):
            self._place.wait_while_still()
            alone = self._rename_some(rows[start:start + AT_ONCE], change, refused, alone)

    def _rename_some(self, rows: Sequence[int], change: FlagChange, refused: list[StoreError] | None,
                     alone: bool) -> bool:
        """``alone``: as for Changes.did_all()."""
        gone: list[bytes] = []
        came: list[bytes] = []
        try:
            done, left = self._rename_usual(rows, change, gone, came) if len(rows) > 1 else ([], rows)
            for row in left:
                here = self._rename_one(row, change, refused, gone, came)
                if here is None:
                    alone, here = False, self._rename_again(row, change, refused)
                if here:
                    done.append(row)
            self.rows.extend(sorted(done) if left else done)
        finally:
            alone = self._changes.did_all(gone, came, alone)
        return alone

    def _rename_usual(self, rows: Sequence[int], change: FlagChange, gone: list[bytes],
                      came: list[bytes]) -> tuple[list[int], list[int]]:
        """All files at once, where nothing is odd about them.  (Rows of those that have other flags now, rows
        of those to be looked at one by one.)  ``gone``, ``came``: get the names of files, before and now."""
        held, cur = self._contents.held, self._place.inside
        bits = bytes(map(held.flags.__getitem__, rows))
        new = bits.translate(change.bits_after() + _OTHERS)
        usual = list(map(ne, bits, new))
        if held.odd:
            strange = map(held.odd.__contains__, map(held.database.uids.__getitem__, rows))
            usual = list(map(gt, usual, strange))
        if held.twins:
            usual = list(map(gt, usual, map(held.twins.__contains__, held.database.names_of(rows))))
        there = list(compress(rows, usual))
        names, after = held.database.names_of(there), bytes(compress(new, usual))
        old = list(map(bytes.__add__, names, map(SUFFIXES.__getitem__, compress(bits, usual))))
        now = list(map(bytes.__add__, names, map(SUFFIXES.__getitem__, after)))
        try:
            failed = failures(os.rename, [cur + file for file in old], [cur + file for file in now])
        except BaseException:
            self._changes.doubt()      # nobody counted how many there were until then
            raise
        left = [row for row, one in zip(rows, usual, strict=True) if not one]
        for at in reversed(failed):
            left.append(there.pop(at))
            del old[at], now[at]
            after = after[:at] + after[at + 1:]
        gone += old
        came += now
        self._renamed.extend(there)
        self._before += old
        held.set_bits(there, after)
        return there, left

    def _rename_one(self, row: int, change: FlagChange, refused: list[StoreError] | None, gone: list[bytes],
                    came: list[bytes]) -> bool | None:
        """Has this message the flags now?  None: its file has another name.  ``gone``, ``came``: as of
        _rename_usual()."""
        held, cur = self._contents.held, self._place.inside
        had = held.flags[row]
        bits = change.bits_after()[had]
        if held.odd and held.database.uids[row] in held.odd:
            old, now = held.file(row), held.file_with(row, bits)
        else:
            name = held.database.name(row)
            old, now = name + SUFFIXES[had], name + SUFFIXES[bits]
        try:
            if old != now:
                self._move(old, now)
                gone.append(old)
                came.append(now)
                self._renamed.append(row)
                self._before.append(old)
                held.set_flags(row, bits, now)
            elif not os.access(cur + old, os.F_OK) and not exists(cur + old):
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            refuse(unchangeable(cur + old, error), refused)
            return False
        return True

    def _move(self, old: bytes, now: bytes) -> None:
        """The message of this file name has another one.  Raises OSError.

        Where another file has that, a message too with the same base name, it gets a fresh name: it was not
        shown, and comes as a new one.  A copy of this one goes."""
        cur, twins = self._place.inside, self._contents.held.twins
        if twins and base(old) in twins and is_there(cur + now):
            other = os.lstat(cur + now)
            if os.path.samestat(os.lstat(cur + old), other):       # a rename would do nothing
                os.unlink(cur + old)
                return
            if not are_same(cur + old, cur + now):
                os.rename(cur + now, cur + fresh_name(self._place.options.host, now, other))
        os.rename(cur + old, cur + now)

    def _rename_again(self, row: int, change: FlagChange, refused: list[StoreError] | None) -> bool:
        """One whose file has another name, as somebody else changes it.  False if it is gone, or refused."""
        held, cur = self._contents.held, self._place.inside
        for _ in range(TRIES):
            if not self._finder.find_again(row):
                return False
            old = held.file(row)
            bits = change.bits(held.flags[row])
            new = held.file_with(row, bits)
            if new == old:
                return True
            try:
                self._move(old, new)
            except FileNotFoundError:
                continue
            except OSError as error:
                refuse(unchangeable(cur + old, error), refused)
                return False
            self._renamed.append(row)
            self._before.append(old)
            held.set_flags(row, bits, new)
            self._changes.did(new, True)
            return True
        return False

    def count(self) -> None:
        """All of it is done: what is \\Deleted now counts no more."""
        quota = self._place.quota_by_flags
        if quota is not None and self._before:
            held, cur = self._contents.held, self._place.inside
            quota.changed(*[quota.renamed(cur, before, held.file(row))
                            for row, before in zip(self._renamed, self._before, strict=True)])

    def take_back(self) -> None:
        """A command that is refused has changed nothing, as far as that can be."""
        held, cur = self._contents.held, self._place.inside
        for row, before in zip(reversed(self._renamed), reversed(self._before), strict=True):
            try:
                os.rename(cur + held.file(row), cur + before)
                held.set_file(row, before)
                self._changes.did(before, True)
            except OSError as error:
                log.err(f"{self._place.cur}: a change cannot be taken back: {error}")
