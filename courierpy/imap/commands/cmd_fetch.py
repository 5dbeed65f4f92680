"""FETCH and UID FETCH.  RFC 9051 6.4.5, 7.5.2.

What is known of a message without its file goes out by columns: a value a message
for each item, and one template for the line.  Where the bytes of the messages are
asked for, items become a list of functions, and each message is one pass over it;
its file is read once.
"""
from __future__ import annotations

from array import array
from itertools import chain, compress, repeat

from courierpy.imap import ext, updates
from courierpy.imap.commands import READS, SELECTED, USES_SEQ, command
from courierpy.imap.commands.numbers import chosen
from courierpy.imap.grammar import fetchitems, out
from courierpy.maildir.errors import DiskTrouble, MessageDenied, StoreError, Vanished
from courierpy.message.message import AT_ONCE_OCTETS
from courierpy.model.flags import SEEN, FlagChange
from courierpy.model.replies import No
from courierpy.model.section import Section
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, TypeVar

    from courierpy.imap.attributes import Attributes
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.fetchitems import FetchItem
    from courierpy.imap.reading import Opened
    from courierpy.imap.session import Session
    from courierpy.imap.view import View
    from courierpy.message import Message
    from courierpy.message.message import Content

    Line = list[Content]               # its pieces, as large ones are neither copied nor held
    Render = Callable[["Subject"], bytes]
    Piece = Callable[["Subject", Line], None]
    T = TypeVar("T")

CHUNK = 2000                       # messages whose lines are made together, or fewer
VALUES = 16_000                    # that are had at once, at most
TEXT_OCTETS = 4 << 20              # of flags that are told at once
LINE_OCTETS = 1 << 20              # of a line that are made ready before it is told; the rest is read then
WHOLE = Section()
HEADER = Section((), b"HEADER")
TEXT = Section((), b"TEXT")


class Subject:
    """The message being fetched: what its items share.  A context manager, at whose end its
    file is closed.  ``room``: octets that may still be made ready for its line."""

    __slots__ = ("_empty", "_header", "_message", "_reading", "_stat", "room", "seq", "session", "uid")

    def __init__(self, session: Session, seq: int) -> None:
        selected = session.need_selected()
        self.session = session
        self.seq = seq
        self.uid = selected.view.uids[seq - 1]
        self.room = LINE_OCTETS
        self._reading = selected.attributes(session.limits).reading
        self._empty: Message | None = None
        self._message: Opened | None = None
        self._header: Opened | None = None
        self._stat: tuple[int, float] | None = None

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *error: object) -> None:
        for opened in (self._message, self._header):
            if opened is not None:
                opened.close()

    def told(self, tell: Callable[[Message], T], header: bool = False) -> T:
        """What ``tell`` says of the message.  ``header``: it needs no more than its header."""
        if self._empty is not None:
            return tell(self._empty)
        if header and self._message is None:
            if self._header is None:
                self._header = self._reading.open(self.uid, header=True)
            return self._header.told(tell)
        if self._message is None:
            self._message = self._reading.open(self.uid)
        return self._message.told(tell)

    def leave_out_text(self) -> None:
        """The message cannot be read: from now on it is an empty one."""
        from courierpy.message import Message
        self._empty = Message(b"", self.session.limits)

    @property
    def mtime(self) -> float:
        opened = self._message or self._header
        if opened is not None:
            return opened.file.mtime
        if self._stat is None:
            self._stat = self._reading.folder.stat(self.uid)
        return self._stat[1]


def _uid(subject: Subject) -> bytes:
    return b"UID %d" % subject.uid


def _flags(subject: Subject) -> bytes:
    view = subject.session.need_selected().view
    uid = subject.uid
    return b"FLAGS " + out.flag_list(view.bits(subject.seq), view.words(uid), uid in view.recent)


def _internaldate(subject: Subject) -> bytes:
    return b"INTERNALDATE " + out.internaldate(subject.mtime)


def _size(subject: Subject) -> bytes:
    return b"RFC822.SIZE %d" % subject.told(lambda message: message.size)


