"""courierpy backup while it holds the locks of all mailboxes: for a short time, and as one who lives."""
from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from courierpy.backup import copying
from courierpy.maildir import moment
from courierpy.maildir.store import Store
from tests.conftest import fill
from tests.maildir.children import ended, process

NAMES = ["INBOX", "INBOX.A", "INBOX.B"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Nothing changed in it for long."""
    fill(tmp_path / "M", 3)
    found = Store(str(tmp_path / "M"), host="host")
    for name in NAMES[1:]:
        found.create(name)
        fill(Path(found.path_of(name)), 2)
        found.open(name).scan()
    found.open("INBOX").scan()
    for name in NAMES:
        for part in ("cur", "new"):
            os.utime(os.path.join(found.path_of(name), part), (1e9, 1e9))
    return found


def came(store: Store, name: str, count: int) -> None:
    for number in range(count):
        Path(store.path_of(name), "new", f"1800000000.M{number}P2.host").write_bytes(b"Subject: new\n\n")


@pytest.mark.parametrize("changes", [False, True])
def test_what_did_not_change_is_not_read_under_the_locks(store: Store, tmp_path: Path, changes: bool) -> None:
    """All of it was read before.  A mailbox that changed is read again, and no other one."""
    said, target = tmp_path / "said", tmp_path / "B"
    lock = os.path.join(store.path_of("INBOX"), "tmp", "courier.lock")

    def act() -> None:
        def hear(event: str, args: tuple[object, ...]) -> None:
            if event == "os.scandir" and os.access(lock, os.F_OK):
                with said.open("a") as file:
                    file.write(os.fsdecode(args[0]) + "\n")          # type: ignore[arg-type]

        sys.addaudithook(hear)                 # of the child alone: it cannot be taken away
        began = moment.Moment.__enter__

        def enter(found: moment.Moment) -> moment.Moment:
            if changes:
                came(store, "INBOX.B", 1)
            return began(found)

        moment.Moment.__enter__ = enter        # type: ignore[method-assign]
        target.mkdir()
        done = copying.copy(store, str(target), "", 10, True, lambda *how: None)
        assert done.messages == 7 + changes

    with process(act) as pid:
        assert ended(pid) == 0
    read = [line for line in said.read_text().splitlines() if os.path.basename(line) in ("cur", "new")]
    changed = {store.path_of("INBOX.B"), f"{target}/.B"}
    assert {os.path.dirname(line) for line in read} == (changed if changes else set())


def test_locks_stay_young(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes: another host takes those of two minutes for left behind."""
    monkeypatch.setattr(copying, "STEP", 1)
    monkeypatch.setattr(moment, "RENEWED", 0.0)
    locks = [os.path.join(store.path_of(name), "tmp", "courier.lock") for name in NAMES]
    made_old: list[str] = []
    seen: list[str] = []

    def show(name: str, done: int, total: int) -> None:
        if not os.access(locks[0], os.F_OK):
            if seen and name != seen[0]:
                came(store, seen[0], 50)       # so there is something to bring when they are held
            seen.append(name)
            return
        if made_old:
            assert all(os.stat(lock).st_mtime > 1e9 for lock in locks)
        made_old.append(name)
        for lock in locks:
            os.utime(lock, (0, 0))

    (tmp_path / "B").mkdir()
    copying.copy(store, str(tmp_path / "B"), "", 10, True, show)
    assert len(made_old) > 2
