"""LIST-METADATA.  RFC 9590: LIST ... RETURN (METADATA (...)), the entries of each mailbox behind its line."""
from __future__ import annotations

from courierpy.imap import metadata
from courierpy.imap.ext import Extension
from courierpy.imap.permitted import NotPermitted
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.listing import Entry, Listing
    from courierpy.imap.session import Session


def _metadata(session: Session, args: Args) -> Callable[[Listing], None]:
    wanted = metadata.Wanted()
    args.sp()
    metadata.wanted(args, wanted)
    if not wanted.entries:
        raise Bad("METADATA needs an entry.")

    def line(entry: Entry) -> bytes:
        try:
            return metadata.told(session, entry.name, wanted)
        except NotPermitted:
            return b""

    def prepare(listing: Listing) -> None:
        listing.behind[b"METADATA"] = line
    return prepare


EXTENSION = Extension(b"LIST-METADATA", list_returns={b"METADATA": _metadata})
