"""One mailbox on disk.  Gives Snapshots, takes changes.  Knows nothing of IMAP or clients.

It holds the parts, each of which owns its state, and says in which order they act:

    MailboxDirectory   paths, lock, readers, index: what is on disk and who else works there
    Contents           what cur/ holds, as far as is known, and what went and was not told
    Changes            the watch: what was heard, and what we did ourselves
    Numbers            the uiddb
    KnownKeywords      the keywords
    Recent             what was shown to nobody yet
    Arrivals           new/ to cur/
    Survey, Looker     what is there, and a snapshot of it (looker.py has the states and the rules)
    Finder             where a message's file is now
    FlagWriter, Removal, Intake   changes of flags, messages out, messages in
"""
from __future__ import annotations

import os

from courierpy.maildir import saving
from courierpy.maildir.arrivals import Arrivals
from courierpy.maildir.changes import Changes
from courierpy.maildir.contents import NOTHING, Contents
from courierpy.maildir.errors import StoreError, Vanished
from courierpy.maildir.finder import Finder
from courierpy.maildir.index.asof import as_of
from courierpy.maildir.index.statuscache import Status
from courierpy.maildir.keywords import KnownKeywords
from courierpy.maildir.looker import Looker, caught_up, is_known
from courierpy.maildir.mailboxdirectory import MailboxDirectory
from courierpy.maildir.numbers import Numbers
from courierpy.maildir.recent import Recent
from courierpy.maildir.survey import Survey
from courierpy.model.rights import ALL_FLAGS
from courierpy.model.uidset import NO_UIDS, UidSet
from courierpy.system.proc import trim_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from courierpy.maildir.disposal import Disposal
    from courierpy.maildir.draft import Draft
    from courierpy.maildir.flagwriter import FlagWriter, States
    from courierpy.maildir.formats.maildirsize import Amount
    from courierpy.maildir.graveyard import Grave
    from courierpy.maildir.index.statuscache import Counts
    from courierpy.maildir.index.valuecache import Cache
    from courierpy.maildir.intake import Intake
    from courierpy.maildir.locks import FolderLock
    from courierpy.maildir.modseqs import Modseqs
    from courierpy.maildir.options import StoreOptions
    from courierpy.maildir.removal import Removal
    from courierpy.maildir.transfer import Origin, Saved
    from courierpy.maildir.uidvalidity import Uidvalidities
    from courierpy.maildir.watch import Watch
    from courierpy.model.flags import FlagChange
    from courierpy.model.messages import Messages, Snapshot

PATIENCE = 2.0                     # seconds that a session that leaves waits to write what went


