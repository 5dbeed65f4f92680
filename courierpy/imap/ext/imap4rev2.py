"""IMAP4rev2.  RFC 9051: for a client that enables it, what RFC 3501 had and the newer text dropped is not
told any more, and what it added is.

No \\Recent, RECENT and UNSEEN; SEARCH is answered with ESEARCH; mailbox names and strings are UTF-8; SELECT
tells the LIST line of the mailbox, and other commands that change mailboxes do where its name is not the
one that was sent; a FETCH that nobody asked for has the UID.  Names are normalised by RFC 5198: who names a
mailbox that is not there as it was sent means the one in Normalization Form C.
"""
from __future__ import annotations

from courierpy.imap import counted
from courierpy.imap.commands import cmd_list
from courierpy.imap.ext import Extension
from courierpy.imap.listing import Entry, Listing, parents_of
from courierpy.imap.updates import FlagsChanged
from courierpy.model.flags import IS_DELETED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.manners import Manners
    from courierpy.imap.session import Session
    from courierpy.imap.updates import Update
    from courierpy.maildir.index.statuscache import Status

TOKEN = b"IMAP4REV2"
SELECTS = (b"SELECT", b"EXAMINE")


def _enable(session: Session) -> None:
    """Nothing to prepare: the manners tell it from now on."""


def _manners(manners: Manners) -> None:
    manners.utf8 = manners.eight_bits = manners.esearch = True
    manners.recent = False
    manners.normal = _normal


def _normal(session: Session, name: str) -> str:
    """The name of the mailbox that is meant.  RFC 9051 5.1.

    One that is there under the very name is that one: other programs, and clients of RFC 3501, make
    such names too.
    """
    if name.isascii():
        return name
    from unicodedata import normalize  # its tables are large, and few names need them
    normal = normalize("NFC", name)
    return name if normal == name or session.folders.exists(name) else normal


def _named(session: Session, args: Args, name: str) -> bytes:
    """The LIST line of a mailbox.  RFC 9051 6.3.2, 6.3.4 to 6.3.6, 6.3.12, 6.3.9.7."""
    spelled = args.spelled[0]
    other = spelled != name
    if args.command == b"RENAME":
        # the first name is the one before, in whatever form: what counts is how both were sent
        other = args.spelled[1] != name or _normal(session, spelled) != spelled
    if not other and args.command not in SELECTS:
        return b""
    gone = args.command == b"DELETE"
    listing = Listing(session, extended=gone)
    cmd_list.prepare(listing)
    name, = listing.spelled([name])
    entry = Entry(name, not gone, name in parents_of(listing.there, session.separator))
    if other:
        entry.old = spelled
    return listing.line()(entry, False)


def _with_uid(session: Session, said: list[Update]) -> list[Update]:
    """RFC 9051 7.5.2: what is told unasked names the UID."""
    return [FlagsChanged(update.states, update.silent, True, update.after) if type(update) is FlagsChanged
            else update for update in said]


def _deleted(session: Session, name: str, count: Status) -> bytes:
    """How many messages are \\Deleted.  RFC 9051 6.3.11."""
    return b"%d" % counted.messages(session, name).flags.translate(IS_DELETED).count(1)


EXTENSION = Extension(
    b"IMAP4rev2", enable={TOKEN: _enable}, manners={TOKEN: _manners}, on_name={TOKEN: _named},
    on_updates={TOKEN: _with_uid}, status_items={b"DELETED": _deleted})
