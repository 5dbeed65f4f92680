"""Values of many messages: computed by several processes they are the same as by one."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from courierpy.imap import attributes
from courierpy.maildir.store import Store
from courierpy.message.mime import Limits
from courierpy.system import proc

COUNT = 40
KINDS = ["size", "structure", "find-subject", "date"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "Maildir"
    for part in ("cur", "new", "tmp"):
        (path / part).mkdir(parents=True)
    for number in range(1, COUNT + 1):
        (path / "cur" / f"17{number:08}.M1P1.host:2,").write_bytes(
            b"Subject: number %d\nDate: Mon, 1 Jan 2024 10:00:00 +0000\n\n%s\n" % (number, b"x" * number))
    return path


def values(path: Path, gone: tuple[int, ...] = ()) -> tuple[list[list[bytes | None]], set[int]]:
    """Of all messages, by a session of which some messages vanish before it asks."""
    opened = Store(str(path), host="host", index_at="").open("INBOX")
    snapshot = opened.scan()
    for number in gone:
        (path / "cur" / f"17{number:08}.M1P1.host:2,").unlink(missing_ok=True)
    known = attributes.Attributes(opened, Limits())
    uids = snapshot.messages.uids
    [(_, _, found)] = known.pieces(KINDS, uids, len(uids), known=False)
    return found, known.lost


@pytest.mark.parametrize("gone", [(), (1, 7, 8, 40)])
def test_several_processes(folder: Path, monkeypatch: pytest.MonkeyPatch, gone: tuple[int, ...]) -> None:
    monkeypatch.setattr(attributes, "MANY", dict.fromkeys(attributes.MANY, COUNT))
    started: list[object] = []
    real = proc.elsewhere

    def elsewhere(work: Callable[[], bytes]) -> Callable[[], bytes | None]:
        started.append(work)
        return real(work)

    monkeypatch.setattr(proc, "elsewhere", elsewhere)
    monkeypatch.setattr(proc, "processors", lambda: 3)
    several = values(folder, gone)
    assert len(started) == 2
    monkeypatch.setattr(proc, "processors", lambda: 1)
    if gone:
        opened = Store(str(folder), host="host").open("INBOX")
        assert len(opened.scan().messages.uids) == COUNT - len(gone)
        assert several[1] == set(gone)
        assert [at + 1 for at, value in enumerate(several[0][0]) if value is None] == [*gone]
        assert several[0][0][2] is not None
    else:
        assert several == values(folder)
        assert all(None not in found for found in several[0])
        assert several[1] == set()


def test_a_process_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its share is computed here."""
    plain = values(folder)
    monkeypatch.setattr(attributes, "MANY", dict.fromkeys(attributes.MANY, COUNT))
    monkeypatch.setattr(proc, "processors", lambda: 4)
    real = proc.elsewhere
    failing = iter([True, False, True])

    def elsewhere(work: Callable[[], bytes]) -> Callable[[], bytes | None]:
        return real((lambda: b"" + None) if next(failing) else work)  # type: ignore[operator]

    monkeypatch.setattr(proc, "elsewhere", elsewhere)
    assert values(folder) == plain


def test_no_process_can_be_had(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = values(folder)
    monkeypatch.setattr(attributes, "MANY", dict.fromkeys(attributes.MANY, COUNT))
    monkeypatch.setattr(proc, "processors", lambda: 2)

    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("os.fork", fork)
    assert values(folder) == plain
