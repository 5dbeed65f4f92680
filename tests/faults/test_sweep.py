"""Every command, killed before every call that changes something, and each call made to fail."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults.operations import BY_NAME, OPERATIONS, Operation
from tests.faults.sweep import (
    Case,
    Failed,
    Ground,
    error_cases,
    kill_cases,
    lasting_cases,
    run_case,
)

WORKERS = 3
USUAL = 0.9                     # of the faults that are reached, at least
AGAIN = 3                       # recordings, at most, that tell a path from the usual one
SHOWN = 3                       # reports of one test
PATIENCE = 60.0                 # seconds after which a sweep that has failed already is broken off


def sweep(ground: Ground, name: str,
          cases: Callable[[list[dict[str, Any]], Operation], Iterator[Case]]) -> None:
    """Run them all; the test fails with a line for each that found something."""
    operation = BY_NAME[name]

    def recorded() -> list[Case]:
        return list(cases(ground.record(operation, witnessed=cases is kill_cases), operation))

    chosen = recorded()
    failed: list[Failed] = []
    end = time.monotonic() + PATIENCE

    def one(case: Case) -> bool | None:
        if failed and time.monotonic() > end:
            return None
        try:
            return run_case(ground, case)
        except Failed as error:
            failed.append(error)
            return True

    # most of the time is spent in the servers: side by side
    with ThreadPoolExecutor(WORKERS) as pool:
        reached = list(pool.map(one, chosen))
    lines = [f"{len(failed)} of {len(chosen) - reached.count(None)} cases, of {len(chosen)} in all; "
             "again: python -m tests.faults.sweep CASE",
             *(f"{error.case}: {error.why}" for error in failed), "", *map(str, failed[:SHOWN])]
    assert not failed, "\n".join(lines)
    # timing may take another path now and then, not often; it may have been the recorded one
    again = 0
    while not reached.count(True) >= len(chosen) * USUAL and again < AGAIN:
        again += 1
        usual = {str(case) for case in recorded()}
        kept = [(case, hit) for case, hit in zip(chosen, reached, strict=True) if str(case) in usual]
        chosen, reached = [case for case, _ in kept], [hit for _, hit in kept]
    assert chosen and reached.count(True) >= len(chosen) * USUAL, f"{reached.count(True)} faults were reached"


def test_the_harness_itself(ground: Ground) -> None:
    """A kill, a torn write and an error are each reached; the account is in order after them."""
    for name in ("append-selected-rename-2-kill", "append-selected-write-1-torn", "subscribe-link-1-ENOSPC",
                 "store-add-rename-1-EACCES"):
        assert run_case(ground, Case.parse(name))


NAMES = [operation.name for operation in OPERATIONS]


@pytest.mark.server
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost_by_a_kill(ground: Ground, name: str) -> None:
    sweep(ground, name, kill_cases)


@pytest.mark.server
@pytest.mark.parametrize("name", NAMES)
def test_an_error_is_answered_and_leaves_nothing(ground: Ground, name: str) -> None:
    sweep(ground, name, error_cases)


@pytest.mark.server
@pytest.mark.parametrize("name", NAMES)
def test_an_error_that_stays(ground: Ground, name: str) -> None:
    sweep(ground, name, lasting_cases)
