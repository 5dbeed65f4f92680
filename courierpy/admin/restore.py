"""courierpy restore: bring messages back from a backup, or from any other Maildir.

DIR is what "courierpy backup" was given, one backup below it, or a Maildir.  What is missing comes back with
flags, keywords and times, and with new UIDs; what is there stays as it is.
"""
from __future__ import annotations

import json
import os
import time
from functools import partial

from courierpy.admin import complain, maildirs
from courierpy.admin.backup import directory_of
from courierpy.admin.progress import Bar, say
from courierpy.backup import backups
from courierpy.backup.restoring import Again, Elsewhere, Original, absent
from courierpy.maildir.errors import FolderMissing, StoreError
from courierpy.model.namespaces import INBOX
from courierpy.system import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from courierpy.admin.maildirs import Place
    from courierpy.backup.backups import Backup
    from courierpy.backup.restoring import Saved
    from courierpy.maildir.store import Store

AT_ONCE = 2000                     # messages that come back together, and are numbered by one writing


def main(words: list[str]) -> int:
    parser = maildirs.parser("restore", __doc__)
    maildirs.with_mailboxes(parser, "INBOX with --uid, else -A is needed for all")
    parser.add_argument("-A", dest="everything", action="store_true", help="all mailboxes")
    parser.add_argument("--uid", dest="uids", action="append", default=[], metavar="UID",
                        type=partial(maildirs.number, least=1, what="a UID"),
                        help="this message, by the UID that it has in the backup; may be said several times")
    parser.add_argument("--into", dest="into", metavar="NAME",
                        help="to this mailbox, which is made if it is not there; also what is elsewhere now")
    parser.add_argument("--at", dest="at", metavar="BACKUP", help="the backup of this name, not the newest")
    parser.add_argument("-l", dest="lists", action="store_true", help="list the backups")
    parser.add_argument("-n", dest="only_tells", action="store_true", help="change nothing: only tell")
    parser.add_argument("-v", dest="verbose", action="store_true", help="a line for each message")
    parser.add_argument("-J", dest="as_json", action="store_true", help="a JSON object a line")
    options = parser.parse_args(words)
    if not options.lists and not options.everything and not options.mailboxes and not options.uids:
        parser.error("-A, --mailbox NAME, --uid UID or -l was expected")
    if options.everything and (options.mailboxes or options.uids):
        parser.error("-A is all mailboxes: take it, or --mailbox and --uid")
    if not options.maildirs:
        parser.error("the DIR of the backups was expected, then a MAILDIR, or before it -u USER or -a")
    top = proc.absolute(options.maildirs[0])
    options.maildirs = options.maildirs[1:]
    work = maildirs.Maildirs(options, parser)
    path_of = partial(directory_of, top, os.getcwd())
    return work.each(lambda store, place: _work(store, place, top, path_of(place), options),
                     read_only=options.only_tells or options.lists)


def _work(store: Store, place: Place, top: str, own: str, options: argparse.Namespace) -> int:
    """``own``: the directory below ``top`` that has the backups of this Maildir."""
    found = backups.Backups(own, store.options.host).whole() or \
        backups.Backups(top, store.options.host).whole()
    if options.lists:
        return _list(found, place, options)
    original = _original(top, found, store, options.at)
    status = 0
    done: list[int] = []
    elsewhere = None if options.into else Elsewhere(store, original)
    names = maildirs.chosen(original.store, options.mailboxes or ([INBOX] if options.uids else []))
    again = None if options.into else Again(store, original)
    if again is not None and not options.only_tells:
        again.subscribe(names)
    for name in names:
        try:
            status = max(status, _restore(store, place, original, name, elsewhere, again, options, done))
        except StoreError as error:
            complain(f"{place.maildir}: {name}: {error}")
            status = max(status, maildirs.status_of(error))
    if not options.as_json:
        word = "would come back" if options.only_tells else "came back"
        say(f"{place.maildir}: {sum(done)} messages {word} from {original.store.root}")
    return status


def _original(top: str, found: list[Backup], store: Store, at: str | None) -> Original:
    """Raises FolderMissing."""
    if at is not None:
        found = [one for one in found if one.name == at]
        if not found:
            raise FolderMissing(f"there is no backup {at} (-l lists them)")
    one = backups.find(top) or (found[-1] if found else None)
    if one is not None:
        return Original(one.path, store.options.host, str(one.told.get("layout", "auto")))
    return Original(top, store.options.host, "auto")


def _list(found: list[Backup], place: Place, options: argparse.Namespace) -> int:
    for one in found:
        if options.as_json:
            print(json.dumps({"maildir": place.maildir, "user": place.user or None, "backup": one.name,
                              "path": one.path, "when": one.when, "messages": one.told.get("messages")}))
        else:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.when))
            say(f"{place.maildir}: {one.name}: {when}, {one.told.get('messages')} messages")
    return 0 if found else maildirs.FINDINGS


def _restore(store: Store, place: Place, original: Original, name: str, elsewhere: Elsewhere | None,
             again: Again | None, options: argparse.Namespace, done: list[int]) -> int:
    """Of one mailbox of the backup.  ``done``: numbers of messages that came.  Raises a store error."""
    saved = original.messages(name)
    status = 0
    if options.uids:
        saved = [one for one in saved if one.uid in options.uids]
        for uid in sorted(set(options.uids).difference(one.uid for one in saved)):
            complain(f"{place.maildir}: {name}: no message in the backup has UID {uid}")
            status = maildirs.FINDINGS
    target = maildirs.spelled(store, options.into) if options.into else original.name_in(store, name)
    missing = absent(store, target, saved)
    back = [one for one in missing if elsewhere is None or not elsewhere.has(one)]
    done.append(len(back))
    refused: list[StoreError] = []
    if not options.only_tells:
        done[-1] = _bring(store, name, target, back, again, options, refused)
        for why in refused:
            complain(f"{place.maildir}: {name}: not brought back: {why}")
            status = max(status, maildirs.status_of(why))
    if options.as_json:
        print(json.dumps({"maildir": place.maildir, "user": place.user or None, "mailbox": name,
                          "into": target, "saved": len(saved), "restored": done[-1],
                          "moved": len(missing) - len(back), "dry": options.only_tells}))
    elif back or len(missing) > len(back) or options.verbose:
        word = "would come back" if options.only_tells else "came back"
        moved = f", {len(missing) - len(back)} are in other mailboxes now" * (len(missing) > len(back))
        say(f"{place.maildir}: {name}: {done[-1]} of {len(saved)} messages {word} to {target}{moved}")
    return status


def _bring(store: Store, name: str, target: str, back: list[Saved], again: Again | None,
           options: argparse.Namespace, refused: list[StoreError]) -> int:
    """How many came.  A mailbox of the backup that is not there is made, also without messages.  Raises a
    store error."""
    if options.into and not back:
        return 0
    if not store.exists(target):
        if again is None:
            store.create(target)
        else:
            again.make(name, target)
    if not back:
        return 0
    folder = store.open(target)
    bar = Bar(target)
    came = 0
    try:
        for start in range(0, len(back), AT_ONCE):
            some = back[start:start + AT_ONCE]
            uids = folder.take_over(some, refused)[1]
            came += len(uids) - uids.count(None)
            if options.verbose and not options.as_json:
                for one, uid in zip(some, uids, strict=True):
                    if uid is not None:
                        say(f"{name}: UID {one.uid or '-'} came back to {target} as {uid}")
            bar.show(start + len(some), len(back))
    finally:
        bar.clear()
        folder.close(wait=True)
    return came
