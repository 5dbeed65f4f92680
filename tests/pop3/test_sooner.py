"""POP3_LOGIN_DELAY_ENFORCED: who comes sooner than LOGIN-DELAY says is refused."""
from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from courierpy.pop3.sooner import LAST
from tests.pop3.client import Pop3d, fill

WANTED = {"POP3_LOGIN_DELAY": "3000", "POP3_LOGIN_DELAY_ENFORCED": "1"}
WELCOME = b"+OK logged in.\r\n"


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    fill(tmp_path, "one")
    return tmp_path


def greeting(maildir: Path, **settings: str) -> bytes:
    with Pop3d(maildir, **settings) as client:
        return client.line()


def test_the_second_login_is_refused_until_the_time_is_over(maildir: Path) -> None:
    assert greeting(maildir, **WANTED) == WELCOME
    with Pop3d(maildir, **WANTED) as client:
        said = re.fullmatch(rb"-ERR \[LOGIN-DELAY\] .* (\d+) more seconds\.\r\n", client.line())
        assert said and 2900 < int(said[1]) <= 3000
        assert client.line() == b""
    assert re.fullmatch(r"INFO: TOO SOON, user=joe, ip=\[192.0.2.1\], port=\[7\], seconds=\d+\n",
                        client.errors)
    assert client.process.returncode == 0
    long_ago = time.time() - 3001
    os.utime(maildir / LAST, (long_ago, long_ago))
    assert greeting(maildir, **WANTED) == WELCOME
    assert os.stat(maildir / LAST).st_mtime > long_ago + 3000         # it counts from now on
    assert greeting(maildir, **WANTED).startswith(b"-ERR [LOGIN-DELAY]")


def test_a_refused_login_does_not_begin_the_time_anew(maildir: Path) -> None:
    assert greeting(maildir, **WANTED) == WELCOME
    before = os.stat(maildir / LAST).st_mtime_ns
    assert greeting(maildir, **WANTED).startswith(b"-ERR")
    assert os.stat(maildir / LAST).st_mtime_ns == before


@pytest.mark.parametrize("settings", [{"POP3_LOGIN_DELAY": "3000"}, {**WANTED, "POP3_LOGIN_DELAY": "0"}])
def test_nobody_is_refused_where_it_is_not_wanted(maildir: Path, settings: dict[str, str]) -> None:
    assert greeting(maildir, **settings) == greeting(maildir, **settings) == WELCOME
    assert not (maildir / LAST).exists()


def test_a_file_that_cannot_be_kept_keeps_nobody_out(maildir: Path) -> None:
    (maildir / LAST).mkdir()
    past = time.time() - 3001
    os.utime(maildir / LAST, (past, past))
    for _ in range(2):
        with Pop3d(maildir, **WANTED) as client:
            assert client.line() == WELCOME
        assert [line for line in client.errors.splitlines() if line.startswith("ERR: ")] == [
            f"ERR: {LAST}: Is a directory: the next login may be sooner than POP3_LOGIN_DELAY says, "
            "user=joe, ip=[192.0.2.1], port=[7]"]


def test_a_time_that_is_still_to_come_counts_for_nothing(maildir: Path) -> None:
    (maildir / LAST).touch()
    later = time.time() + 90000
    os.utime(maildir / LAST, (later, later))
    assert greeting(maildir, **WANTED) == WELCOME
