"""MODSEQs as one client hears of them: what CONDSTORE and QRESYNC share.  RFC 7162 3.1, 3.2.4."""
from __future__ import annotations

from courierpy.imap.grammar import lines
from courierpy.imap.updates import FlagsChanged, flag_texts
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.selected import Selected
    from courierpy.imap.session import Session
    from courierpy.imap.view import View
    from courierpy.maildir.modseqs import Modseqs
    from courierpy.model.messages import State

TOKEN = b"CONDSTORE"
MOST = 2 ** 63 - 1             # RFC 7162 7, mod-sequence-value


def number(args: Args) -> int:
    """A MODSEQ.  0 is taken where the grammar has it from 1 on: iPhones send it.  Raises Bad."""
    found = args.number()
    if found > MOST:
        raise Bad("A mod-sequence has 63 bits.")
    return found


def turn_on(session: Session) -> None:
    """A CONDSTORE enabling command has come.  RFC 7162 3.1: the first one with a mailbox selected tells
    HIGHESTMODSEQ of it."""
    if TOKEN in session.enabled:
        return
    session.enabled.add(TOKEN)
    if session.selected is not None:
        session.write(follow(session, session.selected))


def need(session: Session) -> None:
    """A command names MODSEQs of the selected mailbox.  Raises Bad where it has none: RFC 7162 3.1.2.2."""
    turn_on(session)
    if session.selected is not None and find(session.selected) is None:
        raise Bad("This mailbox has no mod-sequences.")


def follow(session: Session, selected: Selected, expunges: bool = False) -> bytes:
    """From now on the selected mailbox has MODSEQs; gives the line that says so, or that it cannot have them.

    The client was told, when that line is written, all that its number stands for, but for what
    ``expunges`` holds back.
    """
    if selected.folder.modseqs is None:
        selected.folder.number_changes()
        session.tell(expunges=expunges)
    elif not selected.behind:
        selected.folder.told()         # it has just been selected
    modseqs = find(selected)
    if modseqs is None:
        return none_kept()
    if selected.behind:
        return highest(max(1, modseqs.told))
    return highest(modseqs.history.highest)


def find(selected: Selected) -> Modseqs | None:
    """The MODSEQs of the selected mailbox; None where it has none."""
    modseqs = selected.folder.modseqs
    return modseqs if modseqs is not None and selected.snapshot.messages.modseqs is not None else None


def highest(value: int) -> bytes:
    """The line that tells HIGHESTMODSEQ.  RFC 7162 3.1.2.1."""
    return lines.told(lines.OK, "Highest mod-sequence", b"HIGHESTMODSEQ %d" % value)


def none_kept() -> bytes:
    """The line that tells that the mailbox has no mod-sequences.  RFC 7162 3.1.2.2."""
    return lines.told(lines.OK, "Mod-sequences cannot be kept here.", b"NOMODSEQ")


def flag_lines(view: View, states: Mapping[int, State], modseqs: Iterable[int],
               silent: Collection[int] = ()) -> bytes:
    """The FETCH lines of messages that have changed, by UID, and the MODSEQ of each.  ``silent``: the client
    knows the flags of these."""
    uids, flags = [*states], [b"FLAGS %s " % text for text in flag_texts(view, states)]
    if silent:
        flags = [b"" if uid in silent else text for uid, text in zip(uids, flags, strict=True)]
    if view.numbered:
        return view.lines(uids, b"UID %d %sMODSEQ (%d)", uids, flags, modseqs)
    return view.lines(uids, b"%sMODSEQ (%d)", flags, modseqs)


class Numbered(FlagsChanged):
    """FlagsChanged for a client that was promised MODSEQs: each line has UID and MODSEQ, and what is
    ``silent`` has these alone (RFC 7162 3.1.3, 3.2.4).  ``modseqs``: by UID."""

    __slots__ = ("modseqs",)

    def __init__(self, states: Mapping[int, State], silent: Collection[int],
                 modseqs: Mapping[int, int]) -> None:
        super().__init__(states, silent, True)
        self.modseqs = modseqs

    def apply(self, view: View) -> None:
        super().apply(view)
        view.messages = view.messages.numbered(self.modseqs)

    def told(self) -> Mapping[int, State]:
        return self.states

    def lines(self, view: View, states: Mapping[int, State]) -> bytes:
        return flag_lines(view, states, map(self.modseqs.__getitem__, states), self.silent)
