"""What FUZZY takes for the same word.  RFC 6203 3."""
from __future__ import annotations

import random

import pytest

from courierpy.imap.ext.fuzzy import MAX_LETTERS, MIN_LETTERS, Near, words_of
from courierpy.message.collation import fold


def slips(word: str, other: str) -> bool:
    """Is ``other`` the word with one slip behind its first letter?  By trying all."""
    if word[0] != other[0]:
        return False
    made = {word}
    for at in range(1, len(word) + 1):
        made.update((word[:at] + word[at + 1:], word[:at] + "?" + word[at:], word[:at] + "?" + word[at + 1:],
                     word[:at] + word[at + 1:at + 2] + word[at:at + 1] + word[at + 2:]))
    return any(len(one) == len(other) and all(mine in ("?", letter) for mine, letter in
                                              zip(one, other, strict=True)) for one in made)


def found(word: str, text: str) -> bool:
    return Near(fold(word)).find(b"\n" + fold(text).encode() + b"\n") >= 0


@pytest.mark.parametrize("word", ["helo", "abcab", "aaaa", "\u0434\u043e\u0440\u043e\u0433\u0430"])
def test_one_slip(word: str) -> None:
    """Against all that could be made of it; a longer word begins with a match, too."""
    chance = random.Random(word)
    for _ in range(500):
        letters = list(word)
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(letters))
            letters[at:at + chance.randrange(2)] = chance.choice((["x"], [], [chance.choice(word)]))
            letters = letters or ["x"]
        other = "".join(letters)
        near = word in other or any(slips(word, other[:end]) for end in range(len(word) - 1, len(word) + 2))
        assert found(word, other) is near, other


def test_borders_and_lengths() -> None:
    assert found("helo", "say,hello there") and found("helo", "(hello)")
    assert not found("helo", "othello")                # the word itself may be anywhere, a near one not
    assert found("ell", "othello") and not found("hel", "hal")
    long = "abcdefghijklmnop"
    assert len(long) == MAX_LETTERS and found(long, long.replace("h", "x"))
    assert found(long + "q", long + "q") and not found(long + "q", long.replace("h", "x") + "q")
    assert not found("abc"[:MIN_LETTERS - 1], "abx")
    assert not found("helo", "h elo") and not found("a.cd", "axyzd") and found("a.*d", "a.*d")


def test_marks() -> None:
    assert words_of("  Caf\u00e9 an  an CAFE ") == ["CAFE", "AN"] and words_of(" \u0301 ") == []
    assert found("munchen", "M\u00fcnchen") and found("munchen", "m\u00fcnchn")
    assert found("cafe", "caf\u00e9s")