def _envelope(subject: Subject) -> bytes:
    utf8 = subject.session.utf8
    return b"ENVELOPE " + subject.told(lambda message: message.envelope_bytes(utf8), header=True)


def _body(subject: Subject) -> bytes:
    utf8 = subject.session.utf8
    return b"BODY " + subject.told(lambda message: message.structure_bytes(extended=False, utf8=utf8))


def _bodystructure(subject: Subject) -> bytes:
    utf8 = subject.session.utf8
    return b"BODYSTRUCTURE " + subject.told(lambda message: message.structure_bytes(extended=True, utf8=utf8))


SIMPLE: dict[bytes, Render] = {
    b"UID": _uid, b"FLAGS": _flags, b"INTERNALDATE": _internaldate, b"RFC822.SIZE": _size,
    b"ENVELOPE": _envelope, b"BODY": _body, b"BODYSTRUCTURE": _bodystructure,
}
# RFC822 items in terms of sections, and whether they set \Seen (RFC 3501 6.4.5)
OLD = {b"RFC822": (WHOLE, True), b"RFC822.HEADER": (HEADER, False), b"RFC822.TEXT": (TEXT, True)}


def _section(label: bytes, section: Section, partial: tuple[int, int | None] | None) -> Piece:
    counts_as_header = section.kind not in (b"", b"TEXT")
    header_only = not section.part and section.kind.startswith(b"HEADER")

    def add(subject: Subject, line: Line) -> None:
        most = min(subject.room, AT_ONCE_OCTETS)
        data = subject.told(lambda message: message.content(section, most), header_only)
        if data is None:
            line.append(label + b" {0}\r\n")   # no such part
            return
        if partial is not None:
            start, length = partial
            if not isinstance(data, bytes):
                data = data.cut(start, length)
            else:
                data = data[start:] if length is None else data[start:start + length]
        size = len(data)
        if isinstance(data, bytes):
            subject.room = max(0, subject.room - size)
        if counts_as_header:
            subject.session.headers += size
        else:
            subject.session.body += size
        line += (b"%s {%d}\r\n" % (label, size), out.char8(data) if isinstance(data, bytes) else data)
    return add


def _short(render: Render) -> Piece:
    return lambda subject, line: line.append(render(subject))


def _plugged(name: bytes) -> Render:
    value: Callable[[Session, int], bytes] = ext.find("fetch_items", name)

    def render(subject: Subject) -> bytes:
        return name + b" " + value(subject.session, subject.seq)
    return render


def _plan(items: list[FetchItem]) -> tuple[list[Piece], bool]:
    """Functions that add the items to a line, and whether they set \\Seen."""
    pieces: list[Piece] = []
    sees = False
    for item in items:
        if item.section is not None:
            pieces.append(_section(item.label(), item.section, item.partial))
            sees = sees or not item.peek
        elif item.name in OLD:
            section, marks = OLD[item.name]
            pieces.append(_section(item.name, section, None))
            sees = sees or marks
        else:
            pieces.append(_short(SIMPLE.get(item.name) or _plugged(item.name)))
    return pieces, sees


class _Chunk:
    """Some messages, for columns: their sequence numbers, and their UIDs."""

    __slots__ = ("seqs", "uids", "view")

    def __init__(self, view: View, seqs: Sequence[int], uids: array[int]) -> None:
        self.view = view
        self.seqs = seqs
        self.uids = uids

    def flags(self) -> list[bytes]:
        view = self.view
        if len(self.seqs) == self.seqs[-1] - self.seqs[0] + 1:
            bits: Iterable[int] = view.flags[self.seqs[0] - 1:self.seqs[-1]]
        else:
            bits = [view.flags[seq - 1] for seq in self.seqs]
        texts = list(map(out.FLAG_LISTS.__getitem__, bits))
        if view.keywords or view.recent:
            words, recent = view.keywords, frozenset(view.recent.within(self.uids))
            for at, uid in enumerate(self.uids):
                if uid in words or uid in recent:
                    texts[at] = out.flag_list(view.flags[self.seqs[at] - 1], view.words(uid), uid in recent)
        return texts


