"""APPEND.  RFC 9051 6.3.12; several messages: RFC 3502.

The literal goes to a file in the mailbox's tmp/ as it comes.  Whether it is
wanted is decided before it is asked for: a mailbox that is not there costs the
client no upload.
"""
from __future__ import annotations

from courierpy.imap import ext
from courierpy.imap.commands import ANY, CHANGES, Done, command
from courierpy.imap.names import named
from courierpy.maildir.errors import FolderMissing
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.framer import Literal, LiteralAhead
    from courierpy.imap.session import Session
    from courierpy.maildir.mailbox import Draft, Mailbox


CAPABILITIES = (b"MULTIAPPEND",)


def _target(session: Session, name: str) -> Mailbox:
    selected = session.selected
    if selected is not None and selected.folder.name == name:
        return selected.folder
    try:
        return session.folders.open(name)
    except FolderMissing:
        raise No("Must create mailbox before append", b"TRYCREATE") from None


class _Mail:
    """The words before one message's literal, and the literal when it is there."""

    __slots__ = ("bits", "date", "keywords", "literal", "utf8")

    def __init__(self, args: Args) -> None:
        self.bits, self.keywords = 0, frozenset[bytes]()
        self.date: float | None = None
        self.literal: Literal | None = None
        if args.at(b"("):
            self.bits, self.keywords = args.flags()
            args.maybe_sp()
        if args.at(b'"'):
            self.date = args.datetime()
            args.maybe_sp()
        self.utf8 = args.rest_text()[:4].upper() == b"UTF8"
        if self.utf8:                  # RFC 6855 4: UTF8 (~{n} ... )
            args.word()
            args.maybe_sp()
            args.open()

    @property
    def bare(self) -> bool:
        """No words at all: in a whole command only a blank at its end."""
        return not (self.bits or self.keywords or self.date or self.utf8)

    def check(self, binary: bool, enabled: bool) -> None:
        """A literal8 and UTF8 belong together.  Raises Bad."""
        if self.utf8 and not enabled:
            raise Bad("UTF8 needs ENABLE UTF8=ACCEPT first.")
        if self.utf8 and not binary or binary and not self.utf8 and _literal8() is None:
            raise Bad("A literal8 belongs into UTF8 ( ) and nowhere else.")

    def give(self, draft: Draft, keywords_on: bool) -> None:
        draft.flags, draft.date = self.bits, self.date
        draft.keywords = self.keywords if keywords_on else frozenset()


class _Call:
    """APPEND's words: the mailbox, and messages up to where the frame ends."""

    __slots__ = ("mailbox", "mails", "waits")

    def __init__(self, args: Args, enabled: bool) -> None:
        args.sp()
        self.mailbox = args.mailbox()
        self.mails: list[_Mail] = []
        self.waits: _Mail | None = None         # its literal is announced, but not here yet
        while args.maybe_sp():
            mail = _Mail(args)
            if args.at_end():
                self.waits = mail
                return
            mail.literal = args.literal()
            mail.check(mail.literal.binary, enabled)
            if mail.utf8:
                args.close()
            self.mails.append(mail)
        args.end()


def spool(session: Session, ahead: LiteralAhead) -> Draft | None:
    """Where the announced literal goes; None keeps it in memory (it is not the
    message but, say, the mailbox name).  Raises as APPEND itself would."""
    args = session.parse(ahead.frame)
    waits = None
    try:
        call = _Call(args, session.manners.utf8_messages)
        waits = call.waits
    except Bad:
        if ahead.size > 8192:
            raise
    if waits is None:
        if ahead.size > 8192:
            raise Bad("Error in IMAP command received by server.")
        return None                   # a mailbox name as a literal: judged when it is whole
    waits.check(ahead.binary, session.manners.utf8_messages)
    limit = session.append_limit
    if limit and ahead.size > limit:
        raise No(f"A message may have {limit} octets here.", b"TOOBIG")
    folder = _target(session, call.mailbox)
    for mail in call.mails:            # RFC 3502: close what is whole, there may be many
        if mail.literal is not None and mail.literal.sink is not None:
            earlier = _prepared(mail.literal)
            mail.give(earlier, session.keywords_on)
            earlier.finish(session.folders.options.sync)
    return folder.draft()


def _draft(folder: Mailbox, literal: Literal) -> Draft:
    """The message, written already as it came or written now."""
    if literal.sink is None:
        sink = literal.sink = folder.draft()
        sink.write(literal.data or b"")
    draft = _prepared(literal)
    literal.sink = None               # ours from here on
    return draft


def _literal8() -> Callable[[Draft], None] | None:
    """What makes a message of any octets one that can be stored; None where none is taken."""
    found: Callable[[Draft], None] | None = ext.find("append_literals", b"~")
    return found


def _prepared(literal: Literal) -> Draft:
    """The draft that the literal was written to, as it can be stored."""
    draft: Draft = literal.sink  # type: ignore[assignment]
    prepare = _literal8() if literal.binary and draft.open else None
    if prepare is not None:
        prepare(draft)
    return draft


@command(b"APPEND", when=ANY, flags=CHANGES, spool=spool)
def append(session: Session, args: Args) -> Done:
    call = _Call(args, session.manners.utf8_messages)
    if not call.mails or (call.waits is not None and not call.waits.bare):
        raise Bad("APPEND needs a message as a literal.")
    literals = [mail.literal for mail in call.mails if mail.literal is not None]
    if not all(literal.size for literal in literals):
        raise No("A message is empty: nothing was appended.")       # RFC 3502 6.3.11

    folder = _target(session, call.mailbox)
    drafts = []
    try:
        for mail, literal in zip(call.mails, literals, strict=True):
            drafts.append(_draft(folder, literal))
            mail.give(drafts[-1], session.keywords_on)
            if session.refuses_8bit and not session.manners.eight_bits and not drafts[-1].header_is_ascii():
                raise No("Headers with 8-bit characters need ENABLE UTF8=ACCEPT.", b"CANNOT")
        uidvalidity, uids = folder.append(drafts)
        session.entered(folder, uids)
        drafts = []
    finally:
        for draft in drafts:
            draft.abort()
    named(session, args, call.mailbox)
    return Done("APPEND Ok.", ext.tagged_code(b"APPEND", uidvalidity, uids))
