"""What a session knows beside its view is there again in the process that goes on: by its record alone."""
from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courierpy.hibernate.record import pack, unpack
from courierpy.hibernate.sleeper import Sleeper, know, restore
from courierpy.imap.session import Session
from courierpy.maildir.store import Store
from courierpy.message import collation
from courierpy.system import inotify, pulse
from tests.realtime.test_notify import Talk
from tests.realtime.windows import deliver

EVENTS = b"MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange"


@pytest.fixture
def make(maildir: Path) -> Iterator[Callable[[], Talk]]:
    """Makes sessions on one Maildir."""
    here = os.getcwd()
    os.chdir(maildir)
    for name in (".a", ".b"):
        for part in ("cur", "new", "tmp"):
            Path(name, part).mkdir(parents=True)
    inotify.drop()                     # with what others left in it
    made: list[Talk] = []

    def one() -> Talk:
        made.append(Talk({}))
        return made[-1]
    try:
        yield one
    finally:
        for talk in made:
            talk.close()
        collation.use(collation.UNICODE)
        pulse.hear(None)
        os.chdir(here)


def sleep(talk: Talk, ear: bool = True) -> None:
    """Another session goes on for this one.  ``ear``: it gets the instance of inotify."""
    old = talk.session
    record = pack(know(old, b"", 0.0))
    instance = -1
    if old.between is not None:
        instance = os.dup(inotify.own()) if ear else -1
        inotify.drop()
    if old.selected is not None:
        old.selected.folder.close()
    if instance >= 0:
        inotify.inherit(inotify.Inotify(instance))
    talk.session = Session(old.conn, old.settings, Store.of(old.settings), "demo")
    restore(talk.session, unpack(record))


def news(talk: Talk) -> list[bytes]:
    return talk.told().splitlines()


@pytest.mark.parametrize("ear", [True, False])
def test_notify(make: Callable[[], Talk], ear: bool) -> None:
    """With the instance that heard meanwhile, and without it, when all is looked at."""
    talk = make()
    assert b"t OK " in talk.say(b"SELECT INBOX")
    assert b"t OK " in talk.say(b"NOTIFY SET STATUS (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS "
                                b"(SUBJECT)]) MessageExpunge)) (personal (" + EVENTS + b"))")
    for turn in range(1, 3):
        sleep(talk, ear)
        deliver(Path(".a"), f"180000000{turn}.M1P1.host")
        assert news(talk) == [
            b'* STATUS "INBOX.a" (MESSAGES %d UIDNEXT %d UNSEEN %d)' % (turn, turn + 1, turn)]
        assert news(talk) == []
    sleep(talk, ear)
    deliver(Path(), "1800000009.M1P1.host")
    assert [line for line in news(talk) if b"FETCH" in line] == [
        b"* 4 FETCH (UID 4 BODY[HEADER.FIELDS (\"SUBJECT\")] {22}"]
    sleep(talk, ear)
    for part in ("cur", "new", "tmp"):
        Path(".c", part).mkdir(parents=True)
    assert b'* LIST (\\HasNoChildren) "." "INBOX.c"' in news(talk)
    sleep(talk, ear)
    Path(".c").rename(".d")
    assert news(talk) == [b'* LIST (\\HasNoChildren) "." "INBOX.d" ("OLDNAME" ("INBOX.c"))']
    sleep(talk, ear)
    deliver(Path(".d"), "1800000009.M1P1.host")
    assert news(talk) == [b'* STATUS "INBOX.d" (MESSAGES 1 UIDNEXT 2 UNSEEN 1)']
    sleep(talk, ear)
    assert talk.say(b"NOTIFY NONE") == b"t OK NOTIFY completed\r\n"
    sleep(talk, ear)
    deliver(Path(".a"), "1800000010.M1P1.host")
    deliver(Path(), "1800000011.M1P1.host")
    assert news(talk) == []


