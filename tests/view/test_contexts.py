"""What a client knows by ADDTO and REMOVEFROM is what a search would find.  RFC 5267 4.3.

One session, another one that works beside it, steps at random; the client keeps each result as RFC 5267 4.3.3
and 4.3.4 say, and compares it with the same search done anew.
"""
from __future__ import annotations

import imaplib
import random
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.imap.ext.context import MOST
from tests.conftest import plain_environ

KEYS = {"flagged": "UNFLAGGED", "word": "KEYWORD $Junk SUBJECT plan", "last": "UID *", "not": "NOT SEEN",
        "or": "OR FLAGGED (UID 4:* UNSEEN)", "all": "ALL"}
ORDERS = ["(SUBJECT)", "(REVERSE DATE SUBJECT)", "(SIZE REVERSE ARRIVAL)", "(REVERSE FROM)"]
FLAGS = ["\\Flagged", "\\Seen", "$Junk", "\\Deleted"]
LINE = re.compile(rb'\(TAG "([^"]+)"\)( UID)?')
PART = re.compile(rb"(ADDTO|REMOVEFROM) \(([^)]*)\)")


class Session(imaplib.IMAP4_stream):
    """``results``: tag -> what the client knows, in order; ``ordered``: tags of sorted ones."""

    def __init__(self, maildir: Path) -> None:
        environ = " ".join(f"{name}={shlex.quote(value)}" for name, value in
                           plain_environ(AUTHENTICATED="demo", TZ="UTC").items())
        super().__init__(f"env -i {environ} {shlex.quote(sys.executable)} -m courierpy.imapd {maildir}")
        self.results: dict[bytes, list[int]] = {}
        self.ordered: set[bytes] = set()
        self.tags = 0

    def do(self, command: str) -> list[bytes]:
        """The untagged lines, each of which the client has taken in."""
        self.tags += 1
        tag = b"t%d" % self.tags
        self.send(tag + b" " + command.encode() + b"\r\n")
        told = []
        while not (line := self.readline()).startswith(tag):
            told.append(line)
            self.take(line)
        assert b" OK " in line, line
        return told

    def take(self, line: bytes) -> None:
        gone = re.match(rb"\* (\d+) EXPUNGE", line)
        if gone:
            self.renumber(int(gone[1]))
        found = LINE.search(line) if line.startswith(b"* ESEARCH ") else None
        if found is None:
            return
        for word, pairs in PART.findall(line):
            words = pairs.split()
            for position, numbers in zip(words[::2], words[1::2], strict=True):
                self.change(found[1], word, int(position), list(expanded(numbers)))

    def change(self, tag: bytes, word: bytes, position: int, numbers: list[int]) -> None:
        result = self.results[tag]
        assert (position == 0) is (tag not in self.ordered)
        if word == b"ADDTO" and position:
            assert position <= len(result) + 1
            result[position - 1:position - 1] = numbers
        elif word == b"ADDTO":
            assert not {*numbers} & {*result}
            result[:] = sorted(result + numbers)
        elif position:
            assert result[position - 1:position - 1 + len(numbers)] == numbers
            del result[position - 1:position - 1 + len(numbers)]
        else:
            assert {*numbers} <= {*result}
            result[:] = [number for number in result if number not in numbers]

    def renumber(self, gone: int) -> None:
        for tag, result in self.results.items():
            if b"-seq" in tag:
                assert gone not in result              # it was told before: RFC 5267 4.3.4
                result[:] = [number - (number > gone) for number in result]

    def begin(self, tag: str, search: str) -> None:
        self.send(f"{tag} {search.format('UPDATE ALL')}\r\n".encode())
        self.results[tag.encode()] = []
        while not (line := self.readline()).startswith(tag.encode()):
            self.results[tag.encode()] = all_of(line)
        assert b" OK " in line, line

    def check(self, tag: str, search: str) -> None:
        told = [line for line in self.do(search.format("ALL")) if line.startswith(b"* ESEARCH")]
        assert self.results[tag.encode()] == all_of(told[-1]), (tag, search)


def all_of(line: bytes) -> list[int]:
    found = re.search(rb" ALL ([0-9:,]+)", line)
    return list(expanded(found[1])) if found else []


def expanded(numbers: bytes) -> Iterator[int]:
    for part in numbers.split(b","):
        low, _, high = part.partition(b":")
        yield from range(int(low), int(high or low) + 1)


