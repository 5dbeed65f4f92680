"""The documents name files, settings and targets that are there."""
from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from bench import report
from courierpy.system.settings import TABLE
from tests.conftest import REPO

pytestmark = pytest.mark.source

ROOMS = sorted(path.name for path in (REPO / "courierpy").iterdir() if path.is_dir())
DOCUMENTS = sorted([*REPO.glob("*.md"), *(REPO / "docs").glob("*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(path: Path) -> None:
    """In code spelling and with a directory: courierpy/imap/updates.py, tests/house/test_layers.py; in a room
    also imap/updates.py."""
    text = path.read_text()
    for name in re.findall(r"`((?:courierpy|tests|bench|tools|etc|docs|rfc)/[\w./-]+)`", text):
        assert (REPO / name).exists(), name
    for name in re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w./-]+\.py)`", text):
        assert (REPO / "courierpy" / name).exists(), name


def test_classes_that_are_named_exist() -> None:
    there = {name for path in (REPO / "courierpy").rglob("*.py")
             for name in re.findall(r"^class (\w+)", path.read_text(), re.M)}
    for document in ("ARCHITECTURE.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"`((?:[A-Z][a-z]+)+)(?:\.\w+)?`", (REPO / document).read_text()))
        assert named and named <= there, named - there


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_that_are_named_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), re.M))
    named = set(re.findall(r"`make ([a-z-]+)", path.read_text()))
    assert named <= targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_postconf_is_given_one_line(path: Path) -> None:
    """It refuses a value of two."""
    for line in path.read_text().splitlines():
        if line.startswith("postconf -e "):
            assert re.match(r"postconf -e '[^']+'", line), line


def test_the_readme_tells_what_the_benchmark_found() -> None:
    found = report.AHEAD.search((REPO / "docs" / "benchmarks.md").read_text())
    assert found is not None
    assert report.TOLD_AHEAD.findall((REPO / "README.md").read_text()) == [f"{found[2]} of {found[1]}"]


def test_settings_that_are_named_exist() -> None:
    known = {setting.name for setting in TABLE}
    for path in DOCUMENTS:
        for name in re.findall(r"`(IMAP_[A-Z_]+)(?:=[^`]*)?`", path.read_text()):
            assert name in known or any(one.startswith(name) for one in known), f"{path.name}: {name}"


def test_make_test_says_how_long_it_takes_and_why_it_skips() -> None:
    told = subprocess.run(["make", "--no-print-directory", "-n", "test"], cwd=REPO, capture_output=True,
                          text=True, check=True, timeout=60).stdout.splitlines()
    assert "minutes" in told[0]
    runs = [line for line in told if " -m pytest " in line]
    assert len(runs) == 2
    assert all(" -rs " in line for line in runs)
