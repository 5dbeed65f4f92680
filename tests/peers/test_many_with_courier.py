"""Several real Courier sessions and several of ours at once on one Maildir, both locking."""
from __future__ import annotations

import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from courierpy.maildir import names
from courierpy.maildir.formats import maildirsize, uiddb
from courierpy.maildir.formats.acl import AccessList
from courierpy.maildir.store import Store
from tests.conftest import fill, need
from tests.peers import counted
from tests.realtime.windows import Window, deliver, over_pipe, over_program

pytestmark = pytest.mark.peers
FLAGS = ("\\Answered", "\\Flagged", "\\Draft", "$Todo", "Later", "$Label1")
FETCH = re.compile(rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) BODY\[\] \{\d+\}\r\n(.*)\)$", re.S)
DOINGS = ("append", "append", "store", "store", "store", "store", "copy", "expunge", "deliver",
          "deliverquota", "acl", "acl", "look", "look")
RIGHTS = re.compile(rb' "([^"]*)" "([^"]*)"')
STEPS = 40
# what Courier serves for a message that is gone
SUBSTITUTE = b"This message is no longer available on the server."


class World:
    """``bodies``: UID -> bytes.  ``flags``: UID -> what it has, as the one who may change it made it.
    ``expunged``: UIDs that somebody removed.  ``rights``: identifier -> rights that were given to it."""

    def __init__(self) -> None:
        self.uidvalidity = 0
        self.bodies: dict[int, bytes] = {}
        self.flags: dict[int, frozenset[str]] = {}
        self.expunged: set[int] = set()
        self.texts: set[bytes] = set()
        self.rights: dict[str, set[frozenset[str]]] = {}
        self.talk: list[str] = []


class Client:
    """``number`` of ``count``: it alone changes and removes the messages whose UID gives that rest."""

    def __init__(self, number: int, count: int, program: str, world: World, maildir: Path) -> None:
        self.number = number
        self.count = count
        self.world = world
        self.maildir = maildir
        self.rnd = random.Random(number * 1000 + count)
        settings = {"IMAP_KEYWORDS": "1", "IMAP_ACL": "1", "IMAP_USELOCKS": "1", "HOSTNAME": "host",
                    "IMAP_EMPTYTRASH": "", "IMAP_CHECK_ALL_FOLDERS": "0", "IMAP_ENHANCEDIDLE": "0"}
        self.window: Window = (over_pipe(maildir, **settings) if program == "ours" else
                               over_program([need("/usr/bin/imapd"), str(maildir)], **settings))
        self.mine: dict[int, frozenset[str]] = {}
        self.made = 0
        self.given: frozenset[str] = frozenset()
        lines = self.do("SELECT INBOX")[1]
        validity = re.search(rb"UIDVALIDITY (\d+)", b"\n".join(lines))
        assert validity is not None
        assert world.uidvalidity in (0, int(validity[1]))
        world.uidvalidity = int(validity[1])

    def do(self, command: str, literal: bytes = b"") -> tuple[bytes, list[bytes]]:
        """(the tagged answer, what came before it)."""
        self.world.talk.append(f"{self.number}> {command}")
        self.window.send(f"c {command}")
        if literal:
            assert self.window.line().startswith("+")
            self.window.send(literal.decode())
        lines = [self.window.response()]
        while not lines[-1].startswith(b"c "):
            assert not lines[-1].startswith(b"* BYE"), lines[-1]
            lines.append(self.window.response())
        self.world.talk.append(f"{self.number}< {lines[-1].decode()}")
        return lines[-1][2:], lines[:-1]

    def text(self) -> bytes:
        self.made += 1
        text = b"Subject: %d-%d\r\n\r\n%s\r\n" % (self.number, self.made, b"x" * self.made)
        self.world.texts.add(text)
        return text

    def body(self, uid: int, body: bytes) -> None:
        known = self.world.bodies.setdefault(uid, body)
        assert known == body, f"UID {uid}: {known!r} became {body!r}"

    def give(self) -> None:
        """Rights to who gets some of this client alone; of others is told what they were given."""
        self.given = frozenset(self.rnd.sample("lrswi", 3))
        who = f"user{self.number}"
        self.world.rights.setdefault(who, set()).add(self.given)
        done, _ = self.do(f"SETACL INBOX {who} {''.join(sorted(self.given))}")
        assert done.startswith(b"OK"), done
        _, lines = self.do("GETACL INBOX")
        told = {one.decode(): frozenset(rights.decode())
                for line in lines for one, rights in RIGHTS.findall(line.partition(b'"INBOX"')[2])}
        assert {"l", "a"} <= told.pop("owner")
        told.pop("administrators")
        assert all(rights in self.world.rights[one] for one, rights in told.items()), told

    def look(self) -> dict[int, frozenset[str]]:
        """Flags by UID; every body is held against what it was."""
        self.do("NOOP")
        done, lines = self.do("UID FETCH 1:* (FLAGS BODY.PEEK[])")
        found = {}
        for line in lines:
            match = FETCH.match(line)
            if match and SUBSTITUTE not in match[3]:
                self.body(int(match[1]), match[3])
                found[int(match[1])] = frozenset(match[2].decode().split()) - {"\\Recent"}
        assert done.startswith((b"OK", b"NO [EXPUNGEISSUED]")), done
        for uid in found:
            if uid % self.count == self.number:
                self.mine.setdefault(uid, found[uid])
        return found

    def step(self) -> None:
        rnd = self.rnd
        what = rnd.choice(DOINGS)
        mine = sorted(uid for uid in self.mine if uid not in self.world.expunged)
        if what == "append":
            text = self.text()
            done, _ = self.do(f"APPEND INBOX {{{len(text)}}}", text)
            code = re.match(rb"OK \[APPENDUID (\d+) (\d+)\]", done)
            assert code, done
            assert int(code[1]) == self.world.uidvalidity
            self.body(int(code[2]), text)
        elif what == "deliver":
            text = self.text()
            deliver(self.maildir, f"{1800000000 + self.made}.M{self.made}P{self.number}.host",
                    text.replace(b"\r\n", b"\n"))
        elif what == "deliverquota":
            text = self.text()
            if counted.deliver(self.maildir, text.replace(b"\r\n", b"\n")):
                self.world.texts.remove(text)          # it gives up where mail comes while it counts again
        elif what == "acl":
            self.give()
        elif what == "store" and mine:
            uid = rnd.choice(mine)
            sign, words = rnd.choice("+-"), frozenset(rnd.sample(FLAGS, 2))
            done, _ = self.do(f"UID STORE {uid} {sign}FLAGS.SILENT ({' '.join(words)})")
            assert done.startswith(b"OK"), done
            self.mine[uid] = self.mine[uid] | words if sign == "+" else self.mine[uid] - words
        elif what == "copy" and mine:
            done, _ = self.do(f"UID COPY {rnd.choice(mine)} INBOX")
            assert done.startswith(b"OK [COPYUID "), done
            code = re.match(rb"OK \[COPYUID \d+ (\d+) (\d+)\]", done)
            assert code, done
            self.body(int(code[2]), self.world.bodies[int(code[1])])
        elif what == "expunge" and len(mine) > 3:
            uid = rnd.choice(mine)
            self.do(f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)")
            self.world.expunged.add(uid)
            done, _ = self.do(f"UID EXPUNGE {uid}")
            assert done.startswith(b"OK"), done
        else:
            self.look()


