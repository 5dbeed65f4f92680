"""courierpy path: from the name of a mailbox to its directory, and back.

With -u USER all other words are mailboxes, else the first of them is the MAILDIR; INBOX where none is named.
"""
from __future__ import annotations

import json
import os

from courierpy.admin import complain, maildirs
from courierpy.admin.progress import say
from courierpy.maildir.errors import StoreError
from courierpy.model.namespaces import INBOX

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from courierpy.admin.maildirs import Place
    from courierpy.maildir.store import Store


def main(words: list[str]) -> int:
    parser = maildirs.parser("path", __doc__, every=False)
    parser.add_argument("-D", dest="kinds", action="append_const", const="data", help="its directory")
    parser.add_argument("-M", dest="kinds", action="append_const", const="index", help="that of its index")
    parser.add_argument("-U", dest="kinds", action="append_const", const="user", help="the Maildir")
    parser.add_argument("-S", dest="scripts", action="store_true",
                        help="that of its Sieve scripts: there are none here, exit status 1")
    parser.add_argument("-A", dest="kinds", action="store_const", const=["data", "index", "user"],
                        help="all of these")
    parser.add_argument("-7", dest="utf7", action="store_true", help="names are in modified UTF-7")
    parser.add_argument("-p", dest="backwards", action="store_true",
                        help="directories are named, and names of mailboxes are told")
    parser.add_argument("-q", dest="quiet", action="store_true", help="no word of what is not there")
    parser.add_argument("-s", dest="stops", action="store_true", help="end at the first that is not there")
    parser.add_argument("-j", "-J", dest="as_json", action="store_true", help="a JSON object a line")
    options = parser.parse_args(words)
    if options.users:
        names, options.maildirs = options.maildirs, []
    else:
        names, options.maildirs = options.maildirs[1:], options.maildirs[:1]
    if options.backwards and not names:
        parser.error("a directory was expected")
    if options.scripts:
        if not options.quiet:
            complain("no mailbox has Sieve scripts: this program has no Sieve")
        return maildirs.FINDINGS
    return maildirs.Maildirs(options, parser).each(
        lambda store, place: _work(store, place, options, names or [INBOX]), read_only=True)


def _work(store: Store, place: Place, options: argparse.Namespace, words: list[str]) -> int:
    status = 0
    for word in words:
        found = _name_at(store, word) if options.backwards else _name(store, word, options.utf7)
        if found is None or not store.exists(found):
            if not options.quiet:
                complain(f"{place.maildir}: {word}: there is no such mailbox")
            status = maildirs.FINDINGS
            if options.stops:
                break
            continue
        path = store.path_of(found)
        known = {"data": os.path.abspath(path), "user": os.getcwd(),
                 "index": os.path.abspath(store.options.index(path).path)}
        if options.as_json:
            print(json.dumps({"mailbox": found, **known}))
        elif options.backwards:
            say(found)
        else:
            for kind in options.kinds or ["data"]:
                say(known[kind])
    return status


def _name(store: Store, word: str, utf7: bool) -> str | None:
    from courierpy.model import utf7 as coding
    try:
        return maildirs.spelled(store, coding.decode(os.fsencode(word)) if utf7 else word)
    except ValueError:
        return None


def _name_at(store: Store, word: str) -> str | None:
    """The mailbox whose directory, or a directory or file in that, is ``word``; below the Maildir where
    it begins with no slash."""
    wanted = os.path.abspath(word)
    best: tuple[int, str] | None = None
    for name in store.names():
        try:
            path = os.path.abspath(store.path_of(name))
        except StoreError:
            continue
        if (wanted == path or wanted.startswith(path + "/")) and (best is None or len(path) > best[0]):
            best = len(path), name
    return best[1] if best is not None else None
