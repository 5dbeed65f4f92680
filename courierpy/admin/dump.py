"""courierpy dump: what is known of the messages of a mailbox, a line for each.

The columns are: UID, flags, octets, arrival, MODSEQ, name of the file.  Nothing is changed: what has no
number yet has a hyphen.  With --uid or --seq the ENVELOPE and BODYSTRUCTURE of that message follow.
"""
from __future__ import annotations

import json
import os
import time
from functools import partial

from courierpy.admin import complain, maildirs
from courierpy.admin.progress import say
from courierpy.maildir.glance import glance
from courierpy.maildir.index.modseqlog import ModseqLog
from courierpy.maildir.names import SUFFIXES
from courierpy.message import Message
from courierpy.message.mime import Limits
from courierpy.model.namespaces import INBOX
from courierpy.system.regular import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from courierpy.admin.maildirs import Place
    from courierpy.maildir.glance import Glanced
    from courierpy.maildir.mailbox import Mailbox
    from courierpy.maildir.store import Store


def main(words: list[str]) -> int:
    parser = maildirs.parser("dump", __doc__)
    number = partial(maildirs.number, least=1, what="a number from 1 on")
    maildirs.with_mailboxes(parser, "INBOX without")
    parser.add_argument("--uid", type=number, metavar="UID", help="this message alone, and what it says")
    parser.add_argument("--seq", type=number, metavar="NUMBER", help="the same, by its place in the mailbox")
    parser.add_argument("-c", dest="compares", action="store_true",
                        help="compare with the index; exit status 1 where that says something else")
    parser.add_argument("-q", dest="quiet", action="store_true", help="no line for each message")
    parser.add_argument("-J", dest="as_json", action="store_true", help="a JSON object a line")
    options = parser.parse_args(words)
    work = maildirs.Maildirs(options, parser)
    limits = Limits.of(work.settings)
    return work.each(lambda store, place: _work(store, place, options, limits), read_only=True)


def _work(store: Store, place: Place, options: argparse.Namespace, limits: Limits) -> int:
    return max((_dump(store.mailbox(name, store.path_of(name)), place, options, limits)
                for name in maildirs.chosen(store, options.mailboxes or [INBOX])), default=0)


def _dump(folder: Mailbox, place: Place, options: argparse.Namespace, limits: Limits) -> int:
    database, messages = glance(folder.place)
    columns = folder.index.load()
    modseqs = _modseqs(folder, database.uidvalidity)
    if not options.as_json:
        say(f"{place.maildir}: {folder.name}: UIDVALIDITY {database.uidvalidity}, "
            f"UIDNEXT {database.uidnext}, {len(messages)} messages, "
            f"{sum(not one.uid for one in messages)} without a number"
            + ("" if columns is not None else ", no index"))
    elif not options.uid and not options.seq:
        print(json.dumps({"maildir": place.maildir, "mailbox": folder.name, "messages": len(messages),
                          "uidvalidity": database.uidvalidity, "uidnext": database.uidnext,
                          "unnumbered": sum(not one.uid for one in messages), "index": columns is not None}))
    if options.uid:
        messages = [one for one in messages if one.uid == options.uid]
    elif options.seq:
        messages = messages[options.seq - 1:options.seq]
    if (options.uid or options.seq) and not messages:
        complain(f"{place.maildir}: {folder.name}: there is no such message")
        return maildirs.FINDINGS
    for one in messages if not options.quiet else ():
        _tell(one, folder, modseqs, options, limits)
    status = 0
    if options.compares and columns is not None and columns.head.stamps == folder.place.stamps(sure=False):
        known = dict(zip(columns.messages.uids, columns.messages.flags, strict=True))
        for one in messages:
            if one.uid and known.get(one.uid) != one.bits:
                say(f"{folder.name}: uid {one.uid}: the index says something else")
                status = maildirs.FINDINGS
    return status


def _modseqs(folder: Mailbox, uidvalidity: int) -> dict[int, int]:
    """By UID, as they were last given; none where nobody ever asked for them."""
    log = ModseqLog(folder.index)
    try:
        log.catch_up()
        history = log.history
    finally:
        log.close()
    if history is None or history.uidvalidity != uidvalidity:
        return {}
    return dict(zip(history.messages.uids, history.modseqs, strict=True))


def _tell(one: Glanced, folder: Mailbox, modseqs: dict[int, int], options: argparse.Namespace,
          limits: Limits) -> None:
    letters = SUFFIXES[one.bits].removeprefix(b":2,").decode()
    file = os.fsdecode(os.path.basename(one.path))
    envelope = structure = ""
    if options.uid or options.seq:
        message = Message(whole(os.fsdecode(one.path)), limits)
        envelope = message.envelope_bytes().decode("utf-8", "backslashreplace")
        structure = message.structure_bytes(True).decode("utf-8", "backslashreplace")
    if options.as_json:
        row = {"mailbox": folder.name, "uid": one.uid or None, "flags": letters, "octets": one.octets,
               "arrived": one.arrived, "modseq": modseqs.get(one.uid), "file": file}
        print(json.dumps(row | ({"envelope": envelope, "bodystructure": structure} if envelope else {})))
        return
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.arrived))
    say(f"{one.uid or '-'}\t{letters or '-'}\t{one.octets}\t{when}\t{modseqs.get(one.uid, '-')}\t{file}")
    if envelope:
        say(f"ENVELOPE {envelope}")
        say(f"BODYSTRUCTURE {structure}")
