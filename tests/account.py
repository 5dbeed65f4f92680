"""A Maildir of an account that is not root's, on a disk that may be a small one of its own.

What root may do cannot be forbidden, so sessions run as the test account: nobody where we
are root, and we ourselves otherwise.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import account_ids, account_python
from tests.realtime.windows import Window, over_program


class Account:
    """``home``: where the Maildir is.  ``log``: of all its sessions.  ``library``: PYTHONPATH of its
    programs."""

    def __init__(self, home: Path, python: str, library: str, close: ExitStack) -> None:
        self.home = home
        self.maildir = home / "Maildir"
        self.log = home.parent / "log"
        self._python = python
        self.library = library
        self._close = close

    def window(self, hook: str = "", **environ: str) -> Window:
        """A session, as after a login; it ends with the account.  ``hook``: Python that it runs first."""
        path = self.library
        if hook:
            hooks = Path(tempfile.mkdtemp(prefix="hook-", dir=self.home.parent))
            hooks.chmod(0o755)
            (hooks / "sitecustomize.py").write_text(hook)
            path = os.pathsep.join([str(hooks), path])
        words = [*self.words("courierpy.imapd"), str(self.maildir)]
        window = over_program(words, self.log, PYTHONPATH=path, **environ)
        self._close.callback(window.close)
        return window

    def words(self, module: str) -> tuple[str, ...]:
        """What starts a program of ours as this account."""
        uid, gid = account_ids()
        become = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups") if os.getuid() == 0 else ()
        return (*become, self._python, "-m", module)

    def make(self, path: str | bytes, data: bytes | None = None) -> bytes:
        """A file of the account, or a directory; ``path`` below its home.  Gives the whole path."""
        whole = os.path.join(os.fsencode(self.home), os.fsencode(path))
        if data is None:
            os.makedirs(whole)
        else:
            with open(whole, "wb") as file:
                file.write(data)
        while whole.startswith(os.fsencode(self.home)) and os.stat(whole).st_uid != account_ids()[0]:
            os.chown(whole, *account_ids())
            whole = os.path.dirname(whole)
        return os.path.join(os.fsencode(self.home), os.fsencode(path))

    def folder(self, name: str | bytes = b"", parts: tuple[str, ...] = ("cur", "new", "tmp")) -> None:
        for part in parts:
            self.make(os.path.join(b"Maildir", os.fsencode(name), os.fsencode(part)))

    def mail(self, count: int, place: str = "cur") -> None:
        """Messages 1 to ``count``; their subjects are s1, s2, ..."""
        suffix = ":2," if place.endswith("cur") else ""
        for number in range(1, count + 1):
            self.make(f"Maildir/{place}/{1700000000 + number}.M{number}P1.host{suffix}", text(number))

    @property
    def logged(self) -> str:
        return self.log.read_text()


def text(number: int) -> bytes:
    return (b"From: a@example.org\nSubject: s%d\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n\nbody %d\n"
            % (number, number))


@contextmanager
def account(disk: Callable[[Path], None] | None = None) -> Iterator[Account]:
    """``disk``: mounts one at the path that it is given, which becomes the account's home."""
    top = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    top.chmod(0o755)
    home = top / "home"
    home.mkdir()
    with ExitStack() as close:
        close.callback(shutil.rmtree, top)
        if disk is not None:
            disk(home)
            close.callback(subprocess.run, ["umount", "-l", home], check=True, timeout=60)
        os.chown(home, *account_ids())
        yield Account(home, *account_python(top), close)


def tmpfs(options: str) -> Callable[[Path], None]:
    """A small disk for account(); the test is skipped where none can be mounted."""
    def mount(home: Path) -> None:
        if os.getuid():
            pytest.skip("not root: no disk can be mounted")
        words = ["mount", "-t", "tmpfs", "-o", f"mode=755,{options}", "tmpfs", str(home)]
        try:
            done = subprocess.run(words, capture_output=True, check=False, timeout=60)
        except OSError as error:
            pytest.skip(f"mount: {error.strerror}")
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted: {done.stderr.decode().strip()}")
    return mount
