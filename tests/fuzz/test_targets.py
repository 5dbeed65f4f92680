"""Mutated headers, bodies, commands and files for a moment each; ``make fuzz`` does it for longer.

The same inputs each time: whether a change passes is not left to chance.  With COURIERPY_FUZZ_SECONDS
others come, for so long each.
"""
from __future__ import annotations

import os
import random

import pytest

from fuzz.targets import TARGETS, run_for

SECONDS = float(os.environ.get("COURIERPY_FUZZ_SECONDS", "0"))


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_breaks(name: str) -> None:
    run_for(name, random.randrange(1 << 32) if SECONDS else 1, SECONDS)
