"""What FETCH tells of messages: an item is one record.  RFC 9051 6.4.5, RFC 3501 6.4.5.

A record has a grammar (what may stand behind the name), a column (how the values of many
messages are had at once, of the view or from what ``Attributes`` keeps, without their
files) and a render (the value of one message, whose file may be read).  Those of the
RFCs named above are the table here; extensions plug theirs into ``fetch_items``.
"""
from __future__ import annotations

from array import array
from itertools import repeat

from courierpy.imap.grammar import fetchitems, out
from courierpy.imap.grammar.dates import internaldate
from courierpy.imap.records import Records
from courierpy.maildir.index.segments import END, Texts
from courierpy.message.message import AT_ONCE_OCTETS
from courierpy.model.flags import NO_KEYWORDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    from courierpy.imap.grammar.fetchitems import FetchItem, Grammar
    from courierpy.imap.grammar.numset import NumSet
    from courierpy.imap.reading import Opened, Reading
    from courierpy.imap.session import Session
    from courierpy.message import Message
    from courierpy.message.message import Content

    T = TypeVar("T")
    Kind = Callable[[Session, FetchItem], str | None]
    Known = list[bytes | None] | bytes | Texts
    Values = Callable[["Chunk", Any], Sequence[Any] | Texts]       # of a Known
    Render = Callable[["Subject", FetchItem], list[Content]]

WHOLE_OCTETS = 256 << 10           # of a section that is told as a whole, and made ready as one piece
LINE_OCTETS = 1 << 20              # of a line that are made ready before it is told; the rest is read then


class Column:
    """The values of one item, of many messages at once.

    ``values``: function (Chunk, what Attributes has of each message) giving the values in the order of
    the messages.  ``kind``: function (session, FetchItem) giving the kind of value that Attributes is
    asked for; None, or where it gives None: it is asked for nothing, and ``values`` gets b"".  ``form``: how
    a value stands in the line, ``b"%s"`` or ``b"%d"``.  ``counted``: the values are told as literals.
    ``ended``: what Attributes has of each message ends in END, and ``values`` may get Texts, which are told
    as they are in the index.
    ``repeats``: most messages have the value of another one, and it stands as it is.  ``numeric``: what
    Attributes has are numbers of eight octets, and ``values`` may get these in one run instead of a list.
    ``fits``: function (FetchItem) that says whether this form of the item can be told so.
    """

    __slots__ = ("counted", "ended", "fits", "form", "kind", "numeric", "repeats", "values")

    def __init__(self, values: Values, kind: Kind | None = None, form: bytes = b"%s", counted: bool = False,
                 fits: Callable[[FetchItem], bool] = lambda item: True, repeats: bool = False,
                 numeric: bool = False, ended: bool = False) -> None:
        self.values = values
        self.kind = kind
        self.form = form
        self.counted = counted
        self.ended = ended
        self.numeric = numeric
        self.fits = fits
        self.repeats = repeats

    def asked_for(self, session: Session, item: FetchItem) -> str | None:
        """The kind of value that Attributes is asked for, if it is."""
        return self.kind(session, item) if self.kind is not None else None


class Item:
    """An item of FETCH.

    ``render``: function (Subject, FetchItem) giving the value of this message, in pieces, so that large
    ones are neither copied nor held; None: it is that of the column.  It may raise No, which is the
    command's answer when all other messages have been told.  ``column``: None where the file of each
    message is needed.  ``parse``: function (Args, name) giving the FetchItem, of what stands behind the
    name; by default nothing may.  ``prepare``: function (session), called before anything is told.
    ``reads``: ``render`` looks into the message, even where a column has the value without that.
    """

    __slots__ = ("column", "parse", "prepare", "reads", "render")

    def __init__(self, render: Render | None = None, column: Column | None = None,
                 parse: Grammar = fetchitems.plain, prepare: Callable[[Session], None] | None = None,
                 reads: bool = True) -> None:
        if render is None:
            if column is None:
                raise TypeError("an item needs a render or a column")
            render = _of_column(column)
            reads = False
        self.render = render
        self.column = column
        self.parse = parse
        self.prepare = prepare
        self.reads = reads

    def column_for(self, item: FetchItem) -> Column | None:
        """The column, if there is one for this form of the item."""
        return self.column if self.column is not None and self.column.fits(item) else None


class Modifier:
    """A modifier of FETCH.  RFC 4466 2.4.

    ``stay``: function (Fetching, sequence numbers) giving those of them which are fetched; it may tell
    something first.  ``items``: those that are told besides.  ``check``: function (Fetching), called when
    all is parsed and nothing is done; it raises Bad.  ``prepare``: function (session), called before the
    messages are chosen.  ``chooses``: it counts messages, and comes before others.  ``value``: for other
    modifiers.
    """

    __slots__ = ("check", "chooses", "items", "name", "prepare", "stay", "value")

    def __init__(self, name: bytes, stay: Callable[[Fetching, list[int]], list[int]],
                 items: Sequence[bytes] = (), check: Callable[[Fetching], None] = lambda fetching: None,
                 prepare: Callable[[Session], None] | None = None, chooses: bool = False,
                 value: Any = None) -> None:
        self.chooses = chooses
        self.name = name
        self.stay = stay
        self.items = items
        self.check = check
        self.prepare = prepare
        self.value = value