def append(chance: random.Random, flags: str = "") -> str:
    subject = chance.choice(["plan", "the plan", "Re: plan", "other", ""])
    text = (f"From: {chance.choice('abcd')}@x\r\nSubject: {subject}\r\n"
            f"Date: {chance.randrange(1, 28)} Feb 2024 12:00:00 +0000\r\n\r\n{'x' * chance.randrange(9)}\r\n")
    return f"APPEND INBOX {flags}{{{len(text)}+}}\r\n{text}"


@pytest.mark.parametrize("seed", range(2))
def test_results_stay_what_a_search_finds(seed: int, maildir: Path) -> None:
    chance = random.Random(seed)
    client, other = Session(maildir), Session(maildir)
    searches: dict[str, str] = {}
    for _ in range(6):
        client.do(append(chance))
    for each in (client, other):
        each.do("SELECT INBOX")
    for name, key in KEYS.items():
        searches[f"{name}-uid"] = f"UID SEARCH RETURN ({{}}) {key}"
        searches[f"{name}-seq"] = f"SEARCH RETURN ({{}}) {key}"
    for at, order in enumerate(ORDERS):
        searches[f"{at}-uid"] = f"UID SORT RETURN ({{}}) {order} UTF-8 {chance.choice([*KEYS.values()])}"
        searches[f"{at}-seq"] = f"SORT RETURN ({{}}) {order} UTF-8 UNFLAGGED"
        client.ordered |= {b"%d-uid" % at, b"%d-seq" % at}
    for tag, search in searches.items():
        client.begin(tag, search)
    for _ in range(25):
        each = chance.choice([client, client, other])
        act = chance.randrange(8)
        if act == 0:
            each.do(append(chance, chance.choice(["", "(\\Flagged) "])))
        elif act == 1:
            each.do("EXPUNGE")
        elif act == 2:
            client.do("FETCH 1:* UID")                 # no EXPUNGE may be told
        else:
            sign, flag = chance.choice("+-"), chance.choice(FLAGS[:3] if act < 7 else FLAGS)
            each.do(f"UID STORE {chance.randrange(1, 12)}:{chance.randrange(1, 30)} {sign}FLAGS ({flag})")
        client.do("NOOP")
        tag = chance.choice([*searches])
        client.check(tag, searches[tag])
    for tag, search in searches.items():
        client.check(tag, search)
    for each in (client, other):
        each.logout()


def test_there_are_many_and_then_no_more(maildir: Path) -> None:
    """RFC 5267 4.3.1: the search is answered, its updates are refused; what is cancelled makes room."""
    client = Session(maildir)
    client.do("SELECT INBOX")
    for number in range(MOST):
        assert client.do(f"SEARCH RETURN (UPDATE) LARGER {number}")
    last = client.do("SEARCH RETURN (UPDATE COUNT) ALL")
    tag = b"t%d" % client.tags
    assert [line.split(b"] ")[0] for line in last if b" NO " in line] == [b'* NO [NOUPDATE "%s"' % tag]
    assert b'* ESEARCH (TAG "%s") COUNT 3\r\n' % tag in last
    client.do('CANCELUPDATE "t3"')
    assert not any(b" NO " in line for line in client.do("SEARCH RETURN (UPDATE COUNT) ALL"))
    client.logout()


def test_no_place_is_found_beside_a_message_that_has_just_gone(maildir: Path) -> None:
    """Its file went, and nobody has looked since: it stands in the result, and says no more where."""
    for at, subject in enumerate(("bb", "cc", "dd", "ee", "ff", "ba")):
        file = maildir / "cur" / f"18000000{at:02}.M1P1.host:2,{'' if subject == 'ba' else 'F'}"
        file.write_bytes(f"Subject: {subject}\n\n".encode())
    client = Session(maildir)
    client.ordered.add(b"a")
    search = "UID SORT RETURN ({}) (SUBJECT) UTF-8 FLAGGED"
    client.do("SELECT INBOX")
    client.begin("a", search)
    next((maildir / "cur").glob("1800000002.*")).unlink()
    client.do("UID STORE 9 +FLAGS.SILENT (\\Flagged)")
    client.do("NOOP")
    assert client.results[b"a"] == [9, 4, 5, 7, 8]
    client.check("a", search)
    client.logout()
