"""The folder lock on a real file system: rules of staleness, racers, ways out, waiting."""
from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from courierpy.maildir import errors
from courierpy.maildir.folders import Folders
from courierpy.maildir.locks import FolderLock


@pytest.fixture
def tree(maildir: Path) -> Folders:
    return Folders(str(maildir), host="host")


def test_lock(tree: Folders) -> None:
    path = Path(tree.root) / "tmp" / "courier.lock"
    with FolderLock(tree.root, "host"):
        assert path.read_text() == f"{os.getpid()}:{os.uname().nodename}"
        assert os.listdir(path.parent) == ["courier.lock"]
    assert not path.exists()
    with FolderLock(tree.root, "host", enabled=False):
        assert not path.exists()


def test_lock_of_a_dead_process(tree: Folders) -> None:
    path = Path(tree.root) / "tmp" / "courier.lock"
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    path.write_text(f"{pid}:{os.uname().nodename}")
    began = time.monotonic()
    with FolderLock(tree.root, "host"):
        assert path.read_text().startswith(f"{os.getpid()}:")
    assert time.monotonic() - began < 5
    # of another host: only when it is old
    path.write_text("1:elsewhere")
    os.utime(path, (time.time() - 300,) * 2)
    with FolderLock(tree.root, "host"):
        assert path.read_text().startswith(f"{os.getpid()}:")


def test_lock_that_is_held(tree: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    from courierpy.maildir import locks
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    path = Path(tree.root) / "tmp" / "courier.lock"
    path.write_text(f"{os.getppid()}:{os.uname().nodename}")
    with pytest.raises(errors.Busy), FolderLock(tree.root, "host"):
        pass
    assert os.listdir(path.parent) == ["courier.lock"]
