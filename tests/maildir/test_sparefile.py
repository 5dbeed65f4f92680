"""The file of a reader that has left, which the next one of the process takes over."""
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.maildir import sparefile
from courierpy.maildir.expunged import Readers
from courierpy.system import proc


@pytest.fixture
def reused(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sparefile, "_is_wanted", False)
    sparefile.begin()
    yield
    sparefile.end()


@pytest.fixture
def readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Readers:
    for name in ("one/tmp", "two/tmp"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return Readers("one", "host")


def names(path: str) -> list[str]:
    return [name.partition("_")[2] for name in os.listdir(path)]


def inode(readers: Readers) -> int:
    return os.stat(readers.own()).st_ino


@pytest.mark.usefixtures("reused")
def test_the_next_reader_has_it_whatever_the_mailbox(readers: Readers, tmp_path: Path) -> None:
    readers.join()
    first, text = inode(readers), Path(readers.own()).read_bytes()
    readers.leave()
    assert names("one/tmp") == ["kept.host"] and not Readers("one", "host").others()
    (tmp_path / "elsewhere").mkdir()
    os.chdir("elsewhere")
    other = Readers(f"{tmp_path}/two", "host")
    other.join()
    assert inode(other) == first and Path(other.own()).read_bytes() == text
    assert names(f"{tmp_path}/one/tmp") == [] and Readers(f"{tmp_path}/two", "host").others()
    other.leave()
    assert names(f"{tmp_path}/two/tmp") == ["kept.host"]
    sparefile.end()
    assert names(f"{tmp_path}/two/tmp") == []


@pytest.mark.usefixtures("reused")
def test_one_is_kept(readers: Readers) -> None:
    other = Readers("two", "host")
    for each in (readers, other):
        each.join()
    for each in (readers, other):
        each.leave()
    assert (names("one/tmp"), names("two/tmp")) == (["kept.host"], [])


def test_none_is_kept_where_no_session_follows(readers: Readers) -> None:
    readers.join()
    readers.leave()
    assert names("one/tmp") == []


@pytest.mark.usefixtures("reused")
def test_one_that_a_lock_leads_to_is_nobodys(readers: Readers) -> None:
    readers.join()
    os.link(readers.own(), "one/tmp/courier.lock")
    readers.leave()
    assert os.listdir("one/tmp") == ["courier.lock"]
    os.unlink("one/tmp/courier.lock")
    readers.join()
    readers.leave()
    kept, = os.listdir("one/tmp")
    os.link(f"one/tmp/{kept}", "one/tmp/courier.lock")
    first = os.stat("one/tmp/courier.lock").st_ino
    readers.join()
    assert inode(readers) != first and sorted(names("one/tmp")) == ["", "reader.host"]


@pytest.mark.usefixtures("reused")
@pytest.mark.parametrize("other", [False, True], ids=["gone", "another"])
def test_one_that_is_not_there_any_more(readers: Readers, other: bool) -> None:
    readers.join()
    readers.leave()
    kept, = os.listdir("one/tmp")
    os.rename(f"one/tmp/{kept}", "one/old")
    if other:
        Path(f"one/tmp/{kept}").write_text("of somebody")
    readers.join()
    assert Path(readers.own()).read_bytes() == Path("one/old").read_bytes()
    assert names("one/tmp") == ["reader.host"]


@pytest.mark.usefixtures("reused")
def test_a_child_has_none(readers: Readers) -> None:
    readers.join()
    readers.leave()

    def child() -> int:
        sparefile.end()
        readers.join()
        return len(os.listdir("one/tmp"))
    _, status = os.waitpid(proc.fork(child), 0)
    assert os.waitstatus_to_exitcode(status) == 2
