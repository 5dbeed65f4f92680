"""What changed in the open mailbox, in SMAP's words: updates of the session's view (imap/updates.py)."""
from __future__ import annotations

from courierpy.imap.updates import Arrived, Expunged, FlagsChanged, Sizes, Update
from courierpy.smap import grammar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from courierpy.imap.selected import Selected
    from courierpy.imap.view import View
    from courierpy.model.messages import State


class Gone(Expunged):
    """Messages that are there no more, by the numbers that they had before."""

    __slots__ = ()

    def lines(self, seqs: Sequence[int]) -> bytes:
        return grammar.told_numbers(b"EXPUNGE", [seq + before for before, seq in enumerate(seqs)],
                                    are_gone=True)


class Exists(Update):
    """How many messages there are."""

    __slots__ = ()

    def tell(self, selected: Selected, keywords_on: bool) -> bytes:
        return exists(selected.view)


def exists(view: View) -> bytes:
    """The line that says how many messages there are."""
    return b"* EXISTS %d\n" % len(view)


class Changed(FlagsChanged):
    """``flags``, ``keywords``: are these told?"""

    __slots__ = ("flags", "keywords")

    def __init__(self, states: Mapping[int, State], flags: bool = True, keywords: bool = True) -> None:
        super().__init__(states)
        self.flags = flags
        self.keywords = keywords

    def lines(self, view: View, states: Mapping[int, State]) -> bytes:
        told = []
        for uid, (bits, words) in states.items():
            values = [grammar.flags(bits)] if self.flags else []
            if self.keywords:
                values.append(grammar.keywords(words))
            told.append(grammar.line(b"* FETCH %d" % view.seq(uid), *values))
        return b"".join(told)


def spelled(said: Iterable[Update], keywords_on: bool) -> list[Update]:
    """What the client hears of updates, in the form that it understands."""
    said = list(said)
    arrived = any(isinstance(update, Arrived) for update in said)
    found: list[Update] = []
    for update in said:
        if type(update) is Expunged:
            found.append(Gone(update.uids))
        elif isinstance(update, Sizes):
            if arrived:                # what went is counted by the client
                found.append(Exists())
        elif type(update) is FlagsChanged:
            found.append(Changed(update.states, keywords=keywords_on))
        elif isinstance(update, (Arrived, Gone, Exists, Changed)):
            found.append(update)
    return found
