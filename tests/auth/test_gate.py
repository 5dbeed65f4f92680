"""Refusals counted for all connections, and how long a client waits for one."""
from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

import pytest

from courierpy.auth import gate, tries


@pytest.fixture
def table() -> Iterator[int]:
    fd = tries.make()
    yield fd
    os.close(fd)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The moment, which goes on by what is added."""
    now = [100.0]
    monkeypatch.setattr(gate.time, "monotonic", lambda: sum(now))
    return now


def test_counts_by_key(table: int) -> None:
    assert [round(tries.refused(table, ["a"])) for _ in range(3)] == [1, 2, 3]
    assert round(tries.refused(table, ["b"])) == 1
    assert round(tries.refused(table, ["b", "a"])) == 4           # the highest counts
    assert round(tries.refused(table, ["b"])) == 3


def test_counts_go_down_with_time(table: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1e9
    monkeypatch.setattr(tries.time, "time", lambda: now)
    for _ in range(4):
        tries.refused(table, ["a"])
    now += 2 * tries.FORGET
    assert tries.refused(table, ["a"]) == pytest.approx(3)
    now += 100 * tries.FORGET
    assert tries.refused(table, ["a"]) == 1
    now -= 50 * tries.FORGET                                      # a clock that was set back
    assert tries.refused(table, ["a"]) == pytest.approx(2)


def test_many_keys_do_not_push_out_one_that_is_refused_often(table: int) -> None:
    for _ in range(3):
        tries.refused(table, ["a"])
    for number in range(3 * tries.BUCKETS * tries.SLOTS):
        tries.refused(table, [f"user {number}"])
    assert round(tries.refused(table, ["a"])) == 4
    assert os.fstat(table).st_size == tries.BUCKETS * tries.SLOTS * 24


def test_processes_count_together(table: int) -> None:
    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            for _ in range(50):
                tries.refused(table, ["a"])
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    assert round(tries.refused(table, ["a"])) == 201


def test_no_table() -> None:
    assert tries.inherited({}) == tries.inherited({tries.VARIABLE: "x"}) == -1
    assert tries.inherited({tries.VARIABLE: "0"}) == -1           # not ours
    assert tries.refused(-1, ["a"]) == 1.0
    fd = tries.make()
    assert tries.inherited({tries.VARIABLE: str(fd)}) == fd
    assert not fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC  # a program that is started has it
    os.close(fd)


def test_delays_grow_for_the_address_and_for_the_user(table: int) -> None:
    def refuse(address: str, user: str) -> float:
        return gate.Gate(address, 60, table=table).refused(100.0, user) - 100

    assert [refuse("::ffff:10.0.0.1", f"user{number}") for number in range(6)] == [5, 5, 10, 20, 30, 30]
    assert [refuse(f"::ffff:10.0.1.{number}", "Joe" if number % 2 else "joe")
            for number in range(6)] == [5, 5, 10, 20, 30, 30]
    assert [refuse(f"2001:db8:1:1::{number}", "") for number in range(3)] == [5, 5, 10]
    assert refuse("2001:db8:1:2::1", "") == 5
    assert refuse("::ffff:10.0.0.2", "amy") == 5


def test_what_was_waited_for_already_counts() -> None:
    assert gate.Gate("", 60).refused(97.0, "joe") == 102


def test_the_stage_and_the_tries_have_an_end(clock: list[float]) -> None:
    one = gate.Gate("", 12)
    again = []
    for _ in range(3):
        clock.append(one.refused(gate.time.monotonic(), "") - gate.time.monotonic())
        again.append(one.again())
    assert again == [True, True, False]
    one = gate.Gate("", 60, first=0)
    again = []
    for _ in range(10):
        one.refused(0, "")
        again.append(one.again())
    assert again == [True] * 9 + [False]
