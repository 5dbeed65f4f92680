"""STATUS.  RFC 9051 6.3.11.  Courier's order of items, whatever was asked."""
from __future__ import annotations

import re

from courierpy.imap import ext
from courierpy.imap.commands import ANY, command
from courierpy.imap.grammar import out
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session

LIST = re.compile(rb"\((?=[A-Za-z])[A-Za-z0-9:._ \t-]+\)")
ITEMS = (b"MESSAGES", b"RECENT", b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN")


@command(b"STATUS", when=ANY)
def status(session: Session, args: Args) -> str:
    args.sp()
    name = args.mailbox()
    args.maybe_sp()
    wanted = set(args.take(LIST)[1:-1].upper().split() if args.at(b"(") else (args.word(),))
    args.end()
    others = wanted.difference(ITEMS)
    if not others <= ext.keys("status_items").keys():
        raise Bad("Unknown STATUS item.")

    count = session.folders.status(name)
    numbers = (count.messages, count.recent, count.uidnext, count.uidvalidity, count.unseen)
    told = [b"%s %d" % (item, number) for item, number in zip(ITEMS, numbers, strict=True)
            if item in wanted]
    for item in others:
        told.append(item + b" " + ext.find("status_items", item)(session, session.folders.open(name), count))
    session.write(b"* STATUS %s (%s)\r\n" % (out.mailbox(name, session.utf8), b" ".join(told)))
    return "STATUS Completed."
