"""Commands that change what the quota counts, killed before every call that changes something, and each call
on maildirsize made to fail: what it says is right, or is counted again before anybody is refused."""
from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from courierpy.maildir.names import MAILDIRSIZE as NAME
from tests.faults import sweep
from tests.faults.operations import BY_NAME
from tests.faults.sweep import Case, Failed, Ground, Run

WORKERS = 3
ROOM = 40_000                          # octets beyond what is there
LINE = re.compile(rb" *-?\d+ +-?\d+\n")
COUNTING = ("append-multi", "copy-other", "move-other", "replace-other", "store-remove", "store-replace",
            "expunge", "delete", "rename")
UNCOUNTED = ("move-other", "expunge")  # what is \Deleted is out of the sum already


def counted(maildir: Path) -> tuple[int, int]:
    """Octets and messages that count, by the files themselves."""
    sizes = [file.stat().st_size for folder in (maildir, *maildir.glob(".*")) for part in ("cur", "new")
             if (folder / part).is_dir() for file in (folder / part).iterdir()
             if "T" not in file.name.rpartition(":2,")[2]]
    return sum(sizes), len(sizes)


def believed(maildir: Path) -> tuple[int, int]:
    """The sums of maildirsize.  A line that a kill cut off may be the last one."""
    head, *lines = (maildir / NAME).read_bytes().splitlines(keepends=True)
    assert re.fullmatch(rb"\d+S,1000C\n", head), head
    torn = [line for line in lines if not LINE.fullmatch(line)]
    assert len(torn) <= 1, lines
    pairs = [line.split() for line in lines if line not in torn]
    return sum(int(pair[0]) for pair in pairs), sum(int(pair[1]) for pair in pairs)


class Limited(Ground):
    """The account has a quota.  ``wrong``: octets that its file counts too much."""

    def __init__(self, folder: Path, wrong: int = 0) -> None:
        super().__init__(folder)
        octets, messages = counted(self.template)
        self.limit = octets + ROOM
        file = self.template / NAME
        file.write_bytes(b"%dS,1000C\n%12d %12d\n%12d %12d\n" % (self.limit, octets, messages, wrong, 0))
        past = time.time() - 3600
        os.utime(file, (past, past))


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    made = Limited(tmp_path_factory.mktemp("limited"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    """Whoever looks whether there is room has to count again."""
    made = Limited(tmp_path_factory.mktemp("wrong"), ROOM + 1)
    yield made
    made.close()


def check(ground: Limited, case: Case) -> bool:
    """True when the fault was reached.  Raises Failed."""
    with Run(ground, case.operation, case.plan) as run:
        try:
            run.disturb()
            run.inspect(kept=not case.kills)
            believed(run.maildir)
            left = ground.limit - counted(run.maildir)[0]
            found = run.talk("fills").do(b"APPEND INBOX.Other" + _mail(left))
            assert found[-1].startswith(b"t OK"), f"{left} octets are left, and yet {found[-1]!r}"
            assert counted(run.maildir)[0] == ground.limit
            return bool(run.hits())
        except (AssertionError, sweep.Dead, OSError) as error:
            why = (str(error) or type(error).__name__).splitlines()[0]
            raise Failed(case, why, run.report(why + "\n" + (run.maildir / NAME).read_text())) from None


def _mail(octets: int) -> bytes:
    return b" {%d}\r\n" % octets + b"x" * octets


def run(ground: Limited, cases: list[Case]) -> None:
    failed: list[Failed] = []

    def one(case: Case) -> bool:
        try:
            return check(ground, case)
        except Failed as error:
            failed.append(error)
            return True

    with ThreadPoolExecutor(WORKERS) as pool:
        reached = list(pool.map(one, cases))
    assert not failed, "\n".join([*(f"{error.case}: {error.why}" for error in failed), *map(str, failed[:2])])
    assert any(reached)


def recorded(ground: Limited, name: str) -> list[dict[str, Any]]:
    calls = ground.record(BY_NAME[name])
    assert any(NAME in path for call in calls for path in call["paths"]) == (name not in UNCOUNTED)
    return calls


@pytest.mark.server
@pytest.mark.parametrize("name", COUNTING)
def test_a_kill_locks_nobody_out(limited: Limited, name: str) -> None:
    run(limited, list(sweep.kill_cases(recorded(limited, name), BY_NAME[name])))


@pytest.mark.server
def test_a_kill_while_all_is_counted_again(wrong: Limited) -> None:
    run(wrong, list(sweep.kill_cases(recorded(wrong, "append-other"), BY_NAME["append-other"])))


@pytest.mark.server
@pytest.mark.parametrize("name", COUNTING)
def test_a_file_that_cannot_be_used_locks_nobody_out(limited: Limited, name: str) -> None:
    calls = [call for call in limited.record(BY_NAME[name]) if any(NAME in path for path in call["paths"])]
    cases = list(sweep.error_cases(calls, BY_NAME[name]))
    if cases:
        run(limited, cases)
