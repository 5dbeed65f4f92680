"""Looking at a mailbox: what is there, which numbers it has, what changed.

Problems.  Names in cur/ change under our feet (a flag is a rename by whoever sets it), new/
fills from outside, a file may be missed by readdir() while it is renamed, several sessions
number the same messages, and any of them may be killed between two steps.

States of a message on disk, and what a reader believes of each:

    file       line in uiddb   what it is                              what a look does
    in new/    none            mail that nobody has seen               the lock: to cur/, and number it
    in cur/    none            moved there, or brought by hand         the lock: number it
    in cur/    one             a message                               shows it
    in cur/    one, told gone  it went, was told, and came back        the lock: another number
    nowhere    the last ones,  numbered by who has the lock, and       not shown, and UIDNEXT stays below
               lock is held    about to come                           it until it has come
    nowhere    one             gone, by us, another or by hand         EXPUNGE; the line goes with the next
                                                                       writing
    in tmp/    none, or one    waits for who has the lock (lobby.py)   nothing: it was acknowledged to nobody
    elsewhere  uiddb missing   a lost uiddb, or another server's       the lock: restore the numbers
               or damaged

Rules.
* The uiddb is written under the lock only, and a number is given once.
* A number is written before its message comes to cur/, in the order in which they come: who
  sees a message finds its number, and who sees one has seen all before it.
* What needs no number is looked at without the lock.  What only saves work (lines of what is
  gone, the index, merged keywords) takes the lock if it is free, and else is left undone.
* A directory is read only when its mtime says that something changed, or is as
  young as the clock's grain, because a change in the same instant would not show.
  A session that stays, or that has others beside it, has a watch: events say what changed, and
  cur/ is read again only when they do not say it clearly.
* A name that is missing is looked for again before the message counts as gone.
* UIDNEXT never falls, and no message comes below one that was told.
"""
from __future__ import annotations

import os
import time
from bisect import bisect_left
from enum import Enum

from courierpy.maildir import contents, directory
from courierpy.maildir.contents import Held
from courierpy.maildir.errors import Denied, FolderMissing, QuotaExceeded, StoreError, trouble
from courierpy.maildir.formats import uiddb
from courierpy.maildir.index.columns import SMALL, Columns, Head, Stamps
from courierpy.maildir.names import MAX_NAME, base, in_order
from courierpy.maildir.numbers import Numbering
from courierpy.maildir.watch import Heard, Refused, Watch
from courierpy.model.flags import SEEN
from courierpy.model.messages import Messages, Snapshot
from courierpy.model.uidset import NO_UIDS, UidSet
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from courierpy.maildir.index.statuscache import Counts
    from courierpy.maildir.options import StoreOptions
    from courierpy.maildir.uidvalidity import Uidvalidities


LARGE = 1 << 16                    # octets of a directory that is not read twice without need
FEW = 32                           # messages of a folder that is read as fast as its index is
STAYS = 8                          # looks at a large folder after which a session seems to stay in it
BUSY = 2                           # looks, one after the other, that found something: others work here too
HEARKEN = 0.1                      # seconds that a session waits to hear what the one with the lock does,
PATIENCE = 2.0                     # seconds that a session that leaves waits to write what went
PILE = 16                          # updates of keywords that who opens a mailbox puts together
SELDOM = 0.5                       # seconds: not more often is the uiddb written only for what went
A_WHILE = 0.02                     # so long before it tries the lock again


class Look(Enum):
    """What came of one way to look."""

    DONE = "all is known"
    NEEDS_LOCK = "something has to be numbered, restored or written"
    READ_CUR = "only a reading of cur/ can say it"


