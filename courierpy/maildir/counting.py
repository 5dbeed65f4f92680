"""The counts of a mailbox for STATUS: mail stays in new/, and gets no number.  RFC 9051 6.3.11."""
from __future__ import annotations

import time

from courierpy.maildir import contents, directory
from courierpy.maildir.errors import Denied, QuotaExceeded
from courierpy.maildir.index.statuscache import Status
from courierpy.model.flags import SEEN
from courierpy.model.uidset import UidSet
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.formats.uiddb import UidDb
    from courierpy.maildir.index.columns import Stamps
    from courierpy.maildir.index.statuscache import Counts
    from courierpy.maildir.mailboxdirectory import MailboxDirectory
    from courierpy.maildir.numbers import Numbers


def status(place: MailboxDirectory, numbers: Numbers, counts: Counts) -> Status:
    """``counts``: what is known of all mailboxes, which remember it.  Raises a store error."""
    stamps = place.stamps()
    known = counts.find(place.path, stamps)
    if known is not None:
        return known
    unclaimed = place.index.unclaimed_stamp()
    firm = directory.settled(unclaimed, time.time_ns())
    found = _count(place, numbers, stamps)
    if stamps is not None and firm and stamps == place.stamps() \
            and unclaimed == place.index.unclaimed_stamp():
        counts.put(place.path, stamps, found, unclaimed)
    return found


def _count(place: MailboxDirectory, numbers: Numbers, stamps: Stamps | None) -> Status:
    index = place.index
    unclaimed = index.unclaimed()          # some of them may be gone since
    columns = index.load() if unclaimed and stamps is not None else None
    head = columns.head if columns is not None else index.head() if stamps is not None else None
    arrived = len(directory.files(place.new))
    if head is not None and stamps is not None and head.stamps.same_but_new(stamps):
        recent = len(unclaimed.within(columns.database.uids)) if columns is not None else 0
        return Status((head.count + arrived, recent + arrived, head.uidnext + arrived, head.uidvalidity,
                       head.unseen + arrived))
    database = _numbered(place, numbers)
    held, missing, unknown = contents.look(database, place.files())
    seen = sum(map(SEEN.__and__, held.flags)) + sum(
        1 for file in unknown.values() if b"S" in file.rpartition(b":2,")[2] and b":2," in file)
    there = len(database) - len(missing) + len(unknown)
    recent = len(unclaimed.within(database.uids) - UidSet.of([database.uids[row] for row in missing]))
    return Status((there + arrived, recent + arrived + len(unknown),
                   database.uidnext + len(unknown) + arrived, database.uidvalidity, there + arrived - seen))


def _numbered(place: MailboxDirectory, numbers: Numbers) -> UidDb:
    """The numbers.  A mailbox that has none is numbered now, so that what is announced stays true."""
    database = numbers.read(False)
    if database is not None:
        return database
    try:
        with place.lock:
            database = numbers.read_locked()
            if numbers.unwritten:
                numbers.write(database)
            return database
    except (Denied, QuotaExceeded) as why:
        log.err(f"{why}: its numbers are kept in memory")
        return numbers.restore(place.numbers(), record=False)
