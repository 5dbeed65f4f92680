"""Files on their way into a mailbox: where each is, and the name that it gets there."""
from __future__ import annotations

import errno
import os
import stat

from courierpy.maildir.errors import DiskTrouble, Vanished
from courierpy.maildir.names import SUFFIXES, unique_names
from courierpy.model.flags import NO_KEYWORDS
from courierpy.model.rights import ALL_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.maildir.draft import Draft
    from courierpy.maildir.finder import Finder
    from courierpy.maildir.keywords import KnownKeywords


class Source:
    """A file on its way into a mailbox.  ``finder`` and ``uid``: who finds it again, when it is a
    message already.  ``settable``: bits of the flags that it may bring.  ``plain``: it is known to be no
    link.  ``draft``: what it is as long as it is no message, and perhaps not on the disk."""

    __slots__ = ("bits", "draft", "finder", "name", "octets", "path", "plain", "settable", "uid", "words")

    def __init__(self, path: bytes, octets: int, name: bytes, bits: int, words: frozenset[bytes],
                 finder: Finder | None = None, uid: int = 0, plain: bool = False) -> None:
        self.path = path
        self.octets = octets
        self.name = name
        self.bits = bits
        self.draft: Draft | None = None
        self.plain = plain
        self.settable = ALL_FLAGS
        self.words = words
        self.finder = finder
        self.uid = uid

    @property
    def suffix(self) -> bytes:
        """What stands behind its name there: its flags."""
        return SUFFIXES[self.bits & self.settable]

    @property
    def file(self) -> bytes:
        """The name of the file in its directory."""
        return self.path.rpartition(b"/")[2]

    def settle(self) -> None:
        """Its octets are on the disk.  Raises a store error."""
        if self.draft is not None:
            self.draft.settle()

    def again(self) -> bool:
        """Look for it under another name; False when it is gone."""
        if self.finder is None:
            raise DiskTrouble(self.path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        try:
            self.path, self.bits = self.finder.locate(self.uid)
        except Vanished:
            return False
        return True


def of_messages(finder: Finder, keywords: KnownKeywords, uids: Sequence[int], host: str,
                kept: bool) -> list[Source]:
    """Of those of the messages that are there.  ``kept``: as of Finder.look()."""
    found = finder.look_all(uids, kept)
    names = unique_names(host, [seen for _, _, _, seen, _ in found])
    words = keywords.by_uid
    sources = []
    for name, (uid, path, bits, seen, plain) in zip(names, found, strict=True):
        if plain or stat.S_ISREG(seen.st_mode):        # or it leads nowhere, and has a size of its own
            name += b",S=%d" % seen.st_size
        sources.append(Source(path, seen.st_size, name, bits, words.get(uid, NO_KEYWORDS), finder, uid,
                              plain))
    return sources
