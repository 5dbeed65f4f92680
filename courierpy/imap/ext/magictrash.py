"""XMAGICTRASH, Courier's: what is expunged comes to the trash.  IMAP_MOVE_EXPUNGE_TO_TRASH.

Not from the trash itself, and not what this session has copied to another mailbox since it selected this one:
that is how clients move messages, and it would be there twice.
"""
from __future__ import annotations

from array import array

from courierpy.imap.ext import Extension
from courierpy.model.uidset import NO_UIDS, UidSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from courierpy.imap.session import Session
    from courierpy.maildir.disposal import Disposal

SETTING = "IMAP_MOVE_EXPUNGE_TO_TRASH"
COPIED = b"COPIED"


class Copied:
    """What was copied from the selected mailbox, which it follows."""

    __slots__ = ("uids",)

    def __init__(self, uids: UidSet) -> None:
        self.uids = uids

    def gone(self, session: Session, uids: Sequence[int]) -> bytes:
        self.uids -= UidSet.of(uids)
        return b""

    def changed(self, session: Session, uids: Sequence[int]) -> bytes:
        return b""

    def packed(self) -> tuple[bytes, bytes]:
        return COPIED, array("I", [uid for run in self.uids.runs for uid in run]).tobytes()


def _of(session: Session) -> Copied | None:
    return next((one for one in session.need_selected().followers if isinstance(one, Copied)), None)


def _copied(session: Session, uids: Sequence[int]) -> None:
    if session.settings.flag(SETTING):
        found, more = _of(session), UidSet.of(sorted(uids))
        if found is None:
            session.need_selected().followers.append(Copied(more))
        else:
            found.uids |= more


def _again(session: Session, octets: bytes) -> Copied:
    runs = array("I", octets)
    if len(runs) % 2 or session.selected is None:
        raise ValueError("no runs of UIDs")
    found = Copied(UidSet(zip(runs[::2], runs[1::2], strict=True)))
    session.selected.followers.append(found)
    return found


def _disposal(session: Session, count: int, tell: Callable[[bytes, bytes], None] | None) -> Disposal | None:
    if not session.settings.flag(SETTING):
        return None
    from courierpy.maildir.disposal import Disposal  # where it is wanted
    from courierpy.maildir.totrash import Trash
    copied = _of(session)
    return Disposal(Trash.beside(session.folders, session.need_selected().folder.path, count),
                    copied.uids if copied is not None else NO_UIDS, tell)


EXTENSION = Extension(b"XMAGICTRASH", off=f"!{SETTING}", disposals={b"": _disposal}, on_copied={b"": _copied},
                      woken={COPIED: _again})
