"""``courierimapsnapshots/``: what clients knew of a mailbox, so that they are told only what changed since.

A file is a moment: a line ``1 MESSAGES UIDVALIDITY UIDNEXT``, with ``:`` and the name of the one before it,
then ``UID:2,FLAGS`` for each message, and keywords as in ``courierimapkeywords``.  Courier reads and writes
the same.  Of one client there are two: the last, and the one before, which it may name if it never heard of
the last. """
from __future__ import annotations

import os
import re
import time
from array import array

from courierpy.maildir.errors import StoreError
from courierpy.maildir.files import content, remove, replace
from courierpy.maildir.names import SUFFIXES, bits_of
from courierpy.model.messages import Messages, keywords_used
from courierpy.model.numbers import decimal
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.selected import Selected

DIRECTORY = "courierimapsnapshots"
KEPT_SECONDS = 90 * 86400.0        # that nobody has asked for a snapshot
_NAME = re.compile(rb"[0-9A-Za-z][^/\x00-\x20]{0,200}")
_HEAD = re.compile(rb"1 (\d{1,10}) (\d{1,10}) (\d{1,10})(?::([^\n]*))?")
_ROW = re.compile(rb"(\d{1,10}):2,([A-Za-z]*)")


class Snapshots:
    """Of the open mailbox.  ``writes``: may there be new ones?"""

    def __init__(self, selected: Selected, writes: bool) -> None:
        self._selected = selected
        self._writes = writes and not selected.readonly
        self._path = os.path.join(selected.folder.path, DIRECTORY)
        self._last = self._before = b""            # names
        self._kept: Messages | None = None         # what the last one says

    def restored(self, name: bytes) -> Messages | None:
        """What the client knew; None where nobody knows that any more."""
        if not _NAME.fullmatch(name):
            return None
        try:
            data = content(self._file(name))
            found = _parsed(data, self._selected) if data is not None else None
        except (StoreError, ValueError) as why:
            log.warn(f"{self._path}: a snapshot is of no use: {why}")
            return None
        if found is None:
            return None
        self._kept, self._before = found
        self._last = name
        return self._kept

    def make(self) -> bytes:
        """Keeps what the client knows now.  Gives the name, or b"" where there is one already, or can be
        none."""
        messages, folder = self._selected.view.messages, self._selected.folder
        if not self._writes or messages == self._kept:
            return b""
        place = folder.place
        now = time.time()
        name = b"%d.M%06dP%d_snapshot.%s" % (now, now % 1 * 1e6, os.getpid(), os.fsencode(place.options.host))
        try:
            os.makedirs(self._path, 0o700, exist_ok=True)
            replace(self._file(name), self._spelled(messages), place.tmp, place.options.host, "snapshot",
                    place.options.sync)
            if self._before:
                remove(self._file(self._before))
            self._clean(now)
        except (StoreError, OSError) as why:
            log.warn(f"{self._path}: {why}: no snapshot")
            return b""
        self._before, self._last, self._kept = self._last, name, messages
        return name

    def _file(self, name: bytes) -> str:
        return os.path.join(self._path, os.fsdecode(name))

    def _clean(self, now: float) -> None:
        """Those that nobody will ask for go."""
        for entry in os.scandir(self._path):
            if entry.stat(follow_symlinks=False).st_mtime < now - KEPT_SECONDS:
                remove(entry.path)

    def _spelled(self, messages: Messages) -> bytes:
        snapshot = self._selected.snapshot
        head = b"1 %d %d %d" % (len(messages), snapshot.uidvalidity, snapshot.uidnext)
        lines = [head + b":" + self._last if self._last else head]
        lines += [b"%d%s" % (uid, SUFFIXES[bits])
                  for uid, bits in zip(messages.uids, messages.flags, strict=True)]
        if messages.keywords:
            words = keywords_used(messages.keywords)
            index = {word: b"%d" % at for at, word in enumerate(words)}
            finder = self._selected.folder.finder
            lines += [*words, b""]
            lines += [b"%s:%s" % (finder.name_of(uid), b" ".join(sorted(index[word] for word in found)))
                      for uid, found in sorted(messages.keywords.items()) if found]
        return b"\n".join(lines) + b"\n"


def _parsed(data: bytes, selected: Selected) -> tuple[Messages, bytes] | None:
    """(what a file says, the one before it); None where it is of another numbering.  Raises ValueError."""
    first, *lines = data.split(b"\n")
    head = _HEAD.fullmatch(first)
    if head is None:
        raise ValueError("not of a form that is known")
    count, uidvalidity = int(head[1]), int(head[2])
    if uidvalidity != selected.snapshot.uidvalidity:
        return None
    rows = [_ROW.fullmatch(line) for line in lines[:count]]
    if len(rows) < count:
        raise ValueError("it breaks off")
    uids, flags = array("I"), bytearray()
    for row in rows:
        if row is None or uids and int(row[1]) <= uids[-1]:
            raise ValueError("a line of a message cannot be read")
        uids.append(int(row[1]))
        flags.append(bits_of(row[2]))
    before = head[4] or b""
    return (Messages(uids, bytes(flags), _keywords(lines[count:], selected)),
            before if _NAME.fullmatch(before) else b"")


def _keywords(lines: list[bytes], selected: Selected) -> dict[int, frozenset[bytes]]:
    """By UID, of messages that are there still."""
    if b"" not in lines:
        return {}
    end = lines.index(b"")
    words = lines[:end]
    found: dict[bytes, frozenset[bytes]] = {}
    for line in lines[end + 1:]:
        name, _, places = line.rpartition(b":")
        rows = [decimal(place, len(words) - 1) for place in places.split()]
        found[name] = frozenset(words[row] for row in rows if row is not None)
    if not found:
        return {}
    finder = selected.folder.finder
    return {uid: found[name] for uid in selected.view.uids if found.get(name := finder.name_of(uid))}
