"""courierpy backup and restore: as of one moment, whole or not there; back with all they had, and once."""
from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from courierpy.admin import main, owner
from courierpy.backup import backups
from courierpy.backup.backups import MANIFEST, Backup, Backups
from courierpy.maildir import quotacount
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from courierpy.model.flags import ANSWERED, DELETED, FLAGGED, SEEN, FlagChange
from tests.conftest import account_ids, fill, octets
from tests.maildir.children import process, wait_until
from tests.maildir.killed import at_each_step
from tests.programs.test_maildirs import accounts, run, tree

KEYWORDS = frozenset([b"$Todo", b"Later"])


def opened(root: Path, layout: str = "auto") -> Store:
    return Store(str(root), host="host", choice=layout)


def state(store: Store) -> dict[str, list[tuple[int, int, frozenset[bytes], bytes, int]]]:
    """Of each mailbox the messages: UID, flags, keywords, octets and INTERNALDATE."""
    found = {}
    for name in store.names():
        folder = store.open(name)
        messages = folder.scan(readonly=True).messages
        found[name] = [(uid, *messages.state(uid), octets(folder, uid), int(folder.finder.stat(uid)[1]))
                       for uid in messages.uids]
    return found


def without_uids(store: Store) -> dict[str, list[tuple[object, ...]]]:
    return {name: sorted(one[1:] for one in rows) for name, rows in state(store).items()}


def add(folder: Mailbox, text: bytes, bits: int = 0, words: frozenset[bytes] = frozenset(),
        date: int = 1600000000) -> int:
    draft = folder.draft()
    draft.write(text)
    draft.flags, draft.keywords, draft.date = bits, words, date
    return folder.append([draft])[1][0]


