"""What events say is what a reading of the directory says, or they say that it must be read."""
from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from courierpy.maildir import directory, lately, watch
from courierpy.maildir.contents import Held, look, replay
from courierpy.maildir.formats.uiddb import UidDb
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from courierpy.maildir.watch import Heard, Watch
from courierpy.model.flags import DELETED, FLAGGED, SEEN, FlagChange
from courierpy.system import inotify
from courierpy.system.inotify import Ear, Inotify
from tests.conftest import fill, octets

BASES = [b"1.M1P1.host", b"2.M2P1.host,S=9", b"3.x:y", b"4", b"\xff 5"]
TAILS = [b"", b":2,", b":2,S", b":2,FS", b":2,Sa", b":1,x"]
NAMES = st.builds(bytes.__add__, st.sampled_from(BASES), st.sampled_from(TAILS))
OUTSIDE = st.one_of(
    st.tuples(st.just("rename"), NAMES, st.sampled_from(TAILS)),
    st.tuples(st.just("link"), NAMES, st.sampled_from(TAILS)),           # the first half of link and unlink
    st.tuples(st.sampled_from(["create", "unlink", "out", "in"]), NAMES, st.just(b"")))
OURS = st.tuples(st.sampled_from(["store", "expunge"]), st.sampled_from(BASES), st.sampled_from(TAILS[1:4]))
HEAR = st.just(("hear", b"", b""))


class Model:
    """A directory, what is held of it, and a watch."""

    def __init__(self, folder: Path) -> None:
        for part in ("cur", "new", "tmp", "elsewhere"):
            (folder / part).mkdir()
        self.cur = os.fsencode(folder / "cur")
        self.elsewhere = os.fsencode(folder / "elsewhere")
        self.watch = Watch(str(folder), str(folder / "courierimapkeywords"))
        self.heard = Heard()
        self.own: dict[bytes, tuple[bytes, bool]] = {}
        self.held = Held(UidDb(1, 1), bytearray(), {})
        self.listed = 0

    def do(self, what: str, name: bytes, tail: bytes) -> None:
        here = os.path.join(self.cur, name)
        there = os.path.join(self.cur, (name.rpartition(b":")[0] or name) + tail)
        away = os.path.join(self.elsewhere, name)
        try:
            if what == "hear":
                self.hear()
            elif what == "rename":
                os.rename(here, there)
            elif what == "link":
                os.link(here, there)
            elif what == "unlink":
                os.unlink(here)
            elif what == "out":
                os.rename(here, away)
            elif what == "in":
                os.rename(away, here)
            elif what == "create":
                os.close(os.open(here, os.O_CREAT | os.O_EXCL))
            else:
                self.change(what, name, tail)
        except (FileNotFoundError, FileExistsError):
            pass

    def change(self, what: str, name: bytes, tail: bytes) -> None:
        """As a session does that has the folder open."""
        row = self.held.rows_of([name]).get(name, -1)
        if row < 0:
            return
        old = self.held.file(row)
        if what == "expunge":
            os.unlink(os.path.join(self.cur, old))
            self.own[name] = old, False
            self.held = self.held.without([row])
        elif old != name + tail:
            os.rename(os.path.join(self.cur, old), os.path.join(self.cur, name + tail))
            self.own[name] = name + tail, True
            self.held.set_file(row, name + tail)

    def number(self, unknown: dict[bytes, bytes]) -> None:
        uidnext = self.held.database.uidnext
        self.held = self.held.extended(range(uidnext, uidnext + len(unknown)), list(unknown),
                                       list(unknown.values()))

    def hear(self) -> None:
        """Bring ``held`` up to date as a scan does."""
        self.watch.hear(self.heard)
        replayed = None if self.heard.everything else replay(self.held, self.heard, self.own)
        if replayed is None:
            self.listed += 1
            held, missing, unknown = look(self.held.database, directory.files(os.fsdecode(self.cur)))
            self.held = held.without(missing)
        else:
            self.held = self.held.without(replayed.gone)
            unknown = replayed.unknown
        self.number(unknown)
        self.heard = Heard()
        self.own.clear()

    def check(self) -> None:
        held, missing, unknown = look(self.held.database, directory.files(os.fsdecode(self.cur)))
        assert (missing, unknown) == ([], {})
        count = len(self.held.database)
        assert [self.held.file(row) for row in range(count)] == [held.file(row) for row in range(count)]
        assert self.held.flags == held.flags
        assert self.held.odd == held.odd


