"""Clients with several extensions on at once, at random in one mailbox, each held against what the RFCs let
a server tell when, and in the end against what is there.

RFC 7162 3.2.10: VANISHED for EXPUNGE.  RFC 9586 3: UIDFETCH for FETCH.  RFC 5182 2.1: ``$`` loses what is
expunged.  RFC 5267 4.3: a result that is kept equals what a new search finds.  RFC 5465 6.1: what is told of
the open mailbox.  RFC 9051: no RECENT.  RFC 7162 3.1: a number stands for one state of a message.
"""
from __future__ import annotations

import random
import re
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import fill
from tests.realtime.test_qresync import FLAGS, Outsider, runs
from tests.realtime.windows import Window, over_pipe

pytestmark = pytest.mark.server
ENABLED = ("CONDSTORE", "QRESYNC", "UIDONLY", "IMAP4rev2", "UTF8=ACCEPT")
NOTIFY = ("selected", "selected-delayed")
KEYS = ("SEEN", "FLAGGED", "UNDELETED", "KEYWORD $Todo", "OR ANSWERED UNSEEN", "SUBJECT outside",
        "YOUNGER 4000000000")
MAIL = "{17+}\r\nSubject: x\r\n\r\nx\r\n"
STEPS = ("store", "store", "seqstore", "expunge", "noop", "fetch", "append", "replace", "move", "copy",
         "save", "use", "keep", "keep", "drop", "search", "idle", "reopen", "partial")