@pytest.fixture(params=["maildir++", "fs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Two mailboxes with messages, keywords, a subscription."""
    root = tmp_path / "M"
    fill(root, 2)
    if request.param == "fs":
        (root / "Work" / "sub").mkdir(parents=True)
    found = opened(root, request.param)
    work, deep = (found.namespaces.personal.name(name) for name in (
        ("Work", "Work.sub") if request.param == "maildir++" else ("Work", "Work/sub")))
    for name in (work, deep):
        if not found.exists(name):
            found.create(name)
    found.subscribe(deep, True)
    add(found.open(work), b"Subject: one\n\n1\n", SEEN | FLAGGED, KEYWORDS)
    add(found.open(work), b"Subject: two\n\n2\n", ANSWERED)
    add(found.open(deep), b"Subject: three\n\n3\n", 0, frozenset([b"Deep"]), 1500000000)
    folder = found.open("INBOX")
    folder.scan()
    folder.store([1], FlagChange("+", SEEN))
    return found


def tool(store: Store, name: str, *words: str | Path) -> list[str]:
    """The words of a tool, with those that say the layout."""
    settings = Path(store.root).parent / "conf"
    settings.write_text("IMAP_LAYOUT=fs\n" if store.layout.name == "fs" else "")
    return [name, "-C", str(settings), *map(str, words)]


def names_of(store: Store) -> tuple[str, str]:
    """Work, and the one below it."""
    return store.names()[1], store.names()[2]


def backed_up(store: Store, top: Path, *words: str) -> Backup:
    """The newest, after another one."""
    assert main(["courierpy", *tool(store, "backup", "-q", *words, top, store.root)]) == 0
    return list_of(top)[-1]


def list_of(top: Path) -> list[Backup]:
    (own,) = top.iterdir()
    return Backups(str(own), "host").whole()


# -- backup

def test_a_backup_is_the_maildir(store: Store, tmp_path: Path) -> None:
    """As any server reads it: the same UIDs, flags, keywords, dates."""
    before = state(store)
    validities = {name: store.open(name).scan().uidvalidity for name in before}
    (tmp_path / "M" / "new" / "1800000000.M1P1.host").write_bytes(b"Subject: new\n\n")
    found = backed_up(store, tmp_path / "B")
    assert (found.number, found.told["messages"], found.told["mailboxes"]) == (1, 6, 3)
    assert abs(found.when - time.time()) < 600
    assert (Path(found.path) / "new" / "1800000000.M1P1.host").exists()
    copy = opened(Path(found.path), store.layout.name)
    assert copy.names() == store.names()
    assert copy.subscriptions() == store.subscriptions()
    assert {name: copy.open(name).scan(readonly=True).uidvalidity for name in before} == validities
    assert {name: rows[:len(before[name])] for name, rows in state(copy).items()} == before
    for name in before:
        assert not os.listdir(os.path.join(copy.path_of(name), "tmp"))


def test_messages_are_the_same_files(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    top = tmp_path / "B"
    (row,) = map(json.loads, run(capfd, *tool(store, "backup", "-J", top, store.root))[1])
    assert (row["messages"], row["linked"], row["copied"], row["refused"]) == (5, 5, 0, 0)
    inodes = {file.stat().st_ino for file in (tmp_path / "M").rglob("cur/*:2,*")}
    assert {file.stat().st_ino for file in Path(row["backup"]).rglob("cur/*:2,*")} == inodes


def messages_in(root: Path) -> dict[str, os.stat_result]:
    """What there is in cur/ of all mailboxes, by base name."""
    return {file.name.partition(":")[0]: file.stat() for file in root.rglob("cur/1*")}


def test_copies_are_shared_by_later_backups(store: Store, tmp_path: Path,
                                            capfd: pytest.CaptureFixture[str]) -> None:
    """So it is too where the mail is on another file system."""
    top = tmp_path / "B"
    work = names_of(store)[0]
    rows = []
    for _ in range(2):
        rows += map(json.loads, run(capfd, *tool(store, "backup", "--copies", "-J", top, store.root))[1])
        folder = store.open(work)
        folder.scan()
        folder.store([1], FlagChange("+", DELETED))        # another name, the same message
        add(folder, b"Subject: more\n\n")
    assert [(row["linked"], row["copied"]) for row in rows] == [(0, 5), (5, 1)]
    first, second = (messages_in(Path(row["backup"])) for row in rows)
    assert all(second[name].st_ino == found.st_ino for name, found in first.items())
    mail = messages_in(tmp_path / "M")
    for name, found in second.items():
        assert found.st_ino != mail[name].st_ino
        assert found.st_mtime_ns == mail[name].st_mtime_ns


def test_rights_annotations_quota(tmp_path: Path) -> None:
    root = tmp_path / "M"
    fill(root, 2)
    store = opened(root)
    store.create("INBOX.Work")
    assert main(["courierpy", "maildiracl", "-set", str(root), "INBOX.Work", "user=ann", "lr"]) == 0
    (root / "courierpy-metadata").write_bytes(b"x")
    (root / "maildirsize").write_bytes(b"1000000S,90C\n         999          99\n")
    copy = Path(backed_up(store, tmp_path / "B").path)
    rights = Path(".Work") / "courierimapacl"
    assert (copy / rights).read_bytes() == (root / rights).read_bytes()
    assert (copy / "courierpy-metadata").read_bytes() == b"x"
    there = quotacount.count(os.fsencode(root))
    assert there.messages == 2
    assert (copy / "maildirsize").read_bytes() == b"1000000S,90C\n" + there.line()
    assert (copy / ".Work" / "maildirfolder").exists() == (root / ".Work" / "maildirfolder").exists()


def test_beside_sessions_each_message_is_there_once(tmp_path: Path) -> None:
    """One that moves messages between two mailboxes, and changes their flags and keywords, all the time."""
    root, over, top = tmp_path / "M", tmp_path / "over", tmp_path / "B"
    fill(root, 0)
    store = opened(root)
    store.create("INBOX.Work")
    for number in range(40):
        add(store.open("INBOX"), b"Subject: %d\n\n" % number)

    def stir() -> None:
        here, there = store.open("INBOX"), store.open("INBOX.Work")
        while not over.exists():
            uids = list(here.scan().messages.uids)
            here.store(uids[::2], FlagChange("+", FLAGGED, frozenset([b"Stirred"])))
            here.store(uids[::2], FlagChange("-", FLAGGED, frozenset([b"Stirred"])))
            here.move(uids, there)
            here, there = there, here

    with process(stir) as pid:
        found = [backed_up(store, top) for _ in range(4)]
        over.touch()
        done = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert done is not None and done.si_status == 0
    for one in found:
        copy = opened(Path(one.path))
        rows = [row for rows in state(copy).values() for row in rows]
        assert Counter(row[3] for row in rows) == {b"Subject: %d\n\n" % number: 1 for number in range(40)}
        for _, bits, words, _, _ in rows:      # flags come a moment after the keywords
            assert words in (frozenset(), {b"Stirred"}) and bits in (0, FLAGGED)
        assert len(list(Path(one.path).rglob("cur/1*"))) == 40


def test_killed_at_each_step_no_half_one_is_whole(tmp_path: Path) -> None:
    root, top = tmp_path / "M", tmp_path / "B"
    fill(root, 2)
    store = opened(root)
    store.create("INBOX.Work")
    add(store.open("INBOX.Work"), b"Subject: one\n\n", SEEN, KEYWORDS)
    before = state(store)
    backed_up(store, top)
    steps, looked_into = 0, set()
    for _ in at_each_step(
            lambda: main(["courierpy", "backup", "-q", "--keep", "2", str(top), str(root)]), 2):
        steps += 1
        found = list_of(top)
        assert found
        for one in found:
            if one.path not in looked_into:
                assert state(opened(Path(one.path))) == before
                looked_into.add(one.path)
        for one in found[:-2]:
            shutil.rmtree(one.path)        # else each run has more to read than the one before, without end
    assert steps > 50 and len(looked_into) > 1         # some are killed when theirs is whole
    assert state(store) == before
    (own,) = top.iterdir()
    assert sorted(os.listdir(own)) == sorted(one.name for one in list_of(top))     # nothing else is left
    assert len(list_of(top)) == 2
    for name in store.names():
        assert not [file for file in os.listdir(os.path.join(store.path_of(name), "tmp"))
                    if file.startswith("courier")]


def test_what_another_process_makes_is_not_cleaned(tmp_path: Path) -> None:
    own = Backups(str(tmp_path), "host")
    mine = own.begin()
    (tmp_path / (backups.UNFINISHED + "dead")).mkdir()
    (tmp_path / "else").mkdir()
    own.clean()
    assert sorted(os.listdir(tmp_path)) == sorted([os.path.basename(mine.path), "else"])
    assert own.whole() == []
    found = mine.finish({"when": 0.5})
    assert found.name == "19700101T000000Z"
    again = own.begin()
    assert again.finish({"when": 0.5}).name == "19700101T000000Z-1"
    assert [one.number for one in own.whole()] == [1, 2]
    (own_went,) = own.keep(1)
    assert own_went.number == 1 and [one.number for one in own.whole()] == [2]
    (tmp_path / "odd").mkdir()
    for text in ("", "{}", "[]", "null", '{"number": "x", "when": 1}'):
        (tmp_path / "odd" / MANIFEST).write_text(text)
        assert backups.find(str(tmp_path / "odd")) is None


def test_one_odd_message_keeps_no_other_out(tmp_path: Path, capfd: pytest.CaptureFixture[str],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "M"
    fill(root, 2)
    (root / "cur" / "1700000000.M9P1.host:2,").symlink_to("1700000000.M9P1.host:2,")
    (root / "cur" / "directory:2,").mkdir()
    status, lines, error = run(capfd, "backup", tmp_path / "B", root)
    assert (status, len(lines)) == (os.EX_NOPERM, 1)
    assert "not in the backup" in error and "2 messages in 1 mailboxes" in lines[0]


def test_one_odd_mailbox_keeps_no_other_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One that nobody can hold is not in the backup; one that nobody can read is not looked through."""
    root = tmp_path / "M"
    fill(root, 2)
    for part in ("cur", "new"):
        (root / ".odd" / part).mkdir(parents=True)
    (root / ".odd" / "tmp").touch()
    status, lines, error = run(capfd, "backup", tmp_path / "B", root)
    assert (status, "2 messages in 1 mailboxes" in lines[0]) == (os.EX_NOINPUT, True)
    line = error.splitlines()[-1]
    assert "not in the backup: " in line and "/.odd/tmp" in line
    (root / ".odd" / "cur").rmdir()
    (root / ".odd" / "cur").touch()
    for file in (root / "new").iterdir():
        file.unlink()
    assert run(capfd, "restore", "-A", tmp_path / "B", root)[0] == 0
    assert len(list((root / "cur").iterdir())) == 2


def test_a_message_that_is_a_link(tmp_path: Path) -> None:
    """What it leads to is in the backup, and in a copy: from there the link would lead elsewhere."""
    root = tmp_path / "M"
    fill(root, 0)
    (root / "kept").write_bytes(b"Subject: far\n\n")
    (root / "cur" / "1700000000.M9P1.host:2,S").symlink_to("../kept")
    store = opened(root)
    store.create("INBOX.Work")
    folder = store.open("INBOX")
    folder.scan()
    folder.copy([1], store.open("INBOX.Work"))
    for there in (store, opened(Path(backed_up(store, tmp_path / "B").path))):
        assert [row[3] for rows in state(there).values() for row in rows] == [b"Subject: far\n\n"] * 2


def test_only_told(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = tree(tmp_path / "M")
    status, lines, error = run(capfd, *tool(store, "backup", "-n", "-v", tmp_path / "B", store.root))
    assert (status, error, len(lines)) == (0, "", 4)
    assert "5 messages in 3 mailboxes would be in a backup" in lines[-1]
    assert tree(tmp_path / "M") == before
    assert not (tmp_path / "B").exists()


@pytest.mark.parametrize("words", [["backup"], ["backup", "B"], ["restore", "-A", "B"], ["restore", "B", "M"],
                                   ["backup", "--keep", "0", "B", "M"],
                                   ["restore", "-A", "--uid", "1", "B", "M"], ["restore", "-A"]])
def test_wrong_words(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, *words)[0] == os.EX_USAGE


# -- restore

def lose(store: Store) -> None:
    """A mailbox is deleted, a message expunged, another one removed by hand."""
    work, deep = names_of(store)
    store.delete(deep)
    folder = store.open(work)
    folder.scan()
    folder.remove([1])
    os.unlink(next(file.path for file in os.scandir(store.open("INBOX").place.cur)))


def test_what_is_lost_comes_back(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before, uids = without_uids(store), state(store)
    deep = names_of(store)[1]
    subscribed = store.subscriptions()
    found = backed_up(store, tmp_path / "B")
    lose(store)
    store.subscribe(deep, False)
    kept = tree(tmp_path / "M")
    assert run(capfd, *tool(store, "restore", "-n", "-A", tmp_path / "B", store.root))[0] == 0
    assert tree(tmp_path / "M") == kept
    status, lines, error = run(capfd, *tool(store, "restore", "-A", tmp_path / "B", store.root))
    assert (status, error) == (0, "")
    assert lines[-1] == f"{store.root}: 3 messages came back from {found.path}"
    assert without_uids(store) == before
    assert store.subscriptions() == subscribed
    for name, rows in state(store).items():
        assert {row[0] for row in rows}.issubset(range(1, 9))
        back = set(rows) - set(uids[name])
        assert name == deep or {row[0] for row in back} == ({3} if back else set())    # new numbers
    kept = tree(tmp_path / "M")
    assert run(capfd, *tool(store, "restore", "-A", tmp_path / "B", store.root))[1] == [
        f"{store.root}: 0 messages came back from {found.path}"]
    assert {path: one for path, one in tree(tmp_path / "M").items() if "/cur" in path} == \
        {path: one for path, one in kept.items() if "/cur" in path}
    assert state(opened(Path(found.path), store.layout.name)) == uids      # nothing of it changed


def test_flags_of_what_is_there_stay(store: Store, tmp_path: Path) -> None:
    backed_up(store, tmp_path / "B")
    folder = store.open(names_of(store)[0])
    folder.scan()
    folder.store([1], FlagChange("=", DELETED))
    before = state(store)
    assert main(["courierpy", *tool(store, "restore", "-A", tmp_path / "B", store.root)]) == 0
    assert state(store) == before


def test_what_was_moved_is_not_missing(store: Store, tmp_path: Path,
                                       capfd: pytest.CaptureFixture[str]) -> None:
    """But a copy that was there already stands for nothing else."""
    work, deep = names_of(store)
    source, inbox = store.open(work), store.open("INBOX")
    source.scan()
    source.copy([2], inbox)
    backed_up(store, tmp_path / "B", "--copies")
    source.scan()
    source.move([1], store.open(deep))
    source.remove([2])                 # its copy in INBOX is another message
    before = state(store)
    status, lines, _ = run(capfd, *tool(store, "restore", "-J", "-A", tmp_path / "B", store.root))
    rows = {row["mailbox"]: (row["restored"], row["moved"]) for row in map(json.loads, lines)}
    assert (status, rows) == (0, {"INBOX": (0, 0), work: (1, 1), deep: (0, 0)})
    after = state(store)
    assert (after["INBOX"], after[deep]) == (before["INBOX"], before[deep])
    assert [row[1:] for row in after[work]] == [(ANSWERED, frozenset(), b"Subject: two\n\n2\n", 1600000000)]


def test_one_message_into_a_mailbox(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    work = names_of(store)[0]
    top = tmp_path / "B"
    backed_up(store, top)
    words = tool(store, "restore", "-v", "--mailbox", work, "--uid", "1", "--into", "Found", top, store.root)
    for count in (1, 0):
        status, lines, error = run(capfd, *words)
        assert (status, error) == (0, "")
        assert lines[-1].startswith(f"{store.root}: {count} messages came back")
        found = store.names()[1]
        assert [row[1:] for row in state(store)[found]] == [
            (SEEN | FLAGGED, KEYWORDS, b"Subject: one\n\n1\n", 1600000000)]
    assert run(capfd, *tool(store, "restore", "--mailbox", work, "--uid", "7", top, store.root))[0] == 1
    assert run(capfd, *tool(store, "restore", "--mailbox", "Nope", top, store.root))[0] == os.EX_NOINPUT


def test_from_any_maildir_and_an_older_backup(store: Store, tmp_path: Path,
                                              capfd: pytest.CaptureFixture[str]) -> None:
    top = tmp_path / "B"
    first = backed_up(store, top)
    inbox = store.open("INBOX")
    inbox.scan()
    inbox.remove([1])
    backed_up(store, top)
    status, lines, _ = run(capfd, *tool(store, "restore", "-l", top, store.root))
    assert (status, len(lines)) == (0, 2)
    assert "0 messages" in run(capfd, *tool(store, "restore", "-A", top, store.root))[1][-1]
    assert run(capfd, *tool(store, "restore", "-A", "--at", "never", top, store.root))[0] == os.EX_NOINPUT
    lines = run(capfd, *tool(store, "restore", "-A", "--at", first.name, top, store.root))[1]
    assert "1 messages" in lines[-1]
    inbox.scan()
    inbox.remove(list(inbox.scan().messages.uids))
    os.unlink(os.path.join(first.path, MANIFEST))          # a Maildir like any other
    assert "2 messages" in run(capfd, *tool(store, "restore", "-A", first.path, store.root))[1][-1]
    assert run(capfd, *tool(store, "restore", "-A", tmp_path / "none", store.root))[0] == os.EX_NOINPUT
    assert run(capfd, *tool(store, "restore", "-l", tmp_path / "none", store.root))[0] == 1


def test_a_full_quota_refuses_and_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "M"
    fill(root, 3)
    store = opened(root)
    store.open("INBOX").scan()
    backed_up(store, tmp_path / "B")
    store.open("INBOX").scan()
    folder = store.open("INBOX")
    folder.scan()
    folder.remove([1, 2])
    (root / "maildirsize").write_bytes(b"2C\n           1            1\n")
    status, lines, error = run(capfd, "restore", "-A", tmp_path / "B", root)
    assert (status, len(error.splitlines())) == (os.EX_TEMPFAIL, 1)
    assert [row[0] for row in state(opened(root))["INBOX"]] == [3]     # all of them, or none


def test_killed_at_each_step_each_message_comes_once(tmp_path: Path) -> None:
    """However often it is begun again."""
    root = tmp_path / "M"
    fill(root, 1)
    store = opened(root)
    store.create("INBOX.Work")
    for number in range(12):
        add(store.open("INBOX.Work"), b"Subject: %d\n\n" % number, SEEN, KEYWORDS)
    before = without_uids(store)
    backed_up(store, tmp_path / "B")
    folder = store.open("INBOX.Work")
    folder.scan()
    steps = 0
    for _ in at_each_step(lambda: main(["courierpy", "restore", "-A", str(tmp_path / "B"), str(root)]), 3):
        steps += 1
        if steps % 4 == 1:
            there = opened(root).open("INBOX.Work")
            there.remove(list(there.scan().messages.uids))
        else:
            names = os.listdir(root / ".Work" / "cur")
            assert len(names) <= 12
    assert steps > 10
    assert without_uids(opened(root)) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root has others' Maildirs to work on")
def test_root_does_it_as_the_user(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    maildir = tmp_path / "M"
    fill(maildir, 3)
    conf, top = accounts(tmp_path, maildir), tmp_path / "B"
    uid, gid = account_ids()
    status, _, error = run(capfd, "backup", "-C", conf, "-u", "ann", "-u", "eve@example.org", top)
    assert (status, error) == (0, "")
    assert sorted(path.name for path in top.iterdir()) == ["ann", "eve@example.org"]
    assert (top.stat().st_uid, top.stat().st_mode & 0o777) == (0, 0o711)
    assert {path.lstat().st_uid for own in top.iterdir() for path in (own, *own.rglob("*"))} == {uid}
    for file in (*(maildir / "cur").iterdir(), *(maildir / "new").iterdir()):
        file.unlink()
    (found,) = (top / "ann").iterdir()
    for path in (found, *found.rglob("*")):
        os.chown(path, 0, 0)               # as tar leaves it
        path.chmod(path.stat().st_mode | 0o055 | (0o2000 if path.is_dir() else 0))
    status, _, error = run(capfd, "restore", "-C", conf, "-u", "ann", "-A", top)
    assert (status, error) == (0, "")
    back = [path for path in maildir.rglob("*") if path.is_file()]
    assert len(os.listdir(maildir / "cur")) == 3
    assert {(path.stat().st_uid, path.stat().st_gid) for path in back} == {(uid, gid)}
    with owner.inside(str(maildir)):
        assert len(Store(".").open("INBOX").scan(readonly=True).messages.uids) == 3


def test_an_account_that_is_not_there_stops_no_other(tmp_path: Path,
                                                     capfd: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "M", 1)
    status, lines, error = run(capfd, "backup", tmp_path / "B", tmp_path / "none", tmp_path / "M")
    assert (status, len(lines), len(error.splitlines())) == (os.EX_NOINPUT, 1, 1)


def test_a_busy_mailbox_leaves_nothing_behind(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root, over, ready = tmp_path / "M", tmp_path / "over", tmp_path / "ready"
    fill(root, 1)

    def hold() -> None:
        with opened(root).open("INBOX").locked():
            ready.touch()
            wait_until(over.exists)

    with process(hold):
        wait_until(ready.exists)
        status, lines, error = run(capfd, "backup", "-t", "0", tmp_path / "B", root)
        over.touch()
    assert (status, lines) == (os.EX_TEMPFAIL, [])
    assert "others hold it" in error
    (own,) = (tmp_path / "B").iterdir()
    assert os.listdir(own) == []
