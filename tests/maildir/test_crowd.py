"""Sessions that work in one mailbox at the same time: what one of them leaves to another."""
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from courierpy.maildir.formats import uiddb
from courierpy.maildir.formats.keywordlist import Keywords
from courierpy.maildir.lobby import Lobby
from courierpy.maildir.locks import FolderLock
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from courierpy.model.flags import DELETED, FlagChange
from tests.conftest import fill

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


def test_keywords_that_come_before_their_message(opened: Callable[[], Mailbox],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = opened(), opened()
    one.store([1], FlagChange("+", 0, frozenset({b"first"})))
    assert two.scan().messages.keywords == {1: {b"first"}}
    read = keywords_read(monkeypatch)
    one.copy([1], one)
    assert two.scan().messages.keywords == {1: {b"first"}, 6: {b"first"}}
    assert read == []


def test_a_merge_by_another_program(opened: Callable[[], Mailbox], maildir: Path) -> None:
    one, two = opened(), opened()
    one.store([1], FlagChange("+", 0, frozenset({b"first"})))
    assert two.scan().messages.keywords == {1: {b"first"}}
    with one.locked():
        one.keywords.files.read(one.contents.held.rows_of, True)
    assert two.scan().messages.keywords == one.scan().messages.keywords == {1: {b"first"}}


def test_an_update_that_cannot_be_read_now(opened: Callable[[], Mailbox],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read at the next look, though nothing was heard since."""
    one, two = opened(), opened()
    one.store([1], FlagChange("+", 0, frozenset({b"first"})))
    two.scan()
    one.store([2], FlagChange("+", 0, frozenset({b"second"})))
    real: Any = open

    def refuse(path: Any, *words: Any, **named: Any) -> Any:
        if isinstance(path, bytes) and b"courierimapkeywords/1" in path:
            raise PermissionError(13, os.strerror(13))
        return real(path, *words, **named)

    monkeypatch.setattr("builtins.open", refuse)
    two.scan()
    monkeypatch.undo()
    assert two.scan().messages.keywords == {1: {b"first"}, 2: {b"second"}}


# -- messages that wait

def test_who_has_the_lock_lets_all_in_that_wait(opened: Callable[[], Mailbox], maildir: Path) -> None:
    waiting = maildir / "tmp" / (WAITS % os.getppid())
    waiting.write_bytes(b"A: b\n")
    one = opened()
    assert append(one) == [7]
    assert uids(one) == [1, 2, 3, 4, 5, 6, 7]
    assert (maildir / "cur" / waiting.name).read_bytes() == b"A: b\n"
    assert not waiting.exists()


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
