"""What SORT and THREAD share: the words at their end, and the dates that they order by.  RFC 5256."""
from __future__ import annotations

from courierpy.imap import search
from courierpy.imap.attributes import NO_DATE, Attributes
from courierpy.imap.grammar import searchkeys
from courierpy.model.replies import No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.searchkeys import Key
    from courierpy.imap.session import Session


class Sorting:
    """What a criterion of SORT may go by: ``attributes`` of the messages, and the ``key`` that they were
    found by."""

    __slots__ = ("attributes", "key", "session")

    def __init__(self, session: Session, key: Key) -> None:
        self.session = session
        self.key = key
        self.attributes = session.need_selected().attributes(session.limits)


def sent(attributes: Attributes, uids: array[int]) -> Sequence[float]:
    """The sent dates; INTERNALDATE of those without one (RFC 5256 2.2)."""
    dates = attributes.numbers("sent", uids, "d")
    if None not in dates and NO_DATE not in dates:
        return dates  # type: ignore[return-value]
    arrived = attributes.numbers("date", uids, "d")
    return [(when or 0.0) if own is None or own == NO_DATE else own
            for own, when in zip(dates, arrived, strict=True)]


def allowed(session: Session) -> None:
    """Raises No where the administrator switched SORT and THREAD off."""
    if session.settings.flag("IMAP_DISABLETHREADSORT"):
        raise No("This command is disabled by the system administrator.", b"NOPERM")


def take_program(session: Session, args: Args) -> Key:
    """The charset and the search keys at the end of SORT and THREAD."""
    charset = searchkeys.take_charset(args)
    args.sp()
    return search.parse(session, args, charset)
