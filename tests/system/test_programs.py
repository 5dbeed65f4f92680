"""Which programs are ours."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest

from courierpy.system import programs


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the interpreter."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    return tmp_path


@pytest.mark.parametrize(("content", "ours"), [
    (b"#!/usr/bin/python3\n", True), (b"\x7fELF\x02\x01\x01", False), (b"", False)])
def test_a_path_beside_the_interpreter(content: bytes, ours: bool, beside: Path) -> None:
    """Courier's imapd is /usr/bin/imapd, where a distribution's Python is as well."""
    (beside / "imapd").write_bytes(content)
    found = programs.find(str(beside / "imapd"))
    assert (found is not None) == ours
    words = programs.command(str(beside / "imapd"))
    assert (words == [str(beside / "imapd")]) == (not ours)


def test_a_path_elsewhere_and_a_name(beside: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "imapd"
    other.write_bytes(b"#!/usr/bin/python3\n")
    assert programs.find(str(other)) is None
    other.unlink()
    other.symlink_to(beside / "imapd")         # as `make install` has it
    (beside / "imapd").write_bytes(b"#!python")
    assert programs.find(str(other)) is programs.find("imapd")
    found = programs.find("imapd")
    assert found is not None and found.name == "imapd"
    assert programs.find("exim") is None
    assert programs.find(str(beside / "exim")) is None
