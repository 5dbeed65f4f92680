"""What the tests of real clients share."""
from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, plain_environ, serving


@pytest.fixture
def listener() -> Iterator[Server]:
    """The chain in one process, for clients that are no test of its modes."""
    with serving(IMAP_IDLE_TIMEOUT="1", IMAPDEBUGFILE="dialogue") as running:
        (running.maildir / "dialogue").write_bytes(b"")
        (running.maildir / "dialogue").chmod(0o666)
        yield running


def run(words: list[str], home: Path, timeout: float = 60, **environ: str) -> str:
    """The output of a client that must succeed; ``home`` is its home directory."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False, cwd=home,
                          env=plain_environ(HOME=str(home), **environ), errors="replace")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def flags(maildir: Path) -> dict[str, str]:
    """Subject -> flag letters of the messages in cur/ and new/."""
    found = {}
    for part in ("cur", "new"):
        for file in (maildir / part).iterdir():
            found[subject(file)] = file.name.partition(":2,")[2]
    return found


def subject(file: Path) -> str:
    for line in file.read_bytes().splitlines():
        if line.lower().startswith(b"subject:"):
            return line[8:].strip().decode("utf-8", "replace")
    return ""
