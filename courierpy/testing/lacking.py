"""A server that lacks some of its capabilities: they are not told, and what they add is refused.

What one file of imap/ext does goes together (SPECIAL-USE and CREATE-SPECIAL-USE, all of THREAD), and so does
what has no use without it (QRESYNC without CONDSTORE).  The few that are the grammar's own are only not told.
"""
from __future__ import annotations

from courierpy.auth import mechanisms
from courierpy.imap import commands
from courierpy.imap.commands import index as command_index
from courierpy.imap.ext import index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# capability -> those that ask for it, each by its own RFC
NEEDED_BY = {"CONDSTORE": ("QRESYNC",), "ENABLE": ("QRESYNC", "UTF8=ACCEPT", "IMAP4rev2", "UIDONLY"),
             "LIST-EXTENDED": ("LIST-STATUS", "LIST-METADATA", "LIST-MYRIGHTS"),
             "SORT": ("SORT=DISPLAY", "ESORT")}
TOLD_WITH = {"SORT": ("CONTEXT=SORT",)}    # what else is not told, and is a part of a file that stays
# no file of their own: the grammar's, the login's, and what the listing and APPEND of RFC 9051 hold
BY_SETTING = ("LITERAL+", "LITERAL-", "SASL-IR", "CHILDREN", "MULTIAPPEND", "I18NLEVEL=1")
STARTTLS = "STARTTLS"
AUTH = "AUTH="


def files(words: Iterable[str]) -> frozenset[str]:
    """The files of imap/ext, without their ending, that do these capabilities.

    Raises ValueError for a word that names none.
    """
    told: dict[str, set[str]] = {}
    for token, file, _, _ in index.CAPABILITIES:
        name = token.decode().rstrip("=").upper()
        told.setdefault(name, set()).add(file)
        told.setdefault(name.partition("=")[0], set()).add(file)
    found: set[str] = set()
    wanted = [word.upper() for word in words]
    for word in wanted:                    # grows meanwhile
        if word in BY_SETTING or word == STARTTLS or word.startswith(AUTH):
            continue
        if word not in told:
            raise ValueError(f"{word}: no capability of this server")
        found |= {file.removeprefix("ext.") for file in told[word] if file.startswith("ext.")}
        wanted += [more.upper() for more in NEEDED_BY.get(word, ()) if more.upper() not in wanted]
    return frozenset(found)


def settings(words: Iterable[str], base: str) -> dict[str, str]:
    """What is not told, as settings; to be asked for before they are withdrawn.  ``base``: IMAP_CAPABILITY
    without that."""
    names = {word.upper() for word in words}
    gone = files(names)
    names |= {word.decode().rstrip("=") for word, file, _, _ in index.CAPABILITIES
              if file.removeprefix("ext.") in gone}
    names |= {more for name in names for more in TOLD_WITH.get(name, ())}
    taken = [f"-{name}" for name in sorted(names - {STARTTLS})]
    found = {"IMAP_CAPABILITY": " ".join([base or "all", *taken])}
    if "LITERAL+" in names or "LITERAL-" in names:
        found["IMAP_CAPABILITY"] += " -LITERAL+ -LITERAL-"
    if STARTTLS in names:
        found["IMAPDSTARTTLS"] = "NO"
    return found


class _Kept(dict[bytes, commands.Row]):
    """The decorated commands, without those that are gone."""

    def __init__(self, gone: frozenset[bytes]) -> None:
        super().__init__((name, row) for name, row in commands.DECORATED.items() if name not in gone)
        self._gone = gone

    def __setitem__(self, name: bytes, row: commands.Row) -> None:
        if name not in self._gone:
            super().__setitem__(name, row)


def withdraw(words: Iterable[str]) -> None:
    """In this process, and in all that it forks: nobody finds what these capabilities add.

    To be called before courierpy.imap.capability is loaded, which keeps what it finds.
    """
    gone = files(words)
    modules = {f"ext.{file}" for file in gone}
    index.CAPABILITIES = tuple(row for row in index.CAPABILITIES if row[1] not in modules)
    for table in index.PLUGGED.values():
        for key in [key for key, file in table.items() if file in gone]:
            del table[key]
    names = frozenset(name for name, row in command_index.COMMANDS.items() if row[0] in modules)
    for name in names:
        del command_index.COMMANDS[name]
    commands.DECORATED = _Kept(names)
    for word in words:
        if word.upper().startswith(AUTH):
            mechanisms.TABLE.pop(word.upper().removeprefix(AUTH).encode(), None)
