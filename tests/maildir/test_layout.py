"""Layouts: which one a tree is, what it shows, and what its mailboxes' directories become."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from courierpy.maildir import layout, trash
from courierpy.maildir.errors import FolderExists, FolderMissing, NameInvalid, StoreError
from courierpy.maildir.formats import uiddb
from courierpy.maildir.store import Store
from courierpy.model.flags import FLAGGED, SEEN, FlagChange
from tests.conftest import fill


def plant(root: Path, *paths: str) -> Path:
    """A Maildir at each of these paths; each but the first has a message more than the one before."""
    for count, path in enumerate(paths):
        fill(root / path, count)
    return root


def shown(root: Path, choice: str = "auto") -> list[str]:
    return Store(str(root), host="host", choice=choice).names()


def maildirs(root: Path) -> list[str]:
    return sorted(str(path.parent.relative_to(root)) for path in root.rglob("cur"))


# what each program makes of INBOX, INBOX/Sub, Work, Work/Projects/deep, v1.2, été and R&D
TREES = {
    "fs": ["INBOX", "INBOX/Sub", "Work", "Work/Projects/deep", "v1.2", "&AOk-t&AOk-", "R&-D"],
    "legacy": ["Inbox", "Inbox/.Sub", "Work", "Work/.Projects/.deep", "v1.2", "&AOk-t&AOk-", "R&-D"],
    "flat": ["INBOX", "INBOX.S&APw-b", "Work", "Work.Projects.deep", "v1.2", "&AOk-t&AOk-", "R&-D"],
    "maildir++": [".", ".Sub", ".Work", ".Work.Projects.deep", ".v1.2", ".été", ".R&D"],
}
NAMES = {
    "fs": ["INBOX", "INBOX/Sub", "R&D", "Work", "Work/Projects/deep", "v1.2", "été"],
    "legacy": ["INBOX", "INBOX/Sub", "R&D", "Work", "Work/Projects/deep", "v1.2", "été"],
    "flat": ["INBOX", "INBOX.Süb", "R&D", "Work", "Work.Projects.deep", "v1.2", "été"],
    "maildir++": ["INBOX", "INBOX.R&D", "INBOX.Sub", "INBOX.Work", "INBOX.Work.Projects.deep", "INBOX.v1.2",
                  "INBOX.été"],
}


@pytest.mark.parametrize("name", TREES)
def test_auto_finds_each_and_shows_all_of_it(name: str, tmp_path: Path) -> None:
    plant(tmp_path, *TREES[name])
    tree = Store(str(tmp_path), host="host")
    assert tree.layout.name == name
    assert tree.names() == NAMES[name]
    assert tree.layout.unshown() == []
    assert sorted(tree.status(mailbox).messages for mailbox in tree.names()) == list(range(7))
    assert shown(tmp_path, name) == NAMES[name]
    assert maildirs(tmp_path) == sorted(TREES[name])          # nothing was made by looking


@pytest.mark.parametrize("inbox", ["INBOX", "Inbox", "inbox"])
def test_inbox_in_any_case(inbox: str, tmp_path: Path) -> None:
    tree = Store(str(plant(tmp_path, "Work", f"{inbox}/Sub", inbox)), host="host")
    assert tree.names() == ["INBOX", "INBOX/Sub", "Work"]
    assert tree.status("INBOX").messages == 2
    tree.create("INBOX/New")
    assert (tmp_path / inbox / "New" / "cur").is_dir()


def test_of_two_spellings_of_inbox_one_is_shown_and_the_other_told(tmp_path: Path) -> None:
    tree = Store(str(plant(tmp_path, "Inbox/Sub", "Inbox", "INBOX", "Work")), host="host")
    assert tree.names() == ["INBOX", "Work"]
    assert tree.layout.unshown() == ["Inbox", "Inbox/Sub"]


def test_a_tree_without_inbox_gets_one_when_it_is_opened(tmp_path: Path) -> None:
    tree = Store(str(plant(tmp_path, "Work", "sent")), host="host")
    assert tree.names() == ["INBOX", "Work", "sent"]
    assert maildirs(tmp_path) == ["Work", "sent"]
    assert tree.status("INBOX").messages == 0
    assert maildirs(tmp_path) == ["INBOX", "Work", "sent"]


def test_fs_with_inbox_in_the_root(tmp_path: Path) -> None:
    """Dovecot's LAYOUT=fs without INBOX=: by setting only, as a Maildir++ may have such directories too."""
    plant(tmp_path, ".", "Work", "Work/Projects", "INBOX/Sub")
    assert shown(tmp_path) == ["INBOX"]
    tree = Store(str(tmp_path), host="host", choice="fs")
    assert tree.names() == ["INBOX", "INBOX/Sub", "Work", "Work/Projects"]
    assert [tree.status(name).messages for name in tree.names()] == [0, 3, 1, 2]
    tree.create("INBOX/New")
    tree.delete("INBOX/Sub")
    tree.rename("INBOX/New", "Elsewhere/New")
    assert maildirs(tmp_path) == [".", "Elsewhere/New", "Work", "Work/Projects"]
    assert not (tmp_path / "INBOX").exists()                 # a level that holds nothing


