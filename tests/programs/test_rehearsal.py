"""The sessions that a listener holds with itself, and what they call, which is moved to one place."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courierpy import rehearsal, sidebyside
from tests.conftest import plain_environ

STATE = """
import gc, os, signal, sys
from courierpy import rehearsal

def state():
    gc.collect()                       # as preload.freeze() does
    places = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
              if os.path.exists(f"/proc/self/fd/{fd}")}
    umask = os.umask(0)
    os.umask(umask)
    return places, umask, os.getcwd(), signal.pthread_sigmask(signal.SIG_BLOCK, ()), dict(os.environ)

protocol, apart = sys.argv[1], sys.argv[2] == "apart"
rehearsal.load({}, apart, protocol)
before = state()
rehearsal.rehearse({}, apart, protocol)
rehearsal.gather({}, apart, protocol)
rehearsal.rehearse({}, apart, protocol)
assert state() == before, (before, state())
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("done")
"""


@pytest.mark.parametrize("way", ["apart", "alone"])
@pytest.mark.parametrize("protocol", ["IMAP", "POP3"])
def test_a_rehearsal_leaves_its_process_as_it_was(protocol: str, way: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", STATE, protocol, way], capture_output=True, text=True,
                          check=False, env=plain_environ(TMPDIR="/tmp"))
    assert done.stdout == "done\n", done.stderr


class Counter:
    def __init__(self) -> None:
        self.seen: list[str] = []

    @property
    def last(self) -> str:
        return self.seen[-1]

    @staticmethod
    def both(one: str, *, other: str = "by default") -> str:
        return f"{one}, {other}"

    @classmethod
    def of(cls, words: Iterator[str], then: str = "the end") -> Counter:
        counter = cls()
        counter.seen += (word.upper() for word in words)
        counter.seen.append(then)
        return counter


def _adder(number: int) -> Callable[[int], int]:
    def add(other: int) -> int:
        return number + other
    return add


def _is_not_called() -> str:
    return "not"


def _held_elsewhere() -> str:
    return "elsewhere"


_held_elsewhere.told = "of it"         # type: ignore[attr-defined]


def test_functions_do_the_same_when_their_code_was_moved() -> None:
    kept = _adder(3)

    def work() -> list[object]:
        counter = Counter.of(iter(["a", "b"]))
        return [counter.last, *counter.seen, kept(4), _adder(5)(6)]

    def codes() -> dict[str, int]:
        functions = {"of": Counter.of.__func__, "init": Counter.__init__, "kept": kept,    # type: ignore
                     "adder": _adder, "made": _adder(1), "other": _is_not_called}
        return {name: id(function.__code__) for name, function in functions.items()}

    before, expected = codes(), work()
    called = sidebyside.called(work)           # held, so that the numbers stay theirs
    sidebyside.move(called)
    after = codes()
    assert work() == expected == ["the end", "A", "B", "the end", 7, 11]
    assert {name for name in before if before[name] != after[name]} == {"of", "init", "kept", "adder", "made"}
    assert kept.__code__.co_filename == __file__ and kept.__code__.co_name == "add"


def test_functions_are_moved_where_all_are_known_who_have_them() -> None:
    def functions() -> dict[str, object]:
        return {"property": vars(Counter)["last"].fget, "static": Counter.both, "method": Counter.__init__,
                "class": vars(Counter)["of"].__func__, "module": _adder, "elsewhere": _held_elsewhere}

    def work() -> tuple[str, str, str]:
        return Counter.of(iter(["a"])).last, Counter.both("one"), _held_elsewhere() + str(_adder(1)(2))

    table, expected = [_held_elsewhere], work()
    before = {name: id(function) for name, function in functions().items()}
    called = sidebyside.called(work)
    fill = [_adder(number) for number in range(100)]       # so that nothing comes where another one was
    sidebyside.move(called)
    after = functions()
    assert work() == expected == ("the end", "one, by default", "elsewhere3")
    assert {name for name in before if before[name] == id(after[name])} == {"elsewhere"}
    assert table == [_held_elsewhere] and _held_elsewhere.told == "of it"      # type: ignore[attr-defined]
    assert all(add(0) == number for number, add in enumerate(fill))


def test_what_cannot_be_moved_is_told_and_stays(monkeypatch: pytest.MonkeyPatch,
                                                capfd: pytest.CaptureFixture[str]) -> None:
    def move(codes: object) -> None:
        raise KeyError("a place")

    monkeypatch.setattr(sidebyside, "called", lambda work: [])
    monkeypatch.setattr(sidebyside, "move", move)
    rehearsal.gather({}, True, "IMAP")
    assert "KeyError: 'a place'" in capfd.readouterr().err
