"""What happens in a mailbox while it is open: what was heard of others, and what we did ourselves."""
from __future__ import annotations

import time

from courierpy.maildir import contents
from courierpy.maildir.names import base
from courierpy.maildir.watch import Heard, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.maildir.contents import Held, Replayed


HEARD_LATER = 64                   # events of our own that wait for the next look
AT_ONCE = 512                      # files that are changed before what we heard of it is passed over


class Changes:
    """What happened in an open mailbox since the last look.

    ``heard``: what happened and no look has seen yet; of use while ``watched``.  ``path``, ``keywords``:
    the directories that are watched, see Watch."""

    __slots__ = ("_own", "_own_heard", "_watch", "_where", "heard")

    def __init__(self, path: str, keywords: str) -> None:
        self.heard = Heard()
        self._where = path, keywords
        self._watch: Watch | None = None
        self._own: dict[bytes, tuple[bytes, bool]] = {}    # what we did last to each base name in cur/
        self._own_heard: dict[bytes, tuple[bytes, bool]] = {}      # as of when we heard last

    @property
    def watched(self) -> bool:
        """Is everything heard that happens?"""
        return self._watch is not None

    def listen(self) -> Watch:
        """Hear of changes from now on; anything may have happened before.  Raises watch.Refused."""
        if self._watch is None:
            self._watch = Watch(*self._where)
            self.heard.everything = True
        return self._watch

    def hear(self) -> bool:
        """Add what came since to ``heard``.  Is there anything in it?"""
        if self._watch is not None:
            self._watch.hear(self.heard)
        if self._own:
            self._own_heard.update(self._own)
            self._own.clear()
        return bool(self.heard)

    def looks_beside(self) -> None:
        """What happened until now beside the mailbox (see Watch.also) is about to be looked at."""
        if self._watch is not None:
            self.hear()
            self._watch.beside = False

    def did(self, file: bytes, there: bool) -> None:
        """We made or removed this file in cur/: its event is no news."""
        if self._watch is not None:
            self._own[base(file)] = file, there

    def at_rest(self, twins: frozenset[bytes], ask: bool = True) -> bool:
        """Is everything heard that happened until now, and known?  ``twins``: as for only_ours().  ``ask``:
        False: until we heard last; did_all() finds out what came since."""
        if self._watch is None:
            return False
        if not ask:
            return not self.heard and not self._own
        return not self.hear() or self.only_ours(twins)

    def did_all(self, gone: Sequence[bytes], came: Sequence[bytes], alone: bool) -> bool:
        """We removed these files from cur/; or, where any ``came``, gave them these names.  ``alone``: there
        was nothing else to hear at at_rest().  True if that is so still, and then their events are none
        any more."""
        if self._watch is None or not gone:
            return alone
        if alone and self._watch.skip((*gone, *came)):
            return True
        for file in came or gone:
            self.did(file, bool(came))
        if len(gone) + len(came) > HEARD_LATER:
            self.hear()                # or they would be too many for the kernel to keep
        return False

    def did_not(self, name: bytes) -> None:
        """Somebody else changed the file of this base name since: its events are news."""
        self._own.pop(name, None)
        self._own_heard.pop(name, None)

    def last_word(self, name: bytes) -> tuple[bytes, bool] | None:
        """What was heard last of the file of this base name until now: its name, and is it there?  None when
        nothing was, or when it is on its way to another name."""
        if self._watch is None:
            return None
        self.hear()
        file, there, moved = self.heard.cur.get(name, (b"", False, True))
        return None if moved else (file, there)

    def reads_cur(self) -> None:
        """cur/ is read: what is seen there may be later than what we did."""
        self._own.clear()

    def done(self) -> None:
        """A look has seen all that was heard."""
        self.heard = Heard()
        self._own_heard.clear()

    def doubt(self) -> None:
        """What was heard is not enough: cur/ has to be read."""
        self.heard.everything = True

    def needs_number(self) -> bool:
        """Did mail come, as far as we heard, that nobody has numbered since?"""
        return self._watch is not None and self.heard.new and not self.heard.numbers

    def hearken(self, seconds: float) -> None:
        """Until there are new numbers, or for so long."""
        end = time.monotonic() + seconds
        left = seconds
        while self._watch is not None and self.needs_number() and left > 0:
            self._watch.wait(left)
            self.hear()
            left = end - time.monotonic()

    def only_ours(self, twins: frozenset[bytes]) -> bool:
        """Is all that was heard what we did ourselves?  Then it is known.  ``twins``: base names with
        several files."""
        heard = self.heard
        if heard.everything or heard.new or heard.keywords or not twins.isdisjoint(heard.cur) \
                or any(last[:2] != self._own_heard.get(name) for name, last in heard.cur.items()):
            return False
        self.done()
        return True

    def replay(self, held: Held) -> Replayed | None:
        """Change ``held`` as was heard; None when cur/ must be read to know."""
        return contents.replay(held, self.heard, self._own_heard)

    def stirred(self) -> set[bytes] | None:
        """Base names in cur/ of which there is something to hear; None when that cannot be said."""
        return self._watch.stirred() if self._watch is not None else None

    @property
    def hears_keywords(self) -> bool:
        """Is the directory of the keywords watched?"""
        return self._watch is not None and self._watch.hears_keywords

    def close(self) -> None:
        """Nothing is heard any more, and what was is forgotten."""
        self._own, self._own_heard, self.heard = {}, {}, Heard()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
