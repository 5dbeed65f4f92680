"""Extensions are plugged in and pulled out by their files alone: the centre knows none by name."""
from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from courierpy.imap import ext
from courierpy.imap.ext.index import CAPABILITIES
from tests.conftest import REPO
from tests.dialogue.notation import Dialogue, Player

DIALOGUES = REPO / "tests" / "dialogue"
# a walk through the core; each says in its header which extensions it needs
CORE = ("append_copy_move", "fetch", "list", "mailboxes", "search", "select", "store_expunge", "updates")
EXTENSIONS = sorted(path.stem for path in Path(ext.__file__).parent.glob("*.py")
                    if path.stem not in ("__init__", "index"))


def words_of(extension: str) -> list[bytes]:
    return [word for word, file, _, _ in CAPABILITIES if file == f"ext.{extension}"]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the code, to be changed."""
    for package in ("courierpy", "tools"):
        shutil.copytree(REPO / package, tmp_path / "house" / package,
                        ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "house"


def rebuilt(house: Path) -> None:
    subprocess.run([sys.executable, "-m", "tools.build_index"], cwd=house, check=True, timeout=60,
                   env={"PYTHONPATH": str(house)})


def play(house: Path, dialogue: Path, home: Path) -> None:
    home.mkdir()
    player = Player(Dialogue(dialogue), home)
    player.environ["PYTHONPATH"] = str(house)
    player.run()


def told(house: Path, home: Path) -> set[str]:
    """The words of CAPABILITY."""
    for part in ("cur", "new", "tmp"):
        (home / "told" / part).mkdir(parents=True)
    done = subprocess.run([sys.executable, "-m", "courierpy.imapd", "."], cwd=home / "told",
                          check=True, timeout=60, input=b"a CAPABILITY\r\nb LOGOUT\r\n", capture_output=True,
                          env={"PYTHONPATH": str(house), "AUTHENTICATED": "demo"})
    return set(re.search(rb"\* CAPABILITY (.*)", done.stdout)[1].decode().split())  # type: ignore[index]


def test_every_word_belongs_to_a_file_that_does_it() -> None:
    for word, file, _, _ in CAPABILITIES:
        module = __import__(f"courierpy.imap.{file}", fromlist=["x"])
        assert word in (module.EXTENSION.names if file.startswith("ext.") else module.CAPABILITIES)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_without_one(extension: str, house: Path, tmp_path: Path) -> None:
    """What it told is not told, what it did is refused, and all else goes on."""
    (house / "courierpy" / "imap" / "ext" / f"{extension}.py").unlink()
    rebuilt(house)
    gone = {word.decode() for word in words_of(extension)}
    assert gone and gone.isdisjoint(told(house, tmp_path))
    for name in CORE:
        dialogue = Dialogue(DIALOGUES / f"{name}.txt")
        if gone.isdisjoint(dialogue.header.get("needs", "").split()):
            play(house, DIALOGUES / f"{name}.txt", tmp_path / name)


TOY = '''"""TOY."""
from courierpy.imap.commands import SELECTED, command
from courierpy.imap.ext import Extension
from courierpy.imap.updates import Sizes

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


def every(session, args):
    word(session, args)
    return lambda seqs: seqs[:1]


def param(session, args):
    value = word(session, args)
    return lambda session, selected: b"* OK [TOY %s] opened\\r\\n" % value


def prepared(session, args):
    value = word(session, args)
    return lambda name: session.write(b"* OK [TOY %s] made\\r\\n" % value)


def doubled(session, updates):
    return [*updates, *[one for one in updates if isinstance(one, Sizes)]]


EXTENSION = Extension(
    b"TOY", enable={b"TOY": lambda session: None}, on_updates={b"TOY": doubled},
    on_selected={b"TOY": lambda session, selected: b"* OK [TOYS] enabled\\r\\n"},
    select_params={b"TOY": param}, create_params={b"TOY": prepared},
    fetch_items={b"TOY": lambda session, seq: b"%d" % (seq * 100)}, fetch_modifiers={b"TOY": every},
    store_modifiers={b"TOY": every}, status_items={b"TOY": lambda session, name, count: b"7"},
    search_keys={b"TOY": (lambda args: args.number(), lambda session, seq, value: seq == value)},
    search_returns={b"TOY": lambda found: b"%d" % sum(found)},
    list_options={b"TOY": lambda session, args: lambda name: name == "INBOX.toy"},
    list_returns={b"TOY": lambda session, args: lambda name: b"\\\\Toy"},
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
1< * LIST (\\HasNoChildren \\Toy) "." "INBOX.toy"
1< c OK ...
1> d STATUS INBOX (MESSAGES TOY)
1< * STATUS "INBOX" (MESSAGES 3 TOY 7)
1< d OK ...
1> e SELECT INBOX (TOY yes)
1< * OK [TOY YES] opened
1< e OK ...
1> f FETCH 1:3 (TOY) (TOY one)
1< * 1 FETCH (TOY 100)
1< f OK ...
1> g STORE 1:3 (TOY one) +FLAGS (\\Flagged)
1< * 1 FETCH (FLAGS (\\Flagged ...
1< g OK ...
1> h SEARCH RETURN (TOY) NOT TOY 2
1< * ESEARCH (TAG "h") TOY 4
1< h OK ...
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
1> m SELECT INBOX
1< * OK [TOYS] enabled
1< m OK ...
1> n CREATE INBOX.x (NOTOY x)
1< n BAD ...
"""


def test_a_new_one_is_one_file(house: Path, tmp_path: Path) -> None:
    """A file and the generated index line put something into each table."""
    (house / "courierpy" / "imap" / "ext" / "toy.py").write_text(TOY)
    uidplus = house / "courierpy" / "imap" / "ext" / "uidplus.py"
    uidplus.write_text(re.sub(r"EXTENSION = .*", "EXTENSION = Extension(b'UIDPLUS')", uidplus.read_text()))
    rebuilt(house)
    file = tmp_path / "toy.txt"
    file.write_text(TALK)
    play(house, file, tmp_path / "talk")
