"""NOTIFY where not all can be watched: RFC 5465 5.8.  What it tells: tests/dialogue/notify_*.txt."""
from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from courierpy.imap import notifier, watched
from courierpy.imap.grammar.framer import Frame
from courierpy.imap.session import Session
from courierpy.maildir.store import Store
from courierpy.message import collation
from courierpy.system import pulse
from courierpy.system.conn import Conn
from courierpy.system.inotify import IN_Q_OVERFLOW, Ear, NotInstalled, one_by_one
from courierpy.system.settings import Settings


class Talk:
    """A session in this process; ``say`` does a command and gives all that is told."""

    def __init__(self, settings: dict[str, str]) -> None:
        ours, self.client = socket.socketpair()
        self.client.settimeout(20)
        self._ours = ours
        chosen = Settings(settings)
        self.session = Session(Conn(ours.fileno(), ours.fileno()), chosen, Store.of(chosen), "demo")

    def say(self, command: bytes) -> bytes:
        self.session.do(Frame([b"t " + command], []))
        return self.told()

    def told(self) -> bytes:
        """What is told, and between two commands."""
        if self.session.between is not None:
            self.session.between.tell()
        self.session.write(b"* END\r\n")
        self.session.conn.flush()
        said = b""
        while not said.endswith(b"* END\r\n"):
            said += self.client.recv(65536)
        return said.removesuffix(b"* END\r\n")

    def close(self) -> None:
        if self.session.between is not None:
            self.session.between.close()
        self.client.close()
        self._ours.close()


@pytest.fixture
def talk(maildir: Path, request: pytest.FixtureRequest) -> Iterator[Talk]:
    here = os.getcwd()
    os.chdir(maildir)
    for name in (".a", ".b"):
        for part in ("cur", "new", "tmp"):
            Path(name, part).mkdir(parents=True)
    talk = Talk(getattr(request, "param", {}))
    try:
        yield talk
    finally:
        talk.close()
        os.chdir(here)


def limit(monkeypatch: pytest.MonkeyPatch, most: int, error: OSError) -> None:
    """Only so many watches can be had, then there is an error."""
    class Limited(Ear):
        count = 0

        def add(self, path: str, mask: int) -> int:
            self.count += 1
            if self.count > most:
                raise error
            return super().add(path, mask)

        def add_all(self, wanted: Sequence[tuple[str, int]]) -> list[int | OSError]:
            return one_by_one(self.add, wanted)
    monkeypatch.setattr(watched, "Ear", Limited)


def deliver(folder: str, name: str) -> None:
    Path("tmp", name).write_bytes(b"Subject: x\n\nx\n")
    os.rename(f"tmp/{name}", f"{folder}/new/{name}")


ALL = b"NOTIFY SET (personal (MailboxName MessageNew MessageExpunge))"


