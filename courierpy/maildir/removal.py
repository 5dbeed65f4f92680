"""Messages go: EXPUNGE, and what a MOVE leaves behind."""
from __future__ import annotations

import os
from functools import partial
from itertools import compress, repeat

from courierpy.maildir.changes import AT_ONCE
from courierpy.maildir.errors import MessageDenied, StoreError, refuse, unchangeable
from courierpy.maildir.expunged import has_room
from courierpy.maildir.files import exists, failures
from courierpy.maildir.messagefile import TRIES
from courierpy.maildir.names import SUFFIXES
from courierpy.model.flags import DELETED, NO_KEYWORDS
from courierpy.model.uidset import places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from courierpy.maildir.changes import Changes
    from courierpy.maildir.contents import Contents
    from courierpy.maildir.disposal import Disposal
    from courierpy.maildir.finder import Finder
    from courierpy.maildir.formats.maildirsize import Amount
    from courierpy.maildir.keywords import KnownKeywords
    from courierpy.maildir.mailboxdirectory import MailboxDirectory
    from courierpy.maildir.numbers import Numbers

    Out = Callable[[bytes, bytes, int], None]      # of a path, the file that this leads to, its UID


class Removal:
    """Of messages of one open mailbox."""

    __slots__ = ("_changes", "_contents", "_finder", "_keywords", "_numbers", "_place")

    def __init__(self, place: MailboxDirectory, contents: Contents, numbers: Numbers, finder: Finder,
                 changes: Changes, keywords: KnownKeywords) -> None:
        self._keywords = keywords
        self._place = place
        self._contents = contents
        self._numbers = numbers
        self._finder = finder
        self._changes = changes

    def expunge(self, uids: Iterable[int], refused: list[StoreError] | None,
                only_deleted: bool = True, disposal: Disposal | None = None) -> list[int]:
        """Remove messages that are \\Deleted still, or whatever flags they have; gives the UIDs that went.
        ``refused``: as for FlagWriter.store().  ``disposal``: what becomes of them, None: nothing."""
        gone: list[int] = []
        counted: list[Amount] = []
        keep = self._place.readers.keeps()
        rows = self._finder.rows([*uids])
        alone = len(rows) > 1 and self._changes.at_rest(self._contents.held.twins)
        out = self._way_out(disposal)
        usual = out is _unlink and not keep and self._place.quota is None
        try:
            for start in range(0, len(rows), AT_ONCE):
                self._place.wait_while_still()
                left: Sequence[int] = rows[start:start + AT_ONCE]
                if usual and len(left) > 1:
                    left, alone = self._unlink_usual(left, only_deleted, gone, alone)
                if left:
                    alone = self._unlink(left, keep, only_deleted, refused, gone, counted, alone, out)
        finally:
            self.went(gone)
            quota = self._place.quota
            if counted and quota is not None:
                quota.changed(*counted)
            if disposal is not None:
                disposal.settle()
        return sorted(gone)

    def went(self, uids: Sequence[int]) -> None:
        """We removed these messages, or moved them away."""
        rows = sorted([row for row in places(self._contents.held.database.uids, uids) if row >= 0])
        if rows:
            self._contents.drop(rows)
            self._numbers.unwritten = self._numbers.owed = True

    def _way_out(self, disposal: Disposal | None) -> Out:
        """What makes a message go."""
        mirror = self._place.mirror
        if mirror is not None:
            if disposal is None:
                return lambda path, real, uid: mirror.unlink(path)

            def both(path: bytes, real: bytes, uid: int) -> None:
                disposal.take(real, uid, os.unlink)
                os.unlink(path)
            return both
        bury = self._burial()
        if disposal is not None:
            return lambda path, real, uid: disposal.take(
                path, uid, os.unlink if bury is None else partial(bury, uid))
        if bury is not None:
            return lambda path, real, uid: bury(uid, path)
        return _unlink

    def _burial(self) -> Callable[[int, bytes], None] | None:
        """What keeps the file of a message that has this UID; None where none is kept."""
        place = self._place
        if not place.options.keeps_expunged or not has_room(place.readers.tmp):
            return None
        graveyard, by_uid = place.graveyard(), self._keywords.by_uid
        uidvalidity = self._contents.held.database.uidvalidity
        return lambda uid, path: graveyard.bury(path, uidvalidity, uid, by_uid.get(uid, NO_KEYWORDS))

    def _unlink_usual(self, rows: Sequence[int], only_deleted: bool, gone: list[int],
                      alone: bool) -> tuple[list[int], bool]:
        """Remove all at once, where nothing but their files has to go.  (Rows of those to be looked at one by
        one, and as of Changes.did_all().)  ``gone``, ``only_deleted``: as of _unlink()."""
        held, inside = self._contents.held, self._place.inside
        deleted = [held.flags[row] & DELETED for row in rows] if only_deleted else repeat(DELETED)
        there = list(compress(rows, deleted))
        files = held.files(there)
        try:
            failed = failures(os.unlink, [inside + file for file in files])
        except BaseException:
            self._changes.doubt()      # nobody counted how many there were until then
            raise
        left = list(set(rows).difference(there)) if len(there) < len(rows) else []
        for at in reversed(failed):
            left.append(there.pop(at))
            del files[at]
        gone.extend(map(held.database.uids.__getitem__, there))
        return sorted(left), self._changes.did_all(files, (), alone)

    def _unlink(self, rows: Sequence[int], keep: bool, only_deleted: bool, refused: list[StoreError] | None,
                gone: list[int], counted: list[Amount], alone: bool, out: Out) -> bool:
        """Remove what is \\Deleted still; ``gone`` has their UIDs then, ``counted`` how that changes the
        quota.  ``keep``: somebody may know them still.  ``alone``: as for Changes.did_all()."""
        held, place, mirror = self._contents.held, self._place, self._place.mirror
        quota = place.quota
        files: list[bytes] = []
        try:
            for row, name in zip(rows, held.database.names_of(rows), strict=True):
                for _ in range(TRIES):
                    file = held.file(row) if held.odd else name + SUFFIXES[held.flags[row]]
                    path = place.inside + file
                    if not only_deleted or held.flags[row] & DELETED:      # it is, while this file is there
                        try:
                            real = path if mirror is None else mirror.real(path)
                            if keep:
                                place.readers.bury(real, name)
                            there = quota.amount_at(real) if quota is not None else None
                            uid = held.database.uids[row]
                            out(path, real, uid)
                        except FileNotFoundError:
                            pass
                        except OSError as error:
                            refuse(unchangeable(path, error), refused)
                            break
                        except MessageDenied as why:
                            refuse(why, refused)
                            break
                        else:
                            files.append(file)
                            gone.append(uid)
                            if there:
                                counted.append(-there)
                            break
                    elif exists(path):
                        break
                    alone = False
                    if not self._finder.find_again(row):
                        break
        finally:
            alone = self._changes.did_all(files, (), alone)
        return alone


def _unlink(path: bytes, real: bytes, uid: int) -> None:
    """The way out of a file of which nothing is kept.  Raises OSError."""
    os.unlink(path)
