"""SPECIAL-USE and CREATE-SPECIAL-USE.  RFC 6154: LIST tells which mailbox is for what, CREATE can say it.

Every LIST and LSUB tells it (RFC 6154 2): many clients ask for nothing else.  XLIST is the older
form of the same, with names of its own for some of the uses.
"""
from __future__ import annotations

from courierpy.imap.commands import ANY, cmd_list, command
from courierpy.imap.ext import Extension
from courierpy.imap.listing import Listing
from courierpy.maildir import specialuse
from courierpy.model.namespaces import INBOX
from courierpy.model.replies import No
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from courierpy.imap.grammar.args import Args
    from courierpy.imap.listing import Entry
    from courierpy.imap.session import Session

_CANONICAL = {use.lower(): use for use in specialuse.USES}


# (setting, trash folder) -> what they say
_TABLES: dict[tuple[str, str], dict[bytes, Sequence[str]]] = {}


def _table(text: str, trash: str) -> dict[bytes, Sequence[str]]:
    if (text, trash) not in _TABLES:
        try:
            found = specialuse.table_of(text, trash)
        except ValueError as error:
            log.warn(f"IMAP_SPECIALUSE: {error}")
            found = specialuse.table_of("", trash)
        _TABLES[text, trash] = found
    return _TABLES[text, trash]


def _found(session: Session, names: Sequence[str]) -> dict[str, list[bytes]]:
    """Mailbox -> its uses, of all mailboxes there are."""
    table = _table(session.settings.text("IMAP_SPECIALUSE"), session.folders.trash)
    return specialuse.uses(session.folders, names, table)


def _use_of(word: bytes) -> bytes:
    """Raises No for one that is none, or that we do not have."""
    use = _CANONICAL.get(word.lower())
    if use is None:
        raise No(f"{word.decode('ascii', 'replace')[:40]} is not supported.", b"USEATTR")
    return use


class _Uses:
    """The uses of an account's mailboxes, found out when the first is asked for."""

    __slots__ = ("_found", "_listing")

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._found: dict[str, list[bytes]] | None = None

    def of(self, entry: Entry) -> list[bytes]:
        found = self._found
        if found is None:
            found = self._found = _found(self._listing.session, self._listing.there)
        return found.get(entry.name, []) if entry.exists else []

    def attribute(self, entry: Entry) -> bytes:
        found = self._found
        if found is not None and entry.name not in found:
            return b""                 # mostly
        return b" ".join(self.of(entry))


# -- METADATA: RFC 6154 5.4

def _told(session: Session, name: str) -> bytes | None:
    return b" ".join(_found(session, session.folders.names()).get(name, ())) or None


def _set(session: Session, name: str, value: bytes | None) -> Callable[[], None]:
    """No use, or an empty list, takes all: also what the mailbox has by its name."""
    wanted = [_use_of(word) for word in (value or b"").split()]
    return lambda: specialuse.give(session.folders, name, list(dict.fromkeys(wanted)))


# -- LIST

def _on_list(listing: Listing) -> None:
    listing.attributes[b"SPECIAL-USE"] = _Uses(listing).attribute


def _select(session: Session, args: Args) -> Callable[[Listing], None]:
    def prepare(listing: Listing) -> None:
        uses = _Uses(listing)
        listing.attributes[b"SPECIAL-USE"] = uses.attribute
        listing.criteria[b"SPECIAL-USE"] = lambda entry: bool(uses.of(entry))
    return prepare


def _return(session: Session, args: Args) -> Callable[[Listing], None]:
    """It is told in any case."""
    return lambda listing: None


# -- CREATE

def _use(session: Session, args: Args) -> Callable[[str], None] | None:
    """RFC 6154 3: ``USE (\\Drafts \\Sent)``."""
    args.sp()
    wanted: list[bytes] = []
    args.open()
    args.maybe_sp()
    while not args.at(b")"):
        wanted.append(_use_of(args.attribute()))
        if not args.maybe_sp():
            break
    args.close()
    if not wanted:
        return None
    return lambda name: specialuse.give(session.folders, name, wanted)


# -- XLIST

# what it calls them, in addition
_OLD = {b"\\Junk": b"\\Spam"}


@command(b"XLIST", when=ANY)
def xlist(session: Session, args: Args) -> str:
    args.sp()
    reference = cmd_list.maybe(args.reference)
    args.sp()
    pattern = cmd_list.maybe(args.list_mailbox)
    args.end()

    listing = Listing(session, b"XLIST")
    uses = _Uses(listing)

    def attribute(entry: Entry) -> bytes:
        if entry.name == INBOX:
            return b"\\Inbox"
        return b" ".join([word for use in uses.of(entry) for word in (use, _OLD.get(use)) if word])
    if pattern is not None:
        cmd_list.tell(listing, reference, [pattern], [lambda listing: listing.attributes.update({
            b"SPECIAL-USE": attribute})])
    return "XLIST completed"


EXTENSION = Extension(
    b"SPECIAL-USE", b"CREATE-SPECIAL-USE", on_list={b"SPECIAL-USE": _on_list},
    list_options={b"SPECIAL-USE": _select}, list_returns={b"SPECIAL-USE": _return},
    create_params={b"USE": _use}, metadata_entries={b"/private/specialuse": (_told, _set)})