def test_watches_of_the_process_before(make: Callable[[], Talk]) -> None:
    """Those of the mailbox that was selected are ours as long as it is; then nobody hears them."""
    talk = make()
    talk.say(b"SELECT INBOX.b")
    talk.say(b"NOTIFY SET (selected (MessageNew MessageExpunge)) "
             b"(mailboxes INBOX.a (MessageNew MessageExpunge))")
    assert talk.session.between is not None
    talk.session.between.listens()
    before = set(inotify.watched())
    for _ in range(3):
        sleep(talk)
        talk.told()
        assert set(inotify.watched()) == before
    talk.session.between.listens()                     # it stays
    assert set(inotify.watched()) == before
    sleep(talk)
    talk.say(b"UNSELECT")
    talk.session.between.listens()
    left = set(inotify.watched())
    assert left < before
    deliver(Path(".b"), "1800000001.M1P1.host")
    assert news(talk) == []
    deliver(Path(".a"), "1800000001.M1P1.host")
    assert len(news(talk)) == 1


def test_the_first_command_finds_the_messages(make: Callable[[], Talk]) -> None:
    """Also where nothing of the selected mailbox is told between two commands."""
    talk = make()
    talk.say(b"SELECT INBOX")
    talk.say(b"NOTIFY SET (personal (MessageNew MessageExpunge))")
    for _ in range(2):
        sleep(talk)
        assert b"* 2 FETCH (BODY[HEADER" in talk.say(b"FETCH 2 (BODY.PEEK[HEADER.FIELDS (Subject)])")


def test_an_overflow_while_it_slept(make: Callable[[], Talk]) -> None:
    talk = make()
    talk.say(b"NOTIFY SET STATUS (personal (MessageNew MessageExpunge))")
    sleep(talk)
    deliver(Path(".a"), "1800000001.M1P1.host")
    between = talk.session.between
    assert between is not None
    own = inotify.own()
    assert os.read(own, 65536)                         # lost
    ears = {ear for ears in inotify._dispatcher.masks.values() for ear in ears}  # type: ignore[union-attr]
    for ear in ears:
        ear.waiting.append((-1, inotify.IN_Q_OVERFLOW, b""))
    assert news(talk) == [b'* STATUS "INBOX.a" (MESSAGES 1 UIDNEXT 2)']


def plain(said: bytes) -> bytes:
    """Without what is recent, which one of two sessions is told."""
    return re.sub(rb" \\Recent(?=\))|\\Recent ?|\* \d+ RECENT\r\n", b"", said)


def test_searches_that_are_kept_up_to_date(make: Callable[[], Talk]) -> None:
    """One session sleeps before each command, the other one never; both are told the same."""
    chance = random.Random(5)
    sleeper, awake, other = make(), make(), make()
    for talk in (sleeper, awake):
        talk.say(b"SELECT INBOX")
        for search in (b"SEARCH RETURN (UPDATE ALL) OR SUBJECT plan (UNFLAGGED NOT KEYWORD $Junk 1:3)",
                       b"UID SEARCH RETURN (UPDATE (UID FLAGS) COUNT) SINCE 1-Jan-2000 NOT HEADER x-no \"\"",
                       b"SORT RETURN (UPDATE ALL) (REVERSE SUBJECT SIZE) UTF-8 NOT DELETED",
                       b"UID SORT RETURN (UPDATE ALL) (ARRIVAL) UTF-8 FUZZY BODY wrods LARGER 1"):
            talk.session.between = None
            said = talk.say(search)
            assert b"t OK " in said
            assert talk.session.selected is not None
            for number, follower in enumerate(talk.session.selected.followers):
                follower.tag = b"t%d" % number  # type: ignore[attr-defined]
    other.say(b"SELECT INBOX")
    told = 0
    for turn in range(25):
        sleep(sleeper)
        act = chance.choice([b"deliver", b"STORE %d %cFLAGS.SILENT (%s)" % (
            chance.randint(1, 3), chance.choice(b"+-"),
            chance.choice([b"\\Flagged", b"\\Deleted", b"$Junk"]))])
        if act == b"deliver":
            text = b"Subject: %s\n\nwords %d\n" % (chance.choice([b"plan", b"other"]), turn)
            deliver(Path(), f"18000000{turn:02}.M1P1.host", text)
        else:
            assert b"t OK " in other.say(act)
        if turn == 20:
            other.say(b"EXPUNGE")
        heard = plain(sleeper.say(b"NOOP"))
        assert heard == plain(awake.say(b"NOOP"))
        told += heard.count(b"* ESEARCH")
    assert told > 20


