"""Which interpreters the quick tests are run on."""
from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from tests.conftest import REPO
from tools import pythons


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_those_that_answer_from_the_oldest_on(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    program(one / "python3.12", "echo /opt/a/python3.12 3 12 9")
    program(one / "python3", "echo /opt/a/python3.12 3 12 9")
    program(one / "python3.10", "echo /opt/a/python3.10 3 10 1")
    program(one / "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    program(one / "python3-config", "echo /opt/a/config 3 14 0")
    program(two / "python3.12", "echo /opt/b/python3.12 3 12 9")
    program(two / "python3.11", "echo '/opt/with blank/python3.11' 3 11 2")
    assert pythons.interpreters(map(str, (one, tmp_path / "none", two, one))) == {
        "3.11.2": "/opt/with blank/python3.11", "3.12.9": "/opt/a/python3.12"}


def test_where_they_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / "versions" / "3.13.0").mkdir(parents=True)
    places = pythons.folders({"PATH": "/a:/b", "PYENV_ROOT": str(tmp_path)})
    assert places == ["/a", "/b", "/usr/bin", "/usr/local/bin", str(tmp_path / "versions" / "3.13.0" / "bin")]


def test_ours_is_one_of_them() -> None:
    version = ".".join(map(str, sys.version_info[:3]))
    assert version in pythons.interpreters([os.path.dirname(os.path.realpath(sys._base_executable))])  # type: ignore[attr-defined]


def test_all_that_hash_are_run_with_libpass() -> None:
    named = [REPO / name for name in pythons.HASHING]
    assert all(path.exists() for path in named)
    hashing = re.compile(r"passlib|import passwords|md5_crypt|imappw=|demo\.make\(")
    for path in (REPO / "tests").rglob("test_*.py"):
        text = path.read_text()
        if hashing.search(text) and not re.search(r"pytestmark = .*(server|clients|peers)", text) \
                and "house" not in path.parts:
            assert any(path.is_relative_to(place) for place in named), path
