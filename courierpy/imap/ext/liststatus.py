"""LIST-STATUS.  RFC 5819: LIST ... RETURN (STATUS (...)), the STATUS of each mailbox behind its line."""
from __future__ import annotations

from courierpy.imap import permitted
from courierpy.imap.commands import cmd_status
from courierpy.imap.ext import Extension
from courierpy.imap.permitted import NotPermitted
from courierpy.maildir.errors import Denied, FolderMissing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.listing import Entry, Listing
    from courierpy.imap.session import Session


def _status(session: Session, args: Args) -> Callable[[Listing], None]:
    args.sp()
    items = cmd_status.Items(args.words())
    need = permitted.of_each(session, b"STATUS")

    def line(entry: Entry) -> bytes:
        try:
            need(entry.name)
            return cmd_status.line(session, entry.name, items, entry.spelled,
                                   session.folders.status(entry.name))
        except (FolderMissing, Denied, NotPermitted):
            entry.opens = False        # RFC 5819 2: \Noselect, and no STATUS
            return b""

    def prepare(listing: Listing) -> None:
        listing.behind[b"STATUS"] = line
    return prepare


EXTENSION = Extension(b"LIST-STATUS", list_returns={b"STATUS": _status})
