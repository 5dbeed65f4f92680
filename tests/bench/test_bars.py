"""The bars of the benchmark's table: its figures, and no others."""
from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import bars, growth, report

REPO = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
TABLE = """<!-- table -->
| row | what | unit | courierpy | Courier | Dovecot | : Courier | : Dovecot | goal | |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |
| 1a | one & <two> | ms | 1.00 | 2,000 | 0.50 | 2,000 | 0.50 | at most 1 ms | met |
| 2 | mine alone | ms | 1.00 | - | - | - | - | at most 1 ms | met |
| 3 | one of both | ms | 1.00 | - | 1.00 | - | 1.00 | at most 1 ms | met |
<!-- end -->
| 4 | of another table | ms | 1.00 | 1 | 1 | 1 | 1 | x | met |
"""


def texts(drawing: str) -> list[str]:
    return ["".join(one.itertext()) for one in ElementTree.fromstring(drawing).iter(f"{SVG}text")]


def test_make_bench_makes_what_readme_shows() -> None:
    """The bars are drawn with the table, the plot by growth."""
    done = subprocess.run(["make", "-n", "-o", "develop", "bench"], cwd=REPO, text=True, capture_output=True,
                          check=True, timeout=60)
    assert re.findall(r"python -m (\S+)", done.stdout) == ["bench", "bench.growth"]
    shown = set(re.findall(r"\]\((docs/\w+\.svg)\)", (REPO / "README.md").read_text()))
    assert {"docs/bench.svg", os.path.relpath(growth.DRAWING, REPO)} <= shown


def test_the_picture_is_the_table_of_the_document() -> None:
    document = (REPO / "docs" / "benchmarks.md").read_text()
    found = bars.rows(document)
    table = document.partition("<!-- table -->")[2].partition("<!-- end -->")[0]
    keys = re.findall(r"^\| (\d+[a-z]?) \|", table, re.M)
    assert [row.key for row in found] == [key for key in keys if key in {row.key for row in found}]
    assert len(found) >= 30
    drawing = bars.draw(found)
    assert (REPO / "docs" / "bench.svg").read_text() == drawing, "make index draws it"
    told = texts(drawing)
    for row in found:
        assert f"{row.title} {row.key}" in told
        assert 6 * len(f"{row.title} {row.key}") < bars.LEFT + 60, row.title
        for times in row.times.values():
            assert f"{times:g}" in told


def test_only_what_was_measured_is_drawn() -> None:
    found = bars.rows(TABLE)
    assert [(row.key, row.title, row.times) for row in found] == [
        ("1a", "one & <two>", {"courier": 2000.0, "dovecot": 0.5}), ("3", "one of both", {"dovecot": 1.0})]
    drawing = bars.draw(found)
    root = ElementTree.fromstring(drawing)
    # behind the ground and the two of the legend
    bars_drawn = [(float(one.get("x", "")), float(one.get("width", "")))
                  for one in list(root.iter(f"{SVG}rect"))[3:]]
    one = bars._x(1.0)
    assert bars_drawn[0] == pytest.approx((one, bars._x(bars.MOST) - one), abs=0.1)
    assert bars_drawn[1] == pytest.approx((bars._x(0.5), one - bars._x(0.5)), abs=0.1)
    assert bars_drawn[2][1] == 0.5
    assert {"2000", "0.5", "1"} <= set(texts(drawing))


def test_a_document_that_is_written_is_drawn_too(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    report.write(str(path), {"growth": "x"})
    assert not (tmp_path / "bench.svg").exists()
    report.write(str(path), {"table": TABLE.partition("\n")[2].partition("<!-- end")[0]})
    assert "one &amp; &lt;two&gt;" in (tmp_path / "bench.svg").read_text()
