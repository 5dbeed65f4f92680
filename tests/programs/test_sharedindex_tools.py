"""sharedindexsplit, sharedindexinstall and makeimapaccess: Courier's names and exit codes."""
from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from courierpy.admin import makeimapaccess, sharedindexinstall, sharedindexsplit
from courierpy.maildir.sharedindex import SharedIndex
from tests.conftest import need

ACCOUNTS = ("ann\t7\t7\t/home/ann\t./Maildir\toptions\nbob\t8\t8\t/home/bob\n# c\nodd\t1\t1\n"
            "carl\t9\t9\t/h/carl\tM\tfoo=1,sharedgroup=x\nx\t1\t1\t/h\t\tsharedgroup=\n"
            "zed\t1\t1\t/h\tMd\tdisableshared=1\n\nann@x\t1\t1\t/h\t\xe9\n")


def split(monkeypatch: pytest.MonkeyPatch, *words: str | Path, text: str = ACCOUNTS) -> int:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode("latin-1"))))
    return sharedindexsplit.main([*map(str, words)])


def lines(directory: Path) -> dict[str, list[bytes]]:
    return {file.name: sorted(file.read_bytes().splitlines()) for file in directory.iterdir()}


def test_by_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert split(monkeypatch, tmp_path) == 0
    assert lines(tmp_path) == {
        "index": [b"ann\t7\t7\t/home/ann\t./Maildir", b"ann@x\t1\t1\t/h\t\xe9", b"bob\t8\t8\t/home/bob",
                  b"x\t1\t1\t/h\t", b"zed\t1\t1\t/h\tMd"], "indexx": [b"carl\t9\t9\t/h/carl\tM"]}
    split(monkeypatch, tmp_path, text="new\t1\t1\t/h\n")
    assert len(lines(tmp_path)["index"]) == 6


@pytest.mark.parametrize("letters", [1, 2, 7])
def test_what_is_split_is_found(letters: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert split(monkeypatch, tmp_path, str(letters)) == 0
    found = dict(SharedIndex(str(tmp_path / "index"), False).accounts())
    assert {name.rpartition(".")[2]: where for name, where in found.items()} == {
        "ann": "/home/ann/Maildir", "bob": "/home/bob/Maildir", "carl": "/h/carl/M", "x": "/h/Maildir",
        "zed": "/h/Md", "ann@x": "/h/\udce9"}
    assert all(name.count(".") == letters for name in found)


@pytest.mark.parametrize("words", [["none"], [".", "8"], [".", "x"], [], [".", "-1"]])
def test_wrong_words(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        assert split(monkeypatch, *words) == 2
    except SystemExit as end:
        assert end.code == 2
    assert list(tmp_path.iterdir()) == []


def test_install(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new, used = tmp_path / "shared.tmp", tmp_path / "shared"
    new.mkdir()
    assert sharedindexinstall.main([str(tmp_path)]) == 1
    used.mkdir()
    for name in ("index", "old"):
        (used / name).write_text("before")
    assert sharedindexinstall.main([str(tmp_path)]) == 1
    assert lines(used) == {"index": [b"before"], "old": [b"before"]}
    assert "sharedindexsplit writes it" in capsys.readouterr().err
    for name in ("index", "indexa"):
        (new / name).write_text("now")
    assert sharedindexinstall.main([str(tmp_path)]) == 0
    assert lines(used) == {"index": [b"now"], "indexa": [b"now"]}
    assert list(new.iterdir()) == []


def test_access_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules, settings = tmp_path / "imapaccess", tmp_path / "imapd"
    settings.write_text(f"IMAPACCESSFILE={rules}\n")
    assert makeimapaccess.main(["-C", str(settings)]) == 1
    rules.write_text("127.0.0.1\tallow\n10\tdeny\n")
    assert makeimapaccess.main(["-C", str(settings)]) == 0
    assert capsys.readouterr().out == f"{rules}: 2 rules\n"
    rules.write_text("10\n")
    assert makeimapaccess.main(["-C", str(settings)]) == 1
    assert f"{rules}:1: KEY and ACTION" in capsys.readouterr().err
    settings.write_text("")
    assert makeimapaccess.main(["-C", str(settings)]) == 1
    assert "everybody may connect" in capsys.readouterr().err


@pytest.mark.peers
@pytest.mark.parametrize("letters", ["", "0", "1", "3"])
def test_split_as_by_courier(letters: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    assert split(monkeypatch, tmp_path / "ours", *filter(None, [letters])) == 0
    subprocess.run([need("/usr/sbin/sharedindexsplit"), os.fsdecode(tmp_path / "theirs"),
                    *filter(None, [letters])], input=ACCOUNTS.encode("latin-1"), check=True, timeout=60)
    assert lines(tmp_path / "ours") == lines(tmp_path / "theirs")
