"""LIST-MYRIGHTS.  RFC 8440: LIST ... RETURN (MYRIGHTS), the user's rights on each mailbox behind its line."""
from __future__ import annotations

from courierpy.imap.ext import Extension
from courierpy.imap.grammar import lines, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.listing import Entry, Listing
    from courierpy.imap.session import Session


def _rights(session: Session, args: Args) -> Callable[[Listing], None]:
    def line(entry: Entry) -> bytes:
        rights = out.rights(session.folders.rights(entry.name))
        return lines.data(b"MYRIGHTS", session.mailbox(entry.name), rights)

    def prepare(listing: Listing) -> None:
        listing.behind[b"MYRIGHTS"] = line
    return prepare


EXTENSION = Extension(b"LIST-MYRIGHTS", list_returns={b"MYRIGHTS": _rights})