def run(steps: list[tuple[str, bytes, bytes]]) -> Model:
    with tempfile.TemporaryDirectory() as folder:
        model = Model(Path(folder))
        try:
            for step in steps:
                model.do(*step)
                if step[0] == "hear":
                    model.check()
            model.hear()
            model.check()
        finally:
            model.watch.close()
    return model


@settings(max_examples=250)
@given(st.lists(st.one_of(OUTSIDE, OURS, HEAR), max_size=30))
def test_events_and_readings_agree(steps: list[tuple[str, bytes, bytes]]) -> None:
    run(steps)


RENAMES = st.tuples(st.just("rename"), NAMES, st.sampled_from(TAILS))
UNLINKS = st.tuples(st.just("unlink"), NAMES, st.just(b""))


@settings(max_examples=100)
@given(st.sets(st.sampled_from([base for base in BASES if b":" not in base]), min_size=1),
       st.lists(st.one_of(RENAMES, UNLINKS, OURS, HEAR), max_size=30))
def test_what_is_plain_needs_no_reading(bases: set[bytes], steps: list[tuple[str, bytes, bytes]]) -> None:
    """Flags that change, mail that comes and mail that is deleted: events tell all of it."""
    created = [("create", base + b":2,", b"") for base in sorted(bases)]
    # a rename onto the name of a twin is not plain, nor one that makes it another message: here
    # no base has two files, and none a colon that would count once the flags are gone
    assert run([*created, *steps]).listed == 0


def test_a_flag_that_is_changed_by_link_and_unlink(tmp_path: Path) -> None:
    """As mutt does, and looked at in between: the message is never gone."""
    base = b"1.M1P1.host"
    steps = [("create", base + b":2,S", b""), ("hear", b"", b""),
             ("link", base + b":2,S", b":2,"), ("hear", b"", b""),
             ("unlink", base + b":2,S", b""), ("hear", b"", b"")]
    model = run(steps)
    assert list(model.held.database.uids) == [1]
    assert model.held.file(0) == base + b":2,"


# -- a folder with a watch

def large(tmp_path: Path, count: int = 300) -> Path:
    path = tmp_path / "Maildir"
    fill(path, count)
    for file in (path / "new").iterdir():
        file.rename(path / "cur" / (file.name + ":2,"))
    return path


def settled(maildir: Path) -> None:
    """Numbered, and old enough for its stamps to be trusted."""
    opened(maildir).close()
    time.sleep(0.03)


