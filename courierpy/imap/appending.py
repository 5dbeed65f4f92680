"""What APPEND and its kind have in common: the words of the messages, and their octets on the way to disk.

A message comes in pieces: one literal as a rule, more by extensions (``append_data``).  Each literal goes
to the message's file in the mailbox's tmp/ as it comes, behind what came before it.  Whether it is wanted
is decided before it is asked for: a mailbox that is not there costs the client no upload.
RFC 9051 6.3.12, RFC 3502.
"""
from __future__ import annotations

import os
from functools import partial

from courierpy.imap import ext, permitted
from courierpy.imap.commands.numbers import may_save
from courierpy.imap.grammar.args import ERROR, FLAGS
from courierpy.maildir.errors import trouble
from courierpy.maildir.messagefile import MessageFile
from courierpy.model.replies import Bad, No

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.framer import Literal, LiteralAhead
    from courierpy.imap.session import Session
    from courierpy.maildir.draft import Draft
    from courierpy.maildir.formats.maildirsize import Amount
    from courierpy.maildir.mailbox import Mailbox

    Result = TypeVar("Result")

HELD_OCTETS = 8192                 # of a literal that is no message: a name, or what is judged as a whole
LARGEST_OCTETS = 2 ** 32 - 1       # of a message: RFC822.SIZE has 32 bits (RFC 3501 9)


class Piece:
    """A part of a message.  ``literal``: its octets; None: ``pour`` has them, a function (session, Assembly)
    that writes them, and raises No.  ``utf8``: the literal stands in ``UTF8 ( )``."""

    __slots__ = ("literal", "pour", "utf8")

    def __init__(self, literal: Literal | None = None,
                 pour: Callable[[Session, Assembly], None] | None = None, *, utf8: bool = False) -> None:
        self.literal = literal
        self.pour = pour
        self.utf8 = utf8


class Mail:
    """The words of one message up to where the frame ends, and its pieces.

    ``waits``: the piece whose literal is announced, but not here yet.  ``in_memory``: an announced literal
    is no piece, and is kept.
    """

    __slots__ = ("bits", "date", "in_memory", "keywords", "pieces", "waits")

    def __init__(self, args: Args) -> None:
        """Raises Bad."""
        self.bits, self.keywords = 0, frozenset[bytes]()
        self.date: float | None = None
        self.pieces: list[Piece] = []
        self.waits: Piece | None = None
        self.in_memory = False
        if args.at(b"("):
            self.bits, self.keywords = args.flags()
            args.maybe_sp()
        elif args.at(b"\\"):           # one flag without parentheses, as Courier takes it
            bit = FLAGS.get(args.attribute().upper())
            if bit is None:
                raise Bad("Invalid flag.")
            self.bits = bit
            args.maybe_sp()
        elif args.rest_text()[:4].upper() == b"NIL ":          # no flags, to Courier
            args.word()
            args.maybe_sp()
        if args.at(b'"'):
            self.date = args.datetime()
            args.maybe_sp()
        if args.rest_text()[:1].isalpha():
            data = ext.find("append_data", args.word())
            if data is None:
                raise Bad(ERROR)
            args.maybe_sp()
            data(args, self)
        else:
            self.take(args)

    def take(self, args: Args, *, utf8: bool = False) -> bool:
        """The next piece is a literal.  False: it is not here yet, and nothing can follow."""
        piece = Piece(utf8=utf8)
        if args.at_end():
            self.waits = piece
            return False
        piece.literal = args.literal()
        self.pieces.append(piece)
        return True

    @property
    def bare(self) -> bool:
        """No words at all: in a whole command only a blank at its end."""
        return not (self.bits or self.keywords or self.date or self.pieces or self.in_memory
                    or self.waits is None or self.waits.utf8)

    @property
    def whole(self) -> bool:
        return self.waits is None and not self.in_memory

    @property
    def empty(self) -> bool:
        return not any(piece.literal is None or piece.literal.size for piece in self.pieces)

    @property
    def binary(self) -> bool:
        """Is one of the literals a literal8?"""
        return any(piece.literal is not None and piece.literal.binary for piece in self.pieces)


