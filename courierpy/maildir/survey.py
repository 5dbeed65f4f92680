"""Which messages are in cur/: the three ways to know it, from the cheapest to the surest.

The index says it, or a session of before (lately.py), when nothing happened since; the watch says what
happened since; or cur/ is read.
looker.py has the states and the rules.
"""
from __future__ import annotations

import os
import time
from bisect import bisect_left
from enum import Enum

from courierpy.maildir import contents, directory
from courierpy.maildir.contents import NOTHING, Held
from courierpy.maildir.errors import FolderMissing, trouble
from courierpy.maildir.names import in_columns, in_order
from courierpy.maildir.watch import Refused
from courierpy.model.uidset import UidSet
from courierpy.system import inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from courierpy.maildir.arrivals import Arrivals
    from courierpy.maildir.changes import Changes
    from courierpy.maildir.contents import Contents
    from courierpy.maildir.formats.uiddb import UidDb
    from courierpy.maildir.index.columns import Stamps
    from courierpy.maildir.keywords import KnownKeywords
    from courierpy.maildir.lately import Lately
    from courierpy.maildir.mailboxdirectory import MailboxDirectory
    from courierpy.maildir.numbers import Numbers
    from courierpy.maildir.recent import Recent

LARGE_OCTETS = 1 << 16             # of a directory that is not read twice without need,
SHARED_OCTETS = 1 << 14            # and of one in which others work too
READ_RATHER = 2000                 # fewer messages are read again, where what makes a watch is not loaded;
RATHER_OCTETS = READ_RATHER * 100  # about what the directory of so many has


class Look(Enum):
    """What came of one way to look."""

    DONE = "all is known"
    NEEDS_LOCK = "something has to be numbered, restored or written"
    READ_CUR = "only a reading of cur/ can say it"


