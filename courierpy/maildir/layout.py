"""Where mailboxes lie in a Maildir: the path that a mailbox has in its namespace <-> the directory.

| layout | mailbox | directory | whose |
| --- | --- | --- | --- |
| maildir++ | ``INBOX.a.b`` | ``.a.b`` | Courier, Dovecot, mbsync ``SubFolders Maildir++`` |
| fs | ``a/b`` | ``a/b`` | Dovecot ``LAYOUT=fs``, mbsync ``Verbatim``, OfflineIMAP ``sep = /``, mutt |
| legacy | ``a/b`` | ``a/.b`` | mbsync ``SubFolders Legacy`` |
| flat | ``a.b`` | ``a.b`` | OfflineIMAP, mbsync ``Flatten .`` |

The last three are one class, which differs by what stands between two levels on disk.
There a mailbox is a directory that has a ``cur``; INBOX is the directory of that name, in
any case, or else the root.  Names are modified UTF-7 or UTF-8, level by level, as they
are found; a new one is as those that are there, and modified UTF-7 where none tells.
Our own directories are in ``cur``, where every reader of Maildirs passes over names with
a dot: beside ``cur`` they would be levels of mailboxes to the others.

INBOX has the path "".  Nothing that a client names leads out of the Maildir.
"""
from __future__ import annotations

import errno
import os
import time

from courierpy.maildir import directory, names
from courierpy.maildir.errors import NameInvalid, trouble
from courierpy.maildir.files import exists, is_directory
from courierpy.maildir.formats.keywordlist import DIRECTORY as KEYWORDS
from courierpy.maildir.index.columns import DIRECTORY as INDEX
from courierpy.model import namespaces, utf7
from courierpy.model.namespaces import INBOX
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PARTS = ("cur", "new", "tmp")
GRAVEYARD = "courierpyexpunged"    # what is expunged and kept (graveyard.py)
DELETED = "courierpydeleted"       # in the root of a Maildir++: mailboxes that were deleted and are kept
_INBOX = INBOX.encode()
_PARTS = frozenset(os.fsencode(part) for part in PARTS)
# directories in the root of a Maildir++ that hold no mailboxes: ours and Courier's
_KNOWN = frozenset(os.fsencode(name) for name in (*PARTS, KEYWORDS, INDEX, GRAVEYARD, DELETED,
                                                  "courierimaphieracl",
                                                  "shared-folders", "shared"))
MAX_LEVELS = 32                    # deeper is a circle of links, or no mail
LOOKED_INTO = 2000                 # directories, before it is clear what a tree is
LEVELS_LOOKED_INTO = 3


class MaildirPlusPlus:
    """The Maildir at ``root`` is INBOX, and has a directory for each other mailbox.

    ``separator`` and ``prefix``: of the names of mailboxes (RFC 2342 5).  ``inbox``: INBOX's directory.
    ``index``, ``keywords``, ``graveyard``: our directories, below that of a mailbox.  ``scratch``: a
    directory for files that get a name in the root.  ``nested``: may mailboxes lie in each other's
    directories?
    """

    name = "maildir++"
    nested = False
    separator = "."
    prefix = f"{INBOX}."
    index, keywords, graveyard = INDEX, KEYWORDS, GRAVEYARD
    fixed = True                       # the directory of a path is the same whatever there is on disk

    def __init__(self, root: str) -> None:
        self.root = root
        self._inside = os.path.join(root, "")
        self.inbox = self._inside + "."
        self.scratch = self._inside + "tmp"
        self.forget()

    def forget(self) -> None:
        """Nothing is known of what there is."""
        # stamp of the root, what in it may be a mailbox, what of that is one
        self._listed: tuple[tuple[int, int], list[bytes], dict[bytes, str]] | None = None
        self._others: list[bytes] = []          # directories in it that are neither

    def is_there(self) -> bool:
        """Is there anything of a Maildir?"""
        return (any(os.path.isdir(self._inside + part) for part in PARTS)
                or len(self.mailboxes()) > 1)

    def directory(self, path: str) -> str:
        """The directory of a mailbox, there or not.  Raises NameInvalid."""
        entry = names.directory(path)
        return f"{self._inside}.{path}" if path.isascii() else self._inside + os.fsdecode(entry)

    def mailboxes(self) -> list[str]:
        """The paths of all there are, INBOX first, then in order."""
        root = os.fsencode(self.root)
        try:
            before = os.stat(root)
            stamp = before.st_ino, before.st_mtime_ns
            if self._listed is None or self._listed[0] != stamp:
                found, self._others = self._entries(root)
                settled = directory.settled(before.st_mtime_ns, time.time_ns())
                self._listed = stamp if settled else (0, 0), found, {}
        except OSError as error:
            raise trouble(self.root, error) from None
        # a directory that was a folder once stays one while the Maildir's own is as it was
        _, entries, known = self._listed
        for entry in entries:
            # what can be selected is listed, as open() makes what is missing of the three
            if entry not in known and any(os.path.isdir(os.path.join(root, entry, part)) for part in _PARTS):
                known[entry] = names.mailbox_path(entry)
        return ["", *sorted(known.values())]

    @staticmethod
    def _entries(root: bytes) -> tuple[list[bytes], list[bytes]]:
        """What may be a mailbox, and what else may hold one."""
        found, others = [], []
        with os.scandir(root) as entries:
            for entry in entries:
                if names.is_folder_entry(entry.name):
                    found.append(entry.name)
                elif entry.name not in _KNOWN and _leads_into(entry):
                    others.append(entry.name)
        return found, others

    def unshown(self) -> list[str]:
        """Paths below the root of Maildirs that mailboxes() passed over."""
        return sorted(os.fsdecode(path) for entry in self._others for path in _maildirs(self.root, entry))

    def below(self, top: str) -> list[str]:
        """A mailbox and all below it.  One that cannot be looked at raises: it would be left behind."""
        try:
            entries = os.listdir(os.fsencode(self.root))
        except OSError as error:
            raise trouble(self.root, error) from None
        found = sorted(names.mailbox_path(entry) for entry in entries if names.is_folder_entry(entry))
        return [path for path in found if (path == top or path.startswith(top + "."))
                and is_directory(os.path.join(self.directory(path), "cur"))]


