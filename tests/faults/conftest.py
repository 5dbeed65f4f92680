"""One nursery and one account for all cases."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import sweep


@pytest.fixture(scope="session")
def ground() -> Iterator[sweep.Ground]:
    with sweep.ground() as made:
        yield made
