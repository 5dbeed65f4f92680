"""The store on a real file system: formats byte by byte, two sessions, racers, odd files."""
from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from courierpy.maildir import errors, names
from courierpy.maildir.formats import uiddb
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from courierpy.message.message import Message, wire_form
from courierpy.model import utf7
from courierpy.model.flags import ANSWERED, DELETED, DRAFT, FLAGGED, NO_KEYWORDS, SEEN, FlagChange
from courierpy.model.section import Section
from tests.conftest import fill, octets


@pytest.fixture
def tree(maildir: Path) -> Store:
    return Store(str(maildir), host="host")


def inbox(maildir: Path) -> Mailbox:
    """INBOX, opened and read by one more session."""
    folder = Store(str(maildir), host="host").open("INBOX")
    folder.scan()
    return folder


def add(folder: Mailbox, text: bytes = b"Subject: x\r\n\r\nbody\r\n", flags: int = 0,
        keywords: frozenset[bytes] = NO_KEYWORDS, date: float | None = None) -> int:
    draft = folder.draft()
    draft.flags, draft.keywords, draft.date = flags, keywords, date
    draft.write(text)
    return folder.append([draft])[1][0]


def remove(folder: Mailbox, *uids: int) -> None:
    folder.store(uids, FlagChange("+", DELETED))
    assert folder.expunge(uids) == list(uids)
    folder.scan()


