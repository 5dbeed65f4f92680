"""What a bare session loads, the command index, and words that must not be in the code."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from courierpy.system.programs import interpreter
from tests.conftest import fill, plain_environ
from tools import build_index

HOUSE = Path(__file__).resolve().parents[2]
HEAVY = ("typing", "dataclasses", "logging", "argparse", "email", "ssl", "asyncio", "random", "threading",
         "subprocess", "tempfile", "shutil", "pathlib", "passlib", "pyinotify", "datetime", "socket")


def loaded_by(maildir: Path, words: bytes) -> list[str]:
    """Names of modules that a session which says this has loaded."""
    program = ("import sys\nfrom courierpy.imapd import main\n"
               "main(['imapd', sys.argv[1]], {'AUTHENTICATED': 'demo', 'IMAP_KEYWORDS': '2'})\n"
               "print('loaded', *sorted(sys.modules), file=sys.stderr)\n")
    packages = find_spec("pyinotify")  # its folder has what may be loaded, and no more is started from there
    assert packages is not None and packages.origin is not None
    paths = [str(HOUSE), str(Path(packages.origin).parent)]
    done = subprocess.run([sys.executable, "-I", "-S", "-c",
                           f"import sys; sys.path += {paths!r}\n" + program, str(maildir)],
                          input=words, capture_output=True, env=plain_environ(), check=True)
    return done.stderr.decode().rpartition("loaded ")[2].split()


def test_a_bare_session_loads_no_heavy_module(maildir: Path) -> None:
    loaded = loaded_by(maildir, b"a LOGOUT\r\n")
    assert "courierpy.imap.session" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_a_bare_session_greets_before_it_loads_patterns_and_enumerations(maildir: Path) -> None:
    """They are an eighth of its start, and the first command may be long in coming."""
    loaded = loaded_by(maildir, b"")
    assert "courierpy.imap.session" in loaded
    assert [name for name in ("re", "enum", "signal") if name in loaded] == []


def test_a_mailbox_is_opened_without_what_looks_into_messages(maildir: Path) -> None:
    loaded = loaded_by(maildir, b"a SELECT INBOX\r\nb NOOP\r\nc LOGOUT\r\n")
    assert "courierpy.maildir.mailbox" in loaded
    assert [name for name in ("courierpy.imap.fetch", "courierpy.imap.search", "courierpy.imap.attributes",
                              "courierpy.message") if name in loaded] == []


# what only those load who share, have a quota, a trash, lists of rights or an outbox, or speak otherwise
ROOMS = re.compile(r"courierpy\.(?:maildir\.(?:quota|acl|formats\.acl|trash|totrash|disposal|removal|sharing|"
                   r"neighbours|linked|sharedindex|graveyard|draft|transfer|intake|formats\.(?:maildirsize|"
                   r"sharedmaildirs|pop3list))|imap\.(?:acl|disposing|quotaroot|appending|ext\.(?:acl|"
                   r"quota|outbox|magictrash|mailboxreferrals))|pop3|smap|login|backup|admin|lmtp|newmail|"
                   r"hibernate|auth\.(?!mechanisms))")


def test_a_plain_session_loads_nothing_of_quota_rights_sharing_and_trash(maildir: Path) -> None:
    words = b"".join(b"a %s\r\n" % word for word in (
        b"SELECT INBOX", b"FETCH 1:* (UID FLAGS BODY[])", b"NOOP", b"CLOSE", b"LOGOUT"))
    loaded = loaded_by(maildir, words)
    assert "courierpy.imap.fetch" in loaded
    assert [name for name in loaded if ROOMS.match(name)] == []


@pytest.mark.parametrize("words", [b"STORE 1 +FLAGS (\\Flagged)", b"NOOP", b"UID MOVE 3 Trash"])
def test_a_bare_session_changes_something_without_what_hears_of_changes(tmp_path: Path, words: bytes) -> None:
    """A large mailbox is read a few times again before a watch pays, for which 40 modules are loaded."""
    fill(tmp_path / "Maildir", 300)
    for part in ("cur", "new", "tmp"):
        (tmp_path / "Maildir" / ".Trash" / part).mkdir(parents=True)
    loaded = loaded_by(tmp_path / "Maildir", b"a SELECT INBOX\r\nb " + words + b"\r\nc NOOP\r\nd LOGOUT\r\n")
    assert "courierpy.maildir.mailbox" in loaded
    assert "pyinotify" not in loaded


def test_a_bare_session_that_goes_on_changing_hears_of_changes(tmp_path: Path) -> None:
    fill(tmp_path / "Maildir", 300)
    words = b"".join(b"b STORE %d +FLAGS (\\Flagged)\r\n" % seq for seq in range(1, 151))
    loaded = loaded_by(tmp_path / "Maildir", b"a SELECT INBOX\r\n" + words + b"c LOGOUT\r\n")
    assert "pyinotify" in loaded


# each has hooks that run at a fork, or much memory that every child would write to
NEVER_IN_THE_LISTENER = ("logging", "random", "threading", "subprocess", "email", "asyncio", "argparse",
                         "dataclasses", "typing", "tempfile", "shutil", "pathlib", "passlib", "site",
                         "pyinotify")


@pytest.fixture
def near() -> Iterator[Path]:
    """A folder whose path leaves room for the name of a socket (unix(7): 108 octets), unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="courierpy-test-") as path:
        yield Path(path)


