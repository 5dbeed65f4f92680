"""A session finds its process as the first one did, whoever was served there before."""
from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from courierpy.admin import demo
from tests.conftest import REPO, plain_environ

pytestmark = pytest.mark.server

# what may differ: counters, moments, values that are the same whoever asks, a file that says who the
# process is, wherever it is, and what is kept of others' mailboxes until these come again
MAY = re.compile(
    r"daemon\.(started|conn\._since|conn\.quick)|courierpy\.maildir\.names\._counter|courierpy\.maildir\.expunged\._count"
    r"|courierpy\.maildir\.sparefile\._spare\b|courierpy\.maildir\.lately\._(aside|whose)\b"
    r"|courierpy\.maildir\.stores\._kept\b"
    r"|courierpy\.imap\.commands\.cmd_(?:fetch|status)\._asked\b|courierpy\.system\.pulse\._due"
    r"|courierpy\.imap\.grammar\.dates\._(DATES|ENDS|OFFSETS|STARTS)\b"
    r"|courierpy\.message\.collation\._(MAP|SPACED)\b|courierpy\.model\.flags\._AFTER\b")

Found = dict[str, Any]


@pytest.fixture(scope="module")
def found() -> Iterator[Found]:
    folder = Path(tempfile.mkdtemp(prefix="courierpy-test-"))
    folder.chmod(0o755)
    try:
        for name in ("one", "other"):
            demo.make(str(folder / name))
        done = subprocess.run([sys.executable, "-m", "tests.programs.lives", str(folder)], cwd=REPO,
                              capture_output=True, text=True, check=False, timeout=300, env=plain_environ())
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout)
    finally:
        shutil.rmtree(folder)


def differences(one: dict[str, str], other: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    return {name: (one.get(name), other.get(name)) for name in sorted({*one, *other})
            if one.get(name) != other.get(name) and not MAY.match(name)}


def test_the_second_session_finds_all_as_the_first(found: Found) -> None:
    """Of another account, after a session that did much."""
    first, = found["first"]
    assert len(first) > 1000 and "descriptor 0" in first and "daemon.session.selected" in first
    assert differences(first, found["after"][1]) == {}


def test_the_third_finds_all_as_the_second(found: Found) -> None:
    first, second, third = found["again"]
    assert differences(second, third) == {}
    of_session = [{name: value for name, value in each.items() if name.startswith("daemon.")}
                  for each in (first, second)]
    assert differences(*of_session) == {}


def test_after_what_cannot_be_told_none_follows(found: Found) -> None:
    assert found["goes on"] == {
        "usual": True, "a bug": False, "no memory": False, "a descriptor": False, "memory": False,
        "a child": False, "a timer": False, "a signal": False}


def test_what_changed_between_two_sessions_is_told_as_by_a_process_of_its_own(found: Found) -> None:
    told = found["changed"]
    for name, (same, fresh) in told.items():
        assert same == fresh, name
    assert len({same for same, _ in told.values()}) == len(told) - 1       # a link is as what it leads to


def test_how_often_a_process_serves(found: Found) -> None:
    assert found["uses"] == ["waits", "ends", "nobody takes it"]


def test_a_process_that_waits_too_long_ends(found: Found) -> None:
    assert found["idle"] == ""


def test_one_whose_ids_are_others_now_is_not_served_by_the_process_of_before(found: Found) -> None:
    assert found["others"] == ["oa LOGOUT\r\n with 1"] * 3       # what it had said, and its descriptor


def test_no_client_is_lost_with_a_process_that_is_told_to_end(found: Found) -> None:
    assert found["told"] == "* BYE busy\r\n"
