"""courierpy expire: remove for good what was kept for long enough; to be run once a day.

What was expunged is kept for IMAP_EXPUNGE_KEEP days, or as long as -X says, and mailboxes that were deleted
too, or as long as -D says; the list of messages that were delivered, by which none comes twice, for
IMAP_DUPLICATE_DAYS or as long as -E says.
"""
from __future__ import annotations

import json
import os
import time
from contextlib import nullcontext

from courierpy.admin import maildirs
from courierpy.admin.progress import say, size_of
from courierpy.admin.unexpunge import UNITS, seconds
from courierpy.maildir.duplicates import Duplicates
from courierpy.maildir.errors import StoreError
from courierpy.maildir.files import listed, remove_tree
from courierpy.maildir.layout import DELETED
from courierpy.maildir.names import info, mailbox_path, time_of
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
    parser.add_argument("-D", dest="deleted", type=seconds, metavar="TIME",
                        help="mailboxes that were deleted go after so long; 0: at once")
    parser.add_argument("-t", dest="keywords", action="store_true",
                        help="keywords that no message has any more go from the lists of mailboxes")
    parser.add_argument("--keep-flagged", dest="spares", action="store_true", help="not what is \\Flagged")
    parser.add_argument("-n", dest="only_tells", action="store_true", help="change nothing: only tell")
    parser.add_argument("-v", dest="verbose", action="store_true", help="a line for each mailbox")
    parser.add_argument("-J", dest="as_json", action="store_true", help="a JSON object a line")
    options = parser.parse_args(words)
    work = maildirs.Maildirs(options, parser)
    days = work.settings.number("IMAP_EXPUNGE_KEEP")
    if options.kept is None and days:
        options.kept = days * UNITS["d"]
    if options.deleted is None and days:
        options.deleted = days * UNITS["d"]
    return work.each(lambda store, place: _work(store, place, options), read_only=options.only_tells)


def _work(store: Store, place: Place, options: argparse.Namespace) -> int:
    status = 0
    if options.kept is not None:
        status = maildirs.each_mailbox(store, place, options.mailboxes,
                                       lambda name: _expire(store, name, place, options), say)
    if options.keywords:
        status = max(status, maildirs.each_mailbox(
            store, place, options.mailboxes, lambda name: _strike(store, name, place, options), say))
    if options.deleted is not None and not options.mailboxes:
        status = max(status, _remove_deleted(store, place, options))
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


def _strike(store: Store, name: str, place: Place, options: argparse.Namespace) -> int:
    """Keywords without messages.  Raises a store error."""
    folder = store.mailbox(name, store.path_of(name))
    if not os.path.isdir(folder.keywords.files.path):
        return 0
    with nullcontext() if options.only_tells else folder.locked():
        went = folder.keywords.files.strike_unused(folder.place.bases(), options.only_tells)
    words = sorted(word.decode("utf-8", "replace") for word in went)
    if options.as_json:
        print(json.dumps({"maildir": place.maildir, "user": place.user or None, "mailbox": name,
                          "keywords": words, "dry": options.only_tells}))
    elif words and (options.verbose or options.only_tells):
        word = "would go" if options.only_tells else "went"
        say(f"{place.maildir}: {name}: keywords that no message has {word}: {' '.join(words)}")
    return 0


def _has_flagged(path: str) -> bool:
    """Is a message of these deleted mailboxes \\Flagged?"""
    return any(b"F" in info(os.fsencode(file.name)) for mailbox in listed(path)
               for file in listed(os.path.join(mailbox.path, "cur")))


def _remove_deleted(store: Store, place: Place, options: argparse.Namespace) -> int:
    """Mailboxes that were deleted and kept."""
    limit = time.time() - options.deleted
    status = 0
    for entry in listed(os.path.join(store.root, DELETED)):
        when = time_of(os.fsencode(entry.name))
        if when is None or when > limit or options.spares and _has_flagged(entry.path):
            continue
        names = ", ".join(mailbox_path(os.fsencode(one.name)) for one in listed(entry.path))
        if not options.only_tells:
            remove_tree(entry.path)
            if os.path.lexists(entry.path):
                say(f"{place.maildir}: {entry.path}: it cannot be removed")
                status = os.EX_NOPERM
                continue
        if options.as_json:
            print(json.dumps({"maildir": place.maildir, "user": place.user or None, "deleted": names,
                              "when": when, "dry": options.only_tells}))
        elif options.verbose or options.only_tells:
            word = "would go" if options.only_tells else "removed"
            say(f"{place.maildir}: the deleted mailbox {names} {word}")
    return status
