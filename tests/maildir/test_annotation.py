"""Annotations on disk: bytes and back, several writers, a torn file, the journal of changes."""
from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from courierpy.maildir import annotation
from courierpy.maildir.access import NAME as ACCESS_LIST
from courierpy.maildir.acl import Lists
from courierpy.maildir.errors import DiskTrouble, StoreError
from courierpy.maildir.formats.annotation import Damaged, parse, render
from courierpy.maildir.store import Store
from tests.conftest import fill

FREE = annotation.FILE


def anything(before: Mapping[bytes, bytes], after: Mapping[bytes, bytes]) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    for part in ("cur", "new", "tmp"):
        (tmp_path / part).mkdir()
    return Store(str(tmp_path), fsync="never")


def put(store: Store, **values: bytes | None) -> list[bytes]:
    named = {f"/private/{name}".encode(): value for name, value in values.items()}
    return annotation.change(store.options, store.root, FREE, named, anything)


@pytest.mark.parametrize("entries", [
    {}, {b"/a": b""}, {b"/a": b"\n\0\r\n", b"/b c": b"5 /x\n"}, {b"/a": bytes(range(256)) * 300}])
def test_bytes_and_back(entries: dict[bytes, bytes]) -> None:
    assert parse(render(entries)) == entries


def test_a_damaged_file_gives_what_is_before() -> None:
    whole = render({b"/a": b"one", b"/b": b"two"})
    for size in range(len(whole)):
        try:
            found = parse(whole[:size])
        except Damaged as damaged:
            found = damaged.entries
        assert found in ({}, {b"/a": b"one"})
    for bad in (b"", b"x", whole.replace(b"3 /b", b"-3 /b"), whole.replace(b"3 /b", b"3"),
                whole.replace(b"3 /b", b"99999999999999999 /b"), whole.replace(b"3 /b", b"2 /b")):
        with pytest.raises(Damaged):
            parse(bad)


def test_changes(store: Store) -> None:
    assert put(store, a=b"1", b=b"2") == [b"/private/a", b"/private/b"]
    assert put(store, a=b"1", B=b"3", c=None) == [b"/private/b"]
    assert annotation.read(store.root) == {b"/private/a": b"1", b"/private/b": b"3"}
    put(store, a=None, b=None)
    assert not os.path.exists(os.path.join(store.root, FREE))
    assert annotation.read(store.root) == {}


def test_what_is_forbidden_changes_nothing(store: Store) -> None:
    put(store, a=b"1")

    def never(before: Mapping[bytes, bytes], after: Mapping[bytes, bytes]) -> None:
        assert (before, after) == ({b"/private/a": b"1"}, {b"/private/a": b"2", b"/private/b": b"3"})
        raise KeyError
    with pytest.raises(KeyError):
        annotation.change(store.options, store.root, FREE, {b"/private/a": b"2", b"/private/b": b"3"}, never)
    assert annotation.read(store.root) == {b"/private/a": b"1"}


def test_no_writer_loses_what_another_wrote(store: Store) -> None:
    children = []
    for who in "ab":
        pid = os.fork()
        if pid == 0:
            try:
                for number in range(50):
                    put(Store(store.root, fsync="never"), **{f"{who}{number}": b"x"})
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    assert len(annotation.read(store.root)) == 100


def test_a_pipe_of_that_name_holds_up_nobody(store: Store) -> None:
    os.mkfifo(os.path.join(store.root, FREE))
    with pytest.raises(annotation.StoreError):
        annotation.read(store.root)
    os.mkfifo(os.path.join(store.root, annotation.JOURNAL))
    annotation.tell(store.options, store.root, "INBOX", [b"/private/a"], b"me")
    assert annotation.Journal(store.root).news(b"me") == {}


def test_the_journal(store: Store) -> None:
    options = store.options
    annotation.tell(options, store.root, "INBOX", [b"/private/old"], b"one")
    first, second = annotation.Journal(store.root), annotation.Journal(store.root)
    annotation.tell(options, store.root, "", [b"/shared/a", b"/shared/b"], b"one")
    annotation.tell(options, store.root, "INBOX.\udcff", [b"/private/c"], b"two")
    assert first.news(b"one") == {"INBOX.\udcff": {b"/private/c": None}}
    assert first.news(b"one") == {}
    again = annotation.Journal(store.root, second.place)          # as one that was asleep
    assert list(again.news(b"three")) == ["", "INBOX.\udcff"]
    assert again.news(b"three") == {}


def test_any_name_of_a_mailbox_and_any_line(store: Store) -> None:
    journal = annotation.Journal(store.root)
    names = ["INBOX.a\tb", "INBOX.c\rd", "INBOX.e\x85\u2028f", "INBOX.&", "INBOX.\udcff"]
    for name in names:
        annotation.tell(store.options, store.root, name, [b"/private/c d"], b"one")
    with open(os.path.join(store.root, annotation.JOURNAL), "ab") as file:
        file.write(b"junk\n\n\t\n\t\t\t\nx\t\xff\xfe\t/private/c\nx\t&bad\t/private/c\nx\tINBOX\t\0\n"
                   + b"9" * 5000 + b"\n")
    annotation.tell(store.options, store.root, "INBOX", [b"/private/e"], b"one")
    assert list(journal.news(b"two")) == [*names, "INBOX"]
    assert journal.news(b"two") == {}


def test_the_journal_does_not_grow_for_ever(store: Store) -> None:
    journal = annotation.Journal(store.root)
    name = b"/private/" + b"x" * 1000
    for number in range(200):
        annotation.tell(store.options, store.root, "INBOX", [name + b"%d" % number], b"one")
        assert journal.news(b"two") == {"INBOX": {name + b"%d" % number: None}}
    path = os.path.join(store.root, annotation.JOURNAL)
    assert os.path.getsize(path) <= annotation.JOURNAL_OCTETS
    os.unlink(path)
    assert journal.news(b"two") == {}
    annotation.tell(store.options, store.root, "INBOX", [b"/a"], b"one")
    assert journal.news(b"two") == {"INBOX": {b"/a": None}}


def test_what_was_answered_survives_the_writer(store: Store) -> None:
    done, ours = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for number in range(1000):
                put(Store(store.root), **{f"n{number % 40}": b"%d" % number})
                os.write(ours, b"%d\n" % number)
        finally:
            os._exit(1)
    os.close(ours)
    answered = b""
    while answered.count(b"\n") < 50:
        answered += os.read(done, 4096)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    last = int(answered.split()[-1])
    found = annotation.read(store.root)
    assert len(found) == 40
    assert int(found[b"/private/n%d" % (last % 40)]) in (last, last + 40)
    os.close(done)
    put(store, after=b"x")                 # nobody's lock is left


def test_they_go_with_a_mailbox_that_is_not_made_after_all(tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would have the rights of the level above, which cannot be written."""
    fill(tmp_path / "INBOX", 1)
    store = Store(str(tmp_path), host="host", choice="fs")
    annotation.change(store.options, store.path_of("INBOX"), FREE, {b"/shared/comment": b"x"}, anything)
    store.create("Top", {ACCESS_LIST: b"owner aceilrstwx\nuser=ann lr\nadministrators aceilrstwx\n"})

    def keep(lists: Lists, paths: Iterable[str]) -> None:
        raise DiskTrouble("a list", OSError(5, "Input/output error"))

    monkeypatch.setattr(Lists, "keep", keep)
    with pytest.raises(StoreError):
        store.rename("INBOX", "Top/Sub")
    assert not (tmp_path / "Top" / "Sub").exists()
