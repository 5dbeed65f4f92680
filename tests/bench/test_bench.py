"""The benchmarks: the same mail each time, honest words, and a run gives figures."""
from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import corpus, doors, growth, limits, peers, plot, report
from bench.client import Refused
from bench.lab import FULL, Lab
from bench.peers import Courierpy
from bench.table import ROWS, Case, Goal
from courierpy.system import inotify

REPO = Path(__file__).resolve().parent.parent.parent
FASTER = Case("1", "what", "msg/s", True, Goal("courier", 2))
SHORTER = Case("2", "what", "ms", False, Goal("dovecot"))


def written(folder: Path, count: int, small: bool) -> dict[str, bytes]:
    corpus.write(str(folder), count, small, None)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("small", [False, True])
def test_the_corpus_is_the_same_each_time(tmp_path: Path, small: bool) -> None:
    first = written(tmp_path / "first", 40, small)
    assert first == written(tmp_path / "second", 40, small)
    assert len(set(first.values())) == 40


def test_the_corpus_looks_like_mail() -> None:
    writer = corpus.Writer()
    mails = [writer.message(number, 600)[0] for number in range(600)]
    sizes = sorted(map(len, mails))
    assert 4500 < sizes[300] < 8000                      # a median of about 6 kB
    assert sizes[-6] > 10 * sizes[300]                   # and a long tail
    everything = b"".join(mails)
    for text in (b"multipart/alternative", b"multipart/mixed", b"multipart/related", b"multipart/signed",
                 b"message/rfc822", b"quoted-printable", b"base64", b"koi8-r", b"iso-2022-jp",
                 b"windows-1252", b"iso-8859-1", b"\nReferences: ", b"=?utf-8?B?"):
        assert text in everything, text
    deepest = max(len(found[1].split()) for mail in mails
                  if (found := re.search(rb"\nReferences: ((?:.|\n )*)", mail)))
    assert 5 < deepest <= 20


def test_ratios_say_how_many_times_as_good() -> None:
    assert report.better(FASTER, 300, 100) == 3
    assert report.better(SHORTER, 50, 100) == 2


def test_what_was_too_little_to_be_measured_has_a_ratio() -> None:
    assert report.better(SHORTER, 0, 0) == 1
    assert report.better(SHORTER, 0, 1) == 100
    assert report.better(SHORTER, 1, 0) == 0.01


@pytest.mark.parametrize("case, ours, theirs, said", [
    (FASTER, 200.0, 100.0, "met"), (FASTER, 150.0, 100.0, "**missed** by 25 %"),
    (FASTER, 50.0, 100.0, "**missed**, 4.0 times"),
    (SHORTER, 1.0, 1.0, "met"), (SHORTER, 10.0, 1.0, "**missed**, 10.0 times")])
def test_verdicts(case: Case, ours: float, theirs: float, said: str) -> None:
    figures = {"courierpy": ours, case.goal.peer: theirs}
    assert report.verdict(case, figures) == said
    assert report.verdict(case, {"courierpy": ours}) == "not measured"


def test_how_much_of_the_limit_that_is() -> None:
    results = {"1": {"courierpy": [150.0], "courier": [100.0], "limit": [300.0, 200.0]},
               "2": {"courierpy": [2.0], "dovecot": [3.0]}}
    assert "| **missed** by 25 %, 0.60 of the limit (250) |" in report.table([FASTER, SHORTER], results, FULL)
    assert "missed by 25 %, 0.60 of the limit (250)." in report.why([FASTER, SHORTER], results, FULL)
    assert "limit" not in report.table([SHORTER], results, FULL)


def test_the_limit_is_told_the_same_client(tmp_path: Path) -> None:
    reply = b"".join(b"* %d FETCH (UID %d)\r\n" % (number, number) for number in range(1, 20_001))
    assert limits.seconds_of(reply) > 0
    for name in ("A", "B"):
        for part in ("new", "cur", "courierimapuiddb"):
            (tmp_path / f".{name}" / part).mkdir(parents=True)
    assert limits.looks_a_second(str(tmp_path), ["A", "B"]) > 0
    if inotify.binding():
        assert limits.seconds_to_watch(str(tmp_path), ["A", "B"]) > 0
    for name in ("A", "B"):
        for number in range(3):
            (tmp_path / f".{name}" / "cur" / f"{number}").write_bytes(b"Subject: x\n\nx\n")
    assert limits.bodies_a_second(str(tmp_path), ["A", "B"]) > 0
    for number in range(3):
        (tmp_path / ".B" / "cur" / f"{number}").unlink()
    (tmp_path / ".B" / "cur").rmdir()
    with pytest.raises(Refused):
        limits.looks_a_second(str(tmp_path), ["A", "B"])


def test_the_limits_of_select_leave_the_mailbox_as_it_was(tmp_path: Path) -> None:
    for part in ("new", "cur", "tmp", "courierpyindex"):
        (tmp_path / part).mkdir()
    for number in range(3):
        (tmp_path / "cur" / f"{number}.host:2,S").touch()
    (tmp_path / "courierimapuiddb").write_bytes(b"1 5 4\n")
    (tmp_path / "courierpyindex" / "columns").write_bytes(bytes(200))
    before = sorted(tmp_path.rglob("*"))
    assert limits.seconds_to_select(str(tmp_path), b"* 3 EXISTS\r\n", 3) > 0
    assert limits.seconds_to_number(str(tmp_path)) > 0
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "courierimapuiddb").read_bytes() == b"1 5 4\n"
    (tmp_path / "courierpyindex" / "columns").unlink()
    with pytest.raises(Refused):
        limits.seconds_to_select(str(tmp_path), b"* 3 EXISTS\r\n", 3)


