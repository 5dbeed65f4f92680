"""The pytest plugin: fixtures ``imap_server`` and ``imap_account``, and the dialogue of a test that failed.

Every pytest of an installation imports this file, so that it imports nothing but pytest: what it needs is
loaded by the first test that uses a fixture.
"""
from __future__ import annotations

import sys

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from courierpy.testing.account import Account
    from courierpy.testing.server import Server


@pytest.fixture(scope="session")
def imap_settings() -> Mapping[str, str]:
    """Settings of the server by their names in etc/imapd; a conftest.py overrides this fixture."""
    return {}


@pytest.fixture(scope="session")
def imap_server(imap_settings: Mapping[str, str]) -> Iterator[Server]:
    """An IMAP server that runs as long as the tests do; under xdist one for each worker."""
    from courierpy.testing.server import Server
    with Server(settings=imap_settings) as server:
        yield server


@pytest.fixture
def imap_account(imap_server: Server) -> Iterator[Account]:
    """An account of this test alone, with an empty Maildir."""
    account = imap_server.account()
    yield account
    account.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, None]:
    """What was said, and logged meanwhile, are sections of the report of a test that failed."""
    outcome = yield
    report = outcome.get_result()          # type: ignore[attr-defined]
    module = sys.modules.get("courierpy.testing.account")
    if module is None or not report.failed or report.when == "teardown":
        return
    for name, value in getattr(item, "funcargs", {}).items():
        if isinstance(value, module.Account):
            report.sections.extend((f"{name}: {title}", text) for title, text in value.told() if text)