class Nested:
    """A directory below ``root`` for each mailbox; ``joint``: what stands between two levels there.
    The attributes are those of MaildirPlusPlus."""

    nested = True
    prefix = ""
    index, keywords, graveyard = f"cur/.{INDEX}", f"cur/.{KEYWORDS}", f"cur/.{GRAVEYARD}"
    fixed = False

    def __init__(self, root: str, name: str, joint: str) -> None:
        self.root = root
        self.name = name
        self.separator = "." if joint == "." else "/"
        self.scratch = root
        self._joint = os.fsencode(joint)
        self.forget()

    def forget(self) -> None:
        """As of MaildirPlusPlus."""
        self._seen: dict[bytes, _Seen] = {}     # path below the root -> what is there
        self._unshown: list[bytes] = []
        self._inbox = self._find_inbox()
        self.inbox = os.path.join(self.root, os.fsdecode(self._inbox))

    def _find_inbox(self) -> bytes:
        """A directory INBOX that is a mailbox, or any other spelling; else the root, if that is one; else
        INBOX, which is made when it is opened."""
        found = sorted((entry for entry in self._look(b"").entries if entry.upper() == _INBOX),
                       key=lambda entry: (entry != _INBOX, entry))
        whole = [entry for entry in found if self._look(entry).mailbox]
        if whole:
            return whole[0]
        return b"." if self._look(b"").mailbox else (*found, _INBOX)[0]

    def is_there(self) -> bool:
        """Is there anything of a Maildir?"""
        return self._look(self._inbox).mailbox or len(self.mailboxes()) > 1

    # -- a path to a directory

    def directory(self, path: str) -> str:
        """The directory of a mailbox, there or not.  Raises NameInvalid."""
        if not path:
            return self.inbox
        levels = [path] if self.separator == "." else path.split("/")
        for level in path.split(self.separator):
            if not level or level in (".", "..", *PARTS) or any(char in level for char in "/\0\n"):
                raise NameInvalid(f"bad component: {path!r}")
        if len(levels) > MAX_LEVELS:
            raise NameInvalid(f"too many levels: {path!r}")
        found = b""
        for at, level in enumerate(levels):
            if at == 0 and level == INBOX and self._inbox != b".":
                found = self._inbox
                continue
            if at == 0 and self._joint != b"/" and level.startswith("."):
                raise NameInvalid(f"begins with a dot: {path!r}")
            found = self._below(found, level)
        return os.path.join(self.root, os.fsdecode(found))

    def _below(self, path: bytes, level: str) -> bytes:
        """The path one level down; as it is found, else as it would be made."""
        before = path + self._joint if path else b""
        try:
            plain = names.on_disk(level)
            coded = utf7.encode(level)
        except UnicodeEncodeError:
            raise NameInvalid(f"not encodable: {level!r}") from None
        if max(len(plain), len(coded)) > names.MAX_NAME - len(self._joint):
            raise NameInvalid(f"too long: {level!r}")
        if plain == coded:
            return before + plain
        for choice in (coded, plain):
            if exists(os.path.join(os.fsencode(self.root), before + choice)):
                return before + choice
        return before + (plain if self._writes_utf8() else coded)

    def _writes_utf8(self) -> bool:
        """Is there a name in UTF-8, and none in modified UTF-7?"""
        entries = [os.path.basename(path) for path, _, _ in self._walk()]
        return (any(not entry.isascii() for entry in entries)
                and not any(_decoded(entry) for entry in entries))

    # -- what there is

    def mailboxes(self) -> list[str]:
        """The paths of all there are, INBOX first, then in order."""
        found: dict[str, bytes] = {}
        self._unshown = []
        for path, name, mailbox in self._walk():
            if not mailbox or path == self._inbox:
                continue
            if name and name != INBOX and name not in found and self._leads_to(name, path):
                found[name] = path
            else:
                self._unshown.append(path)
        if self._inbox != b"." and self._look(b"").mailbox:
            self._unshown.append(b".")
        return ["", *sorted(found)]

    def unshown(self) -> list[str]:
        """Paths below the root of Maildirs that mailboxes() passed over."""
        return sorted(map(os.fsdecode, self._unshown))

    def below(self, top: str) -> list[str]:
        """A mailbox and all below it."""
        return [path for path in self.mailboxes() if path == top or path.startswith(top + self.separator)]

    def named(self, rows: Iterable[Sequence[bytes]]) -> list[str]:
        """The paths of the mailboxes whose levels are on disk as each row has them, as far as they can be."""
        found = []
        for levels in rows:
            name = self.separator.join(_decoded(level) or names.shown(level)
                                       for level in levels)
            path = namespaces.folded(name, self.separator)
            path = "" if path == INBOX else path
            try:
                self.directory(path)
            except NameInvalid:
                continue
            if name:
                found.append(path)
        return list(dict.fromkeys(found))

    def levels(self, mailbox: str) -> list[bytes]:
        """The levels of the mailbox at this path as they are on disk; INBOX is of that name, wherever
        it lies."""
        path = os.path.relpath(os.fsencode(self.directory(mailbox)), os.fsencode(self.root)).split(b"/")
        return [_INBOX, *path[1:]] if self._inbox in (path[0], b"/".join(path)) else path

    def _leads_to(self, name: str, path: bytes) -> bool:
        """Is this the directory that the name opens?  Not of two that differ by their coding, nor for one
        that no name can be given to."""
        try:
            return os.path.join(self.root, os.fsdecode(path)) == self.directory(name)
        except NameInvalid:
            return False

    def _walk(self) -> Iterator[tuple[bytes, str, bool]]:
        """(path below the root, name, is it a mailbox) of all directories; the name is "" where the
        layout has none."""
        root = self._look(b"")
        # path, name, what is there, keys of the directories from the root to it
        waiting: list[tuple[bytes, str, _Seen, tuple[tuple[int, int], ...]]] = [(b"", "", root, (root.key,))]
        while waiting:
            above, name, seen, inside = waiting.pop()
            depth = len(inside) - 1
            for entry in seen.entries if depth < MAX_LEVELS else ():
                path = os.path.join(above, entry)
                found = self._look(path)
                if found.key in inside:
                    continue           # a link to a directory above
                level = self._level(entry, depth)
                inner = (name and level and name + self.separator + level) if depth else level
                yield path, inner, found.mailbox
                waiting.append((path, inner, found, (*inside, found.key)))

    def _level(self, entry: bytes, depth: int) -> str:
        """One level of a name, "" where the layout has none for this directory."""
        first = entry.partition(b".")[0] if self._joint == b"." else entry
        if depth == 0 and first.upper() == _INBOX:
            # a client's INBOX, in any case, is the one that was found
            wanted = first == _INBOX if first != entry or self._inbox == b"." else entry == self._inbox
            if first == entry or not wanted:
                return INBOX if wanted else ""
        dot = self._joint != b"/" and entry.startswith(b".")
        if depth and self._joint == b"." or dot != (depth > 0 and self._joint == b"/."):
            return ""
        entry = entry[dot:]
        return _decoded(entry) or names.shown(entry)

    def _look(self, path: bytes) -> _Seen:
        """The directories in a directory, and has it a cur/?  Read again only when it changed."""
        where = os.path.join(os.fsencode(self.root), path)
        known = self._seen.get(path)
        try:
            now = os.stat(where)
            if known is not None and (known.key, known.mtime) == ((now.st_dev, now.st_ino), now.st_mtime_ns):
                return known
            with os.scandir(where) as found:
                inside = [entry.name for entry in found if b"\n" not in entry.name and _leads_into(entry)]
        except OSError as error:
            self._seen.pop(path, None)
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise trouble(where, error) from None      # it would be again what it was
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                log.warn(f"{os.fsdecode(where)}: not shown: {error.strerror}")
            return _Seen((0, 0), 0, [])
        settled = directory.settled(now.st_mtime_ns, time.time_ns())
        seen = self._seen[path] = _Seen((now.st_dev, now.st_ino), now.st_mtime_ns if settled else -1, inside)
        return seen


