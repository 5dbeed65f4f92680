"""What a user may do with the mailboxes of a Maildir, as far as their lists say.

A list is a file in the directory of a mailbox (formats/acl.py), or in ``courierimaphieracl`` for a level
that is none.  Without one a mailbox has that of the nearest level above, INBOX being above all; without any
the owner may all, and others nothing.  Here is what each session needs: where nobody made a list it costs a
stat.  What changes lists is in acl.py.
"""
from __future__ import annotations

import os

from courierpy.maildir import names
from courierpy.maildir.errors import trouble
from courierpy.model.accountoptions import SEPARATE, says_yes
from courierpy.model.rights import OWNER_RIGHTS
from courierpy.system.regular import is_there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.maildir.formats.acl import AccessList

    Stamp = tuple[int, int, int]

NAME = "courierimapacl"
LEVELS = "courierimaphieracl"
NO_RIGHTS: frozenset[str] = frozenset()
WITHOUT_LISTS = OWNER_RIGHTS - {"a"}   # of an account with the option disableshared
KNOWN_LISTS = 1000                 # that are remembered
_BY_DEFAULT = ("owner", "administrators", "group=administrators")


def _stamp(file: str) -> Stamp | None:
    """Of a list; None where there is none, nor behind a link.  Raises a store error."""
    try:
        found = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise trouble(file, error) from None
    return found.st_ino, found.st_mtime_ns, found.st_size


def identities(user: str, options: str) -> frozenset[str]:
    """What the user of that name is in the own Maildir, as lists have it; none where lists mean nothing.
    ``options``: of the account, with commas between."""
    if says_yes(options, "disableshared"):
        return frozenset()
    pairs = (one.strip().partition("=") for one in options.split(SEPARATE))
    groups = {f"group={value}" for name, _, value in pairs if name == "group" and value}
    return frozenset({"owner", "anyone", "anonymous", f"user={user}"} | groups)


class Access:
    """What one user may do with the mailboxes of a Maildir.

    ``identities``: what the user is here, as lists have it; without any, lists mean nothing, and the user
    has what Courier gives then.  ``directory``: function that gives the
    directory of a path; ``levels``: the directory of lists of levels that are no mailboxes, "" for none.
    ``owns``: it is the user's own Maildir."""

    __slots__ = ("_known", "_no_levels", "_unlisted", "directory", "identities", "levels", "owns",
                 "separator")

    def __init__(self, directory: Callable[[str], str], separator: str, levels: str,
                 identities: frozenset[str]) -> None:
        self.directory = directory
        self.separator = separator
        self.levels = levels
        self.identities = identities
        self.owns = "owner" in identities or not identities
        self._unlisted: dict[str, str] = {}    # own mailboxes without a list, nor any above -> its file
        self._no_levels = False                # nor is there one of a level that is no mailbox
        self._known: dict[str, tuple[Stamp, frozenset[str]]] = {}      # by the file of the list

    def own_names(self) -> frozenset[str]:
        """What the owner is called in lists beside that, where it is the user."""
        return frozenset(one for one in self.identities if self.owns and one.startswith("user="))

    def file(self, path: str) -> str:
        """Where the list of a mailbox is or would be.  Raises NameInvalid."""
        return f"{self.directory(path)}/{NAME}"

    def level_file(self, path: str) -> str:
        """Where the list is of a level that is no mailbox; "" where there is no place for one."""
        if not self.levels or not path:
            return ""
        return f"{self.levels}/{path if path.isascii() else os.fsdecode(names.on_disk(path))}"

    def above(self, path: str) -> str:
        """The path of the level above."""
        return path.rpartition(self.separator)[0]

    def nearest(self, path: str) -> tuple[str, Stamp] | None:
        """The list that governs a mailbox: its file, and how that is.  Raises a store error."""
        return self._nearest(path, self.file(path))

    def _nearest(self, path: str, own: str) -> tuple[str, Stamp] | None:
        """``own``: the file of the mailbox's own list."""
        while True:
            for file in (own, self.level_file(path)):
                # of one's own mostly none is there, which is no error; one that may not be looked at is
                stamp = _stamp(file) if file and (not self.owns or is_there(file)) else None
                if stamp is not None:
                    return file, stamp
            if not path:
                return None
            path = self.above(path)
            if not path and self._still_unlisted(path):
                return None            # mostly, and of any mailbox
            own = self.file(path)

    def rights(self, path: str, directory: str = "") -> frozenset[str]:
        """Of the user, on a mailbox that is there or not.  ``directory``: its own, where that is known.
        Raises a store error."""
        if not self.identities:
            return WITHOUT_LISTS
        if self._still_unlisted(path):
            return OWNER_RIGHTS
        own = f"{directory}/{NAME}" if directory else self.file(path)
        if self._no_levels and self._all_above_unlisted(path) and not is_there(own):
            self._unlisted[path] = own
            return OWNER_RIGHTS
        found = self._nearest(path, own)
        if found is None:
            if not self.owns:
                return NO_RIGHTS if self.identities.isdisjoint(_BY_DEFAULT) else OWNER_RIGHTS
            if len(self._unlisted) >= KNOWN_LISTS:
                self.forget()
            self._unlisted[path] = own
            if "" not in self._unlisted:
                self._unlisted[""] = self.file("")
                self._no_levels = not self.levels or not is_there(self.levels)
            return OWNER_RIGHTS
        file, stamp = found
        known = self._known.get(file)
        if known is None or known[0] != stamp:
            if len(self._known) >= KNOWN_LISTS:
                self._known.clear()
            known = self._known[file] = stamp, self.read(file).rights(self.identities)
        return known[1]

    def listed(self, path: str) -> bool:
        """Does a list govern the mailbox?"""
        return bool(self.identities) and not self._still_unlisted(path) and self.nearest(path) is not None

    def governed(self, path: str, directory: str = "") -> tuple[frozenset[str], bool]:
        """rights() and listed(), by one look.  Raises a store error."""
        found = self.rights(path, directory)
        if path in self._unlisted or not self.identities:
            return found, False
        return found, self.owns or self.nearest(path) is not None

    def forget(self) -> None:
        """A list was made or changed here, or another session begins."""
        self._unlisted.clear()
        self._known.clear()
        self._no_levels = False

    def _all_above_unlisted(self, path: str) -> bool:
        """Had no level above this one a list, INBOX neither, when the user's rights were asked for?"""
        unlisted, separator = self._unlisted, self.separator
        while path:
            path = path.rpartition(separator)[0]
            if path not in unlisted:
                return False
        return len(unlisted) < KNOWN_LISTS

    def _still_unlisted(self, path: str) -> bool:
        """That a level above has got a list since takes nothing from who owns all of them."""
        file = self._unlisted.get(path)
        if file is None:
            return False
        # asked before each command that names a mailbox; where a link leads is looked at then
        if not is_there(file):
            return True
        del self._unlisted[path]
        return False

    def read(self, file: str) -> AccessList:
        """What a list says; nothing of one that went.  Raises a store error."""
        from courierpy.maildir.formats.acl import AccessList  # where there is one
        from courierpy.system.regular import whole
        try:
            return AccessList.parse(whole(file))
        except FileNotFoundError:
            return AccessList({})
        except OSError as error:
            raise trouble(file, error) from None
