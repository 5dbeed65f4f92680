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

import time

from courierpy.maildir import lately
from courierpy.maildir.errors import Denied, FolderMissing, QuotaExceeded, StoreError
from courierpy.maildir.index.columns import SMALL
from courierpy.maildir.survey import Look
from courierpy.maildir.watch import Refused, Watch
from courierpy.model.messages import NO_MESSAGES, Messages, Snapshot
from courierpy.model.uidset import NO_UIDS, UidSet
from courierpy.system import inotify, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.arrivals import Arrivals
    from courierpy.maildir.changes import Changes
    from courierpy.maildir.contents import Contents
    from courierpy.maildir.index.columns import Stamps
    from courierpy.maildir.keywords import KnownKeywords
    from courierpy.maildir.mailboxdirectory import MailboxDirectory
    from courierpy.maildir.numbers import Numbers
    from courierpy.maildir.recent import Recent
    from courierpy.maildir.survey import Survey

STAYS = 8                          # looks at a large mailbox after which a session seems to stay in it
LOAD_PAYS = 30_000                 # names that are read again before it pays to load what makes a watch
LIVELY = 2                         # looks, one after the other, that found something: others work here too
HEARKEN = 0.1                      # seconds that a session waits to hear what the one with the lock does,
A_WHILE = 0.02                     # so long before it tries the lock again
NEVER = Snapshot(0, 1, NO_MESSAGES, NO_UIDS)       # before the first look


