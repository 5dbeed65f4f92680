"""What a session learned of a mailbox is kept in its index, for the next one."""
from __future__ import annotations

import time

from courierpy.maildir import directory, lately
from courierpy.maildir.errors import StoreError
from courierpy.maildir.index.columns import SMALL, Columns, Head, Stamps
from courierpy.model.flags import SEEN
from courierpy.model.messages import Messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.looker import Looker

MOST = 4096                        # messages of a mailbox that stays known: a process that waits is small
FEW = 32                           # messages of a mailbox that is read as fast as its index is
_UNSEEN = bytes(not bits & SEEN for bits in range(256))


def save(looker: Looker, wait: bool) -> None:
    """Write the index, if it is worth it and what is known is known to be true.  Our client is told
    nothing any more.  ``wait``: nobody waits for us, so that the moment may pass that it takes to be sure."""
    numbers, contents = looker.numbers, looker.contents
    looker.leaves_recent = True        # what is recent is the next session's
    count = len(contents.held.flags)
    crowded = count < SMALL and looker.is_crowded()
    worth = looker.unsaved and not looker.read_only and count >= FEW and not crowded
    try:
        if numbers.owed and not crowded or numbers.unwritten and worth:
            numbers.owed = True
            looker.write_what_is_left()
        if not worth:
            return
        fine = looker.changes.watched and directory.at_once(looker.place.readers.own())
        stamps = looker.place.stamps(sure=not fine)
        if stamps is None and wait:
            time.sleep(directory.GRAIN * 1.2)
            stamps = looker.place.stamps()
        if stamps is not None and _is_true(looker, stamps, fine):
            looker.place.index.save(_columns(looker, stamps, fine))
            looker.unsaved = False
    except StoreError:
        return                         # the mailbox went, or is in use: the next session looks for itself


def remember(looker: Looker) -> None:
    """What is known of a mailbox that its session leaves stays with the process, if one look found all of
    it: what we changed since then has other stamps."""
    held, numbers, keywords = looker.contents.held, looker.numbers, looker.keywords
    if looker.stamps is None or looker.read_only or looker.place.mirror is not None or held.twins \
            or numbers.unwritten or numbers.owed or numbers.lent or looker.recent.fresh \
            or keywords.doubtful or len(held.flags) > MOST:
        lately.forget()
    else:
        lately.keep(looker.place, looker.stamps, held, dict(keywords.by_uid), looker.unsaved)


def _is_true(looker: Looker, stamps: Stamps, fine: bool) -> bool:
    """Is what is known just what was there as these stamps were taken?  ``stamps.new`` becomes 0 when
    mail came since."""
    if _is_behind(looker) or stamps.database is None:
        return False
    if looker.changes.watched:
        if looker.changes.hear():
            # mail that comes just now is for the next one: cur/ is as we know it
            heard = looker.changes.heard
            mail, heard.new = heard.new, False
            looker.update(False)
            if looker.changes.heard or _is_behind(looker):
                return False
            stamps.new = 0 if mail else stamps.new
        now = looker.place.stamps(sure=not fine)
        if now is None or not now.same_but_new(stamps):
            return False
    elif stamps != looker.stamps:
        return False
    database = looker.contents.held.database
    # the file may say the same in other words, and lines begin elsewhere
    return database.body is None or sum(map(len, database.pieces())) == stamps.database[2]


def _is_behind(looker: Looker) -> bool:
    """Does the uiddb say something else, or was something numbered that no look has seen?"""
    return looker.numbers.unwritten or bool(looker.recent.fresh)


def _columns(looker: Looker, stamps: Stamps, fine: bool) -> Columns:
    held = looker.contents.held
    messages = Messages(held.database.uids, bytes(held.flags), looker.keywords.by_uid)
    unseen = messages.flags.translate(_UNSEEN)
    head = Head(stamps, held.database.uidvalidity, held.database.uidnext, len(messages), unseen.count(1),
                unseen.find(1), fine)
    return Columns(head, held.database, messages, held.odd)
