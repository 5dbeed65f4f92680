"""The index of Maildirs that accounts share: Courier's IMAP_SHAREDINDEXFILE.

A line is ``account<TAB>uid<TAB>gid<TAB>home[<TAB>maildir]``, or ``group<TAB>*<TAB>file`` with another index
in the same directory; ``#`` begins a comment.  Each is a level of the names of mailboxes.  What is no such
line, or cannot be read, is passed over and told to the log once.
"""
from __future__ import annotations

import os

from courierpy.model.numbers import decimal
from courierpy.system import log
from courierpy.system.regular import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Entries = dict[str, tuple[bool, str]]      # level of names -> (is it a group, its index or its Maildir)

DEPTH = 8                              # of groups in groups: deeper is a circle
_PLAIN = str.maketrans(dict.fromkeys("./", " "))
_MUNGED = str.maketrans({".": "\\:", "/": "\\;", "\\": "\\\\"})


class SharedIndex:
    """The file that says which accounts share mailboxes.

    ``file``: of the index.  ``munged``: accounts whose names have dots and slashes are told apart by them
    (IMAP_SHAREDMUNGENAMES), as ``\\:`` and ``\\;``; else both are blanks."""

    __slots__ = ("_file", "_known", "_refused", "_spell")

    def __init__(self, file: str, munged: bool) -> None:
        self._file = file
        self._spell = _MUNGED if munged else _PLAIN
        self._known: dict[str, tuple[tuple[int, int, int], Entries]] = {}
        self._refused: set[str] = set()

    def find(self, path: str) -> tuple[str, str] | None:
        """(levels of the account, its Maildir) for a mailbox, by what stands behind the prefix of the
        namespace; None where there is no such account."""
        file, above = self._file, ""
        inside: set[str] = set()
        while file not in inside and len(inside) < DEPTH:
            inside.add(file)
            level, _, path = path.partition(".")
            group, where = self._entries(file).get(level, (False, ""))
            if not where:
                return None
            if not group:
                return above + level, where
            file, above = where, f"{above}{level}."
        return None

    def accounts(self) -> Iterator[tuple[str, str]]:
        """The same of all there are."""
        yield from self._below(self._file, "", ())

    def _below(self, file: str, above: str, inside: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        if file in inside or len(inside) >= DEPTH:
            self._refuse(file, "it is in itself")
            return
        for level, (group, where) in self._entries(file).items():
            if group:
                yield from self._below(where, f"{above}{level}.", (*inside, file))
            else:
                yield above + level, where

    def _refuse(self, where: str, why: str) -> None:
        if where not in self._refused:
            self._refused.add(where)
            log.err(f"IMAP_SHAREDINDEXFILE: {where}: {why}")

    def _entries(self, file: str) -> Entries:
        known = self._known.get(file)
        try:
            found = os.stat(file)
            stamp = found.st_ino, found.st_mtime_ns, found.st_size
            if known is None or known[0] != stamp:
                known = self._known[file] = stamp, self._parse(file, whole(file))
        except OSError as error:
            self._refuse(file, error.strerror or str(error))
            if known is None or isinstance(error, (FileNotFoundError, NotADirectoryError)):
                return {}
        return known[1]                # what cannot be read for now says what it said

    def _parse(self, file: str, data: bytes) -> Entries:
        entries: Entries = {}
        for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
            words = line.partition("#")[0].rstrip().split("\t")
            if words == [""]:
                continue
            level = words[0].translate(self._spell)
            if len(words) == 3 and words[1] == "*" and level:
                entries.setdefault(level, (True, os.path.join(os.path.dirname(file), words[2])))
            elif len(words) in (4, 5) and level and words[3] and decimal(words[1]) and decimal(words[2]):
                maildir = words[4] if len(words) == 5 and words[4] else "./Maildir"
                entries.setdefault(level, (False, os.path.normpath(os.path.join(words[3], maildir))))
            else:
                self._refuse(f"{file}({number})", "syntax error")
        return entries
