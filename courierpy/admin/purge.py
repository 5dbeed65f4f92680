"""courierpy purge: remove messages by age or size, as EXPUNGE does.

The letters are those of Cyrus's ipurge, but for the age: that is counted from the arrival (INTERNALDATE)
unless --sent asks for the Date field.  A message goes when its age or its size says so.
"""
from __future__ import annotations

import json
import os
import time

from courierpy.admin import maildirs
from courierpy.admin.progress import Bar, say, size_of
from courierpy.maildir.errors import StoreError, Vanished
from courierpy.maildir.glance import Glanced, glance
from courierpy.maildir.messagefile import HEADER_OCTETS
from courierpy.message import dateheader, headers
from courierpy.model.flags import DELETED, FLAGGED
from courierpy.system.regular import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from courierpy.admin.maildirs import Place
    from courierpy.maildir.store import Store

DAY = 86400                        # seconds
AT_ONCE = 1000                     # messages between two steps of the bar


def main(words: list[str]) -> int:
    parser, number = maildirs.parser("purge", __doc__), maildirs.number
    maildirs.with_mailboxes(parser, "none without -f")
    parser.add_argument("-f", dest="everywhere", action="store_true", help="in all mailboxes")
    parser.add_argument("-d", dest="days", type=number, metavar="DAYS", help="those so old, or older")
    parser.add_argument("-b", dest="octets", type=number, metavar="BYTES", help="those that are larger")
    parser.add_argument("-k", dest="kib", type=number, metavar="KBYTES", help="those that are larger")
    parser.add_argument("-m", dest="mib", type=number, metavar="MBYTES", help="those that are larger")
    parser.add_argument("-x", dest="exactly", action="store_true", help="just so old or so large, no more")
    parser.add_argument("-i", dest="invert", action="store_true", help="younger, smaller, not so instead")
    parser.add_argument("-X", dest="sent", action="store_false", help="the age counts from the arrival")
    parser.add_argument("--sent", dest="sent", action="store_true", help="the age counts from the Date field")
    parser.add_argument("-s", dest="spares", action="store_true", help="not those that are \\Flagged")
    parser.add_argument("-o", dest="only_deleted", action="store_true", help="only what is \\Deleted")
    parser.add_argument("-n", dest="only_tells", action="store_true", help="only tell what would go")
    parser.add_argument("-v", dest="verbose", action="store_true", help="a line for each message")
    parser.add_argument("-q", dest="quiet", action="store_true", help="tell only what went wrong")
    parser.add_argument("-J", dest="as_json", action="store_true", help="a JSON object a line")
    parser.set_defaults(sent=False)
    options = parser.parse_args(words)
    if options.octets is options.kib is options.mib is options.days is None:
        parser.error("at least one of -d, -b, -k, -m was expected")
    if not options.mailboxes and not options.everywhere:
        parser.error("--mailbox NAME was expected, or -f for all mailboxes")
    rule = Rule(options)
    return maildirs.Maildirs(options, parser).each(
        lambda store, place: maildirs.each_mailbox(
            store, place, options.mailboxes, lambda name: _purge(store, name, place, options, rule), say),
        read_only=options.only_tells)


class Rule:
    """Which messages go."""

    def __init__(self, options: argparse.Namespace) -> None:
        sizes = [size * unit for size, unit in ((options.octets, 1), (options.kib, 1024),
                                                (options.mib, 1024 * 1024)) if size is not None]
        self.options = options
        self.octets = min(sizes) if sizes else None
        self.now = time.time()

    def takes(self, message: Glanced) -> bool:
        """Raises OSError where its Date cannot be read."""
        options = self.options
        if options.spares and message.bits & FLAGGED or options.only_deleted and not message.bits & DELETED:
            return False
        if self.octets is not None and self._says(message.octets - self.octets, message.octets > self.octets):
            return True
        if options.days is None:
            return False
        when = message.arrived if not options.sent else sent(message.path)
        if when is None:
            return False               # no Date, no age
        age = int((self.now - when) // DAY)
        return self._says(age - options.days, age >= options.days)

    def _says(self, difference: int, beyond: bool) -> bool:
        return ((difference == 0) if self.options.exactly else beyond) != bool(self.options.invert)


def header(path: bytes) -> bytes:
    """The block of its header, as far as HEADER_OCTETS go.  Raises OSError."""
    data = whole(path, HEADER_OCTETS)
    return headers.block(data, 0, headers.header_end(data, 0, len(data)))


def sent(path: bytes) -> float | None:
    """What its Date says, seconds since 1970; None without one.  Raises OSError."""
    found = headers.values(header(path), b"date")
    return dateheader.moment(found[0]) if found else None


def _purge(store: Store, name: str, place: Place, options: argparse.Namespace, rule: Rule) -> int:
    folder = store.mailbox(name, store.path_of(name)) if options.only_tells else store.open(name)
    bar = Bar(name)
    refused: list[StoreError] = []
    went: list[Glanced] = []
    try:
        if not options.only_tells:
            folder.scan(readonly=True)         # new mail gets its numbers
        found = []
        messages = glance(folder.place)[1]
        for at, message in enumerate(messages, 1):
            try:
                if rule.takes(message):
                    found.append(message)
            except OSError as error:
                if not isinstance(error, FileNotFoundError):
                    refused.append(StoreError(f"{os.fsdecode(message.path)}: {error.strerror}"))
            if at % AT_ONCE == 0:
                bar.show(at, len(messages))
        bar.clear()
        if options.only_tells:
            went = found
        else:
            for start in range(0, len(found), AT_ONCE):
                some = {message.uid: message for message in found[start:start + AT_ONCE] if message.uid}
                went += [some[uid] for uid in folder.remove(some, refused)]
                bar.show(min(start + AT_ONCE, len(found)), len(found))
    except Vanished:
        pass
    finally:
        bar.clear()
        if not options.only_tells:
            folder.close(wait=True)
    _tell(name, place, options, went, len(messages))
    for why in refused:
        say(f"{place.maildir}: {name}: {why}")
    return os.EX_NOPERM if refused else 0


def _tell(name: str, place: Place, options: argparse.Namespace, went: list[Glanced], count: int) -> None:
    octets = sum(message.octets for message in went)
    if options.quiet:
        return
    if options.as_json:
        if options.verbose:
            for message in went:
                print(json.dumps({"maildir": place.maildir, "mailbox": name, "uid": message.uid or None,
                                  "octets": message.octets, "arrived": int(message.arrived)}))
        print(json.dumps({"maildir": place.maildir, "user": place.user or None, "mailbox": name,
                          "messages": count, "removed": len(went), "octets": octets,
                          "dry": options.only_tells}))
        return
    if options.verbose:
        for message in went:
            say(f"{place.maildir}\t{name}\t{message.uid or '-'}\t{message.octets}\t"
                f"{time.strftime('%Y-%m-%d', time.localtime(message.arrived))}")
    if went or options.verbose:
        done = "would go" if options.only_tells else "removed"
        say(f"{place.maildir}: {name}: {len(went)} of {count} messages {done}, {size_of(octets)}")
