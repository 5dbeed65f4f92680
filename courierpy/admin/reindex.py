"""courierpy reindex: compute now what sessions would compute when a client first asks for it.

Each folder is looked at as by EXAMINE: new mail gets its number, and stays recent
for the next session.  Only what is missing in the index is computed.  It can be
interrupted and run again, and sessions may go on meanwhile.
"""
from __future__ import annotations

import argparse
import importlib
import os
import signal
import time
from array import array

from courierpy.admin import complain, default_files, explain, read_settings
from courierpy.admin.owner import inside
from courierpy.admin.progress import Bar, say, size_of
from courierpy.imap.attributes import KINDS, Attributes, rules
from courierpy.maildir.errors import StoreError, Vanished
from courierpy.maildir.files import remove_tree
from courierpy.maildir.formats import uiddb
from courierpy.maildir.index.columns import CACHE
from courierpy.maildir.index.valuecache import Cache
from courierpy.maildir.store import Store
from courierpy.message import charsets
from courierpy.message.mime import Limits
from courierpy.preload import MODULES
from courierpy.system.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.maildir.mailbox import Mailbox

FETCH = ("envelope", "structure", "size", "date")
SEARCH = ("find-from", "find-to", "find-cc", "find-bcc", "find-subject", "day")
SORT = ("sent", "subject", "ids", "from", "to", "cc")
TEXT = ("find-header", "find-body", "find-inner")
UTF8 = ("envelope-utf8", "structure-utf8")
SAMPLE = 1000                      # messages that the difference is measured with


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="courierpy reindex", description=__doc__.partition("\n")[0])
    parser.add_argument("-C", dest="files", action="append", metavar="FILE",
                        help="settings file: IMAP_INDEXDIR, IMAP_MIME_PARTS and others count as for sessions")
    parser.add_argument("--text", action="store_true",
                        help="also the texts that SEARCH BODY and TEXT look into: as much as the mail's own")
    parser.add_argument("--utf8", action="store_true", help="also for clients that enable UTF8=ACCEPT")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="change nothing; say what is missing or damaged")
    what.add_argument("--drop", action="store_true", help="remove the indexes")
    parser.add_argument("maildirs", nargs="+", metavar="MAILDIR")
    options = parser.parse_args(words)
    settings = Settings(read_settings(options.files or default_files()))
    for name in MODULES:               # the owner of the Maildir may not be able to read the library
        importlib.import_module(name)
    charsets.load()
    os.umask(os.umask(0o077) | 0o022)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    kinds = FETCH + SEARCH + SORT + (TEXT if options.text else ()) + (UTF8 if options.utf8 else ())
    failed = False
    try:
        for maildir in options.maildirs:
            try:
                with inside(maildir, settings.text("IMAP_LAYOUT").lower()):
                    work = Reindex(settings, kinds)
                    if options.drop:
                        work.drop()
                    elif options.check:
                        work.check()
                    else:
                        work.build()
                    failed = failed or work.failed
            except (OSError, StoreError) as error:
                complain(explain(error, maildir) if isinstance(error, OSError) else str(error))
                failed = True
    except KeyboardInterrupt:
        complain("interrupted; what was computed is kept")
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 1 if failed else 0


