"""Each key of SEARCH says the same in every form of the command; sets of messages are what they say."""
from __future__ import annotations

import imaplib
import random
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from courierpy.imap import ext, search
from tests.conftest import fill, plain_environ

TODAY = "14-Nov-2023"
# what stands behind each name; the keys of extensions too
VALUES = {
    **dict.fromkeys(["ALL", "ANSWERED", "DELETED", "DRAFT", "FLAGGED", "NEW", "OLD", "RECENT", "SEEN",
                     "UNANSWERED", "UNDELETED", "UNDRAFT", "UNFLAGGED", "UNSEEN", "SAVEDATESUPPORTED"], ""),
    **dict.fromkeys(["BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE", "SAVEDBEFORE", "SAVEDON",
                     "SAVEDSINCE"], TODAY),
    **dict.fromkeys(["BCC", "BODY", "CC", "FROM", "SUBJECT", "TEXT", "TO"], "ann"),
    **dict.fromkeys(["KEYWORD", "UNKEYWORD"], "$Junk"), **dict.fromkeys(["LARGER", "SMALLER"], "120"),
    **dict.fromkeys(["OLDER", "YOUNGER"], "1000000"), "HEADER": "Subject 2", "OR": "FLAGGED SUBJECT 3",
    "NOT": "FLAGGED", "UID": "2:4,6", "FUZZY": "SUBJECT mesage", "FILTER": "kept", "MODSEQ": "1",
    "UIDAFTER": "3", "UIDBEFORE": "3", "EMAILID": "x", "THREADID": "x",
}


def names() -> list[str]:
    known = [name for name, key in search.KEYS.items() if key.parse is not None]
    return sorted(name.decode() for name in (*known, *ext.keys("search_keys")))


class Client(imaplib.IMAP4_stream):
    def told(self, command: str, word: bytes) -> list[bytes]:
        """What stands behind ``* WORD`` in the answers to a command."""
        tag = self._new_tag()
        self.send(tag + b" " + command.encode() + b"\r\n")
        found = []
        while not (line := self.readline()).startswith(tag + b" "):
            if line.startswith(b"* " + word):
                found.append(line[2 + len(word):].strip())
        assert b" OK " in line, (command, line)
        return found

    def numbers(self, command: str, word: bytes) -> list[int]:
        [line] = self.told(command, word)
        return [int(number) for number in re.sub(rb"\(.*?\)", b"", line).split()]

    def options(self, command: str) -> dict[bytes, bytes]:
        [line] = self.told(command, b"ESEARCH")
        words = re.sub(rb"^\(.*?\)( UID)?", b"", line).split()
        return dict(zip(words[::2], words[1::2], strict=True))


@contextmanager
def client(maildir: Path) -> Iterator[Client]:
    fill(maildir, 20)                  # UIDs of a few of them are had otherwise than of most
    environ = " ".join(f"{name}={shlex.quote(value)}" for name, value in
                       plain_environ(AUTHENTICATED="demo", TZ="UTC", IMAP_CAPABILITY="all").items())
    made = Client(f"env -i {environ} {shlex.quote(sys.executable)} -m courierpy.imapd {maildir}")
    try:
        yield made
    finally:
        made.logout()


def numbers_of(text: bytes) -> list[int]:
    return [number for part in text.split(b",") for low, _, high in [part.partition(b":")]
            for number in range(int(low), int(high or low) + 1)]


def test_each_key_says_the_same_in_each_form(maildir: Path) -> None:
    with client(maildir) as made:
        made.told("SELECT INBOX", b"")
        made.told("STORE 2:3 +FLAGS.SILENT (\\Flagged \\Seen $Junk)", b"")
        made.told("STORE 5 +FLAGS.SILENT (\\Deleted \\Answered \\Draft)", b"")
        made.told("STORE 1 +FLAGS.SILENT (\\Deleted)", b"")
        made.told("EXPUNGE", b"")                  # numbers are not UIDs
        made.told('SETMETADATA "" (/private/filters/values/kept "SUBJECT 2")', b"")
        uids = made.numbers("UID SEARCH ALL", b"SEARCH")
        for name in names():
            key = f"{name} {VALUES[name]}".strip()
            seqs = made.numbers(f"SEARCH {key}", b"SEARCH")
            by_uid = [uids[seq - 1] for seq in seqs]
            assert made.numbers(f"UID SEARCH {key}", b"SEARCH") == by_uid, key
            assert sorted(made.numbers(f"SORT (REVERSE SUBJECT) UTF-8 {key}", b"SORT")) == seqs, key
            [threads] = made.told(f"UID THREAD REFS UTF-8 {key}", b"THREAD")
            assert sorted(map(int, re.findall(rb"\d+", threads))) == by_uid, key
            for form, wanted in ((f"SEARCH RETURN (MIN MAX COUNT ALL) {key}", seqs),
                                 (f"UID SEARCH RETURN (MIN MAX COUNT ALL) {key}", by_uid),
                                 (f"UID SORT RETURN (COUNT ALL) (ARRIVAL) UTF-8 {key}", by_uid)):
                told = made.options(form)
                assert int(told[b"COUNT"]) == len(wanted), form
                assert numbers_of(told[b"ALL"]) == wanted if wanted else b"ALL" not in told, form
                if b"MIN MAX" in form.encode():
                    assert [told.get(b"MIN"), told.get(b"MAX")] == ([b"%d" % wanted[0], b"%d" % wanted[-1]]
                                                                    if wanted else [None, None]), form
            one = made.options(f"UID SEARCH RETURN (COUNT) {key}")
            assert int(one[b"COUNT"]) == len(seqs), key
            found = made.told(f"ESEARCH IN (selected) RETURN (ALL) {key}", b"ESEARCH")
            assert [numbers_of(re.search(rb" ALL (\S+)", line)[1]) for line in found] == (
                [by_uid] if by_uid else []), key


@pytest.mark.parametrize("seed", range(2))
def test_sets_of_messages(seed: int, maildir: Path) -> None:
    """Keys beside each other are ANDed, whatever they are; `*` is the last one there is."""
    chance = random.Random(seed)
    with client(maildir) as made:
        made.told("SELECT INBOX", b"")
        made.told("STORE 1,4 +FLAGS.SILENT (\\Deleted)", b"")
        made.told("EXPUNGE", b"")
        uids = made.numbers("UID SEARCH ALL", b"SEARCH")

        def one_set(largest: int) -> tuple[str, set[int]]:
            words, meant = [], set()
            for _ in range(chance.randrange(1, 3)):
                ends = [chance.choice([*range(1, largest + 4), "*"]) for _ in range(chance.randrange(1, 3))]
                words.append(":".join(map(str, ends)))
                low, *_, high = sorted([largest if end == "*" else int(end) for end in (*ends, *ends)])
                meant |= {*range(low, high + 1)}
            return ",".join(words), meant

        for _ in range(60):
            text, left = "ALL", {*uids}
            for _ in range(chance.randrange(1, 4)):
                by_uid, negated = chance.random() < 0.6, chance.random() < 0.4
                words, meant = one_set(uids[-1] if by_uid else len(uids))
                if not by_uid:
                    meant = {uids[seq - 1] for seq in meant if 0 < seq <= len(uids)}
                text += f"{' NOT' * negated}{' UID' * by_uid} {words}"
                left = left - meant if negated else left & meant
            assert made.numbers(f"UID SEARCH {text}", b"SEARCH") == sorted(left), text
