"""Lists of rights: ACL, GETACL, SETACL, DELETEACL.  The letters are Courier's."""
from __future__ import annotations

from itertools import zip_longest

from courierpy.imap.acl import change, change_of_rights, found, whom
from courierpy.maildir.formats.acl import KEPT, MIGHTY, OWNER, LockedOut, letters
from courierpy.model.replies import Bad, No
from courierpy.model.rights import ALL_RIGHTS
from courierpy.smap import grammar, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from courierpy.maildir.formats.acl import AccessList
    from courierpy.smap.client import Client

UPDATED = "Updated ACLs"
# who keeps something, what, and what he may lose, one by one
MINIMUM = (OWNER.encode(), letters(KEPT).encode(),
           *(letter.encode() for letter in letters(ALL_RIGHTS - KEPT)))


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
    """An identifier and its rights, as often as one likes: all of them or none.  One without rights goes."""
    path, rest = paths.split(words)
    pairs = zip_longest(rest[::2], rest[1::2], fillvalue=b"")
    return _change(client, path, [(whom(entry), *change_of_rights(rights)) for entry, rights in pairs])


def deleteacl(client: Client, words: Sequence[bytes]) -> str:
    path, rest = paths.split(words)
    return _change(client, path, [(whom(entry), "=", ()) for entry in rest])


def _change(client: Client, path: Sequence[bytes], changes: Sequence[tuple[str, str, Iterable[str]]]) -> str:
    """``changes``: identifier, mode and rights of each, as AccessList.changed() has them."""
    if not changes:
        raise Bad(grammar.SYNTAX)

    def edit(before: AccessList) -> AccessList:
        for one in changes:
            before = before.changed(*one)
        return before

    account = client.account
    name = paths.name(account.folders, path)
    try:
        store, where = found(account, b"SETACL", name)
        after = change(account, store.lists(), where, edit)
    except LockedOut as why:
        if str(why) not in MIGHTY:
            account.write(grammar.line(b"* ACLMINIMUM", *MINIMUM))
        raise No("ACL update failed") from None
    client.listed_anew()
    _tell(client, after)
    return UPDATED