class Looker:
    """Looks at one open mailbox.

    ``snapshot``: what the last look found, and what we changed since; NEVER before the first.
    ``stamps``: as everything was looked at; None: look again.  ``looked``: when the last look began, a
    value of Readers.now().  ``read_only``: the disk takes nothing, and only what is numbered is served.
    ``leaves_recent``: what is recent is left to the next session, as of the last look.
    ``unsaved``: the index knows less than we do.
    """

    __slots__ = ("_arrivals", "_in_company", "_lively_looks", "_overheard", "_quiet_looks", "_read_again",
                 "_survey", "changes", "contents", "keywords", "leaves_recent", "looked", "numbers", "place",
                 "read_only", "recent", "snapshot", "stamps", "unsaved")

    def __init__(self, place: MailboxDirectory, contents: Contents, numbers: Numbers, changes: Changes,
                 arrivals: Arrivals, keywords: KnownKeywords, recent: Recent, survey: Survey) -> None:
        self.place = place
        self.contents = contents
        self.numbers = numbers
        self.changes = changes
        self.keywords = keywords
        self.recent = recent
        self.snapshot = NEVER
        self.stamps: Stamps | None = None
        self.looked = 0
        self.read_only = False
        self.leaves_recent = False
        self.unsaved = False
        self._arrivals = arrivals
        self._survey = survey
        self._quiet_looks = 0
        self._lively_looks = 0
        self._in_company = False       # a look has found what others did
        self._overheard = False        # something, since scan()
        self._read_again = 0           # names

    def forget(self) -> None:
        """The next look is as the first one."""
        self.snapshot, self.stamps = NEVER, None

    # -- hearing of changes

    def watch(self) -> Watch:
        """What hears of changes from now on, until the mailbox is closed.  Raises watch.Refused."""
        began = not self.changes.watched
        watch = self.changes.listen()
        if began:                      # what came before was not heard
            self.changes.heard.everything = self.stamps is None or self.stamps != self.place.stamps()
        return watch

    def is_crowded(self) -> bool:
        """Do many others change the mailbox all the time?  What only saves work is theirs to do then, and
        what we wrote would be of no use a moment later."""
        return self._lively_looks >= LIVELY and self.place.readers.are_many()

    def watch_if_large(self) -> None:
        """A large mailbox that is about to change is heard, not read again and again; and so is
        any that a session has open and that changes all the time."""
        if self.changes.watched or not self.contents.known:
            return
        count = len(self.contents.held.flags)
        if count < SMALL and (self._lively_looks < LIVELY or not self.place.readers.own()):
            return
        self._read_again += max(count, SMALL)
        # to load it costs a session from a shell as much as to read so many names
        if inotify.is_at_hand() or self._read_again >= LOAD_PAYS:
            try:
                self.watch()
            except Refused:
                return

    # -- a look, under the lock that it needs

    def scan(self, readonly: bool = False) -> Snapshot:
        """What the mailbox holds now; the same object when nothing changed.  Raises a store error.

        ``readonly``: what nobody saw before stays recent for the next session.
        """
        before = self.snapshot
        self.leaves_recent = readonly
        now = _now(self)
        if before is not NEVER and self.is_quiet():
            self._known_at(now)
        else:
            self._look()
        changed = self._overheard or before is not NEVER and self.snapshot is not before
        self._overheard = False
        self._in_company = self._in_company or changed
        self._lively_looks = self._lively_looks + 1 if changed else 0
        return self.snapshot

    def overhear(self, readonly: bool) -> Snapshot | None:
        """As scan(), where that can be known without the lock and in a mailbox in which others change
        something: nobody waits for this.  None otherwise."""
        before, changes = self.snapshot, self.changes
        # one that is not watched: if it is large it will be soon, and is read once for a command until then
        if before is NEVER or not changes.watched and (
                not self._in_company or len(self.contents.held.flags) >= SMALL):
            return None
        self.leaves_recent = readonly
        now = _now(self)
        if self.is_quiet(stays=False):
            self._known_at(now)
        elif changes.needs_number() or not self.update(False):
            return None
        else:
            self._overheard = self._overheard or self.snapshot is not before
        return self.snapshot

    def _known_at(self, when: int) -> None:
        """Nothing has happened until then, a value of _now()."""
        self.looked = when
        if self.snapshot.recent is not NO_UIDS:    # it is told once, to the look that found it
            self.snapshot = self.snapshot.with_recent(NO_UIDS)

    def _look(self) -> None:
        # lines of messages that we removed, and for long enough to write the uiddb for them
        if self.numbers.owed and self.numbers.is_due() and self.write_what_is_left():
            return
        # most changes need no number: a look without the lock will do, or will do as
        # soon as the session that holds it has numbered what is new
        if not self.changes.needs_number() and self.update(False):
            return
        try:
            try:
                self._with_lock()
            except QuotaExceeded:
                if not self.place.make_room():
                    raise
                self.changes.doubt()       # what came was moved to cur/ already
                self._with_lock()
        except (Denied, QuotaExceeded) as why:
            if self.snapshot is NEVER:
                log.err(f"{why}: what has a number is served")
            self._serve_what_is_numbered(why)

    def write_what_is_left(self) -> bool:
        """Look, and take the lines of what is gone from the uiddb.  False when the lock cannot
        be had at once: it only saves work, and who needs a number next leaves them out too."""
        numbers, lock = self.numbers, self.place.lock
        numbers.struck = time.monotonic()
        try:
            if not lock.attempt():
                return False
            try:
                return self.update(True)
            finally:
                lock.release()
        except FolderMissing:
            raise
        except StoreError as why:
            log.warn(f"{why}: lines of messages that are gone stay for now")
            numbers.owed = False
            return False

    def _with_lock(self) -> None:
        if self._take_lock():
            try:
                self.update(True)
            finally:
                self.place.lock.release()

    def _take_lock(self) -> bool:
        """False, without it, when somebody else did meanwhile what it was wanted for.

        Many sessions hear of a new message at the same moment, and one of them numbers
        it; the others have nothing to do but to hear when that is done.
        """
        end = time.monotonic() + HEARKEN
        while self.changes.needs_number() and time.monotonic() < end:
            if self.place.lock.attempt():
                return True
            self.changes.hearken(A_WHILE)
            if not self.changes.needs_number() and self.update(False):
                return False
        return self.place.lock.take(lambda: self.update(False))

    def is_quiet(self, stays: bool = True, ask: bool = True) -> bool:
        """Is everything as at the last look, and in the snapshot?  ``stays``: it counts as a look, by which a
        session that stays in a large mailbox comes to its watch.  ``ask``: as for Changes.at_rest()."""
        held, changes, numbers = self.contents.held, self.changes, self.numbers
        if self.recent.fresh is not NO_UIDS or numbers.owed and numbers.is_due() or self.keywords.doubtful \
                or held.database.uids is not self.snapshot.messages.uids:
            return False
        if not changes.watched:
            quiet = self.stamps is not None and self.stamps == self.place.stamps()
            if not stays:
                return quiet
            self._quiet_looks += quiet
            if not quiet or self._quiet_looks == STAYS:    # what is to come will not need a reading of cur/
                self.watch_if_large()
            if quiet:
                return True
        return changes.at_rest(held.twins, ask)

    # -- the look itself

    def update(self, locked: bool) -> bool:
        """Bring the contents and the snapshot up to date.  False: that needs the lock."""
        changes = self.changes
        # 1. when it is: what happens from now on is for the next one
        self.looked = self.place.readers.now()
        stamps = self.place.stamps() if not changes.watched or not self.contents.known else None
        if changes.watched:
            changes.hear()             # what came while we waited for the lock, or for its numbers
        # 2. which messages there are, in the cheapest way that knows it
        found, indexed, as_before = Look.READ_CUR, False, False
        if not self.contents.known:
            before = lately.find(self.place, stamps)
            as_before = before is not None and not changes.watched
            found = self._survey.from_index(stamps) if before is None else self._survey.from_before(before)
            indexed = found is Look.DONE and (before is None or not before.unsaved)
        elif changes.watched and not changes.heard.everything:
            found = self._survey.by_events(locked)
        # the index asks for the lock where mail waits, also of who has it
        if found is Look.READ_CUR or locked and found is Look.NEEDS_LOCK:
            found = self._survey.by_listing(locked)
        if found is Look.NEEDS_LOCK:
            return False
        # 3. their keywords; those of before are as these stamps say
        if not as_before and not self._read_keywords(locked):
            return False
        if self.keywords.files.unmerged and self.snapshot is NEVER and not self.leaves_recent:
            self._merge_keywords()
        # 4. which of them are recent
        recent = self.recent.claim(locked, self.leaves_recent)
        if recent is None:
            return False
        # 5. what all of that is for our client, and that it is known
        self._make_snapshot(recent.within(self.contents.held.database.uids))
        if locked and not self.numbers.unwritten:
            self.numbers.owed = False  # another session wrote it down
        if indexed:
            self.unsaved = False       # the index said all of it
        changes.done()
        # what is known is of this moment if nothing changed while it was read
        self.stamps = stamps if as_before or stamps is not None and stamps == self.place.stamps() else None
        return True

    def _read_keywords(self, locked: bool) -> bool:
        """False: that needs the lock."""
        return self.keywords.refresh(self.numbers.named, self.changes.heard.keywords,
                                     self.changes.hears_keywords, locked)

    def _merge_keywords(self) -> None:
        """Updates would pile up: who opens the mailbox merges them, unless somebody has the lock."""
        place = self.place
        try:
            if self.keywords.merging_pays(self.keywords.files.unmerged) and place.lock.attempt():
                try:
                    self.keywords.again()
                    self._read_keywords(True)
                finally:
                    place.lock.release()
        except StoreError:
            return                     # the disk takes nothing

    def _make_snapshot(self, recent: UidSet) -> None:
        """The snapshot of what is held; the one before if nothing differs."""
        before, held = self.snapshot, self.contents.held
        database = held.database
        if self.contents.departed:
            self.keywords.forget(self.contents.departed)
        messages = Messages(database.uids, bytes(held.flags), dict(self.keywords.by_uid))
        if before is not NEVER and before.uidvalidity == database.uidvalidity \
                and before.uidnext == database.uidnext and before.messages == messages:
            database.uids = before.messages.uids
            if recent != before.recent:
                self.snapshot = before.with_recent(recent)
            return
        self.snapshot = Snapshot(database.uidvalidity, database.uidnext, messages, recent)
        self.unsaved = True

    def snap(self) -> None:
        """A snapshot that has what we just did to messages that are there."""
        old, held = self.snapshot, self.contents.held
        if held.database.uids is not old.messages.uids:
            return                     # the next look makes one
        messages = Messages(old.messages.uids, bytes(held.flags), dict(self.keywords.by_uid))
        self.snapshot = Snapshot(old.uidvalidity, old.uidnext, messages, old.recent)
        self.unsaved = True

    def again(self) -> None:
        """Under the lock: a look outside of scan(); what it finds is recent for the next scan()."""
        self.update(True)
        self.recent.not_told(self.snapshot.recent, self.leaves_recent)
        self.snapshot = self.snapshot.with_recent(NO_UIDS)

    def _serve_what_is_numbered(self, why: StoreError) -> None:
        """The disk takes nothing, or has no room: a look that writes nothing.

        What has no number on a disk that takes nothing is not shown, as the number could not be kept.
        Where there is only no room, and in a mailbox of which no number is known, it is numbered in
        memory; so all of it is shown, and who has room writes that down (see Numbers.restore, lent.py).
        """
        denied = isinstance(why, Denied)
        if denied and self.snapshot is NEVER:
            self.read_only = True
        found = self.place.numbers()
        if found is None or found.damaged:
            database, lost = self.numbers.restore(found, record=False), True
        else:
            database, lost = self.numbers.known(found), False
        if not denied:
            self._arrivals.take(self._arrivals.waiting())
        self._survey.read_without_writing(database, number=lost or not denied, lend=not lost)
        self.keywords.again()
        self._read_keywords(False)
        self._make_snapshot(NO_UIDS)
        self.changes.done()
        self.changes.doubt()           # what has no number yet: the next look tries again
        self.stamps = None


def is_known(looker: Looker, messages: Messages) -> bool:
    """Is that all of what is held, without MODSEQs?"""
    held = looker.contents.held
    return held.database.uids is messages.uids and messages.modseqs is None \
        and held.flags == messages.flags and looker.keywords.by_uid == messages.keywords


def caught_up(looker: Looker) -> Snapshot | None:
    """The snapshot behind a change of flags of ours, where the watch has heard of nothing else until that was
    done, and nobody waits to hear when we looked.  None otherwise: look."""
    quiet = looker.changes.watched and not looker.contents.departed and not looker.place.readers.waiting \
        and looker.is_quiet(ask=False)
    return looker.snapshot if quiet else None


def _now(looker: Looker) -> int:
    """When a look begins; of use to who was not told of all that is gone."""
    readers = looker.place.readers
    return readers.now() if looker.contents.departed or readers.waiting else looker.looked
