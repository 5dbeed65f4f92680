"""The program that shows what renames cost does them, and leaves nothing."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import renames


@pytest.mark.parametrize("count", [1, 3, renames.AT_ONCE + 1])
def test_each_way_gives_all_files_their_other_names(count: int, tmp_path: Path) -> None:
    files = renames.Files(str(tmp_path), count)
    for turn, way in enumerate(renames.WAYS, 1):
        way(files)
        names = os.listdir(tmp_path)
        assert len(names) == count
        assert {name.partition(":2,")[2] for name in names} == {"S" if turn % 2 else ""}


def test_it_tells_of_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert renames.main([str(tmp_path), "3"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] \
        == [way.__name__ for way in renames.WAYS]
    assert os.listdir(tmp_path) == []
