"""STATUS.  RFC 9051 6.3.11.  Courier's order of items, whatever was asked."""
from __future__ import annotations

from courierpy.imap import ext
from courierpy.imap.commands import ANY, command
from courierpy.imap.grammar import lines, out
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.session import Session
    from courierpy.maildir.index.statuscache import Status

    Value = Callable[[Session, str, Status], bytes]

# in the order in which they are told; those of extensions follow
ITEMS: dict[bytes, Value] = {
    b"MESSAGES": lambda session, name, count: b"%d" % count.messages,
    b"RECENT": lambda session, name, count: b"%d" % count.recent,
    b"UIDNEXT": lambda session, name, count: b"%d" % count.uidnext,
    b"UIDVALIDITY": lambda session, name, count: b"%d" % count.uidvalidity,
    b"UNSEEN": lambda session, name, count: b"%d" % count.unseen,
}


@command(b"STATUS", when=ANY)
def status(session: Session, args: Args) -> str:
    args.sp()
    name = args.mailbox()
    args.maybe_sp()
    wanted = args.words() if args.at(b"(") else [args.word()]
    args.end()
    items = chosen(wanted)

    session.write(line(session, name, items))
    return "STATUS Completed."


def chosen(words: list[bytes]) -> dict[bytes, Value]:
    """The items of these names, in the order in which they are told.  Raises Bad."""
    wanted = set(words)
    items = {item: value for item, value in ITEMS.items() if item in wanted}
    items.update((item, ext.find("status_items", item)) for item in sorted(wanted.difference(ITEMS)))
    if None in items.values():
        raise Bad("Unknown STATUS item.")
    return items


def line(session: Session, name: str, items: dict[bytes, Value], spelled: bytes = b"") -> bytes:
    """The STATUS line of a mailbox.  ``spelled``: its name as it is told, if that is known.  Raises a store
    error."""
    count = session.folders.status(name)
    told = b" ".join([b"%s %s" % (item, value(session, name, count)) for item, value in items.items()])
    return lines.data(b"STATUS", spelled or out.mailbox(name, session.utf8), b"(%s)" % told)
