"""The verification procedure of Courier's manual page, with few and with many windows."""
from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import fill, serving
from tests.realtime.windows import Window, deliver, over_pipe, over_tcp

pytestmark = pytest.mark.server


@contextmanager
def windows(way: str, count: int, folder: Path) -> Iterator[tuple[list[Window], Path]]:
    """``count`` sessions that have INBOX selected, and its Maildir with three messages."""
    opened: list[Window] = []
    try:
        if way == "pipe":
            maildir = folder / "Maildir"
            fill(maildir, 3)
            opened.extend(over_pipe(maildir) for _ in range(count))
            for window in opened:
                window.do("SELECT INBOX")
            yield opened, maildir
        else:
            with serving(MAXPERIP=str(count + 5), MAXDAEMONS=str(count + 5)) as server:
                (server.maildir / "new").chmod(0o777)
                (server.maildir / "tmp").chmod(0o777)
                opened.extend(over_tcp(server.port) for _ in range(count))
                for window in opened:
                    window.do("SELECT INBOX")
                yield opened, server.maildir
                for window in opened:
                    window.close()
                opened.clear()
    finally:
        for window in opened:
            window.close()


def no_recent(lines: list[str]) -> list[str]:
    """\\Recent is one session's only: the counts and the flag may differ."""
    return [re.sub(r" ?\\Recent", "", line) for line in lines if not line.endswith(" RECENT")]


@pytest.mark.parametrize("count", [3, 50])
@pytest.mark.parametrize("way", ["tcp", "pipe"])
def test_the_verification_procedure(way: str, count: int, tmp_path: Path) -> None:
    with windows(way, count, tmp_path) as (opened, maildir):
        first, *others = opened
        size = 3 if way == "pipe" else 4
        # steps 1 and 2: all idle, by inotify
        for window in opened:
            assert window.idle() == ["+ entering ENHANCED idle mode"]
            # the first sessions hear how the later ones saw the messages
        # steps 3 and 4: one changes a flag to and fro, all see it
        for change, flags in (("+", "(\\Flagged)"), ("-", "()")):
            first.done()
            told = first.do(f"STORE 1 {change}FLAGS (\\Flagged)")
            assert no_recent(told) == [f"* 1 FETCH (FLAGS {flags})"]
            for window in others:
                assert no_recent(window.until("* 1 FETCH")) == [f"* 1 FETCH (FLAGS {flags})"]
            first.idle()
        # a deletion
        first.done()
        first.do("STORE 1 +FLAGS.SILENT (\\Deleted)")
        assert first.do("EXPUNGE")[:2] == ["* 1 EXPUNGE", f"* {size - 1} EXISTS"]
        for window in others:
            told = window.until(f"* {size - 1} EXISTS")
            # the flag may be seen before the message is gone, or not at all
            assert [line for line in told if "\\Deleted" not in line] == ["* 1 EXPUNGE",
                                                                          f"* {size - 1} EXISTS"]
            assert window.line().endswith(" RECENT")
        # step 5: a new message from outside, then by APPEND, then by COPY
        recent = 0
        first.idle()
        deliver(maildir, "1800000000.M1P1.host")
        for window in opened:
            told = [window.line() for _ in range(3)]
            assert told[0] == f"* {size} EXISTS"
            assert told[1].endswith(" RECENT")
            assert no_recent(told[2:]) == [f"* {size} FETCH (FLAGS ())"]
            recent += "\\Recent" in told[2]
        assert recent == 1
        first.done()
        for number, command in enumerate(("APPEND INBOX (\\Seen) {4+}\r\nA: b", f"COPY {size + 1} INBOX"), 1):
            told = first.do(command)
            assert f"* {size + number} EXISTS" in told
            for window in others:
                told = [window.line() for _ in range(3)]
                assert told[0] == f"* {size + number} EXISTS"
                assert told[1].endswith(" RECENT")
                assert no_recent(told[2:]) == [f"* {size + number} FETCH (FLAGS (\\Seen))"]
        # in the end all agree, and nothing more is told
        for window in others:
            assert window.done() == []
        views = {"\n".join(no_recent(window.do("FETCH 1:* (UID FLAGS)"))) for window in opened}
        assert len(views) == 1


