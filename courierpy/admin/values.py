"""Does the index of a mailbox say of each message what its file says?"""
from __future__ import annotations

import os
from array import array

from courierpy.admin.progress import Bar
from courierpy.imap.attributes import KINDS
from courierpy.maildir.glance import glance
from courierpy.maildir.index.valuecache import Cache
from courierpy.message import Message
from courierpy.system.regular import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.message.mime import Limits

PIECE = 256                        # messages whose values are held at a time


def others(folder: Mailbox, limits: Limits) -> dict[str, int]:
    """Kinds of values that the index, whose rules are set, has, and of how many messages it has others than
    their files give.  Raises a store error."""
    database, messages = glance(folder.place)
    cache = Cache(folder.index, database.uidvalidity)
    kinds = [kind for kind in cache.kinds() if kind in KINDS and not cache.sound(kind)]
    found: dict[str, int] = {}
    numbered = [message for message in messages if message.uid] if kinds else []
    bar = Bar(folder.name)
    for start in range(0, len(numbered), PIECE):
        some = numbered[start:start + PIECE]
        uids = array("I", [one.uid for one in some])
        columns = [(kind, cache.values(kind, uids)) for kind in kinds]
        for at, one in enumerate(some):
            known = [(kind, value) for kind, values in columns if (value := values[at]) is not None]
            try:
                message = Message(whole(os.fsdecode(one.path)), limits) if known else None
            except OSError:
                continue               # it went just now, or is told as odd
            for kind, value in known:
                if message is not None and KINDS[kind][1](message) != value:
                    found[kind] = found.get(kind, 0) + 1
        bar.show(start + len(some), len(numbered))
    bar.clear()
    return found


def drop(folder: Mailbox, kinds: set[str]) -> None:
    """The index knows nothing of these kinds any more.  Raises a store error."""
    numbers = folder.place.numbers()
    cache = Cache(folder.index, numbers.uidvalidity if numbers is not None else 0)
    for kind in kinds:
        cache.drop(kind)


