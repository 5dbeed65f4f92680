"""courierpy unexpunge: list messages that were expunged and kept (IMAP_EXPUNGE_KEEP), and bring them back.

They come back with their flags, keywords and times, and with new UIDs.
"""
from __future__ import annotations

import json
import os
import re
import time
from functools import partial

from courierpy.admin import complain, maildirs
from courierpy.admin.progress import Bar, say
from courierpy.admin.purge import header
from courierpy.imap.grammar.out import FLAG_NAMES
from courierpy.maildir.formats.keywordlist import is_keyword
from courierpy.message import headers
from courierpy.model.flags import DELETED, NO_KEYWORDS, FlagChange
from courierpy.model.namespaces import INBOX

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from courierpy.admin.maildirs import Place
    from courierpy.maildir.graveyard import Grave
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.maildir.store import Store

UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
FLAGS = {name.lower().decode(): bit for bit, name in FLAG_NAMES}
AT_ONCE = 2000                     # messages that come back together, and are numbered by one writing


def main(words: list[str]) -> int:
    parser = maildirs.parser("unexpunge", __doc__, every=False)
    maildirs.with_mailboxes(parser, "INBOX without")
    parser.add_argument("-l", dest="lists", action="store_true", help="list what is kept")
    parser.add_argument("-a", dest="everything", action="store_true", help="all that is kept")
    parser.add_argument("--uid", dest="uids", action="append", default=[], metavar="UID",
                        type=partial(maildirs.number, least=1, what="a UID"),
                        help="this message, by the UID that it had; may be said several times")
    parser.add_argument("-t", dest="seconds", type=seconds, metavar="TIME",
                        help="what was expunged so lately, as 90m, 3h, 2d, 1w")
    parser.add_argument("-d", dest="undeletes", action="store_true", help="it is not \\Deleted any more")
    parser.add_argument("-f", dest="flag", type=_flag, metavar="FLAG",
                        help="it gets this flag or keyword, by which the user finds it")
    parser.add_argument("-n", dest="only_tells", action="store_true", help="change nothing: only tell")
    parser.add_argument("-v", dest="verbose", action="store_true", help="a line for each message")
    parser.add_argument("-J", dest="as_json", action="store_true", help="a JSON object a line")
    options = parser.parse_args(words)
    if not options.lists and not options.everything and not options.uids and options.seconds is None:
        parser.error("-l, -a, -t TIME or --uid UID was expected")
    return maildirs.Maildirs(options, parser).each(
        lambda store, place: maildirs.each_mailbox(
            store, place, options.mailboxes or [INBOX], lambda name: _unexpunge(store, name, place, options)),
        read_only=options.only_tells or options.lists)


def seconds(word: str) -> int:
    """Of a span of time: a number with m, h, d or w behind it, days without.  For argparse."""
    import argparse
    match = re.fullmatch(r"([0-9]{1,9})([mhdw]?)", word)
    if match is None:
        raise argparse.ArgumentTypeError(f"a time as 90m, 3h, 2d or 1w was expected, not {word!r}")
    return int(match[1]) * UNITS[match[2] or "d"]


def _flag(word: str) -> tuple[int, frozenset[bytes]]:
    import argparse
    bit = FLAGS.get(word.lower())
    if bit is None and not is_keyword(os.fsencode(word)):
        raise argparse.ArgumentTypeError(f"a flag or keyword was expected, not {word!r}")
    return (bit, frozenset()) if bit is not None else (0, frozenset([word.encode()]))


def _unexpunge(store: Store, name: str, place: Place, options: argparse.Namespace) -> int:
    """Of one mailbox.  Raises a store error."""
    wanted = _wanted(store.mailbox(name, store.path_of(name)), options)
    if options.lists or options.only_tells:
        _list(wanted, place, name, options)
    else:
        _restore(store.open(name), wanted, place, options)
    missing = set(options.uids).difference(grave.uid for grave in wanted)
    for uid in sorted(missing):
        complain(f"{place.maildir}: {name}: no message is kept that had UID {uid}")
    return maildirs.FINDINGS if missing else 0


def _wanted(folder: Mailbox, options: argparse.Namespace) -> list[Grave]:
    since = time.time() - options.seconds if options.seconds is not None else 0
    return [grave for grave in folder.place.graveyard().graves()
            if grave.when >= since and (not options.uids or grave.uid in options.uids)]


def _list(graves: list[Grave], place: Place, name: str, options: argparse.Namespace) -> None:
    for grave in graves:
        told = {field: value.decode("utf-8", "replace") for field, value in _fields(grave).items()}
        if options.as_json:
            print(json.dumps({"maildir": place.maildir, "mailbox": name, "uid": grave.uid,
                              "octets": grave.octets, "expunged": grave.when, "arrived": int(grave.arrived),
                              "keywords": sorted(word.decode("utf-8", "replace") for word in grave.words),
                              **told}))
            continue
        say(f"UID: {grave.uid}")
        say(f"\tSize: {grave.octets}")
        say(f"\tSent: {told['date']}")
        say(f"\tRecv: {_time(grave.arrived)}")
        say(f"\tExpg: {_time(grave.when)}")
        for word, field in (("From", "from"), ("To", "to"), ("Subj", "subject")):
            say(f"\t{word}: {told[field]}")


def _fields(grave: Grave) -> dict[str, bytes]:
    try:
        block = header(grave.path)
    except OSError:
        block = b"\n"                  # it came back, or went, just now
    return {name: b" ".join(headers.values(block, name.encode())[:1])
            for name in ("date", "from", "to", "subject")}


def _time(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def _restore(folder: Mailbox, graves: list[Grave], place: Place, options: argparse.Namespace) -> None:
    """Raises a store error."""
    change = FlagChange("+", *(options.flag or (0, NO_KEYWORDS)))
    if options.undeletes:
        for grave in graves:
            grave.bits &= ~DELETED
    bar = Bar(folder.name)
    done = 0
    try:
        for start in range(0, len(graves), AT_ONCE):
            some = graves[start:start + AT_ONCE]
            uids = folder.restore(some, change)[1]
            for grave, uid in zip(some, uids, strict=True):
                folder.place.graveyard().forget(grave)         # the file of its keywords
                if options.verbose and not options.as_json:
                    say(f"{folder.name}: UID {grave.uid} came back as {uid}")
                elif options.as_json:
                    print(json.dumps({"maildir": place.maildir, "mailbox": folder.name, "uid": grave.uid,
                                      "now": uid}))
            done += len(uids)
            bar.show(done, len(graves))
    finally:
        bar.clear()
        folder.close(wait=True)
    if not options.as_json:
        say(f"{place.maildir}: {folder.name}: {done} messages came back")
