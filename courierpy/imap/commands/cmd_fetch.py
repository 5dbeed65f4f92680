"""FETCH and UID FETCH.  RFC 9051 6.4.5, 7.5.2.

What is known of a message without its file goes out by columns: a value a message
for each item, and one form for the lines.  Where the bytes of the messages are
asked for, each message is one pass over the items; its file is read once.
"""
from __future__ import annotations

import time
from array import array
from itertools import chain, compress

from courierpy.imap import ext, updates
from courierpy.imap.commands import NUMBERS, READS, SELECTED, USES_SEQ, Done, command
from courierpy.imap.commands.numbers import chosen, highest
from courierpy.imap.fetch import ITEMS, Chunk, Fetching, Subject
from courierpy.imap.grammar import fetchitems, lines
from courierpy.maildir.errors import DiskTrouble, MessageDenied, StoreError, Vanished
from courierpy.maildir.index.segments import END, NUMBER_OCTETS, Texts
from courierpy.model.flags import NO_KEYWORDS, SEEN, FlagChange
from courierpy.model.replies import No
from courierpy.system import log, pulse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from courierpy.imap.attributes import Attributes
    from courierpy.imap.fetch import Column, Known
    from courierpy.imap.grammar.args import Args
    from courierpy.imap.grammar.fetchitems import FetchItem
    from courierpy.imap.session import Session
    from courierpy.imap.view import View
    from courierpy.maildir.finder import Finder
    from courierpy.message.message import Content

SHORTLY = 0.05                     # seconds behind a look, in which another one is not worth while
CHUNK = 2000                       # messages whose lines are made together, or fewer
AT_ONCE = 200                      # of these, whose lines are one text
VALUES = 16_000                    # that are had at once, at most
LINES_OCTETS = 192 << 10           # of lines that are made together out of the index: as Conn writes them
NAMES = 250                        # of files that are had at once
OFTEN = 16                         # messages that are read before it is said how far it is
KEPT_OCTETS = 1000                 # of a list of items
GONE = b"EXPUNGEISSUED"            # RFC 5530 3
TEXT_OCTETS = 4 << 20              # of what repeats that are told at once: labels may be as long as a command


def _head(view: View) -> bytes:
    """How a line begins; it takes the number of the message."""
    return lines.FETCH if view.numbered else lines.UIDFETCH


