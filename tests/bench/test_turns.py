"""The program that shows what a process for each connection costs: all take turns, and nothing stays."""
from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import turns


@pytest.mark.parametrize("way", turns.WAYS)
def test_turns(way: Callable[[str, int, int], bytes], tmp_path: Path,
               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert sum(turns.measured(way, 3, 20)) > 0
    assert os.listdir(tmp_path) == []


def test_what_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert turns.main(["2", "10"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [way.__name__ for way in turns.WAYS]
    assert all(re.fullmatch(r"\w+ +\d+\.\d{3} \+ \d+\.\d{3} ms a command", line) for line in lines)
