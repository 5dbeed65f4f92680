"""Extensions are plugged in and pulled out by their files alone: the centre knows none by name."""
from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.imap import capability, ext
from courierpy.imap.commands.index import COMMANDS
from courierpy.imap.ext.index import CAPABILITIES
from tests.conftest import REPO
from tests.dialogue.notation import Dialogue, Player
from tests.house.forked import EXT, House

pytestmark = pytest.mark.source

DIALOGUES = REPO / "tests" / "dialogue"
# a walk through the core; each says in its header which extensions it needs
CORE = ("append_copy_move", "fetch", "list", "mailboxes", "search", "select", "store_expunge", "updates")
EXTENSIONS = sorted(path.stem for path in Path(ext.__file__).parent.glob("*.py")
                    if path.stem not in ("__init__", "index"))


def words_of(extension: str) -> list[bytes]:
    return [word for word, file, _, _ in CAPABILITIES if file == f"ext.{extension}"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A copy of the code, out of which extensions can be taken."""
    house = House(tmp_path_factory.mktemp("house"))
    try:
        yield house
    finally:
        house.close()


def play(house: House, dialogue: Path, home: Path) -> None:
    home.mkdir()
    Player(Dialogue(dialogue), home, house.start).run()


def spoken(house: House, home: Path, *commands: str) -> list[str]:
    """What an imapd of this code answers, line by line; each command has the tag "a"."""
    maildir = home / "spoken"
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True, exist_ok=True)
    (maildir / "cur" / "1.M1P1.host:2,").write_bytes(b"Subject: one\n\ntext\n")
    words = "".join(f"a {command}\r\n" for command in ("CAPABILITY", "SELECT INBOX", *commands, "LOGOUT"))
    environ = {"PATH": os.environ["PATH"], "AUTHENTICATED": "demo"}
    return house.start(maildir, environ).ends(words.encode()).decode().splitlines()


def told(lines: list[str]) -> set[str]:
    """The words of CAPABILITY."""
    return set(next(line for line in lines if line.startswith("* CAPABILITY ")).split()[2:])


# where an extension is no command: what is refused without it
ASKED = {"condstore": ["FETCH 1 MODSEQ", "FETCH 1 UID (CHANGEDSINCE 1)", "SEARCH MODSEQ 1",
                       "STORE 1 (UNCHANGEDSINCE 1) FLAGS ()", "STATUS INBOX (HIGHESTMODSEQ)",
                       "SELECT INBOX (CONDSTORE)"],
         "qresync": ["SELECT INBOX (QRESYNC (1 1))", "UID FETCH 1 UID (VANISHED)"],
         "esearch": ["SEARCH RETURN () ALL", "SEARCH RETURN (MIN) ALL"],
         "appendlimit": ["STATUS INBOX (APPENDLIMIT)"],
         "savedate": ["FETCH 1 SAVEDATE", "SEARCH SAVEDSINCE 1-Jan-2000", "SEARCH SAVEDATESUPPORTED"],
         "objectid": ["FETCH 1 EMAILID", "FETCH 1 THREADID", "SEARCH EMAILID x", "STATUS INBOX (MAILBOXID)"],
         "binary": ["FETCH 1 BINARY[1]", "FETCH 1 BINARY.PEEK[]", "FETCH 1 BINARY.SIZE[1]"],
         "preview": ["FETCH 1 PREVIEW", "FETCH 1 (PREVIEW (LAZY))"],
         "searchres": ["SEARCH RETURN (SAVE) ALL", "FETCH $ FLAGS", "SEARCH 1,$"],
         "partial": ["SEARCH RETURN (PARTIAL 1:2) ALL", "UID FETCH 1:* FLAGS (PARTIAL 1:2)"],
         "fuzzy": ["SEARCH FUZZY ALL", "SEARCH RETURN (RELEVANCY) ALL", "SORT (RELEVANCY) UTF-8 ALL"],
         "multisearch": ["ESEARCH IN (personal) ALL"],
         "context": ["SEARCH RETURN (UPDATE) ALL", "SEARCH RETURN (CONTEXT) ALL",
                     "SORT RETURN (UPDATE) (DATE) UTF-8 ALL"],
         "filters": ["SEARCH FILTER x"],
         "within": ["SEARCH OLDER 1", "SEARCH YOUNGER 1"],
         "esort": ["SORT RETURN () (DATE) UTF-8 ALL"],
         "sortdisplay": ["SORT (DISPLAYFROM) UTF-8 ALL"],
         "listextended": ['LIST (SUBSCRIBED) "" *', 'LIST "" * RETURN (CHILDREN)'],
         "listmetadata": ['LIST "" * RETURN (METADATA (/private/comment))'],
         "aclunion": ['LIST (ACL) "" *', 'LIST (POSTADDRESS) "" *'],
         "listmyrights": ['LIST "" * RETURN (MYRIGHTS)'],
         "specialuse": ['LIST (SPECIAL-USE) "" *', "CREATE INBOX.x (USE (\\Sent))", 'XLIST "" *'],
         "messagelimit": ["SEARCH UIDAFTER 1", "SEARCH UIDBEFORE 9"],
         "catenate": ['APPEND INBOX CATENATE (URL "/INBOX/;UID=1")'],
         "imap4rev2": ["STATUS INBOX (DELETED)"],
         "statussize": ["STATUS INBOX (SIZE)"],
         "liststatus": ['LIST "" * RETURN (STATUS (MESSAGES))']}


def refused(lines: list[str], extension: str) -> bool:
    """Is all that it did answered with BAD?  ``lines``: of a dialogue with what asked() gives."""
    answers = [line for line in lines if line.startswith("a ")][2:-1]
    return len(answers) == len(asked(extension)) and all(line.startswith("a BAD ") for line in answers)


def asked(extension: str) -> list[str]:
    words = [name.decode() for name, row in COMMANDS.items() if row[0] == f"ext.{extension}"]
    return words + ASKED.get(extension, [])


def test_every_file_is_of_some_use() -> None:
    for extension in EXTENSIONS:
        record = ext.load(extension)
        assert record.names or record.tables, extension
        assert asked(extension) or record.tables.keys() - {"search_returns", "status_items"}, extension


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_without_one(extension: str, house: House, tmp_path: Path) -> None:
    """What it told is not told, what it did is refused, and all else goes on."""
    gone = {word.decode() for word in words_of(extension)}
    with house.without(extension):
        house.rebuild()
        assert not re.search(rf'(ext\.|: "){extension}"', house.indices())
        lines = spoken(house, tmp_path, *asked(extension))
        assert gone and gone.isdisjoint(told(lines))
        assert refused(lines, extension)
        for name in CORE:
            dialogue = Dialogue(DIALOGUES / f"{name}.txt")
            if gone.isdisjoint(dialogue.header.get("needs", "").split()):
                play(house, DIALOGUES / f"{name}.txt", tmp_path / name)


def test_what_was_taken_out_by_hand_is_not_told(house: House, tmp_path: Path) -> None:
    """The index still has them: nothing is told whose file is absent, and nothing fails in its place."""
    assert EXTENSIONS
    left = {word.decode() for word, file, _, _ in CAPABILITIES if not file.startswith("ext.")}
    every = [command for extension in EXTENSIONS for command in asked(extension)]
    with house.without(*EXTENSIONS):
        for at in range(0, len(every), 5):             # ten errors in a row end a session
            lines = spoken(house, tmp_path, *every[at:at + 5])
            assert told(lines) == left | {word.decode() for word in capability.CORE} - {"LITERAL-", "SASL-IR"}
            answers = [line for line in lines if line.startswith("a ")][2:-1]
            assert len(answers) == len(every[at:at + 5])
            assert all(line.startswith("a BAD ") for line in answers), answers


def test_the_page_on_extensions_has_all_that_is_told() -> None:
    shown = set(re.findall(r"`([A-Za-z0-9+=-]+)`", (REPO / "docs" / "extensions.md").read_text()))
    assert {word.decode() for word in capability.IMPLEMENTED} - {"IMAP4rev1"} <= shown


TOY = '''"""TOY."""
import re

from courierpy.imap.commands import SELECTED, command
from courierpy.imap.ext import Extension
from courierpy.imap.commands.cmd_store import Condition
from courierpy.imap.fetch import Column, Item, Modifier, kept
from courierpy.imap.grammar import fetchitems, searchkeys
from courierpy.imap.grammar.fetchitems import FetchItem
from courierpy.imap.returns import SearchReturn
from courierpy.imap.search import HEADERS, SearchKey
from courierpy.imap.updates import Sizes
from courierpy.model.replies import No

chosen = []


@command(b"TOY", when=SELECTED, rights="r")
def toy(session, args):
    args.end()
    return "toy"


def word(session, args):
    args.sp()
    value = args.word()
    chosen.append(value)
    return value


def first(session, args):
    return Modifier(word(session, args), lambda fetching, seqs: seqs[:1], [b"TOY.UIDS"])


def once(session, args):
    word(session, args)
    return Condition(lambda session, change, seqs: seqs[:1], lambda by_uid: b"TOYED")


def param(session, args):
    value = word(session, args)
    return lambda session, selected: b"* OK [TOY %s] opened\\r\\n" % value


def prepared(session, args):
    value = word(session, args)
    return lambda name: session.write(b"* OK [TOY %s] made\\r\\n" % value)


def only(listing):
    listing.criteria[b"TOY"] = lambda entry: entry.name == "INBOX.toy"
    listing.behind[b"TOY"] = lambda entry: b"* OK [TOY] behind\\r\\n"


def told(listing):
    listing.attributes[b"TOY"] = lambda entry: b"\\\\Toy"


def doubled(session, updates):
    return [*updates, *[one for one in updates if isinstance(one, Sizes)]]


def part(args, name):
    """TOY.PART[2]<0.3>: sets \\\\Seen."""
    args.take(re.compile(rb"\\["))
    numbers = fetchitems.part(args)
    args.take(re.compile(rb"\\]"))
    return FetchItem(name, (numbers, fetchitems.span(args)), b"TOY.PART[%d]" % numbers, sees=True)


def render(subject, item):
    if subject.uid == 2:
        raise No("not this one", b"TOYS")
    (number,), (start, length) = item.value
    return [b"~{3}\\r\\n", subject.told(lambda message: message.data[start:start + length])]


ITEMS = {
    b"TOY": Item(lambda subject, item: [b"%d" % (subject.seq * 100)]),
    b"TOY.PART": Item(render, parse=part),
    # of the view; of the message, kept
    b"TOY.UIDS": Item(column=Column(lambda chunk, known: [b"u%d" % uid for uid in chunk.uids])),
    b"TOY.SIZE": Item(column=Column(lambda chunk, known: known, kept("toy"), counted=True)),
}
KEYS = {
    b"TOY": SearchKey(lambda program, value, within: program.of_uids([value]), parse=searchkeys.number),
    b"TOYHEAD": SearchKey(lambda program, value, within: program.one_by_one(
        within, lambda subject: subject.told(lambda message: value.encode() in bytes(message.data))),
        HEADERS, searchkeys.text),
}


EXTENSION = Extension(
    b"TOY", attributes={b"toy": (False, lambda message: b"%d" % message.size)},
    enable={b"TOY": lambda session: None}, on_updates={b"TOY": doubled},
    on_open={b"TOY": lambda session, mailbox: chosen.append(mailbox.name)},
    on_selected={b"TOY": lambda session, selected: b"* OK [TOYS] enabled\\r\\n"},
    select_params={b"TOY": param}, create_params={b"TOY": prepared},
    fetch_items=ITEMS, fetch_modifiers={b"TOY": first},
    fetch_besides={b"TOY": lambda session: [b"TOY"]},
    store_modifiers={b"TOY": once}, status_items={b"TOY": lambda session, name, count: b"7"},
    search_keys=KEYS,
    search_returns={b"TOY": SearchReturn(lambda found, value: b"%d" % (sum(found.numbers) * value),
                                         lambda args: args.sp() or args.number())},
    list_options={b"TOY": lambda session, args: only},
    list_returns={b"TOY": lambda session, args: told},
    on_list={b"TOY": lambda listing: listing.attributes.update({b"": lambda entry: b"\\\\All"})},
    tagged_code={b"COPY": lambda uidvalidity, pairs: b"TOYCOPY %d" % len(pairs)})
'''
TALK = r"""mail: three

1> a CAPABILITY
1< * CAPABILITY ... TOY ...
1< a OK ...
1> b CREATE INBOX.toy (TOY box)
1< * OK [TOY BOX] made
1< b OK ...
1> c LIST (TOY) "" * RETURN (TOY)
1< * LIST (\\HasNoChildren \\All \\Toy) "." "INBOX.toy"
1< * OK [TOY] behind
1< c OK ...
1> d STATUS INBOX (MESSAGES TOY)
1< * STATUS "INBOX" (MESSAGES 3 TOY 7)
1< d OK ...
1> e SELECT INBOX (TOY yes)
1< * OK [TOY YES] opened
1< e OK ...
1> f FETCH 1:3 (TOY) (TOY one)
1< * 1 FETCH (TOY 100 TOY.UIDS u1)
1< f OK ...
1> g STORE 1:3 (TOY one) +FLAGS (\\Flagged)
1< * 1 FETCH (FLAGS (\\Flagged ...
1< g OK [TOYED] ...
1> f1 FETCH 1:3 (TOY.UIDS FLAGS TOY.SIZE)
1< * 3 FETCH (TOY.UIDS u3 FLAGS (\\Recent) TOY.SIZE {2}\r\n29)
1< f1 OK ...
1> f2 FETCH 1:3 (TOY.SIZE TOY TOY.UIDS)
1< * 3 FETCH (TOY.SIZE {2}\r\n29 TOY 300 TOY.UIDS u3)
1< f2 OK ...
1> f3 FETCH 1:3 TOY.PART[7]<2.3>
1< * 1 FETCH (TOY.PART[7] ~{3}\r\nom:)
1! 2 FETCH (TOY.PART
1< * 3 FETCH (FLAGS (\\Seen ...
1< f3 NO [TOYS] not this one
1> f4 FETCH 1 TOY.PART
1< f4 BAD ...
1> f5 FETCH 1 TOYS
1< f5 BAD ...
1> h SEARCH RETURN (TOY 3) NOT TOY 2
1< * ESEARCH (TAG "h") TOY 12
1< h OK ...
1> h1 SEARCH OR TOY 2 (SUBJECT words NOT TOYHEAD Great)
1< * SEARCH 1 2
1< h1 OK ...
1> h2 SORT (ARRIVAL) UTF-8 TOYHEAD sender
1< * SORT 3
1< h2 OK ...
1> h3 SEARCH TOY
1< h3 BAD ...
1> i TOY
1< i OK toy
1> j COPY 1:2 INBOX.toy
1< j OK [TOYCOPY 2] ...
1> k ENABLE TOY
1< * ENABLED TOY
1< k OK ...
1> l APPEND INBOX {7+}\r\nA: b\r\n\r
1< * 4 EXISTS
1< * 4 EXISTS
1< l OK ...
1> l1 FETCH 1 FLAGS
1< * 1 FETCH (FLAGS (\\Flagged ... TOY 100)
1< l1 OK ...
1> m SELECT INBOX
1< * OK [CLOSED] ...
1< * OK [TOYS] enabled
1< m OK ...
1> n CREATE INBOX.x (NOTOY x)
1< n BAD ...
"""


def test_a_new_one_is_one_file(house: House, tmp_path: Path) -> None:
    """A file and the generated index line put something into each table."""
    extensions = house.path / EXT
    with house.without("uidplus"):             # which gives COPY its code
        (extensions / "toy.py").write_text(TOY)
        (extensions / "uidplus.py").write_text("from courierpy.imap.ext import Extension\n"
                                               "EXTENSION = Extension(b'UIDPLUS')\n")
        try:
            house.rebuild()
            file = tmp_path / "toy.txt"
            file.write_text(TALK)
            play(house, file, tmp_path / "talk")
        finally:
            (extensions / "toy.py").unlink()