@pytest.mark.parametrize("part", ["cur", "new", "tmp"])
def test_auto_never_changes_what_a_maildir_shows(part: str, tmp_path: Path) -> None:
    plant(tmp_path, "INBOX", "INBOX/Sub", "Work", ".Sent")
    (tmp_path / part).mkdir()
    tree = Store(str(tmp_path), host="host")
    assert tree.names() == ["INBOX", "INBOX.Sent"]
    assert tree.layout.unshown() == ["INBOX", "INBOX/Sub", "Work"]


def test_auto_where_nothing_is_clear(tmp_path: Path) -> None:
    assert layout.detect(str(tmp_path)) == "maildir++"           # nothing there
    plant(tmp_path, ".Sent")
    assert layout.detect(str(tmp_path)) == "maildir++"           # one that lost its own parts
    plant(tmp_path, "v1.2")
    assert layout.detect(str(tmp_path)) == "fs"
    plant(tmp_path, "v1")
    assert layout.detect(str(tmp_path)) == "flat"
    plant(tmp_path, "v1/deep")
    assert layout.detect(str(tmp_path)) == "fs"


def test_a_home_directory_is_no_tree_of_mailboxes(tmp_path: Path) -> None:
    plant(tmp_path, "Maildir", "Maildir/.Sent")
    assert layout.detect(str(tmp_path)) == "legacy"
    assert layout.detect(str(tmp_path), str(tmp_path)) == "maildir++"
    plant(tmp_path, "INBOX")
    assert layout.detect(str(tmp_path), str(tmp_path)) == "legacy"


def test_a_word_that_is_no_layout_is_told_and_auto(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plant(tmp_path, "INBOX", "Work")
    assert shown(tmp_path, "verbatim") == ["INBOX", "Work"]
    assert "auto, maildir++, fs, legacy, flat is expected, not verbatim" in capfd.readouterr().err


# -- names

def test_both_codings_are_read_and_a_new_name_is_as_those_that_are_there(tmp_path: Path) -> None:
    tree = Store(str(plant(tmp_path / "a", "INBOX", "&AOk-t&AOk-")), host="host")
    tree.create("Grüße")
    assert (tmp_path / "a" / "Gr&APwA3w-e" / "cur").is_dir()
    tree = Store(str(plant(tmp_path / "b", "INBOX", "été/deep")), host="host")
    tree.create("Grüße")
    tree.create("été/né")
    assert maildirs(tmp_path / "b") == ["Grüße", "INBOX", "été/deep", "été/né"]
    tree = Store(str(plant(tmp_path / "c", "INBOX", "R&D", "&bad", "Q&-A")), host="host")
    assert tree.names() == ["INBOX", "&bad", "Q&A", "R&D"]
    tree.create("new & old")
    assert (tmp_path / "c" / "new &- old" / "cur").is_dir()


def test_two_codings_of_one_name(tmp_path: Path) -> None:
    tree = Store(str(plant(tmp_path, "INBOX", "été", "&AOk-t&AOk-", "été/below")), host="host")
    assert tree.names() == ["INBOX", "été"]
    assert tree.status("été").messages == 2
    assert tree.layout.unshown() == ["été", "été/below"]


def test_names_in_no_coding(tmp_path: Path) -> None:
    for path in (b"\xff\xe9", b"line\nfeed"):
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(os.fsencode(tmp_path), path, os.fsencode(part)))
    tree = Store(str(plant(tmp_path, "INBOX")), host="host")
    (_, name) = tree.names()
    assert name == "\uefff\uefe9"
    assert tree.status(name).messages == 0
    tree.rename(name, "better")
    assert tree.names() == ["INBOX", "better"]


