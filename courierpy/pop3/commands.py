"""The commands after the login: name -> what it does.  RFC 1939 5, 7; RFC 2449 5; RFC 6856 2, 3.

A command is a function of the session and of what stands behind its name; it gives the reply, or pieces of
it.  Raises Bad for what cannot be understood, No for what cannot be done, and store errors.  As with Courier
words that are too many are passed over.
"""
from __future__ import annotations

from courierpy.model.numbers import decimal
from courierpy.model.replies import Bad, No, anew
from courierpy.pop3 import capabilities, wire
from courierpy.pop3.lines import INVALID, ok, several

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Protocol

    from courierpy.maildir.messagefile import MessageFile
    from courierpy.pop3.maildrop import Entry, Maildrop
    from courierpy.system.settings import Settings

    class Session(Protocol):
        """As session.py has it."""

        maildrop: Maildrop
        settings: Settings
        utf8: bool
        octets_of_top: int
        octets_of_retr: int

        def size(self, entry: Entry) -> int: ...

        def pieces(self, entry: Entry, file: MessageFile) -> Iterator[bytes]: ...

        def update(self) -> bytes: ...

    Command = Callable[[Session, bytes], bytes | Iterator[bytes]]

NO_NUMBER = "Invalid message number."
MAX_NUMBER = 0xFFFFFFFF        # of a message, or of lines of TOP
NO_UIDL = No("The messages have no UIDLs yet, try again later.", b"SYS/TEMP")


def number(session: Session, word: bytes) -> tuple[int, Entry]:
    """The message that a word names.  Raises No."""
    found = decimal(word, MAX_NUMBER)
    entry = session.maildrop.find(found) if found is not None else None
    if found is None or entry is None:
        raise No(NO_NUMBER)
    return found, entry


def stat(session: Session, rest: bytes) -> bytes:
    sizes = [session.size(entry) for _, entry in session.maildrop.there()]
    return ok(b"%d %d" % (len(sizes), sum(sizes)))


def list_(session: Session, rest: bytes) -> bytes:
    words = rest.split()
    if words:
        at, entry = number(session, words[0])
        return ok(b"%d %d" % (at, session.size(entry)))
    rows = [b"%d %d" % (at, session.size(entry)) for at, entry in session.maildrop.there()]
    return several(ok("POP3 clients that break here, they violate STD53."), rows)


def uidl(session: Session, rest: bytes) -> bytes:
    words = rest.split()
    if words:
        at, entry = number(session, words[0])
        if entry.uidl is None:
            raise anew(NO_UIDL)
        return ok(b"%d %s" % (at, entry.uidl))
    rows = [(at, entry.uidl) for at, entry in session.maildrop.there()]
    if any(name is None for _, name in rows):
        raise anew(NO_UIDL)              # a client would take what is left out for deleted
    return several(ok(), [b"%d %s" % row for row in rows])


def retr(session: Session, rest: bytes) -> Iterator[bytes]:
    words = rest.split()
    if not words:
        raise Bad(INVALID)
    _, entry = number(session, words[0])
    return _retr(session, entry, session.maildrop.open(entry))


def _retr(session: Session, entry: Entry, file: MessageFile) -> Iterator[bytes]:
    with file:
        yield ok(b"%d octets follow." % session.size(entry))
        yield from wire.stuffed(session.pieces(entry, file))
        session.octets_of_retr += file.size
    session.maildrop.read(entry)


def top(session: Session, rest: bytes) -> Iterator[bytes]:
    words = rest.split()
    count = decimal(words[1], MAX_NUMBER) if len(words) > 1 else None
    if count is None:
        raise Bad(INVALID)
    _, entry = number(session, words[0])
    return _top(session, entry, session.maildrop.open(entry), count)


def _top(session: Session, entry: Entry, file: MessageFile, count: int) -> Iterator[bytes]:
    with file:
        yield ok("headers follow.")
        for piece in wire.stuffed(wire.top(session.pieces(entry, file), count)):
            session.octets_of_top += len(piece) - piece.count(b"\r\n")
            yield piece
        session.octets_of_top -= 2     # the last line is none of the message


def dele(session: Session, rest: bytes) -> bytes:
    words = rest.split()
    if not words:
        raise Bad(INVALID)
    _, entry = number(session, words[0])
    if session.maildrop.only_reads:
        raise No("The mailbox can only be read.", b"SYS/PERM")
    entry.deleted = True
    return ok("Deleted.")


def rset(session: Session, rest: bytes) -> bytes:
    for entry in session.maildrop.entries:
        entry.deleted = False
    return ok("Resurrected.")


def noop(session: Session, rest: bytes) -> bytes:
    return ok("Yup.")


def quit_(session: Session, rest: bytes) -> bytes:
    return session.update()


def capa(session: Session, rest: bytes) -> bytes:
    return several(capabilities.CAPABILITIES, capabilities.after_login(session.settings))


def utf8(session: Session, rest: bytes) -> bytes:
    """In both states: a mail reader may say it late."""
    session.utf8 = True
    return ok("UTF8 enabled")


def lang(session: Session, rest: bytes) -> bytes:
    return capabilities.language(rest)


COMMANDS: Mapping[bytes, Command] = {
    b"CAPA": capa, b"DELE": dele, b"LANG": lang, b"LIST": list_, b"NOOP": noop, b"QUIT": quit_, b"RETR": retr,
    b"RSET": rset, b"STAT": stat, b"TOP": top, b"UIDL": uidl, b"UTF8": utf8}