@pytest.mark.parametrize("at_once", [True, False])
def test_the_limits_of_changes_leave_nothing(tmp_path: Path, at_once: bool) -> None:
    if inotify.binding():
        assert limits.flags_a_second(str(tmp_path), 7, at_once) > 0
    assert limits.appends_a_second(str(tmp_path), 3) > 0
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("at_once", "forked"), [(8, False), (2, True), (10, True)])
def test_the_limits_of_sessions_serve_all_and_leave_nothing(at_once: int, forked: bool) -> None:
    def left() -> set[str]:
        return {name for name in os.listdir(tempfile.gettempdir()) + os.listdir(peers.MEMORY)
                if name.startswith("courierpy-bench-doors")}
    before = left()
    assert doors.sessions_a_second(10, at_once, forked) > 0
    assert left() == before


def test_a_line_for_every_miss_and_every_case_behind_courier() -> None:
    results = {"1": {"courierpy": [1.0, 3.0, 300.0], "courier": [4.0]},
               "2": {"courierpy": [2.0], "dovecot": [3.0], "courier": [1.0]}}
    assert report.slower_than_courier([FASTER, SHORTER], results) == ["1", "2"]
    text = report.why([FASTER, SHORTER], results, FULL)
    assert text.splitlines()[0].startswith("* **1** what: missed, 2.7 times, 0.75 of Courier's speed.")
    assert text.splitlines()[1].startswith("* **2** what: met, 0.50 of Courier's speed.")


def test_sections_of_the_document_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    report.write(str(path), {"table": "one", "why": "because"})
    report.write(str(path), {"growth": "a picture"})
    report.write(str(path), {"table": "two"})
    text = path.read_text()
    assert text.startswith("# Benchmarks")
    assert [text.index(word) for word in ("two", "because", "a picture")] == sorted(
        text.index(word) for word in ("two", "because", "a picture"))
    assert "\none\n" not in text


def test_the_readme_hears_how_many_rows_are_ahead(tmp_path: Path) -> None:
    path, readme = tmp_path / "docs" / "benchmarks.md", tmp_path / "README.md"
    path.parent.mkdir()
    report.write(str(path), {"ahead": "Of 9 rows courierpy is ahead of both in 4, behind"})   # no README
    row = "| rows of the benchmark ahead of both C servers | %s | | | |\n"
    readme.write_text(f"one\n{row}two\n" % "38 of 95")
    report.write(str(path), {"ahead": "Of 96 rows courierpy is ahead of both in 40, behind"})
    assert readme.read_text() == f"one\n{row}two\n" % "40 of 96"


def test_each_reason_is_of_a_row() -> None:
    assert {"19g", "39f"} <= report.reasons().keys() <= {case.key for row in ROWS for case in row.cases}


def test_keys_of_rows_are_told_apart() -> None:
    keys = [case.key for row in ROWS for case in row.cases]
    assert len(set(keys)) == len(keys)
    assert set(growth.WHOLE + growth.RANGE + growth.SINGLE + growth.TIMES) <= set(keys)
    for row in ROWS:
        for case in row.cases:
            assert "{" not in report.titled(case, FULL)


def test_the_picture_is_a_picture() -> None:
    panel = plot.Panel("4", "SELECT <cold>")
    panel.lines = {"courierpy": {1000: 0.5, 100_000: 50.0}, "dovecot": {1000: 2.0}}
    drawing = ElementTree.fromstring(plot.draw([panel]))
    lines = drawing.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 1]


@pytest.mark.server
def test_a_run_gives_figures(tmp_path: Path) -> None:
    out = tmp_path / "out.md"
    words = [sys.executable, "-m", "bench", "--quick", "--rows", "5,10", "--servers", "courierpy",
             "--write", str(out)]
    done = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    for key in ("5", "10"):
        assert re.search(rf"^\| {key} \| [^|]+ \| [^|]+ \| [\d.,]+ \| - \| - \|", out.read_text(), re.M)
    assert re.search(r"^10 +NOOP.*commands/s +[\d.,]+ ", done.stdout, re.M)


@pytest.mark.server
def test_each_server_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Lab(["courierpy"], str(REPO), alone=False) as lab:
        server = lab.servers[0]
        assert isinstance(server, Courierpy)
        pids = server.roots()
        raise RuntimeError
    assert pids and not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    assert not os.path.exists(lab.folder)


@pytest.mark.skipif(not os.path.exists("/proc/self/pagemap"), reason="no kernel that says whose a page is")
def test_a_fork_copies_more_where_what_it_calls_is_spread() -> None:
    done = subprocess.run([sys.executable, os.path.join(REPO, "bench", "copied.py"), "300"], text=True,
                          capture_output=True, check=True, timeout=120)
    none, spread, together = (int(line.split()[-2]) for line in done.stdout.splitlines()[1:])
    assert none < together < spread
