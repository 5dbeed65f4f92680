"""courierpy check: look whether Maildirs are sound, and mend with --fix what can be mended without loss.

Every UID that can be kept is kept, none is used again; no message is removed.
"""
from __future__ import annotations

import json
import os
import re
import stat
import time

from courierpy.admin import maildirs, values
from courierpy.admin.progress import Bar, say
from courierpy.imap.attributes import rules
from courierpy.maildir import contents, locks
from courierpy.maildir.errors import trouble
from courierpy.maildir.files import listed, remove
from courierpy.maildir.formats import uiddb
from courierpy.maildir.index.columns import COLUMNS, MAGIC
from courierpy.maildir.index.valuecache import Cache
from courierpy.maildir.layout import PARTS, MaildirPlusPlus
from courierpy.maildir.lockholder import Holder
from courierpy.maildir.mailboxdirectory import TMP_AGE
from courierpy.maildir.names import base, info
from courierpy.maildir.quotacount import count
from courierpy.maildir.renumbering import give_another
from courierpy.message.mime import Limits
from courierpy.system.regular import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from courierpy.admin.maildirs import Place
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.maildir.store import Store

_SIZE = re.compile(rb",S=([0-9]{1,18})(?=[,:]|$)")
VERSION = int(MAGIC.split()[1])    # of the index
LOST = "lost+found"                # where -O puts what is no message
LOST_NAMES = 1000                  # tries for a name there
STEP = 1000                        # files between two steps of the bar


def main(words: list[str]) -> int:
    parser = maildirs.parser("check", __doc__)
    maildirs.with_mailboxes(parser, "all without")
    parser.add_argument("--fix", dest="fixes", action="store_true", help="mend what can be mended")
    parser.add_argument("--missing", dest="missing", action="store_true",
                        help="tell only the paths of messages that have a number and no file")
    parser.add_argument("-n", dest="only_tells", action="store_true", help="change nothing: only tell")
    parser.add_argument("-s", dest="by_names", action="store_true", help="names only: no look at each file")
    parser.add_argument("-G", dest="parses", action="store_true",
                        help="each message is read, and compared with what the index has of it")
    parser.add_argument("-o", dest="passes_odd", action="store_true",
                        help="no word of what is no message in cur/ and new/")
    parser.add_argument("-O", dest="moves_odd", action="store_true",
                        help="with --fix: that goes to lost+found")
    parser.add_argument("-V", dest="version", type=_version, metavar="VERSION",
                        help=f"with --fix: an index that is not of this version, {VERSION}, is made anew")
    parser.add_argument("--new-uidvalidity", dest="renumbers", action="store_true",
                        help="with --fix and --mailbox: clients forget what they know of it")
    parser.add_argument("-q", dest="quiet", action="store_true", help="tell nothing: the exit status says it")
    parser.add_argument("-J", dest="as_json", action="store_true", help="a JSON object a line")
    options = parser.parse_args(words)
    if options.renumbers and not (options.fixes and options.mailboxes):
        parser.error("--new-uidvalidity takes --fix and --mailbox NAME")
    if options.moves_odd and (options.passes_odd or not options.fixes):
        parser.error("-O takes --fix, and not -o")
    options.fixes = options.fixes and not options.only_tells and not options.missing
    work = maildirs.Maildirs(options, parser)
    options.limits = Limits.of(work.settings)
    return work.each(lambda store, place: _work(store, place, options), read_only=not options.fixes)


def _version(word: str) -> int:
    import argparse
    if word not in ("max", str(VERSION)):
        raise argparse.ArgumentTypeError(f"{VERSION} was expected, the only version that is written here, "
                                         f"not {word!r}")
    return VERSION


class Fault:
    """``kind``: a word for programs; ``text``: what is odd.  ``mends``: will a look, as a session has it, or
    what mend() does put it right?  ``of``: the path of an odd file, the kind of values of an index."""

    def __init__(self, kind: str, text: str, mends: bool = True, of: str = "") -> None:
        self.kind = kind
        self.text = text
        self.mends = mends
        self.of = of


def _work(store: Store, place: Place, options: argparse.Namespace) -> int:
    status = maildirs.each_mailbox(store, place, options.mailboxes,
                                   lambda name: _check(store, name, place, options))
    return status if options.missing or options.mailboxes else max(status, _of_all(store, place, options))


