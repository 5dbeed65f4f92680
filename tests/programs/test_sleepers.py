"""Who asked for more than IDLE sleeps too: NOTIFY, searches kept up to date, COMPRESS, who only reads."""
from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.programs.hibernating import DEADLINE, Running, hibernating
from tests.programs.test_compress import Client
from tests.programs.test_renewal import wait_log
from tests.realtime.windows import Window, deliver, over_pipe, over_tcp

pytestmark = pytest.mark.server
Open = Callable[[], Window]
PARTIAL_FLUSH = 1              # zlib.h; the module does not name it


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with hibernating(MAXPERIP="80", MAXDAEMONS="80") as running:
        yield running


@pytest.fixture
def running(shared: Running) -> Iterator[Running]:
    """The server of all tests here; each has mailboxes of its own, and leaves nobody behind."""
    yield shared
    shared.wait_asleep()


@pytest.fixture
def window(running: Running) -> Iterator[Open]:
    """Opens sessions, which are closed at the end."""
    made: list[Window] = []

    def opened() -> Window:
        made.append(over_tcp(running.server.port))
        return made[-1]
    yield opened
    for each in made:
        each.close()


def append(other: Window, name: str, subject: str = "plan", flags: str = "") -> None:
    text = f"Subject: {subject}\r\n\r\nx\r\n"
    other.do(f"APPEND {name} ({flags}) {{{len(text)}+}}\r\n{text}")


# -- NOTIFY

@pytest.mark.parametrize("idle", [True, False])
def test_notify(running: Running, window: Open, idle: bool) -> None:
    """In IDLE and between two commands; each time by another process."""
    client, other = window(), window()
    top = f"INBOX.notify{idle:d}"
    for name in (top, f"{top}.a", f"{top}.b"):
        other.do(f"CREATE {name}")
        append(other, name)
    client.do(f"SELECT {top}")
    client.do("NOTIFY SET STATUS (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange)) "
              f"(subtree {top} (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))")
    if idle:
        client.idle()

    def heard(act: Callable[[], object], *lines: str) -> None:
        running.wait_asleep(1)
        act()
        for line in lines:
            assert client.line().startswith(line)

    heard(lambda: append(other, f"{top}.a"), f'* STATUS "{top}.a" (MESSAGES 2 UIDNEXT 3 UNSEEN 2)')
    heard(lambda: append(other, top), "* 2 EXISTS", "* 2 RECENT", "* 2 FETCH (UID 2 FLAGS (\\Recent))")
    if idle:
        _hears_all(heard, other, top)
        running.wait_asleep(1)
        client.done()
    running.wait_asleep(1)
    assert client.do("FETCH 2 (UID)")[-1] == "* 2 FETCH (UID 2)"
    client.do("NOTIFY NONE")
    running.wait_asleep(1)
    append(other, f"{top}.a")
    assert client.do("NOOP") == []


def _hears_all(heard: Callable[..., None], other: Window, top: str) -> None:
    other.do(f"SELECT {top}.b")
    heard(lambda: other.do("STORE 1 +FLAGS (\\Seen)"), f'* STATUS "{top}.b" (UNSEEN 0)')
    heard(lambda: other.do(f"CREATE {top}.c"), f'* LIST (\\HasChildren) "." "{top}"',
          f'* LIST (\\HasNoChildren) "." "{top}.c"')
    # which is watched too now, and under another name
    heard(lambda: append(other, f"{top}.c"), f'* STATUS "{top}.c" (MESSAGES 1 UIDNEXT 2')
    heard(lambda: other.do(f"RENAME {top}.c {top}.d"),
          f'* LIST (\\HasNoChildren) "." "{top}.d" ("OLDNAME" ("{top}.c"))')
    heard(lambda: append(other, f"{top}.d"), f'* STATUS "{top}.d" (MESSAGES 2 UIDNEXT 3')
    other.do(f"SELECT {top}")
    heard(lambda: other.do("STORE 1 +FLAGS.SILENT (\\Deleted)"),
          "* 1 FETCH (UID 1 FLAGS (\\Deleted \\Recent))")
    heard(lambda: other.do("STORE 1 -FLAGS.SILENT (\\Deleted)"), "* 1 FETCH (UID 1 FLAGS (\\Recent))")


def test_notify_goes_on_in_another_keeper(running: Running, window: Open) -> None:
    """The instance that heard dies with the first one: all is looked at, and heard from then on."""
    client, other = window(), window()
    other.do("CREATE INBOX.killed")
    client.do("NOTIFY SET STATUS (mailboxes INBOX.killed (MessageNew MessageExpunge))")
    running.wait_asleep(1)
    old = running.keeper()
    os.kill(old, signal.SIGSTOP)
    append(other, "INBOX.killed")
    os.kill(old, signal.SIGKILL)
    assert client.line() == '* STATUS "INBOX.killed" (MESSAGES 1 UIDNEXT 2)'
    wait_log(running.server.log, "CRIT: the keeper of idle connections ended")
    for uid in (2, 3):
        running.wait_asleep(1)
        append(other, "INBOX.killed")
        assert client.line() == f'* STATUS "INBOX.killed" (MESSAGES {uid} UIDNEXT {uid + 1})'
    assert client.do("NOOP") == []


# -- searches that are kept up to date

