"""LIST-EXTENDED.  RFC 5258: what of the mailboxes LIST selects, and what it tells of each."""
from __future__ import annotations

from courierpy.imap.ext import Extension

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.listing import Listing
    from courierpy.imap.session import Session


def _subscribed(session: Session, args: Args) -> Callable[[Listing], None]:
    """Names that are subscribed to, whether there is such a mailbox or not.  RFC 5258 3.1."""
    def prepare(listing: Listing) -> None:
        names = listing.spelled(session.folders.subscriptions())
        known = frozenset(names)
        listing.names += names
        listing.criteria[b"SUBSCRIBED"] = lambda entry: entry.name in known
        _tell(listing, known)
    return prepare


def _return_subscribed(session: Session, args: Args) -> Callable[[Listing], None]:
    return lambda listing: _tell(listing, frozenset(listing.spelled(session.folders.subscriptions())))


def _tell(listing: Listing, names: frozenset[str]) -> None:
    listing.attributes[b"SUBSCRIBED"] = lambda entry: b"\\Subscribed" if entry.name in names else b""


def _recursive(session: Session, args: Args) -> Callable[[Listing], None]:
    def prepare(listing: Listing) -> None:
        listing.recursive = True
    return prepare


def _remote(session: Session, args: Args) -> Callable[[Listing], None]:
    """Those of other servers too, where there are any."""
    return lambda listing: listing.add_remote()


def _nothing(session: Session, args: Args) -> Callable[[Listing], None]:
    """CHILDREN is told in any case."""
    return lambda listing: None


EXTENSION = Extension(
    b"LIST-EXTENDED",
    list_options={b"SUBSCRIBED": _subscribed, b"REMOTE": _remote, b"RECURSIVEMATCH": _recursive},
    list_returns={b"SUBSCRIBED": _return_subscribed, b"CHILDREN": _nothing})
