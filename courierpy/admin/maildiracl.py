"""courierpy maildiracl: the lists of rights of a Maildir, by the letters of Courier's maildiracl.

Identifiers and rights are as the file has them: ``user=ann``, ``group=staff``, ``owner``, ``anyone``,
``administrators``, a hyphen before those that rights are taken from; ``aceilrstwx``.
"""
from __future__ import annotations

from courierpy.admin import complain
from courierpy.admin.owner import inside
from courierpy.maildir.access import identities
from courierpy.maildir.errors import FolderMissing, NameInvalid
from courierpy.maildir.formats.acl import EVERYBODY, LockedOut, letters, rights_of
from courierpy.maildir.store import Store

USAGE = """Usage: courierpy maildiracl -list MAILDIR INBOX[.FOLDER]
       courierpy maildiracl -set MAILDIR INBOX[.FOLDER] [-]IDENTIFIER [+|-]RIGHTS
       courierpy maildiracl -delete MAILDIR INBOX[.FOLDER] [-]IDENTIFIER
       courierpy maildiracl -compute MAILDIR INBOX[.FOLDER] IDENTIFIER...
       courierpy maildiracl -reset MAILDIR"""
WORDS = {"-list": (2, 2), "-set": (4, 4), "-delete": (3, 3), "-compute": (3, 100), "-reset": (1, 1)}


def main(words: list[str]) -> int:
    if words[:1] in (["--help"], ["-h"]):
        print(USAGE)
        return 0
    least, most = WORDS.get(words[0], (1, 0)) if words else (1, 0)
    if not least <= len(words) - 1 <= most:
        complain(USAGE)
        return 1
    action, maildir, *rest = words
    with inside(maildir):
        store = Store(".", identities=identities("", ""))
        if action == "-reset":
            store.lists().tidy()
            return 0
        try:
            path = store.located(rest[0])[1]
            return _do(store, path, action, rest[1:])
        except (NameInvalid, FolderMissing):
            complain(f"{rest[0]}: no name of a mailbox, INBOX or INBOX.name was expected")
        except LockedOut as why:
            complain(f"Trying to set invalid access rights for {why}")
        except ValueError as why:
            complain(f"{why}: Invalid argument")
    return 1


def _do(store: Store, path: str, action: str, words: list[str]) -> int:
    """Raises ValueError for what is no identifier or no rights, a store error."""
    if action == "-list":
        for entry, rights in store.lists().of(path).entries.items():
            print(f"{entry}\t{letters(rights)}")
    elif action == "-compute":
        print(letters(store.lists().of(path).rights({*words, *EVERYBODY})))
    else:
        entry = _entry(words[0])
        mode, rights = "=", frozenset[str]()
        if action == "-set":
            mode = words[1][:1] if words[1][:1] in ("+", "-") else "="
            rights = rights_of(words[1].lstrip("+-"))
        store.lists().change(path, lambda before: before.changed(entry, mode, rights))
    return 0


def _entry(word: str) -> str:
    if not word.removeprefix("-") or any(char.isspace() or not char.isprintable() for char in word):
        raise ValueError(word)
    return word
