"""The mailbox that this process had open last, as it was: who opens it again, unchanged, need not read it.

A session that follows another one in its process, or goes on after its sleep, mostly opens the same
mailbox.  What is kept is what the index would say, and is believed by the same stamps; but it costs no file,
and a mailbox that is too small for an index has it too.  Where accounts of one uid share a process, that of
each is put aside while others are served.
"""
from __future__ import annotations

from time import monotonic

from courierpy.maildir.contents import Held
from courierpy.maildir.formats.uiddb import UidDb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.index.columns import Stamps
    from courierpy.maildir.mailboxdirectory import MailboxDirectory


CLEAN_SECONDS = 600.0              # for which nobody looks again for garbage in a mailbox
ACCOUNTS, MESSAGES = 64, 4096      # of other accounts, and in all their mailboxes


class Lately:
    """A mailbox as it was when a session left it.

    ``place``: which mailbox it is; ``keywords``: by UID.  ``unsaved``: the index knows less.  ``cleaned``:
    when its tmp/ was, as of MailboxDirectory."""

    __slots__ = ("cleaned", "held", "keywords", "place", "stamps", "unsaved")

    def __init__(self, place: tuple[str, ...], stamps: Stamps, held: Held,
                 keywords: dict[int, frozenset[bytes]], unsaved: bool, cleaned: float) -> None:
        self.place = place
        self.stamps = stamps
        self.held = held
        self.keywords = keywords
        self.unsaved = unsaved
        self.cleaned = cleaned


_last: Lately | None = None
_whose = ""
_aside: dict[str, Lately] = {}     # by the address of the account, who was served last at the end


def turn_to(account: str) -> None:
    """The next session is of the account of this address, and no other finds what was kept for it."""
    global _last, _whose
    if account == _whose:
        return
    if _last is not None:
        _aside[_whose] = _last
    _last, _whose = _aside.pop(account, None), account
    while _aside and (len(_aside) > ACCOUNTS
                      or sum(len(each.held.flags) for each in _aside.values()) > MESSAGES):
        del _aside[next(iter(_aside))]


def whose() -> str:
    """The address of the account whose session this is, as it was told."""
    return _whose


def forget() -> None:
    """Nothing is kept of what was open last."""
    global _last
    _last = None


def keep(place: MailboxDirectory, stamps: Stamps, held: Held, keywords: dict[int, frozenset[bytes]],
         unsaved: bool) -> None:
    """A session leaves this mailbox, of which all this was known as it looked so.  ``held`` and ``keywords``
    are ours from now on."""
    global _last
    where = _place(place)
    _last = Lately(where, stamps, held, keywords, unsaved, place.cleaned) if where else None


def clean_tmp(place: MailboxDirectory) -> None:
    """A session opens this mailbox: as MailboxDirectory.clean_tmp(), but not by each that follows another
    one."""
    if _last is not None and _last.place == _place(place):
        place.cleaned = _last.cleaned
    if not place.cleaned or monotonic() - place.cleaned >= CLEAN_SECONDS:
        place.clean_tmp()


def find(place: MailboxDirectory, stamps: Stamps | None) -> Lately | None:
    """What is known of this mailbox, if it looks now as it did then; its parts are the caller's own."""
    last = _last
    if last is None or stamps is None or last.stamps != stamps or last.place != _place(place):
        return None
    held, database = last.held, last.held.database
    rows = UidDb(database.uidvalidity, database.uidnext, database.uids,
                 None if database.body is None else database.text, database.lines, database.key)
    return Lately(last.place, stamps, Held(rows, bytearray(held.flags), dict(held.odd)),
                  dict(last.keywords), last.unsaved, last.cleaned)


def _place(place: MailboxDirectory) -> tuple[str, ...]:
    """Nothing where that cannot be told any more."""
    where = place.where
    return (where, place.path, place.options.keyword_directory) if where else ()
