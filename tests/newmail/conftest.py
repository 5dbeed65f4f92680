"""One nursery, and accounts that lmtpd brings mail to."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.nursery import Nursery
from tests.lmtp.talk import Client, Post, posted


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def post(nursery: Nursery) -> Iterator[Post]:
    with posted(nursery) as made:
        yield made


@pytest.fixture
def client(post: Post) -> Iterator[Client]:
    with post.client() as made:
        yield made