class Survey:
    """Brings the contents of one open mailbox up to date, and numbers what is new."""

    __slots__ = ("_arrivals", "_changes", "_contents", "_keywords", "_numbers", "_place", "_recent")

    def __init__(self, place: MailboxDirectory, contents: Contents, numbers: Numbers, changes: Changes,
                 arrivals: Arrivals, keywords: KnownKeywords, recent: Recent) -> None:
        self._place = place
        self._contents = contents
        self._numbers = numbers
        self._changes = changes
        self._arrivals = arrivals
        self._keywords = keywords
        self._recent = recent

    # -- by the index

    def from_index(self, stamps: Stamps | None) -> Look:
        """What the index says, when nothing happened since.  ``stamps``: of this moment."""
        columns = self._place.index.load()
        if columns is None:
            return Look.READ_CUR
        fine = columns.head.fine
        if fine and stamps is None:
            stamps = self._place.stamps(sure=False)
        if stamps is None or not columns.head.stamps.same_but_new(stamps):
            return Look.READ_CUR
        if columns.head.stamps.new != stamps.new and directory.files(self._place.new):
            if columns.head.count < READ_RATHER and not inotify.is_at_hand() and not self._is_shared():
                return Look.READ_CUR
            # mail came, and will be moved to cur/.  With a watch that is no reason to read
            # cur/, if the watch began before the stamps were found to be the same
            try:
                self._changes.listen()
            except Refused:
                return Look.READ_CUR
            again = self._place.stamps(sure=not fine)
            if again is None or not columns.head.stamps.same_but_new(again):
                return Look.READ_CUR
            self._changes.heard.everything, self._changes.heard.new = False, True
        self._contents.held = Held(columns.database, bytearray(columns.messages.flags), columns.odd)
        self._keywords.take(dict(columns.messages.keywords), stamps.keywords)
        self._numbers.key = stamps.database
        return self.by_events(locked=False) if self._changes.watched else Look.DONE

    def from_before(self, before: Lately) -> Look:
        """What another session of this process knew, when nothing happened since."""
        self._contents.held = before.held
        self._keywords.take(before.keywords, before.stamps.keywords)
        self._numbers.key = before.stamps.database
        return self.by_events(locked=False) if self._changes.watched else Look.DONE

    # -- by the watch

    def by_events(self, locked: bool) -> Look:
        """What was heard since the last look."""
        heard = self._changes.heard
        if heard.cur:
            self._numbers.named()
            if heard.everything:
                return Look.READ_CUR   # not all have one
        replayed = self._changes.replay(self._contents.held)
        if replayed is None:
            return Look.READ_CUR
        if replayed.gone:
            self._contents.drop(replayed.gone)
            self._numbers.unwritten = True
        arrived = self._arrivals.waiting() if heard.new else []
        unknown = replayed.unknown
        if not unknown and not arrived:
            if not locked:
                return Look.DONE
            # numbers may be given next: those that others gave meanwhile must be known
            if not self._learn({}, locked):
                return Look.READ_CUR
            return self._number_heard({}, locked)
        if arrived and not locked:
            return Look.NEEDS_LOCK
        held = self._numbers.named()
        taken = self._arrivals.take(arrived)
        if held.rows_of(taken):
            return Look.READ_CUR       # of the name of a message that is there
        unknown.update(taken)
        if not self._learn(unknown, locked):
            return Look.READ_CUR
        # who gave the others their numbers has looked what they are
        return self._number_heard({name: file for name, file in unknown.items()
                                   if name in taken or directory.is_message(self._place.inside + file)},
                                  locked)

    def _number_heard(self, unknown: dict[bytes, bytes], locked: bool) -> Look:
        """As _number_all(); under the lock the lines of what we removed go in any case."""
        if not unknown and locked and self._numbers.owed:
            self._numbers.write(self._numbers.named().database)
        return self._number_all(unknown, locked)

    def _learn(self, unknown: dict[bytes, bytes], locked: bool) -> bool:
        """Take from ``unknown`` what has a number by now.  False when the uiddb says more than that
        messages came, and lines of those that went may be there still.

        Who brings messages numbers them first, and then lets them in, in that order.  So those that
        have not come yet stand behind all that have, and are left for the next look; one before them
        of which nothing was heard did not come at all, and cur/ has to say so.
        """
        numbers, heard = self._numbers, self._changes.heard
        if numbers.is_current():
            return True
        mine = numbers.named().database
        if heard.everything:
            return False               # not all have a name
        found = numbers.on_disk(mine)
        if found is None or found.damaged or found.uidvalidity != mine.uidvalidity \
                or found.uidnext < mine.uidnext:
            return False
        first = bisect_left(found.uids, mine.uidnext)
        if found.uids[:first] != mine.uids and not set(found.uids[:first]).issuperset(mine.uids):
            return False
        new = {found.name(row): found.uids[row] for row in range(first, len(found))}
        if found.rows_of([name for name in unknown if name not in new]):
            return False               # the line of what is gone, and its file is back
        there: list[bytes] = []
        coming: list[bytes] = []
        for name in new:
            if name in unknown:
                there.append(name)
                if coming:
                    return False
            elif name not in heard.cur:
                coming.append(name)
            elif heard.cur[name][1:] != (False, False):
                return False           # its flags change just now; or it came and went
        if coming and locked:
            return False               # nobody can be about to bring it
        self._contents.held = self._contents.held.extended(
            [new[name] for name in there], there, [unknown.pop(name) for name in there],
            new[coming[0]] if coming else found.uidnext)
        self._keywords.came(there)
        numbers.learned(found, whole=not coming)
        numbers.unwritten = len(self._contents.held.database) < len(found)
        return True

    # -- by a reading

    def by_listing(self, locked: bool) -> Look:
        """What cur/ itself says."""
        self._watch_first()
        arrived = self._arrivals.waiting()
        if arrived and not locked:
            return Look.NEEDS_LOCK
        numbers, before, known = self._numbers, self._contents.held, self._contents.known
        database = numbers.read(locked)
        if database is None:
            return Look.NEEDS_LOCK
        key, numbers.key = numbers.key, None       # what is held is not made of it yet, and may never be
        # whoever has the lock may have numbered messages that come in a moment
        coming = not locked and (not self._place.lock.enabled or self._place.lock.is_held())
        self._arrivals.take(arrived)
        if locked and not known and not database.uids:
            self._changes.reads_cur()
            files = self._place.files()
            names, flags, odd = in_columns(files) or ([], bytearray(), {})
            if names:
                self._contents.held, numbers.key = Held(database, bytearray(), {}), key
                self._keywords.again()
                uids = range(database.uidnext, database.uidnext + len(names))
                return self._number(uids, names, Held(database.extended(uids, names), flags,
                                                      {uids[row]: file for row, file in odd.items()}))
            missing, unknown = self._take_cur(database, files)
        else:
            missing, unknown = self.read_cur(database)
        held = self._contents.held
        numbers.key = key
        last = len(missing)
        if coming:
            # those behind all that are there, and behind what the client was told of
            here, told = held.database.uids, before.database.uidnext if known else 0
            while last and missing[last - 1] == len(here) - 1 - (len(missing) - last) \
                    and here[missing[last - 1]] >= told:
                last -= 1
            if last < len(missing) and not known:
                self._contents.held, numbers.key = NOTHING, None
                return Look.NEEDS_LOCK     # or they are gone, and UIDNEXT must not fall below what it was
        if known:
            self._depart(before, missing)
        gone = UidSet.of([held.database.uids[row] for row in missing[:last]])
        if missing:
            if not known:
                numbers.told_gone |= gone      # the client will know what is there
            come = held.database.uids[missing[last]] if last < len(missing) else 0
            held = self._contents.held = held.without(missing)
            numbers.unwritten = True
            if come:
                held.database.uidnext, numbers.key = come, None
        self._keywords.again()
        if not unknown and locked and numbers.unwritten:
            numbers.write(held.database, gone)
        return self._number_all(unknown, locked)

    def _watch_first(self) -> None:
        """What is about to be read is large, or others work here too: hear from now on what changes,
        and read it once.  To begin to hear takes longer than to read a small one several times, and to load
        what hears longer than to read a larger one; most sessions leave before anything happens there."""
        try:
            if self._changes.watched or self._contents.known:
                return
            octets = os.stat(self._place.cur).st_size
            large = octets >= (LARGE_OCTETS if inotify.is_at_hand() else RATHER_OCTETS)
            if large or octets >= SHARED_OCTETS and self._is_shared():
                self._changes.listen()
        except FileNotFoundError:
            raise FolderMissing(self._place.cur) from None
        except OSError as error:
            raise trouble(self._place.cur, error) from None
        except Refused:
            return

    def _is_shared(self) -> bool:
        """Has another session the mailbox open too?"""
        readers = self._place.readers
        return bool(readers.own()) and readers.others()

    def read_cur(self, database: UidDb) -> tuple[list[int], dict[bytes, bytes]]:
        """Read cur/; the contents are the messages with these numbers, those that are gone too.  (Rows
        of those, base name -> file name of what has no number.)"""
        self._changes.reads_cur()
        return self._take_cur(database, self._place.files())

    def _take_cur(self, database: UidDb, files: list[bytes]) -> tuple[list[int], dict[bytes, bytes]]:
        """read_cur() of what was read."""
        self._contents.held, missing, unknown = contents.look(database, files)
        return self._surely(missing), unknown

    def _surely(self, missing: list[int]) -> list[int]:
        """Which of the rows that a reading of cur/ did not show are gone.

        A file that is renamed while readdir goes by can be missed, again and again if
        somebody toggles its flags.  It is gone if the watch heard nothing of it meanwhile, or
        after a reading during which the directory did not change, or after several.
        """
        if not missing:
            return missing
        held, cur = self._contents.held, self._place.cur
        database = held.database
        stirred = self._changes.stirred()
        gone = [row for row in missing if database.name(row) not in stirred] if stirred is not None else []
        missing = sorted(set(missing).difference(gone))
        for _ in range(directory.READINGS):
            if not missing:
                break
            before = directory.mtime(cur)
            firm = directory.settled(before, time.time_ns())
            again = directory.by_base(self._place.files())
            still = []
            for row in missing:
                file = again.get(database.name(row))
                if file is None:
                    still.append(row)
                else:
                    held.set_file(row, file)
            missing = still
            if firm and directory.mtime(cur) == before:
                break
        return sorted([*gone, *missing])

    def _depart(self, before: Held, missing: Sequence[int]) -> None:
        """Keep the names of what is gone until the client was told.  ``before``: what was held before
        cur/ was read; ``missing``: rows of what is held now."""
        uids = self._contents.held.database.uids
        gone = {uids[row] for row in missing}
        gone.update(set(before.database.uids).difference(uids) if before.database.uids != uids else ())
        departed = self._contents.departed
        if gone and before.database.body is None:      # by the index, which has no names
            recalled = self._place.index.recall()
            names = recalled[2] if recalled is not None else {}
            departed.update((uid, name) for name, uid in names.items() if uid in gone)
            return
        for uid in gone:
            row = before.row(uid)
            if row >= 0:
                departed[uid] = before.file(row)

    def read_without_writing(self, database: UidDb, number: bool, lend: bool) -> None:
        """Read cur/ where nothing can be written.  ``number``: what has no number gets one in memory;
        otherwise it is not shown.  ``lend``: that is to stay so when it can be written."""
        self._numbers.key = None
        before, known = self._contents.held, self._contents.known
        missing, unknown = self.read_cur(database)
        if known:
            self._depart(before, missing)
        held = self._contents.held.without(missing)
        if unknown and number:
            names = in_order(unknown)
            uids = range(held.database.uidnext, held.database.uidnext + len(names))
            held = held.extended(uids, names, [unknown[name] for name in names])
            if lend:
                self._numbers.lent.lend(names, uids)
        self._contents.held = held
        self._numbers.unwritten = True

    # -- numbers for what is new

    def _number_all(self, unknown: Mapping[bytes, bytes], locked: bool) -> Look:
        """``unknown``: base name -> file name of what has no number."""
        if not unknown:
            return Look.DONE
        if not locked:
            return Look.NEEDS_LOCK
        names = in_order(unknown)
        held = self._contents.held
        uids = range(held.database.uidnext, held.database.uidnext + len(names))
        return self._number(uids, names, held.extended(uids, names, list(map(unknown.__getitem__, names))))

    def _number(self, uids: range, names: list[bytes], more: Held) -> Look:
        """Messages with these base names get these numbers; ``more``: what is held then."""
        self._numbers.write(more.database)
        self._contents.held = more
        self._recent.numbered(uids)
        self._keywords.came(names)
        return Look.DONE
