"""courierpy restore of many mailboxes that are gone: all that they had, and no more looks than for a few."""
from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from courierpy.admin import main
from courierpy.maildir.layout import MaildirPlusPlus
from courierpy.maildir.store import Store
from courierpy.maildir.subscriptions import Subscriptions
from tests.conftest import fill


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
