"""courierpy expire: remove for good what was kept for long enough; to be run once a day.

What was expunged is kept for IMAP_EXPUNGE_KEEP days, or as long as -X says; the list of messages that were
delivered, by which none comes twice, for IMAP_DUPLICATE_DAYS or as long as -E says.
"""
from __future__ import annotations

import json
import time

from courierpy.admin import maildirs
from courierpy.admin.progress import say, size_of
from courierpy.admin.unexpunge import UNITS, seconds
from courierpy.maildir.duplicates import Duplicates
from courierpy.maildir.errors import StoreError
from courierpy.model.flags import FLAGGED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from courierpy.admin.maildirs import Place
    from courierpy.maildir.store import Store


def main(words: list[str]) -> int:
    parser = maildirs.parser("expire", __doc__)
    maildirs.with_mailboxes(parser, "all without")
    parser.add_argument("-X", dest="kept", type=seconds, metavar="TIME",
                        help="what was expunged goes after so long, as 3h, 7d, 2w; 0: at once")
    parser.add_argument("-E", dest="delivered", type=seconds, metavar="TIME",
                        help="lines of the list of what was delivered go after so long")
    parser.add_argument("--keep-flagged", dest="spares", action="store_true", help="not what is \\Flagged")
    parser.add_argument("-n", dest="only_tells", action="store_true", help="change nothing: only tell")
    parser.add_argument("-v", dest="verbose", action="store_true", help="a line for each mailbox")
    parser.add_argument("-J", dest="as_json", action="store_true", help="a JSON object a line")
    options = parser.parse_args(words)
    work = maildirs.Maildirs(options, parser)
    days = work.settings.number("IMAP_EXPUNGE_KEEP")
    if options.kept is None and days:
        options.kept = days * UNITS["d"]
    return work.each(lambda store, place: _work(store, place, options), read_only=options.only_tells)


def _work(store: Store, place: Place, options: argparse.Namespace) -> int:
    status = 0
    if options.kept is not None:
        status = maildirs.each_mailbox(store, place, options.mailboxes,
                                       lambda name: _expire(store, name, place, options), say)
    if options.delivered is not None and not options.only_tells:
        Duplicates(store.options.index(store.layout.inbox), options.delivered).forget_old()
    return status


def _expire(store: Store, name: str, place: Place, options: argparse.Namespace) -> int:
    yard = store.mailbox(name, store.path_of(name)).place.graveyard()
    limit = time.time() - options.kept
    went = octets = left = status = 0
    for grave in yard.graves():
        if grave.when > limit or options.spares and grave.bits & FLAGGED:
            left += 1
            continue
        try:
            if not options.only_tells:
                yard.forget(grave)
        except StoreError as error:
            say(f"{place.maildir}: {name}: {error}")
            status = max(status, maildirs.status_of(error))
            continue
        went += 1
        octets += grave.octets
    if not options.only_tells:
        yard.clean(limit)
    if options.as_json:
        print(json.dumps({"maildir": place.maildir, "user": place.user or None, "mailbox": name,
                          "removed": went, "octets": octets, "kept": left, "dry": options.only_tells}))
    elif options.verbose or went and options.only_tells:
        done = "would go" if options.only_tells else "removed"
        say(f"{place.maildir}: {name}: {went} expunged messages {done}, {size_of(octets)}; {left} are kept")
    return status
