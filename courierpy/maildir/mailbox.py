"""One folder on disk.  Gives Snapshots, takes changes.  Knows nothing of IMAP or clients.

A change of flags is a rename, which takes what others set meanwhile over whole;
keywords are a file, read and written under the lock.  What a session expunges
stays readable for those that were not told yet.
"""
from __future__ import annotations

import os
import time
from bisect import bisect_left

from courierpy.maildir import contents, directory, messagefile, transfer
from courierpy.maildir.draft import Draft
from courierpy.maildir.errors import FolderMissing, MessageDenied, StoreError, Vanished, trouble, unchangeable
from courierpy.maildir.files import Directory, exists, listed, remove_tree
from courierpy.maildir.formats import uiddb
from courierpy.maildir.formats.keywordlist import Update
from courierpy.maildir.formats.uiddb import MAX_UID
from courierpy.maildir.index.columns import SMALL
from courierpy.maildir.index.statuscache import Status
from courierpy.maildir.index.valuecache import Cache
from courierpy.maildir.looker import SELDOM, Scanner
from courierpy.maildir.names import SUFFIXES, base, bits_of, in_order, info
from courierpy.maildir.watch import Heard
from courierpy.model.flags import DELETED, NO_KEYWORDS, FlagChange
from courierpy.model.messages import Messages, Snapshot
from courierpy.model.uidset import NO_UIDS, UidSet
from courierpy.system import log
from courierpy.system.proc import trim_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    # what STORE did to a message: row, file name before and after, keywords before if they changed
    Undo = tuple[int, bytes, bytes, frozenset[bytes] | None]

    from collections.abc import Callable, Iterable, Sequence

    from courierpy.maildir.formats.uiddb import UidDb
    from courierpy.maildir.messagefile import MessageFile
    from courierpy.maildir.modseqs import Modseqs

TMP_AGE = 36 * 3600                # seconds after which files in tmp/ are garbage


