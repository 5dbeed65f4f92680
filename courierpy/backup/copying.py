"""A Maildir is copied as it was at one moment, while sessions go on.

1. Without a lock: the messages' files get a second name in the backup (or are copied, where the file system
   has no second names), mailbox by mailbox.  A file of a message never changes, so that this may take long.
2. With the locks of all mailboxes (moment.py): what came, went or changed its flags since.  A directory is
   read again until none is another one than it was when it was read; then there was a moment at which all of
   them were so.  One that did not change since 1. is not read at all.
3. Still with the locks: the numbers, keywords, lists of rights, subscriptions and what else is beside the
   messages.  The quota is counted in the backup.

What is derived (the index) is not in it, nor what was expunged and is kept, nor what is on its way in tmp/.
"""
from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress

from courierpy.backup.backups import MANIFEST
from courierpy.maildir import directory, quotacount
from courierpy.maildir.access import LEVELS
from courierpy.maildir.annotation import JOURNAL
from courierpy.maildir.bring import copy_file, fill, link
from courierpy.maildir.errors import Busy, StoreError, refuse, trouble, unreadable
from courierpy.maildir.files import content, is_directory, listed, remove_tree
from courierpy.maildir.formats import maildirsize
from courierpy.maildir.formats.keywordlist import LIST
from courierpy.maildir.layout import PARTS, MaildirPlusPlus
from courierpy.maildir.moment import Moment
from courierpy.maildir.names import MAILDIRSIZE, base
from courierpy.system.regular import open_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from courierpy.maildir.mailboxdirectory import MailboxDirectory
    from courierpy.maildir.store import Store

    Show = Callable[[str, int, int], None]     # of a mailbox: how many of how many files are done

TURNS = 20                         # readings of what changes, before it is taken as it was seen last
STEP = 1000                        # files between two words of how far it is
# beside messages: what is written anew, or is another server's cache
_NOT_COPIED = (MAILDIRSIZE, MANIFEST, JOURNAL)
_DERIVED = ("dovecot.index", "dovecot.list.index")


class Done:
    """``linked``, ``copied``: files of messages; ``octets``: of those that were copied.  ``messages``,
    ``mailboxes``: that are in it.  ``when``: seconds since 1970, the moment; ``held``: seconds for which the
    locks were.  ``refused``: why some messages or mailboxes are not in it."""

    def __init__(self) -> None:
        self.linked = self.copied = self.octets = self.messages = self.mailboxes = 0
        self.when = self.held = 0.0
        self.refused: list[StoreError] = []


def copy(store: Store, target: str, earlier: str, seconds: float, links: bool, show: Show) -> Done:
    """``target``: an empty directory; ``earlier``: that of a backup before it, "" without.  ``seconds``: for
    which the locks are waited for.  ``links``: may a message be the same file in both?  Raises a store
    error."""
    work = _Copy(store, target, earlier, links, show)
    work.bring_all()
    with Moment(store, store.names, seconds, partly=True) as moment:
        began = time.monotonic()
        work.settle(moment)
        if set(store.names()) != {*moment.places, *moment.refused}:
            raise Busy("mailboxes came or went while they were copied")
        work.done.held = time.monotonic() - began
        work.done.refused += moment.refused.values()
    work.count()
    return work.done