class Fetching:
    """One FETCH: which messages it names, as UIDs where ``by_uid``, and how that is modified."""

    __slots__ = ("by_uid", "modifiers", "numbers", "session")

    def __init__(self, session: Session, numbers: NumSet, by_uid: bool,
                 modifiers: Sequence[Modifier]) -> None:
        self.session = session
        self.numbers = numbers
        self.by_uid = by_uid
        self.modifiers = {modifier.name: modifier for modifier in modifiers}


class Subject:
    """The message being fetched: what its items share.  A context manager, at whose end its
    file is closed.  ``room``: octets that may still be made ready for its line; none below 0.  ``alone``:
    one item alone looks into it."""

    __slots__ = ("_empty", "_header", "_message", "_path", "_reading", "_stat", "alone", "room", "seq",
                 "session", "uid")

    def __init__(self, session: Session, reading: Reading, seq: int, uid: int, path: bytes = b"",
                 alone: bool = False) -> None:
        """``reading``: of the selected mailbox.  ``path``: where its file was last, if that is known."""
        self.session = session
        self.seq = seq
        self.uid = uid
        self.alone = alone
        self.room = LINE_OCTETS
        self._reading = reading
        self._path = path
        self._empty: Message | None = None
        self._message: Opened | None = None
        self._header: Opened | None = None
        self._stat: tuple[int, float] | None = None

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._message is not None:
            self._message.close()
        if self._header is not None:
            self._header.close()

    def told(self, tell: Callable[[Message], T], header: bool = False) -> T:
        """What ``tell`` says of the message.  ``header``: it needs no more than its header."""
        if self._empty is not None:
            return tell(self._empty)
        if header and self._message is None:
            if self._header is None:
                self._header = self._reading.open(self.uid, True, self._path)
            return self._header.told(tell)
        if self._message is None:
            self._message = self._reading.open(self.uid, False, self._path)
        return self._message.told(tell)

    def whole(self) -> bytes | None:
        """All of it as it stands in a reply, where it is small; nothing else is known of it then."""
        return self._reading.whole(self.uid, WHOLE_OCTETS, self._path)

    def leave_out_text(self) -> None:
        """The message cannot be read: from now on it is an empty one."""
        from courierpy.message import Message
        self._empty = Message(b"", self.session.limits)

    @property
    def mtime(self) -> float:
        """When its file was changed, in seconds since 1970: INTERNALDATE."""
        opened = self._message or self._header
        if opened is not None:
            return opened.file.mtime
        if self._stat is None:
            self._stat = self._reading.folder.finder.stat(self.uid)
        return self._stat[1]


class Chunk:
    """Some messages, for columns: ``seqs`` their sequence numbers, ``uids`` their UIDs, ascending."""

    __slots__ = ("seqs", "session", "uids", "view")

    def __init__(self, session: Session, seqs: Sequence[int], uids: array[int]) -> None:
        self.session = session
        self.view = session.need_selected().view
        self.seqs = seqs
        self.uids = uids


def _of_column(column: Column) -> Render:
    """The value of one message, of a column that has it without the file."""
    def render(subject: Subject, item: FetchItem) -> list[Content]:
        session = subject.session
        chunk = Chunk(session, [subject.seq], array("I", [subject.uid]))
        known: Known = b""
        kind = column.asked_for(session, item)
        if kind is not None:
            known = session.need_selected().attributes(session.limits).values(kind, chunk.uids)
        value, = column.values(chunk, known)
        if column.counted:
            return [b"{%d}\r\n" % len(value), value]
        return [value if column.form == b"%s" else column.form % value]
    return render


# -- the items of the base

def _uid(subject: Subject, item: FetchItem) -> list[Content]:
    return [b"%d" % subject.uid]


def _flags(subject: Subject, item: FetchItem) -> list[Content]:
    view = subject.session.need_selected().view
    uid = subject.uid
    return [out.flag_list(view.bits(subject.seq), view.words(uid), uid in view.recent)]


def _flag_lists(chunk: Chunk, known: list[bytes | None]) -> list[bytes]:
    view, seqs = chunk.view, chunk.seqs
    if len(seqs) == seqs[-1] - seqs[0] + 1:
        bits: Iterable[int] = view.flags[seqs[0] - 1:seqs[-1]]
    else:
        bits = [view.flags[seq - 1] for seq in seqs]
    words = map(view.keywords.get, chunk.uids, repeat(NO_KEYWORDS)) if view.keywords else None
    return out.flag_lists(bits, words, view.recent.marks(chunk.uids))


def _internaldate(subject: Subject, item: FetchItem) -> list[Content]:
    return [internaldate(subject.mtime)]


