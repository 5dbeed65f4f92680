"""Mutated headers, bodies, commands and files for a moment each; ``make fuzz`` does it for longer."""
from __future__ import annotations

import os
import random

import pytest

from fuzz.targets import TARGETS, run_for

SECONDS = float(os.environ.get("COURIERPY_FUZZ_SECONDS", "1"))


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_breaks(name: str) -> None:
    """Another seed each time; the failure tells it."""
    run_for(name, SECONDS, random.randrange(1 << 32))
