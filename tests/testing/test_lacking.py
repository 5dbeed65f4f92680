"""Capabilities that a test server lacks: not told, and what they add is refused."""
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.imap.ext.index import CAPABILITIES
from courierpy.testing import lacking
from tests.conftest import REPO, fill
from tests.house.forked import Nursery
from tests.house.nursery import LACKS
from tests.house.test_extensions import EXTENSIONS, asked, refused, told, words_of


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery(REPO)
    try:
        yield nursery
    finally:
        nursery.close()


def spoken(nursery: Nursery, home: Path, words: list[str], commands: list[str]) -> list[str]:
    """What an imapd that lacks these capabilities answers, line by line; each command has the tag "a"."""
    fill(home / "Maildir", 1)
    lines = "".join(f"a {command}\r\n" for command in ("CAPABILITY", "SELECT INBOX", *commands, "LOGOUT"))
    environ = {"PATH": os.environ["PATH"], "AUTHENTICATED": "demo", LACKS: " ".join(words)}
    return nursery.start(home / "Maildir", environ).ends(lines.encode()).decode().splitlines()


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_without_one(extension: str, nursery: Nursery, tmp_path: Path) -> None:
    """As if its file were not there."""
    words = [word.decode().rstrip("=") for word in words_of(extension)]
    lines = spoken(nursery, tmp_path, words, asked(extension))
    assert words and told(lines).isdisjoint(words)
    assert {"IMAP4rev1", "CHILDREN"} <= told(lines)
    assert refused(lines, extension)


@pytest.mark.parametrize(("word", "gone"), [
    ("CONDSTORE", {"CONDSTORE", "QRESYNC"}),
    ("sort", {"SORT", "SORT=DISPLAY", "ESORT", "CONTEXT=SORT"}),
    ("THREAD", {"THREAD=REFS", "THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT"}),
    ("SPECIAL-USE", {"SPECIAL-USE", "CREATE-SPECIAL-USE"}),
    ("LITERAL+", {"LITERAL+", "LITERAL-"}),
    ("MULTIAPPEND", {"MULTIAPPEND"}),
])
def test_what_goes_with_it(word: str, gone: set[str], nursery: Nursery, tmp_path: Path) -> None:
    every = told(spoken(nursery, tmp_path / "all", [], []))
    left = told(spoken(nursery, tmp_path / "less", [word], []))
    assert {one for one in every - left if one != "LITERAL-"} == gone - {"LITERAL-"}
    assert not left & gone


def test_a_word_that_is_none() -> None:
    with pytest.raises(ValueError, match="MOVEIT: no capability"):
        lacking.files(["MOVE", "MOVEIT"])


def test_all_that_can_be_told_can_be_taken_off() -> None:
    for word, file, _, _ in CAPABILITIES:
        name = word.decode().rstrip("=")
        assert (file.removeprefix("ext.") in lacking.files([name])) == file.startswith("ext."), name
        assert f"-{name.upper()}" in lacking.settings([name], "all")["IMAP_CAPABILITY"].split()
    assert lacking.settings(["starttls"], "all") == {"IMAP_CAPABILITY": "all", "IMAPDSTARTTLS": "NO"}