@pytest.mark.parametrize("name", ["", "/", "a//b", "/a", "a/", "../x", "a/../b", "./a", "a/.", "cur", "a/new",
                                  "tmp/x", "a\0b", "a\nb", "x" * 256, "é" * 100, "/".join("a" * 40)])
def test_names_that_cannot_be(name: str, tmp_path: Path) -> None:
    tree = Store(str(plant(tmp_path / "tree", "INBOX", "a")), host="host", choice="fs")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((NameInvalid, FolderExists)):
        tree.create(name)
    with pytest.raises(FolderMissing):
        tree.open(name)
    with pytest.raises(NameInvalid):
        tree.rename("a", name)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("choice", "name"), [
    ("legacy", ".a"), ("flat", ".a"), ("flat", "a..b"), ("flat", "a/b"), ("flat", "a.cur"),
    ("legacy", "a/b/../c")])
def test_names_that_cannot_be_elsewhere(choice: str, name: str, tmp_path: Path) -> None:
    tree = Store(str(plant(tmp_path, "INBOX")), host="host", choice=choice)
    with pytest.raises(NameInvalid):
        tree.create(name)
    assert maildirs(tmp_path) == ["INBOX"]


def test_links(tmp_path: Path) -> None:
    plant(tmp_path / "tree", "INBOX", "Work")
    plant(tmp_path / "far", "Mail", "Mail/deep")
    (tmp_path / "tree" / "there").symlink_to(tmp_path / "far" / "Mail")
    (tmp_path / "tree" / "Work" / "round").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "Work" / "self").symlink_to(".")
    (tmp_path / "tree" / "loop").symlink_to("loop")
    (tmp_path / "tree" / "gone").symlink_to("nowhere")
    tree = Store(str(tmp_path / "tree"), host="host")
    assert tree.names() == ["INBOX", "Work", "there", "there/deep"]
    tree.delete("there")
    assert tree.names() == ["INBOX", "Work", "there/deep"]
    (tmp_path / "tree" / "Work" / "child").symlink_to(tmp_path / "far" / "Mail" / "deep")
    tree.delete("Work")
    assert tree.names() == ["INBOX", "Work/child", "there/deep"]


def test_what_changes_is_seen(tmp_path: Path) -> None:
    tree = Store(str(plant(tmp_path, "INBOX", "Work")), host="host")
    for path in (".", "Work"):
        os.utime(tmp_path / path, (1_000_000_000, 1_000_000_000))
    assert tree.names() == ["INBOX", "Work"]
    plant(tmp_path, "Work/deep/er")
    assert tree.names() == ["INBOX", "Work", "Work/deep/er"]
    (tmp_path / "Work" / "cur").rmdir()
    assert tree.names() == ["INBOX", "Work/deep/er"]


# -- changes

def content(root: Path) -> dict[str, int]:
    """Messages in each Maildir."""
    return {path: sum(len([file for file in (root / path / part).iterdir() if file.is_file()])
                      for part in ("cur", "new")) for path in maildirs(root)}


