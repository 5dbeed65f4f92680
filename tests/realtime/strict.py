"""A client that believes nothing: it keeps what it was told, and holds every answer against it."""
from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.realtime.windows import Window

FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Todo", "$Junk")
BOXES = ("INBOX", "INBOX.a", "INBOX.b")
TREES = ("INBOX.t1", "INBOX.t2", "INBOX.t1.x", "INBOX.t2.x")
GONE = "NO [EXPUNGEISSUED]"
FETCH = re.compile(rb"\* (\d+) FETCH \((.*)\)", re.S)
STEPS = ("fetch", "body", "body", "store", "store", "uidstore", "copy", "move", "append", "append", "expunge",
         "uidexpunge", "noop", "noop", "idle", "search", "subject", "select", "tree", "status")
LITERAL = re.compile(rb"BODY\[\] \{(\d+)\}\r\n")


class World:
    """What all clients of a run know together.

    ``bodies``: (mailbox, UIDVALIDITY, UID) -> bytes, for ever.  ``recent``: who was told
    that it is recent.  ``talk``: all conversations.  ``killed``: processes.  ``kept``:
    nobody but these clients removes anything, and none in the same instant: what is
    expunged is served until it was told.
    """

    def __init__(self, maildir: Path, connect: Callable[[], Window], kept: bool) -> None:
        self.maildir = maildir
        self.connect = connect
        self.kept = kept
        self.bodies: dict[tuple[str, int, int], bytes] = {}
        self.recent: dict[tuple[str, int, int], tuple[int, int]] = {}
        self.talk: list[str] = []
        self.killed: list[int] = []
        self.counter = 0
        self.lock = threading.Lock()

    def body(self, box: str, uidvalidity: int, uid: int, body: bytes) -> None:
        known = self.bodies.setdefault((box, uidvalidity, uid), body)
        assert known == body, f"{box} {uidvalidity} {uid}: {known!r} became {body!r}"

    def text(self) -> bytes:
        """A message that there is once."""
        with self.lock:
            self.counter += 1
            return b"Subject: only%dhere\r\n\r\n%s\r\n" % (self.counter, b"x" * (self.counter % 90))


