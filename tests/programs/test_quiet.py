"""Who says nothing between two commands sleeps, and is answered as if it had been awake."""
from __future__ import annotations

import os
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from courierpy.system import presence
from tests.conftest import until
from tests.programs.chain import Chain, chain, children, eventually
from tests.programs.hibernating import (
    DEADLINE,
    has_client,
    hibernating,
    holds_a_sleeper,
    is_keeper,
    wait_until,
)
from tests.programs.test_compress import Client
from tests.realtime import strict
from tests.realtime.test_random import on_disk
from tests.realtime.windows import Window, deliver, over_pipe, over_tcp

pytestmark = pytest.mark.server
# sessions are quiet after a moment, and say so
HASTY = """
from courierpy.hibernate import sleeper
class Hasty(sleeper.Sleeper):
    def __init__(self, session, door, after, quiet, *rest):
        super().__init__(session, door, after, quiet and {pause}, *rest)
    def _end(self):
        from courierpy.system import log
        log.notice("sleeps")
        super()._end()
sleeper.Sleeper = Hasty
"""
LIMITED = HASTY + "from courierpy.imap import session; session.READ_TIMEOUT = 6.0\n"
Open = Callable[[], Window]


class Quiet:
    """A server whose sessions sleep between two commands."""

    def __init__(self, server: Chain) -> None:
        self.server = server
        self.port = server.port
        self.maildir = server.home / "Maildir"

    def awake(self) -> list[int]:
        """Processes that have a client."""
        return [pid for pid in children(self.server.process.pid) if has_client(pid)]

    def wait_asleep(self, awake: int = 0) -> None:
        eventually(lambda: len(self.awake()) <= awake)

    def slept(self) -> int:
        return self.server.log.read_text().count("NOTICE: sleeps")

    def keeper(self) -> int:
        eventually(lambda: any(map(is_keeper, self.server.children())))
        return next(filter(is_keeper, self.server.children()))


def hasty(pause: float = 0.02) -> str:
    return HASTY.format(pause=pause)


@pytest.fixture(scope="module")
def shared() -> Iterator[Quiet]:
    with chain(before=hasty(0.01), IMAP_CAPABILITY="+UIDONLY") as server:
        yield Quiet(server)


@pytest.fixture
def window(shared: Quiet) -> Iterator[Open]:
    """Opens sessions, which are closed at the end."""
    made: list[Window] = []

    def opened() -> Window:
        made.append(over_tcp(shared.port))
        return made[-1]
    yield opened
    for each in made:
        each.close()
    shared.wait_asleep()


def append(window: Window, box: str, subject: str = "plan", flags: str = "") -> None:
    text = f"Subject: {subject}\r\n\r\nwords\r\n"
    window.do(f"APPEND {box} ({flags}) {{{len(text)}+}}\r\n{text}")


# -- what is told

# *: behind it what is gone and was not told keeps awake
STEPS = ("1 FETCH 1:* (UID FLAGS RFC822.SIZE)", "1 SEARCH RETURN (SAVE) 2:3", "2 STORE 1 +FLAGS (\\Flagged)",
         "1 FETCH $ (UID)", "2 STORE 3 +FLAGS (two)", "1 NOOP", "2 STORE 2 +FLAGS.SILENT (\\Deleted)",
         "1 SEARCH DELETED", "1 SEARCH DELETED", "2 EXPUNGE", "1* FETCH 1:4 (UID)", "1* SEARCH ALL",
         "1* STORE 3 +FLAGS (\\Seen)", "1 UID SEARCH ALL", "1 FETCH 1:* (UID FLAGS)", "2 COPY 1 {box}",
         "1 FETCH 1:3 (FLAGS)", "1 NOOP", "1 UID STORE 1:9 +FLAGS.SILENT (\\Draft)", "2 NOOP",
         "1 MOVE 2 {box}", "2 CHECK", "1 SORT (REVERSE SUBJECT) UTF-8 ALL", "2 STORE 1 +FLAGS (\\Deleted)",
         "1 STORE 1 FLAGS (\\Deleted)", "1 STATUS {box} (MESSAGES UIDNEXT UNSEEN)", "1 CLOSE",
         "2* FETCH 1 (UID)", "2 NOOP", "1 EXAMINE {box}",
         "1 UID FETCH 1:* (FLAGS)", "2 UNSELECT", "2 LIST \"\" {box}", "2 SELECT {box}", "1 LANGUAGE de",
         "1 COMPARATOR i;octet", "1 SEARCH SUBJECT PLAN", "1 COMPARATOR", "1 UNSELECT",
         "1 ENABLE UTF8=ACCEPT", "1 SELECT {box}", "2 EXPUNGE", "1 UID FETCH 1:* (FLAGS)", "1 NOOP")
