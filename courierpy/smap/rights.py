"""Lists of rights: ACL, GETACL, SETACL, DELETEACL.  The letters are Courier's."""
from __future__ import annotations

from courierpy.imap.acl import change, change_of_rights, found, whom
from courierpy.maildir.formats.acl import LockedOut, letters
from courierpy.model.replies import Bad, No
from courierpy.smap import grammar, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.maildir.acl import Edit
    from courierpy.maildir.formats.acl import AccessList
    from courierpy.smap.client import Client

UPDATED = "Updated ACLs"


def acl(client: Client, words: Sequence[bytes]) -> str:
    """What the user may do."""
    name = paths.name(client.account.folders, words)
    found(client.account, b"MYRIGHTS", name)
    rights = letters(client.account.folders.rights(name))
    client.account.write(grammar.line(b"* ACL", grammar.quoted(rights)))
    return "ACLs retrieved"


def getacl(client: Client, words: Sequence[bytes]) -> str:
    name = paths.name(client.account.folders, words)
    store, path = found(client.account, b"GETACL", name)
    _tell(client, store.lists().of(path))
    return "ACLs retrieved"


def _tell(client: Client, listed: AccessList) -> None:
    pairs = [grammar.quoted(word) for entry, rights in listed.entries.items()
             for word in (entry, letters(rights))]
    client.account.write(grammar.line(b"* GETACL", *pairs))


def setacl(client: Client, words: Sequence[bytes]) -> str:
    path, rest = paths.split(words)
    if not 1 <= len(rest) <= 2:
        raise Bad(grammar.SYNTAX)
    mode, rights = change_of_rights(rest[1] if len(rest) > 1 else b"")
    entry = whom(rest[0])
    return _change(client, path, lambda before: before.changed(entry, mode, rights))


def deleteacl(client: Client, words: Sequence[bytes]) -> str:
    path, rest = paths.split(words)
    if len(rest) != 1:
        raise Bad(grammar.SYNTAX)
    entry = whom(rest[0])
    return _change(client, path, lambda before: before.changed(entry, "=", ()))


def _change(client: Client, path: Sequence[bytes], edit: Edit) -> str:
    account = client.account
    name = paths.name(account.folders, path)
    try:
        after = change(account, found(account, b"SETACL", name), edit)
    except LockedOut:
        raise No("ACL update failed") from None
    client.listed_anew()
    _tell(client, after)
    return UPDATED
