"""What a change makes of flags, one by one and all that there can be at once."""
from __future__ import annotations

import pytest

from courierpy.model.flags import FlagChange


@pytest.mark.parametrize("mode", ["+", "-", "="])
def test_of_all_flags_at_once(mode: str) -> None:
    for flags in range(32):
        change = FlagChange(mode, flags)
        assert list(change.bits_after()) == [change.bits(old) for old in range(32)]


@pytest.mark.parametrize("mode", ["+", "-", "="])
def test_keywords_of_many_are_made_once(mode: str) -> None:
    change = FlagChange(mode, 0, frozenset([b"a", b"New"]))
    after = change.after()
    for words in (frozenset([b"A", b"b"]), frozenset([b"b"]), frozenset[bytes]()):
        assert after[words] == change.words(words)
        assert after[words] is after[frozenset([*words])]
