"""The uiddb that a session keeps and writes over: what is in it, who else reads it, what is left of it."""
from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.maildir import keptnumbers
from courierpy.maildir.errors import StoreError
from courierpy.maildir.formats import uiddb
from courierpy.maildir.store import Store
from courierpy.system import regular
from tests.conftest import fill
from tests.maildir.children import ended, process
from tests.maildir.killed import at_each_step

NAME = "INBOX.One"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(keptnumbers, "SOON", 3600.0)
    fill(tmp_path / "Maildir", 1)
    store = Store(str(tmp_path / "Maildir"), host="host")
    store.create(NAME)
    store.options.keep_file()
    yield store
    store.options.end()


def append(store: Store, count: int = 1) -> list[int]:
    """UIDs of messages that came one by one."""
    uids = []
    for _ in range(count):
        mailbox = store.open(NAME)
        draft = mailbox.draft()
        draft.write(b"Subject: new\r\n\r\n")
        uids += mailbox.append([draft])[1]
    return uids


def numbers(store: Store) -> Path:
    return Path(store.open(NAME).path, uiddb.NAME)


def read(store: Store) -> uiddb.UidDb:
    found = uiddb.read(str(numbers(store)))
    assert found is not None and not found.damaged
    return found


def left(store: Store) -> list[str]:
    return [name for name in os.listdir(Path(store.open(NAME).path, "tmp")) if keptnumbers.UNIQUE in name]


def check(store: Store, uids: list[int]) -> None:
    """The uiddb has these, and names of messages that are there."""
    found = read(store)
    assert found.uids.tolist() == uids and found.uidnext > max(uids)
    files = {name.partition(":")[0] for name in os.listdir(Path(store.open(NAME).path, "cur"))}
    assert {os.fsdecode(name) for name in found.names()} == files


def test_two_files_take_turns_and_nothing_is_left(store: Store) -> None:
    append(store, 4)
    inodes = []
    for uid in range(5, 12):           # the first line gets longer with the tenth
        assert append(store) == [uid]
        inodes.append(numbers(store).stat().st_ino)
        check(store, [*range(1, uid + 1)])
        assert len(left(store)) == 1
    assert len(set(inodes)) == 2 and all(a != b for a, b in zip(inodes, inodes[1:], strict=False))
    assert store.options.busy
    store.options.rest()
    assert left(store) == [] and not store.options.busy
    assert append(store) == [12]
    check(store, [*range(1, 13)])


def test_who_has_it_open_reads_what_it_was(store: Store) -> None:
    append(store, 5)
    for _ in range(4):
        before = numbers(store).read_bytes()
        with numbers(store).open("rb") as file:
            append(store, 3)
            assert file.read() == before
    check(store, [*range(1, 18)])


def test_who_opens_it_as_soon_as_it_is_there_reads_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    real = os.rename

    def rename(old: str, new: str) -> None:
        real(old, new)
        if new == str(numbers(store)):
            found.append(read(store).uidnext)

    monkeypatch.setattr(os, "rename", rename)
    append(store, 8)
    assert found[-8:] == [*range(2, 10)]


def test_what_another_program_wrote_is_read(store: Store) -> None:
    append(store, 5)
    path = numbers(store)
    for number, uid in ((1, 30), (2, 60)):
        (path.parent / "cur" / f"other{number}:2,").touch()
        head, _, lines = path.read_bytes().partition(b"\n")
        text = b"%s %d\n%s%d other%d\n" % (head.rpartition(b" ")[0], uid + 1, lines, uid, number)
        if number == 1:
            (path.parent / "tmp" / "new").write_bytes(text)
            (path.parent / "tmp" / "new").rename(path)
        else:                          # no server does that
            path.write_bytes(text)
        assert append(store, 4) == [*range(uid + 1, uid + 5)]
    check(store, [*range(1, 6), *range(30, 35), *range(60, 65)])


def test_another_session_takes_turns(store: Store) -> None:
    other = Store(store.root, host="host")
    other.options.keep_file()
    append(store, 5)
    assert [append(each)[0] for each in (other, store, other, other, other, store, store, store, other) * 2] \
        == [*range(6, 24)]
    check(store, [*range(1, 24)])
    other.options.end()
    store.options.end()
    assert left(store) == []


