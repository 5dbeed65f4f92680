"""courierpy backup: copy Maildirs as they are at one moment, while sessions go on.

Below DIR each account has a directory, and in it a Maildir for each backup, which has its name when it is
whole.  Messages are the same files where the file system can have two names for one, else copies, which later
backups share.
"""
from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import partial
from urllib.parse import quote

from courierpy.admin import complain, maildirs
from courierpy.admin.progress import Bar, say, size_of
from courierpy.backup import copying
from courierpy.backup.backups import Backups
from courierpy.maildir.errors import StoreError
from courierpy.maildir.glance import glance
from courierpy.system import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from courierpy.admin.maildirs import Place
    from courierpy.backup.backups import Backup
    from courierpy.backup.copying import Done
    from courierpy.maildir.store import Store

SECONDS = 60                       # for which the locks are waited for
PASSABLE = 0o711                   # mode of DIR: each account comes to its own, and sees no other's
PLAIN = "@+, "                     # in the name of an account's directory


def main(words: list[str]) -> int:
    parser = maildirs.parser("backup", __doc__)
    parser.add_argument("--copies", dest="links", action="store_false",
                        help="messages are files of their own, also where the mail could be the same ones")
    parser.add_argument("--keep", dest="keep", type=partial(maildirs.number, least=1), metavar="NUMBER",
                        help="so many backups stay, and older ones go")
    parser.add_argument("-t", dest="seconds", type=maildirs.number, metavar="SECONDS", default=SECONDS,
                        help=f"for which the locks are waited for, {SECONDS} without")
    parser.add_argument("-n", dest="only_tells", action="store_true", help="change nothing: only tell")
    parser.add_argument("-v", dest="verbose", action="store_true", help="a line for each mailbox with -n")
    parser.add_argument("-q", dest="quiet", action="store_true", help="tell only what went wrong")
    parser.add_argument("-J", dest="as_json", action="store_true", help="a JSON object a line")
    options = parser.parse_args(words)
    if not options.maildirs:
        parser.error("the DIR for the backups was expected, then a MAILDIR, or before it -u USER or -a")
    top = proc.absolute(options.maildirs[0])
    options.maildirs = options.maildirs[1:]
    work = maildirs.Maildirs(options, parser)
    path_of = partial(directory_of, top, os.getcwd())
    return work.each(lambda store, place: _work(store, place, path_of(place), options),
                     read_only=options.only_tells,
                     before=None if options.only_tells else lambda place: _make(path_of(place), place))


def directory_of(top: str, here: str, place: Place) -> str:
    """Where the backups of this Maildir are, below ``top``.  ``here``: where its path begins."""
    name = place.user or os.path.abspath(os.path.join(here, place.maildir)).strip("/")
    found = quote(name, safe=PLAIN)
    return os.path.join(top, "%2E" + found[1:] if found.startswith(".") else found or "%2F")


def _make(path: str, place: Place) -> None:
    """The directory for an account's backups, by root for the user, whose it is then.  Raises OSError."""
    owner = os.stat(place.maildir)
    os.makedirs(os.path.dirname(path), PASSABLE, exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    if os.geteuid() == 0:
        uid, gid = place.ids[:2] if place.ids else (owner.st_uid, owner.st_gid)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(fd).st_uid == 0:       # made just now, or by who was stopped before this
                os.fchown(fd, uid, gid)
        finally:
            os.close(fd)


def _work(store: Store, place: Place, path: str, options: argparse.Namespace) -> int:
    backups = Backups(path, store.options.host)
    if options.only_tells:
        return _tell_only(store, place, backups, options)
    backups.clean()
    before = backups.whole()
    unfinished = backups.begin()
    bar = Bar("")

    def show(name: str, done: int, total: int) -> None:
        bar.name = name
        bar.show(done, total)
    try:
        done = copying.copy(store, unfinished.path, before[-1].path if before else "", options.seconds,
                           options.links, show)
        found = unfinished.finish({
            "when": done.when, "maildir": os.getcwd(), "user": place.user or None,
            "layout": store.layout.name, "mailboxes": done.mailboxes, "messages": done.messages})
    except BaseException:
        unfinished.give_up()
        raise
    finally:
        bar.clear()
    for why in done.refused:
        complain(f"{place.maildir}: not in the backup: {why}")
    _tell(found, done, place, options)
    status = max(map(maildirs.status_of, done.refused), default=0)
    if options.keep and not done.refused:
        try:
            for one in backups.keep(options.keep):
                if options.verbose and not options.as_json:
                    say(f"{one.path}: removed")
        except StoreError as error:
            complain(f"{place.maildir}: {error}")
            status = max(status, maildirs.status_of(error))
    return status


def _tell(found: Backup, done: Done, place: Place, options: argparse.Namespace) -> None:
    if options.as_json:
        print(json.dumps({"maildir": place.maildir, "user": place.user or None, "backup": found.path,
                          "mailboxes": done.mailboxes, "messages": done.messages, "linked": done.linked,
                          "copied": done.copied, "octets": done.octets, "refused": len(done.refused),
                          "held": round(done.held, 3)}))
    elif not options.quiet:
        say(f"{place.maildir}: {found.path}: {done.messages} messages in {done.mailboxes} mailboxes, "
            f"{done.copied} of them copied, {size_of(done.octets)}")


def _tell_only(store: Store, place: Place, backups: Backups, options: argparse.Namespace) -> int:
    total = 0
    names = store.names()
    for name in names:
        count = len(glance(store.mailbox(name, store.path_of(name)).place)[1])
        total += count
        if options.verbose and not options.as_json:
            say(f"{place.maildir}: {name}: {count} messages")
    if options.as_json:
        print(json.dumps({"maildir": place.maildir, "user": place.user or None, "directory": backups.path,
                          "mailboxes": len(names), "messages": total, "before": len(backups.whole())}))
    elif not options.quiet:
        say(f"{place.maildir}: {total} messages in {len(names)} mailboxes would be in a backup below "
            f"{backups.path}, beside {len(backups.whole())} others")
    return 0