def test_create_and_delete(tmp_path: Path) -> None:
    tree = Store(str(plant(tmp_path, "INBOX", "Work/Projects")), host="host")
    tree.create("Work")                            # a level becomes a mailbox
    assert tree.names() == ["INBOX", "Work", "Work/Projects"]
    with pytest.raises(FolderExists):
        tree.create("Work")
    tree.create("a/b/c")
    assert maildirs(tmp_path) == ["INBOX", "Work", "Work/Projects", "a/b/c"]
    assert oct((tmp_path / "a" / "b").stat().st_mode)[-3:] == "700"
    validity = tree.open("a/b/c").scan().uidvalidity
    tree.delete("a/b/c")
    assert not (tmp_path / "a").exists()
    tree.create("a/b/c")
    assert tree.open("a/b/c").scan().uidvalidity > validity
    tree.delete("Work")
    assert tree.names() == ["INBOX", "Work/Projects", "a/b/c"]
    assert sorted(path.name for path in (tmp_path / "Work").iterdir()) == ["Projects"]
    for missing in ("Work", "a", "none"):
        with pytest.raises(FolderMissing):
            tree.delete(missing)
    assert tree.status("Work/Projects").messages == 1


def test_delete_leaves_other_directories(tmp_path: Path) -> None:
    tree = Store(str(plant(tmp_path, "INBOX", "Work")), host="host")
    (tmp_path / "Work" / "letters").mkdir()
    (tmp_path / "Work" / "letters" / "draft.txt").write_text("x")
    (tmp_path / "Work" / ".mbsyncstate").write_text("x")
    tree.delete("Work")
    assert sorted(path.name for path in (tmp_path / "Work").rglob("*")) == ["draft.txt", "letters"]
    assert tree.names() == ["INBOX"]


@pytest.mark.parametrize("name", ["fs", "legacy", "flat"])
def test_rename(name: str, tmp_path: Path) -> None:
    plant(tmp_path, *TREES[name])
    tree = Store(str(tmp_path), host="host")
    sep = tree.layout.separator
    tree.create(f"Work{sep}2024")
    numbers = {mailbox: tree.open(mailbox).scan().uidvalidity for mailbox in tree.names()}
    work = tree.open("Work")
    work.scan()
    work.store([1], FlagChange("+", FLAGGED, frozenset({b"Later"})))
    tree.rename("Work", f"Old{sep}Work")
    expected = sorted(mailbox.replace("Work", f"Old{sep}Work") for mailbox in NAMES[name] + [f"Work{sep}2024"]
                      if mailbox != "INBOX")
    assert tree.names() == ["INBOX", *expected]
    snapshot = tree.open(f"Old{sep}Work").scan()
    assert (snapshot.uidvalidity, snapshot.messages.keywords) == (numbers["Work"], {1: {b"Later"}})
    assert tree.open(f"Old{sep}Work{sep}2024").scan().uidvalidity == numbers[f"Work{sep}2024"]
    assert maildirs(tmp_path) == sorted(
        path.replace("Work", {"fs": "Old/Work", "legacy": "Old/.Work", "flat": "Old.Work"}[name])
        for path in [*TREES[name], {"fs": "Work/2024", "legacy": "Work/.2024", "flat": "Work.2024"}[name]])
    # back, though a mailbox has come there
    tree.create("Work")
    with pytest.raises(FolderExists):
        tree.rename(f"Old{sep}Work", "Work")
    tree.delete("Work")
    tree.rename(f"Old{sep}Work", "Work")
    assert tree.names() == ["INBOX", *sorted([*NAMES[name][1:], f"Work{sep}2024"])]
    assert not list(tmp_path.glob("Old*"))