class _Copy:
    def __init__(self, store: Store, target: str, earlier: str, links: bool, show: Show) -> None:
        self.done = Done()
        self._store = store
        self._target = target
        self._earlier = earlier
        self._links = links
        self._show = show
        self._made: set[str] = set()           # directories of mailboxes, below the root
        self._odd: set[bytes] = set()          # paths of messages that are refused
        self._known: dict[str, dict[bytes, bytes]] = {}    # what the earlier backup has, of one mailbox
        self._read: dict[str, tuple[tuple[int, int], ...]] = {}    # by name: how its directories were then
        self._renew: Callable[[], None] = lambda: None     # done now and then

    # -- 1. without a lock

    def bring_all(self) -> None:
        for name in self._store.names():
            path = self._store.path_of(name)
            try:
                self._brought(name, path)
            except StoreError:
                if is_directory(os.path.join(path, "cur")) or name == self._store.namespaces.personal.inbox:
                    raise
                # it went just now

    def _brought(self, name: str, path: str) -> bool:
        """Bring what is not as it was when it was read last; False where nothing was to be brought."""
        now = tuple(_state(os.path.join(path, part)) for part in ("cur", "new"))
        if self._read.get(name) == now:
            return False
        self._read.pop(name, None)
        began = time.time_ns()
        self._bring_mailbox(name, path)
        if all(directory.settled(mtime, began) for _, mtime in now):
            self._read[name] = now
        return True

    def _bring_mailbox(self, name: str, path: str) -> None:
        there = self._make(path)
        self._known = {}
        for part in ("cur", "new"):
            if is_directory(os.path.join(path, part)):
                self._bring_part(name, path, there, part)

    def _below(self, path: str) -> str:
        """Of a directory of the Maildir, its path from there."""
        return os.path.relpath(path, self._store.root)

    def _make(self, path: str) -> str:
        """The directory that a mailbox has in the backup."""
        below = self._below(path)
        there = os.path.join(self._target, below)
        if below not in self._made:
            for part in PARTS:
                _mkdir(os.path.join(there, part))
            self._made.add(below)
        return there

    def _bring_part(self, name: str, path: str, there: str, part: str) -> None:
        """The backup has the files that are there now, by the names that they have now."""
        source, target = os.path.join(path, part), os.path.join(there, part)
        before = directory.mtime(source)
        names = set(directory.files(source))
        have = set(directory.entries(target))
        gone = {base(file): file for file in have - names}
        inside, into = os.fsencode(source) + b"/", os.fsencode(target) + b"/"
        missing = sorted(names - have)
        for count, file in enumerate(missing):
            if count % STEP == STEP - 1:
                self._show(name, count, len(missing))
            self._renew()
            old = gone.pop(base(file), None)
            try:
                if old is not None:
                    os.rename(into + old, into + file)
                elif inside + file not in self._odd:
                    self._bring(inside + file, into + file, path)
            except FileNotFoundError:
                continue               # it has another name now: the next reading finds it
            except StoreError as why:
                self._refuse(inside + file, why)
            except OSError as error:
                self._refuse(inside + file, unreadable(inside + file, error))
        if gone and directory.mtime(source) == before:     # else some may have been missed
            for file in gone.values():
                with suppress(FileNotFoundError):
                    os.unlink(into + file)

    def _refuse(self, path: bytes, why: StoreError) -> None:
        refuse(why, self.done.refused)         # what is of no message alone ends it
        self._odd.add(path)

    def _bring(self, source: bytes, target: bytes, path: str) -> None:
        if self._links and link(source, target):
            self.done.linked += 1
            return
        found = os.stat(source)
        old = self._in_earlier(path).get(base(os.path.basename(source))) if self._earlier else None
        if old is not None:
            with suppress(OSError):
                seen = os.stat(old)
                if (seen.st_size, seen.st_mtime_ns) == (found.st_size, found.st_mtime_ns):
                    os.link(old, target)
                    self.done.linked += 1
                    return
        try:
            copy_file(source, target, sync=False)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise trouble(target, error) from None
            raise
        self.done.copied += 1
        self.done.octets += found.st_size

    def _in_earlier(self, path: str) -> dict[bytes, bytes]:
        """The path of each message in the earlier backup of a mailbox, by base name."""
        below = self._below(path)
        if below not in self._known:
            self._known = {below: {}}
            for part in ("cur", "new"):
                there = os.path.join(self._earlier, below, part)
                self._known[below].update({base(os.fsencode(entry.name)): os.fsencode(entry.path)
                                           for entry in listed(there)})
        return self._known[below]

    # -- 2. and 3. with the locks

    def settle(self, moment: Moment) -> None:
        self._renew = moment.renew
        places = moment.places
        for below in self._made.difference(self._below(place.path) for place in places.values()):
            self._unmake(below)
        for turn in range(TURNS):
            stirred = [name for name, place in places.items() if self._brought(name, place.path)]
            self._renew()
            self.done.when = time.time()
            if not stirred:
                break
            if not self._read.keys() >= places.keys() and turn < TURNS - 1:
                time.sleep(directory.GRAIN)
        for place in places.values():
            self._bring_rest(place)
            self._renew()
        self._bring_files(self._store.root, self._target)
        if is_directory(os.path.join(self._store.root, LEVELS)):
            self._bring_files(os.path.join(self._store.root, LEVELS), os.path.join(self._target, LEVELS))

    def _unmake(self, below: str) -> None:
        """The mailbox went; there may be others below it."""
        there = os.path.join(self._target, below)
        for part in PARTS:
            remove_tree(os.path.join(there, part))
        with suppress(OSError):
            os.rmdir(there)
        self._made.discard(below)

    def _bring_rest(self, place: MailboxDirectory) -> None:
        there = self._make(place.path)
        self._bring_files(place.path, there)
        options = self._store.options
        source, target = options.keywords_of(place.path), options.keywords_of(there)
        words = source.listed()[0]
        for name in source.apart():
            found = source.updated(name) if name != LIST and not name.startswith(b".") else None
            if found is not None:
                words[name] = found
        if words:
            here = {base(file) for part in ("cur", "new")
                    for file in directory.entries(os.path.join(there, part))}
            target.make()
            target.write_list({name: found for name, found in words.items() if name in here and found})

    def _bring_files(self, path: str, there: str) -> None:
        """The files beside messages; what is no file is another mailbox, or nothing that is known."""
        if not is_directory(there):
            _mkdir(there)
        for entry in listed(path):
            target = os.path.join(there, entry.name)
            if entry.name in _NOT_COPIED or entry.name.startswith(_DERIVED) \
                    or not entry.is_file(follow_symlinks=False) or os.path.lexists(target):
                continue
            try:
                with open(open_regular(entry.path), "rb") as original, open(target, "xb") as copied:
                    fill(copied, original)
                    os.fchmod(copied.fileno(), stat.S_IMODE(os.fstat(original.fileno()).st_mode) & 0o666)
            except FileNotFoundError:
                continue               # it went just now
            except OSError as error:
                raise trouble(entry.path, error) from None

    # -- what there is

    def count(self) -> None:
        done, target = self.done, self._target
        done.mailboxes = len(self._made)
        done.messages = sum(len(directory.entries(os.path.join(target, below, part)))
                            for below in self._made for part in ("cur", "new"))
        data = content(os.path.join(self._store.root, MAILDIRSIZE))
        if data and isinstance(self._store.layout, MaildirPlusPlus):
            there = quotacount.count(os.fsencode(target))
            limits = maildirsize.limits(data.partition(b"\n")[0])
            _write(os.path.join(target, MAILDIRSIZE), (limits.line(), there.line()))


def _state(path: str) -> tuple[int, int]:
    """Of a directory: another one where a name in it came or went, if it was settled."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    except OSError as error:
        raise trouble(path, error) from None
    return found.st_ino, found.st_mtime_ns


def _mkdir(path: str) -> None:
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError as error:
        raise trouble(path, error) from None


def _write(path: str, lines: Iterable[bytes]) -> None:
    try:
        with open(path, "xb") as file:
            file.writelines(lines)
    except OSError as error:
        raise trouble(path, error) from None