@pytest.mark.parametrize("enabled", [b"UTF8=ACCEPT", b"QRESYNC"])
@pytest.mark.parametrize("seed", range(2))
def test_any_commands(make: Callable[[], Talk], seed: int, enabled: bytes) -> None:
    """One session sleeps before each command, the other one never; both are answered the same, though what
    others did may be told before the answer or behind it."""
    chance = random.Random(seed)
    sleeper, awake, other = make(), make(), make()
    for talk in (sleeper, awake):
        talk.say(b"ENABLE " + enabled)
        talk.say(b"SELECT INBOX")
    other.say(b"SELECT INBOX")
    told = 0
    for turn in range(60):
        for act in range(chance.choice([0, 1, 1, 2])):
            what = chance.choice([b"deliver", b"deliver", b"EXPUNGE", b"STORE 1:2 %cFLAGS.SILENT (%s)" % (
                chance.choice(b"+-"), chance.choice([b"\\Flagged", b"\\Deleted", b"\\Deleted", b"$Junk"]))])
            if what == b"deliver":
                deliver(Path(), f"18000{turn:02}{act}00.M1P1.host", b"Subject: plan %d\n\nx\n" % turn)
            else:
                other.say(what)
        command = chance.choice([b"NOOP", b"FETCH 1:2 (UID)", b"FETCH 1 (FLAGS)", b"SEARCH DELETED",
                                 b"UID SEARCH KEYWORD $Junk", b"SEARCH RETURN (SAVE) FLAGGED",
                                 b"UID FETCH $ UID", b"UID FETCH 1:* (FLAGS)", b"STATUS INBOX (MESSAGES)",
                                 b"SEARCH 1:2 UNSEEN"])
        sleep(sleeper)
        heard = [plain(talk.say(command)).splitlines() for talk in (sleeper, awake)]
        if b"FLAGS" in command:        # which may be told twice, as they were and as they are
            last = [dict(re.findall(rb"\* (\d+) FETCH .*FLAGS \(([^)]*)\)", b"\n".join(lines)))
                    for lines in heard]
            assert {*last[0].items()} >= {*last[1].items()}, (turn, command)
            assert [lines[-1] for lines in heard] == [heard[0][-1]] * 2
        else:
            assert sorted(heard[0]) == sorted(heard[1]), (turn, command)
        told += len(heard[0])
    assert told > 100


def test_what_no_process_can_go_on_with(make: Callable[[], Talk]) -> None:
    """NOTIFY by the clock; what went and may not be told yet."""
    talk = make()
    way = Sleeper(talk.session, 0, 1, 0, 0.0, "")
    talk.say(b"SELECT INBOX")
    assert way._may()
    talk.say(b"NOTIFY SET (selected-delayed (MessageNew MessageExpunge))")
    assert way._may()
    Path("cur", os.listdir("cur")[0]).unlink()
    assert news(talk) == []
    assert not way._may()
    talk.say(b"NOOP")
    assert way._may()
    talk.say(b"NOTIFY SET (personal (MessageNew MessageExpunge))")
    assert way._may()
    talk.session.between._clock = 7.0  # type: ignore[union-attr]
    assert not way._may()


def test_rights(make: Callable[[], Talk]) -> None:
    """They are looked at anew, also where they changed meanwhile."""
    Path("courierimapacl").write_text("owner aelrst\n")
    talk = make()
    assert b'* OK [MYRIGHTS "lrstead"] ACL' in talk.say(b"SELECT INBOX")
    sleep(talk)
    assert b"FLAGS" not in talk.say(b"NOOP")
    assert b"t NO [NOPERM]" in talk.say(b"STORE 1 +FLAGS (\\Flagged)")
    assert b"* 1 FETCH (FLAGS (\\Seen" in talk.say(b"STORE 1 +FLAGS (\\Flagged \\Seen)")
    Path("courierimapacl").write_text("owner alrt\n")
    sleep(talk)
    assert b"* OK [PERMANENTFLAGS (\\Deleted)] Limited" in talk.say(b"NOOP")
    assert b"t NO [NOPERM]" in talk.say(b"EXPUNGE")