def test_rename_onto_a_level(tmp_path: Path) -> None:
    """The target's directory is there, as a mailbox lies in it."""
    plant(tmp_path, "INBOX", "A", "A/x", "A/y/z", "B/x2", "B/y/w")
    (tmp_path / "B" / ".uidvalidity").write_text("of the one before")
    (tmp_path / "A" / ".uidvalidity").write_text("of this one")
    (tmp_path / "B" / "new").mkdir()
    before = content(tmp_path)
    tree = Store(str(tmp_path), host="host")
    tree.rename("A", "B")
    assert content(tmp_path) == {path.replace("A", "B"): count for path, count in before.items()}
    assert not (tmp_path / "A").exists()
    assert (tmp_path / "B" / ".uidvalidity").read_text() == "of this one"
    assert not [path for path in (tmp_path / "B").iterdir() if "replaced" in path.name]
    plant(tmp_path, "C", "C/x")
    before = content(tmp_path)
    with pytest.raises(FolderExists):
        tree.rename("B", "C")
    (tmp_path / "C" / "cur").rmdir()
    with pytest.raises(FolderExists):
        tree.rename("B", "C")                      # both have an x
    assert {path: count for path, count in content(tmp_path).items() if path != "C"} == {
        path: count for path, count in before.items() if path != "C"}


def test_rename_of_a_level_and_of_inbox(tmp_path: Path) -> None:
    tree = Store(str(plant(tmp_path, "INBOX/Sub", "INBOX", "a/b/c", "a/b/d")), host="host")
    tree.rename("a/b", "x")
    assert maildirs(tmp_path) == ["INBOX", "INBOX/Sub", "x/c", "x/d"]
    assert not (tmp_path / "a").exists()
    tree.rename("INBOX", "saved/INBOX")
    assert content(tmp_path)["saved/INBOX"] == 1
    assert content(tmp_path)["INBOX"] == 0
    assert tree.names() == ["INBOX", "INBOX/Sub", "saved/INBOX", "x/c", "x/d"]


@pytest.mark.parametrize("call", ["rename", "mkdir", "fsync"])
@pytest.mark.parametrize(("act", "words"), [("create", ["n/e/w"]), ("create", ["B"]), ("rename", ["A", "B"]),
                                            ("rename", ["A", "C/D"]), ("delete", ["A"])])