class _Seen:
    """A directory as it was: ``key`` of it, ``mtime`` in nanoseconds (-1: too young to tell),
    ``entries``: directories in it that may be levels, ``mailbox``: has it a cur/?"""

    __slots__ = ("entries", "key", "mailbox", "mtime")

    def __init__(self, key: tuple[int, int], mtime: int, inside: list[bytes]) -> None:
        self.key = key
        self.mtime = mtime
        self.mailbox = b"cur" in inside
        self.entries = sorted(entry for entry in inside if entry not in _PARTS)


def _leads_into(entry: os.DirEntry[bytes]) -> bool:
    """Is it a directory, or a link to one?"""
    try:
        return entry.is_dir()
    except OSError:
        return False                   # a circle of links


def _decoded(entry: bytes) -> str:
    """What a name in modified UTF-7 says, where that is not what it shows; else ""."""
    if b"&" not in entry:
        return ""
    try:
        level = utf7.decode(entry)
    except ValueError:
        return ""
    return "" if "/" in level else level


Layout = MaildirPlusPlus | Nested


# -- which one

JOINTS = {"fs": "/", "legacy": "/.", "flat": "."}
CHOICES = ("auto", MaildirPlusPlus.name, *JOINTS)


def find(root: str, choice: str = "auto", home: str = "") -> Layout:
    """The layout of the Maildir at ``root``; ``choice``: one of CHOICES, ``home``: see detect()."""
    if choice not in CHOICES:
        log.warn(f"IMAP_LAYOUT: one of {', '.join(CHOICES)} is expected, not {choice}")
        choice = "auto"
    found = detect(root, home) if choice == "auto" else choice
    return MaildirPlusPlus(root) if found == MaildirPlusPlus.name else Nested(root, found, JOINTS[found])