def test_what_went_is_not_in_it(store: Store) -> None:
    append(store, 5)
    mailbox = store.open(NAME)
    mailbox.scan()
    assert mailbox.remove([2, 4]) == [2, 4]
    assert append(store, 3) == [6, 7, 8]
    mailbox.scan()
    mailbox.remove([8])
    mailbox.close()
    assert append(store, 3) == [9, 10, 11]
    store.open(NAME).scan()
    found = read(store)
    assert not {1, 3, 5, 6, 7, 9, 10, 11} - {*found.uids} and found.uidnext == 12
    assert store.open(NAME).scan().messages.uids.tolist() == [1, 3, 5, 6, 7, 9, 10, 11]


def test_it_does_not_go_along_with_a_mailbox_that_is_renamed(store: Store) -> None:
    append(store, 5)
    store.rename(NAME, "INBOX.Two")
    store.create(NAME)
    path = store.open("INBOX.Two").path
    assert [name for name in os.listdir(Path(path, "tmp")) if keptnumbers.UNIQUE in name] == []
    assert append(store) == [1]
    check(store, [1])


def test_another_session_renames_the_mailbox(store: Store) -> None:
    append(store, 5)
    other = Store(store.root, host="host")
    other.rename(NAME, "INBOX.Two")
    other.create(NAME)
    assert append(store, 6) == [*range(1, 7)]
    check(store, [*range(1, 7)])
    assert store.open("INBOX.Two").scan().messages.uids.tolist() == [*range(1, 6)]


def test_much_later_it_is_read_and_written_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    append(store, 5)
    monkeypatch.setattr(keptnumbers, "SOON", -1.0)
    assert append(store, 2) == [6, 7]
    assert left(store) == [] and not store.options.busy
    check(store, [*range(1, 8)])


def test_a_child_has_none_and_leaves_ours(store: Store) -> None:
    append(store, 5)
    before = left(store)

    def child() -> None:
        assert append(store, 4) == [6, 7, 8, 9]
        store.options.end()

    with process(child) as pid:
        assert ended(pid) == 0
    assert left(store) == before
    assert append(store, 3) == [10, 11, 12]
    check(store, [*range(1, 13)])


def test_a_spare_that_was_cleaned_away_is_not_missed(store: Store) -> None:
    append(store, 5)
    for name in left(store):
        Path(store.open(NAME).path, "tmp", name).unlink()
    assert append(store, 3) == [6, 7, 8]
    check(store, [*range(1, 9)])


def test_what_cannot_be_written_is_no_number(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    append(store, 5)
    before = numbers(store).read_bytes()

    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(StoreError):
            append(store)
    assert numbers(store).read_bytes() == before and left(store) == []
    assert append(store, 3) == [6, 7, 8]
    check(store, [*range(1, 9)])


def test_killed_at_each_step(store: Store) -> None:
    """What was told is there, by its number, and nothing else has it."""
    told = Path(store.root, "told")
    told.touch()

    def session() -> int:
        mine = Store(store.root, host="host")
        mine.options.keep_file()
        with told.open("ab", buffering=0) as file:
            for _ in range(5):
                [uid] = append(mine)
                file.write(b"%d\n" % uid)
        mine.options.end()
        return 0

    for _ in at_each_step(session, every=7):
        acknowledged = [int(line) for line in told.read_text().split()]
        assert acknowledged == sorted(set(acknowledged))
        uids = store.open(NAME).scan().messages.uids.tolist()
        found = read(store)            # with numbers of messages that did not come, perhaps
        assert set(acknowledged) <= set(uids) <= set(found.uids)
        assert found.uidnext > max(found.uids, default=0)


def test_who_opens_a_file_that_is_written_over_opens_the_next(tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"old")
    other.write_bytes(b"new")
    fd = os.open(path, os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    real = os.open

    def late(*args: int) -> int:       # who finds the file before it has no name any more
        try:
            return real(*args)         # type: ignore[arg-type]
        except BlockingIOError:
            other.rename(path)
            raise

    monkeypatch.setattr(os, "open", late)
    try:
        assert regular.whole(str(path)) == b"new"
    finally:
        os.close(fd)