class Client:
    """``uids``: what stands at each sequence number (0: not known yet); ``flags``: as last
    told, by UID; ``words``: keywords of the last FLAGS line; ``selections``: how many there were."""

    def __init__(self, number: int, world: World, rnd: random.Random) -> None:
        self.number = number
        self.world = world
        self.rnd = rnd
        self.window = world.connect()
        self.box = ""
        self.uidvalidity = self.uidnext = 0
        self.uids: list[int] = []
        self.flags: dict[int, frozenset[str]] = {}
        self.words: set[str] = set()
        self.examined = False
        self.selections = 0
        self.commands = 0

    # -- the conversation

    def say(self, line: str) -> None:
        self.world.talk.append(f"{self.number:2}> {line}")
        self.window.send(line)

    def response(self) -> bytes:
        line = self.window.response()
        self.world.talk.append(f"{self.number:2}< {line.decode('latin-1')}")
        return line

    def do(self, command: str, expunges: bool = True) -> tuple[str, list[bytes]]:
        """(OK or NO and what follows, untagged responses), the model kept up to date."""
        self.commands += 1
        tag = b"c%d " % self.commands
        self.say(tag.decode() + command)
        lines = [self.response()]
        while not lines[-1].startswith(tag):
            self.hear(lines[-1], expunges)
            lines.append(self.response())
        done = lines.pop().removeprefix(tag).decode()
        assert done.startswith(("OK", "NO")), (command, done)
        assert "SERVERBUG" not in done, (command, done)
        return done, lines

    def hear(self, line: bytes, expunges: bool) -> None:
        if line.startswith(b"* BYE"):
            assert self.box in TREES, line
            raise Bye
        if match := re.fullmatch(rb"\* (\d+) EXPUNGE", line):
            assert expunges, "EXPUNGE while a command uses sequence numbers"
            self.flags.pop(self.uids.pop(int(match[1]) - 1), None)
        elif match := re.fullmatch(rb"\* (\d+) EXISTS", line):
            count = int(match[1])
            assert count >= len(self.uids), (line, len(self.uids))
            self.uids += [0] * (count - len(self.uids))
        elif match := re.fullmatch(rb"\* (\d+) RECENT", line):
            assert int(match[1]) <= len(self.uids), line
        elif match := re.fullmatch(rb"\* FLAGS \((.*)\)", line):
            self.words = set(match[1].decode().split())
        elif match := re.match(rb"\* OK \[UID(VALIDITY|NEXT) (\d+)\]", line):
            if match[1] == b"NEXT":
                self.uidnext = int(match[2])
            else:
                self.uidvalidity = int(match[2])
        elif match := FETCH.fullmatch(line):
            self.fetched(int(match[1]), match[2])

    def fetched(self, seq: int, items: bytes) -> None:
        assert 1 <= seq <= len(self.uids), seq
        body, rest = None, items
        if literal := LITERAL.search(items):
            end = literal.end() + int(literal[1])
            body, rest = items[literal.end():end], items[:literal.start()] + items[end:]
        if uid := re.search(rb"UID (\d+)", rest):
            assert self.uids[seq - 1] in (0, int(uid[1])), (seq, uid[1], self.uids)
            self.uids[seq - 1] = int(uid[1])
            known = [number for number in self.uids if number]
            assert known == sorted(set(known)), known
        number = self.uids[seq - 1]
        if told := re.search(rb"FLAGS \(([^)]*)\)", rest):
            words = set(told[1].decode().split())
            assert words <= self.words, (words, self.words)
            if number:
                self.flags[number] = frozenset(words) - {"\\Recent"}
                if "\\Recent" in words and not self.examined:
                    key = (self.box, self.uidvalidity, number)
                    who = self.world.recent.setdefault(key, (self.number, self.selections))
                    assert who == (self.number, self.selections), f"{key} is recent to two: {who}"
        if body is not None:
            assert number
            self.world.body(self.box, self.uidvalidity, number, body)
            if size := re.search(rb"RFC822.SIZE (\d+)", rest):
                assert int(size[1]) == len(body)

    # -- selecting

    def select(self, box: str, command: str = "SELECT") -> None:
        self.uids, self.flags, self.words = [], {}, set()
        self.box, self.examined = box, command == "EXAMINE"
        self.selections += 1
        done, _ = self.do(f"{command} {box}")
        if not done.startswith("OK"):
            assert box in TREES, done
            self.select("INBOX")
            return
        self.learn()
        assert all(uid < self.uidnext for uid in self.uids[:1]), (self.uids, self.uidnext)

    def learn(self) -> None:
        """UIDs and flags of everything; what came meanwhile is asked for again."""
        for _ in range(50):
            if self.uids:
                self.do("FETCH 1:* (UID FLAGS)", expunges=False)
            if all(self.uids):
                return
        raise AssertionError(f"numbers that are never told: {self.uids}")

    def start_again(self, kill: bool = False) -> None:
        """The mailbox is gone, or nobody says goodbye."""
        if kill:
            if self.uids and not self.examined and self.rnd.random() < 0.6:
                # in the middle of something, which may come to be or not
                text = self.world.text().decode()
                self.say(self.rnd.choice([
                    "k STORE 1:* +FLAGS (\\Flagged $Todo)", f"k MOVE {self.some()} {self.rnd.choice(BOXES)}",
                    f"k COPY {self.some()} {self.rnd.choice(BOXES)}", "k EXPUNGE",
                    f"k APPEND INBOX {{{len(text)}+}}\r\n{text}"]))
                time.sleep(self.rnd.random() * 0.01)
            self.world.talk.append(f"{self.number:2}! killed")
            self.world.killed.append(self.window.pid)
            os.kill(self.window.pid, signal.SIGKILL)
        self.window.close()
        self.window = self.world.connect()
        self.select("INBOX")

    def leave(self) -> None:
        """As one does who does not understand any more what is told."""
        self.window.close()
        self.window = self.world.connect()
        self.box, self.uids, self.flags = "", [], {}
        self.do("SELECT INBOX")
        self.box = "INBOX"

    # -- one thing or another

    def some(self) -> str:
        """A sequence number or a few: a large mailbox stays large."""
        count = len(self.uids)
        first = self.rnd.randint(1, count)
        if self.rnd.random() < 0.5:
            return str(first)
        return f"{first}:{self.rnd.randint(max(1, first - 12), min(count, first + 12))}"

    def some_uids(self) -> list[int]:
        known = [uid for uid in self.uids if uid]
        return sorted(self.rnd.sample(known, min(len(known), 3))) or [1]

    def step(self) -> None:
        rnd = self.rnd
        name = rnd.choice([*STEPS, "kill"] if rnd.random() < 0.1 else STEPS)
        if name in ("fetch", "body", "store", "copy", "move", "search", "subject") and not self.uids \
                or self.examined and name in ("store", "uidstore", "move", "expunge", "uidexpunge"):
            name = "append"
        try:
            getattr(self, f"_{name}")()
        except Bye:
            self.start_again()

    def _noop(self) -> None:
        self.do(self.rnd.choice(["NOOP", "CHECK"]))

    def _kill(self) -> None:
        self.start_again(kill=True)

    def _status(self) -> None:
        self.do(f"STATUS {self.rnd.choice(BOXES)} (MESSAGES UIDNEXT)")

    def _fetch(self) -> None:
        self.do(f"FETCH {self.some()} (UID FLAGS RFC822.SIZE)", expunges=False)

    def _body(self) -> None:
        """Of one that perhaps another client expunged."""
        command = self.rnd.choice(["FETCH {} (UID RFC822.SIZE BODY.PEEK[])", "FETCH {} (UID BODY[])",
                                   "FETCH {} (UID ENVELOPE RFC822.SIZE BODY.PEEK[])"])
        if self.examined:
            command = "FETCH {} (UID BODY.PEEK[])"
        done, lines = self.do(command.format(self.some()), expunges=False)
        assert done.startswith(("OK", GONE)), done
        if self.world.kept:
            assert done.startswith("OK") and GONE[3:] not in done, \
                "a message that was not told to be gone is not there"
            assert any(b"BODY[]" in line for line in lines)

    def _flags(self) -> tuple[str, str, str]:
        return (self.rnd.choice(["+", "-", ""]), self.rnd.choice(["", ".SILENT"]),
                " ".join(self.rnd.sample(FLAGS, self.rnd.randint(1, 3))))

    def _change(self, command: str, uids: list[int], expunges: bool) -> None:
        """What .SILENT does not tell, the client knows itself."""
        sign, silent, words = self._flags()
        given = frozenset(words.split())
        if silent:
            for uid in uids:
                if uid in self.flags:
                    old = self.flags[uid]
                    self.flags[uid] = given if not sign else old | given if sign == "+" else old - given
        done, _ = self.do(f"{command} {sign}FLAGS{silent} ({words})", expunges)
        assert done.startswith(("OK", GONE)), done
        if not done.startswith("OK"):
            for uid in uids:
                self.flags.pop(uid, None)          # some were stored, some were gone

    def _store(self) -> None:
        chosen = self.some()
        low, high = sorted(map(int, (chosen.split(":") * 2)[:2]))
        self._change(f"STORE {chosen}", self.uids[low - 1:high], expunges=False)

    def _uidstore(self) -> None:
        uids = self.some_uids()
        self._change(f"UID STORE {','.join(map(str, uids))}", uids, expunges=True)

    def _transfer(self, command: str, expunges: bool) -> None:
        target = self.rnd.choice(BOXES)
        source, uidvalidity = self.box, self.uidvalidity
        done, lines = self.do(f"{command} {self.some()} {target}", expunges)
        assert done.startswith(("OK", GONE)), done
        for line in (*lines, done.encode()):
            if code := re.search(rb"\[COPYUID (\d+) ([\d,:]+) ([\d,:]+)\]", line):
                for old, new in zip(numbers(code[2]), numbers(code[3]), strict=True):
                    body = self.world.bodies.get((source, uidvalidity, old))
                    if body is not None:
                        self.world.body(target, int(code[1]), new, body)

    def _copy(self) -> None:
        self._transfer("COPY", expunges=False)

    def _move(self) -> None:
        self._transfer("MOVE", expunges=True)

    def _append(self) -> None:
        box = self.rnd.choice(BOXES)
        text = self.world.text()
        _, _, words = self._flags()
        done, _ = self.do(f"APPEND {box} ({words}) {{{len(text)}+}}\r\n{text.decode()}")
        code = re.match(r"OK \[APPENDUID (\d+) (\d+)\]", done)
        assert code, done
        self.world.body(box, int(code[1]), int(code[2]), text)

    def _expunge(self) -> None:
        done, _ = self.do("EXPUNGE")
        assert done.startswith("OK"), done

    def _uidexpunge(self) -> None:
        done, _ = self.do(f"UID EXPUNGE {','.join(map(str, self.some_uids()))}")
        assert done.startswith("OK"), done

    def _search(self) -> None:
        """By flags as they were told."""
        word = self.rnd.choice(["DELETED", "SEEN", "FLAGGED"])
        told = dict(self.flags)
        uids = list(self.uids)
        _, lines = self.do(f"SEARCH {word}", expunges=False)
        found = set(map(int, lines[0].split()[2:]))
        for seq, uid in enumerate(uids, 1):
            if uid in told:
                assert (seq in found) == (f"\\{word.capitalize()}" in told[uid]), (seq, uid, told[uid], found)

    def _subject(self) -> None:
        """By what is in the file, which may be expunged."""
        uid = self.rnd.choice(self.uids)
        body = self.world.bodies.get((self.box, self.uidvalidity, uid))
        if body is None:
            return
        subject = re.search(rb"Subject: (.*)\r\n", body)
        assert subject
        seq = self.uids.index(uid) + 1
        _, lines = self.do(f'SEARCH SUBJECT "{subject[1].decode()}"', expunges=False)
        if self.world.kept:
            assert seq in map(int, lines[0].split()[2:])

    def _select(self) -> None:
        box = self.rnd.choice([*BOXES, *BOXES, self.rnd.choice(TREES)])
        self.select(box, self.rnd.choice(["SELECT", "SELECT", "SELECT", "EXAMINE"]))

    def _tree(self) -> None:
        one, other = self.rnd.sample(TREES, 2)
        self.do(self.rnd.choice([f"CREATE {one}", f"CREATE {one}", f"DELETE {one}", f"RENAME {one} {other}"]))

    def _idle(self) -> None:
        self.commands += 1
        self.say(f"c{self.commands} IDLE")
        line = self.response()
        while not line.startswith(b"+"):
            self.hear(line, expunges=True)
            line = self.response()
        self.say("DONE")
        while not (line := self.response()).startswith(b"c%d " % self.commands):
            self.hear(line, expunges=True)
        assert b" OK" in line


class Bye(Exception):
    """The mailbox that was open is gone, as one was told."""


def numbers(given: bytes) -> list[int]:
    found: list[int] = []
    for part in given.split(b","):
        low, _, high = part.partition(b":")
        found += range(int(low), int(high or low) + 1)
    return found
