"""One nursery for all dialogues."""
from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.nursery import Nursery
from tests.lmtp.talk import Client, Post


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def post(nursery: Nursery) -> Iterator[Post]:
    # not pytest's own folder: the account must be able to enter it
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None        # where there is such a place
    folder = Path(tempfile.mkdtemp(prefix="courierpy-test-", dir=memory))
    yield Post(nursery, folder)
    shutil.rmtree(folder)


@pytest.fixture
def client(post: Post) -> Iterator[Client]:
    with post.client() as made:
        yield made
