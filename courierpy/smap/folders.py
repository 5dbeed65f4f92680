"""Folders: LIST, STATUS, CREATE, DELETE, RENAME, OPEN and their kind."""
from __future__ import annotations

from courierpy.imap import permitted
from courierpy.imap.commands.cmd_select import opened
from courierpy.imap.view import View
from courierpy.maildir.errors import FolderExists, NameInvalid
from courierpy.model.namespaces import INBOX
from courierpy.model.replies import No
from courierpy.smap import grammar, paths, told
from courierpy.smap.snapshots import Snapshots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.imap.session import Session as Account
    from courierpy.smap.client import Client

# what there is without any name of a user's: (name, description, what it is)
TOP = ((INBOX, "New Mail", b"FOLDER"), (INBOX, "Folders", b"DIRECTORY"),
       (paths.PUBLIC, "Public Folders", b"DIRECTORY"))


def _name(client: Client, words: Sequence[bytes]) -> str:
    return paths.name(client.account.folders, words)


# -- what there is

def list_(client: Client, words: Sequence[bytes]) -> str:
    """One level below a path; without a path what there is at the top."""
    path = [grammar.text_of(word) for word in words if word]
    account = client.account
    if not path:
        account.write(*[grammar.line(b"* LIST", grammar.quoted(name), grammar.quoted(text), kind)
                        for name, text, kind in TOP])
        return "LIST completed"
    store, depth = account.folders, len(path)
    names = store.shared_names(virtual=True) if path[0] == paths.PUBLIC else store.names()
    found: dict[str, set[bytes]] = {}
    for name in names:
        levels = paths.levels(store, name)
        if len(levels) > depth and levels[:depth] == path and _is_shown(account, name):
            kind = b"FOLDER" if len(levels) == depth + 1 else b"DIRECTORY"
            found.setdefault(levels[depth], set()).add(kind)
    for word, kinds in found.items():
        spelled = grammar.quoted(word)
        account.write(grammar.line(b"* LIST", spelled, spelled, *sorted(kinds, reverse=True)))
    return "LIST completed"


def _is_shown(account: Account, name: str) -> bool:
    return "l" in account.folders.rights(name)


def status(client: Client, words: Sequence[bytes]) -> str:
    """Counts of a folder.  They are cheap to have: CHEAP is FULL."""
    if not words or words[0].upper() not in (b"FULL", b"CHEAP"):
        raise NameInvalid("no kind of status")
    name = _name(client, words[1:])
    permitted.named(client.account, b"STATUS", name)
    count = client.account.folders.status(name)
    client.account.write(b"* STATUS EXISTS=%d UNSEEN=%d\n" % (count.messages, count.unseen))
    return "Folder status retrieved"


# -- folders come and go

def _below_inbox(client: Client, words: Sequence[bytes], command: bytes) -> str:
    """The name of a folder that may come or go, as the rights say that IMAP's command asks for."""
    name = _name(client, words)
    if name == INBOX:
        raise NameInvalid("INBOX is there")
    permitted.named(client.account, command, name)
    return name


def create(client: Client, words: Sequence[bytes]) -> str:
    name = _below_inbox(client, words, b"CREATE")
    client.account.folders.create(name)
    return "Folder created"


def mkdir(client: Client, words: Sequence[bytes]) -> str:
    """Nothing is made: a folder is a directory when there is one below it."""
    _below_inbox(client, words, b"CREATE")
    return "Folder created"


def delete(client: Client, words: Sequence[bytes]) -> str:
    name = _name(client, words)
    account = client.account
    if name == INBOX:
        raise No("INBOX may not be deleted")
    if name == account.folders.trash_mailbox:
        raise No("Cannot delete this folder.")
    if account.selected is not None and account.selected.folder.name == name:
        raise No("Cannot delete currently-open folder.")
    permitted.named(account, b"DELETE", name)
    account.folders.delete(name)
    return "Folder deleted"


def rmdir(client: Client, words: Sequence[bytes]) -> str:
    """Nothing goes: the directory does with the last folder below it."""
    _below_inbox(client, words, b"DELETE")
    return "Folder deleted"


def rename(client: Client, words: Sequence[bytes]) -> str:
    old_words, new_words = paths.split(words)
    old, new = _name(client, old_words), _name(client, new_words)
    account, separator = client.account, client.account.separator
    if new == INBOX:
        raise FolderExists(new)
    if account.folders.trash_mailbox in (old, new):
        raise No("Reserved folder name - cannot rename.")
    if new.startswith(old + separator) and old != INBOX:
        raise NameInvalid(f"{old!r} below itself")
    if account.selected is not None:
        open_name = account.selected.folder.name
        if open_name == old or old != INBOX and open_name.startswith(old + separator):
            raise No("Can't RENAME the currently-open folder")
    if old == INBOX:
        raise No("INBOX rename not implemented.")
    permitted.named(account, b"RENAME", old, new)
    account.folders.rename(old, new)
    return "Folder renamed."


# -- the open folder

def open_(client: Client, words: Sequence[bytes]) -> str:
    return _open(client, words, None)


def sopen(client: Client, words: Sequence[bytes]) -> str:
    """As OPEN; the client is told what changed since the snapshot that it names, if that is there still."""
    if not words:
        raise No("Invalid folder: Invalid argument")
    return _open(client, words[1:], words[0])


def _open(client: Client, words: Sequence[bytes], snapshot: bytes | None) -> str:
    client.close()                    # whatever becomes of the new one
    account = client.account
    try:
        name = _name(client, words)
    except NameInvalid:
        raise No("Invalid folder: Invalid argument") from None
    standing = permitted.standing(account, b"SELECT", name)
    selected = opened(account, name, account.rules.only_reads, standing)
    client.open(selected)
    if snapshot is None:
        account.write(told.exists(selected.view))
        return "Folder opened"
    client.snapshots = Snapshots(selected, not account.rules.only_reads)
    known = client.snapshots.restored(snapshot) if snapshot else None
    if known is None:
        account.write(told.exists(selected.view))
        return "Folder opened"
    account.write(grammar.line(b"* SNAPSHOTEXISTS", grammar.quoted(snapshot)))
    selected.view = View(known)
    selected.behind = True             # it is not what the mailbox holds
    account.tell(expunges=True)
    return "Folder updated"


def close(client: Client, words: Sequence[bytes]) -> str:
    """Nothing is removed."""
    client.close()
    return "Folder closed"


def logout(client: Client, words: Sequence[bytes]) -> str:
    client.over = True
    client.account.write(b"* BYE Courier-SMAP server shutting down\n")
    return "LOGOUT completed"


