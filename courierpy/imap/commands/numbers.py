"""The messages that a command names, as sequence numbers of this client's view."""
from __future__ import annotations

from courierpy.imap import ext
from courierpy.imap.grammar.numset import NumSet
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session
    from courierpy.model.uidset import UidSet


def chosen(session: Session, numbers: NumSet, by_uid: bool) -> list[int]:
    """Sequence numbers, ascending, each once.

    UIDs that are not there are passed over (RFC 9051 6.4.9); a sequence number
    that is not there is the client's mistake (RFC 9051 9, seq-number).
    """
    view = session.need_selected().view
    if numbers.saved:
        found = view.seqs_of_uids(saved(session).runs)
        if numbers.ranges:
            found = sorted({*found, *chosen(session, NumSet(numbers.ranges), by_uid)})
        return found
    if by_uid:
        largest = view.uids[-1] if view.uids else 0
        return view.seqs_of_uids(numbers.resolve(largest))
    count = len(view.messages.uids)
    ranges = numbers.resolve(count)
    if ranges and (ranges[-1][1] > count or ranges[0][0] < 1):
        raise Bad("Invalid message sequence number.")
    return view.seqs_in(ranges)


def highest(session: Session, seqs: list[int]) -> tuple[list[int], bytes | None]:
    """Those of ``seqs`` that one command may work on, and the code of its tagged OK where these are not
    all: the ones with the highest UIDs.  IMAP_MESSAGELIMIT."""
    most = session.rules.message_limit
    if not most or len(seqs) <= most:
        return seqs, None
    kept = seqs[-most:]
    return kept, ext.tagged_code(b"LIMITED", most, session.need_selected().view.uids[kept[0] - 1])


def may_save(session: Session, count: int) -> None:
    """Raises No where one command may not save so many messages.  IMAP_SAVELIMIT, IMAP_MESSAGELIMIT."""
    most = session.rules.save_limit
    if most and count > most:
        raise No(f"One command saves no more than {most} messages here.", ext.tagged_code(b"UNSAVED", most))


def saved(session: Session) -> UidSet:
    """The UIDs for which `$` stands; of messages that are gone too.  Raises Bad where none can be saved."""
    of = ext.find("message_sets", b"$")
    if of is None:
        raise Bad("Invalid message set.")
    found: UidSet = of(session)
    return found
