"""Commands that come in the same octets again and again, as they were read: a client asks for the counts of
all its mailboxes every few minutes, and says the same each time.

What is kept is what was read, and never an answer that is not proved anew: that is the affair of who keeps a
command, and does it once more.  The next session of the same account finds it too, where it is in the same
process.
"""
from __future__ import annotations

from courierpy.imap.grammar.args import is_tag
from courierpy.maildir import lately

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.framer import Frame

MOST, OCTETS = 1000, 400       # commands that are kept, and of one at most
_last: tuple[object, Kept] | None = None       # of which account and how they were read; the commands


class Kept:
    """Commands as they were read, by their octets.

    ``commands``: by what stands behind the tag."""

    __slots__ = ("commands",)

    def __init__(self) -> None:
        self.commands: dict[bytes, Args] = {}

    def find(self, frame: Frame) -> Args | None:
        """The command that this is, with its tag."""
        tag, _, text = frame.lines[0].partition(b" ")
        found = self.commands.get(text)
        if found is None or frame.literals or not (tag.isalnum() or is_tag(tag)):
            return None
        found.tag = tag
        return found

    def keep(self, args: Args, found: Args) -> None:
        """The command was read, and done; ``found`` is the same, and does it again."""
        text = args.behind_tag
        if text and len(text) <= OCTETS:
            if len(self.commands) >= MOST:
                self.commands.clear()
            self.commands[text] = found


def of_process(terms: object) -> Kept:
    """What is kept for all sessions of the account that is served here, whose commands are read by these
    ``terms``; no other finds it."""
    global _last
    key = lately.whose(), terms
    if _last is None or _last[0] != key:
        _last = key, Kept()
    return _last[1]
