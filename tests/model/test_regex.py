"""Patterns that are compiled when they are first used do as those of ``re``."""
from __future__ import annotations

import re

import pytest

from courierpy.model import regex
from courierpy.model.regex import later

WORD = rb"(?i)([a-z]+)-(?P<number>\d{1,3})"
TEXT = b"Alpha-1, beta-22; GAMMA-333"


def test_each_method_does_as_that_of_re() -> None:
    ours, compiled = later(WORD), re.compile(WORD)
    for _ in range(2):                 # the first time, and those after
        assert ours.match(TEXT)[0] == compiled.match(TEXT)[0] == b"Alpha-1"        # type: ignore[index]
        assert ours.match(TEXT, 9)[2] == b"22"                                     # type: ignore[index]
        assert ours.fullmatch(b"Alpha-1") is not None and ours.fullmatch(TEXT) is None
        assert ours.search(TEXT, 8)[1] == b"beta"                                  # type: ignore[index]
        assert ours.sub(b"<\\1>", TEXT) == compiled.sub(b"<\\1>", TEXT)
        assert ours.subn(b"", TEXT) == compiled.subn(b"", TEXT)
        assert ours.split(TEXT) == compiled.split(TEXT)
        assert ours.findall(TEXT) == compiled.findall(TEXT)
        assert [found.span() for found in ours.finditer(TEXT)] == [
            found.span() for found in compiled.finditer(TEXT)]
        assert (ours.pattern, ours.groups, ours.groupindex) == (WORD, 2, {"number": 2})


def test_it_is_compiled_once_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(re, "compile", lambda *of, real=re.compile: seen.append(of) or real(*of))
    pattern = later("a+b", re.S)
    assert seen == []
    assert pattern.match("aab") and pattern.search("xab") and not pattern.fullmatch("b")
    assert seen == [("a+b", re.S)]


def test_the_listener_compiles_all_before_it_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regex, "_waiting", [])
    patterns = [later(f"x{number}") for number in range(3)]
    assert [vars(pattern).get("match") for pattern in patterns] == [None] * 3
    regex.compile_all()
    assert all("match" in vars(pattern) for pattern in patterns)


def test_what_is_wrong_is_told_at_the_first_use() -> None:
    with pytest.raises(re.error):
        later("(").match("")