UIDONLY_STEPS = tuple(step for step in STEPS
                      if not re.match(r"[12]\*? (FETCH|STORE|SEARCH|SORT|COPY|MOVE) ", step))


def conversation(quiet: Quiet, box: str, enable: str, steps: tuple[str, ...], sleeps: bool) -> list[str]:
    """What two clients are answered.  ``sleeps``: before each command."""
    windows = {"1": over_tcp(quiet.port), "2": over_tcp(quiet.port)}
    said, awake = [], 0
    try:
        for number in range(4):
            append(windows["2"], box, f"plan {number}", "one" if number == 2 else "")
        windows["1"].do(f"ENABLE {enable}")
        for each in windows.values():
            each.do(f"SELECT {box}")
        for step in steps:
            if sleeps:
                quiet.wait_asleep(awake)
            number, command = step.split(" ", 1)
            awake, each = number.count("*"), windows[number[0]]
            each.number += 1
            each.send(f"t{each.number} {command.format(box=box)}")
            said += [step, *each.until(f"t{each.number} ")]
    finally:
        for each in windows.values():
            each.close()
    hidden = re.compile(r"(UIDVALIDITY |MAILBOXID \(|MODSEQ \(?|COPYUID )[^ )\]]+|\.\d+\.\d+ secs")
    return [hidden.sub(r"\1", line.replace(box, "BOX")) for line in said]


@pytest.fixture(scope="module")
def awake() -> Iterator[Quiet]:
    with chain(IMAP_CAPABILITY="+UIDONLY", IMAP_HIBERNATE_QUIET="0") as server:
        yield Quiet(server)


@pytest.mark.parametrize(("enable", "steps"), [
    ("CONDSTORE", STEPS), ("IMAP4rev2 QRESYNC", STEPS), ("UIDONLY QRESYNC", UIDONLY_STEPS)])
def test_a_client_hears_the_same_asleep_and_awake(shared: Quiet, awake: Quiet, enable: str,
                                                  steps: tuple[str, ...]) -> None:
    box = "INBOX." + re.sub("[ =]", "", enable)
    told = []
    for server, sleeps in ((shared, True), (awake, False)):
        window = over_tcp(server.port)
        window.do(f"CREATE {box}")
        window.close()
        before = server.slept()
        told.append(conversation(server, box, enable, steps, sleeps))
        assert server.slept() - before > 0.8 * len(steps) if sleeps else server.slept() == 0
    assert told[0] == told[1]


def test_nothing_is_told_before_the_next_command(shared: Quiet, window: Open) -> None:
    first, other = window(), window()
    other.do("CREATE INBOX.told")
    append(other, "INBOX.told")
    first.do("SELECT INBOX.told")
    shared.wait_asleep()
    append(other, "INBOX.told")
    other.do("SELECT INBOX.told")
    other.do("STORE 1 +FLAGS (\\Deleted)")
    shared.wait_asleep()
    os.kill(shared.keeper(), signal.SIGKILL)           # and its successor wakes all
    shared.server.wait_log("go on in another")
    first.number += 1
    first.send(f"t{first.number} STORE 1 +FLAGS (\\Seen)")
    assert first.line() == "* 1 FETCH (FLAGS (\\Seen \\Deleted \\Recent))"
    assert first.until("t")[:-1] == ["* 2 EXISTS", "* 1 RECENT"]


def test_recent_is_one_sessions_only(shared: Quiet, window: Open) -> None:
    windows = [window() for _ in range(3)]
    windows[0].do("CREATE INBOX.recent")
    for each in windows:
        each.do("SELECT INBOX.recent")
    shared.wait_asleep()
    deliver(shared.maildir / ".recent", "1800000000.M1P1.host")
    told = []
    for each in windows:
        each.do("STATUS INBOX.recent (MESSAGES)")      # looks, and tells
        told += each.do("FETCH 1 (FLAGS)")
        shared.wait_asleep()
    assert sorted(told) == ["* 1 FETCH (FLAGS ())"] * 2 + ["* 1 FETCH (FLAGS (\\Recent))"]


