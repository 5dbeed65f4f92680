"""UIDONLY.  RFC 9586: nothing is told of sequence numbers any more, and none may be named.

What would be a FETCH line is UIDFETCH, which begins with the UID; EXPUNGE is VANISHED.  Commands that
name or tell sequence numbers are refused with UIDREQUIRED by the centre.
"""
from __future__ import annotations

from courierpy.imap.ext import Extension
from courierpy.imap.updates import Arrived, Expunged, Sizes, Vanished

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.manners import Manners
    from courierpy.imap.session import Session
    from courierpy.imap.updates import Update

TOKEN = b"UIDONLY"


def _enable(session: Session) -> None:
    """Nothing to prepare: the manners tell it from now on."""


def _manners(manners: Manners) -> None:
    manners.numbered = False


def _by_uid(session: Session, said: list[Update]) -> list[Update]:
    """VANISHED says how many there are less: EXISTS is told where there is more."""
    arrived = any(isinstance(update, Arrived) for update in said)
    return [Vanished(update.uids) if isinstance(update, Expunged) else update
            for update in said if arrived or not isinstance(update, Sizes)]


EXTENSION = Extension(
    TOKEN, enable={TOKEN: _enable}, manners={TOKEN: _manners}, on_updates={TOKEN: _by_uid},
    withheld="the mail service behind new Outlook enables it where it is told, goes on to name sequence "
             "numbers, and then shows no mail")
