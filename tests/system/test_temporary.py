"""Where sockets and a rehearsal are made, also on a machine whose /tmp is closed."""
from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from courierpy.listener import sockets
from courierpy.system import temporary


def test_the_folder_of_tmpdir_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert temporary.folder() == str(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    assert temporary.folder() in ("/tmp", "/var/tmp", "/dev/shm")
    monkeypatch.delenv("TMPDIR")
    assert list(temporary.folders()) == ["/tmp", "/var/tmp", "/dev/shm"]


def test_a_socket_is_made_where_one_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_folders", lambda: iter([str(tmp_path / "missing"), str(tmp_path)]))
    sock, fd = sockets.private()
    sock.close()
    os.close(fd)
    assert not list(tmp_path.iterdir())


def test_a_refusal_names_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [str(tmp_path / "missing"), str(tmp_path / "gone")]
    monkeypatch.setattr(sockets, "_folders", lambda: iter(places))
    with pytest.raises(FileNotFoundError) as caught:
        sockets.private()
    assert caught.value.errno == errno.ENOENT
    assert caught.value.filename == ", ".join(places)
    assert "TMPDIR" in str(caught.value.strerror)


def test_a_directory_that_all_may_pass(tmp_path: Path) -> None:
    """Also where courierpy serve is started with umask 077, as by its unit."""
    before = os.umask(0o077)
    try:
        assert temporary.directory(str(tmp_path / "run"))
        assert not temporary.directory(str(tmp_path / "run"), 0o700)
    finally:
        os.umask(before)
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o755
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        temporary.directory(str(tmp_path / "file"))
