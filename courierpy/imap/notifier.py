"""What a client hears of by itself, as it asked for it.  RFC 5465.

A ``Notifier`` is what the session has between its commands: it listens to the directories of the
mailboxes that the client wants to hear of, by the process's instance of inotify, and tells what is
different from what was told last.  Where the system has no inotify the clock takes its place.
"""
from __future__ import annotations

import os
from functools import partial

from courierpy.imap import ext, modseqs, updates
from courierpy.imap.commands import CHANGES, WRITES, cmd_fetch, cmd_status
from courierpy.imap.grammar import lines, out
from courierpy.imap.grammar.fetchitems import FetchItem
from courierpy.imap.listing import Entry, Listing, parents_of
from courierpy.imap.watched import Watched, heard_at, identities, related, renamed, settled, subscriptions
from courierpy.imap.wishes import (
    ENTRIES,
    EXPUNGE,
    FLAGS,
    MESSAGE_EVENTS,
    NAME,
    NEW,
    NONE,
    OVERFLOW,
    SERVER_ENTRIES,
    SUBSCRIPTION,
    Group,
    Told,
    Wish,
)
from courierpy.maildir.annotation import Journal
from courierpy.maildir.errors import StoreError
from courierpy.maildir.highest import highest
from courierpy.maildir.watch import LIMITS, Refused
from courierpy.model import packed
from courierpy.model.namespaces import SHARED_PREFIXES
from courierpy.model.replies import No
from courierpy.model.section import Section
from courierpy.model.uidset import NO_UIDS, UidSet
from courierpy.system import inotify, log
from courierpy.system.inotify import NotInstalled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from courierpy.imap.commands import Row
    from courierpy.imap.session import Session
    from courierpy.imap.updates import Update
    from courierpy.maildir.index.statuscache import Status
    from courierpy.maildir.watch import Watch

METADATA, NOTIFY = b"METADATA", b"NOTIFY"
LONG = 3600.0                          # seconds
JUST_MADE = -1                         # UIDVALIDITY of a mailbox of which only the name is told
RIGHTS = frozenset("lr")               # that all events need: RFC 5465 5
NAMING = frozenset("kxa")              # for what changes which names there are
CLASSES = (Group, FetchItem, Section)


