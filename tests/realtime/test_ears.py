"""Several who listen in one process share an instance of inotify, and each hears its own."""
from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.maildir.formats.keywordlist import DIRECTORY
from courierpy.maildir.watch import Heard, Watch
from courierpy.system import inotify
from courierpy.system.inotify import IN_CREATE, IN_DELETE, IN_IGNORED, IN_MOVED_TO, Ear
from tests.conftest import fill


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    gc.collect()                               # what other tests have left goes now, or not before the end
    inotify.drop()
    yield
    inotify.drop()


def instances() -> int:
    return [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{fd}")].count("anon_inode:inotify")


def names(ear: Ear) -> list[bytes]:
    return [name for _, _, name in ear.events()]


def test_two_watches_lose_none_of_each_others_events(tmp_path: Path) -> None:
    others = instances()                       # of watches that the process has besides
    folders = [tmp_path / "one", tmp_path / "two"]
    watches = []
    for folder in folders:
        fill(folder, 0)
        watches.append(Watch(str(folder), str(folder / DIRECTORY)))
    assert instances() == others + 1
    (folders[0] / "cur" / "1.M1P1.host:2,S").touch()
    (folders[1] / "new" / "2.M2P2.host").touch()
    one, two = Heard(), Heard()
    watches[0].hear(one)
    assert list(one.cur) == [b"1.M1P1.host"]
    assert not one.new
    assert watches[1].waiting
    watches[1].wait(60.0)                      # returns at once
    watches[1].hear(two)
    assert two.new
    assert not two.cur
    assert not watches[1].waiting


def test_a_directory_with_two_ears_and_other_wishes(tmp_path: Path) -> None:
    """inotify has one mask for a directory: a second one must not take the first one's place."""
    first, second = Ear(), Ear()
    number = first.add(str(tmp_path), IN_CREATE)
    assert second.add(str(tmp_path), IN_DELETE) == number
    (tmp_path / "x").touch()
    (tmp_path / "x").unlink()
    assert [(mask, name) for _, mask, name in second.events()] == [(IN_DELETE, b"x")]
    assert [(mask, name) for _, mask, name in first.events()] == [(IN_CREATE, b"x")]
    first.close()
    (tmp_path / "y").touch()
    (tmp_path / "y").unlink()
    assert names(first) == []
    assert names(second) == [b"y"]


def test_who_closes_takes_no_watch_of_another(tmp_path: Path) -> None:
    first, second = Ear(), Ear()
    for ear in (first, second):
        ear.add(str(tmp_path), IN_CREATE)
    (tmp_path / "x").touch()
    second.events()
    second.close()
    assert names(first) == [b"x"]
    (tmp_path / "y").touch()
    assert names(first) == [b"y"]
    first.close()
    assert "inotify wd" not in Path(f"/proc/self/fdinfo/{first.fd}").read_text()


def test_watches_of_a_process_that_ends_go_with_its_instance(tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    ear = Ear()
    ear.add(str(tmp_path), IN_CREATE)
    removed: list[int] = []
    monkeypatch.setattr(inotify.Inotify, "remove", lambda self, number: removed.append(number))
    fd = ear.fd
    inotify.ends()
    ear.close()
    (tmp_path / "x").touch()
    assert names(ear) == removed == []
    inotify.drop()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    Ear().close()                              # another instance, whose watches end as ever
    again = Ear()
    again.add(str(tmp_path), IN_CREATE)
    again.close()
    assert len(removed) == 1


def test_a_directory_that_goes_is_told_to_all(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    ears = [Ear(), Ear()]
    for ear in ears:
        ear.add(str(tmp_path / "there"), IN_MOVED_TO)
    (tmp_path / "there").rmdir()
    for ear in ears:
        assert [mask & IN_IGNORED for _, mask, _ in ear.events()] == [IN_IGNORED]
        ear.close()


def test_lost_events_are_told_to_all(tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 20_000:
        pytest.skip(f"this kernel keeps {limit} events")
    ears = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        ears.append(Ear())
        ears[-1].add(str(tmp_path / name), IN_CREATE)
    for number in range(limit + 1):
        (tmp_path / "one" / str(number)).touch()
    assert ears[1].events()[-1][1] & inotify.IN_Q_OVERFLOW
    assert ears[0].events()[-1][1] & inotify.IN_Q_OVERFLOW


def test_a_child_does_not_hear_for_its_parent(tmp_path: Path) -> None:
    others = instances()
    ear = Ear()
    ear.add(str(tmp_path), IN_CREATE)
    pid = os.fork()
    if pid == 0:
        (tmp_path / "x").touch()
        wrong = ear.events() != [] or instances() != others
        ear.close()
        os._exit(wrong)
    assert os.waitpid(pid, 0)[1] == 0
    assert names(ear) == [b"x"]
    (tmp_path / "y").touch()
    assert names(ear) == [b"y"]