def _check(store: Store, name: str, place: Place, options: argparse.Namespace) -> int:
    """Of one mailbox.  Raises a store error."""
    folder = store.mailbox(name, store.path_of(name))
    if options.missing:
        return _missing(folder, options)
    folder.index.rules = rules(options.limits)     # by others its values would be another version's
    found = list(_faults(store, folder, options))
    mended = set()
    if found and options.fixes:
        _mend(store, name, folder, [fault for fault in found if fault.mends])
        left = {(fault.kind, fault.text) for fault in _faults(store, folder, options)}
        mended = {fault for fault in found if (fault.kind, fault.text) not in left}
    for fault in found:
        _tell(fault, place, name, options, fault in mended)
    if options.renumbers:
        _renumber(store, name, place, options)
    return maildirs.FINDINGS if len(mended) < len(found) else 0


def _tell(fault: Fault, place: Place, name: str, options: argparse.Namespace, mended: bool) -> None:
    if options.quiet:
        return
    if options.as_json:
        print(json.dumps({"maildir": place.maildir, "mailbox": name, "kind": fault.kind, "text": fault.text,
                          "mended": mended}))
    else:
        say(f"{place.maildir}: {name}: {fault.text}" + (" (mended)" if mended else ""))


def _renumber(store: Store, name: str, place: Place, options: argparse.Namespace) -> None:
    """Raises a store error."""
    if not options.fixes:
        _tell(Fault("uidvalidity", "would get another UIDVALIDITY"), place, name, options, False)
        return
    old, new = give_another(store, name)
    _tell(Fault("uidvalidity", f"UIDVALIDITY was {old}, and is {new}"), place, name, options, True)


def _missing(folder: Mailbox, options: argparse.Namespace) -> int:
    database = folder.place.numbers()
    if database is None:
        return 0
    rows = contents.look(database, folder.place.files())[1]
    for name in database.names_of(rows) if not options.quiet else ():
        say(os.path.abspath(os.path.join(folder.place.cur, os.fsdecode(name))))
    return maildirs.FINDINGS if rows else 0


def _faults(store: Store, folder: Mailbox, options: argparse.Namespace) -> Iterator[Fault]:
    """Raises a store error."""
    place = folder.place
    parts = [part for part in PARTS if not os.path.isdir(os.path.join(place.path, part))]
    for part in parts:
        yield Fault("part", f"{part} is missing")
    if isinstance(store.layout, MaildirPlusPlus) and os.path.basename(place.path) != "." \
            and not os.path.exists(os.path.join(place.path, "maildirfolder")):
        yield Fault("maildirfolder", "maildirfolder is missing: deliveries by others count it as a Maildir",
                    mends=False)
    if parts:
        return
    for fault in _files(folder, options.by_names):
        if fault.kind == "odd":
            if options.passes_odd:
                continue
            fault.mends = options.moves_odd
        yield fault
    yield from _leftovers(folder)
    database = place.numbers()
    if database is not None:
        if database.damaged:
            yield Fault("numbers", f"{uiddb.NAME} is damaged")
        gone = contents.look(database, place.files())[1]
        if gone:
            yield Fault("lines", f"{len(gone)} messages have a number and no file (--missing names them)")
        cache = Cache(folder.index, database.uidvalidity)
        for kind in cache.kinds():
            unsound = cache.sound(kind)
            if unsound:
                yield Fault("index", f"the index of {kind}: {unsound}", mends=False)
        if options.parses:
            for kind, count in values.others(folder, options.limits).items():
                yield Fault("values", f"the index of {kind} says something else of {count} messages", of=kind)
    columns = folder.index.load()
    if os.path.exists(folder.index.file(COLUMNS)) and (columns is None or not columns.database.has_lines()):
        yield Fault("index", "the index is damaged, or of another version; it is made anew",
                    mends=options.version is not None, of=COLUMNS)


def _files(folder: Mailbox, by_names: bool) -> Iterator[Fault]:
    place = folder.place
    owner = os.stat(place.cur).st_uid
    seen: set[bytes] = set()
    bar = Bar(folder.name)
    for directory in (place.cur, place.new):
        entries = listed(directory)
        for done, entry in enumerate(entries, 1):
            name = os.fsencode(entry.name)
            if name.startswith(b"."):
                continue
            if done % STEP == 0:
                bar.show(done, len(entries))
            if base(name) in seen:
                yield Fault("twin", f"{entry.path}: another file has the same name before its flags",
                            mends=False)
            seen.add(base(name))
            if directory == place.new and info(name):
                yield Fault("new", f"{entry.path}: flags, and it is in new/")
            if not by_names:
                yield from _file(entry, name, owner)
    bar.clear()