class Notifier:
    """One NOTIFY of a session: a method for each kind of event, how it is heard or how it is told."""

    def __init__(self, session: Session, wish: Wish) -> None:
        self.session = session
        self.wish = wish
        self._clock = LONG                      # seconds between two looks at the others
        self._watched: Watched | None = None    # the others, where they are heard
        self._doubtful = False                  # anything may have happened to them
        self._told: dict[str, Told] = {}
        self._names: dict[str, tuple[int, int]] = {}       # mailbox -> identity of its directory
        self._subscribed: frozenset[str] = frozenset()
        self._at: tuple[str, Told] | None = None           # the selected mailbox, as the client knows it
        self._journal: Journal | None = None               # of annotations, where they are wanted

    # -- what the session asks

    def listens(self) -> tuple[set[int], float]:
        """(descriptors that can be read when there may be something to tell, seconds until it looks in any
        case)"""
        watched = self._watched
        found, pause = ({watched.fd}, LONG) if watched is not None else (set[int](), self._clock)
        waiting = watched is not None and watched.waiting
        if self.session.selected is not None and self.wish.events:
            watch = self._watch_of_selected()
            if watch is None:
                pause = min(pause, self._seldom())
            else:
                found.add(watch.fd)
                waiting = waiting or watch.waiting
        if watched is not None:
            watched.stays()
        return found, 0.0 if waiting else pause

    def _watch_of_selected(self) -> Watch | None:
        """None where there can be none."""
        selected = self.session.selected
        if selected is None or not self.session.settings.flag("IMAP_ENHANCEDIDLE"):
            return None
        try:
            return selected.folder.watch()
        except Refused:
            return None

    def _seldom(self) -> float:
        """Seconds between two looks where nothing is heard."""
        return float(max(1, self.session.settings.number("IMAP_IDLE_TIMEOUT")))

    def begin(self, status: bool) -> None:
        """Listen.  ``status``: tell how the mailboxes are.  Raises No where there is no room for so much."""
        session = self.session
        self._subscribed = subscriptions(session.folders, None if self.wish.of_subscriptions else frozenset())
        self._names = identities(session.folders, self._of_others())
        if not self.wish.others:
            return
        if self.wish.wants(ENTRIES) or self.wish.wants(SERVER_ENTRIES):
            ext.find("enable", METADATA)(session)          # its own changes have a name from now on
            self._journal = Journal(session.folders.layout.inbox)
        try:
            self._listen()
        except OSError:
            raise No("So much cannot be watched here.", OVERFLOW) from None
        for name in self._names:
            events = self._events(name)
            if events and (not self._may_read(name)
                           or self._watched is not None and name in self._watched.denied):
                session.write(self._line(Entry(name, True, False), b"\\NoAccess"))
            elif events & MESSAGE_EVENTS:
                self._begin_with(name, events, status)

    def tell(self) -> None:
        """Tell what happened, between two commands."""
        if self.wish.events:
            self._watch_of_selected()  # what happens after the look is heard
            self.session.tell(expunges=self.expunges)
        self.tell_others()

    def tell_others(self) -> None:
        """Tell what happened outside the selected mailbox."""
        changed = self._left()
        if self._watched is not None:
            more, names = self._heard(self._watched)
            changed |= more
        elif self._clock < LONG:
            changed, names = {*self._names}, True
        else:
            return
        if self._doubtful:
            changed, names, self._doubtful = {*self._names}, True, False
        if names:
            changed |= self._tell_names()
        for name in sorted(changed):
            if name in self._names:
                self._tell_status(name)
        self._tell_entries()

    def did(self, row: Row, mailboxes: list[str]) -> None:
        """The client's own command is done: what it did to names and subscriptions is no news.  What others
        did to other names meanwhile is."""
        if self.wish.others and row.flags & CHANGES and not row.flags & WRITES \
                and (not row.named or NAMING.intersection("".join(row.named))):
            for name in sorted(self._tell_names([name.rstrip(self.session.separator) for name in mailboxes])):
                self._tell_status(name)

    def close(self) -> None:
        """Hear no more."""
        if self._watched is not None:
            self._watched.close()
            self._watched = None

    # -- where another process goes on

    def ear(self) -> int | None:
        """What the others are heard by while this process is not there: a descriptor; -1: they need not be
        heard.  None: nobody else can do it."""
        if self._clock < LONG:
            return None
        if self._watched is None:
            return -1
        found = inotify.own()
        return found if found >= 0 else None

    def packed(self) -> tuple[bytes, bytes]:
        """For again(), and whose that is."""
        told, names = self._told, self._names
        return NOTIFY, packed.pack((
            self.wish.selected, [*self.wish.others],
            self._watched.packed() if self._watched is not None else None,
            self._journal.place if self._journal is not None else None, sorted(self._subscribed),
            [*names], packed.numbers("Q", names.values()),
            [*told], packed.numbers("q", map(Told.numbers, told.values()))), CLASSES)

    @classmethod
    def again(cls, session: Session, octets: bytes) -> Notifier:
        """One that goes on for another process's.  Raises ValueError."""
        selected, others, watched, journal, subscribed, names, identities, told, counts = \
            packed.unpack(octets, CLASSES)
        found = cls(session, Wish(selected, others))
        found._subscribed = frozenset(subscribed)
        found._names = {name: (device, inode) for name, (device, inode)
                        in zip(names, packed.rows("Q", 2, identities), strict=True)}
        found._told = {name: Told(*numbers) for name, numbers
                       in zip(told, packed.rows("q", 5, counts), strict=True)}
        if journal is not None:
            found._journal = Journal(session.folders.layout.inbox, journal)
        if watched is not None:
            found._watched = Watched.again(session.folders, found._wanted, found._reaches, watched)
            if found._watched is None:
                found._hear_anew()
        return found

    def _hear_anew(self) -> None:
        """What happened since the process before was there, nobody has heard."""
        self._doubtful = True
        try:
            self._listen()
        except OSError:
            self._give_up()

    # -- the selected mailbox

    def chosen(self, said: list[Update]) -> list[Update]:
        """What of these updates is told.  What the client's own command has brought about is told as ever."""
        row = self.session.row
        if row is not None and row.flags & (WRITES | CHANGES):
            return said
        events, view = self.wish.events, self.session.need_selected().view
        kept: list[Update] = []
        for update in said:
            if isinstance(update, updates.FlagsChanged):
                if FLAGS in events:
                    update.with_uid = True         # RFC 5465 5.1
                    kept.append(update)
                else:
                    update.apply(view)             # what is fetched is as it is
            elif isinstance(update, updates.Arrived):
                kept += [update] if NEW in events else []
            elif isinstance(update, updates.Expunged):
                kept += [update] if EXPUNGE in events else []
            elif isinstance(update, updates.Sizes):
                if any(isinstance(one, (updates.Arrived, updates.Expunged)) for one in kept):
                    kept.append(update)
            elif events:
                kept.append(update)
        return kept

    def told(self, said: Iterable[Update]) -> None:
        """These updates were told.  What is wanted of new messages follows, but not of the client's own."""
        session, items = self.session, self.of_new()
        selected = session.need_selected()
        entered, selected.entered = selected.entered, NO_UIDS
        if not items:
            return
        uids = [uid for update in said if isinstance(update, updates.Arrived) for uid in update.states]
        uids = list(UidSet.of(uids) - entered) if uids else []
        cmd_fetch.tell_of_new(session, items, uids)

    @property
    def expunges(self) -> bool:
        """May what went be told between two commands?"""
        return not self.wish.delayed

    def of_new(self) -> list[FetchItem]:
        """What is fetched of messages that are new in the selected mailbox."""
        return [] if self.wish.selected is None else self.wish.selected.items

    def _left(self) -> set[str]:
        """The mailbox that was selected until now, if it is not any more: what the client knew then is
        what it was told of it."""
        selected, before = self.session.selected, self._at
        self._at = None
        if selected is not None:
            snapshot = selected.snapshot
            self._at = selected.folder.name, Told(snapshot.uidvalidity, snapshot.uidnext, len(selected.view))
        if before is None or self._at is not None and self._at[0] == before[0]:
            return set()
        name, known = before
        if not self._events(name) & MESSAGE_EVENTS:
            return set()
        self._told[name] = known
        return {name}

    # -- what is heard

    def _events(self, name: str) -> frozenset[bytes]:
        return self.wish.of(name, self.session.separator, self._subscribed)

    def _of_others(self) -> list[str]:
        """The mailboxes of others that something is to be heard of."""
        return [name for virtual, prefix in zip((True, False), SHARED_PREFIXES, strict=True)
                if self._reaches(prefix) for name in self.session.folders.shared_names(virtual)
                if self._events(name)]

    def _reaches(self, prefix: str) -> bool:
        return self.wish.reaches(prefix, self._subscribed)

    def _may_read(self, name: str) -> bool:
        try:
            return self.session.folders.rights(name) >= RIGHTS
        except StoreError as why:
            log.err(str(why))          # the others are heard
            return False

    def _wanted(self, name: str) -> frozenset[bytes]:
        """What is to be heard of a mailbox, and may be."""
        return self._events(name) if self._may_read(name) else NONE

    def _listen(self) -> None:
        """Hear of the others from now on; by the clock where nothing can be heard.  OSError where there is no
        room for so much."""
        try:
            if not self.session.settings.flag("IMAP_ENHANCEDIDLE"):
                raise NotInstalled
            self._watched = Watched(self.session.folders, self._wanted, self._reaches)
            self._watched.begin(self._names)
        except OSError as why:
            self.close()
            if not isinstance(why, NotInstalled):
                log.warn(f"NOTIFY: {LIMITS.get(why.errno or 0) or why}")
                raise
            self._clock = self._seldom()

    def _heard(self, watched: Watched) -> tuple[set[str], bool]:
        """(mailboxes whose messages may have changed, may there be other names or subscriptions?)"""
        news = watched.heard()
        for path in news.made:
            self._try(partial(watched.root, path))
        return {*self._names} if news.mailboxes is None else news.mailboxes, news.names

    def _try(self, watch: Callable[[], None]) -> None:
        """Watch more, or give all of it up where there is no room."""
        if self._watched is None:
            return
        try:
            watch()
        except FileNotFoundError:
            return
        except OSError as why:
            log.warn(f"NOTIFY: {LIMITS.get(why.errno or 0) or why}")
            self.close()
            self._give_up()

    def _give_up(self) -> None:
        """Tell nothing any more, and tell that.  RFC 5465 5.8."""
        self.wish = Wish()
        self.session.write(lines.told(lines.OK, "There is too much to watch: nothing is told any more.",
                                      OVERFLOW))

    # -- names

    def _tell_names(self, own: Collection[str] = ()) -> set[str]:
        """Tell of names and subscriptions that came and went; gives the mailboxes that are new.
        ``own``: what became of these, and of what is above and below them, is known."""
        folders, subscribed = self.session.folders, self._subscribed
        self._subscribed = subscriptions(folders, subscribed)
        before, self._names = self._names, settled(folders, self._of_others, self._names)
        old = renamed(before, self._names)
        came = {name for name in self._names.keys() - before.keys() if name not in old}
        gone = before.keys() - self._names.keys() - {*old.values()}
        lines_of: dict[str, Entry] = {}
        separator = self.session.separator
        parents = parents_of(self._names, separator)
        above = {name.rpartition(separator)[0] for name in came | gone} - {""}     # RFC 5465 5.4
        other = subscribed ^ self._subscribed
        for name in sorted({*came, *gone, *old, *above, *other}):
            wanted = SUBSCRIPTION if name in other and name not in {*came, *gone, *old, *above} else NAME
            events = self._events(name) | (self._events(old[name]) if name in old else NONE)
            if name in subscribed and name not in self._subscribed:
                events |= self.wish.of(name, separator, subscribed)
            if wanted in events or name in other and SUBSCRIPTION in events:
                entry = lines_of[name] = Entry(name, name in self._names, name in parents)
                top = name.rpartition(separator)[0]
                if name in old and not (top in old and old[name] == old[top] + name[len(top):]):
                    entry.old = old[name]
                elif name in old:
                    del lines_of[name]                     # its parent's line says so
        known = {name for name in {*lines_of, *came} if related(name, own, separator)} if own else set[str]()
        for entry in lines_of.values():
            if entry.name not in known:
                self.session.write(self._line(entry))
        self._moved(old)
        return self._new_mailboxes(came) - known

    def _tell_entries(self) -> None:
        """Tell of annotations that others changed.  RFC 5465 5.6, 5.7."""
        session = self.session
        if self._journal is None:
            return
        own = session.kept.get(METADATA, b"-").partition(b" ")[0]
        for name, entries in self._journal.news(own).items():
            wanted = self.wish.wants(SERVER_ENTRIES) if not name else ENTRIES in self._events(name)
            if wanted and METADATA not in session.enabled:             # who enabled it hears it anyway
                session.write(lines.data(METADATA, out.mailbox(name, session.utf8),
                                         *map(out.astring, entries)))
        if METADATA in session.enabled:
            session.tell_news()

    def _moved(self, old: dict[str, str]) -> None:
        new = {before: name for name, before in old.items()}
        if self._watched is not None:
            self._watched.renamed(new)
        for before, name in new.items():
            if before in self._told:
                self._told[name] = self._told.pop(before)

    def _new_mailboxes(self, came: Iterable[str]) -> set[str]:
        """Watch these too.  Gives those that have mail already."""
        changed, watched = set[str](), self._watched
        known = set[str]()
        if watched is not None:
            watched.denied &= self._names.keys() - set(came)
            known = watched.mailboxes | watched.denied
            watched.unmade.clear()
            self._try(watched.around)
        for name in sorted(self._names):
            if name not in known and self._watched is not None and self._events(name) & MESSAGE_EVENTS:
                self._try(partial(self._watched.mailbox, name))
                if name in came:
                    if self._watched is not None and self.session.folders.layout.nested:
                        self._try(partial(self._watched.root, self.session.folders.path_of(name)))
                    self._told[name] = Told(JUST_MADE, 1, 0)
                    changed.add(name)
        for name in self._told.keys() - self._names.keys():
            del self._told[name]
        return changed

    def _line(self, entry: Entry, more: bytes = b"") -> bytes:
        """The LIST line of a name.  RFC 5465 5.4, 5.5.  ``more``: an attribute."""
        listing = Listing(self.session, extended=True)
        listing.attributes[b""] = lambda entry: more
        listing.attributes[b"SUBSCRIBED"] = \
            lambda entry: b"\\Subscribed" if entry.name in self._subscribed else b""
        return listing.line()(entry, False)

    # -- the messages of others

    def _count(self, name: str, events: frozenset[bytes], status: bool = False) -> tuple[Status, Told] | None:
        """How a mailbox is now; None where that cannot be said.  ``status``: its HIGHESTMODSEQ is told."""
        folders = self.session.folders
        path = heard_at(folders, name)
        if not all(os.path.isdir(os.path.join(path, part)) for part in ("cur", "new")):
            return None                # it comes or goes: to open it would make it whole
        try:
            count = folders.status(name)
            numbered = modseqs.TOKEN in self.session.enabled or status and FLAGS in events
            return count, Told.of(count, highest(folders, name) if numbered else -1)
        except StoreError as why:
            log.err(str(why))
            return None

    def _begin_with(self, name: str, events: frozenset[bytes], status: bool) -> None:
        selected = self.session.selected
        if selected is not None and selected.folder.name == name:
            return
        if not status:
            folders = self.session.folders
            known = folders.counts.unchanged(folders.path_of(name))
            if known is not None:
                self._told[name] = Told.of(known)
            return
        found = self._count(name, events, status=True)
        if found is None:
            return
        count, self._told[name] = found
        words = [b"MESSAGES"] + ([b"UIDNEXT", b"UIDVALIDITY"] if NEW in events or FLAGS in events else [])
        self._write(name, count, words, self._told[name].modseq if FLAGS in events else -1)

    def _tell_status(self, name: str) -> None:
        """Tell what changed in a mailbox that is not selected.  RFC 5465 5.1 to 5.3."""
        events = self._events(name) & MESSAGE_EVENTS
        selected = self.session.selected
        if not events or selected is not None and selected.folder.name == name or not self._may_read(name):
            return
        found = self._count(name, events)
        if found is None:
            return
        before = self._told.get(name)
        count, now = found
        self._told[name] = now
        words: list[bytes] = []
        if before is None or before.uidvalidity not in (JUST_MADE, now.uidvalidity):
            words += b"MESSAGES", b"UIDNEXT", b"UIDVALIDITY"
        elif (before.messages, before.uidnext) != (now.messages, now.uidnext):
            words += b"MESSAGES", b"UIDNEXT"
        if FLAGS in events and before is not None:
            if before.unseen not in (-1, now.unseen):
                words.append(b"UNSEEN")
            if now.modseq not in (-1, before.modseq):
                words.append(b"UIDVALIDITY")
        if words:
            self._write(name, count, words, now.modseq)

    def _write(self, name: str, count: Status, words: list[bytes], modseq: int) -> None:
        said = [cmd_status.Items(words).told(self.session, name, count)]
        if modseq >= 0:
            said.append(b"HIGHESTMODSEQ %d" % modseq)
        told = out.mailbox(name, self.session.utf8)
        self.session.write(lines.data(b"STATUS", told, b"(%s)" % b" ".join(said)))