def test_the_listener_loads_all_before_the_first_connection_and_nothing_heavy(near: Path) -> None:
    program = ("import sys\nfrom courierpy import preload, rehearsal, tcpd\n"
               "from courierpy.admin import serve\n"
               "preload.preload()\nbefore = set(sys.modules)\n"
               "rehearsal.rehearse({})\n"
               "print('loaded', *sorted(before))\nprint('late', *sorted(set(sys.modules) - before))\n")
    words = interpreter("courierpy.tcpd")
    words[-1] = words[-1].partition("from ")[0] + program
    done = subprocess.run(words, capture_output=True, text=True, check=False,
                          env=plain_environ(TMPDIR=str(near)))
    assert done.returncode == 0, done.stderr
    loaded, late = (line.split()[1:] for line in done.stdout.splitlines())
    assert "courierpy.imap.session" in loaded
    assert [name for name in NEVER_IN_THE_LISTENER if name in loaded] == []
    assert late == []
    assert list(near.iterdir()) == []                  # what it was rehearsed on is gone


def test_reply_lines_are_spelled_in_one_place() -> None:
    for path in (HOUSE / "courierpy" / "imap").rglob("*.py"):
        if path.name not in ("lines.py", "cmd_fetch.py"):      # which fills templates, for speed
            assert not re.search(r"b[\"'][*+] ", path.read_text()), path.name


def raised(module: str) -> Iterator[str]:
    """The constants of whole modules that this one raises as they are."""
    for node in ast.walk(ast.parse(module)):
        if isinstance(node, ast.Raise) and node.exc is not None and not isinstance(node.exc, ast.Call):
            for part in ast.walk(node.exc):
                name = part.id if isinstance(part, ast.Name) else \
                    part.attr if isinstance(part, ast.Attribute) else ""
                if name.isupper() and len(name) > 1:
                    yield name


def test_nothing_is_raised_twice() -> None:
    """An exception keeps the frames that it has gone through, of all the times: a constant would keep each
    client's for ever.  A session that has no memory left for another one raises its last words, and ends."""
    assert [*raised("raise A.SAID if x else No")] == ["SAID"]
    found = [(path.name, name) for path in (HOUSE / "courierpy").rglob("*.py")
             for name in raised(path.read_text())]
    assert found == [("shortage.py", "LAST_WORDS")]


def test_the_store_waits_for_no_file() -> None:
    """What it opens by a name is a directory, a file that it makes, or goes through open_regular()."""
    opened = re.compile(r"(?<![.\w])(?<!def )(?:os\.)?open\([a-z]")
    # the last two: of a lock, and of a draft of ours
    doors = re.compile(r"open_regular\(|O_EXCL|O_DIRECTORY|O_PATH|\"xb\"|self\.open\(|index\.open\(|open\(fd,"
                       r"|/proc/|O_NONBLOCK|self\.path, \"rb\", buffering=0")
    for path in (HOUSE / "courierpy" / "maildir").rglob("*.py"):
        for line in path.read_text().splitlines():
            if opened.search(line.partition("# ")[0]) and "`" not in line:
                assert doors.search(line), (path.name, line)


def test_the_index_equals_the_decorations() -> None:
    assert build_index.main(["--check"]) == 0


@pytest.mark.source
def test_no_link_is_in_the_repository() -> None:
    """One would lead to a place of the machine that it was made on; an sdist would have it too."""
    if not (HOUSE / ".git").exists():
        pytest.skip("no clone")
    done = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-s"], cwd=HOUSE, text=True,
                          capture_output=True, check=True, timeout=60)
    links = [line.partition("\t")[2] for line in done.stdout.splitlines() if line.startswith("120000 ")]
    assert len(done.stdout.splitlines()) > 500 and links == []
