"""The queue on disk: what is in it, what a crash leaves, that two are never at the same."""
from __future__ import annotations

from pathlib import Path

import pytest

from courierpy.newmail.event import Event
from courierpy.newmail.queue import FIRST_PAUSE, LONGEST_PAUSE, Entry, Queue
from courierpy.newmail.tokens import GoneTokens

EVENT = Event("ann", "INBOX", 5, about={"subject": "x"}, tokens=["t"])


def test_in_order_and_after_a_start(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    names = [queue.add("webhook", EVENT).name for _ in range(5)] + [queue.add("token", EVENT, "t").name]
    assert names == sorted(names) and len(set(names)) == 6
    again = Queue(str(tmp_path)).load()
    assert [entry.name for entry in again] == names
    assert (again[-1].method, again[-1].token, again[-1].event.about) == ("token", "t", {"subject": "x"})
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())
    queue.remove(again[0])
    queue.remove(again[0])
    assert [entry.name for entry in queue.load()] == names[1:]


def test_what_a_crash_leaves(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    entry = queue.add("webhook", EVENT)
    (tmp_path / f".{entry.name}").write_bytes(b"{")
    (tmp_path / entry.name.replace(entry.name[:20], "0" * 20)).write_bytes(b"rubbish")
    (tmp_path / "README").write_text("x")
    assert [found.name for found in queue.load()] == [entry.name]
    assert sorted(path.name for path in tmp_path.iterdir())[-1] == "README"      # not ours, left alone
    assert not list(tmp_path.glob(".*"))


def test_one_at_a_time(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    entry = queue.add("webhook", EVENT)
    begun = queue.begin(entry.name)
    assert begun is not None
    with begun as found:
        assert (found.name, found.method) == (entry.name, "webhook")
        assert queue.begin(entry.name) is None
    second = queue.begin(entry.name)
    assert second is not None
    with second:
        queue.remove(entry)
    assert queue.begin(entry.name) is None


def test_nothing_is_lost_that_cannot_be_written(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    entry = queue.add("webhook", EVENT)
    before = (tmp_path / entry.name).read_bytes()
    (tmp_path / f".{entry.name}").mkdir()              # in the way
    entry.postpone(1.0)
    with pytest.raises(OSError):
        queue.put(entry)
    assert (tmp_path / entry.name).read_bytes() == before


def test_pauses_grow() -> None:
    entry = Entry("x", "webhook", EVENT)
    pauses = []
    for _ in range(30):
        entry.postpone(100.0)
        pauses.append(entry.due - 100.0)
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses == sorted(pauses) and pauses[-1] == LONGEST_PAUSE and entry.tries == 30


def test_tokens_that_are_gone(tmp_path: Path) -> None:
    tokens = GoneTokens(str(tmp_path))
    tokens.add("one")
    assert tokens.knows("one") and not tokens.knows("two")
    assert GoneTokens(str(tmp_path)).knows("one")
    assert b"one" not in (tmp_path / "gone-tokens").read_bytes()
    (tmp_path / "gone-tokens").write_text("1 x\nrubbish\n\n99999999999999999999999 y\n")
    assert not GoneTokens(str(tmp_path)).knows("one")
    Queue(str(tmp_path)).load()
    assert (tmp_path / "gone-tokens").exists()