def test_a_thousand_deliveries_and_a_thousand_toggles(tmp_path: Path) -> None:
    """Ten windows: none lost, none doubled, whatever is told together."""
    count = 1000
    with windows("pipe", 10, tmp_path) as (opened, maildir):
        for window in opened:
            window.idle()
        for number in range(count):
            deliver(maildir, f"{1800000000 + number}.M{number}P1.host")
        recent = 0
        for window in opened:
            exists, fetched = [], []
            while len(fetched) < count or exists[-1] != count + 3:
                line = window.line()
                if match := re.fullmatch(r"\* (\d+) EXISTS", line):
                    exists.append(int(match[1]))
                elif match := re.match(r"\* (\d+) FETCH \(FLAGS", line):
                    if int(match[1]) > 3:
                        fetched.append(int(match[1]))
                        recent += "\\Recent" in line
            assert exists == sorted(set(exists))
            assert fetched == list(range(4, count + 4))
        assert recent == count
        # a flag set and taken away by another program, a thousand times; the last state is told
        file = next((maildir / "cur").glob("1700000001.*"))
        plain = file.with_name(file.name.partition(":")[0] + ":2,")
        flagged = file.with_name(plain.name + "F")
        os.rename(file, plain)
        for at in range(count):
            os.rename(*((plain, flagged) if at % 2 == 0 else (flagged, plain)))
        os.rename(plain, flagged)
        for window in opened:
            last = ""
            while "\\Flagged" not in last:
                last = window.line()
                assert re.match(r"\* 1 FETCH \(FLAGS ", last), last
            # more may be on its way that was true meanwhile; what counts is how it ends
            for line in window.done() + window.do("NOOP"):
                last = line if line.startswith("* 1 FETCH") else last
            assert "\\Flagged" in last
            assert "\\Flagged" in window.do("FETCH 1 (FLAGS)")[0]


def test_without_inotify_the_clock(tmp_path: Path) -> None:
    fill(tmp_path / "Maildir", 1)
    window = over_pipe(tmp_path / "Maildir", IMAP_ENHANCEDIDLE="0", IMAP_IDLE_TIMEOUT="1")
    window.do("SELECT INBOX")
    assert window.idle() == ["+ entering idle mode"]
    deliver(tmp_path / "Maildir", "1800000000.M1P1.host")
    assert window.until("* 2 EXISTS")
    window.close()


def test_a_word_now_and_then(tmp_path: Path) -> None:
    fill(tmp_path / "Maildir", 0)
    window = over_pipe(tmp_path / "Maildir", IMAP_IDLE_KEEPALIVE="1")
    window.do("SELECT INBOX")
    window.idle()
    assert [window.line() for _ in range(2)] == ["* OK Still here"] * 2
    assert window.done() == []
    window.close()


def test_the_folder_goes_while_idle(tmp_path: Path) -> None:
    fill(tmp_path / "Maildir", 0)
    window, other = over_pipe(tmp_path / "Maildir"), over_pipe(tmp_path / "Maildir")
    window.do("CREATE INBOX.a")
    window.do("SELECT INBOX.a")
    window.idle()
    other.do("DELETE INBOX.a")
    assert window.line() == "* BYE [NONEXISTENT] The selected mailbox was deleted."
    for each in (window, other):
        each.close()


def test_keywords_are_told_too(tmp_path: Path) -> None:
    """The directory of keywords need not be there when IDLE begins."""
    fill(tmp_path / "Maildir", 1)
    window, other = over_pipe(tmp_path / "Maildir"), over_pipe(tmp_path / "Maildir")
    for each in (window, other):
        each.do("SELECT INBOX")
    window.idle()
    for word in ("$Todo", "$Later"):
        other.do(f"STORE 1 +FLAGS ({word})")
        assert word in window.until("* 1 FETCH")[-1]
    for each in (window, other):
        each.close()


def test_numbers_that_others_gave_meanwhile_are_not_given_again(tmp_path: Path) -> None:
    """Each session has a watch and hears of the other's message only after its own APPEND."""
    maildir = tmp_path / "Maildir"
    fill(maildir, 1)
    one, two = over_pipe(maildir), over_pipe(maildir)
    for window in (one, two):
        window.do("SELECT INBOX")
        window.idle()
        window.done()
    bodies = {}
    for turn, window in enumerate((one, two, two, one, one, two)):
        window.send(f"a APPEND INBOX {{4+}}\r\n{turn}: x")
        told = re.search(r"APPENDUID \d+ (\d+)", window.until("a OK")[-1])
        assert told is not None
        bodies[int(told[1])] = f"{turn}: x)"
    assert sorted(bodies) == [2, 3, 4, 5, 6, 7]
    for window in (one, two):
        window.do("NOOP")
        for uid, body in bodies.items():
            assert window.do(f"UID FETCH {uid} (BODY.PEEK[])")[-1] == body
        window.close()


def test_recent_stays_one_sessions_whatever_a_reader_does(tmp_path: Path) -> None:
    """EXAMINE shows what is recent and leaves it; an APPEND by that session does not give it out again."""
    maildir = tmp_path / "Maildir"
    fill(maildir, 2)
    reader, first, second = (over_pipe(maildir) for _ in range(3))
    assert "* 2 RECENT" in reader.do("EXAMINE INBOX")
    assert "* 2 RECENT" in first.do("SELECT INBOX")
    reader.do("APPEND INBOX {4+}\r\nA: b")
    reader.do("APPEND INBOX {4+}\r\nA: c")
    assert "* 2 RECENT" in second.do("SELECT INBOX")
    assert "* 2 RECENT" in first.do("NOOP")
    for window in (reader, first, second):
        window.close()