def check(piece: Piece, binary: bool, session: Session) -> None:
    """A literal8 and UTF8 belong together.  Raises Bad."""
    if piece.utf8 and not session.manners.utf8_messages:
        raise Bad("UTF8 needs ENABLE UTF8=ACCEPT first.")
    if piece.utf8 and not binary or binary and not piece.utf8 and _literal8() is None:
        raise Bad("A literal8 belongs into UTF8 ( ) and nowhere else.")


class Call:
    """The mailbox, and messages up to where the frame ends.  ``waits``: the one whose octets are
    announced."""

    __slots__ = ("mailbox", "mails", "waits")

    def __init__(self, session: Session, args: Args) -> None:
        """Raises Bad, No."""
        args.sp()
        self.mailbox = args.mailbox()
        self.mails: list[Mail] = []
        self.waits: Mail | None = None
        while args.maybe_sp():
            mail = Mail(args)
            for piece in mail.pieces:
                if piece.literal is not None:
                    check(piece, piece.literal.binary, session)
            if not mail.whole:
                self.waits = mail
                return
            self.mails.append(mail)
        args.end()

    @property
    def unfinished(self) -> bool:
        """Of a whole command: does it end in the middle of a message, or has it none?"""
        return not self.mails or self.waits is not None and not self.waits.bare


class Assembly:
    """One message on its way to disk, in ``folder``.  ``octets``: that it has.  ``poured``: so many of its
    pieces are in it, or are coming.  ``shared``: what pieces have open for those behind them, closed at its
    end."""

    __slots__ = ("draft", "folder", "limit", "octets", "poured", "shared")

    def __init__(self, folder: Mailbox, limit: int) -> None:
        self.folder = folder
        self.draft = folder.draft()
        self.limit = limit or LARGEST_OCTETS
        self.octets = self.poured = 0
        self.shared: dict[object, Any] = {}

    def expect(self, count: int) -> None:
        """Raises No where so many octets more are too many."""
        if self.octets + count > self.limit:
            raise No(f"A message may have {self.limit} octets here.", b"TOOBIG")

    def write(self, data: bytes) -> None:
        self.octets += len(data)
        self.draft.write(data)

    def pour(self, session: Session, pieces: Sequence[Piece]) -> None:
        """The pieces that are not in it yet, of ``pieces``, which are its first.  Raises No."""
        for piece in pieces[self.poured:]:
            if piece.literal is not None:
                data = piece.literal.data or b""
                self.expect(len(data))
                self.write(data)
            elif piece.pour is not None:
                piece.pour(session, self)
            self.poured += 1

    def close(self) -> None:
        """All pieces are in it, or will never be."""
        while self.shared:
            self.shared.popitem()[1].close()

    def abort(self) -> None:
        self.close()
        self.draft.abort()


def target(session: Session, command: bytes, name: str, mails: Sequence[Mail] = ()) -> Mailbox:
    """The mailbox that messages go to.  ``mails``: of this command, which may be on their way to it already.
    Raises No [TRYCREATE], or [NOPERM]."""
    begun = _begun(mails[-1]) if mails else None
    return permitted.target(session, command, name, "Must create mailbox before append",
                            begun.folder if begun is not None else None)


def place(session: Session, ahead: LiteralAhead, args: Args, old: int = 0) -> Assembly | None:
    """Where the announced literal goes; None keeps it in memory (it is not the message but, say,
    the mailbox name).  ``args``: of the command so far, at the mailbox; ``old``: as for append().  Raises as
    the command would."""
    waits = None
    try:
        call = Call(session, args)
        waits = call.waits
    except Bad:
        if ahead.size > HELD_OCTETS:
            raise
    if waits is None or waits.waits is None:
        if ahead.size > HELD_OCTETS:
            raise Bad(ERROR)
        return None                   # judged when it is whole
    may_save(session, len(call.mails) + 1)
    check(waits.waits, ahead.binary, session)
    limit = append_limit(session, call.mailbox)
    if limit and ahead.size > limit:
        raise No(f"A message may have {limit} octets here.", b"TOOBIG")
    folder = target(session, args.command, call.mailbox)
    octets = ahead.size
    for mail in call.mails:            # RFC 3502: close what is whole, there may be many
        if _begun(mail) is not None:
            draft = _finished(session, folder, mail).draft
            draft.finish(session.folders.options.sync)
            octets += draft.size
    begun = _begun(waits)
    if begun is not None:
        octets += begun.octets
    folder.admit(octets, len(call.mails) + 1, _counted(session, old, folder))
    assembly = begun or Assembly(folder, limit)
    try:
        assembly.pour(session, waits.pieces)
        assembly.expect(ahead.size)
    except BaseException:
        assembly.abort()
        raise
    assembly.poured += 1
    return assembly


