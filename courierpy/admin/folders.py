"""courierpy folders: the mailboxes of Maildirs as data: numbers, uses, subscriptions, rights."""
from __future__ import annotations

import json
import os

from courierpy.admin import complain, maildirs
from courierpy.admin.progress import say
from courierpy.maildir import specialuse
from courierpy.maildir.errors import StoreError
from courierpy.maildir.formats.acl import letters

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from courierpy.admin.maildirs import Place
    from courierpy.maildir.store import Store


def main(words: list[str]) -> int:
    parser = maildirs.parser("folders", __doc__)
    maildirs.with_mailboxes(parser, "all without")
    parser.add_argument("-v", dest="verbose", action="store_true",
                        help="verify: tell only what is odd, exit status 1 if there is anything")
    parser.add_argument("-J", dest="as_json", action="store_true", help="a JSON object a line")
    options = parser.parse_args(words)
    work = maildirs.Maildirs(options, parser)
    try:
        table = specialuse.table_of(work.settings.text("IMAP_SPECIALUSE"),
                                    work.settings.text("IMAP_TRASHFOLDERNAME"))
    except ValueError as error:
        complain(f"IMAP_SPECIALUSE: {error}")
        return os.EX_CONFIG
    return work.each(lambda store, place: _work(store, place, options, table), read_only=True)


def _work(store: Store, place: Place, options: argparse.Namespace,
          table: Mapping[bytes, Sequence[str]]) -> int:
    status = 0
    subscribed = set(store.subscriptions())
    every = store.names()
    uses = specialuse.uses(store, every, table)
    there = maildirs.chosen(store, options.mailboxes)
    for name in there:
        try:
            folder = store.mailbox(name, store.path_of(name))
            database = folder.place.numbers()
            rights = {entry: letters(found) for entry, found in _lists(store, name).items()}
        except StoreError as error:
            say(f"{place.maildir}: {name}: {error}")
            status = max(status, maildirs.status_of(error))
            continue
        odd = "damaged" if database is not None and database.damaged else ""
        if options.verbose:
            if odd:
                say(f"{place.maildir}: {name}: its numbers are {odd}")
                status = max(status, maildirs.FINDINGS)
            continue
        row = {"maildir": place.maildir, "user": place.user or None, "mailbox": name,
               "path": os.path.abspath(folder.path),
               "uidvalidity": database.uidvalidity if database is not None else None,
               "uidnext": database.uidnext if database is not None else None,
               "messages": len(database) if database is not None else None,
               "subscribed": name in subscribed, "use": [use.decode() for use in uses.get(name, ())],
               "rights": rights}
        if options.as_json:
            print(json.dumps(row))
        else:
            acl = ",".join(f"{entry}={found}" for entry, found in rights.items())
            say("\t".join([name, str(row["uidvalidity"] or "-"), str(row["uidnext"] or "-"),
                           str(row["messages"] if database is not None else "-"),
                           "subscribed" if name in subscribed else "-",
                           b" ".join(uses.get(name, ())).decode() or "-", acl or "-"]))
    for name in sorted(subscribed - set(every)) if options.verbose and not options.mailboxes else ():
        say(f"{place.maildir}: {name}: subscribed, and not there")
        status = max(status, maildirs.FINDINGS)
    return status


def _lists(store: Store, name: str) -> dict[str, frozenset[str]]:
    """Who may do what; nothing where no list says it."""
    path = store.located(name)[1]
    if not store.access.listed(path):
        return {}
    found = store.access.nearest(path)
    return dict(store.access.read(found[0]).entries) if found is not None else {}