def test_no_room_for_all_watches(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The NOTIFY before stays as it was."""
    assert b"t OK " in talk.say(b"NOTIFY SET (mailboxes INBOX.a (MessageNew MessageExpunge))")
    limit(monkeypatch, 3, OSError(errno.ENOSPC, "no room"))
    assert b"t NO [NOTIFICATIONOVERFLOW] " in talk.say(ALL)
    deliver(".a", "1.M1P1.host")
    assert b'* STATUS "INBOX.a" (MESSAGES 1 UIDNEXT 2' in talk.told()


def test_no_room_later(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as after NOTIFY NONE then."""
    limit(monkeypatch, 7, OSError(errno.ENOSPC, "no room"))
    assert b"t OK " in talk.say(ALL)
    for part in ("cur", "new", "tmp"):
        Path("making", part).mkdir(parents=True)
    os.rename("making", ".c")
    assert talk.told().count(b"* OK [NOTIFICATIONOVERFLOW] ") == 1
    deliver(".a", "1.M1P1.host")
    assert talk.told() == b""
    assert b"t OK " in talk.say(b"NOTIFY NONE")


@pytest.mark.parametrize("part", ["new", "cur"])
def test_a_mailbox_that_may_not_be_read(talk: Talk, part: str, monkeypatch: pytest.MonkeyPatch,
                                        capfd: pytest.CaptureFixture[str]) -> None:
    """The others are watched; of this one the client hears that, and nothing more."""
    may = False

    class Forbidden(Ear):
        def add(self, path: str, mask: int) -> int:
            if path.endswith(f".a/{part}") and not may:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return super().add(path, mask)

        def add_all(self, wanted: Sequence[tuple[str, int]]) -> list[int | OSError]:
            return one_by_one(self.add, wanted)
    monkeypatch.setattr(watched, "Ear", Forbidden)
    said = talk.say(ALL.replace(b"SET", b"SET STATUS"))
    assert b'\\NoAccess) "." "INBOX.a"\r\n' in said and b"t OK" in said
    assert b'STATUS "INBOX.b" (MESSAGES 0' in said and b'STATUS "INBOX.a"' not in said
    assert f".a/{part}: Permission denied" in capfd.readouterr().err
    deliver(".a", "1700000001.M1P1.host")
    assert talk.told() == b""
    deliver(".b", "1700000002.M2P1.host")
    assert talk.told() == b'* STATUS "INBOX.b" (MESSAGES 1 UIDNEXT 2)\r\n'
    # it is looked at again when it is another one
    assert b"t OK" in talk.say(b"RENAME INBOX.a INBOX.c")
    assert b"t OK" in talk.say(b"CREATE INBOX.d")
    assert not capfd.readouterr().err
    may = True
    for here in ("cur", "new", "tmp"):
        Path(".a", here).mkdir(parents=True)
    assert b'"INBOX.a"' in talk.told()
    deliver(".a", "1700000003.M3P1.host")
    assert talk.told() == b'* STATUS "INBOX.a" (MESSAGES 1 UIDNEXT 2)\r\n'


def test_subscriptions_that_cannot_be_read(talk: Talk, capfd: pytest.CaptureFixture[str]) -> None:
    """Who wants to hear of them is refused; to all others they do not matter."""
    Path("courierimapsubscribed").mkdir()
    assert b"t NO [" in talk.say(b"NOTIFY SET (subscribed (MessageNew MessageExpunge))")
    assert b"t NO [" in talk.say(b"NOTIFY SET (personal (SubscriptionChange))")
    assert b"t OK" in talk.say(ALL)
    deliver(".a", "1700000001.M1P1.host")
    assert talk.told().startswith(b'* STATUS "INBOX.a" (MESSAGES 1 UIDNEXT 2')
    assert b"t OK" in talk.say(b"CREATE INBOX.c")
    Path("courierimapsubscribed").rmdir()
    assert b"t OK" in talk.say(b"NOTIFY SET (subscribed (MessageNew MessageExpunge))")
    assert b"t OK" in talk.say(b"SUBSCRIBE INBOX.b")
    os.rename("courierimapsubscribed", "aside")
    Path("courierimapsubscribed").mkdir()
    assert talk.told() == b""              # they stay as they were known
    deliver(".b", "1700000002.M2P1.host")
    assert talk.told().startswith(b'* STATUS "INBOX.b" (MESSAGES 1 UIDNEXT 2')
    assert capfd.readouterr().err.count("courierimapsubscribed") <= 4


@pytest.mark.parametrize("talk", [{"IMAP_ENHANCEDIDLE": "0", "IMAP_IDLE_TIMEOUT": "7"}], indirect=True)
def test_by_the_clock(talk: Talk) -> None:
    _looks_by_the_clock(talk)


@pytest.mark.parametrize("talk", [{"IMAP_IDLE_TIMEOUT": "7"}], indirect=True)
def test_without_inotify(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, 0, NotInstalled())
    _looks_by_the_clock(talk)


def _looks_by_the_clock(talk: Talk) -> None:
    assert b"t OK " in talk.say(ALL)
    assert talk.session.between is not None
    assert talk.session.between.listens() == (set(), 7.0)
    deliver(".a", "1.M1P1.host")
    assert b'* STATUS "INBOX.a" (MESSAGES 1 UIDNEXT 2' in talk.told()
    os.rename(".b", ".d")
    assert b'* LIST (\\HasNoChildren) "." "INBOX.d" ("OLDNAME" ("INBOX.b"))\r\n' in talk.told()


def test_nothing_is_looked_at_while_nothing_is_heard(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No poll: what a session costs that waits does not grow with its mailboxes."""
    assert b"t OK " in talk.say(ALL)
    talk.told()
    assert talk.session.between is not None
    fds, pause = talk.session.between.listens()
    assert len(fds) == 1 and pause == notifier.LONG
    monkeypatch.setattr(Store, "status", lambda *_: pytest.fail("it is looked at"))
    monkeypatch.setattr(Store, "names", lambda *_: pytest.fail("it is looked at"))
    assert talk.told() == b""


def test_events_that_were_lost(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is looked at then."""
    assert b"t OK " in talk.say(b"NOTIFY SET STATUS (personal (MailboxName MessageNew MessageExpunge))")
    deliver(".a", "1.M1P1.host")
    between = talk.session.between
    assert isinstance(between, notifier.Notifier) and between._watched is not None
    between._watched._ear.events()
    between._watched._ear.waiting.append((-1, IN_Q_OVERFLOW, b""))
    assert b'* STATUS "INBOX.a" (MESSAGES 1 UIDNEXT 2' in talk.told()


@pytest.mark.parametrize("talk", [{"IMAP_LAYOUT": "fs"}], indirect=True)
def test_mailboxes_in_each_other(talk: Talk) -> None:
    for part in ("cur", "new", "tmp"):
        Path("x", "y", part).mkdir(parents=True)
    assert b"t OK " in talk.say(b"NOTIFY SET (subtree x (MailboxName MessageNew MessageExpunge))")
    for part in ("cur", "new", "tmp"):
        Path("x", "z", part).mkdir(parents=True)
    assert b'"/" "x/z"\r\n' in talk.told()
    deliver("x/y", "1.M1P1.host")
    deliver("x/z", "2.M2P2.host")
    said = talk.told()
    assert b'* STATUS "x/y" (MESSAGES 1' in said and b'* STATUS "x/z" (MESSAGES 1' in said


def test_a_mailbox_that_is_made_piece_by_piece(talk: Talk) -> None:
    """Each of its directories is watched when it is there."""
    assert b"t OK " in talk.say(ALL)
    os.mkdir(".c")
    assert talk.told() == b""
    os.mkdir(".c/cur")
    assert b'"." "INBOX.c"\r\n' in talk.told()
    os.mkdir(".c/tmp")
    os.mkdir(".c/new")
    assert talk.told() == b""
    deliver(".c", "1.M1P1.host")
    assert b'* STATUS "INBOX.c" (MESSAGES 1 UIDNEXT 2' in talk.told()


def test_the_next_client_of_the_process_finds_nothing(talk: Talk) -> None:
    """What one chose is over with its session."""
    assert b"t OK " in talk.say(b"COMPARATOR i;octet")
    assert b"t OK " in talk.say(ALL)
    talk.client.sendall(b"z LOGOUT\r\n")
    talk.session.serve()
    assert talk.session.between is None and not talk.session.kept
    assert collation.active() is collation.UNICODE
    assert pulse._hears is None


def test_subscriptions_decide_what_is_watched(talk: Talk) -> None:
    assert b"t OK " in talk.say(b"NOTIFY SET (subscribed (SubscriptionChange MessageNew MessageExpunge))")
    deliver(".a", "1.M1P1.host")
    assert talk.told() == b""
    talk.session.folders.subscribe("INBOX.a", True)
    assert b'* LIST (\\HasNoChildren \\Subscribed) "." "INBOX.a"\r\n' in talk.told()
    deliver(".a", "2.M2P2.host")
    assert b'* STATUS "INBOX.a" (MESSAGES 2' in talk.told()
    talk.session.folders.subscribe("INBOX.a", False)
    assert b'* LIST (\\HasNoChildren) "." "INBOX.a"\r\n' in talk.told()
    deliver(".a", "3.M3P3.host")
    assert talk.told() == b""
