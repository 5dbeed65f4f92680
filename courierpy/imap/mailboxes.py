"""Sets of mailboxes that a client names: ``personal``, ``subtree "a"`` and their kind.

RFC 5465 6, with ``subtree-one`` of RFC 7377 2.2.  What ``selected`` means is the affair of the command
that has it.
"""
from __future__ import annotations

from courierpy.maildir.errors import NameInvalid
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session

MAX_NAMES = 10_000             # of one command
NAMING = (b"SUBTREE", b"SUBTREE-ONE", b"MAILBOXES")        # with names of mailboxes behind
# RFC 5465 6.3: delivery agents file mail into any mailbox, so INBOXES is PERSONAL
WORDS = (b"INBOXES", b"PERSONAL", b"SUBSCRIBED", *NAMING)


class MailboxSet:
    """Mailboxes as a command names many of them.

    ``word``: in upper case.  ``names``: of the mailboxes behind it; what is no name is left out."""

    __slots__ = ("names", "word")

    def __init__(self, word: bytes, names: list[str]) -> None:
        self.word = word
        self.names = names

    def __repr__(self) -> str:
        return f"MailboxSet({self.word!r}, {self.names!r})"

    def named(self, session: Session) -> Iterator[tuple[str, bool]]:
        """The names that it stands for, there or not, each with: did the client spell it?"""
        folders = session.folders
        if self.word == b"MAILBOXES":
            yield from ((name, True) for name in self.names)
        elif self.word == b"SUBSCRIBED":
            yield from ((name, False) for name in folders.subscriptions())
        elif self.word not in NAMING:
            yield from ((name, False) for name in folders.names())
        else:
            for top in self.names:
                below = top + session.separator if top else ""
                if top:
                    yield top, True
                for name in folders.names():
                    rest = name[len(below):]
                    if name.startswith(below) and rest and (
                            self.word == b"SUBTREE" or session.separator not in rest):
                        yield name, False


def take(args: Args, words: tuple[bytes, ...]) -> MailboxSet:
    """One set.  ``words``: the names of sets that the command has, ``SELECTED`` maybe among them.
    Raises Bad."""
    word = args.word()
    if word not in words:
        raise Bad("Unknown set of mailboxes.")
    names: list[str] = []
    if word in NAMING:
        args.sp()
        if not args.at(b"("):
            _take_name(args, names)
        else:
            args.open()
            args.maybe_sp()
            _take_name(args, names)
            for _ in range(MAX_NAMES):
                if not args.maybe_sp() or args.at(b")"):
                    break
                _take_name(args, names)
            else:
                raise Bad("Too many mailboxes.")
            args.close()
    return MailboxSet(word, names)


def _take_name(args: Args, names: list[str]) -> None:
    try:
        names.append(args.mailbox())
    except No:
        return                         # no mailbox can be called so


def chosen(session: Session, sets: list[MailboxSet]) -> Iterator[str]:
    """The names of the mailboxes that are meant and that the client may know of, each mailbox once.  There
    may be none of a name.  RFC 7377 2.2: who asks by name needs to read it, else to see it too."""
    seen: set[str] = set()
    for one in sets:
        for name, spelled in one.named(session):
            try:
                path = session.folders.path_of(name)
                rights = session.folders.rights(name)
            except NameInvalid:
                continue
            if path not in seen and rights.issuperset("r" if spelled else "rl"):
                seen.add(path)
                yield name