def _begun(mail: Mail) -> Assembly | None:
    """The message, where some of it is on disk."""
    for piece in mail.pieces:
        if piece.literal is not None and piece.literal.sink is not None:
            found: Assembly = piece.literal.sink  # type: ignore[assignment]
            return found
    return None


def _finished(session: Session, folder: Mailbox, mail: Mail) -> Assembly:
    """All of the message, as it can be stored.  Raises No."""
    assembly = _begun(mail) or Assembly(folder, append_limit(session, folder.name))
    try:
        if assembly.draft.open:
            assembly.pour(session, mail.pieces)
            assembly.close()
            prepare = _literal8() if mail.binary else None
            if prepare is not None:
                prepare(assembly.draft)
    except BaseException:
        assembly.abort()
        raise
    draft = assembly.draft
    draft.flags, draft.date = mail.bits, mail.date
    draft.keywords = mail.keywords if session.rules.keywords_on else frozenset()
    return assembly


def _literal8() -> Callable[[Draft], None] | None:
    """What makes a message of any octets one that can be stored; None where none is taken."""
    found: Callable[[Draft], None] | None = ext.find("append_literals", b"~")
    return found


def append_limit(session: Session, name: str) -> int:
    """Octets that a message for this mailbox may have, 0 for any number.  RFC 7889."""
    found = session.folders.namespaces.find(name)
    path = found[1] if found is not None else name
    return session.settings.of_word("IMAP_APPENDLIMIT", path or name)


def _counted(session: Session, old: int, folder: Mailbox) -> Amount | None:
    """What the message of this UID (0: none) of the selected mailbox counts for the quota of ``folder``."""
    return session.need_selected().folder.counted(old, folder) if old else None


def append(session: Session, folder: Mailbox, mails: Sequence[Mail], old: int = 0) -> tuple[int, list[int]]:
    """Stores the messages, all or none; (UIDVALIDITY, their UIDs).  ``old``: UID of the message of the
    selected mailbox that goes when they are there.  Raises No, or a store error."""
    may_save(session, len(mails))
    session.folders.options.keep_file()
    drafts: list[Draft] = []
    try:
        for mail in mails:
            assembly = _finished(session, folder, mail)
            drafts.append(assembly.draft)
            for piece in mail.pieces:
                if piece.literal is not None:
                    piece.literal.sink = None      # ours from here on
            if not assembly.octets:
                raise No(EMPTY)
            if session.rules.refuses_8bit and not session.manners.eight_bits \
                    and not drafts[-1].header_is_ascii():
                raise No("Headers with 8-bit characters need ENABLE UTF8=ACCEPT.", b"CANNOT")
        instead = _counted(session, old, folder)
        uidvalidity, uids = brought(session, folder, (partial(opened, session, draft) for draft in drafts),
                                    len(drafts), partial(folder.append, drafts, instead), instead)
        drafts = []
        session.entered(folder, uids)
        return uidvalidity, uids
    finally:
        for draft in drafts:
            draft.abort()


def opened(session: Session, draft: Draft) -> MessageFile:
    """The file of a message that is whole, and in no mailbox yet.  Raises a store error."""
    draft.finish(session.folders.options.sync)
    try:
        return MessageFile(os.open(draft.path, os.O_RDONLY | os.O_CLOEXEC), draft.path)
    except OSError as error:
        raise trouble(draft.path, error) from None


def brought(session: Session, folder: Mailbox, files: Iterable[Callable[[], MessageFile]], count: int,
            bring: Callable[[], Result], instead: Amount | None = None) -> Result:
    """What ``bring`` gives, which puts messages into the mailbox.  ``files``: functions that open each of
    them, ``count``: how many they are; ``instead``: as for Mailbox.append().  Raises No, or a store error."""
    way = ext.find("entering", b"")
    if way is None:
        return bring()
    found: Result = way(session, folder, files, count, instead, bring)
    return found


EMPTY = "A message is empty: nothing was appended."       # RFC 3502 6.3.11