# item -> (its place in a line, kind of its values; for a client with UTF-8; are they large?)
COLUMNS: dict[bytes, tuple[bytes, str, str, bool]] = {
    b"ENVELOPE": (b"ENVELOPE ", "envelope", "envelope-utf8", True),
    b"BODYSTRUCTURE": (b"BODYSTRUCTURE ", "structure", "structure-utf8", True),
    b"RFC822.SIZE": (b"RFC822.SIZE %d", "size", "size", False),
    b"INTERNALDATE": (b"INTERNALDATE %s", "date", "date", False),
}


def _in_columns(items: list[FetchItem]) -> bool:
    return all(item.name in (b"UID", b"FLAGS") or item.name in COLUMNS if item.section is None
               else item.peek and not item.section.part and item.section.kind.startswith(b"HEADER.FIELDS")
               and item.partial is None for item in items)


def _fetch_columns(session: Session, attributes: Attributes, items: list[FetchItem], seqs: list[int]) -> None:
    """Tell these."""
    kinds: list[str] = []
    templates = [b"* %d FETCH ("]              # of the texts between the large values
    for item in items:
        templates[-1] += b"" if templates[-1].endswith(b"(") else b" "
        if item.section is not None:
            templates[-1] += item.label().replace(b"%", b"%%") + b" {%d}\r\n"
            templates.append(b"")
            kinds.append(attributes.fields(item.section))
        elif item.name in COLUMNS:
            word, plain, utf8, large = COLUMNS[item.name]
            templates[-1] += word
            if large:
                templates.append(b"")
            kinds.append(utf8 if session.utf8 else plain)
        else:
            templates[-1] += item.name + (b" %d" if item.name == b"UID" else b" %s")
    templates[-1] += b")\r\n"
    view = session.need_selected().view
    uids = _uids(view, seqs)
    flags = any(item.name == b"FLAGS" for item in items)
    for start, stop, values in attributes.pieces(kinds, uids, min(CHUNK, VALUES // len(items) + 1)):
        for first, last in _light(view, uids, start, stop) if flags and view.keywords else ((start, stop),):
            chunk = _Chunk(view, seqs[first:last], uids[first:last])
            taken = [column[first - start:last - start] for column in values]
            columns = _columns(session, items, chunk, taken)
            if attributes.lost or attributes.denied or attributes.sick or attributes.long:
                missing = attributes.lost | attributes.denied | attributes.sick | attributes.long
                there = [uid not in missing for uid in chunk.uids]
                columns = [list(compress(column, there)) for column in columns]
            session.write(b"".join(chain.from_iterable(zip(*_pieces(templates, columns), strict=False))))
        if attributes.long:            # told one by one
            _fetch_files(session, attributes, items, [view.seq(uid) for uid in sorted(attributes.long)])
            attributes.long.clear()


def _uids(view: View, seqs: Sequence[int]) -> array[int]:
    if seqs[-1] - seqs[0] == len(seqs) - 1:
        return view.uids[seqs[0] - 1:seqs[-1]]
    return array("I", [view.uids[seq - 1] for seq in seqs])


def _light(view: View, uids: array[int], start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The same messages in portions whose keywords are not too many to be told at once."""
    octets, keywords = 0, view.keywords
    for at in range(start, stop):
        if uids[at] in keywords:
            octets += sum([len(word) + 1 for word in keywords[uids[at]]])
            if octets > TEXT_OCTETS:
                yield start, at + 1
                start, octets = at + 1, 0
    if start < stop:
        yield start, stop


def _columns(session: Session, items: list[FetchItem], chunk: _Chunk,
             values: list[list[bytes | None]]) -> list[Sequence[Any]]:
    """What the templates take, in their order, and the large values between them."""
    found: list[Sequence[Any]] = [chunk.seqs]
    column = iter(values)
    for item in items:
        if item.name == b"UID":
            found.append(chunk.uids)
        elif item.name == b"FLAGS":
            found.append(chunk.flags())
        elif item.section is not None:
            texts = [out.char8(value or b"") for value in next(column)]
            sizes = list(map(len, texts))
            session.headers += sum(sizes)
            found += [sizes, texts]
        elif item.name == b"RFC822.SIZE":
            found.append(_numbers("q", next(column)))
        elif item.name == b"INTERNALDATE":
            found.append(out.internaldates(_numbers("d", next(column))))
        else:
            found.append([value or b"" for value in next(column)])
    return found


def _numbers(typecode: str, values: list[bytes | None]) -> array[Any]:
    """Of eight octets each."""
    return array(typecode, b"".join([value or bytes(8) for value in values]))


def _pieces(templates: list[bytes], columns: list[Sequence[Any]]) -> Iterator[Iterable[bytes]]:
    """The columns of texts and large values, by turns: those are not copied into a text."""
    at = 0
    for number, template in enumerate(templates):
        count = template.count(b"%") - 2 * template.count(b"%%")
        if count:
            yield map(template.__mod__, zip(*columns[at:at + count], strict=True))
        else:
            yield repeat(template % ())
        at += count
        if number < len(templates) - 1:
            yield columns[at]
            at += 1


def fetch(session: Session, args: Args) -> str:
    args.sp()
    numbers = args.numset()
    args.maybe_sp()
    items = fetchitems.parse(args, ext.keys("fetch_items"))
    modifiers = ext.parameters("fetch_modifiers", session, args) if args.more() else []
    args.end()
    by_uid = args.command == b"UID FETCH"
    seqs = chosen(session, numbers, by_uid)
    for stay in modifiers:
        seqs = stay(seqs)

    if by_uid and not any(item.name == b"UID" for item in items):
        items.insert(0, fetchitems.FetchItem(b"UID"))
    # RFC 2180 4.1.2: what is there is served, whatever is missing
    attributes = session.need_selected().attributes(session.limits)
    attributes.begin()
    if not _in_columns(items):
        _fetch_files(session, attributes, items, seqs, by_uid)
    elif seqs:
        _fetch_columns(session, attributes, items, seqs)
    attributes.refuse(denied=True)
    if attributes.lost and not by_uid:         # RFC 3501 6.4.8: UIDs that are not there are no error
        raise No("Some of the messages no longer exist.", b"EXPUNGEISSUED")
    return "FETCH completed."


def _fetch_files(session: Session, attributes: Attributes, items: list[FetchItem], seqs: list[int],
                 by_uid: bool = False) -> None:
    """The same by reading each message."""
    selected = session.need_selected()
    pieces, sees = _plan(items)
    unseen: list[int] = []
    view = selected.view
    for seq in seqs:
        line: Line = [b"* %d FETCH (" % seq]
        with Subject(session, seq) as subject:
            try:
                for add in pieces:
                    add(subject, line)
                    line.append(b" ")
            except Vanished:
                attributes.lost.add(subject.uid)
                continue
            except (MessageDenied, DiskTrouble) as why:
                attributes.unreadable(subject.uid, isinstance(why, DiskTrouble))
                continue
            line[-1] = b")\r\n"
            session.write_long(line)
        if sees and not view.bits(seq) & SEEN:
            unseen.append(seq)
    if unseen and not selected.readonly:
        _mark_seen(session, unseen, by_uid)


def _mark_seen(session: Session, seqs: list[int], by_uid: bool) -> None:
    selected = session.need_selected()
    view = selected.view
    refused: list[StoreError] = []
    try:
        done = selected.folder.store([view.uids[seq - 1] for seq in seqs], FlagChange("+", SEEN), refused)
    except StoreError as why:
        done, refused = {}, [why]
    if refused:                            # what was asked for is told; a name has no room, or the disk
        log.err(f"\\Seen cannot be set: {refused[0]}")
    updates.write(session, [updates.FlagsChanged(done, with_uid=by_uid)])


command(b"FETCH", when=SELECTED, flags=USES_SEQ | READS, rights="r")(fetch)
command(b"UID FETCH", when=SELECTED, flags=READS, rights="r")(fetch)
