"""Sessions that work in one mailbox at the same time: what one of them leaves to another."""
from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from courierpy.maildir import directory, expunged, files, keywords, survey
from courierpy.maildir.errors import Busy, Vanished
from courierpy.maildir.expunged import CROWD, Readers
from courierpy.maildir.formats import keyworddrafts, keywordlist, uiddb
from courierpy.maildir.formats.keywordlist import Keywords
from courierpy.maildir.lobby import Lobby
from courierpy.maildir.locks import FolderLock
from courierpy.maildir.looker import LIVELY
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.names import base
from courierpy.maildir.store import Store
from courierpy.model.flags import DELETED, FLAGGED, SEEN, FlagChange
from courierpy.system.regular import whole
from tests.conftest import fill, octets
from tests.maildir.children import ended, process, wait_until

WAITS = "1700000099.M5P%dV0000000000000801I0000000000000001_0.host,S=5:2,S"


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    fill(tmp_path / "Maildir", 5)
    return tmp_path / "Maildir"


@pytest.fixture
def opened(maildir: Path) -> Callable[[], Mailbox]:
    def open_one() -> Mailbox:
        mailbox = Store(str(maildir), host="host").open("INBOX")
        mailbox.join()
        mailbox.watch()
        mailbox.scan()
        mailbox.told()
        return mailbox
    return open_one


def uids(mailbox: Mailbox) -> list[int]:
    return list(mailbox.scan().messages.uids)


def append(mailbox: Mailbox) -> list[int]:
    draft = mailbox.draft()
    draft.write(b"A: b\n")
    return mailbox.append([draft])[1]


