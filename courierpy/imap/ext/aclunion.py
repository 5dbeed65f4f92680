"""ACL2=UNION.  Courier's: lists of rights in LIST, and changed by ``ACL STORE``, ``SET``, ``DELETE``.

Identifiers are told as they stand in the file, rights in its letters; ``d`` is all of ``e``, ``t``, ``x``.
Levels that are no mailboxes have lists too.  What is not there is passed over, and of what the user may see
and not change the list of, the client is told so.
"""
from __future__ import annotations

from functools import partial

from courierpy.imap.acl import always_has, change, change_of_rights, found, whom
from courierpy.imap.commands import ANY, CHANGES, command
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines, out
from courierpy.imap.listing import Entry, Listing, wanted
from courierpy.imap.permitted import NotPermitted, denied
from courierpy.maildir.errors import FolderMissing, NameInvalid
from courierpy.maildir.formats.acl import MIGHTY, AccessList, LockedOut, letters
from courierpy.model.namespaces import SHARED_PREFIXES
from courierpy.model.replies import Bad, No
from courierpy.model.rights import ALL_RIGHTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.maildir.acl import Lists
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


def _rights_on(session: Session, name: str) -> frozenset[str]:
    """Of a mailbox or a level; none on one that is above all Maildirs."""
    try:
        return session.folders.rights(name)
    except NameInvalid:
        return frozenset()


def _acl(session: Session, args: Args) -> Callable[[Listing], None]:
    def told(entry: Entry) -> bytes:
        if "a" not in _rights_on(session, entry.name):
            return b""
        store, path = session.folders.located(entry.name)
        return b'("ACL" %s)' % _list(store.lists().of(path))
    return _besides(b"ACL", told)


def _myrights(session: Session, args: Args) -> Callable[[Listing], None]:
    def told(entry: Entry) -> bytes:
        rights = _rights_on(session, entry.name)
        return b'("MYRIGHTS" %s)' % out.quoted(_rights(rights)) if rights else b""
    return _besides(b"MYRIGHTS", told)


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
    listing, matches = _chosen(session, args)
    changes: list[Change] = []
    while args.more():
        who = whom(args.astring())
        if word == b"DELETE":
            changes.append((who, "=", frozenset()))
        else:
            args.sp()
            changes.append((who, *change_of_rights(args.astring())))
        if len(changes) > MAX_CHANGES:
            raise Bad("Too many identifiers.")
    args.end()
    if not changes and word != b"SET":
        raise Bad("An identifier is missing.")

    known: dict[Store, Lists] = {}
    for entry in filter(matches, listing.entries()):
        after = _change_one(session, entry, changes, word, known)
        if after is not None:
            told = b'("ACL" %s)' % _list(after)
            _besides(b"ACL", partial(_same, told))(listing)
            session.write(listing.line()(entry, False))
    return f"ACL {word.decode()} completed."


def _change_one(session: Session, entry: Entry, changes: list[Change], word: bytes,
                known: dict[Store, Lists]) -> AccessList | None:
    """Its list then, which is told; None where none is.  ``known``: the lists of each Maildir, for all that
    the command changes."""
    def edit(before: AccessList) -> AccessList:
        after = AccessList({}) if word == b"SET" else before
        for one in changes:
            after = after.changed(*one)
        return after

    command = b"ACL " + word
    try:
        store, path = _place(session, entry, command)
        if store not in known:
            known[store] = store.lists()
        try:
            return change(session, known[store], path, edit)
        except LockedOut as why:
            whole = word == b"STORE" and all(mode == "=" for _, mode, _ in changes)
            _told_why(session, store, entry.name, str(why), whole)
            return known[store].of(path) if word == b"STORE" else None
    except NotPermitted as why:
        session.write(lines.data(b"ACLFAILED", session.mailbox(entry.name), b"NO", why.text.encode()))
    except FolderMissing:
        pass                           # since it was listed
    return None


def _place(session: Session, entry: Entry, command: bytes) -> tuple[Store, str]:
    """Of a mailbox or a level that is listed.  Raises NotPermitted, FolderMissing."""
    if "a" not in _rights_on(session, entry.name):
        raise denied(command, entry.name, "a")
    return found(session, b"ACL", entry.name) if entry.exists else session.folders.located(entry.name)


def _told_why(session: Session, store: Store, name: str, entry: str, whole: bool) -> None:
    """Why a list was not changed, as Courier tells it.  ``whole``: were all rights of an entry given anew?"""
    if whole or entry in MIGHTY:
        session.write(lines.data(b"ACLFAILED", session.mailbox(name), b"Invalid argument"))
        return
    always = letters(always_has(store, entry)).encode()
    rest = [bytes((letter,)) for letter in letters(ALL_RIGHTS).encode() if letter not in always]
    session.write(lines.data(b"RIGHTS-INFO", session.mailbox(name), out.string(entry.encode()), always,
                             *rest))


def _chosen(session: Session, args: Args) -> tuple[Listing, Callable[[Entry], bool]]:
    """What there is, and which of it is meant: one name; or names and patterns in parentheses."""
    patterns: list[str] = []
    if args.at(b"("):
        args.open()
        args.maybe_sp()
        while not args.at(b")"):
            try:
                patterns.append(args.list_mailbox())
            except No:
                pass                   # no mailbox can be called so
            if not args.maybe_sp():
                break
        args.close()
        matches = wanted("", patterns, session.separator)
    else:
        patterns.append(args.mailbox())
        matches = patterns.__contains__
    listing = Listing(session)
    listing.by_alias = False
    of_accounts = any(one.startswith(SHARED_PREFIXES[0]) for one in patterns)
    listing.others = (False, True) if of_accounts else (False,)
    return listing, lambda entry: matches(entry.name)


EXTENSION = Extension(b"ACL2=UNION", off="!IMAP_ACL",
                      list_options={b"ACL": _acl, b"MYRIGHTS": _myrights, b"POSTADDRESS": _postaddress})
