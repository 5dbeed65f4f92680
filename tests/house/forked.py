"""A copy of the code, to be changed, and programs of it that start at once: they are forked (nursery.py)."""
from __future__ import annotations

import array
import json
import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import REPO

DEADLINE = 60.0
EXT = Path("courierpy", "imap", "ext")
INDICES = (EXT / "index.py", Path("courierpy", "imap", "commands", "index.py"))


class Program:
    """A program that runs; as much of a ``Popen`` as tests use."""

    def __init__(self, channel: socket.socket, module: str, argv: list[str], folder: Path,
                 environ: dict[str, str]) -> None:
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        self._status, theirs_status = os.pipe()
        theirs = [theirs_in, theirs_out, 2, theirs_status]
        request = json.dumps((module, argv, str(folder), environ)).encode()
        channel.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", theirs))])
        for fd in (theirs_in, theirs_out, theirs_status):
            os.close(fd)
        self.stdin = os.fdopen(ours_in, "wb", buffering=0)
        self.stdout = os.fdopen(ours_out, "rb", buffering=0)

    def wait(self, timeout: float = DEADLINE) -> int:
        """The exit status.  Raises AssertionError where there is none in time."""
        assert select.select([self._status], [], [], timeout)[0], "it does not end"
        status = os.read(self._status, 1)
        os.close(self._status)
        assert status, "it was killed"
        return status[0]

    def ends(self, said: bytes = b"") -> bytes:
        """All that it says when it hears this and no more, and ends well."""
        self.stdin.write(said)
        self.stdin.close()
        with self.stdout:
            told = self.stdout.readall()
        assert self.wait() == 0
        return told


class Nursery:
    """Forks programs of the code at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._nursery = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("nursery.py")), str(theirs.fileno())],
                cwd=path, pass_fds=[theirs.fileno()])

    def close(self) -> None:
        self._channel.close()
        self._nursery.wait(DEADLINE)

    def start(self, maildir: Path, environ: dict[str, str]) -> Program:
        """An imapd."""
        return Program(self._channel, "courierpy.imapd", ["imapd", str(maildir)], maildir, environ)


class House(Nursery):
    """The copy at ``path``.  Its files are compiled once; but for the indices, which are written anew."""

    def __init__(self, path: Path) -> None:
        for package in ("courierpy", "tools"):
            shutil.copytree(REPO / package, path / package, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run([sys.executable, "-m", "compileall", "-q", "courierpy", "tools"], cwd=path, check=True,
                       timeout=DEADLINE)
        for index in INDICES:
            for compiled in (path / index.parent / "__pycache__").glob("index.*"):
                compiled.unlink()
        self._texts = {index: (path / index).read_text() for index in INDICES}
        super().__init__(path)

    def rebuild(self) -> None:
        """Write the indices from the extensions that are there."""
        Program(self._channel, "tools.build_index", ["build_index"], self.path, {}).ends()

    def indices(self) -> str:
        """What they are now."""
        return "".join((self.path / index).read_text() for index in INDICES)

    @contextmanager
    def without(self, *extensions: str) -> Iterator[None]:
        """Their files are not there; the indices stay as they are."""
        away = self.path / "away"
        away.mkdir()
        try:
            for extension in extensions:
                os.rename(self.path / EXT / f"{extension}.py", away / f"{extension}.py")
            yield
        finally:
            for file in away.iterdir():
                os.rename(file, self.path / EXT / file.name)
            away.rmdir()
            for index, text in self._texts.items():
                (self.path / index).write_text(text)