def test_a_disk_that_refuses_leaves_all_as_it_was(call: str, act: str, words: list[str], tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of this kind fails in its turn, until the command is done before one does."""
    real = getattr(os, call)
    for nth in range(30):
        root = plant(tmp_path / str(nth), "INBOX", "A", "A/x", "B/y")
        tree = Store(str(root), host="host")
        for name in tree.names():
            tree.open(name).scan()
        before = there(root)
        calls = 0

        def failing(*args: object, nth: int = nth, **more: object) -> object:
            nonlocal calls
            calls += 1
            if calls == nth + 1:
                raise OSError(5, "Input/output error")
            return real(*args, **more)

        with monkeypatch.context() as patched:
            patched.setattr(os, call, failing)
            try:
                getattr(tree, act)(*words)
            except StoreError as error:
                assert "Input/output error" in str(error)
                assert there(root) == before, nth
        if calls <= nth:
            assert there(root) != before
            return
    pytest.fail("it never came to its end")


def there(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*")
                  if path.name != "courierpy-uidvalidity")


# -- what is ours lies where others pass it over

def test_index_keywords_and_subscriptions(tmp_path: Path) -> None:
    tree = Store(str(plant(tmp_path, "INBOX", "Work", "Work/deep")), host="host")
    work = tree.open("Work")
    work.scan()
    work.store([1], FlagChange("+", SEEN, frozenset({b"Alpha"})))
    work.close(wait=True)
    tree.subscribe("Work/deep", True)
    tree.subscribe("INBOX", True)
    tree.save()
    assert tree.subscriptions() == ["Work/deep", "INBOX"]
    assert (tmp_path / "courierimapsubscribed").read_text() == "Work/deep\nINBOX\n"
    assert uiddb.read(str(tmp_path / "Work" / "courierimapuiddb")) is not None
    directories = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_dir()}
    assert {path for path in directories if "courier" in path} <= {
        f"{box}/cur/.{ours}" for box in ("INBOX", "Work", "Work/deep")
        for ours in ("courierpyindex", "courierimapkeywords")}
    assert "Work/cur/.courierimapkeywords" in directories
    again = Store(str(tmp_path), host="host").open("Work").scan()
    assert (again.messages.keywords, list(again.messages.flags)) == ({1: {b"Alpha"}}, [SEEN])


def test_subscriptions_of_dovecot(tmp_path: Path) -> None:
    plant(tmp_path, "INBOX", "Work/Projects", "a.b", "&AOk-t&AOk-")
    (tmp_path / "subscriptions").write_text("V\t2\n\nWork\tProjects\n&AOk-t&AOk-\na.b\nINBOX\n../x\ncur\n")
    assert Store(str(tmp_path), host="host").subscriptions() == ["Work/Projects", "été", "a.b", "INBOX"]
    (tmp_path / "subscriptions").write_text("Work/Projects\n&AOk-t&AOk-\na.b\n")
    tree = Store(str(tmp_path), host="host")
    assert tree.subscriptions() == ["Work/Projects", "été", "a.b"]
    tree.subscribe("a.b", False)
    assert (tmp_path / "courierimapsubscribed").read_text() == "Work/Projects\nété\n"
    assert [tree.layout.levels(path) for path in ("", "Work/Projects", "été")] == [      # type: ignore[union-attr]
        [b"INBOX"], [b"Work", b"Projects"], [b"&AOk-t&AOk-"]]


def test_keywords_set_by_one_session_are_heard_by_another(tmp_path: Path) -> None:
    plant(tmp_path, "INBOX", "Work")
    one, two = (Store(str(tmp_path), host="host").open("Work") for _ in range(2))
    one.scan()
    two.scan()
    two.watch()
    one.store([1], FlagChange("+", 0, frozenset({b"First"})))        # makes the directory
    assert two.scan().messages.keywords == {1: {b"First"}}
    one.store([1], FlagChange("+", 0, frozenset({b"Second"})))
    assert two.scan().messages.keywords == {1: {b"First", b"Second"}}


def test_the_trash_is_emptied(tmp_path: Path) -> None:
    tree = Store(str(plant(tmp_path, "INBOX", "Trash", "Work/Trash")), host="host")
    assert tree.trash_mailbox == "Trash"
    (file,) = (tmp_path / "Trash" / "new").iterdir()
    trash.empty(tree, "Trash:1,Work/Trash:1")
    assert file.exists()


# -- what is not shown

def test_what_is_passed_over_is_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plant(tmp_path, ".", "Work", "Work/deep", "..Sub", ".Sent")
    (tmp_path / "notes").mkdir()
    tree = Store(str(tmp_path), host="host")
    tree.names()
    assert tree.passed_over() == ["..Sub", "Work", "Work/deep"]
    assert tree.passed_over() == []
    assert capfd.readouterr().err.count("Work/deep") == 1
    again = Store(str(tmp_path), host="host")
    again.names()
    assert again.passed_over() == []               # but the log has it in each session
    assert capfd.readouterr().err.count("Work/deep") == 1
    plant(tmp_path, "More")
    again = Store(str(tmp_path), host="host")
    again.names()
    assert "More" in again.passed_over()


@pytest.mark.parametrize(("choice", "paths"), [("legacy", ["Work/plain"]), ("flat", ["Work/deep", "Work/.x"]),
                                               ("fs", ["inbox"])])
def test_what_another_layout_would_show(choice: str, paths: list[str], tmp_path: Path) -> None:
    plant(tmp_path, "INBOX", "Work", *paths)
    tree = Store(str(tmp_path), host="host", choice=choice)
    assert tree.names() == ["INBOX", "Work"]
    assert tree.layout.unshown() == sorted(paths)