class Mailbox:
    """A mailbox that is open.

    ``name``: as IMAP says it; ``path``: its directory.  ``modseqs``: of its changes; None: the
    client did not ask for them.  ``settable``: bits of the flags that messages may bring along, and may
    keywords?

    What has no state of its own is made where it is used: a session that only waits has no memory for it.
    Who has a mailbox open asks it alone, and its parts do the work: hence many methods, each of a few lines.
    """

    __slots__ = ("_arrivals", "_cache", "_counts", "_flags", "_looker", "_only_read", "contents", "index",
                 "keywords", "modseqs", "name", "path", "place", "settable")

    def __init__(self, name: str, path: str, options: StoreOptions, uidvalidities: Uidvalidities,
                 counts: Counts) -> None:
        self.name = name
        self.path = path
        self.modseqs: Modseqs | None = None
        self.settable = ALL_FLAGS, True
        self._only_read = options.read_only
        self.place = place = MailboxDirectory(path, options)
        self.index = place.index
        self.contents = contents = Contents()
        self.keywords = keywords = KnownKeywords(options.keywords_of(path), options.keywords,
                                                 place.readers.others)
        changes = Changes(path, keywords.files.path)
        numbers = Numbers(place, contents, changes, keywords.files, uidvalidities)
        recent = Recent(place.index)
        self._arrivals = arrivals = Arrivals(place, changes)
        survey = Survey(place, contents, numbers, changes, arrivals, keywords, recent)
        self._looker = Looker(place, contents, numbers, changes, arrivals, keywords, recent, survey)
        self._counts = counts
        self._cache: Cache | None = None
        self._flags: FlagWriter | None = None

    # -- a session has it open

    def join(self) -> None:
        """A session has the mailbox open, until close()."""
        self.place.readers.join()
        # EROFS is told to root as well
        self._looker.read_only = self._only_read or not os.access(self.place.cur, os.W_OK)

    @property
    def numbered(self) -> bool:
        """Would any other process give the messages the numbers that the client was told?  Not those that a
        full disk had no room for, nor those of a mailbox without any on a disk that takes nothing.  Raises a
        store error."""
        looker = self._looker
        if looker.numbers.lent:
            return False
        if not looker.read_only:
            return True
        found = self.place.numbers()
        return found is not None and not found.damaged and found.uidvalidity == looker.snapshot.uidvalidity

    @property
    def read_only(self) -> bool:
        """Does the disk take nothing?  Then only what is numbered is served."""
        return self._looker.read_only

    def close(self, wait: bool = False) -> None:
        """The session leaves the mailbox.  ``wait``: nobody waits for us, so the moment may
        pass that is needed to save what is known."""
        if self._cache is not None:
            self._cache.flush()
        if not self._looker.is_crowded():
            self._looker.numbers.strike_out(PATIENCE)
        if self.contents.known:
            saving.save(self._looker, wait)
            saving.remember(self._looker)
        self.place.readers.leave()
        self.forget()

    def forget(self) -> None:
        """What is known goes, as something broke off in the middle: the next look is as the first one.
        What the client was not told yet stays readable."""
        self._cache = None
        self.contents.held = NOTHING
        self.keywords.lost()
        looker = self._looker
        looker.forget()
        looker.numbers.forget()
        looker.changes.close()
        if self.modseqs is not None:
            self.modseqs.close()       # it is read anew

    @property
    def finder(self) -> Finder:
        """Where its messages are."""
        return Finder(self.place, self.contents, self._looker.numbers, self._looker.changes)

    def locked(self) -> FolderLock:
        """The lock, to be taken for several changes."""
        return self.place.lock

    # -- what is there

    def watch(self) -> Watch:
        """What hears of changes from now on, until close().  Raises watch.Refused."""
        return self._looker.watch()

    def scan(self, readonly: bool = False) -> Snapshot:
        """As Looker.scan; with MODSEQs for a client that asked for them."""
        return self._looker.scan(readonly) if self.modseqs is None else self.modseqs.scan(readonly)

    def overhear(self, readonly: bool) -> Snapshot | None:
        """As Looker.overhear; with MODSEQs for a client that asked for them."""
        found = self._looker.overhear(readonly)
        return found if found is None or self.modseqs is None else self.modseqs.overheard(found)

    def number_changes(self) -> Modseqs:
        """From now on scan() gives MODSEQs, and changes are numbered.  RFC 7162."""
        if self.modseqs is None:
            from courierpy.maildir.modseqs import Modseqs  # for few clients
            self.modseqs = Modseqs(self.place, self._looker.scan)
        return self.modseqs

    def as_of(self) -> int | None:
        """HIGHESTMODSEQ of what was looked at last, where scan() gives no MODSEQs; None where they cannot be
        kept, 0 where what was found has to be numbered first.  Raises a store error."""
        if not self.place.options.locks or self.read_only:
            return None
        stamps = self._looker.stamps or self.place.stamps(sure=False)  # those of the look, if they are sure
        if stamps is None:
            return None
        number = as_of(self.index, stamps, self._looker.looked)
        if not number:
            from courierpy.maildir.index.modseqlog import ModseqLog  # for few
            number = ModseqLog(self.index).number_of(self._looker.snapshot)
        return number

    def told(self) -> None:
        """The client knows what is gone: nobody has to keep it for us, and no file gets its UIDs again."""
        if self.modseqs is not None and self.modseqs.kept:
            self.modseqs.told = self.modseqs.history.highest
        looker, numbers, departed = self._looker, self._looker.numbers, self.contents.departed
        if departed or self.place.readers.waiting:
            if numbers.unwritten:
                numbers.told_gone |= UidSet.of(sorted(departed))
            departed.clear()
            self.place.readers.told(looker.looked)
        if numbers.told_gone is not NO_UIDS and not looker.read_only and numbers.is_due():
            numbers.strike_out()

    def status(self) -> Status:
        """Counts without moving mail from new/ and without numbering it.  Raises a store error."""
        from courierpy.maildir import counting  # as for _store()
        return counting.status(self.place, self._looker.numbers, self._counts)

    # -- what was computed of the messages

    @property
    def cache(self) -> Cache:
        """What all sessions have computed of its messages."""
        uidvalidity = self._looker.snapshot.uidvalidity
        if self._cache is None or self._cache.uidvalidity != uidvalidity:
            from courierpy.maildir.index.valuecache import Cache  # who asks for flags alone needs none
            self._cache = Cache(self.index, uidvalidity)
        return self._cache

    @property
    def busy(self) -> bool:
        """Is there memory that rest() gives back?"""
        return self._cache is not None

    def rest(self) -> None:
        """Nothing happens for a while: what can be had again goes."""
        self._flags = None
        if self._cache is not None:
            self._cache.forget()
            self._cache = None
            trim_memory()

    # -- changes

    def store(self, uids: Sequence[int], change: FlagChange, refused: list[StoreError] | None = None,
              ) -> States:
        """Change flags; uid -> what it has now.  Messages that are gone are left out, and so are
        those that alone cannot be changed: why they cannot is added to ``refused``."""
        if self.modseqs is None:
            return self._store(uids, change, refused)
        with self.modseqs:
            return self._store(uids, change, refused)

    def store_known(self, known: Messages, uids: Sequence[int], change: FlagChange, refused: list[StoreError],
                    ) -> tuple[States, Snapshot | None]:
        """As store(); and the snapshot behind it, where that is ``known`` with what is given and the watch
        says that nothing else happened until it was done."""
        looker = self._looker
        whole = len(uids) > 0 and is_known(looker, known)
        done = self.store(uids, change, refused)
        return done, caught_up(looker) if whole and len(done) == len(uids) else None

    def _store(self, uids: Sequence[int], change: FlagChange, refused: list[StoreError] | None) -> States:
        looker, flags = self._looker, self._flags
        if flags is None:
            from courierpy.maildir.flagwriter import FlagWriter  # many sessions only read
            flags = self._flags = FlagWriter(self.place, self.contents, self.finder, looker.changes,
                                             self.keywords)
        looker.watch_if_large()
        try:
            return flags.store(uids, change, refused)
        finally:
            looker.snap()

    def expunge(self, uids: Iterable[int], refused: list[StoreError] | None = None,
                disposal: Disposal | None = None) -> list[int]:
        """Remove messages that are \\Deleted still; gives the UIDs that went.  ``refused``: as
        for store().  ``disposal``: what becomes of them, None: nothing."""
        self._looker.watch_if_large()
        return self._removal().expunge(uids, refused, disposal=disposal)

    def _removal(self) -> Removal:
        from courierpy.maildir.removal import Removal  # as for _store()
        looker = self._looker
        return Removal(self.place, self.contents, looker.numbers, self.finder, looker.changes,
                       self.keywords)

    def remove(self, uids: Iterable[int], refused: list[StoreError] | None = None,
               disposal: Disposal | None = None) -> list[int]:
        """As expunge(), whatever flags they have."""
        self._looker.watch_if_large()
        return self._removal().expunge(uids, refused, only_deleted=False, disposal=disposal)

    def draft(self) -> Draft:
        """A message that is about to come.  Raises a store error."""
        from courierpy.maildir.draft import Draft  # as for _store()
        return Draft(self.path, self.place.options.host)

    def admit(self, octets: int, messages: int, instead: Amount | None = None) -> None:
        """So much is about to come, as far as that is known yet.  ``instead``: as for append().  Raises
        QuotaExceeded."""
        if self.place.quota is not None:
            self.place.quota.admit_octets(octets, messages, instead)

    def counted(self, uid: int, target: Mailbox) -> Amount | None:
        """What this message counts for the quota that ``target`` has too; None where they have none in
        common, and where it is gone."""
        quota = self.place.quota
        if quota is None or quota is not target.place.quota:
            return None
        try:
            return quota.amount_at(self.finder.locate(uid)[0])
        except Vanished:
            return None

    def append(self, drafts: Sequence[Draft], instead: Amount | None = None) -> tuple[int, list[int]]:
        """As transfer.append."""
        from courierpy.maildir import transfer  # as for _store()
        return transfer.append(self._intake(), drafts, instead)

    def restore(self, graves: Sequence[Grave], flags: FlagChange) -> tuple[int, list[int]]:
        """As transfer.restore."""
        from courierpy.maildir import transfer  # as for _store()
        return transfer.restore(self._intake(), graves, flags)

    def take_over(self, messages: Sequence[Saved],
                  refused: list[StoreError] | None = None) -> tuple[int, list[int | None]]:
        """As transfer.take_over."""
        from courierpy.maildir import transfer  # as for _store()
        return transfer.take_over(self._intake(), messages, refused)

    def copy(self, uids: Sequence[int], target: Mailbox,
             refused: list[StoreError] | None = None) -> tuple[int, list[tuple[int, int]]]:
        """As transfer.copy.  ``refused``: as for store()."""
        from courierpy.maildir import transfer  # as for _store()
        return transfer.copy(self._origin(), uids, target._intake(), refused)

    def move(self, uids: Sequence[int], target: Mailbox,
             refused: list[StoreError] | None = None) -> tuple[int, list[tuple[int, int]]]:
        """As transfer.move.  ``refused``: as for store()."""
        from courierpy.maildir import transfer  # as for _store()
        return transfer.move(self._origin(), uids, target._intake(), refused)

    def _origin(self) -> Origin:
        from courierpy.maildir.transfer import Origin  # as for _store()
        self._looker.watch_if_large()
        return Origin(self.place, self.finder, self.keywords, self._looker.changes, self._removal())

    def _intake(self) -> Intake:
        from courierpy.maildir.intake import Intake  # as for _store()
        return Intake(self._looker, self._arrivals, self.settable)


__all__ = ["Mailbox", "Status", "StoreError"]