def test_what_is_expunged_meanwhile(shared: Quiet, window: Open) -> None:
    """It keeps its number until that is told; its octets are gone, as nobody was there to keep them."""
    first, other = window(), window()
    other.do("CREATE INBOX.gone")
    for number in range(3):
        append(other, "INBOX.gone", f"plan {number}")
    first.do("SELECT INBOX.gone")
    other.do("SELECT INBOX.gone")
    shared.wait_asleep()
    other.do("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
    other.do("EXPUNGE")
    append(other, "INBOX.gone", "new")
    shared.wait_asleep()
    assert first.do("FETCH 3 (BODY.PEEK[HEADER.FIELDS (Subject)])")[0:2] == [
        '* 3 FETCH (BODY[HEADER.FIELDS ("Subject")] {19}', "Subject: plan 2"]
    first.send("x FETCH 1 (BODY.PEEK[])")
    assert first.until("x ")[-1].startswith("x NO [EXPUNGEISSUED] ")
    shared.wait_asleep(1)                              # what is gone and was not told keeps awake
    assert first.do("NOOP")[:2] == ["* 1 EXPUNGE", "* 1 EXPUNGE"]
    shared.wait_asleep()
    assert first.do("FETCH 1:* (UID)") == ["* 1 FETCH (UID 3)", "* 2 FETCH (UID 4)"]


def asleep_in(shared: Quiet, window: Open, mailbox: str) -> tuple[Window, Window]:
    """Two who sleep in a new mailbox of one message; the other one made it."""
    first, other = window(), window()
    other.do(f"CREATE {mailbox}")
    append(other, mailbox)
    for each in (first, other):
        each.do(f"SELECT {mailbox}")
    shared.wait_asleep()
    return first, other


def test_a_keyword_is_in_the_list_of_flags_before_it_is_told(shared: Quiet, window: Open) -> None:
    first, other = asleep_in(shared, window, "INBOX.word")
    other.do("STORE 1 +FLAGS (word)")
    told = first.do("FETCH 1 (BODY[TEXT])")
    assert [line for line in told if "word" in line and "words" not in line] == [
        "* FLAGS (word \\Draft \\Answered \\Flagged \\Deleted \\Seen \\Recent)",
        "* OK [PERMANENTFLAGS (word \\* \\Draft \\Answered \\Flagged \\Deleted \\Seen)] Limited",
        "* 1 FETCH (FLAGS (\\Seen \\Recent word))"]


def test_what_the_first_look_found_is_not_told_later(shared: Quiet, window: Open) -> None:
    """Neither where the same words of the client set a flag since, nor where another did."""
    first, other = asleep_in(shared, window, "INBOX.later")
    first.send("x FETCH 1 (BODY[TEXT])\r\ny FETCH 1 (FLAGS)")
    first.until("x ")
    assert first.until("y ")[:-1] == ["* 1 FETCH (FLAGS (\\Seen \\Recent))"]
    shared.wait_asleep()
    first.send("x FETCH 1 (NONE)")
    assert first.until("x ")[-1].startswith("x BAD ")
    other.do("STORE 1 +FLAGS (\\Flagged)")
    assert first.do("FETCH 1 (FLAGS)")[-1] == "* 1 FETCH (FLAGS (\\Flagged \\Seen \\Recent))"


# -- the mailbox is not what it was

def renewed(other: Window, box: str, how: str) -> None:
    """It is renamed or deleted, or another one, whose messages have the same UIDs, is in its place."""
    other.do(f"RENAME {box} {box}x" if how == "renamed" else f"DELETE {box}")
    if how == "replaced":
        other.do(f"CREATE {box}")
        for number in range(2):
            append(other, box, f"other {number}")


@pytest.mark.parametrize("command", ["NOOP", "FETCH 1 (BODY.PEEK[])", "STORE 1 +FLAGS (\\Deleted)", "IDLE",
                                     "UID SEARCH ALL", "CLOSE", "EXPUNGE", "MOVE 1 INBOX",
                                     "APPEND INBOX {19}"])
@pytest.mark.parametrize("how", ["deleted", "renamed", "replaced"])
def test_another_mailbox_is_never_taken_for_it(shared: Quiet, window: Open, how: str, command: str) -> None:
    first, other = window(), window()
    box = f"INBOX.{how}{command.split()[0]}"
    other.do(f"CREATE {box}")
    for number in range(2):
        append(other, box, f"plan {number}")
    first.do(f"SELECT {box}")
    first.do("STORE 1 +FLAGS (\\Deleted)")
    shared.wait_asleep()
    renewed(other, box, how)
    shared.wait_asleep()
    first.send(f"x {command}")
    said = [first.line()]
    while not re.match(r"\* BYE |x ", said[-1]):
        assert said[-1].startswith("+ "), said
        said.append(first.line())
    if command != "CLOSE" or how == "replaced":        # who leaves it anyway need not come back
        assert said[-1].startswith("* BYE "), said
    if how == "replaced":
        other.do(f"SELECT {box}")
        flags = other.do("FETCH 1:* (UID FLAGS)")
        assert [re.sub(r" \\Recent|\\Recent", "", line) for line in flags] == [
            f"* {uid} FETCH (UID {uid} FLAGS ())" for uid in (1, 2)]


@pytest.mark.parametrize("how", ["deleted", "renamed", "replaced"])
@pytest.mark.parametrize("command", ["SELECT INBOX", "UNSELECT", "LOGOUT"])
def test_who_leaves_the_mailbox_needs_no_look(shared: Quiet, window: Open, how: str, command: str) -> None:
    first, other = window(), window()
    box = f"INBOX.{how}{command.split()[0]}"
    other.do(f"CREATE {box}")
    first.do(f"SELECT {box}")
    shared.wait_asleep()
    renewed(other, box, how)
    first.send(f"x {command}")
    assert first.until("x ")[-1].startswith("x OK ")


def test_a_mailbox_that_cannot_be_read_keeps_from_nothing_else(shared: Quiet, window: Open) -> None:
    first, other = window(), window()
    other.do("CREATE INBOX.closed")
    append(other, "INBOX.closed")
    first.do("SELECT INBOX.closed")
    shared.wait_asleep()
    append(other, "INBOX.closed")
    cur = shared.maildir / ".closed/cur"
    cur.chmod(0)
    try:
        shared.wait_asleep()
        for command in ("NOOP", "ID NIL", "STATUS INBOX (MESSAGES)"):
            first.do(command)
        first.send("x FETCH 1 (UID)")
        assert first.until("x ")[-1].startswith("x NO [NOPERM] ")
        assert first.idle()[0].startswith("+ ")
        first.done()
    finally:
        cur.chmod(0o700)
    assert first.do("NOOP") == ["* 2 EXISTS", "* 2 RECENT"]


# -- what the client says

@pytest.mark.parametrize("pieces", [
    [b"a NOOP\r\nb FETCH 1 (UID)\r\n"], [bytes((octet,)) for octet in b"a NOOP\r\nb FETCH 1 (UID)\r\n"],
    [b"a NO", b"OP\r\nb FET", b"CH 1 (UID)\r\n"], [b"a noop\nb fetch 1 (uid)\n"]])
def test_input_wakes(shared: Quiet, pieces: list[bytes]) -> None:
    with shared.server.session(b"SELECT INBOX") as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(3):
            shared.wait_asleep()
            for piece in pieces:
                client.sendall(piece)
                time.sleep(0.01)
            assert until(client, b"b OK FETCH completed.\r\n") == (
                b"a OK NOOP completed\r\n* 1 FETCH (UID 1)\r\nb OK FETCH completed.\r\n")
    shared.wait_asleep()


def test_half_a_command_keeps_awake(shared: Quiet) -> None:
    """A line, a literal that is waited for, and one that is on its way."""
    with shared.server.session(b"SELECT INBOX") as client:
        shared.wait_asleep()
        for piece, answer in ((b"x NO", b""), (b"OP\r\n", b"x OK NOOP completed\r\n"),
                              (b"y APPEND INBOX.half {30}\r\n", b"y NO [TRYCREATE] "),
                              (b"z APPEND INBOX {19}\r\n", b"+ "), (b"Subject: half\r\n", b""),
                              (b"\r\nx\r", b""), (b"\n\r\n", b"z OK ")):
            client.sendall(piece)
            if answer:
                assert answer in until(client, answer)
            if answer[:1] in (b"", b"+"):
                time.sleep(0.3)
                assert len(shared.awake()) == 1
        shared.wait_asleep()


def test_who_idled_before_and_does_again(shared: Quiet, window: Open) -> None:
    first, other = window(), window()
    other.do("CREATE INBOX.idled")
    first.do("SELECT INBOX.idled")
    for turn in range(2):
        shared.wait_asleep()
        assert first.idle()[0].startswith("+ ")
        shared.wait_asleep()           # after a second of IDLE
        append(other, "INBOX.idled")
        assert first.until(f"* {turn + 1} FETCH")[0] == f"* {turn + 1} EXISTS"
        first.done()
        shared.wait_asleep()
        assert first.do("NOOP") == []


def test_who_compresses(shared: Quiet) -> None:
    with shared.server.greeted() as sock:
        client = Client(sock, 0, shared.server.log)
        client.say(b"LOGIN demo demo")
        client.compress()
        for _ in range(3):
            shared.wait_asleep()
            assert b"EXISTS" in client.say(b"SELECT INBOX")
            shared.wait_asleep()
            assert client.say(b"NOOP") == b"t OK NOOP completed\r\n"
    shared.wait_asleep()


def test_a_process_that_waits_goes_on(shared: Quiet) -> None:
    """Who sleeps leaves it to whoever wakes next, mostly the same one."""
    with shared.server.session(b"SELECT INBOX") as client:
        for turn in range(6):
            shared.wait_asleep()
            client.sendall(b"a%d NOOP\r\n" % turn)
            until(client, b"completed\r\n")
        shared.wait_asleep()
        port = client.getsockname()[1]
        served = re.findall(rf"imapd\[(\d+)\]: NOTICE: sleeps, .*port=\[{port}\]",
                            shared.server.log.read_text())
        assert len(served) == 7
        assert len({*served}) <= 4
    shared.wait_asleep()


# -- how it ends

def test_who_stays_silent_is_let_go() -> None:
    """RFC 9051 5.4: counted from the last command, whoever sleeps."""
    with chain(before=LIMITED.format(pause=0.02)) as server:
        quiet = Quiet(server)
        window = over_tcp(server.port)
        quiet.wait_asleep()
        time.sleep(1.5)
        last = time.monotonic()
        window.do("NOOP")
        assert window.line() == "* BYE Disconnected for inactivity."
        assert time.monotonic() - last > 5.9
        with pytest.raises(AssertionError, match="closed the connection"):
            window.line()
        server.wait_log("TIMEOUT, user=demo")
        assert quiet.slept() >= 2


def test_the_end_is_told_and_counted(run_directory: Path) -> None:
    with hibernating(IMAP_HIBERNATE_QUIET="1", RUNDIRECTORY=str(run_directory)) as running:
        windows = [over_tcp(running.server.port) for _ in range(2)]
        windows[0].do("SELECT INBOX")
        running.wait_asleep()
        found = sorted((session.state, session.mailbox) for session in presence.sessions(str(run_directory)))
        assert found == [(presence.ASLEEP, ""), (presence.ASLEEP, "INBOX")]
        running.server.home.chmod(0)   # who cannot go on
        try:
            windows[1].send("x NOOP")
            assert windows[1].line() == "* BYE [NONEXISTENT] The selected mailbox was deleted."
        finally:
            running.server.home.chmod(0o755)
        running.server.process.send_signal(signal.SIGTERM)
        assert windows[0].line() == "* BYE Courier-IMAP server shut down by signal."
        assert running.server.process.wait(20) == 0


def test_the_listener_and_the_keeper_anew() -> None:
    with chain(before=hasty()) as server:
        quiet = Quiet(server)
        windows = [over_tcp(server.port) for _ in range(3)]
        for turn in range(2):
            for each in windows:
                each.do("SELECT INBOX")
            quiet.wait_asleep()
            server.hup(turn + 1)
            for each in windows[1:]:
                assert each.do("FETCH 1 (UID)") == ["* 1 FETCH (UID 1)"]
            quiet.wait_asleep()
            os.kill(quiet.keeper(), signal.SIGKILL)
            server.wait_log("3 go on in another", turn + 1)
            for each in windows:
                assert each.do("FETCH 1 (UID)") == ["* 1 FETCH (UID 1)"]
        for each in windows:
            each.close()


# -- who does not sleep

def test_by_setting_and_without_a_listener(tmp_path: Path, maildir: Path) -> None:
    with hibernating(IMAP_HIBERNATE_QUIET="0") as never, \
            hibernating(IMAP_HIBERNATE="0", IMAP_HIBERNATE_QUIET="1") as none:
        windows = [over_tcp(never.server.port), over_tcp(none.server.port),
                   over_pipe(maildir, IMAP_HIBERNATE_QUIET="1", IMAP_HIBERNATE="1")]
        time.sleep(2)
        assert len(never.awake()) == len(none.awake()) == 1
        for each in windows:
            each.do("NOOP")
            each.close()


def test_who_has_no_memory_for_a_record_stays_awake() -> None:
    """As with IMAP_ULIMITD, in a large mailbox: to be silent ends no session, nor its IDLE."""
    short = """
def pack(known):
    from courierpy.system import log
    log.notice("is short")
    raise MemoryError
sleeper.pack = pack
"""
    with chain(before=hasty() + short, IMAP_HIBERNATE="1") as server:
        window = over_tcp(server.port)
        window.do("SELECT INBOX")
        server.wait_log("is short")
        assert window.do("FETCH 1 (UID)") == ["* 1 FETCH (UID 1)"]
        assert window.idle()[0].startswith("+ ")
        server.wait_log("is short", server.log.read_text().count("is short") + 1)
        assert window.done() == []
        window.close()


# -- at random

class Dozing(strict.Client):
    """A client that says nothing for a moment before most commands; nobody kills its process."""

    def say(self, line: str) -> None:
        if not line.startswith("DONE"):
            time.sleep(self.rnd.choice([0, 0.002, 0.01, 0.02, 0.04, 0.08, 0.08]))
        super().say(line)

    def _kill(self) -> None:
        self.start_again()


@pytest.mark.parametrize("seed", range(2))
def test_at_random(seed: int) -> None:
    """Sleeps come between any two commands, and meet wakes."""
    with chain(before=hasty(0.005)) as server:
        quiet, rnd = Quiet(server), random.Random(seed)
        world = strict.World(quiet.maildir, lambda: over_tcp(server.port), False)
        made = []
        try:
            made += [Dozing(number, world, random.Random(rnd.random())) for number in range(5)]
            for box in strict.BOXES[1:]:
                made[0].do(f"CREATE {box}")
            for client in made:
                client.select(rnd.choice(strict.BOXES))

            def run(client: Dozing) -> None:
                for _ in range(30):
                    client.step()
            with ThreadPoolExecutor(len(made)) as threads:
                for done in [threads.submit(run, client) for client in made]:
                    done.result()
            for client in made:
                if client.box in strict.TREES:         # which another may have deleted
                    client.start_again()
                client.do("NOOP")
                told = dict(client.flags)
                client.learn()
                assert told.items() <= client.flags.items(), (client.box, told, client.flags)
        except BaseException:
            print(f"seed {seed}\n" + "\n".join(world.talk[-4000:]) + "\n" + server.log.read_text()[-20000:])
            raise
        finally:
            for client in made:
                client.window.close()
        assert quiet.slept() > 5
        quiet.wait_asleep()
        eventually(lambda: not any(map(holds_a_sleeper, server.children())))
        wait_until(lambda: not [name for name in os.listdir(quiet.maildir / "tmp") if "_reader" in name])
        server.process.terminate()     # processes that wait keep a file for the next session
        wait_until(lambda: not [name for name in os.listdir(quiet.maildir / "tmp") if "_kept" in name])
        on_disk(quiet.maildir, exact=False)
        assert "CRIT" not in server.log.read_text()


def test_behind_tls() -> None:
    """The login process has TLS, and the session is plain: it sleeps as others do."""
    import ssl
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with hibernating(IMAP_HIBERNATE_QUIET="1") as running:
        listener = children(running.server.process.pid)[1]
        with socket.create_connection(("127.0.0.1", running.server.tls_port), DEADLINE) as plain, \
                context.wrap_socket(plain) as client:
            until(client, b"\r\n")
            client.sendall(b"a LOGIN demo demo\r\nb SELECT INBOX\r\n")
            until(client, b"b OK")
            for turn in range(2):
                eventually(lambda: any(map(holds_a_sleeper, children(listener))))
                client.sendall(b"c%d FETCH 1 (UID)\r\n" % turn)
                assert b"* 1 FETCH (UID 1)\r\n" in until(client, b"c%d OK" % turn)
