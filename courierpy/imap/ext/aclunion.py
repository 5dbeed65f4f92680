"""ACL2=UNION.  Courier's: lists of rights in LIST, and changed by ``ACL STORE``, ``SET``, ``DELETE``.

Identifiers are told as they stand in the file, rights in its letters; ``d`` is all of ``e``, ``t``, ``x``.
Mailboxes that are not there, or whose list the user may not change, are passed over.
"""
from __future__ import annotations

from functools import partial

from courierpy.imap.acl import always_has, change, change_of_rights, found, whom
from courierpy.imap.commands import ANY, CHANGES, command
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines, out
from courierpy.imap.listing import Entry, Listing, parents_of, wanted
from courierpy.imap.permitted import NotPermitted
from courierpy.maildir.errors import FolderMissing
from courierpy.maildir.formats.acl import OWNER, AccessList, LockedOut, letters
from courierpy.model.replies import Bad, No
from courierpy.model.rights import ALL_RIGHTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.maildir.store import Store

    Change = tuple[str, str, frozenset[str]]       # identifier, as AccessList.changed() takes it

MAX_CHANGES = 100                  # of one command


def _rights(rights: frozenset[str]) -> bytes:
    told = letters(rights)
    return "".join(sorted(told.translate({ord(letter): "" for letter in "etx"}) + "d")).encode() \
        if {*"etx"} <= {*told} else told.encode()


def _list(found: AccessList) -> bytes:
    return b"(%s)" % b"".join([b"(%s %s)" % (out.string(entry.encode("utf-8", "surrogateescape")),
                                             out.quoted(_rights(rights)))
                               for entry, rights in found.entries.items()])


def _acl(session: Session, args: Args) -> Callable[[Listing], None]:
    def told(entry: Entry) -> bytes:
        if "a" not in session.folders.rights(entry.name):
            return b""
        store, path = session.folders.located(entry.name)
        return b'("ACL" %s)' % _list(store.lists().of(path))
    return _besides(b"ACL", told)


def _myrights(session: Session, args: Args) -> Callable[[Listing], None]:
    return _besides(b"MYRIGHTS", lambda entry: b'("MYRIGHTS" %s)' % out.quoted(
        _rights(session.folders.rights(entry.name))))


def _postaddress(session: Session, args: Args) -> Callable[[Listing], None]:
    return _besides(b"POSTADDRESS", lambda entry: b"(POSTADDRESS NIL)")


def _same(told: bytes, entry: Entry) -> bytes:
    return told


def _besides(word: bytes, told: Callable[[Entry], bytes]) -> Callable[[Listing], None]:
    def prepare(listing: Listing) -> None:
        listing.besides[word] = told
    return prepare


@command(b"ACL", when=ANY, flags=CHANGES, named=("a",))
def change_lists(session: Session, args: Args) -> str:
    args.sp()
    word = args.word()
    if word not in (b"STORE", b"SET", b"DELETE"):
        raise Bad("ACL FAILED: Invalid argument")
    args.sp()
    names = _mailboxes(session, args)
    changes: list[Change] = []
    while args.more():
        entry = whom(args.astring())
        if word == b"DELETE":
            changes.append((entry, "=", frozenset()))
        else:
            args.sp()
            changes.append((entry, *change_of_rights(args.astring())))
        if len(changes) > MAX_CHANGES:
            raise Bad("Too many identifiers.")
    args.end()
    if not changes and word != b"SET":
        raise Bad("An identifier is missing.")

    listing = Listing(session)
    parents = parents_of(listing.there, session.separator)
    for name in names:
        after = _change_one(session, args, name, changes, word)
        if after is not None:
            told = b'("ACL" %s)' % _list(after)
            _besides(b"ACL", partial(_same, told))(listing)
            session.write(listing.line()(Entry(name, True, name in parents), False))
    return f"ACL {word.decode()} completed."


def _change_one(session: Session, args: Args, name: str, changes: list[Change],
                word: bytes) -> AccessList | None:
    """Its list then, which is told; None where none is."""
    def edit(before: AccessList) -> AccessList:
        after = AccessList({}) if word == b"SET" else before
        for one in changes:
            after = after.changed(*one)
        return after

    try:
        store, path = place = found(session, args.command, name)
        try:
            return change(session, place, edit)
        except LockedOut as why:
            _told_why(session, store, name, str(why), taken=word == b"DELETE" or (str(why), "-") in [
                one[:2] for one in changes])
            return store.lists().of(path) if word == b"STORE" else None
    except (FolderMissing, NotPermitted):
        pass
    return None


def _told_why(session: Session, store: Store, name: str, entry: str, taken: bool) -> None:
    """Why a list was not changed, as Courier tells it.  ``taken``: are rights taken from its owner?"""
    if not taken or entry != OWNER:
        session.write(lines.data(b"ACLFAILED", session.mailbox(name), b"Invalid argument"))
        return
    always = letters(always_has(store, entry)).encode()
    rest = [bytes((letter,)) for letter in letters(ALL_RIGHTS).encode() if letter not in always]
    session.write(lines.data(b"RIGHTS-INFO", session.mailbox(name), out.quoted(entry.encode()), always,
                             *rest))


def _mailboxes(session: Session, args: Args) -> list[str]:
    """One mailbox; or names and patterns in parentheses, which stand for those that are there."""
    if not args.at(b"("):
        return [args.mailbox()]
    args.open()
    args.maybe_sp()
    patterns: list[str] = []
    while not args.at(b")"):
        try:
            patterns.append(args.list_mailbox())
        except No:
            pass                       # no mailbox can be called so
        if not args.maybe_sp():
            break
    args.close()
    matches = wanted("", patterns, session.separator)
    return [name for name in session.folders.names() if matches(name)]


EXTENSION = Extension(b"ACL2=UNION", off="!IMAP_ACL",
                      list_options={b"ACL": _acl, b"MYRIGHTS": _myrights, b"POSTADDRESS": _postaddress})
