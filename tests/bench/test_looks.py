"""The program that shows what looks cost beside watches: these hear what a look would see; nothing stays."""
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import looks
from courierpy.system import inotify


def _mail(path: Path) -> None:
    (path / "new/1.host").touch()


def _flag(path: Path) -> None:
    (path / "cur/1.host:2,").rename(path / "cur/1.host:2,S")


def _number(path: Path) -> None:
    with open(path / "courierimapuiddb", "ab") as file:
        file.write(b"21 1.host\n")


def _numbers(path: Path) -> None:
    (path / "draft").rename(path / "courierimapuiddb")


def _rights(path: Path) -> None:
    (path / "courierimapacl").write_bytes(b"owner lr\n")


@pytest.mark.parametrize("change", [_mail, _flag, _number, _numbers, _rights])
def test_a_watch_hears_what_a_look_would_see(change: Callable[[Path], None], tmp_path: Path) -> None:
    made = looks.make(str(tmp_path), 2)
    (Path(made[1]) / "cur/1.host:2,").touch()
    (Path(made[1]) / "draft").touch()
    ear = looks.watch(made)
    try:
        looks.look(made)
        looks.hear(ear, made)
        assert not ear.waiting
        change(Path(made[1]))
        looks.hear(ear, made)
        assert ear.waiting
    finally:
        ear.close()
        inotify.drop()


def test_it_tells_of_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert looks.main([str(tmp_path), "3"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["look", "set", "ask", "end"]
    assert os.listdir(tmp_path) == []