class Client:
    """``on``: what it enabled.  ``uids``: by sequence number, 0 for one not heard of.  ``copy``: the flags it
    knows.  ``states``: flags by UID and MODSEQ.  ``kept``: by tag the key and the result of a search that is
    updated.  ``saved``: what ``$`` stands for."""

    def __init__(self, maildir: Path, log: Path, seed: int) -> None:
        self.rnd = rnd = random.Random(seed)
        self.window: Window = over_pipe(maildir, log, IMAP_CAPABILITY="+UIDONLY")
        self.talk: list[str] = []
        self.on: set[str] = set()
        self.states: dict[tuple[int, int], frozenset[str]] = {}
        self.closed()
        for word in rnd.sample(ENABLED, rnd.randrange(len(ENABLED) + 1)):
            told = self.do(f"ENABLE {word}")[0].upper()
            assert word.upper() in told or word in self.on, told
            self.on.update((word, "CONDSTORE") if word == "QRESYNC" else (word,))
        self.notify = rnd.choice(("", *NOTIFY))
        if self.notify:
            self.do(f"NOTIFY SET ({self.notify} (MessageNew (FLAGS UID) MessageExpunge FlagChange))")
        self.open()

    def open(self) -> None:
        self.do("SELECT INBOX")
        self.learn()

    def closed(self) -> None:
        self.uids: list[int] = []
        self.copy: dict[int, frozenset[str]] = {}
        self.kept: dict[str, tuple[str, set[int]]] = {}
        self.saved: set[int] = set()

    def learn(self) -> None:
        self.do("UID FETCH 1:* (FLAGS)")

    @property
    def by_uid(self) -> bool:
        return "UIDONLY" in self.on

    def do(self, command: str, ends: str = "OK") -> list[str]:
        self.window.number += 1
        tag = f"t{self.window.number}"
        self.talk.append(f"> {tag} {command}")
        self.window.send(f"{tag} {command}")
        lines = self.window.until(tag + " ")
        self.talk += lines
        assert lines[-1].startswith((f"{tag} {ends}", f"{tag} NO [EXPUNGEISSUED]")), lines
        for line in lines[:-1]:
            self.hear(line, command)
        return lines

    def hear(self, line: str, command: str) -> None:
        word = command.split()[0]
        holds = word in ("FETCH", "STORE", "SEARCH", "SORT") and self.notify != "selected"
        if match := re.match(r"\* (\d+) EXISTS", line):
            assert int(match[1]) >= len(self.uids), (line, len(self.uids))
            self.uids += [0] * (int(match[1]) - len(self.uids))
        elif match := re.match(r"\* (\d+) EXPUNGE", line):
            assert self.on.isdisjoint(("QRESYNC", "UIDONLY")), line
            assert not holds, (command, line)
            self.forget(self.uids.pop(int(match[1]) - 1))
        elif match := re.match(r"\* VANISHED (\S+)", line):
            assert not self.on.isdisjoint(("QRESYNC", "UIDONLY")), line
            assert not holds, (command, line)
            for uid in runs(match[1]):
                self.uids.pop(self.row(uid))
                self.forget(uid)
        elif match := re.match(r"\* (\d+) FETCH \((.*)\)$", line):
            assert not self.by_uid, line
            seq, uid = int(match[1]), re.search(r"UID (\d+)", match[2])
            if "QRESYNC" in self.on:
                assert uid, line                       # RFC 7162 3.2.4
            if uid:
                assert self.uids[seq - 1] in (0, int(uid[1])), (line, self.uids)
                self.uids[seq - 1] = int(uid[1])
            self.fetched(self.uids[seq - 1], match[2], line)
        elif match := re.match(r"\* (\d+) UIDFETCH \((.*)\)$", line):
            assert self.by_uid, line
            if int(match[1]) not in self.uids:
                self.uids[self.row(int(match[1]))] = int(match[1])
            self.fetched(int(match[1]), match[2], line)
        elif (match := re.match(r'\* ESEARCH \(TAG "(\w+)"\) UID (.*)', line)) and match[1] in self.kept:
            self.updated(*match.groups(), line)
        elif line.startswith("* OK [CLOSED]"):
            self.closed()              # RFC 7162 3.2.11: what came before was of the mailbox before
        elif re.match(r"\* (\d+ RECENT|SEARCH)", line):
            assert "IMAP4rev2" not in self.on, line

    def updated(self, tag: str, rest: str, line: str) -> None:
        found = self.kept[tag][1]
        if rest.startswith("ALL "):
            found |= runs(rest[4:])
        for what, numbers in re.findall(r"(ADDTO|REMOVEFROM) \(([^)]*)\)", rest):
            for some in numbers.split()[1::2]:
                if what == "ADDTO":
                    assert found.isdisjoint(runs(some)), (line, found)
                    found |= runs(some)
                else:
                    assert runs(some) <= found, (line, found)
                    found -= runs(some)

    def fetched(self, uid: int, items: str, line: str) -> None:
        flags, number = re.search(r"FLAGS \(([^)]*)\)", items), re.search(r"MODSEQ \((\d+)\)", items)
        if "CONDSTORE" in self.on and flags:
            assert number, line                        # RFC 7162 3.1.4.1, 3.2.4
        if flags and uid:
            there = frozenset(flags[1].split()) - {"\\Recent"}
            self.copy[uid] = there
            if number:
                assert self.states.setdefault((uid, int(number[1])), there) == there, line

    def row(self, uid: int) -> int:
        """Where a message stands; of one not heard of, that it can stand between those beside it."""
        if uid in self.uids:
            return self.uids.index(uid)
        if self.by_uid:
            return self.uids.index(0)
        low = max((row + 1 for row, other in enumerate(self.uids) if 0 < other < uid), default=0)
        assert low < len(self.uids), (uid, self.uids)
        assert self.uids[low] == 0, (uid, self.uids)
        return low

    def forget(self, uid: int) -> None:
        self.copy.pop(uid, None)
        self.saved.discard(uid)
        for key, found in self.kept.values():
            assert uid not in found, (uid, key)        # RFC 5267 4.3.3: it left the result before

    def search(self, key: str, options: str = "") -> set[int]:
        lines = self.do(f"UID SEARCH {options}{key}")
        for line in lines:
            if match := re.match(r'\* ESEARCH \(TAG "\w+"\) UID(?: ALL (\S+))?$', line):
                return runs(match[1]) if match[1] else set()
            if match := re.match(r"\* SEARCH ?([\d ]*)", line):
                return set(map(int, match[1].split()))
        raise AssertionError(lines)

    def step(self) -> None:
        rnd = self.rnd
        known = [uid for uid in self.uids if uid]
        some = rnd.sample(known, min(len(known), rnd.randint(1, 3)))
        numbers, seqs = ",".join(map(str, some)), ",".join(str(self.uids.index(uid) + 1) for uid in some)
        change = f"{rnd.choice('+-')}FLAGS{rnd.choice(('', '.SILENT'))} ({rnd.choice(FLAGS)})"
        what = rnd.choice(STEPS)
        if what in ("seqstore", "fetch") and self.notify == "selected":
            what = "noop"                              # RFC 5465 6.1.1: numbers change at any time
        if what in ("seqstore", "fetch") and self.by_uid:
            self.do("STORE 1 FLAGS ()" if what == "seqstore" else "FETCH 1 FLAGS", "BAD [UIDREQUIRED]")
        elif what in ("store", "seqstore") and some:
            unchanged = "(UNCHANGEDSINCE 1) " if "CONDSTORE" in self.on and rnd.random() < 0.1 else ""
            self.do(f"UID STORE {numbers} {unchanged}{change}" if what == "store" else
                    f"STORE {seqs} {change}")
            if ".SILENT" in change:
                self.do(f"UID FETCH {numbers} (FLAGS)")
        elif what == "expunge":
            self.do(rnd.choice(("EXPUNGE", f"UID EXPUNGE {numbers or 1}")))
        elif what == "fetch" and some:
            self.do(f"FETCH {seqs} (UID FLAGS)")
        elif what == "append":
            self.do(f"APPEND INBOX (\\Flagged) {MAIL} (\\Seen) {MAIL}")
        elif what == "replace" and some:
            self.do(f"UID REPLACE {some[0]} INBOX (\\Seen) {MAIL}", "")         # it may be gone
        elif what in ("move", "copy") and some:
            self.do(f"UID {what.upper()} {numbers} INBOX{rnd.choice(('', '.away'))}", "")
        elif what == "save":
            self.saved = self.search(rnd.choice(KEYS), "RETURN (SAVE ALL) ")
        elif what == "use":
            before: set[int] = {*self.saved}
            told: set[int] = set()
            for line in self.do("UID FETCH $ (UID)"):
                if match := re.match(r"\* (\d+) (?:FETCH \(.*UID (\d+)|UIDFETCH)", line):
                    if "FLAGS" not in line:
                        told.add(int(match[2] or match[1]))
            assert self.saved & {*self.uids} <= told <= before, (before, self.saved, told)
        elif what == "keep" and len(self.kept) < 4:
            key = rnd.choice(KEYS)
            tag = f"t{self.window.number + 1}"
            self.kept[tag] = key, set()
            self.search(key, "RETURN (UPDATE ALL) ")
        elif what == "drop" and self.kept:
            tag = rnd.choice([*self.kept])
            del self.kept[tag]
            self.do(f'CANCELUPDATE "{tag}"')
        elif what == "search":
            self.search(rnd.choice(KEYS), rnd.choice(("", "RETURN (ALL) ")))
        elif what == "idle":
            lines = self.window.idle()
            while not lines[-1].startswith("+"):
                lines.append(self.window.line())
            for line in [*lines, *self.window.done()]:
                self.talk.append(line)
                self.hear(line, "IDLE")
        elif what == "partial":
            self.do("UID FETCH 1:* (FLAGS) (PARTIAL -1:-3)")
        elif what == "reopen" and rnd.random() < 0.3:
            self.open()
        else:
            self.do("NOOP")

    def check(self) -> None:
        """Nobody else does anything: what it was told is what is there."""
        self.do("NOOP")
        told = dict(self.copy)
        there = self.search("ALL")
        assert {uid for uid in self.uids if uid} <= there
        assert len(self.uids) == len(there), (self.uids, there)
        for tag, (key, found) in self.kept.items():
            assert found == self.search(key), (tag, key)
        self.learn()
        assert self.copy.keys() == there
        assert not {uid: (flags, self.copy[uid]) for uid, flags in told.items() if flags != self.copy[uid]}


@pytest.mark.parametrize("seed", range(3))
def test_by_turns(seed: int, tmp_path: Path) -> None:
    maildir, log = tmp_path / "Maildir", tmp_path / "log"
    fill(maildir, 6)
    fill(maildir / ".away", 0)
    rnd = random.Random(seed)
    outsider = Outsider(maildir, seed)
    clients: list[Client] = []
    try:
        for number in range(4):
            clients.append(Client(maildir, log, seed * 10 + number))
        for _ in range(120):
            client = rnd.choice(clients)
            client.step()
            if rnd.random() < 0.2:
                outsider.step()
            if rnd.random() < 0.2:
                client.check()
        for client in clients:
            client.check()
        assert len({tuple(sorted(client.copy.items())) for client in clients}) == 1
        files = [file.name for folder in ("cur", "new") for file in (maildir / folder).iterdir()]
        assert len(files) == len(clients[0].copy)
    except BaseException:
        print(f"seed {seed}\n" + "\n\n".join(f"{client.on} {client.notify}\n" + "\n".join(client.talk[-60:])
                                             for client in clients) + "\n" + log.read_text()[-5000:])
        raise
    finally:
        for client in clients:
            with suppress(OSError):
                client.window.close()
