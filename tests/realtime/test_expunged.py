"""A message that another session removed, before our client was told: its bytes, or NO, and never others."""
from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import MAIL, fill
from tests.realtime.windows import Window, over_pipe

pytestmark = pytest.mark.server
WAYS = {"expunge": ["UID STORE {} +FLAGS.SILENT (\\Deleted)", "EXPUNGE"],
        "uid expunge": ["UID STORE {} +FLAGS.SILENT (\\Deleted)", "UID EXPUNGE {}"],
        "close": ["UID STORE {} +FLAGS.SILENT (\\Deleted)", "CLOSE"],
        "move": ["UID MOVE {} INBOX.a"]}


def wire(number: int) -> bytes:
    return (MAIL % (number, number, number)).replace(b"\n", b"\r\n")


def ask(window: Window, command: str) -> tuple[list[bytes], bytes]:
    """(untagged responses, the tagged one)."""
    window.send(f"q {command}")
    lines = [window.response()]
    while not lines[-1].startswith(b"q "):
        lines.append(window.response())
    return lines[:-1], lines[-1]


def left(maildir: Path) -> list[str]:
    return os.listdir(maildir / "tmp")


def two(maildir: Path, count: int) -> tuple[Window, Window]:
    fill(maildir, count)
    first = over_pipe(maildir)
    first.do("CREATE INBOX.a")
    first.do("SELECT INBOX")
    other = over_pipe(maildir)
    other.do("SELECT INBOX")
    return first, other


@pytest.mark.parametrize("count", [5, 300])
@pytest.mark.parametrize("way", WAYS)
def test_served_until_told(way: str, count: int, tmp_path: Path) -> None:
    maildir = tmp_path / "Maildir"
    ours, other = two(maildir, count)
    for command in WAYS[way]:
        other.do(command.format(3))
    for _ in range(2):                                   # as it is not known to be gone yet, and as it is
        lines, done = ask(ours, "FETCH 3 (UID RFC822.SIZE ENVELOPE BODYSTRUCTURE INTERNALDATE BODY.PEEK[])")
        assert done.startswith(b"q OK"), done
        assert b"UID 3 RFC822.SIZE %d ENVELOPE" % len(wire(3)) in lines[0]
        assert b'"mail 3"' in lines[0]
        assert wire(3) in lines[0]
        assert not any(line.endswith(b"EXPUNGE") for line in lines)
        lines, done = ask(ours, 'SEARCH BODY "Hello 3."')
        assert b"3" in lines[0].split()
        lines, done = ask(ours, "COPY 3 INBOX.a")
        assert b"[COPYUID " in done
    told = ours.do("NOOP")
    assert "* 3 EXPUNGE" in told
    assert not any("unavailable" in line for line in told)
    copies = over_pipe(maildir)
    copies.do("SELECT INBOX.a")
    lines, _ = ask(copies, "FETCH 1:* (BODY.PEEK[])")
    assert len(lines) == 2 + (way == "move")
    assert all(wire(3) in line for line in lines)
    for window in (ours, other, copies):
        window.close()
    assert left(maildir) == []


def test_nothing_is_kept_that_all_were_told(tmp_path: Path) -> None:
    maildir = tmp_path / "Maildir"
    ours, other = two(maildir, 5)
    for number, command in enumerate(WAYS["expunge"]):
        other.do(command.format("2,4"))
        assert [name for name in left(maildir) if name.endswith("_expunged")] == [] or number == 1
    assert sum(name.endswith("_expunged") for name in left(maildir)) == 2
    other.do("NOOP")
    assert sum(name.endswith("_expunged") for name in left(maildir)) == 2
    for window in (ours, other, ours, other):
        time.sleep(0.01)           # in one tick of the clock nobody knows what was first
        window.do("NOOP")
    assert [name for name in left(maildir) if name.endswith("_expunged")] == []
    for window in (ours, other):
        window.close()
    assert left(maildir) == []


@pytest.mark.parametrize("who", ["the one that was not told", "the one that removed", "both"])
def test_nothing_is_kept_for_who_was_killed(who: str, tmp_path: Path) -> None:
    maildir = tmp_path / "Maildir"
    ours, other = two(maildir, 5)
    for command in WAYS["expunge"]:
        other.do(command.format("2,4"))
    killed = {"the one that was not told": [ours], "the one that removed": [other],
              "both": [ours, other]}[who]
    for window in killed:
        os.kill(window.pid, signal.SIGKILL)
        window.close()
    for window in (ours, other):
        if window not in killed:
            window.do("NOOP")
            window.close()
    after = over_pipe(maildir)
    assert "* 3 EXISTS" in after.do("SELECT INBOX")
    after.close()
    assert left(maildir) == []


def test_removed_by_another_program(tmp_path: Path) -> None:
    """Its bytes are nowhere: the others are served, and [EXPUNGEISSUED] says why it is not."""
    maildir = tmp_path / "Maildir"
    ours, other = two(maildir, 5)
    next((maildir / "cur").glob("1700000003.*")).unlink()
    for _ in range(2):
        lines, done = ask(ours, "FETCH 2:4 (UID BODY.PEEK[])")
        assert done.startswith(b"q OK [EXPUNGEISSUED]")
        assert [re.match(rb"\* (\d+) FETCH", line)[1] for line in lines] == [b"2", b"4"]  # type: ignore[index]
        assert wire(2) in lines[0]
        assert wire(4) in lines[1]
        lines, done = ask(ours, 'SEARCH TEXT "Hello"')
        assert lines == [b"* SEARCH 1 2 4 5"]
        assert done.startswith(b"q OK")
        assert ask(ours, "COPY 3 INBOX.a")[1].startswith(b"q NO [EXPUNGEISSUED]")
        assert ask(ours, "STORE 3 +FLAGS (\\Seen)")[1].startswith(b"q NO [EXPUNGEISSUED]")
        assert ask(ours, "FETCH 3 (FLAGS)") == ([b"* 3 FETCH (FLAGS (\\Recent))"], b"q OK FETCH completed.")
    assert "* 3 EXPUNGE" in ours.do("NOOP")
    for window in (ours, other):
        window.close()
