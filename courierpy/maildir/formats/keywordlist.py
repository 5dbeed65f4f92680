"""``courierimapkeywords/``: the keywords of a folder's messages.

``:list`` has them all: keywords a line, an empty line, ``base:index index`` a
line.  ``<base>`` is an update (one keyword a line) that is not in ``:list`` yet,
``.<N>.<base>`` one that is, kept a while for programs that read meanwhile.
"""
from __future__ import annotations

import os
import time

from courierpy.maildir.behind import rename_over
from courierpy.maildir.directory import settled
from courierpy.maildir.errors import Denied, QuotaExceeded, trouble
from courierpy.maildir.files import (
    Replacement,
    close,
    is_directory,
    listed,
    open_as,
    remove,
    sync_directory,
    write_all,
)
from courierpy.maildir.formats.uiddb import key_of
from courierpy.maildir.names import tmp_name
from courierpy.model.flags import NO_KEYWORDS
from courierpy.model.numbers import decimal
from courierpy.model.regex import later
from courierpy.system.regular import open_regular, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Mapping

    from courierpy.maildir.formats.uiddb import Key

    Which = tuple[Key, int]            # of a ``:list``: what stat says of it, and the hash of its octets

DIRECTORY = "courierimapkeywords"
LIST = b":list"
ANY = b""                          # among names of files that changed: any of them
PERIOD = 300                       # seconds that one N of .<N>.<base> stands for
READINGS = 10                      # without the lock, before it is needed
UNKNOWN_AGE = 15 * 60              # an update for a message nobody knows may be early
SECONDS_MOST = 1 << 40             # since 1970
_MERGED = later(rb"(?s)\.(\d{1,18})\.(.+)")
_INVALID = later(rb"[\x00-\x20(){%*\"\\\]\x7f-\xff]")


def is_keyword(word: bytes) -> bool:
    """Can IMAP say it?"""
    return bool(word) and _INVALID.search(word) is None


def as_keyword(word: bytes) -> bytes:
    """The same for IMAP, with ``_`` for what it cannot say, as Courier does."""
    return _INVALID.sub(b"_", word)


