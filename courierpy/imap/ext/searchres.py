"""SEARCHRES.  RFC 5182: SEARCH RETURN (SAVE) keeps what it found, and `$` stands for it in the commands that
follow.

It is kept by UIDs, which are never those of another message: what is expunged needs no care.  It belongs
to the selected mailbox, and goes when that is left.
"""
from __future__ import annotations

from courierpy.imap.ext import Extension
from courierpy.imap.returns import RETURNS, Found, SearchReturn
from courierpy.model.uidset import NO_UIDS, UidSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session


def _save(found: Found, value: None) -> None:
    """What the options beside it speak of; where there are none that say something, all.  RFC 5182 2.4."""
    seqs: set[int] = set()
    spoken = False
    for option, behind in found.options.items():
        record = RETURNS.need(option)
        if not record.silent and not record.aside:
            spoken = True
            seqs.update(record.part(found, behind))
    selected = found.session.need_selected()
    uids = selected.view.uids
    selected.saved = UidSet.of([uids[seq - 1] for seq in sorted(seqs if spoken else found.seqs)])


def _forget(session: Session) -> None:
    session.need_selected().saved = NO_UIDS


def _saved(session: Session) -> UidSet:
    return session.need_selected().saved


EXTENSION = Extension(b"SEARCHRES", message_sets={b"$": _saved}, search_returns={
    b"SAVE": SearchReturn(_save, silent=True, refused=_forget, of_selected=True, alone=True)})