class _Lines:
    """Makes the lines of many messages at once.  ``head``: how a line begins; it takes the number.

    All of them are one form that takes all values.  Values that repeat stand in the form, and so do texts
    that are one behind the other in the index: what lines have between two of them is put there at once."""

    __slots__ = ("_form", "_head", "_labels", "_repeated", "_texts")

    def __init__(self, head: bytes, items: Sequence[FetchItem], columns: list[Column]) -> None:
        labels = [item.label.replace(b"%", b"%%") + (b" {%d}\r\n" if column.counted else b" ")
                  for item, column in zip(items, columns, strict=True)]
        labels[1:] = [b" " + label for label in labels[1:]]
        self._head = head
        self._labels = labels
        self._texts = [label + column.form for label, column in zip(labels, columns, strict=True)]
        self._form = head + b"".join(self._texts) + b")\r\n"
        self._repeated = next((at for at, column in enumerate(columns) if column.repeats), -1)

    def of(self, numbers: Sequence[int], told: list[list[Any]]) -> Iterator[bytes]:
        """The lines of the messages with these numbers.  ``told``: for each column what the form takes."""
        rows = [at for at, column in enumerate(told) if isinstance(column[-1], Texts)]
        if rows:
            at = max(rows, key=lambda at: told[at][-1].octets)
            texts: Texts = told[at][-1]
            others = chain.from_iterable([*told[:at], told[at][:-1], *told[at + 1:]])
            yield from self._in_texts(texts, at, [numbers, *[
                [*column] if isinstance(column, Texts) else column for column in others]])
        elif self._repeated >= 0:
            at = self._repeated
            yield from self._in_repeated(told[at][0], [
                numbers, *chain.from_iterable(told[:at] + told[at + 1:])])
        else:
            values = [numbers, *chain.from_iterable(told)]
            count = min(AT_ONCE, TEXT_OCTETS // len(self._form) + 1)
            for start in range(0, len(numbers), count):      # a long text grows from page to page
                some = [column[start:start + count] for column in values]
                yield self._form * len(some[0]) % _by_turns(some)

    def _around(self, at: int) -> tuple[bytes, bytes]:
        """What of the form stands before the value of this column, and what behind it."""
        return (self._head + b"".join(self._texts[:at]) + self._labels[at],
                b"".join(self._texts[at + 1:]) + b")\r\n")

    def _in_texts(self, texts: Texts, at: int, others: list[Sequence[Any]]) -> Iterator[bytes]:
        before, behind = self._around(at)
        between = behind + before
        count = LINES_OCTETS // (texts.octets // len(texts) + len(between)) + 1
        for start in range(0, len(texts), count):
            stop = min(start + count, len(texts))
            form = texts.joined(start, stop).replace(b"%", b"%%").replace(END, between)
            yield b"".join((before, form, behind)) % _by_turns([column[start:stop] for column in others])

    def _in_repeated(self, texts: Sequence[bytes], others: list[Sequence[Any]]) -> Iterator[bytes]:
        before, behind = self._around(self._repeated)
        for start, stop in _light(texts, len(before) + len(behind)):
            portion = texts[start:stop]
            forms = {text: b"".join((before, text.replace(b"%", b"%%"), behind)) for text in {*portion}}
            yield b"".join(map(forms.__getitem__, portion)) % _by_turns(
                [column[start:stop] for column in others])


def _by_turns(columns: list[Sequence[Any]]) -> tuple[Any, ...]:
    """What all of them have of the first message, then of the second, and so on."""
    if len(columns) == 1:
        return tuple(columns[0])
    values = [b""] * (len(columns) * len(columns[0]))
    for at, column in enumerate(columns):
        values[at::len(columns)] = column
    return tuple(values)


def _fetch_columns(session: Session, attributes: Attributes, plan: Plan, columns: list[Column],
                   seqs: list[int]) -> No | None:
    """Tell these.  Gives what an item refused."""
    items = plan.items
    refused: No | None = None
    view = session.need_selected().view
    made = _Lines(_head(view), items, columns)
    uids = _uids(view, seqs)
    asked = [column.asked_for(session, item) for item, column in zip(items, columns, strict=True)]
    runs = [attributes.run(kind, uids) if column.numeric and kind is not None else None
            for kind, column in zip(asked, columns, strict=True)]
    kinds = [kind for kind, run in zip(asked, runs, strict=True) if kind is not None and run is None]
    ended = [column.ended for kind, column, run in zip(asked, columns, runs, strict=True)
             if kind is not None and run is None]
    for start, stop, values in attributes.pieces(kinds, uids, min(CHUNK, VALUES // len(items) + 1),
                                                 ended=ended):
        chunk = Chunk(session, seqs[start:stop], uids[start:stop])
        numbers: Sequence[int] = chunk.seqs if view.numbered else chunk.uids
        left = iter(values)
        told = _told(columns, chunk, [
            run[start * NUMBER_OCTETS:stop * NUMBER_OCTETS] if run is not None
            else next(left) if kind is not None else b"" for kind, run in zip(asked, runs, strict=True)])
        if attributes.lost or attributes.denied or attributes.sick or attributes.long:
            missing = attributes.lost | attributes.denied | attributes.sick | attributes.long
            there = [uid not in missing for uid in chunk.uids]
            numbers = list(compress(numbers, there))
            told = [[list(compress(each, there)) for each in column] for column in told]
        for lines_of_some in made.of(numbers, told):
            session.write(lines_of_some)
        if attributes.long:            # told one by one
            refused = _fetch_files(session, attributes, plan, [
                view.seq(uid) for uid in sorted(attributes.long)]) or refused
            attributes.long.clear()
    return refused


def _told(columns: list[Column], chunk: Chunk, known: list[Known]) -> list[list[Any]]:
    """For each column what its form takes.  ``known``: what Attributes has, for each."""
    found: list[list[Any]] = []
    for column, some in zip(columns, known, strict=True):
        values = column.values(chunk, some)
        if not column.counted:
            found.append([values])
        else:
            found.append([values.lengths() if isinstance(values, Texts) else list(map(len, values)), values])
    return found


def _uids(view: View, seqs: Sequence[int]) -> array[int]:
    if seqs[-1] - seqs[0] == len(seqs) - 1:
        return view.uids[seqs[0] - 1:seqs[-1]]
    return array("I", view.uids_of(seqs))


def _light(texts: Sequence[bytes], more: int) -> Iterator[tuple[int, int]]:
    """(From which, to which) of the same messages, in portions that have not too many octets.  ``more``: that
    each has beside its text."""
    start = octets = 0
    if sum(map(len, texts)) + more * len(texts) > TEXT_OCTETS:
        for at, text in enumerate(texts):
            octets += len(text) + more
            if octets > TEXT_OCTETS:
                yield start, at + 1
                start, octets = at + 1, 0
    if start < len(texts):
        yield start, len(texts)


def _add(session: Session, items: list[FetchItem], *more: Sequence[bytes]) -> None:
    """Items that are told besides, if they are not asked for: ``more``, and those of what is enabled."""
    more = (*more, *[besides(session) for besides in session.enabled.fetch_besides])
    asked = {item.name for item in items} if more else set()
    for name in chain.from_iterable(more):
        if name not in asked:
            items.append(fetchitems.FetchItem(name))
            asked.add(name)


class Plan:
    """What is told of each message: ``items``, and what follows from them.

    ``columns``: of each item; None where one of them needs the files.  ``pieces``: of each item what stands
    before its value in the line, and the function that gives this.  ``prepares``: what is called before
    anything is told.  ``flags``, ``has_uid``: is this asked for?  ``sees``: is \\Seen set?  ``alone``: does
    one of them alone look into the message?"""

    __slots__ = ("_with_uid", "alone", "columns", "flags", "has_uid", "items", "pieces", "prepares", "sees")

    def __init__(self, items: Sequence[FetchItem]) -> None:
        records = [ITEMS.need(item.name) for item in items]
        columns = [column for record, item in zip(records, items, strict=True)
                   if (column := record.column_for(item)) is not None]
        names = {item.name for item in items}
        self.items = items
        self.alone = sum([record.reads for record in records]) == 1
        self.columns = columns if len(columns) == len(items) else None
        self.pieces = [(b" " + item.label + b" " if at else item.label + b" ", record.render, item)
                       for at, (record, item) in enumerate(zip(records, items, strict=True))]
        self.prepares = [record.prepare for record in records if record.prepare is not None]
        self.flags = b"FLAGS" in names
        self.has_uid = b"UID" in names
        self.sees = any(item.sees for item in items)
        self._with_uid: Plan | None = None

    def with_uid(self) -> Plan:
        """With the UID, before what is asked for."""
        if self.has_uid:
            return self
        if self._with_uid is None:
            self._with_uid = Plan([fetchitems.FetchItem(b"UID"), *self.items])
        return self._with_uid


_asked: tuple[bytes, Plan] = b"", Plan([])


def _same_plan(args: Args) -> Plan | None:
    """That of the last command, where this one asks for the same: who asks for each message alone asks for
    the same of each."""
    said, plan = _asked
    return plan if said and args.is_rest(said) else None


def _keep(said: bytes, plan: Plan) -> None:
    """The last command said so.  What an extension reads may go with it."""
    global _asked
    if len(said) <= KEPT_OCTETS and all(item.name in ITEMS for item in plan.items):
        _asked = said, plan


def fetch_messages(session: Session, args: Args) -> Done:
    args.sp()
    numbers = args.messages()
    args.maybe_sp()
    plan = _same_plan(args)
    modifiers: list[Any] = []
    if plan is None:
        before = args.rest_text()
        plan = Plan(fetchitems.parse(args, ITEMS.find))
        if args.at_end():
            if args.is_one_line:
                _keep(before, plan)
        else:
            modifiers = ext.parameters("fetch_modifiers", session, args) if args.more() else []
            args.end()
    # what was over before the command came is not told as if it were so still
    told, began = False, 0.0
    if plan.flags and not session.framer.has_more:
        began = time.monotonic()
        told = session.tell(expunges=False, waits=False)
    by_uid = args.command == b"UID FETCH"
    seqs = chosen(session, numbers, by_uid)
    if modifiers:
        fetching = Fetching(session, numbers, by_uid, modifiers)
        for modifier in modifiers:
            modifier.check(fetching)

    # a line that begins with the UID need not have it twice
    if by_uid and session.manners.numbered:
        plan = plan.with_uid()
    for prepare in (*[modifier.prepare for modifier in modifiers], *plan.prepares):
        if prepare is not None:
            prepare(session)
    if modifiers or session.enabled.fetch_besides:
        items = [*plan.items]
        _add(session, items, *[modifier.items for modifier in modifiers])
        plan = Plan(items)
        for modifier in sorted(modifiers, key=lambda modifier: not modifier.chooses):
            seqs = modifier.stay(fetching, seqs)
    seqs, code = highest(session, seqs)
    refused = _tell_items(session, plan, seqs, by_uid)
    attributes = session.need_selected().attributes(session.limits)
    if attributes.denied:
        session.write(lines.told(lines.NO, "Some of the messages may not be read.", b"NOPERM"))
    if refused is not None:
        raise refused
    text = "FETCH completed." if code is None else "FETCH completed in part."
    # clients take a NO for a mailbox that cannot be read (neomutt); RFC 3501 6.4.8: UIDs that are not there
    # are no error
    if code is None and not by_uid and attributes.lost:
        code, text = GONE, "Some of the messages no longer exist."
    return Done(text, code, told=told and time.monotonic() - began < SHORTLY)


def tell_of_new(session: Session, items: Sequence[FetchItem], uids: Iterable[int]) -> None:
    """The FETCH lines of messages that are new, for which no command asked: of each what was not told by
    the same look.  RFC 5465 5.2."""
    selected = session.need_selected()
    told = selected.fetched
    left: dict[tuple[bytes, ...], tuple[list[FetchItem], list[int]]] = {}
    for uid in uids:
        wanted = {(uid, item.label, item.value): item for item in items}
        rest = [item for key, item in wanted.items() if key not in told]
        if rest:
            told.update(wanted)
            left.setdefault(tuple(item.label for item in rest), (rest, []))[1].append(selected.view.seq(uid))
    for some, seqs in left.values():
        _add(session, some)
        try:
            _tell_items(session, Plan(some), seqs)
        except StoreError as why:
            log.err(str(why))
        except No as why:
            log.err(f"of a new message: {why.text}")


def _tell_items(session: Session, plan: Plan, seqs: list[int], by_uid: bool = False) -> No | None:
    """The FETCH lines of these messages.  Gives what was refused of some of them; raises No or a StoreError
    where the disk does not give some, or none of them can be had: what is there is served, whatever is
    missing (RFC 2180 4.1.2)."""
    attributes = session.need_selected().attributes(session.limits)
    attributes.begin()
    refused: No | None = None
    if plan.columns is None:
        refused = _fetch_files(session, attributes, plan, seqs, by_uid)
    elif seqs:
        refused = _fetch_columns(session, attributes, plan, plan.columns, seqs)
    others = len(seqs) > len(attributes.lost) + len(attributes.denied)
    attributes.refuse(denied=not others)
    if attributes.denied:
        _tell_denied(session, attributes, plan)
    if attributes.lost and not others and not by_uid:
        raise No("The messages no longer exist.", GONE)
    return refused


def _tell_denied(session: Session, attributes: Attributes, plan: Plan) -> None:
    """Of messages that may not be read, beside others that were told: what is known without a look into them.
    A client that missed them might take them for removed; one that hears NO (neomutt) opens no mailbox."""
    denied = sorted(attributes.denied)
    rest = [item for item in plan.items if not ITEMS.need(item.name).reads]
    if rest:
        view, plan = session.need_selected().view, Plan(rest)
        attributes.denied.clear()
        if plan.columns is not None:
            _fetch_columns(session, attributes, plan, plan.columns, [view.seq(uid) for uid in denied])
        attributes.denied.update(denied)


def _fetch_files(session: Session, attributes: Attributes, plan: Plan, seqs: list[int],
                 by_uid: bool = False) -> No | None:
    """The same by reading each message."""
    selected = session.need_selected()
    pieces, sees, alone = plan.pieces, plan.sees, plan.alone
    unseen: list[int] = []
    refused: No | None = None
    view = selected.view
    head = _head(view)
    reading, numbered = attributes.reading, view.numbered
    messages: Iterable[tuple[int, int, bytes]] = [(seqs[0], view.messages.uids[seqs[0] - 1], b"")] \
        if len(seqs) == 1 else _ahead(reading.finder, view, seqs)
    for at, (seq, uid, path) in enumerate(messages):
        if at % OFTEN == 1:
            pulse.step(at, len(seqs))
        line: list[Content] = [head % (seq if numbered else uid)]
        subject = Subject(session, reading, seq, uid, path, alone)
        try:
            for label, render, item in pieces:
                line.append(label)
                line += render(subject, item)
            line.append(b")\r\n")
            session.write_long(line)
        except Vanished:
            attributes.lost.add(uid)
            continue
        except (MessageDenied, DiskTrouble) as why:
            attributes.unreadable(uid, isinstance(why, DiskTrouble))
            continue
        except No as why:
            refused = why
            continue
        finally:
            subject.close()
        if sees and not view.bits(seq) & SEEN:
            unseen.append(seq)
    if unseen and not selected.readonly and "s" in selected.rights:     # RFC 4314 4
        _mark_seen(session, unseen, by_uid)
    return refused


def _ahead(finder: Finder, view: View, seqs: list[int]) -> Iterator[tuple[int, int, bytes]]:
    """(Sequence number, UID, path of the file as far as it is known) of each of these messages.  The names of
    many are had at once."""
    for start in range(0, len(seqs), NAMES):
        some = seqs[start:start + NAMES]
        uids = view.uids_of(some)
        try:
            paths = finder.paths(uids)
        except StoreError:
            paths = {}                 # of each message it is said when that is opened
        for seq, uid in zip(some, uids, strict=True):
            yield seq, uid, paths.get(uid, b"")


def _mark_seen(session: Session, seqs: list[int], by_uid: bool) -> None:
    selected = session.need_selected()
    view = selected.view
    refused: list[StoreError] = []
    try:
        done = selected.folder.store(view.uids_of(seqs), FlagChange("+", SEEN), refused)
    except StoreError as why:
        done, refused = {}, [why]
    if refused:                            # what was asked for is told; a name has no room, or the disk
        log.err(f"\\Seen cannot be set: {refused[0]}")
    # with what others set before a session that slept has looked
    known = NO_KEYWORDS.union(*[words for _, words in done.values()])
    updates.write(session, [updates.NewKeywords(known), updates.FlagsChanged(done, with_uid=by_uid)])


command(b"FETCH", when=SELECTED, flags=USES_SEQ | NUMBERS | READS, rights="r")(fetch_messages)
command(b"UID FETCH", when=SELECTED, flags=READS, rights="r")(fetch_messages)
