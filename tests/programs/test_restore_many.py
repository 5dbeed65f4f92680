"""courierpy restore of many mailboxes that are gone: all that they had, and no more looks than for a few."""
from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from courierpy.admin import main
from courierpy.maildir import annotation
from courierpy.maildir.formats.annotation import render
from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.store import Store
from courierpy.maildir.subscriptions import Subscriptions
from tests.conftest import fill
from tests.maildir.killed import at_each_step


def lost(tmp_path: Path, count: int) -> Store:
    """A Maildir that had so many mailboxes, each with a list of rights and a subscription, and a backup."""
    fill(tmp_path / "M", 1)
    store = Store(str(tmp_path / "M"), host="host")
    for at in range(count):
        name = f"INBOX.m{at:03}"
        store.create(name)
        store.subscribe(name, True)
        (Path(store.path_of(name)) / "courierimapacl").write_text(f"owner aceilrstwx\nuser=u{at} lr\n")
    assert main(["courierpy", "backup", str(tmp_path / "B"), store.root]) == 0
    for at in range(1, count):
        shutil.rmtree(store.path_of(f"INBOX.m{at:03}"))
    (tmp_path / "M" / "courierimapsubscribed").write_bytes(b"INBOX.other\n")
    return Store(store.root, host="host")


@pytest.mark.parametrize("count", [3, 40])
def test_each_is_as_it_was(tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store, calls = lost(tmp_path, count), tmp_path / "calls"

    def counted(kind: type, name: str) -> None:
        real = getattr(kind, name)

        def call(self: object, *words: object) -> object:
            with calls.open("a") as file:      # in a process that is the user
                file.write(f"{name}\n")
            return real(self, *words)
        monkeypatch.setattr(kind, name, call)

    for kind, name in ((MaildirPlusPlus, "mailboxes"), (Subscriptions, "names"),
                       (Subscriptions, "_write")):
        counted(kind, name)
    assert main(["courierpy", "restore", "-A", str(tmp_path / "B"), store.root]) == 0
    done = Counter(calls.read_text().split())
    assert done["mailboxes"] <= 4
    assert (done["names"], done["_write"]) == (2, 1)
    monkeypatch.undo()
    names = [f"INBOX.m{at:03}" for at in range(count)]
    assert store.names() == ["INBOX", *names]
    # what is there still is as its user has it
    assert store.subscriptions() == ["INBOX.other", *names[1:]]
    for at, name in enumerate(names):
        assert store.lists().of(name.removeprefix("INBOX.")).entries[f"user=u{at}"] == frozenset("lr")
    assert main(["courierpy", "restore", "-A", str(tmp_path / "B"), store.root]) == 0
    assert store.subscriptions() == ["INBOX.other", *names[1:]]


RIGHTS = b"owner aceilrstwx\nuser=ann lr\nadministrators aceilrstwx\n"


@pytest.mark.parametrize("layout", ["maildir++", "fs"])
def test_killed_at_each_step_none_is_there_without_its_rights(tmp_path: Path, layout: str) -> None:
    """Nor without its annotations: one that is there is not looked at again."""
    (tmp_path / "M").mkdir()
    fill(tmp_path / "M" / ("INBOX" if layout == "fs" else ""), 1)
    store = Store(str(tmp_path / "M"), host="host", choice=layout)
    name = store.namespaces.personal.name("Work")
    kept = {"courierimapacl": RIGHTS, annotation.FILE: render({b"/shared/comment": b"urgent"})}
    store.create(name, kept)
    path = Path(store.path_of(name))
    assert main(["courierpy", "backup", str(tmp_path / "B"), store.root]) == 0
    shutil.rmtree(path)
    steps = there = 0
    for _ in at_each_step(lambda: main(["courierpy", "restore", "-A", str(tmp_path / "B"), store.root]), 2):
        steps += 1
        if name in store.names():
            there += 1
            assert {file: (path / file).read_bytes() for file in kept} == kept
            shutil.rmtree(path)
    assert steps > 20 and there
    assert {file: (path / file).read_bytes() for file in kept} == kept


def test_a_list_that_keeps_its_owner_out_is_not_taken(tmp_path: Path,
                                                      capfd: pytest.CaptureFixture[str]) -> None:
    store = lost(tmp_path, 2)
    (tmp_path / "B").rename(tmp_path / "old")
    (saved,) = (tmp_path / "old").rglob(".m001/courierimapacl")
    saved.write_text("owner l\n")
    assert main(["courierpy", "restore", "-A", str(tmp_path / "old"), store.root]) == 0
    assert "courierimapacl: is not taken, it keeps owner out" in capfd.readouterr().err
    assert "INBOX.m001" in store.names() and not (tmp_path / "M" / ".m001" / "courierimapacl").exists()
