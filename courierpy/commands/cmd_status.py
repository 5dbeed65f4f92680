"""STATUS.  RFC 9051 6.3.11.  Courier's order of items, whatever was asked."""
from __future__ import annotations

from courierpy import ext
from courierpy.commands import ANY, command
from courierpy.errors import Bad
from courierpy.wire import out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.session import Session
    from courierpy.wire.args import Args

ITEMS = (b"MESSAGES", b"RECENT", b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN")


@command(b"STATUS", when=ANY)
def status(session: Session, args: Args) -> str:
    args.sp()
    name = args.mailbox()
    args.maybe_sp()
    wanted = set()
    if args.at(b"("):
        args.open()
        while True:
            wanted.add(args.word())
            if not args.maybe_sp():
                break
        args.close()
    else:
        wanted.add(args.word())
    args.end()
    plugged = ext.keys("status_items")
    unknown = [item for item in wanted if item not in ITEMS and item not in plugged]
    if unknown:
        raise Bad("Unknown STATUS item.")

    count = session.folders.status(name)
    numbers = (count.messages, count.recent, count.uidnext, count.uidvalidity, count.unseen)
    told = [b"%s %d" % (item, number) for item, number in zip(ITEMS, numbers, strict=True)
            if item in wanted]
    for item in wanted.difference(ITEMS):
        told.append(item + b" " + ext.find("status_items", item)(session, session.folders.open(name), count))
    session.write(b"* STATUS %s (%s)\r\n" % (out.mailbox(name, session.utf8), b" ".join(told)))
    return "STATUS Completed."