def _dates(chunk: Chunk, known: list[bytes | None] | bytes) -> list[bytes] | Texts:
    from courierpy.imap import internaldates  # it loads what parses messages
    session = chunk.session
    return texts(chunk, internaldates.told(
        session.need_selected().attributes(session.limits), chunk.uids, known))


def _date_kind(session: Session, item: FetchItem) -> str | None:
    """The times, where the index does not have all dates as they are told."""
    from courierpy.imap import internaldates
    selected = session.need_selected()
    return internaldates.wanted(selected.attributes(session.limits), len(selected.view))


def _size(subject: Subject, item: FetchItem) -> list[Content]:
    return [b"%d" % subject.told(lambda message: message.size)]


def _envelope(subject: Subject, item: FetchItem) -> list[Content]:
    utf8 = subject.session.utf8
    return [subject.told(lambda message: message.envelope_bytes(utf8), header=True)]


def _structure(extended: bool) -> Render:
    def render(subject: Subject, item: FetchItem) -> list[Content]:
        utf8 = subject.session.utf8
        return [subject.told(lambda message: message.structure_bytes(extended=extended, utf8=utf8))]
    return render


def _content(subject: Subject, item: FetchItem) -> list[Content]:
    section, partial = item.value
    counts_as_header = section.kind not in (b"", b"TEXT")
    data: Content | None = None
    if subject.alone and partial is None and not section.kind and not section.part:
        data = subject.whole()
    if data is None:
        most = WHOLE_OCTETS if partial is None and not counts_as_header else AT_ONCE_OCTETS
        most = min(subject.room, most)
        data = subject.told(lambda message: message.content(section, most),
                            not section.part and section.kind.startswith(b"HEADER"))
    if data is None:
        return [b"{0}\r\n"]            # no such part
    if partial is not None:
        data = span_of(data, *partial)
    size = len(data)
    if isinstance(data, bytes):
        subject.room -= size
        data = out.char8(data)
    if counts_as_header:
        subject.session.headers += size
    else:
        subject.session.body += size
    return [b"{%d}\r\n" % size, data]


def span_of(data: Content, start: int, count: int | None) -> Content:
    """``count`` of the octets from ``start`` on, or all of these."""
    if not isinstance(data, bytes):
        return data.cut(start, count)
    return data[start:] if count is None else data[start:start + count]


def texts(chunk: Chunk, known: list[bytes | None] | Texts) -> list[bytes] | Texts:
    """Those of a column that is ``ended``; b"" for a message that is gone."""
    return known if isinstance(known, Texts) else [value[:-len(END)] if value else b"" for value in known]


def _header_fields(chunk: Chunk, known: list[bytes | None] | Texts) -> list[bytes] | Texts:
    found = texts(chunk, known)
    chunk.session.headers += found.octets if isinstance(found, Texts) else sum(map(len, found))
    return found


def _is_header_fields(item: FetchItem) -> bool:
    section, partial = item.value
    return (not item.sees and not section.part and section.kind.startswith(b"HEADER.FIELDS")
            and partial is None)


def numbers(typecode: str, known: Known) -> array[Any]:
    """Values of eight octets each, 0 for a message that is gone."""
    return array(typecode, known if isinstance(known, bytes)
                 else b"".join([value or bytes(8) for value in known]))


def kept(kind: str, utf8: str = "") -> Kind:
    """A kind of Attributes, and another one (``utf8``) for clients that enabled UTF8=ACCEPT."""
    return lambda session, item: utf8 if utf8 and session.utf8 else kind


ITEMS: Records[Item] = Records("fetch_items", {
    b"UID": Item(_uid, Column(lambda chunk, known: chunk.uids, form=b"%d"), reads=False),
    b"FLAGS": Item(_flags, Column(_flag_lists, repeats=True), reads=False),
    b"INTERNALDATE": Item(_internaldate, Column(_dates, _date_kind, numeric=True), reads=False),
    b"RFC822.SIZE": Item(_size, Column(lambda chunk, known: numbers("q", known), kept("size"), b"%d",
                                       numeric=True)),
    b"ENVELOPE": Item(_envelope, Column(texts, kept("envelope", "envelope-utf8"), ended=True)),
    b"BODYSTRUCTURE": Item(_structure(extended=True),
                           Column(texts, kept("structure", "structure-utf8"), ended=True)),
    b"BODY": Item(_structure(extended=False), parse=fetchitems.body),
    # BODY[...] too: its sections are of this row
    fetchitems.SECTION: Item(_content, Column(
        _header_fields, lambda session, item: session.need_selected().attributes(session.limits).asked.fields(
            item.value[0]), counted=True, fits=_is_header_fields, ended=True), fetchitems.section),
    b"RFC822": Item(_content, parse=fetchitems.old(b"", sees=True)),
    b"RFC822.HEADER": Item(_content, parse=fetchitems.old(b"HEADER", sees=False)),
    b"RFC822.TEXT": Item(_content, parse=fetchitems.old(b"TEXT", sees=True)),
})
