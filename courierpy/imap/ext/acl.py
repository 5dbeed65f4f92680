"""ACL.  RFC 4314: GETACL, SETACL, DELETEACL, LISTRIGHTS, MYRIGHTS.  The lists are Courier's files.

A bare identifier is a user's name, but for ``owner``, ``anyone``, ``anonymous`` and ``administrators``;
``user=`` and ``group=`` may be spelled.  What a client is told it can send back.
"""
from __future__ import annotations

from courierpy.imap.acl import always_has, change, change_of_rights, found, whom
from courierpy.imap.commands import ANY, CHANGES, command
from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines, out
from courierpy.maildir.formats.acl import KEPT, LockedOut, told
from courierpy.model.replies import No
from courierpy.model.rights import ALL_RIGHTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.selected import Selected
    from courierpy.imap.session import Session
    from courierpy.maildir.acl import Edit


def _change(session: Session, command: bytes, name: str, edit: Edit) -> str:
    try:
        store, path = found(session, command, name)
        change(session, store.lists(), path, edit)
    except LockedOut:
        raise No("Cannot modify ACLs on this mailbox.", b"CANNOT") from None
    return "ACLs updated."


@command(b"GETACL", when=ANY, named=("a",))
def getacl(session: Session, args: Args) -> str:
    args.sp()
    name = args.mailbox()
    args.end()
    store, path = found(session, args.command, name)
    entries = []
    for entry, rights in store.lists().of(path).entries.items():
        word = told(entry)
        if word is not None:
            entries += [out.string(word.encode(), session.utf8), out.quoted(out.rights(rights))]
    session.write(lines.data(b"ACL", session.mailbox(name), *entries))
    return "GETACL completed."


@command(b"SETACL", when=ANY, flags=CHANGES, named=("a",))
def setacl(session: Session, args: Args) -> str:
    args.sp()
    name = args.mailbox()
    args.sp()
    word = args.astring()
    args.sp()
    mode, rights = change_of_rights(args.astring())
    args.end()
    entry = whom(word)
    return _change(session, args.command, name, lambda before: before.changed(entry, mode, rights))


@command(b"DELETEACL", when=ANY, flags=CHANGES, named=("a",))
def deleteacl(session: Session, args: Args) -> str:
    args.sp()
    name = args.mailbox()
    args.sp()
    word = args.astring()
    args.end()
    entry = whom(word)
    return _change(session, args.command, name, lambda before: before.changed(entry, "=", ()))


@command(b"LISTRIGHTS", when=ANY, named=("a",))
def listrights(session: Session, args: Args) -> str:
    """RFC 4314 3.4, 3.7: no right is tied to another."""
    args.sp()
    name = args.mailbox()
    args.sp()
    word = args.astring()
    args.end()
    entry = whom(word)
    store, _ = found(session, args.command, name)
    always = always_has(store, entry)
    never = KEPT if entry.startswith("-") else frozenset()         # nobody is locked out
    granted = out.rights(always)
    session.write(lines.data(
        b"LISTRIGHTS", session.mailbox(name), out.string(word, session.utf8), out.quoted(granted),
        *[out.quoted(bytes((letter,))) for letter in out.rights(ALL_RIGHTS)
          if letter not in granted and chr(letter) not in never]))
    return "LISTRIGHTS completed."


@command(b"MYRIGHTS", when=ANY, named=("|lrikxa",))
def myrights(session: Session, args: Args) -> str:
    args.sp()
    name = args.mailbox()
    args.end()
    found(session, args.command, name)
    session.write(lines.data(b"MYRIGHTS", session.mailbox(name),
                             out.quoted(out.rights(session.folders.rights(name)))))
    return "MYRIGHTS completed."


def _told(selected: Selected) -> bytes:
    """As Courier tells it."""
    return lines.told(lines.OK, "ACL", b"MYRIGHTS " + out.quoted(out.rights(selected.rights)))


EXTENSION = Extension(b"ACL", b"RIGHTS=texk", off="!IMAP_ACL", on_rights={b"": _told})