def _file(entry: os.DirEntry[str], name: bytes, owner: int) -> Iterator[Fault]:
    try:
        found = os.stat(entry.path)
    except FileNotFoundError:
        if os.path.islink(entry.path):
            yield Fault("odd", f"{entry.path}: a link that leads nowhere", of=entry.path)
        return
    except OSError as error:
        yield Fault("odd", f"{entry.path}: {error.strerror}", of=entry.path)
        return
    if not stat.S_ISREG(found.st_mode):
        yield Fault("odd", f"{entry.path}: no message", of=entry.path)
        return
    if found.st_uid != owner:
        yield Fault("owner", f"{entry.path}: belongs to uid {found.st_uid}, not {owner}", mends=False)
    if not found.st_mode & stat.S_IRUSR:
        yield Fault("mode", f"{entry.path}: its owner may not read it", mends=found.st_uid == owner)
    size = _SIZE.search(name)
    if size is not None and int(size[1]) != found.st_size:
        yield Fault("size", f"{entry.path}: has {found.st_size} octets, not {int(size[1])}", mends=False)


def _leftovers(folder: Mailbox) -> Iterator[Fault]:
    """What was left in tmp/."""
    place = folder.place
    limit = time.time() - TMP_AGE
    for entry in listed(place.tmp):
        try:
            found = entry.stat(follow_symlinks=False)
            if entry.name == "courier.lock":
                holder = Holder(whole(entry.path, locks.TEXT), found)
                if holder.stale(time.time(), lambda _: False):
                    yield Fault("lock", f"courier.lock is of {holder}, which is no more")
            elif found.st_ctime < limit:
                yield Fault("tmp", f"{entry.path}: left there more than 36 hours ago")
        except FileNotFoundError:
            continue                   # it went just now
        except OSError as error:
            raise trouble(entry.path, error) from None


def _mend(store: Store, name: str, folder: Mailbox, faults: list[Fault]) -> None:
    """Raises a store error."""
    kinds = {fault.kind for fault in faults}
    for fault in faults:
        if fault.kind == "odd":
            _put_aside(store, folder, fault.of)
        elif fault.kind == "index" and fault.of == COLUMNS:
            remove(folder.index.file(COLUMNS))
    if "values" in kinds:
        values.drop(folder, {fault.of for fault in faults if fault.kind == "values"})
    if "tmp" in kinds:
        folder.place.clean_tmp()
    if "mode" in kinds:
        for directory in (folder.place.cur, folder.place.new):
            for entry in listed(directory):
                try:
                    mode = os.stat(entry.path, follow_symlinks=False).st_mode
                    if stat.S_ISREG(mode) and not mode & stat.S_IRUSR:
                        os.chmod(entry.path, stat.S_IMODE(mode) | stat.S_IRUSR | stat.S_IWUSR)
                except OSError:
                    continue           # another's, or gone: it is told again
    opened = store.open(name)          # makes what is missing of the three directories
    try:
        if kinds & {"numbers", "lines", "new", "lock", "index"}:
            with opened.locked():
                pass                   # nobody else's any more
            opened.scan(readonly=True)
            opened.told()
    finally:
        opened.close(wait=True)


def _put_aside(store: Store, folder: Mailbox, path: str) -> None:
    """What is no message leaves the mailbox, and is kept.  Raises a store error."""
    layout = store.layout
    aside = os.path.join(layout.root, LOST) if isinstance(layout, MaildirPlusPlus) \
        else os.path.join(layout.inbox, "cur", f".{LOST}")
    below = os.path.relpath(folder.path, layout.root).replace("/", "_")
    try:
        os.makedirs(aside, 0o700, exist_ok=True)
        for count in range(LOST_NAMES):
            wanted = os.path.join(aside, f"{below}_{os.path.basename(path)}" + f".{count}" * bool(count))
            if not os.path.lexists(wanted):
                os.rename(path, wanted)
                return
    except FileNotFoundError:
        return                         # it went just now
    except OSError as error:
        raise trouble(path, error) from None


def _of_all(store: Store, place: Place, options: argparse.Namespace) -> int:
    """What is of the Maildir, not of a mailbox."""
    status = 0
    for name in sorted(set(store.subscriptions()).difference(store.names())):
        if name.startswith(store.layout.prefix):
            # RFC 9051 6.3.7: no server unsubscribes by itself
            _tell(Fault("subscription", "subscribed, and not there"), place, name, options, False)
            status = maildirs.FINDINGS
    quota = store.quota()
    usage = quota.usage() if quota is not None else None
    if quota is not None and usage is not None:
        there = count(os.fsencode(store.root))
        if there != usage.there:
            if options.fixes:
                quota.recount(usage.limits)
            _tell(Fault("quota", f"maildirsize has {usage.there.octets} octets in {usage.there.messages} "
                                 f"messages, there are {there.octets} in {there.messages}"),
                  place, "maildirsize", options, options.fixes)
            status = max(status, 0 if options.fixes else maildirs.FINDINGS)
    return status