class Scanner(Numbering):
    """Looking at a folder and numbering what is new; Mailbox (mailbox.py) adds the messages.

    ``read_only``: the disk takes nothing, and only what is
    numbered is served.
    """

    def __init__(self, name: str, path: str, options: StoreOptions, uidvalidities: Uidvalidities,
                 counts: Counts) -> None:
        super().__init__(name, path, options, uidvalidities, counts)
        self.read_only = False
        self._snapshot: Snapshot | None = None
        self._stamps: Stamps | None = None      # as everything was looked at; None: look again
        self._unsaved = False                   # the index knows less than we do
        self._watch: Watch | None = None
        self._quiet_looks = 0
        self._busy_looks = 0
        self._own: dict[bytes, tuple[bytes, bool]] = {}    # what we did last to each base name in cur/
        self._own_heard: dict[bytes, tuple[bytes, bool]] = {}
        self._looked = 0                        # when the last look began
        self._fresh = NO_UIDS                   # numbered by us, and in no snapshot yet
        self._readonly = False                  # as the last scan was
        self._shown = NO_UIDS                   # recent, and left so for the next session
        self._stuck: frozenset[bytes] = frozenset()        # in new/, and cannot be moved

    def close(self, wait: bool = False) -> None:
        """The session leaves the folder.  ``wait``: nobody waits for us, so the moment may
        pass that is needed to save what is known."""
        self._strike_out(PATIENCE)
        if self.held is not None:
            self._save(wait)
        self.readers.leave()
        self._snapshot = self.held = self._stamps = None
        self._heard = Heard()
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    # -- hearing of changes

    def watch(self) -> Watch:
        """What hears of changes from now on, until close().  Raises watch.Refused."""
        if self._watch is None:
            self._watch = Watch(self.path, self.keyword_directory)
            # what came before it began was not heard
            self._heard.everything = self._stamps is None or self._stamps != self._stamp()
        return self._watch

    def watch_if_large(self) -> None:
        """A large folder that is about to change is heard, not read again and again; and so is
        any that a session has open and that changes all the time."""
        if self._watch is None and self.held is not None \
                and (len(self.held.flags) >= SMALL or self._busy_looks >= BUSY and self.readers.own()):
            try:
                self.watch()
            except Refused:
                return

    def _watch_first(self) -> None:
        """What is about to be read is large, or others work here too: hear from now on what changes,
        and read it once."""
        try:
            if self._watch is None and self.held is None \
                    and (os.stat(self.cur).st_size >= LARGE or self.readers.own() and self.readers.others()):
                self.watch()
        except FileNotFoundError:
            raise FolderMissing(self.cur) from None
        except OSError as error:
            raise trouble(self.cur, error) from None
        except Refused:
            return

    def _hear(self) -> bool:
        """Was there anything?"""
        assert self._watch is not None
        self._watch.hear(self._heard)
        self._own_heard.update(self._own)
        self._own.clear()
        return bool(self._heard)

    def did(self, file: bytes, there: bool) -> None:
        """We made or removed this file in cur/: its event is no news."""
        if self._watch is not None:
            self._own[base(file)] = file, there

    def did_not(self, name: bytes) -> None:
        """Somebody else changed the file of this base name since: its events are news."""
        self._own.pop(name, None)
        self._own_heard.pop(name, None)

    # -- scanning

    def scan(self, readonly: bool = False) -> Snapshot:
        """What the folder holds now; the same object when nothing changed.

        ``readonly``: what nobody saw before stays recent for the next session.
        """
        before = self._snapshot
        found = self._look(readonly)
        self._busy_looks = self._busy_looks + 1 if before is not None and found is not before else 0
        return found

    def _look(self, readonly: bool) -> Snapshot:
        self._readonly = readonly
        looked = self.readers.now()
        if self._snapshot is not None and self._quiet():
            self._looked = looked
            if self._snapshot.recent:
                # recent is told once, to the scan that found it
                self._snapshot = self._snapshot.with_recent(NO_UIDS)
            return self._snapshot
        if self._is_due() and self._write_what_is_left(readonly):
            assert self._snapshot is not None
            return self._snapshot
        # most changes need no number: a look without the lock will do, or will do as
        # soon as the session that holds it has numbered what is new
        if self._needs_number() or not self._update(False, readonly):
            try:
                try:
                    self._with_lock(readonly)
                except QuotaExceeded:
                    if not self.readers.give_up():
                        raise
                    self._with_lock(readonly)
            except (Denied, QuotaExceeded) as why:
                if self._snapshot is None:
                    log.err(f"{why}: what has a number is served")
                self._serve_what_is_numbered(why)
        assert self._snapshot is not None
        return self._snapshot

    def _is_due(self) -> bool:
        """Are there lines of messages that we removed, and for long enough to write the uiddb for them?"""
        return self._owed and time.monotonic() - self._struck >= SELDOM

    def _write_what_is_left(self, readonly: bool) -> bool:
        """Look, and take the lines of what is gone from the uiddb.  False when the lock cannot
        be had at once: it only saves work, and who needs a number next leaves them out too."""
        self._struck = time.monotonic()
        try:
            if not self._lock.attempt():
                return False
            try:
                return self._update(True, readonly)
            finally:
                self._lock.release()
        except FolderMissing:
            raise
        except StoreError as why:
            log.warn(f"{why}: lines of messages that are gone stay for now")
            self._owed = False
            return False

    def _with_lock(self, readonly: bool) -> None:
        if self._take_lock(readonly):
            try:
                self._update(True, readonly)
            finally:
                self._lock.release()

    def _hearken(self) -> None:
        """Until there are new numbers, or for so long that the lock may be held for something else."""
        assert self._watch is not None
        end = time.monotonic() + A_WHILE
        while True:
            left = end - time.monotonic()
            self._watch.wait(max(0.0, left))
            self._hear()
            if not self._needs_number() or left <= 0:
                return

    def _needs_number(self) -> bool:
        """Did mail come, as far as we heard, that nobody has numbered since?"""
        return self._watch is not None and self._heard.new and not self._heard.numbers

    def _take_lock(self, readonly: bool) -> bool:
        """False, without it, when somebody else did meanwhile what it was wanted for.

        Many sessions hear of a new message at the same moment, and one of them numbers
        it; the others have nothing to do but to hear when that is done.
        """
        end = time.monotonic() + HEARKEN
        while self._needs_number() and time.monotonic() < end:
            if self._lock.attempt():
                return True
            self._hearken()
            if not self._needs_number() and self._update(False, readonly):
                return False
        return self._lock.take(lambda: self._update(False, readonly))

    def _quiet(self) -> bool:
        """Is everything as at the last look, and in the snapshot?"""
        if self._fresh or self._is_due() or self.keywords.doubtful or self._snapshot is None \
                or self.held is None or self.held.database.uids is not self._snapshot.messages.uids:
            return False
        if self._watch is None:
            if self._stamps is not None and self._stamps == self._stamp():
                self._quiet_looks += 1
                if self._quiet_looks == STAYS:     # what is to come will not need a reading of cur/
                    self.watch_if_large()
                return True
            self.watch_if_large()
        return self._watch is not None and (not self._hear() or self._only_ours())

    def _only_ours(self) -> bool:
        """Is all that was heard what we did ourselves?  The snapshot has that."""
        assert self.held is not None
        heard = self._heard
        if heard.everything or heard.new or heard.keywords or not self.held.twins.isdisjoint(heard.cur) \
                or any(last[:2] != self._own_heard.get(name) for name, last in heard.cur.items()):
            return False
        self._heard = Heard()
        self._own_heard.clear()
        return True

    def _update(self, locked: bool, readonly: bool) -> bool:
        """Bring ``held`` and the snapshot up to date.  False: that needs the lock."""
        # 1. when it is: what happens from now on is for the next one
        self._looked = self.readers.now()
        stamps = self._stamp() if self._watch is None or self.held is None else None
        if self._watch is not None:
            self._hear()               # what came while we waited for the lock, or for its numbers
        # 2. which messages there are, in the cheapest way that knows it
        found, indexed = Look.READ_CUR, False
        if self.held is None:
            found = self._from_index(stamps)
            indexed = found is Look.DONE
        elif self._watch is not None and not self._heard.everything:
            found = self._by_events(locked)
        if found is Look.READ_CUR:
            self._watch_first()
            found = self._by_listing(locked)
        if found is Look.NEEDS_LOCK:
            return False
        # 3. their keywords
        if not self._read_keywords(locked):
            return False
        if self.keywords.files.unmerged and self._snapshot is None and not readonly:
            self._merge_keywords()
        # 4. which of them are recent
        recent = self._recent(locked, readonly)
        if recent is None:
            return False
        # 5. what all of that is for our client, and that it is known
        self._make_snapshot(recent)
        if locked and not self._unwritten:
            self._owed = False         # another session wrote it down
        if indexed:
            self._unsaved = False      # the index said all of it
        self._heard = Heard()
        self._own_heard.clear()
        self._stamps = stamps if stamps is not None and stamps == self._stamp() else None
        return True

    def _recent(self, locked: bool, readonly: bool) -> UidSet | None:
        """UIDs that our client is the first to see; None when the lock is needed to say so."""
        fresh, unclaimed = self._fresh, self.index.unclaimed()
        if readonly:
            if fresh:
                self.index.set_unclaimed(unclaimed | fresh)
            shown = unclaimed | fresh
            recent, self._shown = shown - self._shown, shown | self._shown
        else:
            if unclaimed and not locked:
                return None
            if unclaimed:
                self.index.set_unclaimed(NO_UIDS)
            recent = unclaimed | fresh
        self._fresh = NO_UIDS
        assert self.held is not None
        return recent.within(self.held.database.uids)

    # -- three ways to know what is there

    def _from_index(self, stamps: Stamps | None) -> Look:
        """What the index says, when nothing happened since."""
        columns = self.index.load()
        if columns is None:
            return Look.READ_CUR
        fine = columns.head.fine
        if fine:
            stamps = self._stamp(sure=False)
        if stamps is None or not columns.head.stamps.same_but_new(stamps):
            return Look.READ_CUR
        if columns.head.stamps.new != stamps.new and directory.files(self.new):
            # mail came, and will be moved to cur/.  With a watch that is no reason to read
            # cur/, if the watch began before the stamps were found to be the same
            try:
                self.watch()
            except Refused:
                return Look.READ_CUR
            again = self._stamp(sure=not fine)
            if again is None or not columns.head.stamps.same_but_new(again):
                return Look.READ_CUR
            self._heard.everything, self._heard.new = False, True
        self.held = Held(columns.database, bytearray(columns.messages.flags), columns.odd)
        self.keywords.take(dict(columns.messages.keywords), stamps.keywords)
        self._disk = stamps.database
        return self._by_events(locked=False) if self._watch is not None else Look.DONE

    def _by_events(self, locked: bool) -> Look:
        """What the watch heard."""
        assert self.held is not None
        if self._heard.cur:
            self._need_names()
            if self._heard.everything:
                return Look.READ_CUR   # not all have one
        replayed = contents.replay(self.held, self._heard, self._own_heard)
        if replayed is None:
            return Look.READ_CUR
        if replayed.gone:
            self._drop(replayed.gone)
        arrived = self._arrived() if self._heard.new else []
        unknown = {name: file for name, file in replayed.unknown.items()
                   if directory.is_message(self.inside + file)}
        if not unknown and not arrived:
            if not locked:
                return Look.DONE
            # numbers may be given next: those that others gave meanwhile must be known; and
            # the lines of what we removed go
            if not self._learn({}, locked):
                return Look.READ_CUR
            if self._owed:
                self._write(self._need_names().database)
            return Look.DONE
        if arrived and not locked:
            return Look.NEEDS_LOCK
        self._need_names()
        taken = self._take(arrived)
        if self.held.rows_of(taken):
            return Look.READ_CUR       # of the name of a message that is there
        unknown.update(taken)
        if not self._learn(unknown, locked):
            return Look.READ_CUR
        return self._number_all(unknown, locked)

    def _number_all(self, unknown: Mapping[bytes, bytes], locked: bool) -> Look:
        if not unknown:
            return Look.DONE
        if not locked:
            return Look.NEEDS_LOCK
        self._give_numbers(unknown)
        return Look.DONE

    def _learn(self, unknown: dict[bytes, bytes], locked: bool) -> bool:
        """Take from ``unknown`` what has a number by now.  False when the uiddb says more than that
        messages came, and lines of those that went may be there still.

        Who brings messages numbers them first, and then lets them in, in that order.  So those that
        have not come yet stand behind all that have, and are left for the next look; one before them
        of which nothing was heard did not come at all, and cur/ has to say so.
        """
        assert self.held is not None
        if self._disk is not None and self._disk == uiddb.stamp(self.path):
            return True
        mine = self.held.database
        found = uiddb.read(os.path.join(self.path, uiddb.NAME), self._file or mine)
        if found is None or found.damaged or found.uidvalidity != mine.uidvalidity \
                or found.uidnext < mine.uidnext:
            return False
        first = bisect_left(found.uids, mine.uidnext)
        if found.uids[:first] != mine.uids and not set(found.uids[:first]).issuperset(mine.uids):
            return False
        new = {found.name(row): found.uids[row] for row in range(first, len(found))}
        if any(name not in new and found.find(name) >= 0 for name in unknown):
            return False               # the line of what is gone, and its file is back
        there: list[bytes] = []
        coming: list[bytes] = []
        for name in new:
            if name in unknown:
                there.append(name)
                if coming:
                    return False
            elif name not in self._heard.cur:
                coming.append(name)
            elif self._heard.cur[name][1:] != (False, False):
                return False           # its flags change just now; or it came and went
        if coming and locked:
            return False               # nobody can be about to bring it
        self.held = self.held.extended([new[name] for name in there], there,
                                       [unknown.pop(name) for name in there],
                                       new[coming[0]] if coming else found.uidnext)
        self.keywords.came(there)
        self._disk, self._file = None if coming else self._trusted(found.key), found
        self._unwritten = len(self.held.database) < len(found)
        return True

    def _by_listing(self, locked: bool) -> Look:
        """What a reading of cur/ says."""
        arrived = self._arrived()
        if arrived and not locked:
            return Look.NEEDS_LOCK
        database = self._database(locked)
        if database is None:
            return Look.NEEDS_LOCK
        disk, self._disk = self._disk, None      # ``held`` is not made of it yet, and may never be
        # whoever has the lock may have numbered messages that come in a moment
        coming = not locked and (self._lock.is_held() or not self._lock.enabled)
        self._take(arrived)
        before = self.held
        self._own.clear()              # what is seen now may be later than that
        self.held, missing, unknown = contents.look(database, self._list_cur())
        self._disk = disk
        missing = self._surely(missing)
        last = len(missing)
        if coming:
            # those behind all that are there, and behind what the client was told of
            here, told = self.held.database.uids, 0 if before is None else before.database.uidnext
            while last and missing[last - 1] == len(here) - 1 - (len(missing) - last) \
                    and here[missing[last - 1]] >= told:
                last -= 1
            if last < len(missing) and before is None:
                self.held = self._disk = None
                return Look.NEEDS_LOCK     # or they are gone, and UIDNEXT must not fall below what it was
        if before is not None:
            self._depart(before, self.held, missing)
        gone = NO_UIDS
        if missing:
            gone = UidSet.of([self.held.database.uids[row] for row in missing[:last]])
            if before is None:
                self._told_gone |= gone        # the client will know what is there
            come = self.held.database.uids[missing[last]] if last < len(missing) else 0
            self.held = self.held.without(missing)
            self._unwritten = True
            if come:
                self.held.database.uidnext, self._disk = come, None
        self.keywords.again()
        if not unknown and locked and self._unwritten:
            self._write(self.held.database, gone)
        return self._number_all(unknown, locked)

    def _surely(self, missing: list[int]) -> list[int]:
        """Which of the rows that a reading of cur/ did not show are gone.

        A file that is renamed while readdir goes by can be missed, again and again if
        somebody toggles its flags.  It is gone if the watch heard nothing of it meanwhile, or
        after a reading during which the directory did not change, or after several.
        """
        assert self.held is not None
        if not missing:
            return missing
        database = self.held.database
        stirred = self._watch.stirred() if self._watch is not None else None
        gone = [row for row in missing if database.name(row) not in stirred] if stirred is not None else []
        missing = sorted(set(missing).difference(gone))
        for _ in range(directory.READINGS):
            if not missing:
                break
            before = directory.mtime(self.cur)
            firm = directory.settled(before, time.time_ns())
            again = directory.by_base(self._list_cur())
            still = []
            for row in missing:
                file = again.get(database.name(row))
                if file is None:
                    still.append(row)
                else:
                    self.held.set_file(row, file)
            missing = still
            if firm and directory.mtime(self.cur) == before:
                break
        return sorted([*gone, *missing])

    def _depart(self, before: Held, now: Held, missing: Sequence[int]) -> None:
        """Keep the names of what is gone until the client was told."""
        gone = {now.database.uids[row] for row in missing}
        gone.update(set(before.database.uids).difference(now.database.uids)
                    if before.database.uids != now.database.uids else ())
        if gone and before.database.body is None:      # by the index, which has no names
            recalled = self.index.recall()
            names = recalled[2] if recalled is not None else {}
            self.departed.update((uid, name) for name, uid in names.items() if uid in gone)
            return
        for uid in gone:
            row = before.row(uid)
            if row >= 0:
                self.departed[uid] = before.file(row)

    def _drop(self, rows: Sequence[int]) -> None:
        """These are gone, and the uiddb does not say so yet."""
        assert self.held is not None
        for row in rows:
            self.departed[self.held.database.uids[row]] = self.held.file(row)
        self.held = self.held.without(rows)
        self._unwritten = True

    # -- new mail

    def _arrived(self) -> list[bytes]:
        return [name for name in directory.files(self.new) if name not in self._stuck]

    def _take(self, arrived: Sequence[bytes]) -> dict[bytes, bytes]:
        """Move what is in new/ to cur/: base name -> file name of what came."""
        moved = {}
        for entry in arrived:
            # a name that has no room for flags stays as it is
            target = entry if b":" in entry or len(entry) > MAX_NAME - 3 else entry + b":2,"
            try:
                os.rename(os.path.join(os.fsencode(self.new), entry),
                          os.path.join(os.fsencode(self.cur), target))
            except FileNotFoundError:
                continue             # another session was first
            except OSError as error:
                why = trouble(os.path.join(os.fsencode(self.new), entry), error)
                if isinstance(why, QuotaExceeded):
                    continue           # the directory cannot grow: later
                if not isinstance(why, Denied):
                    raise why from None
                log.err(f"{why}: it stays in new/ and is not shown")
                self._stuck |= {entry}
                continue
            self.did(target, True)
            if directory.is_message(self.inside + target):         # a link may lead elsewhere from here
                moved[base(target)] = target
        return moved

    def _give_numbers(self, unknown: Mapping[bytes, bytes]) -> None:
        """Number these messages, in the order of their names.  Under the lock."""
        assert self.held is not None
        names = in_order(unknown)
        first = self.held.database.uidnext
        uids = range(first, first + len(names))
        more = self.held.extended(uids, names, list(map(unknown.__getitem__, names)))
        self._write(more.database)
        self.held = more
        self._fresh |= UidSet.of(uids)
        self.keywords.came(names)

    # -- the snapshot

    def _read_keywords(self, locked: bool) -> bool:
        """False: that needs the lock."""
        hears = self._watch is not None and self._watch.hears_keywords
        return self.keywords.refresh(self._need_names, self._heard.keywords, hears, locked)

    def _merge_keywords(self) -> None:
        """Updates would pile up: who opens the mailbox merges them, unless somebody has the lock.  Others
        who have it open would read all again, so that a few can wait."""
        try:
            if (self.keywords.files.unmerged >= PILE or not self.readers.others()) and self._lock.attempt():
                try:
                    self.keywords.again()
                    self._read_keywords(True)
                finally:
                    self._lock.release()
        except StoreError:
            return                     # the disk takes nothing

    def _make_snapshot(self, recent: UidSet) -> None:
        """The snapshot of what is held; the one before if nothing differs."""
        assert self.held is not None
        before, database = self._snapshot, self.held.database
        if self.departed:
            self.keywords.forget(self.departed)
        messages = Messages(database.uids, bytes(self.held.flags), dict(self.keywords.by_uid))
        if before is not None and before.uidvalidity == database.uidvalidity \
                and before.uidnext == database.uidnext and before.messages == messages:
            database.uids = before.messages.uids
            if recent != before.recent:
                self._snapshot = before.with_recent(recent)
            return
        self._snapshot = Snapshot(database.uidvalidity, database.uidnext, messages, recent)
        self._unsaved = True

    def _serve_what_is_numbered(self, why: StoreError) -> None:
        """The disk takes nothing, or has no room: a look that writes nothing.

        What has no number is not shown, as the number could not be kept.  A folder of which no
        number is known is numbered in memory; so all of it is shown, and who has room writes that
        down (see _restore).
        """
        if isinstance(why, Denied) and self._snapshot is None:
            self.read_only = True
        found = uiddb.read(os.path.join(self.path, uiddb.NAME))
        lost = found is None or found.damaged
        database = self._restore(found, record=False) if found is None or found.damaged \
            else self._without_gone(found)
        if lost and not isinstance(why, Denied):
            self._take(self._arrived())
        before, self._disk = self.held, None
        self._own.clear()
        self.held, missing, unknown = contents.look(database, self._list_cur())
        missing = self._surely(missing)
        if before is not None:
            self._depart(before, self.held, missing)
        self.held = self.held.without(missing)
        if unknown and lost:
            names = in_order(unknown)
            first = self.held.database.uidnext
            self.held = self.held.extended(range(first, first + len(names)), names,
                                           [unknown[name] for name in names])
        self._unwritten = True
        self.keywords.again()
        self._read_keywords(False)
        self._make_snapshot(NO_UIDS)
        self._heard, self._stamps = Heard(), None
        self._heard.everything = True          # what has no number yet: the next look tries again
        self._own_heard.clear()

    # -- what others may use

    def _save(self, wait: bool) -> None:
        """Into the index, if it is worth it and what is known is known to be true."""
        assert self.held is not None
        worth = self._unsaved and not self.read_only and len(self.held.flags) >= FEW
        try:
            if self._owed or self._unwritten and worth:
                self._owed = True
                self._write_what_is_left(True)     # nobody is told any more what is recent
            if not worth:
                return
            fine = self._watch is not None and directory.at_once(os.path.join(self.path, "tmp"))
            stamps = self._stamp(sure=not fine)
            if stamps is None and wait:
                time.sleep(directory.GRAIN * 1.2)
                stamps = self._stamp()
            if stamps is None or self._unwritten or self._fresh or stamps.database is None:
                return
            if self._watch is not None:
                if self._hear():
                    # mail that comes just now is for the next one: cur/ is as we know it
                    mail, self._heard.new = self._heard.new, False
                    self._update(False, True)
                    if self._heard or self._unwritten or self._fresh:
                        return
                    stamps.new = 0 if mail else stamps.new
                now = self._stamp(sure=not fine)
                if now is None or not now.same_but_new(stamps):
                    return
            elif stamps != self._stamps:
                return
            if self.held.database.body is not None \
                    and sum(map(len, self.held.database.pieces())) != stamps.database[2]:
                return                 # the file says the same in other words: lines begin elsewhere
            self.index.save(self._columns(stamps, fine))
            self._unsaved = False
        except StoreError:
            return                     # the folder went, or is in use: the next session looks for itself

    def _columns(self, stamps: Stamps, fine: bool) -> Columns:
        assert self.held is not None
        held = self.held
        messages = Messages(held.database.uids, bytes(held.flags), self.keywords.by_uid)
        unseen = messages.flags.translate(_UNSEEN)
        head = Head(stamps, held.database.uidvalidity, held.database.uidnext, len(messages), unseen.count(1),
                    unseen.find(1), fine)
        return Columns(head, held.database, messages, held.odd)


_UNSEEN = bytes(not bits & SEEN for bits in range(256))

