"""FETCH and UID FETCH.  RFC 9051 6.4.5, 7.5.2.

Items are turned into a list of functions once; then each message is one pass
over that list.  A file is read only when an item needs it, and once.
"""
from __future__ import annotations

from courierpy import ext, sync
from courierpy.commands import SELECTED, USES_SEQ, command
from courierpy.commands.numbers import chosen
from courierpy.errors import No
from courierpy.kinds import SEEN, FlagChange, Section
from courierpy.maildir.errors import Vanished
from courierpy.wire import fetchitems, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.message import Message
    from courierpy.session import Session
    from courierpy.wire.args import Args
    from courierpy.wire.fetchitems import FetchItem

    Render = Callable[["Subject"], bytes]

WHOLE = Section()
HEADER = Section((), b"HEADER")
TEXT = Section((), b"TEXT")


class Subject:
    """The message being fetched: what its items share."""

    __slots__ = ("_header", "_message", "_stat", "seq", "session", "uid")

    def __init__(self, session: Session, seq: int) -> None:
        self.session = session
        self.seq = seq
        self.uid = session.need_selected().view.uids[seq - 1]
        self._message: Message | None = None
        self._header: Message | None = None
        self._stat: tuple[int, float] | None = None

    @property
    def message(self) -> Message:
        if self._message is None:
            from courierpy.message import Message
            self._message = Message(self.session.need_selected().folder.read(self.uid),
                                    self.session.limits)
        return self._message

    @property
    def header(self) -> Message:
        """The message as far as its header goes; the rest may be missing."""
        if self._message is not None:
            return self._message
        if self._header is None:
            from courierpy.message import Message
            self._header = Message(self.session.need_selected().folder.read(self.uid, header=True),
                                   self.session.limits)
        return self._header

    @property
    def mtime(self) -> float:
        if self._stat is None:
            self._stat = self.session.need_selected().folder.stat(self.uid)
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
    return b"RFC822.SIZE %d" % subject.message.size


def _envelope(subject: Subject) -> bytes:
    utf8 = subject.session.utf8
    return b"ENVELOPE " + out.render(subject.header.envelope(utf8), utf8)


def _body(subject: Subject) -> bytes:
    utf8 = subject.session.utf8
    return b"BODY " + out.render(subject.message.structure(extended=False, utf8=utf8), utf8)


def _bodystructure(subject: Subject) -> bytes:
    utf8 = subject.session.utf8
    return b"BODYSTRUCTURE " + out.render(subject.message.structure(extended=True, utf8=utf8), utf8)


SIMPLE: dict[bytes, Render] = {
    b"UID": _uid, b"FLAGS": _flags, b"INTERNALDATE": _internaldate, b"RFC822.SIZE": _size,
    b"ENVELOPE": _envelope, b"BODY": _body, b"BODYSTRUCTURE": _bodystructure,
}
# RFC822 items in terms of sections, and whether they set \Seen (RFC 3501 6.4.5)
OLD = {b"RFC822": (WHOLE, True), b"RFC822.HEADER": (HEADER, False), b"RFC822.TEXT": (TEXT, True)}


def _section(label: bytes, section: Section, partial: tuple[int, int | None] | None) -> Render:
    counts_as_header = section.kind not in (b"", b"TEXT")

    header_only = not section.part and section.kind.startswith(b"HEADER")

    def render(subject: Subject) -> bytes:
        data = (subject.header if header_only else subject.message).section(section)
        if data is None:
            return label + b" {0}\r\n"         # no such part
        if partial is not None:
            start, length = partial
            data = data[start:] if length is None else data[start:start + length]
        if counts_as_header:
            subject.session.headers += len(data)
        else:
            subject.session.body += len(data)
        return label + b" " + out.literal(data)
    return render


def _plugged(name: bytes) -> Render:
    value: Callable[[Session, int], bytes] = ext.find("fetch_items", name)

    def render(subject: Subject) -> bytes:
        return name + b" " + value(subject.session, subject.seq)
    return render


def _plan(items: list[FetchItem]) -> tuple[list[Render], bool]:
    """Functions for the items, and whether they set \\Seen."""
    renders: list[Render] = []
    sees = False
    for item in items:
        if item.section is not None:
            renders.append(_section(item.label(), item.section, item.partial))
            sees = sees or not item.peek
        elif item.name in OLD:
            section, marks = OLD[item.name]
            renders.append(_section(item.name, section, None))
            sees = sees or marks
        elif item.name in SIMPLE:
            renders.append(SIMPLE[item.name])
        else:
            renders.append(_plugged(item.name))
    return renders, sees


def fetch(session: Session, args: Args) -> str:
    args.sp()
    numbers = args.numset()
    args.maybe_sp()
    items = fetchitems.parse(args, ext.keys("fetch_items"))
    args.end()
    by_uid = args.command == b"UID FETCH"
    seqs = chosen(session, numbers, by_uid)

    selected = session.need_selected()
    renders, sees = _plan(items)
    if by_uid and _uid not in renders:
        renders.insert(0, _uid)
    lost = False
    unseen: list[int] = []
    view = selected.view
    for seq in seqs:
        subject = Subject(session, seq)
        try:
            line = b" ".join([render(subject) for render in renders])
        except Vanished:
            lost = True           # RFC 2180 4.1.2: the others are served
            continue
        session.write(b"* %d FETCH (%s)\r\n" % (seq, line))
        if sees and not view.bits(seq) & SEEN:
            unseen.append(seq)
    if unseen and not selected.readonly:
        _mark_seen(session, unseen, by_uid)
    if lost:
        raise No("Some of the messages no longer exist.", b"EXPUNGEISSUED")
    return "FETCH completed."


def _mark_seen(session: Session, seqs: list[int], by_uid: bool) -> None:
    selected = session.need_selected()
    view = selected.view
    done = selected.folder.store([view.uids[seq - 1] for seq in seqs], FlagChange("+", SEEN))
    for seq in seqs:
        state = done.get(view.uids[seq - 1])
        if state is not None:
            view.set(seq, *state)
            session.write(sync.fetch_flags(session, seq, by_uid))


command(b"FETCH", when=SELECTED, flags=USES_SEQ)(fetch)
command(b"UID FETCH", when=SELECTED)(fetch)
