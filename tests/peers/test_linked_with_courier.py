"""Copies of what is shared by the rights of files, used by the real Courier and by us at the same time."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import fill, need
from tests.realtime.windows import Window, over_program

pytestmark = pytest.mark.peers

COURIER = {"IMAP_KEYWORDS": "1", "IMAP_ACL": "1", "IMAP_USELOCKS": "1", "HOSTNAME": "host",
           "IMAP_BROKENUIDV": "1"}


class Site:
    """A Maildir that Courier's maildirmake made to be shared, and one that has it in its list."""

    def __init__(self, home: Path, close: ExitStack) -> None:
        self.home = home
        self.team, self.reader = home / "team", home / "reader"
        self._close = close
        self.make("-S", self.team)
        self.make("-s", "write", "-f", "Pub", self.team)
        self.make(self.reader)
        fill(self.reader, 1)
        self.make("--add", f"team={self.team}", self.reader)
        for number in (1, 2, 3):
            self.post(number)

    @staticmethod
    def make(*words: str | Path) -> None:
        subprocess.run([need("/usr/bin/maildirmake.courier"), *words], check=True, timeout=60)

    def post(self, number: int) -> None:
        file = self.team / ".Pub" / "tmp" / f"{1700000000 + number}.M{number}P1.host"
        file.write_bytes(b"Subject: %d\n\nx\n" % number)
        file.rename(self.team / ".Pub" / "new" / file.name)

    def window(self, program: str) -> Window:
        words = [need("/usr/bin/imapd"), str(self.reader)] if program == "courier" \
            else [sys.executable, "-m", "courierpy.imapd", str(self.reader)]
        window = over_program(words, **COURIER)
        self._close.callback(window.close)
        return window


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as close:
        yield Site(tmp_path, close)


def flags(window: Window) -> dict[int, str]:
    """UID -> the flags, in alphabetical order and without \\Recent."""
    found = {}
    for line in window.do("UID FETCH 1:* (UID FLAGS)"):
        uid, words = re.search(r"UID (\d+)", line), re.search(r"FLAGS \(([^)]*)\)", line)
        assert uid is not None and words is not None
        found[int(uid[1])] = " ".join(sorted(set(words[1].split()) - {"\\Recent"}))
    return found


@pytest.mark.parametrize("first, second", [("courier", "ours"), ("ours", "courier")])
def test_one_copy(site: Site, first: str, second: str) -> None:
    """Numbers, flags, keywords, posts and removals of the one are those of the other."""
    one, other = site.window(first), site.window(second)
    validity = [line for line in one.do("SELECT shared.team.Pub") if "UIDVALIDITY" in line]
    one.do("STORE 1 +FLAGS (\\Flagged word)")
    assert [line for line in other.do("SELECT shared.team.Pub") if "UIDVALIDITY" in line] == validity
    assert flags(other) == {1: "\\Flagged word", 2: "", 3: ""}
    other.do("STORE 2 +FLAGS (\\Answered)")
    other.do("STORE 3 +FLAGS (\\Deleted)")
    one.do("NOOP")
    assert flags(one) == {1: "\\Flagged word", 2: "\\Answered", 3: "\\Deleted"}
    one.do("EXPUNGE")
    other.do("NOOP")
    assert flags(other) == {1: "\\Flagged word", 2: "\\Answered"}
    site.post(4)
    other.do("NOOP")
    one.do("NOOP")
    assert flags(one) == flags(other) == {1: "\\Flagged word", 2: "\\Answered", 4: ""}
    inbox = site.window(first)
    inbox.do("SELECT INBOX")
    inbox.do("COPY 1 shared.team.Pub")
    for window in (one, other):
        window.do("NOOP")
        assert flags(window)[5] == ""
    assert [*flags(one)] == [*flags(other)] == [1, 2, 4, 5]
    links = {file.name: os.readlink(file) for file in (site.reader / "shared-folders/team/Pub/cur").iterdir()
             if file.is_symlink()}
    real = {file.name.partition(":")[0]: str(file) for file in (site.team / ".Pub/cur").iterdir()}
    assert {name.partition(":")[0]: leads for name, leads in links.items()} == real
    assert len(links) == 4


@pytest.mark.parametrize("program", ["courier", "ours"])
def test_subscriptions(site: Site, program: str) -> None:
    """What the one subscribes to the other knows, and the other way round."""
    other = "ours" if program == "courier" else "courier"
    site.window(program).do("SUBSCRIBE shared.team.Pub")
    assert '* LSUB (\\HasNoChildren) "." "shared.team.Pub"' in site.window(other).do('LSUB "" shared.*')
    site.window(other).do("UNSUBSCRIBE shared.team.Pub")
    assert site.window(program).do('LSUB "" shared.*') == []
    assert len(list((site.team / ".Pub/new").iterdir())) == 3


def test_lists_are_alike(site: Site) -> None:
    site.make("-s", "read", "-f", "Sub.Deep", site.team)
    for pattern in ("*", "%", "shared.%", "shared.team.%", "shared.*"):
        found = [sorted(line.replace("\\Marked", "\\Unmarked") for line in site.window(program).do(
            f'LIST "" {pattern}')) for program in ("courier", "ours")]
        assert found[0] == found[1], pattern