class Reindex:
    """Of the Maildir in the working directory.  ``failed``: something was left undone."""

    def __init__(self, settings: Settings, kinds: Sequence[str]) -> None:
        self.limits = Limits.of(settings)
        self.kinds = kinds
        self.failed = False
        self.tree = Store.of(settings, os.environ.get("HOSTNAME"))

    def _names(self) -> list[tuple[str, Mailbox]]:
        """Each folder that can be opened."""
        found = []
        for name in self.tree.names():
            try:
                found.append((name, self.tree.open(name)))
            except StoreError as error:
                self._fail(name, str(error))
        return found

    def _fail(self, name: str, text: str) -> None:
        say(f"{name}: {text}")
        self.failed = True

    # -- building

    def build(self) -> None:
        folders = self._names()
        places = [folder.place for _, folder in folders]
        counts = [len(os.listdir(place.cur)) + len(os.listdir(place.new)) for place in places]
        largest = counts.index(max(counts)) if counts else -1
        for at, (name, folder) in enumerate(folders):
            try:
                self._build(name, folder, at == largest and counts[at] > 0)
            except StoreError as error:
                self._fail(name, str(error))

    def _build(self, name: str, folder: Mailbox, measured: bool) -> None:
        start = time.monotonic()
        size = _octets(folder.index.path)
        bar = Bar(name)
        done = unreadable = 0
        try:
            uids = folder.scan(readonly=True).messages.uids
            attributes = Attributes(folder, self.limits)
            sample = uids[-SAMPLE:]
            slow = self._times(attributes, sample, live=True) if measured else []
            lacking = self._lacking(folder.cache, uids)
            total = len(uids) - lacking.count(0)
            bar.start = time.monotonic()
            for uid, mask in zip(uids, lacking, strict=True):
                if mask:
                    try:
                        self._fill(attributes, uid, mask)
                    except Vanished:
                        pass
                    except StoreError:
                        unreadable += 1
                    done += 1
                    bar.show(done, total)
            folder.scan(readonly=True)     # by now what it wrote first is old enough to be trusted
        finally:
            folder.close(wait=True)
            bar.clear()
        saved = _octets(folder.index.path)
        seconds = time.monotonic() - start
        say(f"{name}: {len(uids):,} messages, {done:,} of them computed, {size_of(saved)} of index "
            f"({size_of(saved - size)} more), {seconds:.1f} s")
        if unreadable:
            self._fail(name, f"{unreadable:,} messages cannot be read")
        if done > unreadable and not saved:
            self._fail(name, f"nothing could be saved in {folder.index.path}")
        if measured:
            again = self.tree.open(name)
            again.scan(readonly=True)
            fast = self._times(Attributes(again, self.limits), sample, live=False)
            again.close()
            for (word, before), (_, now) in zip(slow, fast, strict=True):
                say(f"{name}: {word} of {len(sample):,} messages: {1000 * before:.1f} ms without the index, "
                    f"{1000 * now:.1f} ms with it")

    def _lacking(self, cache: Cache, uids: array[int]) -> array[int]:
        """What is missing of each message, a bit for each kind."""
        lacking = array("I", bytes(4 * len(uids)))
        for bit, kind in enumerate(self.kinds):
            known = cache.known(kind, uids)
            row = known.find(0)
            while row >= 0:
                lacking[row] |= 1 << bit
                row = known.find(0, row + 1)
        return lacking

    def _fill(self, attributes: Attributes, uid: int, mask: int) -> None:
        kinds = [kind for bit, kind in enumerate(self.kinds) if mask >> bit & 1]
        values, stays = attributes.compute(kinds, uid)
        if stays:
            cache = attributes.folder.cache
            for kind in kinds:
                cache.add(kind, uid, values[kind])

    def _times(self, attributes: Attributes, uids: array[int], live: bool) -> list[tuple[str, float]]:
        """Seconds that two commands take over these messages, by their files or by the index."""
        commands = [("FETCH (ENVELOPE BODYSTRUCTURE RFC822.SIZE INTERNALDATE)", FETCH),
                    ("SEARCH FROM", ("find-from",))]
        if "find-body" in self.kinds:
            commands.append(("SEARCH TEXT", TEXT))
        found = []
        for word, kinds in commands:
            start = time.monotonic()
            if live:
                for uid in uids:
                    try:
                        attributes.compute(kinds, uid)
                    except StoreError:
                        continue
            else:
                attributes.take(kinds, uids)
            found.append((word, time.monotonic() - start))
        return found

    # -- the rest

    def drop(self) -> None:
        for name, folder in self._names():
            size = _octets(folder.index.path)
            if folder.index.trusted():
                remove_tree(folder.index.path)
            if os.path.lexists(folder.index.path):
                self._fail(name, f"{folder.index.path} cannot be removed")
            else:
                say(f"{name}: {size_of(size)} removed" if size else f"{name}: there was no index")

    def check(self) -> None:
        for name, folder in self._names():
            try:
                self._check(name, folder)
            except StoreError as error:
                self._fail(name, str(error))

    def _check(self, name: str, folder: Mailbox) -> None:
        index = folder.index
        index.rules = rules(self.limits)
        database = uiddb.read(os.path.join(folder.path, uiddb.NAME))
        if database is None or database.damaged:
            say(f"{name}: has no numbers yet")
            return
        cache = Cache(index, database.uidvalidity)
        faults = []
        for file, found in (("columns", index.load), ("uids", index.recall)):
            if os.path.exists(index.file(file)) and found() is None:
                faults.append(f"{file}: damaged, or of another version")
        kinds = cache.kinds()
        for kind in kinds:
            fault = cache.sound(kind)
            if fault:
                faults.append(f"{CACHE}{kind}: {fault}")
        lacking = []
        for kind in self.kinds:
            known = cache.known(kind, database.uids)
            if 0 in known:
                lacking.append(f"{kind} of {known.count(0):,}")
        say(f"{name}: {len(database):,} messages, {len(kinds)} kinds of values, "
            f"{size_of(_octets(index.path))}")
        for fault in faults:
            self._fail(name, f"would be made anew: {fault}")
        if lacking:
            say(f"{name}: would be computed: {', '.join(lacking)}")


def _octets(path: str) -> int:
    """Of the files in a directory."""
    try:
        with os.scandir(path) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except OSError:
        return 0


assert set(FETCH + SEARCH + SORT + TEXT + UTF8) == {*KINDS, "date"}    # a kind that is forgotten here
