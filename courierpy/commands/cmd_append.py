"""APPEND.  RFC 9051 6.3.12; APPENDUID: RFC 4315.

The literal goes to a file in the mailbox's tmp/ as it comes.  Whether it is
wanted is decided before it is asked for: a mailbox that is not there costs the
client no upload.
"""
from __future__ import annotations

from courierpy.commands import ANY, SPOOLS, Done, command
from courierpy.errors import Bad, No
from courierpy.maildir.errors import FolderMissing
from courierpy.wire.args import Args

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.folder import Draft, Folder
    from courierpy.session import Session
    from courierpy.wire.framer import Literal, LiteralAhead


def _target(session: Session, name: str) -> Folder:
    selected = session.selected
    if selected is not None and selected.folder.name == name:
        return selected.folder
    try:
        return session.folders.open(name)
    except FolderMissing:
        raise No("Must create mailbox before append", b"TRYCREATE") from None


class _Call:
    """APPEND's words before the literal."""

    __slots__ = ("bits", "date", "keywords", "mailbox")

    def __init__(self, args: Args) -> None:
        args.sp()
        self.mailbox = args.mailbox()
        args.maybe_sp()
        self.bits, self.keywords = 0, frozenset[bytes]()
        self.date: float | None = None
        if args.at(b"("):
            self.bits, self.keywords = args.flags()
            args.maybe_sp()
        if args.at(b'"'):
            self.date = args.datetime()
            args.maybe_sp()


def spool(session: Session, ahead: LiteralAhead) -> Draft | None:
    """Where the announced literal goes; None keeps it in memory (it is not the
    message but, say, the mailbox name).  Raises as APPEND itself would."""
    args = Args(ahead.frame, utf8=session.utf8)
    try:
        call = _Call(args)
    except Bad:
        if ahead.size > 8192:
            raise
        return None                   # a mailbox name or date as a literal: judged when it is whole
    if not args.at_end():
        if ahead.size > 8192:
            raise Bad("Error in IMAP command received by server.")
        return None
    return _target(session, call.mailbox).draft()


def _draft(folder: Folder, literal: Literal) -> Draft:
    """The message, written already as it came or written now."""
    draft: Draft | None = literal.sink  # type: ignore[assignment]
    if draft is not None:
        literal.sink = None           # ours from here on
        return draft
    draft = folder.draft()
    draft.write(literal.data or b"")
    return draft


@command(b"APPEND", when=ANY, flags=SPOOLS)
def append(session: Session, args: Args) -> Done:
    call = _Call(args)
    literal = args.literal()
    args.end()

    folder = _target(session, call.mailbox)
    draft = _draft(folder, literal)
    draft.flags, draft.keywords, draft.date = call.bits, call.keywords, call.date
    if not session.keywords_on:
        draft.keywords = frozenset()
    uidvalidity, uids = folder.append([draft])
    return Done("APPEND Ok.", b"APPENDUID %d %d" % (uidvalidity, uids[0]))
