"""What is expunged is kept, listed and brought back: IMAP_EXPUNGE_KEEP, unexpunge, expire."""
from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from courierpy.admin import main
from courierpy.maildir import expunged, graveyard, places, quotacount
from courierpy.maildir.errors import QuotaExceeded
from courierpy.maildir.formats.uiddb import UidDb
from courierpy.maildir.mailbox import Mailbox
from courierpy.maildir.store import Store
from courierpy.model.flags import ANSWERED, DELETED, FLAGGED, SEEN, FlagChange
from courierpy.system.settings import Settings
from tests.conftest import fill, octets

CHANGE = FlagChange("+", 0)
LAYOUTS = {"maildir++": "INBOX.Work", "fs": "Work"}


def tree_of(root: Path, layout: str = "maildir++", keeps: bool = True) -> Store:
    return Store(str(root), host="host", choice=layout, keeps_expunged=keeps)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill(tmp_path / "M", 3)
    return tmp_path / "M"


@pytest.fixture(params=LAYOUTS)
def folder(request: pytest.FixtureRequest, root: Path) -> Mailbox:
    """A mailbox with three messages."""
    store = tree_of(root, request.param)
    name = LAYOUTS[request.param]
    store.create(name)
    fill(Path(store.path_of(name)), 3)
    return store.open(name)


def expunge(folder: Mailbox, *uids: int) -> None:
    folder.scan()
    folder.store(uids, FlagChange("+", DELETED))
    assert folder.expunge(uids) == list(uids)


def graves(folder: Mailbox) -> list[graveyard.Grave]:
    return folder.place.graveyard().graves()


def run(capfd: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, list[str], str]:
    """(exit status, lines, what went wrong)."""
    status = main(["courierpy", *map(str, words)])
    said = capfd.readouterr()
    return status, said.out.splitlines(), said.err


def test_what_is_expunged_is_kept_and_comes_back(folder: Mailbox) -> None:
    folder.scan()
    folder.store([2], FlagChange("+", SEEN | ANSWERED, frozenset([b"Later", b"$Todo"])))
    text, arrived = octets(folder, 2), folder.finder.stat(2)[1]
    expunge(folder, 2)
    (grave,) = graves(folder)
    assert (grave.uid, grave.bits, grave.words) == (2, SEEN | ANSWERED | DELETED, {b"Later", b"$Todo"})
    assert grave.uidvalidity == folder.scan().uidvalidity
    assert abs(grave.when - time.time()) < 600
    assert list(folder.scan().messages.uids) == [1, 3]
    assert folder.status().messages == 2
    uidvalidity, uids = folder.restore([grave], FlagChange("-", DELETED))
    assert (uidvalidity, uids) == (folder.scan().uidvalidity, [4])
    found = folder.scan().messages
    assert found.state(4) == (SEEN | ANSWERED, {b"Later", b"$Todo"})
    assert (octets(folder, 4), folder.finder.stat(4)[1]) == (text, arrived)
    assert not graves(folder)


