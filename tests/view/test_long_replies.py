"""A reply that grows with the mailbox is made while it is written: never is the whole of it in memory."""
from __future__ import annotations

import tracemalloc
from array import array
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from courierpy.imap import commands
from courierpy.imap.commands import cmd_fetch, cmd_list
from courierpy.imap.grammar import lines
from courierpy.imap.grammar.args import Args
from courierpy.imap.grammar.fetchitems import FetchItem
from courierpy.imap.manners import Manners
from courierpy.imap.session import Session
from courierpy.imap.updates import FlagsChanged
from courierpy.imap.view import View
from courierpy.maildir.index.segments import END, Texts
from courierpy.message import threads
from courierpy.model.flags import SEEN
from courierpy.model.messages import Messages
from courierpy.system.settings import Settings
from tests.conftest import args_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COUNT = 100_000
FOLDERS = 5_000
FIRST = 4_000_000_000              # UIDs may be as long as this
PIECE_OCTETS = 200_000


class Sink:
    """Takes what is written, and has only counted it."""

    def __init__(self) -> None:
        self.octets = 0
        self.largest = 0
        self.last = b""
        self.midway = False

    def write(self, data: bytes) -> None:
        self.octets += len(data)
        self.largest = max(self.largest, len(data))
        self.last = data

    def write_all(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self.write(piece)

    def mark(self) -> None:
        pass


class Known:
    """Messages whose dates are all known, the last one the oldest; their subjects are all different."""

    lost: frozenset[int] = frozenset()

    def begin(self) -> None:
        pass

    def refuse(self, denied: bool) -> None:
        pass

    def numbers(self, kind: str, uids: array[int], typecode: str) -> array[float]:
        return array(typecode, range(len(uids), 0, -1))


def session() -> Any:
    """In a mailbox in which every second message is seen."""
    sink = Sink()
    view = View(Messages(array("I", range(FIRST, FIRST + COUNT)), bytes([SEEN, 0]) * (COUNT // 2), {}))
    selected = SimpleNamespace(view=view, attributes=lambda limits: Known(), saved=None)
    names = ["INBOX", *(f"INBOX.Folder {number:01000}" for number in range(FOLDERS))]
    folders = SimpleNamespace(names=lambda: names, subscriptions=lambda: names, marked=lambda name: False,
                              passed_over=lambda: [], shared_names=lambda virtual: [])
    made: Any = SimpleNamespace(
        conn=sink, need_selected=lambda: selected, limits=None, folders=folders, separator=".", utf8=False,
        settings=Settings({}), enabled=frozenset(), manners=Manners(), rules=SimpleNamespace(message_limit=0),
        by_alias=False)
    made.write = lambda *lines: Session.write(made, *lines)
    made.write_long = lambda line: Session.write_long(made, line)
    return made


def peak(of: Callable[[], object]) -> int:
    """The octets that it takes at most beside what there is."""
    tracemalloc.start()
    try:
        of()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("command", "octets"), [
    (b"SEARCH ALL", 6 * COUNT), (b"UID SEARCH ALL", 11 * COUNT), (b"UID SEARCH UNSEEN", 11 * COUNT // 2),
    (b"UID SEARCH RETURN (ALL COUNT) UNSEEN", 11 * COUNT // 2),
    (b"UID SEARCH RETURN (MIN MAX PARTIAL 1:4000000000) UNSEEN", 11 * COUNT // 2),
    (b"UID SORT RETURN (ALL) (REVERSE ARRIVAL) UTF-8 UNSEEN", 11 * COUNT // 2),
    (b"UID SORT (ARRIVAL) UTF-8 ALL", 11 * COUNT)])
def test_numbers(command: bytes, octets: int) -> None:
    there = session()
    args = args_of(b"a " + command)
    row = commands.find(args.command)
    assert row is not None
    # SORT has its order, a value of Python's for each message
    bound = COUNT * (80 if b"SORT" in command else 20) + 4 * PIECE_OCTETS
    row.handler(session(), args_of(b"a " + command))                 # what is loaded is loaded
    assert peak(lambda: row.handler(there, args)) < bound
    assert there.conn.octets > octets - COUNT // 5
    assert there.conn.largest < PIECE_OCTETS
    assert there.conn.last.endswith(b"\r\n")
    assert not there.conn.midway


def test_threads() -> None:
    def forest() -> Iterator[list[object]]:
        for number in range(FIRST, FIRST + COUNT, 5):
            yield [number, [[number + 1, number + 2], [number + 3], [number + 4]]]
    there = session()
    assert peak(lambda: there.write_long(lines.long_data(b"THREAD", threads.render(forest())))) < 2_500_000
    assert there.conn.octets > 11 * COUNT


@pytest.mark.parametrize(("command", "tell"), [
    (b'LIST "" "*"', cmd_list.list_mailboxes), (b'LSUB "" "*"', cmd_list.list_subscribed)])
def test_mailboxes(command: bytes, tell: Callable[[Any, Args], object],
                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cmd_list, "prepare", lambda listing: None)
    there = session()
    args = args_of(b"a " + command)
    tell(session(), args_of(b"a " + command))
    assert peak(lambda: tell(there, args)) < 400 * FOLDERS     # an entry each, and its name among the parents
    assert there.conn.octets > 1000 * FOLDERS
    assert there.conn.largest < PIECE_OCTETS


@pytest.mark.parametrize("repeats, ended", [(False, False), (True, False), (False, True), (True, True)])
def test_labels_as_long_as_a_command(repeats: bool, ended: bool) -> None:
    """A list of 60 kB of fields, which stands in the line of each message."""
    label = b"BODY[HEADER.FIELDS (%s)]" % (b"x" * 60_000)
    columns: Any = [SimpleNamespace(counted=False, form=b"%s", repeats=repeats),
                    SimpleNamespace(counted=True, form=b"%s", repeats=False)]
    flags = [b"(word%d)" % (number % 500) for number in range(1000)]
    values = [b"%d%%value" % number for number in range(1000)]
    texts = Texts.of(array("I", range(1000)), [value + END for value in values]) if ended else None
    made = cmd_fetch._Lines(lines.FETCH, [FetchItem(b"FLAGS"), FetchItem(b"BODY", label=label)], columns)
    heard: list[int] = []
    left = [b"* %d FETCH (FLAGS %s %s {%d}\r\n%s)\r\n" % (number, word, label, len(value), value)
            for number, word, value in zip(range(1, 1001), flags, values, strict=True)]
    left.reverse()

    def hear() -> None:
        for text in made.of(range(1, 1001), [[flags], [list(map(len, values)), texts or values]]):
            heard.append(len(text))
            at = 0
            while at < len(text):
                line = left.pop()
                assert text.startswith(line, at)
                at += len(line)
    assert peak(hear) < 6 * cmd_fetch.TEXT_OCTETS
    assert left == [] and max(heard) < cmd_fetch.TEXT_OCTETS + 2 * len(label)


def test_flags_of_many_with_many_keywords() -> None:
    """As a STORE of all tells them, and a look at what others did."""
    words = frozenset(b"keyword-%03d-%s" % (number, b"x" * 40) for number in range(100))
    uids = range(1, 10_001)
    view = View(Messages(array("I", uids), bytes(len(uids)), {}))
    selected: Any = SimpleNamespace(view=view)
    said = FlagsChanged(dict.fromkeys(uids, (SEEN, words)))
    octets = largest = 0

    def hear() -> None:
        nonlocal octets, largest
        for text in said.tell(selected, True):
            assert isinstance(text, bytes)         # one of many
            octets += len(text)
            largest = max(largest, len(text))
    assert peak(hear) < 16_000_000
    assert octets > 50_000_000 and largest < 4_000_000
    assert view.keywords[10_000] == words
