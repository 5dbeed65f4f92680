"""What the commands on lists of rights have in common: identifiers and rights as clients send them, and a
list that changes.  RFC 4314 3."""
from __future__ import annotations

import re

from courierpy.imap import permitted
from courierpy.maildir.errors import FolderMissing
from courierpy.maildir.formats.acl import ADMINISTRATORS, KEPT, MAX_ENTRIES, OWNER, USER, identifier
from courierpy.model.replies import Bad, No
from courierpy.model.rights import ALL_RIGHTS, OLDER, OWNER_RIGHTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.session import Session
    from courierpy.maildir.acl import Edit, Lists
    from courierpy.maildir.formats.acl import AccessList
    from courierpy.maildir.store import Store

_RIGHTS = re.compile(rb"([+-]?)([%s]*)" % "".join(sorted(ALL_RIGHTS.union(OLDER))).encode())


def change_of_rights(word: bytes) -> tuple[str, frozenset[str]]:
    """What a client means by rights: "=", "+" or "-", and letters of RFC 4314 2.1.  Raises Bad (3.1)."""
    match = _RIGHTS.fullmatch(word)
    if match is None:
        raise Bad("There is no such right.")
    letters = match[2].decode()
    return match[1].decode() or "=", frozenset("".join(OLDER.get(letter, letter) for letter in letters))


def whom(word: bytes) -> str:
    """The entry of an identifier, as a client sent it.  Raises No."""
    try:
        return identifier(word.decode())
    except ValueError:
        raise No("Invalid ACL identifier.", b"CANNOT") from None


def found(session: Session, command: bytes, name: str) -> tuple[Store, str]:
    """The Maildir of a mailbox, and its path there, for a command on its list.  Raises FolderMissing, or
    NotPermitted."""
    permitted.named(session, command, name)
    if not session.folders.exists(name):
        raise FolderMissing(f"no such mailbox: {name!r}")
    return session.folders.located(name)


def change(session: Session, lists: Lists, path: str, edit: Edit) -> AccessList:
    """Gives a mailbox another list.  Raises LockedOut, No, or a store error."""
    def within(before: AccessList) -> AccessList:
        after = edit(before)
        if len(after.entries) > max(MAX_ENTRIES, len(before.entries)):
            raise No(f"A list may have {MAX_ENTRIES} identifiers here.", b"LIMIT")
        return after

    after = lists.change(path, within)
    selected = session.selected
    if selected is not None:           # its rights are looked at when the client is told what changed
        selected.listed = session.folders.listed(selected.folder.name)
    return after


def always_has(store: Store, entry: str) -> frozenset[str]:
    """The rights that nobody can take from who this entry is about."""
    if entry == ADMINISTRATORS:
        return OWNER_RIGHTS
    own = entry.startswith(USER) and store.access.owns and entry in store.access.identities
    return KEPT if entry == OWNER or own else frozenset()