def test_names_of_one_second_sort_as_they_came(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for micro in (7, 99_999, 100_000):
        monkeypatch.setattr(names.time, "time_ns", lambda micro=micro: (1_700_000_000 * 10**6 + micro) * 1000)
        made.append(names.tmp_name("host").encode())
    assert names.in_order(reversed(made)) == made


def test_uiddb(maildir: Path) -> None:
    folder = inbox(maildir)
    validity = folder.scan().uidvalidity
    assert (maildir / "courierimapuiddb").read_bytes() == (
        b"1 %d 4\n1 1700000001.M1P1.host\n2 1700000002.M2P1.host\n3 1700000003.M3P1.host\n" % validity)
    assert sorted(os.listdir(maildir / "cur")) == [f"170000000{n}.M{n}P1.host:2," for n in (1, 2, 3)]
    remove(folder, 2)
    assert (maildir / "courierimapuiddb").read_bytes() == (
        b"1 %d 4\n1 1700000001.M1P1.host\n3 1700000003.M3P1.host\n" % validity)


@pytest.mark.parametrize("data", [b"", b"1", b"2 5 5\n", b"x y z\n", b"1 795000000\n", b"\xff" * 50])
def test_uiddb_that_is_broken(maildir: Path, data: bytes) -> None:
    first = inbox(maildir).scan()
    (maildir / "courierimapuiddb").write_bytes(data)
    second = inbox(maildir).scan()
    # by the log of numbers
    assert (second.uidvalidity, second.messages.uids) == (first.uidvalidity, first.messages.uids)
    shutil.rmtree(maildir / "courierpyindex")
    (maildir / "courierimapuiddb").write_bytes(data)
    third = inbox(maildir).scan()
    assert list(third.messages.uids) == [1, 2, 3]
    assert third.uidvalidity > first.uidvalidity


@pytest.mark.parametrize("digits", [b"9" * 5000, b"0" * 5000 + b"2", b"4294967296", b"99999999999"])
def test_a_number_of_a_row_that_is_none(maildir: Path, digits: bytes) -> None:
    validity = inbox(maildir).scan().uidvalidity
    (maildir / "courierimapuiddb").write_bytes(
        b"1 %d 4\n1 1700000001.M1P1.host\n" % validity + digits +
        b" 1700000002.M2P1.host\n3 1700000003.M3P1.host\n")
    again = inbox(maildir).scan()
    assert (again.uidvalidity, len(again.messages.uids)) == (validity, 3)
    assert {1, 3} <= {*again.messages.uids}


@pytest.mark.parametrize("digits", [b"9" * 5000, b"7"])
def test_a_number_of_a_keyword_that_is_none(maildir: Path, digits: bytes) -> None:
    folder = inbox(maildir)
    folder.scan()
    folder.store([1, 2], FlagChange("+", 0, frozenset((b"kept",))))
    inbox(maildir).scan()
    path = maildir / "courierimapkeywords" / ":list"
    head, _, body = path.read_bytes().partition(b"\n\n")
    path.write_bytes(head + b"\n\n" + body.replace(b":0", b":0 " + digits))
    assert {*inbox(maildir).scan().messages.keywords.values()} == {frozenset((b"kept",))}


def test_flags_in_names(maildir: Path) -> None:
    folder = inbox(maildir)
    folder.store([1], FlagChange("+", SEEN | FLAGGED | ANSWERED | DELETED | DRAFT))
    assert (maildir / "cur" / "1700000001.M1P1.host:2,DFRST").exists()
    folder.store([1], FlagChange("-", DELETED | DRAFT))
    folder.store([2], FlagChange("=", SEEN))
    assert (maildir / "cur" / "1700000001.M1P1.host:2,FRS").exists()
    assert inbox(maildir).scan().messages.flags == folder.scan().messages.flags


def test_foreign_letters_are_kept(maildir: Path) -> None:
    (maildir / "new" / "1700000001.M1P1.host").rename(maildir / "cur" / "1700000001.M1P1.host:2,PSab")
    folder = inbox(maildir)
    folder.store([1], FlagChange("+", FLAGGED))
    folder.store([1], FlagChange("-", SEEN))
    (name,) = [name for name in os.listdir(maildir / "cur") if name.startswith("1700000001")]
    assert sorted(name.partition(":2,")[2]) == ["F", "P", "a", "b"]


def test_keywords(maildir: Path) -> None:
    folder = inbox(maildir)
    for uid in (1, 3):
        folder.store([uid], FlagChange("+", 0, frozenset({b"$Label1", b"Later"})))
    folder.store([3], FlagChange("-", 0, frozenset({b"Later"})))
    files = {name: (maildir / "courierimapkeywords" / name).read_bytes()
             for name in os.listdir(maildir / "courierimapkeywords")}
    assert set(files["1700000001.M1P1.host"].splitlines()) == {b"$Label1", b"Later"}
    assert files["1700000003.M3P1.host"].splitlines() == [b"$Label1"]
    other = inbox(maildir)                               # merges into :list
    assert other.scan().messages.keywords == {1: frozenset({b"$Label1", b"Later"}),
                                              3: frozenset({b"$Label1"})}
    head, _, tail = (maildir / "courierimapkeywords" / ":list").read_bytes().partition(b"\n\n")
    words = head.split(b"\n")
    assert set(words) == {b"$Label1", b"Later"}
    rows = dict(line.split(b":", 1) for line in tail.splitlines())
    assert {name: {words[int(number)] for number in numbers.split()} for name, numbers in rows.items()} == {
        b"1700000001.M1P1.host": {b"$Label1", b"Later"}, b"1700000003.M3P1.host": {b"$Label1"}}
    assert inbox(maildir).scan().messages.keywords == other.scan().messages.keywords


def test_append(maildir: Path) -> None:
    folder = inbox(maildir)
    uid = add(folder, b"Subject: a\r\n\r\n1\r\n2\r\n", SEEN, frozenset({b"Work"}), 1000000000.0)
    assert uid == 4
    (name,) = [name for name in os.listdir(maildir / "cur") if name.startswith(str(int(time.time()))[:6])]
    assert re.fullmatch(r"\d+\.M\d+P\d+V[0-9A-F]{16}I[0-9A-F]{16}_\d+\.host,S=16:2,S", name)
    path = maildir / "cur" / name
    assert path.read_bytes() == b"Subject: a\n\n1\n2\n"
    assert path.stat().st_mtime == 1000000000
    snapshot = inbox(maildir).scan()
    assert list(snapshot.messages.uids) == [1, 2, 3, 4]
    assert snapshot.messages.keywords == {4: frozenset({b"Work"})}
    assert os.listdir(maildir / "tmp") == []


@pytest.mark.parametrize("text", [b"a\nb\r\n", b"a\r\r\nb\r\n", b"a\rb\r\n", b"a\r", b"\n", b"\0\r\n", b"x"])
def test_append_gives_back_the_same_bytes(maildir: Path, text: bytes) -> None:
    folder = inbox(maildir)
    uid = add(folder, text)
    folder.scan()
    message = Message(octets(folder, uid))
    whole = message.section(Section())
    assert whole == wire_form(text)             # bare line feeds become CRLF, nothing else changes
    assert message.size == len(whole or b"")


@pytest.mark.parametrize("octets_at_once", [1, 3, 1000])
def test_append_in_pieces(maildir: Path, octets_at_once: int) -> None:
    folder = inbox(maildir)
    for text, stored in ((b"a: b\r\n\r\nline\r\n", b"a: b\n\nline\n"), (b"a\r\r\n", b"a\r\r\n"),
                         (b"a\n\r\n", b"a\n\r\n"), (b"\r\r\r\n", b"\r\r\r\n")):
        draft = folder.draft()
        for start in range(0, len(text), octets_at_once):
            draft.write(text[start:start + octets_at_once])
        uid = folder.append([draft])[1][0]
        folder.scan()
        assert octets(folder, uid) == stored


def test_two_sessions(maildir: Path) -> None:
    one, two = inbox(maildir), inbox(maildir)
    one.store([1], FlagChange("+", SEEN))
    two.store([1], FlagChange("+", FLAGGED))             # by a name that it does not know yet
    assert one.scan().messages.flags[0] == two.scan().messages.flags[0] == SEEN | FLAGGED
    one.store([1], FlagChange("+", 0, frozenset({b"A"})))
    two.store([1], FlagChange("+", 0, frozenset({b"B"})))
    assert one.scan().messages.keywords[1] == two.scan().messages.keywords[1] == {b"A", b"B"}
    remove(one, 2)
    assert list(two.scan().messages.uids) == [1, 3]
    with pytest.raises(errors.Vanished):
        octets(two, 2)
    assert add(one) == 4
    assert add(two) == 5
    assert list(one.scan().messages.uids) == list(two.scan().messages.uids) == [1, 3, 4, 5]


def test_recent_is_told_to_one(maildir: Path) -> None:
    folders = [Store(str(maildir), host="host").open("INBOX") for _ in range(3)]
    seen = [uid for folder in folders for uid in folder.scan().recent]
    assert sorted(seen) == [1, 2, 3]


def test_recent_that_is_gone_is_counted_nowhere(maildir: Path) -> None:
    """It came while no session was there, and went before one was."""
    inbox(maildir).close()
    visitor = Store(str(maildir), host="host").open("INBOX")
    before = set((maildir / "cur").iterdir())
    assert add(visitor) == 4
    (file,) = set((maildir / "cur").iterdir()) - before
    assert add(visitor) == 5
    file.unlink()
    status = Store(str(maildir), host="host").open("INBOX").status()
    assert (status.messages, status.recent) == (4, 1)
    snapshot = Store(str(maildir), host="host").open("INBOX").scan()
    assert list(snapshot.messages.uids) == [1, 2, 3, 5]
    assert list(snapshot.recent) == [5]


def test_copy_and_move(tree: Store) -> None:
    tree.create("INBOX.Sub")
    source, target = tree.open("INBOX"), tree.open("INBOX.Sub")
    source.scan()
    source.store([2], FlagChange("+", FLAGGED, frozenset({b"K"})))
    validity, pairs = source.copy([1, 2], target)
    assert pairs == [(1, 1), (2, 2)]
    snapshot = target.scan()
    assert (snapshot.uidvalidity, list(snapshot.messages.uids)) == (validity, [1, 2])
    assert snapshot.messages.keywords == {2: {b"K"}}
    assert octets(source, 1) == octets(target, 1)
    assert source.finder.stat(1)[1] == target.finder.stat(1)[1]
    assert source.move([3], target)[1] == [(3, 3)]
    assert list(source.scan().messages.uids) == [1, 2]
    assert list(target.scan().messages.uids) == [1, 2, 3]


def test_rename_keeps_uids(tree: Store) -> None:
    tree.create("INBOX.a")
    tree.create("INBOX.a.b")
    for _ in range(3):
        add(tree.open("INBOX.a.b"))
    folder = tree.open("INBOX.a.b")
    folder.scan()
    remove(folder, 1, 2)
    before = folder.scan()
    tree.rename("INBOX.a", "INBOX.z")
    after = tree.open("INBOX.z.b").scan()
    assert (after.uidvalidity, list(after.messages.uids), after.uidnext) == (before.uidvalidity, [3], 4)
    assert tree.names() == ["INBOX", "INBOX.z", "INBOX.z.b"]
    with pytest.raises(errors.FolderMissing):
        tree.rename("INBOX.a", "INBOX.q")
    tree.create("INBOX.q")
    with pytest.raises(errors.FolderExists):
        tree.rename("INBOX.z", "INBOX.q")


@pytest.mark.parametrize("written", [b"9" * 32, b"4294967296\n", b"4294967295\n", b"-5", b"1_0", b"\xff",
                                     b"7" * 6000])
def test_a_number_that_is_no_uidvalidity_is_followed_by_none(tree: Store, written: bytes) -> None:
    """What clients are told has 32 bits."""
    path = Path(tree.root) / "courierpy-uidvalidity"
    path.write_bytes(written)
    tree.create("INBOX.odd")
    assert 0 < tree.open("INBOX.odd").scan().uidvalidity < 1 << 32
    tree.delete("INBOX.odd")
    assert 0 < int(path.read_bytes()) < 1 << 32


def test_a_name_used_again_has_a_new_uidvalidity(tree: Store) -> None:
    given = []
    for _ in range(5):
        tree.create("INBOX.again")
        given.append(tree.open("INBOX.again").scan().uidvalidity)
        tree.delete("INBOX.again")
    assert sorted(set(given)) == given
    tree.create("INBOX.other")
    tree.rename("INBOX.other", "INBOX.again")
    assert tree.open("INBOX.again").scan().uidvalidity > given[-1]
    # one that another program gave counts too
    path = Path(tree.root) / ".again" / uiddb.NAME
    path.write_bytes(b"".join(uiddb.UidDb(2_000_000_000, 1).pieces()))
    tree.delete("INBOX.again")
    tree.create("INBOX.again")
    assert tree.open("INBOX.again").scan().uidvalidity > 2_000_000_000


def test_rename_of_inbox(tree: Store) -> None:
    tree.rename("INBOX", "INBOX.old")
    assert list(tree.open("INBOX").scan().messages.uids) == []
    assert len(tree.open("INBOX.old").scan().messages.uids) == 3


def test_folder_on_disk(tree: Store) -> None:
    tree.create("INBOX.Entwürfe.☃")
    path = Path(tree.root) / ".Entwürfe.☃"
    assert sorted(os.listdir(path)) == ["courierimapuiddb", "cur", "maildirfolder", "new", "tmp"]
    assert (path / "maildirfolder").read_bytes() == b""
    assert tree.names() == ["INBOX", "INBOX.Entwürfe.☃"]
    with pytest.raises(errors.FolderExists):
        tree.create("INBOX.Entwürfe.☃")


def test_names_that_are_not_utf8(tree: Store) -> None:
    path = os.path.join(os.fsencode(tree.root), b".\xe9t\xe9")
    for part in (b"cur", b"new", b"tmp"):
        os.makedirs(os.path.join(path, part))
    (name,) = tree.names()[1:]
    assert name == "INBOX.\uefe9t\uefe9"
    assert len(tree.open(name).scan().messages.uids) == 0
    tree.subscribe(name, True)
    assert (Path(tree.root) / "courierimapsubscribed").read_bytes() == b"INBOX.\xe9t\xe9\n"
    assert tree.subscriptions() == [name]
    tree.create(name + ".\uefff")
    assert os.path.isdir(path + b".\xff")
    tree.delete(name + ".\uefff")
    tree.rename(name, "INBOX.summer")
    assert tree.names() == ["INBOX", "INBOX.summer"]
    tree.rename("INBOX.summer", name)
    assert os.path.isdir(path)


@pytest.mark.parametrize("path", [
    b".\xe9", b".a\xff\x80b", b".\xc3", b".\xed\xb2\x80", b".\xee\xbe\x80", b".\xf4\x90\x80\x80",
    b".\xc0\xae", ".\uefc3\uefa9".encode(), ".\uefff☃\U0001f600".encode() + b"\xf0\x9f"])
def test_any_name_on_disk_is_shown_and_found(path: bytes) -> None:
    name = names.mailbox_path(path)
    name.encode()                              # no lone surrogates
    assert names.directory(utf7.decode(utf7.encode(name))) == path


@pytest.mark.parametrize("name", ["INBOX.\uefc3\uefa9", "INBOX.\udce9", "INBOX.\ud800",
                                  "INBOX.é.\uefe2\uef98\uef83"])
def test_a_name_that_would_be_shown_otherwise(tree: Store, name: str) -> None:
    with pytest.raises(errors.NameInvalid):
        tree.create(name)
    with pytest.raises(errors.NameInvalid):
        tree.subscribe(name, True)
    with pytest.raises(errors.NameInvalid):
        tree.subscribe("#shared." + name, True)


@pytest.mark.parametrize("name", ["INBOX..x", "INBOX.a/b", "INBOX./etc", "INBOX.\0", "INBOX.", "other", "..",
                                  "INBOX...", "INBOX.x.", "INBOX." + "x" * 300, "/etc", "INBOX/../x"])
def test_names_that_cannot_be(tree: Store, name: str) -> None:
    before = sorted(os.listdir(tree.root))
    for act in (tree.create, lambda name: tree.rename("INBOX", name), tree.delete, tree.open):
        with pytest.raises(errors.StoreError):
            act(name)
    assert not tree.exists(name)
    assert sorted(set(os.listdir(tree.root)) - {"courierimapuiddb", "courierpy-uidvalidity"}) == before


def test_subscriptions(tree: Store) -> None:
    path = Path(tree.root) / "courierimapsubscribed"
    tree.subscribe("INBOX.b", True)
    tree.subscribe("INBOX.a", True)
    tree.subscribe("INBOX.b", True)
    assert path.read_bytes() == b"INBOX.b\nINBOX.a\n"
    tree.subscribe("INBOX.b", False)
    tree.subscribe("INBOX.absent", False)
    assert path.read_bytes() == b"INBOX.a\n"


def test_garbage_in_tmp(tree: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp = Path(tree.root) / "tmp"
    now = int(time.time())
    for name in ("old", f"{now}.M1P1.host", f"{now + 1000 * 3600}.M1P1.host"):
        (tmp / name).write_text("x")
    (tmp / "deleted").mkdir()
    (tmp / "deleted" / "file").write_text("x")
    folder = tree.open("INBOX")
    folder.place.clean_tmp()
    assert len(os.listdir(tmp)) == 4                     # too young
    later = time.time() + 37 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    folder.place.clean_tmp()
    assert os.listdir(tmp) == []


def test_what_a_name_says_to_be_young_is_not_looked_at(tree: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(tree.root) / "tmp" / f"{int(time.time()) + 36 * 3600}.M1P1.host"
    path.touch()
    later = time.time() + 37 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    tree.open("INBOX").place.clean_tmp()
    assert path.exists()
    later += 36 * 3600
    tree.open("INBOX").place.clean_tmp()
    assert not path.exists()


def test_odd_files(maildir: Path) -> None:
    """Names from other programs, duplicates of a base name, hidden files, directories."""
    cur = maildir / "cur"
    for name in ("a:2,S", "b", "c:1,x", "d:2,", "1.x:y:2,F", "ü.host:2,", ".hidden"):
        (cur / name).write_bytes(b"Subject: odd\n\n")
    (cur / "d:2,T").write_bytes(b"Subject: twin\n\n")
    (cur / "folder").mkdir()
    folder = inbox(maildir)
    snapshot = folder.scan()
    assert len(snapshot.messages.uids) >= 9
    for uid in snapshot.messages.uids:
        folder.store([uid], FlagChange("+", SEEN))
    assert all(bits & SEEN for bits in folder.scan().messages.flags)
    assert list(inbox(maildir).scan().messages.uids) == list(snapshot.messages.uids)


def test_missing_parts_are_made(maildir: Path) -> None:
    for part in ("tmp", "new"):
        for file in (maildir / part).iterdir():
            file.unlink()
        (maildir / part).rmdir()
    inbox(maildir)
    assert (maildir / "tmp").is_dir()
    assert (maildir / "new").is_dir()


def test_status_reads_only(maildir: Path) -> None:
    folder = Store(str(maildir), host="host").open("INBOX")
    status = folder.status()
    assert (status.messages, status.recent, status.uidnext, status.unseen) == (3, 3, 4, 3)
    assert len(os.listdir(maildir / "new")) == 3
    assert folder.scan().uidvalidity == status.uidvalidity


def test_racing_appends(maildir: Path) -> None:
    """Four processes; no UID twice, no message lost."""
    inbox(maildir)
    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                folder = Store(str(maildir), host="host").open("INBOX")
                for _ in range(25):
                    add(folder)
                    folder.scan()
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    snapshot = inbox(maildir).scan()
    assert list(snapshot.messages.uids) == list(range(1, 104))


def test_racing_flags(maildir: Path) -> None:
    """Each of four processes sets a flag or keyword of its own on every message."""
    inbox(maildir)
    changes = [FlagChange("+", SEEN), FlagChange("+", FLAGGED), FlagChange("+", 0, frozenset({b"one"})),
               FlagChange("+", 0, frozenset({b"two"}))]
    pids = []
    for change in changes:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                folder = inbox(maildir)
                for uid in (1, 2, 3):
                    folder.store([uid], change)
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    snapshot = inbox(maildir).scan()
    assert all(bits == SEEN | FLAGGED for bits in snapshot.messages.flags)
    assert set(snapshot.messages.keywords.values()) == {frozenset({b"one", b"two"})}


def test_killed_at_any_moment(maildir: Path) -> None:
    """SIGKILL into a process that appends, flags and expunges: what it said is done is there."""
    inbox(maildir)
    for attempt in range(12):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            folder = inbox(maildir)
            while True:
                uid = add(folder, b"Subject: kept\r\n\r\n%d\r\n" % attempt)
                os.write(writer, b"%d\n" % uid)
                folder.scan()
                folder.store([uid], FlagChange("+", SEEN))
        os.close(writer)
        time.sleep(0.02 + attempt * 0.004)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        said = [int(line) for line in os.fdopen(reader).read().splitlines()]
        folder = inbox(maildir)
        snapshot = folder.scan()
        assert set(said) <= set(snapshot.messages.uids)
        assert len(snapshot.messages.uids) == len(set(snapshot.messages.uids))
        for uid in said:
            assert octets(folder, uid) == b"Subject: kept\n\n%d\n" % attempt


def test_unreadable_places(maildir: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may read everything")
    (maildir / "cur").chmod(0)
    with pytest.raises(errors.DiskTrouble):
        inbox(maildir)
    (maildir / "cur").chmod(0o700)


def test_no_folder(tree: Store) -> None:
    (Path(tree.root) / ".empty").mkdir()
    for name in ("INBOX.empty", "INBOX.absent"):
        with pytest.raises(errors.FolderMissing):
            tree.open(name)
    assert tree.names() == ["INBOX"]
    with pytest.raises(errors.Denied):
        tree.delete("INBOX")


def test_large_folder(tmp_path: Path) -> None:
    path = tmp_path / "Maildir"
    fill(path, 2000)
    folder = inbox(path)
    assert list(folder.scan().messages.uids) == list(range(1, 2001))
    assert folder.scan() is folder.scan()


def test_racing_creates(tree: Store) -> None:
    """Four processes make folders at once: no two have the same UIDVALIDITY."""
    pids = []
    for name in "abcd":
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                mine = Store(tree.root, host="host")
                for turn in range(25):
                    mine.create(f"INBOX.{name}{turn}")
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    given = [tree.open(name).scan().uidvalidity for name in tree.names()[1:]]
    assert len(given) == len(set(given)) == 100
    tree.create("INBOX.last")
    assert tree.open("INBOX.last").scan().uidvalidity > max(given)


def test_a_shorter_uiddb_is_one_that_others_wrote(maildir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Also when it has the inode of the one that we know: nothing was lost, and nothing is restored."""
    fill(maildir, 40)
    ours, other = inbox(maildir), inbox(maildir)
    for uid in range(1, 21):
        remove(other, uid)
        if uid % 2 == 0:
            time.sleep(0.03)
            assert list(ours.scan().messages.uids) == list(range(uid + 1, 41))
    assert "restored" not in capfd.readouterr().err


def test_a_uiddb_without_its_last_lines_is_one_that_others_wrote(maildir: Path,
                                                                 capfd: pytest.CaptureFixture[str]) -> None:
    """Its inode is the one that we know, and it says what ours said, up to a place: as if it was cut."""
    fill(maildir, 40)
    ours, other = inbox(maildir), inbox(maildir)
    path, first = maildir / "courierimapuiddb", maildir / "first"
    os.link(path, first)
    time.sleep(0.03)
    assert len(ours.scan().messages.uids) == 40
    remove(other, 40)
    remove(other, 39)
    with other.locked():
        other._looker.again()
        other._looker.numbers.write(other._looker.numbers.named().database)
    told = path.read_bytes()
    assert first.read_bytes()[30:].startswith(told[30:]) and len(told) < first.stat().st_size
    first.write_bytes(told)
    first.rename(path)
    time.sleep(0.03)
    assert list(ours.scan().messages.uids) == list(range(1, 39))
    assert list(inbox(maildir).scan().messages.uids) == list(range(1, 39))
    assert "restored" not in capfd.readouterr().err


def test_a_folder_without_cur_is_listed(tree: Store) -> None:
    """As it can be selected; what has none of the three directories cannot."""
    for name in (".a/new", ".b/tmp", ".c/x"):
        os.makedirs(os.path.join(tree.root, name))
    with open(os.path.join(tree.root, ".d"), "w"):
        pass
    assert tree.names() == ["INBOX", "INBOX.a", "INBOX.b"]
    for name in ("INBOX.a", "INBOX.b"):
        assert tree.status(name).messages == 0
    for name in ("INBOX.c", "INBOX.d"):
        with pytest.raises(errors.FolderMissing):
            tree.status(name)