def run(clients: list[Client]) -> None:
    def steps(client: Client) -> None:
        for _ in range(STEPS):
            client.step()
    with ThreadPoolExecutor(len(clients)) as threads:
        for done in [threads.submit(steps, client) for client in clients]:
            done.result()


def same_rights(maildir: Path, clients: list[Client], exact: bool) -> None:
    """Nobody has what he was not given.  ``exact``: and each has what he was given last; Courier, two of it
    alone, makes its change to a list that it has read before somebody else wrote."""
    given = AccessList.parse((maildir / "courierimapacl").read_bytes()).entries
    assert given.keys() <= {"owner", "administrators", *(f"user={who}" for who in clients[0].world.rights)}
    for client in clients:
        now = given.get(f"user=user{client.number}", frozenset())
        if exact:
            assert now == client.given
        elif now:
            assert now in client.world.rights[f"user{client.number}"]


def same_quota(maildir: Path) -> None:
    """Each line is whole, and a count by either comes to what is there."""
    for line in (maildir / "maildirsize").read_bytes().splitlines()[1:]:
        assert re.fullmatch(rb" *-?\d+ +-?\d+", line), line
    theirs = counted.recounted(maildir)
    quota = Store(str(maildir), host="host").quota()
    assert quota is not None
    quota.recount_quietly()
    assert (maildir / "maildirsize").read_bytes() == theirs
    found = maildirsize.parse(theirs)
    assert found is not None
    assert found.there.messages == len([*(maildir / "cur").iterdir(), *(maildir / "new").iterdir()])


@pytest.mark.parametrize("programs", [("courier", "ours"), (
    "courier", "ours", "ours", "courier", "ours", "courier"), ("ours",) * 4], ids=["two", "six", "ours"])
@pytest.mark.parametrize("count", [3, 300])
def test_together(count: int, programs: tuple[str, ...], tmp_path: Path) -> None:
    need("/usr/bin/imapd")
    maildir = tmp_path / "Maildir"
    fill(maildir, count)
    counted.maildirmake("-q", "100000000S", maildir)
    world = World()
    clients = [Client(number, len(programs), program, world, maildir)
               for number, program in enumerate(programs)]
    try:
        run(clients)
        after = [Client(number, 1000, program, world, maildir)
                 for number, program in enumerate(("courier", "ours"))]
        views = [client.look() for client in (*after, *clients)]
        assert all(view == views[0] for view in views[1:]), views
        for client in clients:
            for uid, flags in client.mine.items():
                if uid not in world.expunged:
                    assert views[0][uid] == flags, (uid, flags, views[0][uid])
        # nothing that was appended, copied or delivered is lost
        assert set(world.bodies) - world.expunged == set(views[0])
        assert world.texts <= set(world.bodies.values())
        for client in (*clients, *after):
            client.window.close()
        database = uiddb.read(str(maildir / uiddb.NAME))
        assert database is not None
        assert database.uidvalidity == world.uidvalidity
        files = [path.name.encode() for path in (maildir / "cur").iterdir()]
        assert sorted(database.names()) == sorted(map(names.base, files))
        same_quota(maildir)
        same_rights(maildir, clients, "courier" not in programs)
    except BaseException:
        print("\n".join(world.talk[-2000:]))
        raise
    finally:
        for client in clients:
            client.window.close()