def keywords_read(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each time that all keywords are read from now on."""
    read: list[object] = []
    real = Keywords.read

    def count(self: Keywords, *words: object) -> object:
        read.append(words)
        return real(self, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(Keywords, "read", count)
    return read


def test_a_keyword_that_was_heard_of_is_read_alone(opened: Callable[[], Mailbox],
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = opened(), opened()
    one.store([1], FlagChange("+", 0, frozenset({b"first"})))
    assert two.scan().messages.keywords == {1: {b"first"}}
    read = keywords_read(monkeypatch)
    one.store([2], FlagChange("+", 0, frozenset({b"second"})))
    one.store([1], FlagChange("-", 0, frozenset({b"first"})))
    assert two.scan().messages.keywords == {2: {b"second"}}
    assert read == []


def test_keywords_of_a_few_that_were_heard_of_are_read_alone(opened: Callable[[], Mailbox],
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = opened(), opened()
    one.store([1], FlagChange("+", 0, frozenset({b"first"})))
    two.scan()
    read = keywords_read(monkeypatch)
    one.store([1, 2, 3], FlagChange("+", 0, frozenset({b"second"})))
    assert two.scan().messages.keywords == {1: {b"first", b"second"}, 2: {b"second"}, 3: {b"second"}}
    assert read == []


def test_keywords_of_what_is_gone_are_not_looked_for(opened: Callable[[], Mailbox], maildir: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = opened(), opened()
    one.store([1, 2], FlagChange("+", 0, frozenset({b"first"})))
    name = two.finder.name_of(2)
    one.store([2], FlagChange("+", DELETED))
    assert two.scan().messages.keywords == {1: {b"first"}, 2: {b"first"}}
    one.expunge([2])
    assert two.scan().messages.keywords == {1: {b"first"}}
    two.told()
    read = keywords_read(monkeypatch)
    os.unlink(os.path.join(os.fsencode(maildir / "courierimapkeywords"), name))       # as it expires
    one.store([1], FlagChange("+", 0, frozenset({b"second"})))
    assert two.scan().messages.keywords == {1: {b"first", b"second"}}
    assert read == []


def test_keywords_of_what_comes_and_that_were_merged_meanwhile(opened: Callable[[], Mailbox],
                                                               maildir: Path) -> None:
    """The update went before anybody knew the message."""
    one, two = opened(), opened()
    one.store([1], FlagChange("+", 0, frozenset({b"first"})))
    assert two.scan().messages.keywords == {1: {b"first"}}
    name = b"1700000077.M77P1.host"
    with one.locked():
        one.keywords.files.write(name, frozenset({b"second"}))
        two.scan()
        one.keywords.files.read(lambda names: dict.fromkeys(names, 0), True)
        two.scan()
    (maildir / "cur" / f"{name.decode()}:2,").write_bytes(b"A: b\n\n")
    assert two.scan().messages.keywords == {1: {b"first"}, 6: {b"second"}}


def test_keywords_that_come_before_their_message(opened: Callable[[], Mailbox],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = opened(), opened()
    one.store([1], FlagChange("+", 0, frozenset({b"first"})))
    assert two.scan().messages.keywords == {1: {b"first"}}
    read = keywords_read(monkeypatch)
    one.copy([1], one)
    assert two.scan().messages.keywords == {1: {b"first"}, 6: {b"first"}}
    assert read == []


def test_keywords_that_are_known_to_be_in_use_are_not_looked_for(opened: Callable[[], Mailbox],
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    one = opened()
    one.store([1], FlagChange("+", 0, frozenset({b"first"})))
    asked: list[None] = []
    real = Keywords.used
    monkeypatch.setattr(Keywords, "used", lambda self: asked.append(None) or real(self))
    assert one.copy([1], one)[1] == [(1, 6)]
    assert one.scan().messages.keywords == {1: {b"first"}, 6: {b"first"}}
    assert asked == []


def merge(mailbox: Mailbox) -> None:
    with mailbox.locked():
        mailbox.keywords.files.read(mailbox.contents.held.rows_of, True)


def test_a_merge_by_another_program(opened: Callable[[], Mailbox], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the list is read, and what changed in the same moment."""
    one, two = opened(), opened()
    one.store([1, 2], FlagChange("+", 0, frozenset({b"first"})))
    assert two.scan().messages.keywords == one.scan().messages.keywords == {1: {b"first"}, 2: {b"first"}}
    merge(one)
    read = keywords_read(monkeypatch)
    assert two.scan().messages.keywords == one.scan().messages.keywords == {1: {b"first"}, 2: {b"first"}}
    one.store([2, 3], FlagChange("=", 0, frozenset({b"second"})))
    assert read == []
    merge(one)
    one.store([1], FlagChange("-", 0, frozenset({b"first"})))
    one.store([3], FlagChange("+", 0, frozenset({b"third"})))
    read.clear()
    assert two.scan().messages.keywords == {2: {b"second"}, 3: {b"second", b"third"}}
    assert one.scan().messages.keywords == two.scan().messages.keywords
    assert read == []


def test_a_list_that_says_something_else(opened: Callable[[], Mailbox],
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Keywords of many are written to the list itself."""
    one, two = opened(), opened()
    one.store([1, 2], FlagChange("+", 0, frozenset({b"first"})))
    two.scan()
    merge(one)
    two.scan()
    read = keywords_read(monkeypatch)
    with one.locked():
        name = one.finder.name_of(3)
        one.keywords.files.write_list({name: frozenset({b"third"}), one.finder.name_of(2): frozenset({b"x"})})
    assert two.scan().messages.keywords == {2: {b"x"}, 3: {b"third"}}
    assert read == []


def test_keywords_whose_directory_is_another_one(opened: Callable[[], Mailbox], maildir: Path) -> None:
    """What came into it before it was watched was not heard."""
    one = opened()
    one.store([1], FlagChange("+", 0, frozenset({b"first"})))
    assert one.scan().messages.keywords == {1: {b"first"}}
    shutil.rmtree(maildir / "courierimapkeywords")
    other = Keywords(str(maildir), "host")
    other.write(one.finder.name_of(2), frozenset({b"second"}))
    assert one.scan().messages.keywords == {2: {b"second"}}
    other.write(one.finder.name_of(3), frozenset({b"third"}))
    assert one.scan().messages.keywords == {2: {b"second"}, 3: {b"third"}}


def test_a_list_of_another_session_that_is_written_again(opened: Callable[[], Mailbox],
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """As the change that we made to it is taken back."""
    monkeypatch.setattr(keyworddrafts, "TOGETHER", 2)
    one, two = opened(), opened()
    one.store([1, 2], FlagChange("+", 0, frozenset({b"first"})))
    two.scan()
    one.store([3, 4], FlagChange("+", 0, frozenset({b"second"})))

    def broken(self: files.Directory) -> NoReturn:
        raise Busy("disk")

    with monkeypatch.context() as patch:
        patch.setattr(files.Directory, "sync", broken)
        with pytest.raises(Busy):
            two.store([1, 2], FlagChange("+", 0, frozenset({b"third"})))
    assert two.scan().messages.keywords == {1: {b"first"}, 2: {b"first"}, 3: {b"second"}, 4: {b"second"}}


def test_updates_wait_where_others_would_read_a_new_list(opened: Callable[[], Mailbox], maildir: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = opened(), opened()

    def looks() -> bool:
        """Is an update left when one that has the lock has read all?"""
        with one.locked():
            one.store([1, 2, 3], FlagChange("+", 0, frozenset({b"first"})))
            one.keywords.again()
            assert one.keywords.refresh(lambda: one.contents.held, set(), True, True)
        assert one.keywords.by_uid == dict.fromkeys((1, 2, 3), {b"first"})
        return (maildir / "courierimapkeywords" / one.finder.name_of(1).decode()).exists()
    assert looks()
    monkeypatch.setattr(keywords, "PILE", 3)
    assert not looks()
    monkeypatch.undo()
    one.store([1, 2, 3], FlagChange("-", 0, frozenset({b"first"})))
    assert looks()
    two.close()
    assert not looks()


def test_an_update_that_cannot_be_read_now(opened: Callable[[], Mailbox],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read at the next look, though nothing was heard since."""
    one, two = opened(), opened()
    one.store([1], FlagChange("+", 0, frozenset({b"first"})))
    two.scan()
    one.store([2], FlagChange("+", 0, frozenset({b"second"})))
    second = two.finder.name_of(2)

    def refuse(path: bytes) -> bytes:
        if path.endswith(second):
            raise PermissionError(13, os.strerror(13))
        return whole(path)

    monkeypatch.setattr(keywordlist, "whole", refuse)
    assert two.scan().messages.keywords == {1: {b"first"}}
    monkeypatch.undo()
    assert two.scan().messages.keywords == {1: {b"first"}, 2: {b"second"}}


# -- what comes

def test_what_another_one_numbered_is_not_looked_at_again(opened: Callable[[], Mailbox], maildir: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = opened(), opened()
    append(one)
    asked: list[bytes] = []
    real = directory.is_message
    monkeypatch.setattr(directory, "is_message", lambda path: asked.append(path) or real(path))
    assert uids(two) == [1, 2, 3, 4, 5, 6]
    assert asked == []
    os.mkdir(maildir / "cur" / "1700000098.M8P1.host:2,")          # which is no message, and gets no number
    (maildir / "cur" / "1700000099.M9P1.host:2,").write_bytes(b"A: b\n\n")
    assert uids(two) == [1, 2, 3, 4, 5, 6, 7]
    assert {os.path.basename(path)[:15] for path in asked} == {b"1700000098.M8P1", b"1700000099.M9P1"}
    assert uids(one) == [1, 2, 3, 4, 5, 6, 7]


def test_a_directory_comes_where_lines_are_owed(opened: Callable[[], Mailbox], maildir: Path) -> None:
    one, two = opened(), opened()
    one.store([2], FlagChange("+", DELETED))
    assert one.expunge([2]) == [2]
    os.mkdir(maildir / "cur" / "1700000098.M8P1.host:2,")
    with one.locked():
        one._looker.again()
    found = uiddb.read(str(maildir / uiddb.NAME))
    assert found is not None and found.uids.tolist() == [1, 3, 4, 5]
    assert uids(one) == uids(two) == [1, 3, 4, 5]


# -- names that others change

def test_a_name_that_was_heard_of_is_not_looked_for(opened: Callable[[], Mailbox], maildir: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = opened(), opened()
    one.store([1, 2, 3], FlagChange("+", FLAGGED))
    name = next(name for name in os.listdir(maildir / "cur") if ":2,F" in name)
    os.rename(maildir / "cur" / name, maildir / "cur" / name.replace(":2,F", ":2,FP"))
    one.store([4], FlagChange("+", DELETED))
    one.expunge([4])
    looks = []
    look: Any = files._look

    def count(how: object, path: bytes) -> object:
        looks.append(path)
        return look(how, path)

    def refuse(path: str) -> NoReturn:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr(directory, "files", refuse)
    monkeypatch.setattr(files, "_look", count)
    assert two.store([1, 2, 3, 4], FlagChange("+", SEEN)) \
        == dict.fromkeys([1, 2, 3], (FLAGGED | SEEN, frozenset()))
    with pytest.raises(Vanished):
        two.finder.look(4, kept=False)
    assert len(looks) < 16, looks
    monkeypatch.undo()
    assert os.path.exists(maildir / "cur" / name.replace(":2,F", ":2,FPS"))
    assert two.scan().messages == one.scan().messages
    assert two.scan().messages.uids.tolist() == [1, 2, 3, 5]


def test_a_file_that_stayed_is_not_gone(opened: Callable[[], Mailbox], maildir: Path) -> None:
    """A second name came and went, as when another program links to change a flag, and then does not."""
    one = opened()
    name = sorted(os.listdir(maildir / "cur"))[0]
    one.finder.look(1)
    os.link(maildir / "cur" / name, maildir / "cur" / (base(os.fsencode(name)).decode() + ":2,R"))
    os.unlink(maildir / "cur" / (base(os.fsencode(name)).decode() + ":2,R"))
    assert one.finder.find_again(0)
    assert one.finder.look(1)[0].endswith(name.encode())


def test_names_that_were_known_may_be_others_when_the_files_are_opened(opened: Callable[[], Mailbox]) -> None:
    one, two = opened(), opened()
    paths = two.finder.paths([1, 2, 3, 4, 9])
    assert [*paths] == [1, 2, 3, 4]
    assert [paths[uid] for uid in paths] == [two.finder.look(uid)[0] for uid in paths]
    texts = {uid: octets(two, uid) for uid in paths}
    one.store([2, 4], FlagChange("+", SEEN))
    one.store([3], FlagChange("+", DELETED))
    one.expunge([3])
    for uid in (1, 2, 4):
        with two.finder.open(uid, paths[uid]) as file:
            assert file.whole() == texts[uid]
    with two.finder.open(3, paths[3]) as file:         # our client was not told yet
        assert file.whole() == texts[3]
    two.scan()
    two.told()
    with pytest.raises(Vanished):
        two.finder.open(3, paths[3])


# -- what is left behind

def test_no_file_is_made_to_find_out_what_the_time_of_a_directory_says(
        opened: Callable[[], Mailbox], maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = opened()
    own = mailbox.place.readers.own()
    inode = os.stat(own).st_ino
    made = []
    real: Any = os.open

    def watch(path: object, flags: int, *words: object, **named: object) -> object:
        if flags & os.O_CREAT:
            made.append(path)
        return real(path, flags, *words, **named)

    monkeypatch.setattr(os, "open", watch)
    directory.at_once(own)
    assert made == []
    assert os.stat(own).st_ino == inode
    assert os.listdir(maildir / "tmp") == [os.path.basename(own)]
    monkeypatch.setattr(directory, "_fine", set())
    rename: Any = os.rename

    def refuse(source: str, target: str) -> None:
        if target == own:
            raise OSError(5, os.strerror(5))
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    assert not directory.at_once(own)
    assert os.listdir(maildir / "tmp") == []
    monkeypatch.undo()
    assert not directory.at_once("")
    assert not directory.at_once(str(maildir / "tmp" / "none"))


@pytest.mark.parametrize("name", [0, 7])
def test_one_proof_that_times_are_fine_is_enough_for_a_file_system(
        opened: Callable[[], Mailbox], monkeypatch: pytest.MonkeyPatch, name: int) -> None:
    own = opened().place.readers.own()
    tries: list[str] = []
    stat: Any = os.stat
    rename: Any = os.rename

    def tick(path: str, *words: object, **named: object) -> object:
        found = stat(path, *words, **named)
        return SimpleNamespace(st_mtime_ns=time.perf_counter_ns(), st_dev=found.st_dev)

    def watch(source: str, target: str) -> None:
        tries.append(target)
        rename(source, target)

    monkeypatch.setattr(directory, "_fine", set())
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_fsid=name))
    monkeypatch.setattr(os, "stat", tick)
    monkeypatch.setattr(os, "rename", watch)
    assert directory.at_once(own)
    first = len(tries)
    assert first == 2 * directory.TRIALS
    assert directory.at_once(own)
    assert len(tries) == (first if name else 2 * first)    # what has no name could be another by now
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_fsid=name + 1))
    assert directory.at_once(own)
    assert len(tries) >= 2 * first
    monkeypatch.setattr(directory, "_fine", set())
    monkeypatch.setattr(os, "stat", lambda path: SimpleNamespace(st_mtime_ns=1, st_dev=1))
    assert not directory.at_once(own)
    assert not directory.at_once(own)                      # that it is coarse is asked each time
    assert directory._fine == set()


def test_many_readers_say_seldom_what_they_told(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expunged, "SELDOM", 1e9)
    readers = [Readers(str(maildir), "host") for _ in range(CROWD)]
    for reader in readers:
        reader.join()
    first = readers[0]
    (maildir / "tmp" / "x_expunged").write_bytes(b"")
    first.told(first.now() + 10_000_000)
    name = first.own()
    first.told(first.now() + 20_000_000)
    assert first.own() == name
    assert first.waiting
    for reader in readers[1:]:
        reader.leave()
    first.leave()
    assert os.listdir(maildir / "tmp") == []


# -- messages that wait

def test_who_has_the_lock_lets_all_in_that_wait(opened: Callable[[], Mailbox], maildir: Path) -> None:
    waiting = maildir / "tmp" / (WAITS % os.getppid())
    waiting.write_bytes(b"A: b\n")
    one = opened()
    assert append(one) == [6]
    assert uids(one) == [1, 2, 3, 4, 5, 6, 7]
    assert (maildir / "cur" / waiting.name).read_bytes() == b"A: b\n"
    assert not waiting.exists()


def test_a_few_copies_wait_where_others_have_the_lock(opened: Callable[[], Mailbox], maildir: Path,
                                                      tmp_path: Path) -> None:
    leader, lobby = opened(), Lobby(str(maildir), "host")

    def copy() -> None:
        mailbox = opened()
        (tmp_path / "ready").touch()
        wait_until((tmp_path / "go").exists)
        _, pairs = mailbox.copy([1, 2, 3], mailbox)
        assert [old for old, _ in pairs] == [1, 2, 3]
        assert {new for _, new in pairs} < {6, 7, 8, 9}
        assert uids(mailbox) == [1, 2, 3, 4, 5, 6, 7, 8, 9]

    with process(copy) as pid:
        wait_until((tmp_path / "ready").exists)
        with leader.locked():
            (tmp_path / "go").touch()
            wait_until(lambda: len(lobby.waiting()) == 3)
            assert uids(leader) == [1, 2, 3, 4, 5]
            assert set(append(leader)) < {6, 7, 8, 9}
            assert lobby.waiting() == []
        assert ended(pid) == 0
    assert uids(leader) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("copied", [[1], [1, 2, 3]])
def test_what_was_let_in_a_moment_ago_keeps_its_numbers(opened: Callable[[], Mailbox], copied: list[int],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the last look at what waits and the lock."""
    mailbox, leader = opened(), opened()
    take = FolderLock.take
    brought = []

    def late(lock: FolderLock, *_: object, **__: object) -> bool:
        monkeypatch.undo()
        brought.extend(append(leader))
        return take(lock)

    monkeypatch.setattr(FolderLock, "attempt", lambda self: False)
    monkeypatch.setattr(FolderLock, "take", late)
    _, pairs = mailbox.copy(copied, mailbox)
    assert sorted([*brought, *(new for _, new in pairs)]) == [*range(6, 7 + len(copied))]
    assert uids(mailbox) == uids(leader) == [*range(1, 7 + len(copied))]
    assert mailbox.scan().uidnext == 7 + len(copied)


def test_copies_that_wait_for_nobody_are_taken_back(opened: Callable[[], Mailbox], maildir: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is not to be had: none of them came."""
    mailbox = opened()

    def refuse(*_: object, **__: object) -> NoReturn:
        raise Busy("held by another")

    monkeypatch.setattr(FolderLock, "attempt", lambda self: False)
    monkeypatch.setattr(FolderLock, "take", refuse)
    with pytest.raises(Busy):
        mailbox.copy([1, 2, 3], mailbox)
    monkeypatch.undo()
    assert uids(mailbox) == [1, 2, 3, 4, 5]
    assert Lobby(str(maildir), "host").waiting() == []
    assert len(os.listdir(maildir / "cur")) == 5


def test_what_the_dead_left_stays_outside(opened: Callable[[], Mailbox], maildir: Path) -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    left = maildir / "tmp" / (WAITS % child)
    left.write_bytes(b"A: b\n")
    assert append(opened()) == [6]
    assert left.exists()
    assert Lobby(str(maildir), "host").waiting() == []


def number_one_more(maildir: Path, name: bytes) -> None:
    """As one does who is about to let it in."""
    found = uiddb.read(str(maildir / uiddb.NAME))
    assert found is not None
    more = found.extended([found.uidnext], [name])
    scratch = maildir / "tmp" / "scratch"
    scratch.write_bytes(b"".join(more.pieces()))
    scratch.rename(maildir / uiddb.NAME)


@pytest.mark.parametrize("heard", [True, False])
def test_a_number_whose_message_has_not_come(heard: bool, opened: Callable[[], Mailbox],
                                             maildir: Path) -> None:
    """While somebody has the lock it may come; UIDNEXT promises nothing above it."""
    looker = opened()
    if not heard:
        looker.close()
        looker = Store(str(maildir), host="host").open("INBOX")
        assert uids(looker) == [1, 2, 3, 4, 5]
    name = b"1700000099.M1P1.host"
    with FolderLock(str(maildir), "host"):
        number_one_more(maildir, name)
        (maildir / "cur" / "extra").touch()
        (maildir / "cur" / "extra").unlink()     # so that there is something to look at
        found = looker.scan()
        assert (list(found.messages.uids), found.uidnext) == ([1, 2, 3, 4, 5], 6)
        (maildir / "cur" / os.fsdecode(name)).write_bytes(b"A: b\n")
        assert uids(looker) == [1, 2, 3, 4, 5, 6]
    assert looker.scan().uidnext == 7


def test_a_number_of_one_that_was_killed(opened: Callable[[], Mailbox], maildir: Path) -> None:
    """It is nobody's, and is not given again."""
    looker = opened()
    number_one_more(maildir, b"1700000099.M1P1.host")
    assert uids(looker) == [1, 2, 3, 4, 5]
    assert append(opened()) == [7]
    assert uids(looker) == [1, 2, 3, 4, 5, 7]


def test_lines_of_what_went_are_not_written_each_time(opened: Callable[[], Mailbox], maildir: Path) -> None:
    one = opened()
    seen = set()
    for uid in (1, 2, 3):
        one.store([uid], FlagChange("+", DELETED))
        one.expunge([uid])
        assert uids(one) == list(range(uid + 1, 6))
        one.told()
        seen.add((maildir / uiddb.NAME).stat().st_mtime_ns)
    assert len(seen) < 3
    one.close()
    found = uiddb.read(str(maildir / uiddb.NAME))
    assert found is not None
    assert list(found.uids) == [4, 5]


def test_who_comes_to_a_small_mailbox_hears_only_where_others_change_it(
        maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def come() -> Mailbox:
        mailbox = Store(str(maildir), host="host").open("INBOX")
        mailbox.join()
        mailbox.scan()
        return mailbox

    def hears(mailbox: Mailbox) -> bool:
        return mailbox._looker.changes.watched

    come()
    second = come()
    assert not hears(second)           # most leave before anything happens
    for number in range(LIVELY + 1):
        (maildir / "new" / f"{1700000100 + number}.M1P1.host").write_bytes(b"A: b\n\n")
        assert len(uids(second)) == 6 + number
    assert hears(second)
    monkeypatch.setattr(survey, "SHARED_OCTETS", 0)
    assert hears(come())               # a larger one is read once
