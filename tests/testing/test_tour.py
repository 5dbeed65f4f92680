"""courierpy tour, whole: as text, and a step at a time on a terminal."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from courierpy.testing import tour
from tests.conftest import plain_environ

TITLES = ["Two clients", "SELECT", "A push", "A search in {} messages", "A resync", "The end"]
WORDS = [sys.executable, "-m", "courierpy", "tour"]
DEADLINE = 200.0


@pytest.mark.server
def test_it_is_plain_text_where_there_is_no_terminal(tmp_path: Path) -> None:
    done = subprocess.run([*WORDS, "--messages", "1000"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=DEADLINE, check=False, env=plain_environ(TMPDIR=str(tmp_path)))
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout
    assert "\x1b" not in text
    assert re.findall("^== (.+)", text, re.M) == [title.format("1,001") for title in TITLES]
    steps = dict(zip(TITLES, re.split("^== .+", text, flags=re.M)[1:], strict=True))
    assert re.findall(r"^(\w)< \* (\d+) EXISTS", steps["SELECT"], re.M) == [("A", "1000"), ("B", "1000")]
    push = re.findall(r"^([AB][<>]) (.+)", steps["A push"], re.M)
    order = [push.index(line) for line in (
        ("B>", "b3 IDLE"), ("B<", "* 1001 EXISTS"), ("A>", "a3 NOOP"), ("A<", "* 1001 EXISTS"),
        ("A>", r"a4 STORE 1001 +FLAGS (\Flagged)"), ("B>", "DONE"))]
    assert order == sorted(order)
    assert any(who == "B<" and r"1001 FETCH (FLAGS (\Flagged" in line for who, line in push)
    search = steps[TITLES[3]]
    found = re.findall(r'^A< \* ESEARCH \(TAG "(\w+)"\) UID COUNT 10 MIN 43 MAX 943$', search, re.M)
    assert found == ["a5", "a6"]
    assert re.search(r'^A< \* ESEARCH \(TAG "a7"\) UID COUNT 1$', search, re.M)
    resync = steps["A resync"]
    modseq = re.search(r"CHANGEDSINCE (\d+)\)$", resync, re.M)
    assert modseq is not None and f"B< * OK [HIGHESTMODSEQ {modseq[1]}]" in resync
    assert re.findall(r"^B< \* (\d+) FETCH \(UID \d+ FLAGS \(\\Seen\) MODSEQ \(\d+\)\)$", resync, re.M) == [
        "2", "3", "5"]
    assert "3 lines instead of 1,001" in " ".join(resync.split())
    assert "secret" not in text and "LOGIN demo ..." in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.server
@pytest.mark.parametrize(("columns", "beside", "stop"), [(120, True, False), (70, False, True)])
def test_on_a_terminal_it_waits_behind_each_step(columns: int, beside: bool, stop: bool,
                                                 tmp_path: Path) -> None:
    import pexpect
    child = pexpect.spawn(WORDS[0], [*WORDS[1:], "--messages", "20"], dimensions=(50, columns),
                          timeout=DEADLINE, encoding="utf-8", env=plain_environ(TMPDIR=str(tmp_path)))
    try:
        shown = ""
        for title in TITLES[:3 if stop else None]:
            child.expect_exact(title.format(21))
            child.expect_exact("Enter goes on, q ends")
            shown += child.before
            child.sendline("q" if stop and title == TITLES[2] else "")
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
    assert child.exitstatus == 0
    lines = [re.sub(r"\x1b\[\d*m", "", line) for line in shown.splitlines()]
    assert all(len(line) <= columns for line in lines)
    marks = [re.search(r"[AB][<>] ", line) for line in lines]
    found = [mark.start() for mark in marks if mark is not None]
    assert found and set(found) == {tour.TEXT_WIDTH + 3 if beside else 0}
    assert list(tmp_path.iterdir()) == []


def test_the_lines_are_safe_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    screen = tour.Screen(terminal=False)
    screen.line("A<", "* OK \x1b[2J\u009b1m\tx")
    screen.step("One")
    assert capsys.readouterr().out == "== One\n\nA< * OK \\x1b[2J\\x9b1m\\tx\n\n"


@pytest.mark.parametrize("words", [["--messages", "7"], ["--messages", "x"], ["--messages", "1000001"],
                                   ["x"]])
def test_wrong_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        tour.main(words)
    assert "courierpy tour: error: " in capsys.readouterr().err


def test_mail_is_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tour.places, "owner", lambda: None)
    texts = []
    for name in ("one", "two"):
        (tmp_path / name / "cur").mkdir(parents=True)
        tour.fill(str(tmp_path / name), 200)
        texts.append({os.path.basename(path).split(".")[1]: re.sub(rb"Date: .*", b"", path.read_bytes())
                      for path in (tmp_path / name / "cur").iterdir()})
    assert texts[0] == texts[1] and len(texts[0]) == 200
    assert sum(b"perihelion" in text for text in texts[0].values()) == 2
