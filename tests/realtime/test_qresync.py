"""Clients that keep a copy, go away and come back by QRESYNC: each copy is what is there, in the end and at
each return.  Servers are killed between, and other programs change the Maildir.  RFC 7162 6."""
from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import fill
from tests.realtime.windows import Window, over_pipe

pytestmark = pytest.mark.server
FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "$Todo")
FETCH = re.compile(r"\* (\d+) FETCH \((.*)\)")
Copy = dict[int, frozenset[str]]


def runs(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        low, _, high = part.partition(":")
        found.update(range(int(low), int(high or low) + 1))
    return found


class Client:
    """``copy``: flags by UID.  ``highest``: up to which number it is right.  ``uids``: by sequence number, 0
    for one that it was not told."""

    def __init__(self, maildir: Path, log: Path, seed: int) -> None:
        self.maildir, self.log = maildir, log
        self.rnd = random.Random(seed)
        self.copy: Copy = {}
        self.validity = self.highest = self.last = 0
        self.window: Window | None = None
        self.uids: list[int] = []
        self.talk: list[str] = []

    def connect(self) -> None:
        self.window = over_pipe(self.maildir, self.log)
        self.window.do("ENABLE QRESYNC")
        self.uids = []
        last = self.last
        if self.validity:
            sets = self.rnd.choice(("", f" {self.known()}" if self.copy else "", self.match()))
            self.do(f"SELECT INBOX (QRESYNC ({self.validity} {self.highest or 1}{sets}))")
        else:
            self.do("SELECT INBOX")
        # what it keeps stands for the numbers that it was told, as far as it knew all
        known = sorted(uid for uid in self.copy if uid <= self.last)
        assert len(known) <= len(self.uids), (known, self.uids)
        assert all(uid in (0, mine) for uid, mine in zip(self.uids, known, strict=False)), (known, self.uids)
        self.uids[:len(known)] = known
        # RFC 7162 6 and RFC 4549 4.3.1: what is new is asked for
        self.do(f"UID FETCH {(last if self.copy else 0) + 1}:* (FLAGS)")
        heard = [uid for uid in self.uids if uid]
        assert heard == sorted(set(heard)), self.uids

    def known(self) -> str:
        """All that it has a copy of.  Behind ``last`` it may have heard of a message that another changed."""
        return f"1:{max(self.copy)}"

    def match(self) -> str:
        """Some of what it knows, as message sequence match data: up to ``last``, where it knows of all.
        Behind one that only EXISTS told of, its numbers would be wrong, and vouch for what is gone."""
        known = sorted(uid for uid in self.copy if uid <= self.last)
        rows = sorted(self.rnd.sample(range(len(known)), min(3, len(known))))
        if not rows:
            return ""
        return (f" {self.known()} ({','.join(str(row + 1) for row in rows)}"
                f" {','.join(str(known[row]) for row in rows)})")

    def row(self, uid: int) -> int:
        """Where a message stands; one whose UID it had not heard yet is a 0 between its neighbours."""
        if uid in self.uids:
            return self.uids.index(uid)
        low = max((row + 1 for row, other in enumerate(self.uids) if 0 < other < uid), default=0)
        assert self.uids[low] == 0, (uid, self.uids)
        return low

    def do(self, command: str) -> list[str]:
        assert self.window is not None
        self.window.number += 1
        tag = f"t{self.window.number}"
        self.talk.append(f"> {command}")
        self.window.send(f"{tag} {command}")
        lines = self.window.until(tag + " ")
        self.hear(lines, command)
        assert lines[-1].startswith((f"{tag} OK", f"{tag} NO [EXPUNGEISSUED]")), lines
        return lines

    def hear(self, lines: list[str], command: str) -> None:
        """RFC 7162 6: the number counts when the tagged answer is there."""
        self.talk += lines
        said, seen = 0, 0
        for line in lines:
            if match := re.match(r"\S+ OK \[HIGHESTMODSEQ (\d+)\]", line):
                said = int(match[1])
            elif match := re.match(r"\* OK \[UIDVALIDITY (\d+)\]", line):
                if int(match[1]) != self.validity:
                    self.validity, self.highest, self.copy, self.last = int(match[1]), 0, {}, 0
            elif match := re.match(r"\* VANISHED \(EARLIER\) (\S+)", line):
                gone = runs(match[1])
                assert gone.isdisjoint(self.uids), line
                for uid in gone:
                    self.copy.pop(uid, None)
            elif match := re.match(r"\* VANISHED (\S+)", line):
                word = command.split()[0]
                assert word not in ("FETCH", "STORE", "SEARCH"), (command, line)
                gone = runs(match[1])
                for uid in gone:
                    del self.uids[self.row(uid)]
                    self.copy.pop(uid, None)
            elif match := re.match(r"\* (\d+) EXISTS", line):
                assert int(match[1]) > len(self.uids) or "SELECT" in command, (command, line)
                self.uids += [0] * (int(match[1]) - len(self.uids))
            elif re.match(r"\* \d+ EXPUNGE", line):
                raise AssertionError(line)
            elif match := FETCH.match(line):
                items = match[2]
                number = re.search(r"MODSEQ \((\d+)\)", items)
                name = re.search(r"UID (\d+)", items)
                assert number and name and int(number[1]) > 0, line
                seen = max(seen, int(number[1]))
                uid, seq = int(name[1]), int(match[1])
                assert self.uids[seq - 1] in (0, uid), (line, self.uids)
                self.uids[seq - 1] = uid
                if flags := re.search(r"FLAGS \(([^)]*)\)", items):
                    self.copy[uid] = frozenset(flags[1].split()) - {"\\Recent"}
        # up to here it knows all: of a message that came, only what others change may have been told
        told = self.uids[:self.uids.index(0)] if 0 in self.uids else self.uids
        self.last = max([self.last, *told[-1:]])
        self.highest = said or max(self.highest, seen)

    def change(self, changes: str, uid: int) -> None:
        """What the client knows of its own silent change."""
        sign, flag = changes[0], changes.split("(")[1].rstrip(")")
        if uid in self.copy:
            self.copy[uid] = self.copy[uid] | {flag} if sign == "+" else self.copy[uid] - {flag}

    def step(self) -> None:
        rnd = self.rnd
        what = rnd.choice(("store", "store", "silent", "unchanged", "expunge", "uidexpunge", "noop", "fetch",
                           "idle", "append", "search", "move"))
        uids = [uid for uid in self.uids if uid]
        if what in ("store", "silent", "unchanged", "fetch") and not uids or self.window is None:
            what = "noop"
        some = rnd.sample(uids, min(len(uids), 3)) if uids else []
        numbers = ",".join(map(str, some))
        change = f"{rnd.choice('+-')}FLAGS ({rnd.choice(FLAGS)})"
        silent = change.replace("FLAGS", "FLAGS.SILENT")
        if what == "store":
            self.do(f"UID STORE {numbers} {change}")
        elif what == "silent":
            seq = self.uids.index(some[0]) + 1
            before = len(self.talk)
            lines = self.do(f"STORE {seq} {silent}")
            own = any(line.startswith(f"* {seq} FETCH (UID {some[0]} MODSEQ") for line in lines)
            if own and not any(f"FETCH (UID {some[0]} FLAGS" in line for line in self.talk[before:]):
                self.change(change, some[0])
        elif what == "unchanged":
            self.do(f"UID STORE {numbers} (UNCHANGEDSINCE {self.highest or 1}) {change}")
        elif what == "expunge":
            self.do("EXPUNGE")
        elif what == "uidexpunge" and some:
            self.do(f"UID STORE {some[0]} +FLAGS (\\Deleted)")
            self.do(f"UID EXPUNGE {some[0]}")
        elif what == "move" and some:
            self.do(f"UID MOVE {some[0]} INBOX.away")
        elif what == "fetch":
            self.do(f"FETCH {self.uids.index(some[0]) + 1} (FLAGS)")
        elif what == "idle":
            assert self.window is not None
            lines = self.window.idle()
            self.hear([*lines, *self.window.done()], "IDLE")
        elif what == "append":
            text = f"Subject: {rnd.random()}\r\n\r\nx\r\n"
            self.do(f"APPEND INBOX (\\Seen) {{{len(text)}+}}\r\n{text}")
        elif what == "search":
            self.do(f"SEARCH MODSEQ {self.highest or 1}")
        else:
            self.do("NOOP")

    def leave(self) -> None:
        """By LOGOUT, or by a kill in the middle of a command."""
        window = self.window
        assert window is not None
        if self.rnd.random() < 0.5:
            window.send(f"z STORE 1:* {self.rnd.choice('+-')}FLAGS.SILENT ({self.rnd.choice(FLAGS)})")
            if window.pid:
                os.kill(window.pid, 9)
        window.close()
        self.window = None

    def check(self) -> None:
        """After a return nothing else is happening: the copy is what a plain client sees."""
        self.do("NOOP")
        self.do(f"UID FETCH {self.last + 1}:* (FLAGS)")
        assert not any("FETCH" in line for line in self.do(
            f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {self.highest} VANISHED)")[:-1])
        plain = over_pipe(self.maildir, self.log)
        plain.do("EXAMINE INBOX")
        there = {}
        for line in plain.do("UID FETCH 1:* (FLAGS)"):
            assert "MODSEQ" not in line
            uid, flags = re.findall(r"UID (\d+)", line), re.findall(r"FLAGS \(([^)]*)\)", line)
            there[int(uid[0])] = frozenset(flags[0].split()) - {"\\Recent"}
        plain.close()
        assert self.copy == there
        assert self.uids == sorted(there)


class Outsider:
    """Another program, and what befalls an index."""

    def __init__(self, maildir: Path, seed: int) -> None:
        self.maildir = maildir
        self.rnd = random.Random(seed)
        self.count = 0

    def step(self) -> None:
        rnd = self.rnd
        cur = sorted((self.maildir / "cur").iterdir())
        what = rnd.randrange(8)
        log = self.maildir / "courierpyindex" / "modseq"
        if what < 3 or not cur:
            self.count += 1
            name = f"{1800000000 + self.count}.M{rnd.randrange(10 ** 6)}P1.outside"
            (self.maildir / "tmp" / name).write_text("Subject: outside\n\nx\n")
            (self.maildir / "tmp" / name).rename(self.maildir / "new" / name)
        elif what < 6:
            file = rnd.choice(cur)
            try:
                letters = rnd.choice(("", "S", "FS", "RS", "T"))
                file.rename(file.with_name(file.name.partition(":")[0] + ":2," + letters))
            except FileNotFoundError:
                return
        elif what == 6:
            rnd.choice(cur).unlink(missing_ok=True)
        elif rnd.random() < 0.5 and log.exists():
            os.truncate(log, rnd.randrange(log.stat().st_size + 1))
        elif rnd.random() < 0.5:
            shutil.rmtree(log.parent, ignore_errors=True)
        else:
            log.unlink(missing_ok=True)


def story(clients: list[Client]) -> str:
    return "\n\n".join("\n".join(client.talk[-60:]) for client in clients)


@contextmanager
def in_the_end_all_agree(clients: list[Client], log: Path) -> Iterator[None]:
    """Each is connected and compared with what is there; what was said is shown where that fails."""
    try:
        yield
        for client in clients:
            if client.window is None:
                client.connect()
            client.check()
    except BaseException:
        print(story(clients) + "\n" + log.read_text()[-5000:])
        raise
    finally:
        for client in clients:
            if client.window is not None:
                client.window.close()


@pytest.mark.parametrize("seed", range(4))
def test_by_turns(seed: int, tmp_path: Path) -> None:
    """Can be repeated exactly, but for the clock; each return is checked."""
    maildir, log = tmp_path / "Maildir", tmp_path / "log"
    fill(maildir, 300 if seed == 3 else 5)         # by the watch and the index
    fill(maildir / ".away", 0)
    rnd = random.Random(seed)
    clients = [Client(maildir, log, seed * 10 + number) for number in range(3)]
    outsider = Outsider(maildir, seed)
    with in_the_end_all_agree(clients, log):
        for _ in range(70):
            client = rnd.choice(clients)
            if client.window is None:
                client.connect()
                client.check()
            elif rnd.random() < 0.15:
                client.leave()
            else:
                client.step()
            if rnd.random() < 0.2:
                outsider.step()


@pytest.mark.parametrize("seed", range(2))
def test_at_once(seed: int, tmp_path: Path) -> None:
    """Meets the races; the copies are compared when all is quiet."""
    maildir, log = tmp_path / "Maildir", tmp_path / "log"
    fill(maildir, 8)
    fill(maildir / ".away", 0)
    clients = [Client(maildir, log, seed * 10 + number) for number in range(4)]

    def run(client: Client) -> None:
        for _ in range(40):
            if client.window is None:
                client.connect()
            elif client.rnd.random() < 0.1:
                client.leave()
            else:
                client.step()
    with in_the_end_all_agree(clients, log), ThreadPoolExecutor(len(clients)) as threads:
        for done in [threads.submit(run, client) for client in clients]:
            done.result()


@pytest.mark.parametrize("seed", range(3))
def test_who_asks_only_where_the_number_is_another(seed: int, tmp_path: Path) -> None:
    """As Thunderbird does: SELECT without a parameter, and FETCH of what has changed where HIGHESTMODSEQ is
    not the one that it keeps.  It comes back at once, and others have been there."""
    maildir, log = tmp_path / "Maildir", tmp_path / "log"
    fill(maildir, 5)
    outsider = Outsider(maildir, seed)
    copy: Copy = {}
    kept = "0"
    rnd = random.Random(seed)
    for _ in range(60):
        window = over_pipe(maildir, log)
        number = re.findall(r"HIGHESTMODSEQ (\d+)", "\n".join(window.do("SELECT INBOX")))[0]
        there = {int(uid): frozenset(told.split()) - {"\\Recent"} for uid, told in re.findall(
            r"UID (\d+) FLAGS \(([^)]*)\)", "\n".join(window.do("UID FETCH 1:* (FLAGS)")))}
        if number != kept:
            changed = "\n".join(window.do(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {kept})"))
            copy = {uid: flags for uid, flags in copy.items() if uid in there} | {
                int(uid): frozenset(told.split()) - {"\\Recent"}
                for uid, told in re.findall(r"UID (\d+) FLAGS \(([^)]*)\)", changed)}
            kept = re.findall(r"HIGHESTMODSEQ (\d+)", changed)[0] if "HIGHESTMODSEQ" in changed else number
        assert copy == there, log.read_text()[-2000:]
        if rnd.random() < 0.3:
            window.do(f"UID STORE {rnd.choice([*there] or [1])} FLAGS ({rnd.choice(FLAGS[:4])})")
        window.close()
        for _ in range(rnd.choice((0, 1, 1, 2))):
            outsider.step()