def test_results_are_kept_up_to_date(running: Running, window: Open) -> None:
    client, other = window(), window()
    other.do("CREATE INBOX.context")
    for subject in ("plan b", "other", "plan a"):
        append(other, "INBOX.context", subject)
    other.do("SELECT INBOX.context")
    client.do("SELECT INBOX.context")
    assert client.do("UID SORT RETURN (UPDATE (UID) ALL) (SUBJECT) UTF-8 SUBJECT plan")[-1] \
        == '* ESEARCH (TAG "t3") UID ALL 3,1'
    assert client.do("SEARCH RETURN (UPDATE COUNT) FLAGGED")[-1] == '* ESEARCH (TAG "t4") COUNT 0'
    client.idle()
    running.wait_asleep(1)
    append(other, "INBOX.context", "plan aa")
    assert client.until("* ESEARCH")[-2:] == ["* 4 FETCH (UID 4)", '* ESEARCH (TAG "t3") UID ADDTO (2 4)']
    running.wait_asleep(1)
    other.do("NOOP")
    other.do("STORE 4 +FLAGS (\\Flagged)")        # of two, one may be told before the other is changed
    assert client.until("* ESEARCH")[-1] == '* ESEARCH (TAG "t4") ADDTO (0 4)'
    running.wait_asleep(1)
    other.do("STORE 3 +FLAGS.SILENT (\\Deleted)")
    client.until("* 3 FETCH")
    running.wait_asleep(1)
    other.do("EXPUNGE")
    assert client.until("* 3 EXPUNGE") == ['* ESEARCH (TAG "t3") UID REMOVEFROM (1 3)', "* 3 EXPUNGE"]
    running.wait_asleep(1)
    client.done()
    client.do('CANCELUPDATE "t3" "t4"')


# -- COMPRESS

@contextmanager
def compressed(running: Running, mailbox: str) -> Iterator[Client]:
    """A client that compresses, and idles in a mailbox."""
    with socket.create_connection(("127.0.0.1", running.server.port), DEADLINE) as sock:
        sock.settimeout(DEADLINE)
        client = Client(sock, 0, running.server.log)
        client.until(b"\r\n")
        client.say(b"LOGIN demo demo")
        client.compress()
        assert b"t OK" in client.say(b"SELECT " + mailbox.encode())
        client.send(b"t IDLE\r\n")
        client.until(b"idle mode\r\n")
        yield client


def test_compress(running: Running, window: Open) -> None:
    """What the client says goes on to refer to what it said to other processes; so does what it is told."""
    other = window()
    other.do("CREATE INBOX.deflate")
    with compressed(running, "INBOX.deflate") as client:
        text = "Subject: again and again\r\n\r\n" + "again " * 3000 + "\r\n"
        for turn in range(1, 3):
            running.wait_asleep(1)
            append(other, "INBOX.deflate")
            assert client.until(b"EXISTS\r\n") == b"* %d EXISTS\r\n" % (2 * turn - 1)
            client.until(b" FETCH (FLAGS (\\Recent))\r\n")
            running.wait_asleep(1)
            client.send(b"DONE\r\n")
            assert client.answer() == b"t OK IDLE completed\r\n"
            assert b"t OK " in client.say(b"APPEND INBOX.deflate {%d+}\r\n%s" % (len(text), text.encode()))
            assert b"t NO [COMPRESSIONACTIVE]" in client.say(b"COMPRESS DEFLATE")
            assert b"COMPRESS" not in client.say(b"CAPABILITY")
            client.send(b"t IDLE\r\n")
            client.until(b"idle mode\r\n")
        running.wait_asleep(1)
        client.send(b"DONE\r\n")
        assert client.answer() == b"t OK IDLE completed\r\n"
        assert b"{%d}\r\n%s" % (len(text), text.encode()) in client.say(b"FETCH 2 BODY[]")
        client.send(b"t LOGOUT\r\n")
        client.rest()
    assert "bug" not in running.server.log.read_text()


def test_half_a_line_of_who_compresses_keeps_awake(running: Running) -> None:
    with compressed(running, "INBOX") as client:
        running.wait_asleep()
        assert client.squeeze is not None
        client.sock.sendall(client.squeeze.compress(b"DONE\r\n") + client.squeeze.flush(PARTIAL_FLUSH))
        client.send(b"t NOOP\r\n")
        assert client.until(b"NOOP completed\r\n") == b"t OK IDLE completed\r\nt OK NOOP completed\r\n"
        client.send(b"t LOGOUT\r\n")
        client.rest()


# -- who only reads

def test_on_a_disk_that_takes_nothing(running: Running, window: Open) -> None:
    client, other = window(), window()
    other.do("CREATE INBOX.still")
    append(other, "INBOX.still", flags="\\Seen")
    other.do("SELECT INBOX.still")
    other.do("UNSELECT")
    place = running.server.maildir / ".still"
    parts = [place, *(place / part for part in ("cur", "new", "tmp"))]
    for part in parts:
        part.chmod(0o555)
    try:
        assert "* 1 EXISTS" in client.do("SELECT INBOX.still")
        client.idle()
        running.wait_asleep(1)
        client.done()
        assert client.do("FETCH 1 (UID FLAGS)") == ["* 1 FETCH (UID 1 FLAGS (\\Seen))"]
    finally:
        for part in parts:
            part.chmod(0o777)


def test_imap_readonly() -> None:
    """Woken it may change as little as before."""
    with hibernating(IMAP_READONLY="1") as running:
        numbering = over_pipe(running.server.maildir, IMAP_MAILBOX_SANITY_CHECK="0")
        numbering.do("SELECT INBOX")
        numbering.close()
        client = over_tcp(running.server.port)
        client.do("SELECT INBOX")
        client.idle()
        running.wait_asleep()
        before = sorted(os.listdir(running.server.maildir))
        deliver(running.server.maildir, "1800000000.M1P1.host")    # has no number, and gets none
        client.done()
        client.send("x STORE 1 +FLAGS (\\Seen)")
        assert client.line().startswith("x NO ")
        client.do("NOOP")
        assert sorted(os.listdir(running.server.maildir)) == before
        client.close()