def detect(root: str, home: str = "") -> str:
    """Which layout is it?  A directory that is a Maildir is a Maildir++, whatever else is in it.

    ``home``: the user's home directory.  It is no tree of mailboxes unless it has an INBOX.
    """
    if any(os.path.isdir(f"{root}/{part}") for part in PARTS):
        return MaildirPlusPlus.name
    found = list(_maildirs(root))
    tops = {path.partition(b"/")[0] for path in found}
    whole = {path for path in found if b"/" not in path}
    inboxes = [path for path in whole if path.upper() == _INBOX]
    if all(top.startswith(b".") for top in tops) or home and not inboxes and _same(root, home):
        return MaildirPlusPlus.name
    deeper = [level for path in found for level in path.split(b"/")[1:]]
    if deeper:
        return "legacy" if all(level.startswith(b".") for level in deeper) else "fs"
    known = {path.upper() if path in inboxes else path for path in whole}
    return "flat" if any(b"." in path and path.rpartition(b".")[0] in known for path in whole) else "fs"


def _maildirs(root: str, below: bytes = b"") -> Iterator[bytes]:
    """Paths of Maildirs, not far below ``root``, those above first.  What cannot be read is passed over."""
    waiting = [below]
    looked = 0
    while waiting and looked < LOOKED_INTO:
        path = waiting.pop(0)
        looked += 1
        try:
            with os.scandir(os.path.join(os.fsencode(root), path)) as entries:
                inside = sorted(entry.name for entry in entries if _leads_into(entry))
        except OSError:
            continue
        if path and b"cur" in inside:
            yield path
        if (path.count(b"/") + 1 if path else 0) < LEVELS_LOOKED_INTO:
            waiting += [os.path.join(path, entry) for entry in inside if entry not in _PARTS]


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
