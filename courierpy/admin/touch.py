"""courierpy touch: give messages their arrival times again, or mailboxes other IDs, after a copy.

With -t a message whose file is more than a day off its Date field gets that as its INTERNALDATE, and so it
is told to clients from then on: what was computed of it before is computed anew.
"""
from __future__ import annotations

import json
import os
import time

from courierpy.admin import maildirs
from courierpy.admin.progress import Bar, say
from courierpy.admin.purge import sent
from courierpy.imap.attributes import DATE
from courierpy.imap.internaldates import TOLD
from courierpy.maildir.glance import glance
from courierpy.maildir.index.valuecache import Cache
from courierpy.maildir.renumbering import give_another

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from courierpy.admin.maildirs import Place
    from courierpy.maildir.store import Store

OFF = 86400                        # seconds: so much a Date may differ from the arrival
STEP = 100                         # messages between two steps of the bar


def main(words: list[str]) -> int:
    parser = maildirs.parser("touch", __doc__)
    maildirs.with_mailboxes(parser, "all without")
    parser.add_argument("-t", dest="times", action="store_true", help="by the Date field, if it is a day off")
    parser.add_argument("-r", dest="renames", action="store_true",
                        help="another MAILBOXID, and so another UIDVALIDITY: clients forget what they know")
    parser.add_argument("-n", dest="only_tells", action="store_true", help="change nothing: only tell")
    parser.add_argument("-v", dest="verbose", action="store_true", help="a line for each message")
    parser.add_argument("-J", dest="as_json", action="store_true", help="a JSON object a line")
    options = parser.parse_args(words)
    if not options.times and not options.renames:
        parser.error("-t or -r was expected")
    if options.renames and not options.mailboxes:
        parser.error("-r takes --mailbox NAME")
    return maildirs.Maildirs(options, parser).each(
        lambda store, place: maildirs.each_mailbox(
            store, place, options.mailboxes, lambda name: _touch(store, name, place, options), say),
        read_only=options.only_tells)


def _touch(store: Store, name: str, place: Place, options: argparse.Namespace) -> int:
    status = _by_date(store, name, place, options) if options.times else 0
    if options.renames:
        _rename(store, name, place, options)
    return status


def _rename(store: Store, name: str, place: Place, options: argparse.Namespace) -> None:
    """Another MAILBOXID.  Raises a store error."""
    if options.only_tells:
        found = store.mailbox(name, store.path_of(name)).place.numbers()
        old, new = found.uidvalidity if found is not None else 0, 0
    else:
        old, new = give_another(store, name)
    if options.as_json:
        print(json.dumps({"maildir": place.maildir, "mailbox": name, "before": old,
                          "uidvalidity": new or None, "dry": options.only_tells}))
    else:
        say(f"{place.maildir}: {name}: " + (f"UIDVALIDITY was {old}, and is {new}" if new
                                            else f"UIDVALIDITY is {old}, and would be another"))


def _by_date(store: Store, name: str, place: Place, options: argparse.Namespace) -> int:
    folder = store.mailbox(name, store.path_of(name))
    database, messages = glance(folder.place)
    bar = Bar(name)
    done = status = 0
    now = time.time()
    for at, message in enumerate(messages, 1):
        try:
            when = sent(message.path)
            if when is None or abs(when - message.arrived) <= OFF or not 0 < when <= now:
                continue
            if not options.only_tells:
                os.utime(message.path, (now, when))
        except FileNotFoundError:
            continue                   # it went, or has another name, just now
        except OSError as error:
            bar.clear()
            say(f"{os.fsdecode(message.path)}: {error.strerror}")
            status = max(status, maildirs.status_of(error))
            continue
        done += 1
        if options.verbose:
            say(f"{name}\t{message.uid or '-'}\t{int(message.arrived)}\t{int(when)}")
        if at % STEP == 0:
            bar.show(at, len(messages))
    bar.clear()
    if done and not options.only_tells:
        cache = Cache(folder.index, database.uidvalidity)
        for kind in cache.kinds():
            if kind == DATE or kind.startswith(TOLD):
                cache.drop(kind)
    if options.as_json:
        print(json.dumps({"maildir": place.maildir, "mailbox": name, "messages": len(messages),
                          "changed": done, "dry": options.only_tells}))
    elif done or options.verbose:
        word = "would get" if options.only_tells else "got"
        say(f"{place.maildir}: {name}: {done} of {len(messages)} messages {word} the time of their Date")
    return status
