"""The record of a dialogue: what is blanked, and where it ends."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from courierpy.system.record import Record
from courierpy.system.regular import open_regular


def recorded(path: Path, *pieces: bytes, room: int = -1) -> bytes:
    record = Record(open_regular(path, os.O_WRONLY | os.O_CREAT), room)
    for piece in pieces:
        record.read(piece)
    record.write(b"* OK\r\n* BYE\r\n")
    return path.read_bytes()


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(("said", "kept"), [
    (b"a LOGIN u secret\r\nb NOOP\r\n", b"READ: a LOGIN ...\nREAD: b NOOP\n"),
    (b"a login {1}\r\nu {6}\r\nsecret\r\nb X\r\n", b"READ: a login ...\nREAD: ...\nREAD: ...\nREAD: b X\n"),
    (b"PASS secret word\r\nSTAT\r\n", b"READ: PASS ...\nREAD: STAT\n"),
    (b"a Authenticate PLAIN secret\r\n", b"READ: a Authenticate PLAIN ...\n"),
    (b"a SEARCH LOGIN x\r\n", b"READ: a SEARCH LOGIN x\n"), (b"\r\n\n", b"READ: \nREAD: \n")])
def test_blanked(said: bytes, kept: bytes, size: int, tmp_path: Path) -> None:
    pieces = [said[at:at + size] for at in range(0, len(said), size)]
    assert recorded(tmp_path / "r", *pieces) == kept + b"WRITE: * OK\nWRITE: * BYE\n"


@pytest.mark.parametrize("room", [0, 1, 20, 30])
def test_room(room: int, tmp_path: Path) -> None:
    assert recorded(tmp_path / "r", b"a NOOP\r\n" * 3, room=room) == (b"READ: a NOOP\n" * 3)[:room]