class Keywords:
    """The keywords of one folder.  ``folder`` is its directory; ``sync``: what is written is on
    the disk before anybody is told; ``inside``: the name of their directory in the folder.  ``seen``: which
    ``:list`` the last reading, or what was written since, knows all of; None for none.  A method for each
    step by which files of updates become lines of the list, as other programs take the same steps."""

    __slots__ = ("_alone", "_inside", "_list", "host", "missed", "path", "seen", "sync", "tmp", "unmerged")

    def __init__(self, folder: str, host: str, sync: bool = False, inside: str = DIRECTORY) -> None:
        self.path = f"{folder}/{inside}"
        self._inside = os.fsencode(self.path) + b"/"
        self._list = f"{self.path}/{LIST.decode()}"
        self.tmp = f"{folder}/tmp"
        self.sync = sync
        self.host = host
        self.seen: Which | None = None
        self._alone: Which | None = None   # the one that is seen, once no other can look like it to stat
        self.missed = False                # it could not read an update
        self.unmerged = 0                  # updates that the last reading saw and left

    def stamp(self) -> int:
        """Changes when the directory does; 0 when there is none."""
        try:
            return os.stat(self.path).st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return 0
        except OSError as error:
            raise trouble(self.path, error) from None

    def read(self, rows_of: Callable[[Collection[bytes]], Mapping[bytes, int]], merge: bool = True,
             pays: Callable[[int], bool] = bool) -> dict[int, frozenset[bytes]] | None:
        """Keywords by row.  ``rows_of``: which of these base names are messages, and their
        rows.  ``merge``: updates go into ``:list``, if that ``pays`` for so many lines; only under
        the folder's lock, as whoever changes keywords reads and writes there.  Without it None says that
        others replaced ``:list`` again and again: the lock is needed."""
        for _ in range(READINGS):
            self.seen = None
            fd = self._open_list()
            try:
                listed, self.seen = self._read_list(fd)
                if self.seen is not None and settled(self.seen[0][1], time.time_ns()):
                    self._alone = self.seen
                found = self._look(listed, rows_of, merge, pays)
                # An update that is not there any more went into a list.  If that is the one we have
                # read, nothing is missing; its inode is no other's while we have it open
                if merge or self._is_list(fd):
                    return found
            finally:
                if fd >= 0:
                    close(fd)
        return None

    def _look(self, listed: dict[bytes, frozenset[bytes]],
              rows_of: Callable[[Collection[bytes]], Mapping[bytes, int]],
              merge: bool, pays: Callable[[int], bool]) -> dict[int, frozenset[bytes]]:
        """``listed``, and the updates that are there."""
        self.unmerged, self.missed = 0, False
        try:
            entries = os.listdir(os.fsencode(self.path))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise trouble(self.path, error) from None
        updates = [entry for entry in entries if not entry.startswith(b".") and entry != LIST]
        bases = rows_of({*updates, *listed})
        found = {name: words for name, words in listed.items() if name in bases}
        gone = len(listed) - len(found)
        taken = [name for name in updates if name in bases and self._take(found, name, name)]
        merge = merge and pays(len(taken) + gone)
        self.unmerged = 0 if merge else len(taken)
        for name in updates:
            if name not in bases and not _is_younger(name, UNKNOWN_AGE):
                self._expire(name, UNKNOWN_AGE)
        period = int(time.time()) // PERIOD
        for entry in entries:
            if entry.startswith(b"."):
                match = _MERGED.fullmatch(entry)
                if match is not None:
                    if int(match[1]) < period:
                        remove(os.path.join(self.path, os.fsdecode(entry)))
                elif entry.startswith(b".tmp."):
                    self._expire(entry, UNKNOWN_AGE)
        if merge:
            try:
                self._merge(found, taken, period + 1)
            except (Denied, QuotaExceeded):
                pass                   # it only saves work; they are known all the same
        return {bases[name]: words for name, words in found.items() if words}

    def news(self, known: Mapping[bytes, frozenset[bytes]], merged: Collection[bytes],
             rows_of: Callable[[Collection[bytes]], Mapping[bytes, int]],
             ) -> dict[int, frozenset[bytes]] | None:
        """Keywords by row that are others than ``known``, by base name, since ``:list`` is another one.
        ``merged``: base names whose updates went into it.  What has the same keywords in the list as before
        has no update that was not heard of.  None: as for read(), or an update cannot be read."""
        for _ in range(READINGS):
            fd = self._open_list()
            try:
                listed, which = self._read_list(fd)
                rows = rows_of({*listed, *known, *merged})
                found: dict[bytes, frozenset[bytes]] = {}
                for name in rows:
                    words = listed.get(name, NO_KEYWORDS)
                    if (name in merged or words != known.get(name, NO_KEYWORDS)) \
                            and not self._take(found, name, name):
                        found[name] = words
                # as for read()
                if self._is_list(fd):
                    self.seen = which
                    return {rows[name]: words for name, words in found.items()} if not self.missed else None
            finally:
                if fd >= 0:
                    close(fd)
        return None

    def update(self, name: bytes) -> frozenset[bytes] | None:
        """What the update of one message says; None when there is none, and ``:list`` has the last word."""
        found: dict[bytes, frozenset[bytes]] = {}
        return found[name] if self._take(found, name, name) else None

    def _take(self, found: dict[bytes, frozenset[bytes]], name: bytes, file: bytes) -> bool:
        try:
            data = whole(self._inside + file)
        except FileNotFoundError:
            return False             # another session merged it meanwhile
        except OSError:
            self.missed = True
            return False
        found[name] = _words(data.split(b"\n"))
        return True

    def _expire(self, entry: bytes, age: int) -> None:
        path = os.path.join(self.path, os.fsdecode(entry))
        try:
            if time.time() - os.stat(path).st_mtime > age:
                os.unlink(path)
        except OSError:
            pass

    def _open_list(self) -> int:
        """A descriptor of ``:list``; -1 when there is none."""
        try:
            return open_regular(self._list)
        except FileNotFoundError:
            return -1
        except OSError as error:
            raise trouble(self._list, error) from None

    def is_seen(self) -> bool:
        """Is ``:list`` the one that is ``seen``?  Raises a store error."""
        if self.seen is None:
            return False
        now = time.time_ns()
        try:
            if self.seen[0] != key_of(os.stat(self._list)):
                return False
            # two that came within the grain of its times may look the same: the second one of the same size,
            # and with the inode that the first one has set free
            if self._alone != self.seen:
                if hash(whole(self._list)) != self.seen[1]:
                    return False
                if settled(self.seen[0][1], now):
                    self._alone = self.seen
            return True
        except FileNotFoundError:
            return False
        except OSError as error:
            raise trouble(self._list, error) from None

    def _is_list(self, fd: int) -> bool:
        """Is this, of _open_list(), what is there?"""
        try:
            there = os.stat(self._list)
            return fd >= 0 and os.path.samestat(os.fstat(fd), there)
        except FileNotFoundError:
            return fd < 0
        except OSError as error:
            raise trouble(self._list, error) from None

    def _read_list(self, fd: int) -> tuple[dict[bytes, frozenset[bytes]], Which | None]:
        """What it says, by base name, and which one it is; of what _open_list() gave."""
        if fd < 0:
            return {}, None
        try:
            with open(fd, "rb", buffering=0, closefd=False) as file:
                octets = file.readall()
            which = key_of(os.fstat(fd)), hash(octets)
        except OSError as error:
            raise trouble(self._list, error) from None
        head, _, body = octets.partition(b"\n\n")
        words = [as_keyword(word) for word in head.split(b"\n")]
        found = {}
        sets: dict[bytes, frozenset[bytes]] = {}           # many messages have the same
        for line in body.split(b"\n"):
            name, colon, numbers = line.rpartition(b":")
            if colon:
                if numbers not in sets:
                    sets[numbers] = frozenset(words[number] for word in numbers.split()
                                              if (number := decimal(word, len(words) - 1)) is not None)
                found[name] = sets[numbers]
        return found, which

    def used(self) -> set[bytes]:
        """The keywords that messages have now; of a message that went since the last look, too."""
        found: dict[bytes, frozenset[bytes]] = {}
        for _ in range(READINGS):
            fd = self._open_list()
            try:
                found = self._read_list(fd)[0]
                for entry in listed(self.path):
                    name = os.fsencode(entry.name)
                    if not name.startswith(b".") and name != LIST:
                        self._take(found, name, name)
                if self._is_list(fd):
                    break
            finally:
                if fd >= 0:
                    close(fd)
        return {word for words in set(found.values()) for word in words}

    def strike_unused(self, there: Container[bytes], only_tells: bool = False) -> set[bytes]:
        """Under the lock: keywords that ``:list`` names and no message has any more go from it, and lines of
        messages that are not ``there``, by base name.  Gives the keywords.  Raises a store error."""
        fd = self._open_list()
        try:
            listed = {name: words for name, words in self._read_list(fd)[0].items()
                      if name in there}
            named = set() if fd < 0 else set(map(as_keyword, whole(self._list).partition(b"\n\n")[0].split()))
        except OSError as error:
            raise trouble(self._list, error) from None
        finally:
            if fd >= 0:
                close(fd)
        used = {word for words in set(listed.values()) for word in words}
        unused = named - used
        if unused and not only_tells:
            self.write_list(listed)
        return unused

    def replace(self, words: Mapping[bytes, frozenset[bytes]], there: Container[bytes] | None = None) -> None:
        """These are the keywords, and nothing else: base name -> keywords.  Under the lock.  ``there``:
        base names of the messages in cur/; keywords of others, which are coming, stay."""
        if not words and not is_directory(self.path):
            return
        self.make()
        self.write_list(words)
        for entry in (entry.name for entry in listed(self.path)):
            coming = there is not None and not entry.startswith(".") and os.fsencode(entry) not in there
            if entry != ":list" and not entry.startswith(".tmp.") and not coming:
                remove(os.path.join(self.path, entry))       # an update of an older list

    def make(self) -> None:
        """The directory, if it is not there."""
        if is_directory(self.path):
            return
        try:
            os.mkdir(self.path, open_as(os.path.dirname(self.path)))
        except FileExistsError:
            pass
        except OSError as error:
            raise trouble(self.path, error) from None

    def _merge(self, found: dict[bytes, frozenset[bytes]], taken: list[bytes], number: int) -> None:
        """Write ``:list`` anew and put the updates aside."""
        self.write_list(found)
        for name in taken:
            old = os.path.join(os.fsencode(self.path), name)
            try:
                os.rename(old, os.path.join(os.fsencode(self.path), b".%d.%s" % (number, name)))
            except OSError:
                pass                 # merged by another session at the same time

    def write_list(self, found: Mapping[bytes, frozenset[bytes]]) -> None:
        """Under the lock: ``:list`` says this from now on, by base name."""
        new = self.draft_list(found)
        new.commit()
        self.seen = new.which
        self.settle()

    def draft_list(self, found: Mapping[bytes, frozenset[bytes]]) -> NewList:
        """A ``:list`` that nobody sees until it is committed."""
        order: dict[bytes, int] = {}
        ends: dict[frozenset[bytes], bytes] = {}
        for words in found.values():
            if words not in ends:
                numbers = [order.setdefault(word, len(order)) for word in sorted(words)]
                ends[words] = b":" + b" ".join([b"%d" % number for number in numbers]) + b"\n"
        lines = [name + ends[words] for name, words in found.items() if words]
        data = b"".join(word + b"\n" for word in order) + b"\n" + b"".join(lines)
        return NewList(self._list, data, self.tmp, self.host, "keywords", self.sync)

    def write(self, name: bytes, words: frozenset[bytes]) -> None:
        """The keywords of one message, as an update."""
        self.draft(name, None, words).commit()

    def draft(self, name: bytes, before: frozenset[bytes] | None, words: frozenset[bytes]) -> Update:
        """An update that nobody sees until commit(); none is needed if the keywords are the
        same as ``before``."""
        if words == before:
            return Update(self, name, "", words, words)
        self.make()
        scratch = os.path.join(self.tmp, tmp_name(self.host))
        data = b"".join(word + b"\n" for word in sorted(words))
        try:
            fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                write_all(fd, data)
                if self.sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            remove(scratch)
            raise trouble(os.path.join(os.fsencode(self.path), name), error) from None
        return Update(self, name, scratch, before or NO_KEYWORDS, words)

    def settle(self) -> None:
        """What got a name here keeps it, where all is synced."""
        if self.sync:
            sync_directory(self.path)

    def forget(self, name: bytes) -> None:
        """The update of a message that did not come to be."""
        remove(os.path.join(self.path, os.fsdecode(name)))

    def current(self) -> Callable[[bytes], frozenset[bytes]]:
        """A function: base name -> its keywords at this moment.  Ask it under the folder's lock."""
        listed: dict[bytes, frozenset[bytes]] | None = None

        def words(name: bytes) -> frozenset[bytes]:
            nonlocal listed
            found = self.updated(name)
            if found is not None:
                return found
            if listed is None:
                listed = self.listed()[0]
            return listed.get(name, NO_KEYWORDS)
        return words

    def updated(self, name: bytes) -> frozenset[bytes] | None:
        """What the files of one message say, those too that are in ``:list``; None where it has none."""
        period = int(time.time()) // PERIOD
        found: dict[bytes, frozenset[bytes]] = {}
        for file in (name, b".%d.%s" % (period + 1, name), b".%d.%s" % (period, name)):
            if self._take(found, name, file):
                return found[name]
        return None

    def listed(self) -> tuple[dict[bytes, frozenset[bytes]], Which | None]:
        """What ``:list`` says, by base name, and which one that is.  Raises a store error."""
        fd = self._open_list()
        try:
            return self._read_list(fd)
        finally:
            if fd >= 0:
                close(fd)

    def apart(self) -> set[bytes]:
        """Base names of messages that have a file of their own, which counts for more than ``:list``.
        Raises a store error."""
        try:
            entries = os.listdir(os.fsencode(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return set()
        except OSError as error:
            raise trouble(self.path, error) from None
        return {match[2] if match is not None else entry
                for entry, match in zip(entries, map(_MERGED.fullmatch, entries), strict=True)}


class NewList(Replacement):
    """A ``:list`` that takes the place of the one that is there.  ``which``: as Keywords.seen."""

    __slots__ = ("which",)

    def __init__(self, path: str, data: bytes, tmp: str, host: str, unique: str, sync: bool) -> None:
        super().__init__(path, data, tmp, host, unique, sync)
        self.which = key_of(self.found), hash(data)


class Update:
    """Keywords of one message, written and not ``seen`` yet.  ``before``: what it had."""

    __slots__ = ("_keywords", "_scratch", "before", "name", "seen", "words")

    def __init__(self, keywords: Keywords, name: bytes, scratch: str, before: frozenset[bytes],
                 words: frozenset[bytes]) -> None:
        self._keywords = keywords
        self._scratch = scratch
        self.name = name
        self.before = before
        self.words = words
        self.seen = False

    def commit(self) -> bool:
        """Let it be seen; False when there was nothing to change."""
        if not self._scratch:
            return False
        path = os.path.join(os.fsencode(self._keywords.path), self.name)
        try:
            rename_over(os.fsencode(self._scratch), path)
        except OSError as error:
            self.abort()
            raise trouble(path, error) from None
        self._scratch, self.seen = "", True
        self._keywords.settle()
        return True

    def abort(self) -> None:
        if self._scratch:
            remove(self._scratch)
            self._scratch = ""


def _is_younger(name: bytes, age: int) -> bool:
    """Did the message with this base name come less than ``age`` seconds ago?  Then its update did, too."""
    came = decimal(name.partition(b".")[0], SECONDS_MOST)
    return came is not None and 0 <= time.time() - came < age


def _words(lines: list[bytes]) -> frozenset[bytes]:
    seen: dict[bytes, bytes] = {}
    for line in lines:
        if line:
            word = as_keyword(line)
            seen.setdefault(word.lower(), word)
    return frozenset(seen.values()) if seen else NO_KEYWORDS