class Mailbox(Scanner):
    """A mailbox: see Scanner for looking, here for messages."""

    _cache: Cache | None = None
    modseqs: Modseqs | None = None              # of its changes; None: the client did not ask for them
    uidvalidity = 0                             # of the numbers that were given to messages that came last
    _entering = 0                               # the first of them

    def join(self) -> None:
        """A session has the folder open, until close()."""
        self.readers.join()
        self.read_only = not os.access(self.cur, os.W_OK)      # EROFS is told to root as well

    @property
    def cache(self) -> Cache:
        """What was computed of the messages, by all sessions."""
        assert self._snapshot is not None
        if self._cache is None or self._cache.uidvalidity != self._snapshot.uidvalidity:
            self._cache = Cache(self.index, self._snapshot.uidvalidity)
        return self._cache

    @property
    def busy(self) -> bool:
        """Is there memory that rest() gives back?"""
        return self._cache is not None

    def rest(self) -> None:
        """Nothing happens for a while: what can be had again goes."""
        if self._cache is not None:
            self._cache.forget()
            self._cache = None
            trim_memory()

    def forget(self) -> None:
        """What is known goes, as something broke off in the middle: the next look is as the first one.
        What the client was not told yet stays readable."""
        self._cache = None
        self._snapshot = self.held = self._stamps = self._disk = self._file = None
        self.keywords.lost()
        self._own, self._own_heard, self._heard = {}, {}, Heard()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self.modseqs is not None:
            self.modseqs.close()       # it is read anew

    def scan(self, readonly: bool = False) -> Snapshot:
        """As Scanner.scan; with MODSEQs for a client that asked for them."""
        return self.look(readonly) if self.modseqs is None else self.modseqs.scan(readonly)

    def look(self, readonly: bool) -> Snapshot:
        """As scan(), without MODSEQs."""
        return super().scan(readonly)

    def number_changes(self) -> Modseqs:
        """From now on scan() gives MODSEQs, and changes are numbered.  RFC 7162."""
        if self.modseqs is None:
            from courierpy.maildir.modseqs import Modseqs  # for few clients
            self.modseqs = Modseqs(self)
        return self.modseqs

    def close(self, wait: bool = False) -> None:
        if self.modseqs is not None:
            self.modseqs.close()
        if self._cache is not None:
            self._cache.flush()
            self._cache = None
        super().close(wait)

    def told(self) -> None:
        """The client knows what is gone: nobody has to keep it for us, and no file gets its UIDs again."""
        if self.modseqs is not None and self.modseqs.kept:
            self.modseqs.told = self.modseqs.history.highest
        if self.departed or self.readers.waiting:
            if self._unwritten:
                self._told_gone |= UidSet.of(sorted(self.departed))
            self.departed.clear()
            self.readers.told(self._looked)
        if self._told_gone and not self.read_only and time.monotonic() - self._struck >= SELDOM:
            self._strike_out()

    def clean_tmp(self) -> None:
        """Garbage that crashed programs left in tmp/, when it is older than 36 hours."""
        limit = time.time() - TMP_AGE
        for entry in listed(os.path.join(self.path, "tmp")):
            try:
                if entry.stat(follow_symlinks=False).st_ctime >= limit:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    remove_tree(entry.path)
                else:
                    os.unlink(entry.path)
            except OSError:
                continue               # somebody else cleans, or it cannot be removed

    # -- one message

    def _row(self, uid: int) -> int:
        row = self.held.row(uid) if self.held is not None else -1
        if row < 0:
            raise Vanished(f"{self.path}: uid {uid}")
        self._need_names()
        return row

    def name_of(self, uid: int) -> bytes:
        """The base name of a message's file, which no change of flags changes.  Raises Vanished."""
        file = self.departed.get(uid)
        if file is not None:
            return base(file)
        row = self._row(uid)
        assert self.held is not None
        return self.held.database.name(row)

    def path_of(self, row: int) -> bytes:
        assert self.held is not None
        return self.inside + self.held.file(row)

    def find_again(self, row: int) -> bool:
        """The name changed: flags of another program.  Look for the base name."""
        assert self.held is not None
        name = self.held.database.name(row)
        cur = os.fsencode(self.cur)
        self.did_not(name)
        for suffix in SUFFIXES:              # cheaper than to read a large directory
            if exists(os.path.join(cur, name + suffix)):
                self.held.set_file(row, name + suffix)
                return True
        found = directory.by_base(directory.files(self.cur)).get(name)
        if found is None:
            return False
        self.held.set_file(row, found)
        return True

    def locate(self, uid: int) -> tuple[bytes, int]:
        """(path, flag bits) as they are now.  Raises Vanished."""
        path, bits = self.last_known(uid)
        if exists(path):
            return path, bits
        if not self.find_again(self._row(uid)):
            raise Vanished(f"{self.path}: uid {uid}")
        return self.last_known(uid)

    def last_known(self, uid: int) -> tuple[bytes, int]:
        """(path, flag bits), which others may have changed since.  Raises Vanished."""
        row = self._row(uid)
        assert self.held is not None
        return self.path_of(row), self.held.flags[row]

    def kept(self, uid: int) -> tuple[bytes, int] | None:
        """As locate(), for a message that is expunged and that our client still knows."""
        file = self.departed.get(uid)
        if file is None:
            row = self.held.row(uid) if self.held is not None else -1
            if row < 0:
                return None
            assert self.held is not None
            file = self.held.file(row)
        path = self.readers.find(base(file))
        return (path, bits_of(info(file))) if exists(path) else None

    def message(self, uid: int) -> MessageFile:
        """The file of a message, open until the caller closes it.  Raises Vanished."""
        return messagefile.open_message(self, uid)

    def settled(self, uid: int, file: MessageFile) -> bool:
        """Will the content of a message stay so?  A file that somebody is still writing may
        not: it is young, and its size is not the one in its name."""
        if time.time() - file.mtime > messagefile.WRITING:
            return True
        row = self.held.row(uid) if self.held is not None else -1
        return self.held is not None and row >= 0 and b",S=%d" % file.size in self.held.file(row)

    def stat(self, uid: int) -> tuple[int, float]:
        """(octets on disk, mtime).  Raises Vanished."""
        found = messagefile.look(self, uid)[2]
        return found.st_size, found.st_mtime

    # -- flags

    def store(self, uids: Sequence[int], change: FlagChange, refused: list[StoreError] | None = None,
              ) -> dict[int, tuple[int, frozenset[bytes]]]:
        """Change flags; uid -> what it has now.  Messages that are gone are left out, and so are
        those that alone cannot be changed: why they cannot is added to ``refused``.

        A change is applied to what is there at that moment, so that what another
        session set is never lost: for flags the name, which the rename takes over
        whole; for keywords a file, which is read and written under the lock.
        """
        if self.modseqs is None:
            return self._change(uids, change, refused)
        with self.modseqs:
            return self._change(uids, change, refused)

    def _change(self, uids: Sequence[int], change: FlagChange, refused: list[StoreError] | None,
                ) -> dict[int, tuple[int, frozenset[bytes]]]:
        self.watch_if_large()
        try:
            if self.options.keywords and (change.keywords or change.mode == "="):
                with self._lock:
                    return self._store(uids, change, self.keywords.files.current(), refused)
            return self._store(uids, change, None, refused)
        finally:
            self._snap()

    def _store(self, uids: Sequence[int], change: FlagChange,
               current: Callable[[bytes], frozenset[bytes]] | None,
               refused: list[StoreError] | None) -> dict[int, tuple[int, frozenset[bytes]]]:
        done: dict[int, tuple[int, frozenset[bytes]]] = {}
        undo: list[Undo] = []
        # 1. what needs room on the disk, where nobody sees it
        drafts = self._draft_keywords(uids, change, current) if current is not None else {}
        try:
            with Directory(self.cur, self.options.sync_all) as entries:
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
        assert self.held is not None
        drafts: dict[int, Update] = {}
        try:
            for uid in uids:
                try:
                    row = self._row(uid)
                except Vanished:
                    continue
                name = self.held.database.name(row)
                old = current(name)
                drafts[uid] = self.keywords.files.draft(name, old, change.words(old))
        except StoreError:
            for draft in drafts.values():
                draft.abort()
            raise
        return drafts

    def _store_one(self, uid: int, change: FlagChange, keywords: Update | None,
                   done: dict[int, tuple[int, frozenset[bytes]]], undo: list[Undo]) -> None:
        """Change one message, if it is there still."""
        try:
            row = self._row(uid)
            bits, before, after = self._rename_flags(row, change)
        except Vanished:
            return
        undo.append((row, before, after, None))
        words = self.keywords.by_uid.get(uid, NO_KEYWORDS)
        if keywords is not None:
            words = keywords.words
            if keywords.commit():
                undo[-1] = row, before, after, keywords.before
            self.keywords.put(uid, words)
        done[uid] = bits, words

    def _take_back(self, undo: list[Undo]) -> None:
        """A command that is refused has changed nothing, as far as that can be."""
        assert self.held is not None
        cur = os.fsencode(self.cur) + b"/"
        for row, before, after, words in reversed(undo):
            try:
                if before != after:
                    os.rename(cur + after, cur + before)
                    self.held.set_file(row, before)
                    self.did(before, True)
                if words is not None:
                    self.keywords.files.write(self.held.database.name(row), words)
                    self.keywords.put(self.held.database.uids[row], words)
            except (OSError, StoreError) as error:
                log.err(f"{self.cur}: a change cannot be taken back: {error}")

    def _rename_flags(self, row: int, change: FlagChange) -> tuple[int, bytes, bytes]:
        """(flag bits now, file name before, file name after)."""
        held, cur = self.held, self.inside
        assert held is not None
        for _ in range(messagefile.TRIES):
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
                    self.did(new, True)
                    return bits, old, new
            if not self.find_again(row):
                break
        raise Vanished(self.path)

    def _snap(self) -> None:
        """A snapshot that has what we just did."""
        old, held = self._snapshot, self.held
        if old is None or held is None or held.database.uids is not old.messages.uids:
            return                     # the next scan makes one
        messages = Messages(old.messages.uids, bytes(held.flags), dict(self.keywords.by_uid))
        self._snapshot = Snapshot(old.uidvalidity, old.uidnext, messages, old.recent)
        self._unsaved = True

    # -- messages in

    def draft(self) -> Draft:
        return Draft(self.path, self.options.host)

    def append(self, drafts: Sequence[Draft]) -> tuple[int, list[int]]:
        """Store the drafts, all or none; (UIDVALIDITY, their UIDs)."""
        return transfer.append(self, drafts)

    def copy(self, uids: Sequence[int], target: Mailbox,
             refused: list[StoreError] | None = None) -> tuple[int, list[tuple[int, int]]]:
        """Hard links under new names; flags, keywords and dates come along.  ``refused``: as for store()."""
        return transfer.copy(self, uids, target, refused)

    def move(self, uids: Sequence[int], target: Mailbox,
             refused: list[StoreError] | None = None) -> tuple[int, list[tuple[int, int]]]:
        """By rename: a message is never in both folders, and never in none.  ``refused``: as for store()."""
        return transfer.move(self, uids, target, refused)

    # -- steps of these (transfer.py)

    def write_keywords(self, name: bytes, words: frozenset[bytes]) -> None:
        """Of a message that is not there yet."""
        self.keywords.files.write(name, words)
        self.keywords.again()

    def number(self, names: Sequence[bytes]) -> int:
        """Under the lock: these messages are about to come to cur/, and have their numbers first.
        Who looks meanwhile sees no message without one, and a number without a message is none.
        Gives the first of them; the others follow.  Raises MailboxFull."""
        database = self._to_number()
        again = sorted(row for row in map(database.find, names) if row >= 0)
        if again:                      # who gave them a number did not live to let them in
            database = database.without(again)
        self.options.bounds.enters(self.path, len(database), len(names))
        self.uidvalidity, self._entering = database.uidvalidity, database.uidnext
        self._write(database.extended(range(database.uidnext, database.uidnext + len(names)), names))
        if self.held is not None:
            self._disk = None          # it says more than we hold: the next look finds out
        return self._entering

    def _to_number(self) -> UidDb:
        """The uiddb as it is; what comes gets the numbers that follow."""
        if self.held is None:
            database = self._database(True)
            assert database is not None
            unknown = self._take(self._arrived())
            if len(database) < SMALL:          # in a large folder what came to cur/ itself can wait
                unknown = contents.look(database, self._list_cur())[2]
            names = in_order(name for name in unknown if database.find(name) < 0)
            uids = range(database.uidnext, database.uidnext + len(names))
            self._fresh = UidSet.of(uids)
            return database.extended(uids, names)
        found = uiddb.read(os.path.join(self.path, uiddb.NAME), self._file)
        if found is not None and not found.damaged and found.uidvalidity == self.held.database.uidvalidity \
                and found.uidnext >= self.held.database.uidnext and not self._was_cut(found):
            gone = UidSet.of(sorted(self.departed)) | self._told_gone
            return found.without([bisect_left(found.uids, uid) for uid in gone.within(found.uids)])
        # it has to be restored
        self._update(True, self._readonly)
        assert self._snapshot is not None
        # what was found is told by the scan after the command
        if self._readonly:
            self._shown -= self._snapshot.recent
        else:
            self._fresh |= self._snapshot.recent
        self._snapshot = self._snapshot.with_recent(NO_UIDS)
        return self._need_names().database

    def let_in(self, files: Sequence[bytes], first: int, own: bytes = b"") -> None:
        """Under the lock: these come from where they wait, by the numbers from ``first`` on.  Raises a
        store error for ``own``; the others wait on."""
        came = []
        for uid, file in enumerate(files, first):
            try:
                if self.lobby.let_in(file, self.inside):
                    came.append(uid)
            except OSError as error:
                if file == own:
                    raise trouble(self.inside + file, error) from None
        self.entered(came)

    def admit(self, messages: Sequence[frozenset[bytes]]) -> None:
        """Messages are about to come, with these keywords.  Raises TooManyKeywords."""
        if any(messages) and self.options.keywords:
            self.options.bounds.tags(self.path, messages, self.keywords.files.used)

    def entered(self, uids: Sequence[int]) -> None:
        """Under the lock: these came, whatever flags they bring: RFC 3501 6.3.11, 6.4.7."""
        self._fresh |= UidSet.of(uids)
        if self.held is None and self._fresh:
            self.index.set_unclaimed(self.index.unclaimed() | self._fresh)
            self._fresh = NO_UIDS

    def not_entered(self, names: Sequence[bytes]) -> None:
        """They were taken back; numbers that they got are not used again."""
        for name in names:
            self.keywords.files.forget(name)
        self._heard.everything, self._stamps, self._disk = True, None, None
        if self._entering:
            self._fresh -= UidSet([(self._entering, MAX_UID)])

    def number_of(self, name: bytes) -> tuple[int, int | None]:
        """(UIDVALIDITY, the UID of a message that came); None for one that is gone already and left
        no trace."""
        found = uiddb.read(os.path.join(self.path, uiddb.NAME), self._file)
        if found is None:
            raise FolderMissing(self.path)
        row = found.find(name)
        if row >= 0:
            return found.uidvalidity, found.uids[row]
        recalled = self.index.recall()
        return found.uidvalidity, recalled[2].get(name) if recalled is not None else None

    def leave(self, uids: Sequence[int]) -> None:
        """Messages that we removed or moved away."""
        assert self.held is not None
        rows = sorted(row for row in map(self.held.row, uids) if row >= 0)
        if rows:
            self._drop(rows)
            self._owed = True

    # -- messages out

    def expunge(self, uids: Iterable[int], refused: list[StoreError] | None = None) -> list[int]:
        """Remove messages that are \\Deleted still; gives the UIDs that went.  ``refused``: as
        for store()."""
        gone: list[int] = []
        self.watch_if_large()
        keep = self.readers.keeps()
        try:
            for uid in uids:
                try:
                    if self._expunge_one(uid, keep):
                        gone.append(uid)
                except MessageDenied as why:
                    if refused is None:
                        raise
                    refused.append(why)
        finally:
            self.leave(gone)
        return gone

    def _expunge_one(self, uid: int, keep: bool) -> bool:
        """False for a message that is gone, or \\Deleted no more.  ``keep``: somebody may know it still."""
        try:
            row = self._row(uid)
        except Vanished:
            return False
        held = self.held
        assert held is not None
        for _ in range(messagefile.TRIES):
            file = held.file(row)
            path = self.inside + file
            if held.flags[row] & DELETED:      # it is while a file of this name is there
                if keep:
                    self.readers.bury(path, held.database.name(row))
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    raise unchangeable(path, error) from None
                else:
                    self.did(file, False)
                    return True
            elif exists(path):
                return False
            if not self.find_again(row):
                return False
        return False


__all__ = ["Draft", "Mailbox", "Status", "StoreError", "base"]
