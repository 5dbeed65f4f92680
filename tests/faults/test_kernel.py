"""What the hook numbers is what the kernel sees, and the kernel's own kills and errors do no more harm."""
from __future__ import annotations

import re
from typing import Any

import pytest

from tests.conftest import need
from tests.faults.hook import CHANGES
from tests.faults.kernel import KernelRun, Refused
from tests.faults.operations import BY_NAME, OPERATIONS
from tests.faults.sweep import Case, Failed, Ground, check_run
from tests.faults.test_sweep import AGAIN

pytestmark = pytest.mark.server

SAMPLE = ("append-multi", "move-other", "store-keywords", "create", "rename", "subscribe")
EACH = 4                        # every so many calls of the sample's commands are disturbed
ERRORS = {"create": "EMFILE", "write": "ENOSPC", "fsync": "EIO", "rename": "EDQUOT", "link": "EACCES",
          "mkdir": "ENOSPC"}


def traced(ground: Ground, name: str) -> list[dict[str, Any]]:
    """The kernel's list of the calls of a command."""
    need("strace")
    with KernelRun(ground, BY_NAME[name]) as run:
        try:
            run.disturb()
        except Refused as error:
            pytest.skip(f"strace may not attach here: {error}")
        assert run.heard.verdict == "ok", run.report("")
        return run.traced


def plain(calls: list[dict[str, Any]]) -> list[str]:
    """The changing calls, unique names made alike."""
    return [f"{call['kind']} {' '.join(re.sub('[0-9A-F]+', 'N', path) for path in call['paths'])}"
            for call in calls if call["kind"] in CHANGES]


@pytest.mark.parametrize("name", [operation.name for operation in OPERATIONS])
def test_the_hook_sees_what_the_kernel_sees(ground: Ground, name: str) -> None:
    """Timing may take another path now and then, in one run or the other."""
    for _ in range(AGAIN):
        ours, kernels = plain(ground.record(BY_NAME[name])), plain(traced(ground, name))
        if ours == kernels:
            break
    assert ours == kernels


def injected(ground: Ground, name: str, fault: str, call: dict[str, Any]) -> bool:
    """One case by strace; the report is that of the hook's cases.  True when it was reached."""
    what = "signal=KILL" if fault == "kill" else f"error={fault}"
    run = KernelRun(ground, BY_NAME[name], f"{call['call']}:{what}:when={call['number']}")
    try:
        return check_run(run, Case(BY_NAME[name], call["kind"], call["number"], fault))
    except Failed as error:
        pytest.fail(str(error), pytrace=False)


def enough(reached: list[bool]) -> bool:
    """A session may look once more or less than the last time, which shifts the numbers of openat."""
    return len(reached) > 0 and sum(reached) * 4 >= len(reached) * 3


@pytest.mark.parametrize("name", SAMPLE)
def test_a_kill_by_the_kernel(ground: Ground, name: str) -> None:
    changing = [call for call in traced(ground, name) if call["kind"] in CHANGES]
    assert enough([injected(ground, name, "kill", call) for call in changing[::EACH]])


@pytest.mark.parametrize("name", SAMPLE)
def test_an_error_of_the_kernel(ground: Ground, name: str) -> None:
    changing = [call for call in traced(ground, name) if call["kind"] in ERRORS]
    assert enough([injected(ground, name, ERRORS[call["kind"]], call) for call in changing[1::EACH]])
