"""STATUS.  RFC 9051 6.3.11.  Courier's order of items, whatever was asked."""
from __future__ import annotations

from operator import attrgetter

from courierpy.imap import ext, permitted
from courierpy.imap.commands import ANY, command
from courierpy.imap.grammar import lines
from courierpy.imap.grammar.args import Args
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from courierpy.imap.session import Session
    from courierpy.maildir.index.statuscache import Status

    Value = Callable[[Session, str, Status], bytes]

COMPLETED = "STATUS Completed."
RIGHT = "r"                    # that the user needs on the mailbox
# the attributes of Status, in the order in which they are told; the items of extensions follow
COUNTS = (b"MESSAGES", b"RECENT", b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN")


class Items:
    """What is told of each mailbox that a command is about.  ``are_counts``: Status alone says all of it."""

    __slots__ = ("_counts", "_form", "_others", "are_counts")

    def __init__(self, words: Collection[bytes]) -> None:
        """Raises Bad for a word that is no item."""
        counts = [word for word in COUNTS if word in words]
        self._form = b" ".join([word + b" %d" for word in counts])
        self._counts = attrgetter(*[word.decode().lower() for word in counts]) if counts else None
        self._others: list[tuple[bytes, Value]] = [
            (word, ext.find("status_items", word)) for word in sorted({*words}.difference(COUNTS))]
        self.are_counts = not self._others
        if any(value is None for _, value in self._others):
            raise Bad("Unknown STATUS item.")

    def told(self, session: Session, name: str, count: Status) -> bytes:
        """Items and values.  Raises a store error."""
        told = self._form % self._counts(count) if self._counts is not None else b""
        if self._others:
            others = [b"%s %s" % (item, value(session, name, count)) for item, value in self._others]
            told = b" ".join([told, *others] if told else others)
        return told


@command(b"STATUS", when=ANY, named=(RIGHT,))
def status(session: Session, args: Args) -> str:
    name, wanted = args.mailbox_and_words()
    items, written = _items(wanted), session.mailbox(name)

    permitted.named(session, args.command, name)
    count = session.folders.status(name)
    told = line(session, name, items, written, count)
    session.write(told)
    if items.are_counts:
        session.again.keep(args, Asked(args, name, items, written, count, told))
    return COMPLETED


class Asked(Args):
    """A STATUS as it was read.  Its line is told again as long as the counts are those that it was made
    of."""

    __slots__ = ("box", "count", "items", "told", "written")

    def __init__(self, args: Args, box: str, items: Items, written: bytes, count: Status,
                 told: bytes) -> None:
        self.command, self.spelled, self.mailboxes = args.command, args.spelled, args.mailboxes
        self.box, self.items, self.written, self.count, self.told = box, items, written, count, told

    def again(self, session: Session) -> str:
        permitted.need(session, self.command, RIGHT, self.box)
        count = session.folders.status(self.box)
        if count != self.count:
            self.told = line(session, self.box, self.items, self.written, count)
            self.count = count
        session.conn.write(self.told)
        return COMPLETED


_asked: tuple[list[bytes], Items] = [], Items(())


def _items(words: list[bytes]) -> Items:
    """Of these words.  Who asks about all of its mailboxes asks the same about each.  Raises Bad."""
    global _asked
    if _asked[0] != words:
        _asked = words, Items(words)
    return _asked[1]


def line(session: Session, name: str, items: Items, written: bytes, count: Status) -> bytes:
    """The STATUS line of a mailbox that the user may ask about, which has these counts.  ``written``: its
    name as it is told.  Raises a store error."""
    return lines.data(b"STATUS", written, b"(%s)" % items.told(session, name, count))
