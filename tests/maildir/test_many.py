"""Changes of many messages at once: what is on disk, what others see, what is left when they fail."""
from __future__ import annotations

import errno
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from courierpy.maildir import errors, flagwriter, removal
from courierpy.maildir.files import Replacement
from courierpy.maildir.formats import keyworddrafts
from courierpy.maildir.formats.keywordlist import Update
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from courierpy.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, FlagChange
from tests.conftest import fill

COUNT = 9
Words = dict[bytes, set[bytes]]


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    fill(tmp_path / "Maildir", COUNT)
    return tmp_path / "Maildir"


@pytest.fixture(autouse=True)
def together(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here two are many, unless a test says how many are."""
    monkeypatch.setattr(keyworddrafts, "TOGETHER", getattr(request, "param", 2))


def opened(maildir: Path, watch: bool = False) -> Mailbox:
    mailbox = Store(str(maildir), host="host").open("INBOX")
    mailbox.join()
    if watch:
        mailbox.watch()
    mailbox.scan()
    mailbox.told()
    return mailbox


def tag(mailbox: Mailbox, uids: list[int], *words: bytes, mode: str = "+") -> None:
    mailbox.store(uids, FlagChange(mode, 0, frozenset(words)))


def as_courier(maildir: Path) -> Words:
    """By base name, as Courier's imapd takes them: an update, else the newest merged one, else the list."""
    folder = maildir / "courierimapkeywords"
    whole = (folder / ":list").read_bytes() if (folder / ":list").exists() else b""
    head, _, body = whole.partition(b"\n\n")
    words = head.split(b"\n")
    found: Words = {}
    for line in body.splitlines():
        name, _, numbers = line.rpartition(b":")
        found[name] = {words[int(number)] for number in numbers.split()}
    merged = sorted((int(match[1]), match[2], entry) for entry in os.listdir(os.fsencode(folder))
                    if (match := re.fullmatch(rb"\.(\d+)\.(.+)", entry)))
    updates = [(0, entry, entry) for entry in os.listdir(os.fsencode(folder))
               if not entry.startswith(b".") and entry != b":list"]
    for _, name, entry in (*merged, *updates):
        found[name] = set((folder / os.fsdecode(entry)).read_bytes().splitlines())
    return {name: some for name, some in found.items() if some}


def held(mailbox: Mailbox) -> Words:
    return {b"%d.M%dP1.host" % (1700000000 + uid, uid): set(words)
            for uid, words in mailbox.scan().messages.keywords.items()}


def test_keywords_of_many_are_one_list(maildir: Path) -> None:
    mailbox = opened(maildir)
    tag(mailbox, [1, 2, 4], b"a", b"b")
    tag(mailbox, [2, 4, 5], b"b", mode="-")
    assert os.listdir(maildir / "courierimapkeywords") == [":list"]
    assert (maildir / "courierimapkeywords" / ":list").read_bytes() == (
        b"a\nb\n\n1700000001.M1P1.host:0 1\n1700000002.M2P1.host:0\n1700000004.M4P1.host:0\n")
    assert held(opened(maildir)) == held(mailbox) == as_courier(maildir)
    assert not [name for name in os.listdir(maildir / "tmp") if "_reader." not in name]


@pytest.mark.parametrize("together", [3], indirect=True)
def test_keywords_of_a_few_are_a_file_each(maildir: Path) -> None:
    """Every session that has the mailbox open would read all of the list anew."""
    mailbox = opened(maildir)
    tag(mailbox, [1, 2], b"a", b"b")
    tag(mailbox, [2, 4], b"b", mode="-")
    folder = maildir / "courierimapkeywords"
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == {
        "1700000001.M1P1.host": b"a\nb\n", "1700000002.M2P1.host": b"a\n"}
    assert held(opened(maildir)) == held(mailbox)
    tag(mailbox, [1, 3, 5], b"c")                  # a list of the other two would be one of two
    assert as_courier(maildir) == held(mailbox) == held(opened(maildir))


@pytest.mark.parametrize("together", [2, keyworddrafts.TOGETHER], indirect=True)
@pytest.mark.parametrize("fails_at", [1, 2])
def test_updates_of_a_few_are_taken_back(maildir: Path, fails_at: int,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = opened(maildir)
    tag(mailbox, [1], b"before")
    tag(mailbox, [2], b"before")
    before, names = as_courier(maildir), sorted(os.listdir(maildir / "cur"))
    commit, done = Update.commit, 0

    def full(self: Update) -> bool:
        nonlocal done
        done += 1
        if done == fails_at:
            self.abort()
            raise errors.DiskFull("no room")
        return commit(self)
    monkeypatch.setattr(Update, "commit", full)
    with pytest.raises(errors.DiskFull):
        mailbox.store([1, 2], FlagChange("+", FLAGGED, frozenset([b"new"])))
    assert done >= fails_at            # and what is taken back
    monkeypatch.setattr(Update, "commit", commit)
    assert (as_courier(maildir), sorted(os.listdir(maildir / "cur"))) == (before, names)
    assert held(opened(maildir)) == before == held(mailbox)


def test_a_file_of_one_message_counts_for_more(maildir: Path) -> None:
    """So its keywords are not left to the list, whoever reads it and whenever."""
    mailbox = opened(maildir)
    tag(mailbox, [2], b"old")
    tag(mailbox, [3], b"old")
    mailbox.close()
    mailbox = opened(maildir)                      # which merges them
    assert any(name.startswith(".") for name in os.listdir(maildir / "courierimapkeywords"))
    tag(mailbox, [4], b"old")
    tag(mailbox, [1, 2, 3, 4, 5], b"new")
    tag(mailbox, [2, 4, 5], b"old", mode="-")
    expected = {b"%d.M%dP1.host" % (1700000000 + uid, uid): {b"new"} for uid in (1, 2, 4, 5)} \
        | {b"1700000003.M3P1.host": {b"old", b"new"}}
    assert as_courier(maildir) == held(mailbox) == held(opened(maildir)) == expected


@pytest.mark.parametrize("together", [2, keyworddrafts.TOGETHER], indirect=True)
def test_at_random_with_several_sessions(maildir: Path) -> None:
    rng = random.Random(7)
    sessions = [opened(maildir, watch=True), opened(maildir), opened(maildir, watch=True)]
    expected: dict[int, set[bytes]] = {uid: set() for uid in range(1, COUNT + 1)}
    for _ in range(60):
        session = rng.choice(sessions)
        uids = sorted(rng.sample(range(1, COUNT + 1), rng.choice((1, 1, 2, 5))))
        words = rng.sample([b"a", b"b", b"c"], rng.choice((1, 2)))
        mode = rng.choice("+-=")
        tag(session, uids, *words, mode=mode)
        for uid in uids:
            expected[uid] = {"+": expected[uid].union, "-": expected[uid].difference,
                             "=": lambda given: set(given)}[mode](words)
        if rng.random() < 0.2:
            sessions.append(opened(maildir))
            sessions.pop(rng.randrange(3)).close()
        there = {b"%d.M%dP1.host" % (1700000000 + uid, uid): some for uid, some in expected.items() if some}
        assert held(rng.choice(sessions)) == there
        assert as_courier(maildir) == there


def test_who_wrote_the_list_reads_what_others_had_written(maildir: Path) -> None:
    ours, other = opened(maildir, watch=True), opened(maildir)
    tag(ours, [1, 2], b"ours")
    assert held(ours)
    tag(other, [3, 4], b"other")                   # of which we have not heard when we write
    tag(ours, [5, 6], b"ours")
    assert held(ours) == as_courier(maildir)
    assert len(as_courier(maildir)) == 6


@pytest.mark.parametrize("fails", ["the list", "its sync", "the update"])
def test_what_fails_changes_nothing(maildir: Path, fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = opened(maildir)
    tag(mailbox, [1, 2], b"before")
    tag(mailbox, [7], b"before")                   # an update
    files = sorted(os.listdir(maildir / "cur"))
    before = as_courier(maildir)

    def full(self: object) -> None:
        if hasattr(self, "abort"):
            self.abort()
        raise errors.DiskFull("no room")
    if fails == "the list":
        monkeypatch.setattr(Replacement, "commit", full)
    elif fails == "its sync":
        monkeypatch.setattr(type(mailbox.keywords.files), "settle", full)
    else:
        monkeypatch.setattr("courierpy.maildir.formats.keywordlist.Update.commit", full)
    with pytest.raises(errors.DiskFull):
        mailbox.store(range(1, COUNT + 1), FlagChange("+", FLAGGED, frozenset([b"new"])))
    monkeypatch.undo()
    assert sorted(os.listdir(maildir / "cur")) == files
    assert as_courier(maildir) == before == held(opened(maildir)) == held(mailbox)
    assert [name for name in os.listdir(maildir / "tmp") if "_reader." not in name] == []


def test_one_that_cannot_be_changed_keeps_its_keywords(maildir: Path) -> None:
    """There is no room for another letter in its name: the others are changed."""
    long = f"1700000099.{'x' * (255 - len('1700000099.:2,S'))}"
    (maildir / "cur" / f"{long}:2,S").write_bytes(b"A: b\n\n")
    mailbox = opened(maildir)
    refused: list[errors.StoreError] = []
    change = FlagChange("+", DRAFT, frozenset([b"new"]))
    done = mailbox.store([*mailbox.scan().messages.uids], change, refused)
    assert len(refused) == 1
    assert len(done) == COUNT == len(as_courier(maildir))
    assert os.fsencode(long) not in as_courier(maildir)
    assert held(opened(maildir)).keys() == as_courier(maildir).keys()


def test_one_that_goes_meanwhile(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = opened(maildir)
    os.unlink(maildir / "cur" / "1700000003.M3P1.host:2,")
    os.rename(maildir / "cur" / "1700000004.M4P1.host:2,", maildir / "cur" / "1700000004.M4P1.host:2,S")
    done = mailbox.store(range(1, 7), FlagChange("+", FLAGGED, frozenset([b"new"])))
    assert done == {uid: (FLAGGED | SEEN * (uid == 4), frozenset([b"new"])) for uid in (1, 2, 4, 5, 6)}
    assert b"1700000003.M3P1.host" not in as_courier(maildir)


# -- what a session hears of its own changes, and of those of others between them

def toggled(maildir: Path, uid: int) -> None:
    """Somebody else sets or takes \\Answered."""
    [path] = (maildir / "cur").glob(f"*.M{uid}P1.host*")
    old = path.name.partition(":2,")[2]
    path.rename(path.with_name(path.name.partition(":")[0] + ":2," +
                               "".join(sorted(set(old) ^ {"R"}))))


def on_disk(maildir: Path) -> list[int]:
    letters = {"S": SEEN, "F": FLAGGED, "R": ANSWERED, "D": DRAFT}
    return [sum(letters[letter] for letter in path.name.partition(":2,")[2])
            for path in sorted((maildir / "cur").iterdir())]


def test_nothing_waits_of_what_a_session_did_itself(maildir: Path) -> None:
    mailbox = opened(maildir, watch=True)
    for mode in "+-+":
        mailbox.store(range(1, COUNT + 1), FlagChange(mode, FLAGGED))
        before = mailbox.scan()
        assert list(before.messages.flags) == on_disk(maildir)
        assert mailbox.scan() is before
    assert not mailbox._looker.changes.hear()


def test_flags_that_are_there_already(maildir: Path) -> None:
    """Nothing is renamed then; what others did before is seen all the same."""
    mailbox = opened(maildir, watch=True)
    every = range(1, COUNT + 1)
    mailbox.store(every, FlagChange("+", FLAGGED))
    assert mailbox.store(every, FlagChange("+", FLAGGED)) == dict.fromkeys(every, (FLAGGED, frozenset()))
    os.unlink(maildir / "cur" / "1700000003.M3P1.host:2,F")
    toggled(maildir, 4)
    done = mailbox.store(every, FlagChange("+", FLAGGED, frozenset([b"new"])))
    assert done == {uid: (FLAGGED | ANSWERED * (uid == 4), frozenset([b"new"])) for uid in every if uid != 3}
    assert mailbox.store([4], FlagChange("+", FLAGGED)) == {4: done[4]}
    os.unlink(maildir / "cur" / "1700000004.M4P1.host:2,FR")
    assert not mailbox.store([4], FlagChange("+", FLAGGED))
    assert list(mailbox.scan().messages.uids) == [1, 2, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("count", [COUNT, 1])
def test_what_others_do_between_is_heard(maildir: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever somebody else does at whatever moment of a change of ours: what is held is what is there."""
    monkeypatch.setattr(flagwriter, "AT_ONCE", 3)
    rng = random.Random(3)
    mailbox = opened(maildir, watch=True)
    real = os.rename
    deeds: list[Callable[[], object]] = []
    moment = alone = 0
    known = mailbox.scan().messages

    def rename(old: object, new: object) -> None:
        nonlocal moment
        moment -= 1
        if moment == 0:
            monkeypatch.setattr(os, "rename", real)
            for deed in deeds:
                deed()
            monkeypatch.setattr(os, "rename", rename)
        real(old, new)  # type: ignore[arg-type]

    for turn in range(120):
        uid = rng.randrange(1, COUNT + 1)
        deeds[:] = [lambda uid=uid: toggled(maildir, uid)] * rng.choice((1, 1, 2))  # type: ignore[misc]
        if rng.random() < 0.3:
            toggled(maildir, rng.randrange(1, COUNT + 1))      # not heard yet when it begins
        moment = rng.randrange(1, count + 2)
        first = rng.randrange(1, COUNT + 2 - count)
        monkeypatch.setattr(os, "rename", rename)
        change = FlagChange(rng.choice("+-"), rng.choice((FLAGGED, SEEN, DRAFT)))
        done, after = mailbox.store_known(known, range(first, first + count), change, [])
        monkeypatch.setattr(os, "rename", real)
        if after is not None:          # a client that knew all knows all again
            alone += 1
            assert after.messages == known.changed(done), turn
            assert list(after.messages.flags) == on_disk(maildir), turn
        known = mailbox.scan().messages
        assert list(known.flags) == on_disk(maildir), turn
        if rng.random() < 0.1:
            mailbox.told()
    assert 0 < alone < 120


def test_what_is_held_and_not_told_is_not_taken_for_known(maildir: Path) -> None:
    """Another's flag that was found while a message was read, and one that came and went."""
    mailbox = opened(maildir, watch=True)
    known = mailbox.scan().messages
    change = FlagChange("+", FLAGGED)
    toggled(maildir, 2)
    mailbox.finder.open(2).close()                 # its new name is held now
    assert mailbox.store_known(known, [5], change, [])[1] is None
    assert mailbox.scan().messages.flags[1] == ANSWERED
    assert mailbox.store_known(known, [6], change, [])[1] is None          # of who was not told of that
    known = mailbox.scan().messages
    done, after = mailbox.store_known(known, [7], change, [])
    assert after is mailbox.scan() and after.messages == known.changed(done)
    assert mailbox.store_known(after.messages, [], change, []) == ({}, None)


def test_what_others_do_while_messages_are_removed_is_heard(maildir: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "AT_ONCE", 2)
    rng = random.Random(5)
    mailbox = opened(maildir, watch=True)
    real = os.unlink
    for turn in range(1, 20):
        for serial in range(100 * turn, 100 * turn + COUNT):
            (maildir / "new" / f"{1700000000 + serial}.M{serial}P1.host").write_bytes(b"A: b\n\n")
        there = list(mailbox.scan().messages.uids)
        mailbox.store(there, FlagChange("+", DELETED))
        mailbox.scan()
        moment = rng.randrange(1, COUNT)

        def unlink(path: object) -> None:
            nonlocal moment
            moment -= 1
            if moment == 0:
                names = sorted(os.listdir(maildir / "cur"))
                real(maildir / "cur" / rng.choice(names))
                gone = rng.choice(sorted(os.listdir(maildir / "cur")))
                os.rename(maildir / "cur" / gone, maildir / "cur" / gone.replace("T", ""))
            real(path)  # type: ignore[arg-type]
        monkeypatch.setattr(os, "unlink", unlink)
        mailbox.expunge(rng.sample(there, len(there) - 3) if turn % 2 else there)
        monkeypatch.setattr(os, "unlink", real)
        messages = mailbox.scan().messages
        files = {int(name.partition(".M")[2].partition("P")[0]): name.partition(":2,")[2]
                 for name in os.listdir(maildir / "cur")}
        assert len(messages) == len(files)
        assert sorted(bits & DELETED for bits in messages.flags) == sorted(
            DELETED * ("T" in letters) for letters in files.values())
        mailbox.told()


# -- messages that come with keywords

def other(mailbox: Mailbox, maildir: Path) -> Mailbox:
    store = Store(str(maildir), host="host")
    if not (maildir / ".Other").exists():
        store.create("INBOX.Other")
    return store.open("INBOX.Other")


def words_in(mailbox: Mailbox) -> list[set[bytes]]:
    messages = mailbox.scan().messages
    return [set(messages.keywords.get(uid, ())) for uid in messages.uids]


@pytest.mark.parametrize("deed", ["copy", "move"])
@pytest.mark.parametrize("known", [False, True])
def test_keywords_come_along_in_one_list(maildir: Path, deed: str, known: bool) -> None:
    mailbox = opened(maildir)
    tag(mailbox, [1, 2, 5], b"a")
    tag(mailbox, [2, 3], b"b")
    target = other(mailbox, maildir)
    if known:
        target.scan()
    getattr(mailbox, deed)([1, 2, 4, 3], target)
    assert os.listdir(maildir / ".Other" / "courierimapkeywords") == [":list"]
    expected: list[set[bytes]] = [{b"a"}, {b"a", b"b"}, set(), {b"b"}]
    assert words_in(target) == words_in(other(mailbox, maildir)) == expected
    assert sorted(map(sorted, as_courier(maildir / ".Other").values())) == [[b"a"], [b"a", b"b"], [b"b"]]
    assert [name for name in os.listdir(maildir / ".Other" / "tmp") if "_reader." not in name] == []


def test_keywords_come_along_to_a_mailbox_that_is_restored(maildir: Path) -> None:
    """The look that restores the numbers takes lines of what is not there from the list."""
    mailbox = opened(maildir)
    tag(mailbox, [1, 2, 5], b"a")
    target = other(mailbox, maildir)
    mailbox.copy([1, 2], target)
    target.scan()
    (maildir / ".Other" / "courierimapuiddb").write_bytes(b"")
    mailbox.copy([5, 2], target)
    assert words_in(target) == words_in(other(mailbox, maildir)) == [{b"a"}] * 4


def test_what_does_not_come_leaves_no_keywords(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = opened(maildir)
    tag(mailbox, [1, 2, 5], b"a")
    target = other(mailbox, maildir)
    mailbox.copy([1, 2], target)
    before = as_courier(maildir / ".Other")

    def full(*words: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "no room")
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(errors.DiskFull):
        mailbox.copy([5, 2], target)
    monkeypatch.undo()
    assert words_in(target) == [{b"a"}] * 2
    mailbox.copy([5], target)                      # whoever writes next leaves out what did not come
    assert words_in(other(mailbox, maildir)) == [{b"a"}] * 3
    assert before.items() <= as_courier(maildir / ".Other").items()


# -- messages that are brought, one of which is odd at the moment

@pytest.mark.parametrize("deed", ["copy", "move"])
def test_numbers_follow_the_order_whatever_happens_to_one(maildir: Path, deed: str,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Another session changes flags of one, and removes one, behind the look at their files."""
    mailbox = opened(maildir)
    target = other(mailbox, maildir)
    call = "link" if deed == "copy" else "rename"
    act, rename = getattr(os, call), os.rename
    tried: list[bytes] = []

    def late(source: bytes, there: bytes) -> None:
        if b".Other/cur/" in os.fsencode(there):
            if not tried:
                rename(file := maildir / "cur" / "1700000004.M4P1.host:2,", f"{file}R")
                os.unlink(maildir / "cur" / "1700000006.M6P1.host:2,")
            tried.append(source)
        act(source, there)
    monkeypatch.setattr(os, call, late)
    refused: list[errors.StoreError] = []
    uidvalidity, pairs = getattr(mailbox, deed)([*range(2, COUNT + 1)], target, refused)
    monkeypatch.undo()
    assert refused == []
    assert pairs == [(2, 1), (3, 2), (4, 3), (5, 4), (7, 6), (8, 7), (9, 8)]
    found = other(mailbox, maildir)
    messages = found.scan().messages
    assert (found.scan().uidvalidity, [*messages.uids]) == (uidvalidity, [1, 2, 3, 4, 6, 7, 8])
    assert messages.flags == bytes([0, 0, ANSWERED, 0, 0, 0, 0])
    names = [found.finder.name_of(uid) for uid in messages.uids]
    assert names == sorted(names)
    assert len(set(tried)) == COUNT                 # each once, and the one again by its other name


def test_a_failure_in_the_middle_takes_all_back(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = opened(maildir)
    target = other(mailbox, maildir)
    before = sorted(os.listdir(maildir / "cur"))
    rename = os.rename
    done: list[bytes] = []

    def fails(source: bytes, there: bytes) -> None:
        if b".Other/cur/" in os.fsencode(there):
            if len(done) == 4:
                raise MemoryError
            done.append(there)
        rename(source, there)
    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(MemoryError):
        mailbox.move([*range(1, COUNT + 1)], target)
    monkeypatch.undo()
    assert (sorted(os.listdir(maildir / "cur")), os.listdir(maildir / ".Other" / "cur")) == (before, [])


def test_a_link_is_copied_as_what_it_leads_to(maildir: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"Subject: elsewhere\n\n")
    opened(maildir).close()
    path = maildir / "cur" / "1700000002.M2P1.host:2,"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    mailbox = opened(maildir)
    mailbox.copy([1, 2, 3], other(mailbox, maildir))
    copies = [maildir / ".Other" / "cur" / name for name in sorted(os.listdir(maildir / ".Other" / "cur"))]
    assert [copy.is_symlink() for copy in copies] == [False] * 3
    assert copies[1].read_bytes() == b"Subject: elsewhere\n\n"
    assert [copy.stat().st_nlink for copy in copies] == [2, 2, 2]
