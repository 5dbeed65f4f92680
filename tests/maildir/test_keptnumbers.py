"""The uiddb that a session keeps, and puts lines behind: what is in it, who else reads it, what is synced."""
from __future__ import annotations

import errno
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
from courierpy.maildir.watch import Heard, Watch
from courierpy.system import regular
from tests.conftest import fill
from tests.maildir.children import ended, process
from tests.maildir.killed import at_each_step

NAME = "INBOX.One"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
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


def test_lines_are_put_behind_those_that_are_there(store: Store) -> None:
    append(store, 2)
    inodes = {}
    for uid in range(3, 15):           # the first line gets longer with the tenth
        assert append(store) == [uid]
        inodes[uid] = numbers(store).stat().st_ino
        check(store, [*range(1, uid + 1)])
        assert left(store) == []
    assert len({inodes[uid] for uid in range(3, 9)}) == 1
    assert len({inodes[uid] for uid in range(9, 15)}) == 1
    assert store.options.busy
    store.options.rest()
    assert not store.options.busy
    assert append(store) == [15]
    check(store, [*range(1, 16)])


def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is synced from now on."""
    found: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        found.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_the_name_is_synced_where_it_is_another_files(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = synced(monkeypatch)
    append(store)
    assert ".One" in found             # its name was there, but who knows since when
    for uid in range(2, 12):
        found.clear()
        append(store)
        new = uid == 9                 # then the next number is longer
        assert (".One" in found) == new and (uiddb.NAME in found) == (not new) and "cur" in found
    other = Store(store.root, host="host")
    append(other)
    other.options.end()
    found.clear()
    append(store)
    assert ".One" in found             # another session has written it anew
    found.clear()
    append(store)
    assert ".One" not in found


def test_a_name_that_could_not_be_synced_is_synced_later(store: Store,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    append(store, 8)
    real = os.fsync

    def fsync(fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").endswith(".One"):
            raise OSError(5, "Input/output error")
        real(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(StoreError):
            append(store)              # the next number is longer
    found = synced(monkeypatch)
    assert append(store) == [10] and ".One" in found
    assert store.open(NAME).scan().messages.uids.tolist() == [*range(1, 9), 10]


def test_who_has_it_open_reads_what_it_was(store: Store) -> None:
    append(store, 5)
    for _ in range(4):
        before = numbers(store).read_bytes()
        with numbers(store).open("rb") as file:
            append(store, 3)
            assert file.read() == before
    check(store, [*range(1, 18)])


def test_nobody_opens_it_while_it_is_written_to(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    append(store, 3)
    tried = 0
    real = os.pwrite

    def pwrite(fd: int, data: bytes, at: int) -> int:
        nonlocal tried
        tried += 1
        with pytest.raises(BlockingIOError):
            os.open(numbers(store), os.O_RDONLY | os.O_NONBLOCK)
        return real(fd, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    append(store, 2)
    assert tried == 4
    check(store, [*range(1, 6)])


def test_who_reads_all_the_time_finds_it_whole(store: Store) -> None:
    append(store, 3)

    def reader() -> None:
        last = 0
        while last < 60:
            found = read(store)
            assert last <= found.uidnext <= 60 and found.uidnext > max(found.uids)
            last = found.uidnext

    with process(reader) as pid:
        assert append(store, 56) == [*range(4, 60)]
        assert ended(pid) == 0
    check(store, [*range(1, 60)])


def test_others_hear_of_it(store: Store) -> None:
    append(store, 3)
    mailbox = store.open(NAME)
    watch, heard = Watch(mailbox.path, mailbox.keywords.files.path), Heard()
    try:
        inode = numbers(store).stat().st_ino
        append(store)
        watch.hear(heard)
        assert heard.numbers and numbers(store).stat().st_ino == inode
    finally:
        watch.close()


def test_another_file_takes_its_place_in_the_last_moment(store: Store,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a program that knows no lock: what is written behind it can be found still."""
    append(store, 3)
    real, path = keptnumbers._claim, numbers(store)

    def claim(fd: int) -> bool:
        (path.parent / "tmp" / "new").write_bytes(path.read_bytes())
        done = real(fd)
        (path.parent / "tmp" / "new").rename(path)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(keptnumbers, "_claim", claim)
        assert append(store) == [4]
    check(store, [1, 2, 3, 4])
    assert append(store) == [5]


def test_a_file_that_has_another_name_stays_as_it_is(store: Store) -> None:
    append(store, 3)
    copy = Path(store.root, "copy")
    os.link(numbers(store), copy)
    before = copy.read_bytes()
    assert append(store, 2) == [4, 5]
    assert copy.read_bytes() == before
    check(store, [*range(1, 6)])


@pytest.mark.parametrize("octets", [0, 1, 2, 3, 30])
def test_what_was_being_written_when_it_broke_off(store: Store, octets: int) -> None:
    """Its writer was killed, or the power went: a number is used up, or a line is cut."""
    append(store, 4)
    head, _, lines = numbers(store).read_bytes().partition(b"\n")
    line = b"5 1700000000.M0P1V0I0_0.host,S=1\n"
    numbers(store).write_bytes(head.rpartition(b" ")[0] + b" 6\n" + lines + line[:octets])
    uids = append(store, 3)
    assert uids[0] >= 5 and append(store) == [uids[-1] + 1]
    other = Store(store.root, host="host")
    assert other.open(NAME).scan().messages.uids.tolist() == [1, 2, 3, 4, *uids, uids[-1] + 1]
    assert other.open(NAME).scan().uidvalidity == read(store).uidvalidity == int(head.split()[1])


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


def test_a_child_has_none_and_leaves_ours(store: Store) -> None:
    append(store, 5)

    def child() -> None:
        assert append(store, 4) == [6, 7, 8, 9]
        store.options.end()

    with process(child) as pid:
        assert ended(pid) == 0
    assert append(store, 3) == [10, 11, 12]
    check(store, [*range(1, 13)])


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


def test_a_full_disk_leaves_no_half_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    append(store, 5)
    before = numbers(store).read_bytes()
    real = os.pwrite

    def full(fd: int, data: bytes, at: int) -> int:
        if at and at != len(before):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data[:7] if at else data, at)

    give_back, seen = keptnumbers._give_back, []

    def others(fd: int) -> None:
        seen.append(os.pread(fd, 4096, 0))
        give_back(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        patch.setattr(keptnumbers, "_give_back", others)
        with pytest.raises(StoreError):
            append(store)
    assert numbers(store).read_bytes() == before and seen == [before]
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


def test_who_opens_a_file_that_is_written_to_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"new")
    fd = os.open(path, os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    monkeypatch.setattr(regular.time, "sleep", sleep)
    try:
        assert regular.whole(str(path)) == b"new" and len(waited) == 3
    finally:
        os.close(fd)


def test_who_opens_a_file_that_stays_taken_is_refused(tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.touch()
    fd = os.open(path, os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    monkeypatch.setattr(regular, "LEASED_SECONDS", 0.0)
    try:
        with pytest.raises(BlockingIOError):
            regular.whole(str(path))
    finally:
        os.close(fd)
