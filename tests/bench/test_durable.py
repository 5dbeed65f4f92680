"""The program that shows what the disk allows does what it says."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import durable


@pytest.mark.parametrize("way", durable.WAYS)
def test_each_way_brings_all_messages(way: durable.Way, tmp_path: Path) -> None:
    place = durable.Place(str(tmp_path))
    for _ in range(3):
        way(place)
    place.close()
    assert sorted(os.listdir(tmp_path / "cur")) == ["1.mail:2,", "2.mail:2,", "3.mail:2,"]
    assert {path.read_bytes() for path in (tmp_path / "cur").iterdir()} == {durable.MESSAGE}
    assert os.listdir(tmp_path / "tmp") == []


def test_it_tells_of_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert durable.main([str(tmp_path), "2"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] \
        == [way.__name__ for way in durable.WAYS]
    assert os.listdir(tmp_path) == []
