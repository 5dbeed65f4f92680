"""What all tests share: a demo account, and how a missing client is treated."""
from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent

MAIL = (b"From: Ann <ann@example.org>\nTo: demo@example.net\nSubject: mail %d\n"
        b"Date: Mon, 1 Jan 2024 10:00:00 +0000\nMessage-ID: <m%d@example.org>\n\nHello %d.\n")


def need(program: str) -> str:
    """The path of a real client; without it the test is skipped, or fails where clients are required."""
    path = shutil.which(program)
    if path is None:
        if os.environ.get("COURIERPY_REQUIRE_CLIENTS"):
            pytest.fail(f"{program} is not installed, and clients are required here")
        pytest.skip(f"{program} is not installed")
    return path


def fill(maildir: Path, count: int) -> None:
    """``count`` messages in new/."""
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        (maildir / "new" / f"{1700000000 + number}.M{number}P1.host").write_bytes(
            MAIL % (number, number, number))


def plain_environ(**more: str) -> dict[str, str]:
    """An environment without this machine's own settings."""
    return {"PATH": os.environ["PATH"], "TZ": "UTC", "LANG": "C.UTF-8",
            "PYTHONPATH": str(REPO), **more}


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    """A Maildir with three messages in new/."""
    path = tmp_path / "home" / "Maildir"
    fill(path, 3)
    return path


@pytest.fixture
def tunnel(maildir: Path) -> str:
    """The command that serves ``maildir`` on standard input and output, PREAUTH."""
    return f"env AUTHENTICATED=demo {sys.executable} -m courierpy.imapd {maildir}"
