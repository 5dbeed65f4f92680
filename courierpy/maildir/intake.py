"""Messages come in by APPEND, COPY and MOVE: the steps, most of them under the lock (transfer.py)."""
from __future__ import annotations

import os
from bisect import bisect_left

from courierpy.maildir.errors import FolderMissing, StoreError, trouble
from courierpy.maildir.formats.keyworddrafts import KeywordDrafts
from courierpy.maildir.index.columns import SMALL
from courierpy.maildir.names import in_order
from courierpy.model.uidset import UidSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from courierpy.maildir.arrivals import Arrivals
    from courierpy.maildir.formats.uiddb import UidDb
    from courierpy.maildir.looker import Looker


class Intake:
    """Into one mailbox, of which a look may be there or not.  ``uidvalidity``: of the numbers that were
    given last.  ``settable``: as of Mailbox."""

    __slots__ = ("_arrivals", "_entering", "_looker", "place", "settable", "uidvalidity")

    def __init__(self, looker: Looker, arrivals: Arrivals, settable: tuple[int, bool]) -> None:
        self.settable = settable
        self.place = looker.place
        self.uidvalidity = 0
        self._entering = 0             # the first of the numbers that were given last
        self._looker = looker
        self._arrivals = arrivals

    @property
    def keeps_keywords(self) -> bool:
        return self._looker.keywords.kept

    def admit(self, messages: Sequence[frozenset[bytes]]) -> dict[bytes, bytes]:
        """Messages are about to come, with these keywords.  Gives those that are spelled otherwise here,
        and how.  Raises TooManyKeywords."""
        keywords = self._looker.keywords
        if any(messages) and keywords.kept:
            return self.place.options.bounds.tags(self.place.path, messages, keywords.files.used,
                                                  keywords.in_use())
        return {}

    def write_keywords(self, name: bytes, words: frozenset[bytes]) -> None:
        """Of a message that is not there yet: its base name.  Raises a store error."""
        keywords = self._looker.keywords
        if words and keywords.kept:
            keywords.files.write(name, words)
            keywords.comes(name)

    def write_all_keywords(self, words: Mapping[bytes, frozenset[bytes]]) -> None:
        """Under the lock, behind number(), as a look would take lines of messages that are not there from the
        list: keywords of messages that are about to come, by base name.  Raises a store error."""
        keywords = self._looker.keywords
        if not keywords.kept or not any(words.values()):
            return
        drafts = KeywordDrafts(keywords.files, [name for name, some in words.items() if some],
                               lambda name, before: words[name])
        try:
            drafts.commit(drafts.words)
        except StoreError:
            drafts.take_back()
            raise
        finally:
            drafts.abort()
            keywords.again()

    def number(self, fresh: Sequence[bytes], waited: Sequence[bytes]) -> int:
        """Under the lock: these messages are about to come to cur/, and have their numbers first; those that
        ``waited`` come behind the others, whose names are new.
        Who looks meanwhile sees no message without one, and a number without a message is none.
        Gives the first of them; the others follow.  Raises MailboxFull."""
        names = [*fresh, *waited]
        database = self._to_number()
        again = sorted(database.rows_of(names if self._entering else waited).values())
        if again:                      # who gave them a number did not live to let them in
            database = database.without(again)
        self.place.options.bounds.enters(self.place.path, len(database), len(names))
        self.uidvalidity, self._entering = database.uidvalidity, database.uidnext
        numbers = self._looker.numbers
        numbers.write(database.extended(range(database.uidnext, database.uidnext + len(names)), names))
        if self._looker.contents.known:
            numbers.key = None         # it says more than we hold: the next look finds out
        return self._entering

    def _to_number(self) -> UidDb:
        """The uiddb as it is; what comes gets the numbers that follow."""
        looker, numbers = self._looker, self._looker.numbers
        if not looker.contents.known:
            database = numbers.read_locked()
            kept = self.place.options.kept_numbers
            if kept is not None and kept.left_so(self.place.uiddb, self._stamps()):
                return database
            unknown = self._arrivals.take(self._arrivals.waiting())
            if len(database) < SMALL:          # in a large mailbox what came to cur/ itself can wait
                unknown = self.place.strangers(set(database.names()))
            names = in_order(unknown.keys() - database.rows_of(unknown).keys())
            uids = range(database.uidnext, database.uidnext + len(names))
            looker.recent.fresh = UidSet.of(uids)
            return database.extended(uids, names)
        mine, found = looker.contents.held.database, numbers.on_disk()
        if found is not None and not found.damaged and found.uidvalidity == mine.uidvalidity \
                and found.uidnext >= mine.uidnext and not numbers.lent and not numbers.was_cut(found):
            gone = UidSet.of(sorted(looker.contents.departed)) | numbers.told_gone
            return found.without([bisect_left(found.uids, uid) for uid in gone.within(found.uids)])
        looker.again()                 # it has to be restored
        return numbers.named().database

    def _stamps(self) -> tuple[int, ...]:
        """By which KeptNumbers knows again how the directories of messages were left: a message that comes in
        the same tick of the clock can wait.  Nothing where they cannot be looked at."""
        try:
            return os.stat(self.place.cur).st_mtime_ns, os.stat(self.place.new).st_mtime_ns
        except OSError:
            return ()

    def let_in(self, files: Sequence[bytes], first: int, own: Sequence[bytes] = ()) -> None:
        """Under the lock: these come from where they wait, by the numbers from ``first`` on.  Raises a
        store error for ``own``; the others wait on."""
        came, lobby = [], self.place.lobby
        for uid, file in enumerate(files, first):
            try:
                if lobby.let_in(file, self.place.inside):
                    came.append(uid)
            except OSError as error:
                if file in own:
                    raise trouble(self.place.inside + file, error) from None
        if came:
            self.entered(came)

    def entered(self, uids: Sequence[int]) -> None:
        """Under the lock: these came, and are recent whatever flags they bring: RFC 3501 6.3.11, 6.4.7."""
        self._looker.recent.numbered(uids)
        if not self._looker.contents.known:
            self._looker.recent.leave()
            kept = self.place.options.kept_numbers
            if kept is not None:
                kept.leaves(self.place.uiddb, self._stamps())

    def not_entered(self, names: Sequence[bytes]) -> None:
        """They were taken back; numbers that they got are not used again."""
        looker = self._looker
        for name in names:
            looker.keywords.files.forget(name)
        looker.changes.doubt()
        looker.stamps = looker.numbers.key = None
        if self._entering:
            looker.recent.take_back(self._entering)

    def numbers_of(self, names: Sequence[bytes]) -> tuple[int, dict[bytes, int]]:
        """(UIDVALIDITY, the UIDs of messages that came); without those that are gone already and left
        no trace."""
        found = self._looker.numbers.on_disk()
        if found is None:
            raise FolderMissing(self.place.path)
        numbers = {name: found.uids[row] for name, row in found.rows_of(names).items()}
        if len(numbers) < len(names) and (recalled := self.place.index.recall()) is not None:
            numbers = {name: recalled[2][name] for name in names if name in recalled[2]} | numbers
        return found.uidvalidity, numbers
