"""What the tests of real clients share."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Server, need, plain_environ, serving


@pytest.fixture
def listener(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The chain in one process, for clients that are no test of its modes."""
    yield from recorded("fork", request.node.name)


@pytest.fixture(params=["fork", "exec"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The chain in each of its modes."""
    yield from recorded(request.param, request.node.name)


def recorded(mode: str, name: str) -> Iterator[Server]:
    with serving(mode, IMAP_IDLE_TIMEOUT="1", IMAPDEBUGFILE="tmp/talk") as running:
        prepare(running.maildir)
        yield running
        keep(running.maildir, name)


@pytest.fixture
def tunnel(maildir: Path, tunnel: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """As everywhere, and recorded."""
    prepare(maildir)
    yield tunnel.replace("env ", "env IMAPDEBUGFILE=tmp/talk ")
    keep(maildir, request.node.name)


def prepare(maildir: Path) -> None:
    (maildir / "tmp" / "talk").mkdir()
    (maildir / "tmp" / "talk").chmod(0o777)


def keep(maildir: Path, name: str) -> None:
    """The sessions' records go to $COURIERPY_RECORD, for tests/dialogue/record.py."""
    folder = os.environ.get("COURIERPY_RECORD")
    if folder:
        target = Path(folder) / re.sub(r"\W+", "_", name).strip("_")
        if (maildir / "tmp" / "talk").is_dir():
            shutil.copytree(maildir / "tmp" / "talk", target, dirs_exist_ok=True)


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
        for file in (maildir / part).glob("[!.]*"):
            found[subject(file)] = file.name.partition(":2,")[2]
    return found


def subject(file: Path) -> str:
    for line in file.read_bytes().splitlines():
        if line.lower().startswith(b"subject:"):
            return line[8:].strip().decode("utf-8", "replace")
    return ""


def offlineimap(home: Path, near: Path, remote: str, local: str = "") -> Callable[[], str]:
    """OfflineIMAP, which copies between ``near`` and the account demo; to call it gives its output.
    ``remote``, ``local``: further lines for the two sides."""
    config = home / "offlineimaprc"
    config.write_text(f"""[general]
accounts = a
metadata = {home}/metadata
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {near}
{local}
[Repository far]
type = IMAP
remoteuser = demo
{remote}""")
    return lambda: run([need("offlineimap"), "-o", "-u", "basic", "-c", str(config)], home)