def test_many_are_not_looked_for_one_by_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In all numbers, of which there may be a hundred thousand."""
    fill(root, 60)
    folder = tree_of(root).open("INBOX")
    uids = list(folder.scan().messages.uids)[:50]
    folder.remove(uids)
    monkeypatch.setattr(UidDb, "find", lambda database, name: pytest.fail("one by one"))
    assert len(folder.restore(graves(folder), CHANGE)[1]) == 50
    monkeypatch.undo()
    assert len(folder.scan().messages.uids) == 60


def test_other_sessions_hear_of_both(root: Path) -> None:
    folder, other = tree_of(root).open("INBOX"), tree_of(root).open("INBOX")
    other.join()
    assert list(other.scan().messages.uids) == [1, 2, 3]
    other.watch()
    expunge(folder, 1, 2)
    assert list(other.scan().messages.uids) == [3]
    assert octets(other, 2)                    # its client was not told
    folder.restore(graves(folder), CHANGE)
    assert list(other.scan().messages.uids) == [3, 4, 5]
    other.close()


def test_names_of_the_layout(root: Path) -> None:
    """It is no mailbox, and no Maildir that is passed over."""
    store = tree_of(root)
    folder = store.open("INBOX")
    expunge(folder, 1)
    assert store.names() == ["INBOX"]
    assert store.passed_over() == []
    assert (root / "courierpyexpunged").stat().st_mode & 0o777 == 0o700
    store = tree_of(root.parent, "fs")
    assert store.names() == ["INBOX", "M"]


def test_nothing_is_kept_without_the_setting(root: Path) -> None:
    assert Store.of(Settings({"IMAP_EXPUNGE_KEEP": "3"})).options.keeps_expunged
    assert not Store.of(Settings({})).options.keeps_expunged
    folder = tree_of(root, keeps=False).open("INBOX")
    expunge(folder, 1)
    assert not (root / "courierpyexpunged").exists()


def test_quota_counts_it_when_it_comes_back(root: Path) -> None:
    (root / "maildirsize").write_bytes(b"3C\n            0            3\n")
    store = tree_of(root)
    folder = store.open("INBOX")
    expunge(folder, 1, 2)
    quota = store.quota()
    assert quota is not None
    usage = quota.usage()
    assert usage is not None
    assert usage.there.messages == 1
    folder.restore(graves(folder)[:1], FlagChange("-", DELETED))
    fill_one = root / "new" / "1900000000.M1P1.host,S=5"
    fill_one.write_bytes(b"a: b\n")
    quota.recount_quietly()
    with pytest.raises(QuotaExceeded):
        folder.restore(graves(folder), FlagChange("=", 0))
    assert [grave.uid for grave in graves(folder)] == [2]      # it is where it was


def test_a_full_disk_keeps_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tree_of(root).open("INBOX")
    expunge(folder, 1)
    monkeypatch.setattr(expunged, "LOW_OCTETS", 1 << 62)
    expunge(folder, 2)
    assert [grave.uid for grave in graves(folder)] == [1]
    assert folder.place.make_room()
    assert not graves(folder)


def test_a_disk_that_is_full_just_now(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tree_of(root).open("INBOX")
    folder.scan()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(graveyard.Graveyard, "take", full)
    assert folder.remove([1]) == [1]
    assert not graves(folder)
    assert list(folder.scan().messages.uids) == [2, 3]


def test_a_long_name(root: Path) -> None:
    name = "1800000000.M1P1." + "h" * 230 + ":2,S"
    (root / "cur" / name).touch()
    folder = tree_of(root).open("INBOX")
    uid = folder.scan().messages.uids[-1]
    folder.remove([uid])
    (grave,) = graves(folder)
    assert (grave.uid, grave.bits) == (uid, SEEN)
    folder.restore([grave], CHANGE)
    assert folder.scan().messages.flags[-1] == SEEN


def test_a_message_that_is_gone_meanwhile(root: Path) -> None:
    folder = tree_of(root).open("INBOX")
    folder.scan()
    for file in (root / "cur").iterdir():
        file.unlink()
    assert folder.remove([1, 2, 3]) == []
    assert not graves(folder)


# -- the tools

def test_unexpunge(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tree_of(root).open("INBOX")
    expunge(folder, 1, 3)
    folder.close()
    status, lines, error = run(capfd, "unexpunge", "-l", root)
    assert (status, error) == (0, "")
    assert [line for line in lines if line.startswith("UID")] == ["UID: 1", "UID: 3"]
    assert [line.split(":")[0].strip() for line in lines[:8]] == [
        "UID", "Size", "Sent", "Recv", "Expg", "From", "To", "Subj"]
    (first, _) = map(json.loads, run(capfd, "unexpunge", "-l", "-J", root)[1])
    assert (first["uid"], first["mailbox"], first["keywords"]) == (1, "INBOX", [])
    assert run(capfd, "unexpunge", "-n", "-a", root)[1] == lines
    status, lines, _ = run(capfd, "unexpunge", "-v", "-d", "-f", "\\Flagged", "--uid", "3", root)
    assert (status, lines) == (0, ["INBOX: UID 3 came back as 4", f"{root}: INBOX: 1 messages came back"])
    status, lines, error = run(capfd, "unexpunge", "-t", "1h", "-f", "Back", "--uid", "1", "--uid", "9", root)
    assert (status, "no message is kept that had UID 9" in error) == (1, True)
    found = tree_of(root).open("INBOX").scan().messages
    assert [found.state(uid) for uid in found.uids] == [
        (0, frozenset()), (FLAGGED, frozenset()), (DELETED, {b"Back"})]


@pytest.mark.parametrize("words", [["M"], ["-t", "3x", "M"], ["--uid", "0", "M"], ["-a", "-f", "a b", "M"],
                                   ["-l"]])
def test_wrong_words_of_unexpunge(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "unexpunge", *words)[0] == os.EX_USAGE


def test_expire(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tree_of(root).open("INBOX")
    folder.scan()
    folder.store([3], FlagChange("+", FLAGGED, frozenset([b"Kept"])))
    expunge(folder, 1, 2, 3)
    yard = root / "courierpyexpunged"
    for file in [*yard.iterdir()]:                     # as if some were of days before
        when, uidvalidity, rest = file.name.split(".", 2)
        days = 0 if rest.startswith("2,") else 9
        file.rename(yard / f"{int(when) - days * 86400}.{uidvalidity}.{rest}")
    (yard / f"{int(time.time()) - 9 * 86400}.1.7.keywords").touch()        # of nothing
    conf = root.parent / "conf"
    conf.write_text("IMAP_EXPUNGE_KEEP=7\n")
    status, lines, error = run(capfd, "expire", "-C", conf, "-n", root)
    assert (status, error) == (0, "")
    assert "2 expunged messages would go" in lines[0]
    assert len(list(yard.iterdir())) == 5
    assert run(capfd, "expire", "-X", "1w", "--keep-flagged", root)[0] == 0
    assert [grave.uid for grave in graves(folder)] == [3, 2]
    assert len(list(yard.iterdir())) == 3
    assert run(capfd, "expire", root)[0] == 0          # nothing says how long
    (row,) = map(json.loads, run(capfd, "expire", "-C", conf, "-J", root)[1])
    assert (row["removed"], row["kept"]) == (1, 1)
    assert run(capfd, "expire", "-X", "0", root)[0] == 0
    assert list(yard.iterdir()) == []


def test_expire_the_list_of_what_was_delivered(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    index = tree_of(root).options.index(str(root))
    old, young = b"%d a x\n" % (time.time() - 9 * 86400), b"%d b y\n" % time.time()
    index.replace("delivered", [old, young])
    assert run(capfd, "expire", "-E", "3d", root)[0] == 0
    assert Path(index.file("delivered")).read_bytes() == young


# -- mailboxes that are deleted, keywords that nothing has

def aside(root: Path) -> list[Path]:
    return sorted((root / "courierpydeleted").glob("*/.*"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_goes_with_a_rename_and_is_nothing_odd(layout: str, root: Path, tmp_path: Path,
                                                  capfd: pytest.CaptureFixture[str]) -> None:
    """What was expunged of a mailbox is that of the mailbox under its new name; check leaves it alone."""
    conf = tmp_path / "conf"
    conf.write_text(f"IMAP_LAYOUT={layout}\nIMAP_EXPUNGE_KEEP=7\n")
    store, name = tree_of(root, layout), LAYOUTS[layout]
    store.create(name)
    fill(Path(store.path_of(name)), 3)
    folder = store.open(name)
    expunge(folder, 2)
    folder.close()
    store.rename(name, f"{name}2")
    words = ["-C", conf, "--mailbox", f"{name}2", root]
    before = run(capfd, "unexpunge", "-l", *words)
    assert (before[0], [line for line in before[1] if line.startswith("UID")]) == (0, ["UID: 2"])
    for options in ([], ["--fix"], ["--fix", "-O"]):
        assert run(capfd, "check", "-C", conf, *options, root) == (0, [], "")
    assert run(capfd, "unexpunge", "-l", *words) == before
    assert run(capfd, "unexpunge", "-a", *words)[0] == 0
    assert len(tree_of(root, layout).open(f"{name}2").scan().messages.uids) == 3


def test_a_deleted_mailbox_is_kept(root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = tree_of(root)
    (root / "maildirsize").write_bytes(b"1000000S\n")
    for name in ("INBOX.Work", "INBOX.Empty"):
        store.create(name)
    fill(root / ".Work", 3)
    folder = store.open("INBOX.Work")
    expunge(folder, 2)
    folder.store([3], FlagChange("+", FLAGGED, frozenset([b"Later"])))
    for name in ("INBOX.Work", "INBOX.Empty"):
        store.delete(name)
    (kept,) = aside(root)
    assert (kept.name, store.names()) == (".Work", ["INBOX"])
    assert tree_of(root).passed_over() == []
    assert quotacount.count(os.fsencode(root)).messages == 3       # INBOX's own
    status, _, error = run(capfd, "restore", "-A", "--into", "Again", kept, root)
    assert (status, error) == (0, "")
    again = tree_of(root).open("INBOX.Again").scan().messages
    assert [again.state(uid) for uid in again.uids] == [(0, frozenset()), (FLAGGED, {b"Later"})]
    for words, count in ((["-D", "1h"], 1), (["-X", "0"], 1), (["-n", "-D", "0"], 1), (["-D", "0"], 0)):
        assert run(capfd, "expire", *words, root)[0] == 0
        assert len(aside(root)) == count
    assert not list((root / "courierpydeleted").iterdir())


def test_deleted_mailboxes_go_by_the_setting(root: Path, tmp_path: Path,
                                             capfd: pytest.CaptureFixture[str]) -> None:
    for days in (1, 3):
        kept = root / "courierpydeleted" / f"{int(time.time()) - days * 86400 - 60}.M1P1_0.host" / ".Old"
        fill(kept, 1)
    (tmp_path / "conf").write_text("IMAP_EXPUNGE_KEEP=2\n")
    status, lines, _ = run(capfd, "expire", "-v", "-C", tmp_path / "conf", root)
    assert (status, len(aside(root))) == (0, 1)
    assert f"{root}: the deleted mailbox Old removed" in lines


def test_nothing_is_kept_without_the_setting_or_room(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for keeps in (False, True):
        store = tree_of(root, keeps=keeps)
        store.create("INBOX.Work")
        fill(root / ".Work", 1)
        monkeypatch.setattr(places, "has_room", lambda directory: False)
        store.delete("INBOX.Work")
        assert not aside(root)


def test_keywords_that_no_message_has(folder: Mailbox, root: Path, tmp_path: Path,
                                      capfd: pytest.CaptureFixture[str]) -> None:
    folder.scan()
    words = folder.keywords.files
    folder.store([1], FlagChange("+", 0, frozenset([b"Kept"])))
    there = {folder.finder.name_of(uid): frozenset([b"Kept"]) for uid in (1,)}
    with folder.locked():
        words.write_list({**there, b"gone": frozenset([b"Gone", b"Kept"])})
    (tmp_path / "conf").write_text("IMAP_LAYOUT=fs\n" if folder.name == "Work" else "")
    tool = ["expire", "-t", "-J", "-C", tmp_path / "conf", root, "--mailbox", "Work"]
    for more, found in ((["-n"], ["Gone"]), ([], ["Gone"]), ([], [])):
        status, (line,), error = run(capfd, *tool, *more)
        assert (status, error, json.loads(line)["keywords"]) == (0, "", found)
    fresh = tree_of(root, "fs" if folder.name == "Work" else "maildir++").open(folder.name)
    assert fresh.scan().messages.state(1)[1] == {b"Kept"}
    assert words.used() == {b"Kept"}