@pytest.fixture
def _as_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each session stands for a process, which has an inotify instance of its own."""
    made: list[Inotify] = []

    def ear() -> Ear:
        inotify._dispatcher = None
        found = Ear()
        made.append(found._dispatcher.inotify)
        return found

    monkeypatch.setattr(watch, "Ear", ear)
    yield
    for each in made:
        each.close()
    inotify._dispatcher = None


def opened(maildir: Path) -> Mailbox:
    """By a process that has opened nothing before."""
    lately.forget()
    folder = Store(str(maildir), host="host").open("INBOX")
    folder.join()
    folder.scan()
    return folder


@pytest.mark.usefixtures("_as_processes")
def test_from_the_index_and_by_events(tmp_path: Path) -> None:
    """Names come from the uiddb when they are needed first; those that it lost meanwhile count too."""
    maildir = large(tmp_path)
    settled(maildir)
    opened(maildir).close()
    assert (maildir / "courierpyindex" / "columns").exists()
    other, ours = opened(maildir), opened(maildir)
    ours.watch()
    texts = {uid: octets(other, uid) for uid in (3, 5)}
    other.store([3, 5], FlagChange("+", DELETED))
    other.expunge([3, 5])
    other.scan()                                         # the uiddb has them no more
    snapshot = ours.scan()
    assert set(range(1, 301)) - set(snapshot.messages.uids) == {3, 5}
    for uid, text in texts.items():
        assert octets(ours, uid) == text                    # our client was not told yet
    ours.told()
    assert [name for name in os.listdir(maildir / "tmp") if name.endswith("_expunged")] != []
    time.sleep(0.02)                                     # told in the same instant is not told after
    for folder in (ours, other):
        folder.scan()
        folder.told()
    assert [name for name in os.listdir(maildir / "tmp") if name.endswith("_expunged")] == []
    for folder in (other, ours):
        folder.close()


@pytest.mark.usefixtures("_as_processes")
def test_from_the_index_without_a_watch(tmp_path: Path) -> None:
    maildir = large(tmp_path)
    settled(maildir)
    opened(maildir).close()
    assert (maildir / "courierpyindex" / "columns").exists()
    other, ours = opened(maildir), opened(maildir)
    text = octets(other, 7)
    other.store([7], FlagChange("+", DELETED | SEEN))
    other.expunge([7])
    other.scan()
    assert 7 not in ours.scan().messages.uids
    assert octets(ours, 7) == text
    for folder in (other, ours):
        folder.close()
    assert os.listdir(maildir / "tmp") == []


@pytest.mark.usefixtures("_as_processes")
def test_names_are_needed_first_by_a_keyword(tmp_path: Path) -> None:
    """When the uiddb that the index knew is another one since."""
    maildir = large(tmp_path)
    settled(maildir)
    opened(maildir).close()
    other, ours = opened(maildir), opened(maildir)
    assert ours.contents.held.database.body is None
    other.store([3], FlagChange("+", DELETED))
    other.expunge([3])
    other.scan()                                         # the uiddb has one line less
    todo = frozenset([b"$Todo"])
    assert ours.store([2, 3, 5], FlagChange("+", FLAGGED, todo)) == {2: (FLAGGED, todo), 5: (FLAGGED, todo)}
    shown = other.scan()
    assert shown.messages.keywords == {2: todo, 5: todo}
    assert list(shown.messages.uids[:4]) == [1, 2, 4, 5]
    assert list(shown.messages.flags[:4]) == [0, FLAGGED, 0, FLAGGED]
    for folder in (other, ours):
        folder.close()


@pytest.mark.usefixtures("_as_processes")
def test_own_changes_and_those_of_others_between(tmp_path: Path) -> None:
    """The same name twice, once by us and once by another: the last word counts."""
    maildir = large(tmp_path)
    ours, other = opened(maildir), opened(maildir)
    ours.watch()
    ours.scan()
    ours.store([1], FlagChange("+", FLAGGED))
    ours.store([1], FlagChange("-", FLAGGED))
    other.store([1], FlagChange("+", FLAGGED))           # the name that we made, and left
    assert ours.scan().messages.flags[0] == FLAGGED
    other.store([1], FlagChange("-", FLAGGED))
    assert ours.scan().messages.flags[0] == 0
    for folder in (other, ours):
        folder.close()


@pytest.mark.usefixtures("_as_processes")
@pytest.mark.parametrize("gone", [False, True])
def test_the_uiddb_is_another_one_and_no_name_was_needed(tmp_path: Path, gone: bool) -> None:
    """Courier writes it anew, and then we have the lock, but of no message was anything heard."""
    maildir = large(tmp_path)
    settled(maildir)
    opened(maildir).close()
    ours = opened(maildir)
    assert ours.contents.held.database.body is None
    ours.watch()
    before = ours.scan()
    database = maildir / "courierimapuiddb"
    head, *rows = database.read_bytes().splitlines(keepends=True)
    version, uidvalidity, uidnext = head.split()
    (maildir / "tmp" / "imapuid_1").write_bytes(b"".join(
        [b"%s %s %d\n" % (version, uidvalidity, int(uidnext) + 5), *rows[gone:]]))
    os.rename(maildir / "tmp" / "imapuid_1", database)
    with ours.locked():
        assert ours._looker.update(locked=True)
    found = ours.scan()
    assert found.uidnext == before.uidnext + 5 + gone
    assert [*found.messages.uids] == [*before.messages.uids[gone:], *[int(uidnext) + 5] * gone]
    ours.close()
