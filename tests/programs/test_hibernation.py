"""Connections that idle have no process, and nobody can tell but by looking for one."""
from __future__ import annotations

import array
import errno
import os
import random
import re
import select
import signal
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from courierpy.hibernate import hearing, keeper, link, protocol, sleeper, watches
from courierpy.hibernate.keeper import Keeper
from courierpy.hibernate.record import MAGIC, PACKED, PLAIN, Damaged, Known, pack, unpack
from courierpy.imap.session import Session
from courierpy.listener.connections import Connection
from courierpy.maildir.store import Store
from courierpy.message import collation
from courierpy.model.messages import Messages
from courierpy.model.uidset import UidSet
from courierpy.system import presence
from courierpy.system.conn import Conn
from courierpy.system.inotify import IN_CREATE, IN_IGNORED, Inotify
from courierpy.system.settings import Settings
from tests.conftest import Server, account_ids, descriptors, serving, until
from tests.programs.chain import chain, children, eventually
from tests.programs.test_renewal import renew, wait_log
from tests.realtime.windows import Window, deliver, over_tcp

server_test = pytest.mark.server
DEADLINE = 30.0


class Running:
    """A listener whose sessions sleep after a second, and what is known of its processes."""

    def __init__(self, server: Server, stay: int) -> None:
        self.server = server
        self.listener = children(server.process.pid)[0]
        wait_until(lambda: len(children(self.listener)) == stay)
        for part in ("tmp", "new", "cur"):
            (server.maildir / part).chmod(0o777)

    def keeper(self) -> int:
        end = time.monotonic() + DEADLINE
        while True:
            for pid in children(self.listener):
                if is_keeper(pid):
                    return pid
            assert time.monotonic() < end, "there is no keeper"
            time.sleep(0.01)

    def awake(self) -> list[int]:
        """Processes that have a client: one that waits for the next has nothing at its descriptor 0."""
        return [pid for pid in children(self.listener) if _state(pid) not in "ZX" and _has_client(pid)]

    def wait_asleep(self, awake: int = 0) -> None:
        """Until no more than ``awake`` connections have a process."""
        wait_until(lambda: len(self.awake()) <= awake)

    def idler(self, folder: str = "INBOX", command: str = "SELECT") -> Window:
        window = over_tcp(self.server.port)
        if folder:
            window.do(f"{command} {folder}")
        assert window.idle()[0].startswith("+ ")
        return window

    def sleeper(self, folder: str = "INBOX", command: str = "SELECT", awake: int = 0) -> Window:
        window = self.idler(folder, command)
        self.wait_asleep(awake)
        return window

    def readers(self) -> list[str]:
        return [name for name in os.listdir(self.server.maildir / "tmp") if "_reader" in name]


def is_keeper(pid: int) -> bool:
    """It waits for many by one instance of epoll, as login processes do, and for folders."""
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        return all(any(kind in link for link in links) for kind in ("eventpoll", "inotify"))
    except OSError:
        return False                   # it ends


def holds_a_sleeper(pid: int) -> bool:
    try:
        return is_keeper(pid) and any("memfd:asleep" in os.readlink(f"/proc/{pid}/fd/{fd}")
                                      for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def _has_client(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/fd/0") != os.devnull
    except OSError:
        return False                   # it ends


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def wait_until(true: object) -> None:
    end = time.monotonic() + DEADLINE
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


@contextmanager
def hibernating(mode: str = "doorway", **values: str) -> Iterator[Running]:
    """Behind login processes a sleep leaves a process that waits for the next session, or to wake one."""
    with serving(mode, **{"IMAP_HIBERNATE": "1", "MAXPERIP": "40", **values}) as server:
        # two password helpers, or two login processes with one and two processes ahead; the keeper
        yield Running(server, (5 if mode == "doorway" else 2) + (values.get("IMAP_HIBERNATE") != "0"))


@pytest.fixture
def running() -> Iterator[Running]:
    with hibernating() as found:
        yield found


# -- what is told

def conversation(running: Running, sleeps: bool) -> list[list[str]]:
    """What a client hears of everything that may happen in its IDLE, and how it goes on."""
    server, said = running.server, []
    first = over_tcp(server.port)
    other = over_tcp(server.port)
    first.do("ENABLE UTF8=ACCEPT")
    first.do("SELECT INBOX")
    first.do("STORE 2 +FLAGS (one)")
    other.do("SELECT INBOX")

    def step(*ends: str) -> None:
        said.append([line for end in ends for line in first.until(end)])
        if sleeps:
            running.wait_asleep(1)     # and is told the next thing by another process

    said.append(first.idle())
    if sleeps:
        running.wait_asleep(1)
    deliver(server.maildir, "1800000000.M1P1.host")
    step("* 5 FETCH")
    other.do("STORE 1 +FLAGS (\\Flagged)")
    step("* 1 FETCH")
    other.do("STORE 3 +FLAGS (two)")
    step("* OK [PERMANENTFLAGS", "* 3 FETCH")
    other.do("STORE 2 +FLAGS.SILENT (\\Deleted)")
    step("* 2 FETCH")
    other.do("EXPUNGE")
    step("* 4 EXISTS", "* 4 RECENT", "* OK [PERMANENTFLAGS")
    for number in range(3):
        deliver(server.maildir, f"180000001{number}.M1P1.host")
    step("* 7 FETCH")
    said[-1] = said[-1][-1:]           # in one look or in three
    said.append(first.done())
    for command in ("FETCH 1:* (UID FLAGS)", "UID SEARCH ALL", "STORE 1 +FLAGS (\\Seen)", "SEARCH RECENT",
                    "NOOP", "FETCH 2 (BODY.PEEK[HEADER.FIELDS (Subject)])", "UID STORE 8 +FLAGS (\\Deleted)",
                    "EXPUNGE",
                    'STATUS "INBOX" (MESSAGES RECENT)', "SELECT INBOX"):
        said.append(first.do(command))
    said[-1] = [line for line in said[-1] if not re.search("UIDVALIDITY|MAILBOXID|MODSEQ", line)]
    assert first.do("ENABLE UTF8=ACCEPT") in (["* ENABLED UTF8=ACCEPT"], ["* ENABLED"])
    for window in (first, other):
        window.close()
    return said


@server_test
@pytest.mark.parametrize("mode", ["doorway", "fork"])
def test_a_client_hears_the_same_asleep_and_awake(mode: str) -> None:
    with hibernating(mode) as running:
        asleep = conversation(running, True)
    with hibernating(mode, IMAP_HIBERNATE="0") as running:
        assert conversation(running, False) == asleep
    assert asleep[1] == ["* 5 EXISTS", "* 5 RECENT", "* 5 FETCH (FLAGS (\\Recent))"]
    assert asleep[5][:2] == ["* 2 EXPUNGE", "* 4 EXISTS"]


@server_test
def test_who_asked_for_numbers_has_them_asleep_too(running: Running) -> None:
    """QRESYNC: what happens meanwhile is told with its number, and is not told again by a resync."""
    server = running.server
    first, other = over_tcp(server.port), over_tcp(server.port)
    first.do("ENABLE QRESYNC")
    told = first.do("SELECT INBOX")
    validity = next(line for line in told if "UIDVALIDITY" in line).split()[3].rstrip("]")
    before = next(line for line in told if "HIGHESTMODSEQ" in line).split()[3].rstrip("]")
    other.do("SELECT INBOX")
    first.idle()
    running.wait_asleep(1)
    other.do("STORE 1 +FLAGS (\\Flagged)")             # by one that gives no numbers
    changed = first.until("* 1 FETCH")[-1]
    number = re.fullmatch(r"\* 1 FETCH \(UID 1 FLAGS \(.*\) MODSEQ \((\d+)\)\)", changed)
    assert number is not None and int(number[1]) > int(before)
    running.wait_asleep(1)
    other.do("STORE 2 +FLAGS.SILENT (\\Deleted)")
    first.until("* 2 FETCH")
    running.wait_asleep(1)
    other.do("EXPUNGE")
    gone = first.until("* OK [HIGHESTMODSEQ ")
    assert gone[0] == "* VANISHED 2" and not any("EXISTS" in line for line in gone)
    after = gone[-1].split()[3].rstrip("]")
    running.wait_asleep(1)
    assert first.done() == []
    assert first.do(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {after} VANISHED)") == []
    again = first.do(f"SELECT INBOX (QRESYNC ({validity} {before}))")
    assert "* VANISHED (EARLIER) 2" in again
    assert any(f"(UID 1 FLAGS (\\Flagged) MODSEQ ({number[1]}))" in line for line in again)
    for window in (first, other):
        window.close()


@server_test
def test_who_is_woken_is_spoken_to_as_before() -> None:
    """IMAP4rev2 and UIDONLY: no sequence number and nothing of what is recent, asleep as awake."""
    with hibernating(IMAP_CAPABILITY="+UIDONLY") as running:
        server = running.server
        first, other = over_tcp(server.port), over_tcp(server.port)
        first.do("ENABLE IMAP4rev2 UIDONLY")
        first.do("SELECT INBOX")
        other.do("SELECT INBOX")
        first.idle()
        running.wait_asleep(1)
        deliver(server.maildir, "1800000000.M1P1.host")
        assert first.until("* 5 UIDFETCH") == ["* 5 EXISTS", "* 5 UIDFETCH (FLAGS ())"]
        running.wait_asleep(1)
        other.do("STORE 2 +FLAGS (\\Deleted)")
        assert first.until("* 2 UIDFETCH") == ["* 2 UIDFETCH (FLAGS (\\Deleted))"]
        running.wait_asleep(1)
        other.do("EXPUNGE")
        assert first.until("* VANISHED") == ["* VANISHED 2"]
        assert first.done() == []
        assert first.do("UID SEARCH ALL")[0].endswith(" UID ALL 1,3:5")
        first.send("x FETCH 1 FLAGS")
        assert first.line().startswith("x BAD [UIDREQUIRED] ")
        for window in (first, other):
            window.close()


@server_test
def test_what_others_annotate_is_told_to_who_slept(running: Running) -> None:
    first, other = over_tcp(running.server.port), over_tcp(running.server.port)
    first.do("ENABLE METADATA")
    first.do('SETMETADATA INBOX (/shared/comment "own")')
    first.idle()
    running.wait_asleep(1)
    other.do('SETMETADATA INBOX (/private/comment "x")')
    assert first.done() == ['* METADATA "INBOX" /private/comment']
    assert first.do("NOOP")[:-1] == []
    for window in (first, other):
        window.close()


@server_test
def test_recent_is_one_sessions_only(running: Running) -> None:
    windows = [running.idler() for _ in range(4)]
    running.wait_asleep()
    deliver(running.server.maildir, "1800000000.M1P1.host")
    flags = [window.until("* 5 FETCH")[-1] for window in windows]
    assert sorted(flags) == ["* 5 FETCH (FLAGS ())"] * 3 + ["* 5 FETCH (FLAGS (\\Recent))"]
    running.wait_asleep()
    for window in windows:
        window.done()


@server_test
def test_a_read_only_view_stays_so(running: Running) -> None:
    window = running.sleeper(command="EXAMINE")
    deliver(running.server.maildir, "1800000000.M1P1.host")
    assert window.until("* 5 FETCH")[-1] == "* 5 FETCH (FLAGS (\\Recent))"
    running.wait_asleep()
    window.done()
    window.send("x STORE 1 +FLAGS (\\Seen)")
    assert window.line().startswith("x NO ")
    window.do("UNSELECT")
    assert "* 5 RECENT" in over_tcp(running.server.port).do("SELECT INBOX")    # left to the next


@server_test
def test_without_a_mailbox(running: Running) -> None:
    window = running.sleeper(folder="")
    assert window.done() == []
    assert "* 4 EXISTS" in window.do("SELECT INBOX")


@server_test
def test_a_folder_that_is_deleted_meanwhile(running: Running) -> None:
    other = over_tcp(running.server.port)
    other.do("CREATE INBOX.Work")
    window = running.sleeper("INBOX.Work", awake=1)
    other.do("DELETE INBOX.Work")
    assert window.line() == "* BYE [NONEXISTENT] The selected mailbox was deleted."
    with pytest.raises(AssertionError, match="closed the connection"):
        window.line()


@server_test
def test_who_sleeps_reads_no_expunged_message(running: Running) -> None:
    """Its mark as a reader goes with its process, and comes again."""
    window = running.sleeper()
    wait_until(lambda: not running.readers())      # when its process is done with it
    other = over_tcp(running.server.port)
    other.do("SELECT INBOX")
    other.do("STORE 1 +FLAGS (\\Deleted)")
    window.until("* 1 FETCH")
    running.wait_asleep(1)
    other.do("EXPUNGE")
    assert window.until("* 3 EXISTS") == ["* 1 EXPUNGE", "* 3 EXISTS"]
    window.until("* 3 RECENT")
    other.close()
    window.done()
    wait_until(lambda: len(running.readers()) == 1)
    assert not [name for name in os.listdir(running.server.maildir / "tmp") if "_expunged" in name]


# -- what the client says

@server_test
@pytest.mark.parametrize("pieces", [
    [b"DONE\r\na NOOP\r\nb FETCH 4 (UID)\r\n"],
    [bytes((octet,)) for octet in b"DONE\r\na NOOP\r\nb FETCH 4 (UID)\r\n"],
    [b"D", b"ONE\r\na NO", b"OP\r\nb FETCH 4 (UI", b"D)\r\n"], [b"done\na NOOP\nb FETCH 4 (UID)\n"]])
def test_input_wakes(running: Running, pieces: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", running.server.port), DEADLINE) as client:
        client.settimeout(DEADLINE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(b"x LOGIN demo demo\r\ny SELECT INBOX\r\nthe.tag IDLE\r\n")
        until(client, b"idle mode\r\n")
        running.wait_asleep()
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.02)
        assert until(client, b"b OK").startswith(b"the.tag OK IDLE completed\r\na OK NOOP completed\r\n"
                                                 b"* 4 FETCH (UID 4)\r\nb OK")
        client.sendall(b"c IDLE\r\n")
        until(client, b"idle mode\r\n")
        running.wait_asleep()
        client.sendall(b"d NOOP\r\ne NOOP\r\n")
        assert until(client, b"e OK").startswith(b"c BAD ")


@server_test
def test_half_a_line_keeps_awake_and_is_not_lost(running: Running) -> None:
    window = running.idler()
    os.write(window.outfd, b"DO")
    time.sleep(2.5)
    assert len(running.awake()) == 1
    os.write(window.outfd, b"NE\r\n")
    assert window.until("t3 ") == ["t3 OK IDLE completed"]


@server_test
def test_the_log_has_the_totals_of_the_connection(running: Running) -> None:
    """One line for all its processes, with what the client counts itself."""
    window = running.sleeper()
    deliver(running.server.maildir, "1800000000.M1P1.host")
    window.until("* 5 FETCH")
    running.wait_asleep()
    window.close()
    said = wait_log(running.server.log, "DISCONNECTED, user=demo")
    numbers = re.search(r"DISCONNECTED, user=demo, ip=\[::ffff:127\.0\.0\.1\], port=\[\d+\], "
                        r"headers=0, body=0, rcvd=(\d+), sent=(\d+), time=(\d+)", said)
    assert numbers is not None, said
    assert int(numbers[1]) == len("t2 SELECT INBOX\r\nt3 IDLE\r\n")
    assert int(numbers[2]) > 300
    assert int(numbers[3]) >= 1
    assert said.count(": LOGIN, ") == said.count(": DISCONNECTED, ") == 1


@server_test
def test_the_octets_of_the_keepers_words_are_counted() -> None:
    with hibernating(IMAP_IDLE_KEEPALIVE="2") as running:
        with socket.create_connection(("127.0.0.1", running.server.port), DEADLINE) as client:
            client.settimeout(DEADLINE)
            until(client, b"\r\n")
            client.sendall(b"a LOGIN demo demo\r\nb IDLE\r\n")
            got = until(client, b"idle mode\r\n")
            for _ in range(2):
                running.wait_asleep()
                got += until(client, b"* OK Still here\r\n")
                assert running.awake() == []
            client.sendall(b"DONE\r\nc LOGOUT\r\n")
            got += until(client, b"never")
        assert f"sent={len(got)}," in wait_log(running.server.log, "LOGOUT, user=demo")


# -- limits

@server_test
@pytest.mark.parametrize("limits", [{"MAXPERIP": "2", "MAXDAEMONS": "10"},
                                      {"MAXPERIP": "10", "MAXDAEMONS": "2"}])
def test_who_sleeps_is_counted(limits: dict[str, str]) -> None:
    with hibernating(**limits) as running:
        windows = [running.sleeper(), running.sleeper()]
        assert running.awake() == []
        with socket.create_connection(("127.0.0.1", running.server.port), DEADLINE) as third:
            third.settimeout(DEADLINE)
            if limits["MAXPERIP"] == "2":
                assert third.recv(10) == b""
            else:
                third.settimeout(1)
                with pytest.raises(TimeoutError):          # it waits in the queue of the listening socket
                    third.recv(10)
                windows.pop().close()
                third.settimeout(DEADLINE)
                assert third.recv(4) == b"* OK"
        for window in windows:
            window.close()
        wait_log(running.server.log, "DISCONNECTED", 2)
        # their processes say that they wait for others once no client is there, and count until then
        wait_until(lambda: _greeting(running.server.port) == b"* OK")


def _greeting(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as sock:
        return sock.recv(4)


@server_test
def test_many_are_told_by_few_processes(run_directory: Path) -> None:
    """Who was woken, and sleeps again, leaves its process to the next one."""
    with hibernating(RUNDIRECTORY=str(run_directory), IMAP_WAITING="8") as running, ExitStack() as stack:
        windows = [running.idler() for _ in range(24)]
        for window in windows:
            stack.callback(window.close)
        running.wait_asleep()
        for turn in range(2):
            deliver(running.server.maildir, f"180000000{turn}.M1P1.host")
            for window in windows:
                window.until(f"* {5 + turn} FETCH")
            running.wait_asleep()
        served = {session.pid for session in presence.sessions(str(run_directory))}
        # some more than look at a time, where those that have looked get no processor to wait again
        assert len(served) < len(windows) - 4
        for window in windows:
            window.done()
            assert window.do("SEARCH UNSEEN")
        assert "CRIT" not in running.server.log.read_text()


@server_test
def test_who_sleeps_has_logged_in() -> None:
    """Connections before their login have a bound of their own: who sleeps neither counts nor goes."""
    with hibernating(IMAP_MAXPRELOGIN="2") as running, ExitStack() as stack:
        asleep = [running.sleeper() for _ in range(3)]
        assert running.awake() == []
        early = [stack.enter_context(socket.create_connection(("127.0.0.1", running.server.port), DEADLINE))
                 for _ in range(2)]
        for client in early:
            assert until(client, b"\r\n").startswith(b"* OK ")
        # all who wait are there still, the oldest first
        for client in early:
            client.sendall(b"a LOGIN demo demo\r\n")
            assert b"a OK" in until(client, b"a OK")
        for window in asleep:
            window.done()
            window.do("NOOP")
        assert "have not logged in" not in running.server.log.read_text()


# -- signals and failures

@server_test
def test_the_end_of_the_listener_is_told(running: Running) -> None:
    windows = [running.sleeper(), running.idler()]
    running.server.process.send_signal(signal.SIGTERM)
    for window in windows:
        assert window.line() == "* BYE Courier-IMAP server shut down by signal."
    assert running.server.process.wait(20) == 0
    said = running.server.log.read_text()
    found = re.findall(r"NOTICE: Disconnected during shutdown by signal, user=demo, "
                       r"ip=\[::ffff:127\.0\.0\.1\], port=\[\d+\], "
                       r"headers=0, body=0, rcvd=(\d+), sent=(\d+), time=\d+\n", said)
    assert len(found) == 2
    assert found[0][0] == found[1][0]          # the same as of one that is awake
    assert "CRIT" not in said


@server_test
def test_a_new_image_wakes_who_slept_before(running: Running) -> None:
    windows = [running.sleeper(), running.sleeper("", awake=1), running.idler()]
    kept = running.keeper()
    file = running.server.home / "imapd"
    file.write_text(file.read_text() + "IMAP_CAPABILITY=IMAP4rev1\nMAXPERIP=4\n")
    renew(running.server, 1)
    assert running.keeper() == kept
    deliver(running.server.maildir, "1800000000.M1P1.host")
    assert windows[0].until("* 5 FETCH")[0] == "* 5 EXISTS"
    assert windows[2].until("* 5 FETCH")[0] == "* 5 EXISTS"
    for window in windows:
        window.done()
        assert "IDLE" in window.do("CAPABILITY")[0]        # goes on with the settings that it began with
    windows.append(over_tcp(running.server.port))
    assert "IDLE" not in windows[3].do("CAPABILITY")[0]
    with socket.create_connection(("127.0.0.1", running.server.port), DEADLINE) as fifth:
        assert fifth.recv(10) == b""                       # all four are counted


@server_test
def test_settings_that_want_no_sleep_leave_none_behind(running: Running) -> None:
    window = running.sleeper()
    file = running.server.home / "imapd"
    file.write_text(file.read_text() + "IMAP_HIBERNATE=0\n")
    renew(running.server, 1)
    window.done()
    assert window.do("NOOP") == []


@server_test
def test_a_keeper_that_is_killed() -> None:
    """Those that sleep go on in another one, which wakes all of them for a look."""
    with hibernating(MAXPERIP="100", MAXDAEMONS="100") as running, ExitStack() as stack:
        windows = [running.idler() for _ in range(30)] + [running.idler("")]
        for window in windows:
            stack.callback(window.close)
        running.wait_asleep()
        for turn in range(3):
            old = running.keeper()
            os.kill(old, signal.SIGSTOP)
            deliver(running.server.maildir, f"180000000{turn}.M1P1.host")      # it never heard of it
            os.kill(old, signal.SIGKILL)
            for window in windows[:-1]:
                window.until(f"* {5 + turn} FETCH")
            said = wait_log(running.server.log, "CRIT: the keeper of idle connections ended", turn + 1)
            assert said.count("ended; 31 go on in another") == turn + 1
            running.wait_asleep()
        for window in windows:
            window.done()
            window.do("NOOP")


@server_test
def test_a_keeper_that_is_killed_at_any_moment() -> None:
    """While connections come to it and go from it: each goes on, asleep or awake."""
    dice = random.Random(7)
    with hibernating(MAXPERIP="100", MAXDAEMONS="100") as running, ExitStack() as stack:
        windows = [running.idler() for _ in range(20)]
        for window in windows:
            stack.callback(window.close)
        killed, end = 0, time.monotonic() + 2 * DEADLINE
        while killed < 3:              # it may take a while until another one is there
            assert time.monotonic() < end
            time.sleep(dice.uniform(0.0, 0.6))
            window = dice.choice(windows)
            window.done()
            window.do("NOOP")
            window.idle()
            kept = [pid for pid in children(running.listener) if is_keeper(pid)]
            if kept and dice.random() < 0.5:
                os.kill(kept[0], signal.SIGKILL)
                killed += 1
        for window in windows:
            window.done()
            assert window.do("FETCH 1 (UID)") == ["* 1 FETCH (UID 1)"]
        wait_log(running.server.log, "the keeper of idle connections ended", killed)


@server_test
def test_a_keeper_that_stands_still_is_killed() -> None:
    """Who sleeps there goes on in another one."""
    hasty = "from courierpy.hibernate import link; link.ASK_AFTER, link.SILENT_LOOKS = 1.0, 3"
    with chain(before=hasty) as server:
        client = server.session(b"SELECT INBOX", b"IDLE")
        with client:
            eventually(lambda: any(map(holds_a_sleeper, server.children())))
            (kept,) = filter(is_keeper, server.children())
            os.kill(kept, signal.SIGSTOP)
            client.sendall(b"DONE\r\nz NOOP\r\n")
            assert b"z OK" in until(client, b"z OK")
            server.wait_log("CRIT: the keeper of idle connections answers nothing, and is killed")
            server.wait_log("CRIT: the keeper of idle connections ended; 1 go on in another")


@server_test
def test_the_end_without_a_keeper(running: Running) -> None:
    """The listener has what is needed to say BYE itself."""
    window = running.sleeper()
    kept = running.keeper()
    os.kill(kept, signal.SIGSTOP)
    os.kill(running.listener, signal.SIGTERM)
    time.sleep(0.2)
    os.kill(kept, signal.SIGKILL)
    assert window.line() == "* BYE Courier-IMAP server shut down by signal."
    wait_log(running.server.log, "NOTICE: Disconnected during shutdown by signal, user=demo")


@server_test
def test_a_listener_that_is_killed(running: Running) -> None:
    window = running.sleeper()
    kept = running.keeper()
    os.kill(running.listener, signal.SIGKILL)
    assert window.line() == "* BYE Courier-IMAP server shut down by signal."
    wait_until(lambda: _state(kept) in "ZX")


# -- who does not sleep

@server_test
def test_under_tls_of_their_own_all_stay_awake() -> None:
    with hibernating("fork") as running:
        _stay_awake(running)


def _stay_awake(running: Running) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    tls_listener = children(running.server.process.pid)[1]
    wait_until(lambda: len(children(tls_listener)) == 2)
    base = children(tls_listener)
    with socket.create_connection(("127.0.0.1", running.server.tls_port), DEADLINE) as plain, \
            context.wrap_socket(plain) as client, \
            socket.create_connection(("127.0.0.1", running.server.port), DEADLINE) as second:
        second.settimeout(DEADLINE)
        until(second, b"\r\n")
        second.sendall(b"a STARTTLS\r\n")
        until(second, b"\r\n")
        with context.wrap_socket(second) as other:
            for each in (client, other):
                each.sendall(b"a LOGIN demo demo\r\nb SELECT INBOX\r\nc IDLE\r\n")
                until(each, b"idle mode\r\n")
            time.sleep(2.5)
            assert len(running.awake()) == 1
            # and the keeper, which has made its instance of inotify
            assert len(children(tls_listener)) == len(base) + 2


@server_test
def test_programs_that_are_execd_and_dialogues_on_record_stay_awake() -> None:
    with hibernating(IMAPDEBUGFILE="record") as running:
        (running.server.maildir / "record").touch()
        (running.server.maildir / "record").chmod(0o666)
        window = running.idler()
        time.sleep(2.5)
        assert len(running.awake()) == 1
        window.done()
    with serving("exec", IMAP_HIBERNATE="1") as server:
        window = over_tcp(server.port)
        window.do("SELECT INBOX")
        window.idle()
        time.sleep(2.5)
        listener = children(server.process.pid)[0]
        assert [pid for pid in children(listener) if b"imapd" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        window.done()


# -- many

@server_test
def test_five_hundred_hear_of_one_delivery() -> None:
    """One after another: never more processes at a time than may look."""
    with hibernating(MAXPERIP="600", MAXDAEMONS="600") as running, ExitStack() as stack:
        windows = []
        for _ in range(500):
            windows.append(running.idler())
            stack.callback(windows[-1].close)
        running.wait_asleep()
        deliver(running.server.maildir, "1800000000.M1P1.host")
        most = 0
        end = time.monotonic() + 4 * DEADLINE
        for window in windows:
            while not select.select([window.infd], [], [], 0.002)[0]:
                assert time.monotonic() < end
                most = max(most, len(running.awake()))
            assert window.until("* 5 FETCH")[0] == "* 5 EXISTS"
        # a process that has said that it looked may take a moment to end
        assert 0 < most < 5 * keeper.OF_ONE_USER
        running.wait_asleep()


# -- who may be woken

@server_test
def test_who_is_woken_is_who_slept(running: Running) -> None:
    uid, gid = account_ids()
    window = running.idler()
    before = _identity(running.awake()[0])
    running.wait_asleep()
    window.send("DONE")
    window.until("t3 OK")
    assert _identity(running.awake()[0]) == before
    assert before["Uid"] == [str(uid)] * 4
    assert before["Gid"] == [str(gid)] * 4


@server_test
def test_the_keeper_may_do_little(running: Running) -> None:
    if os.getuid():
        pytest.skip("not root: the keeper is who we are")
    found = _identity(running.keeper())
    assert found["Uid"] == [str(account_ids()[0])] * 4
    assert int(found["CapEff"][0], 16) == int(found["CapPrm"][0], 16) == 1 << 2      # CAP_DAC_READ_SEARCH
    assert found["Groups"] == []


def _identity(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    words = {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}
    return {name: words[name] for name in ("Uid", "Gid", "Groups", "CapEff", "CapPrm")}


class Bench:
    """A keeper in this process, its listener's end of the link, and a connected client.
    ``slept``: what the listener heard of an offer; ``files``: descriptors of states that it got."""

    def __init__(self, stack: ExitStack) -> None:
        self.door, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inner.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.link, link = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inotify = Inotify()
        self.keeper = Keeper(inner, link, inotify, 1024)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self.served, _ = listener.accept()
        self.slept: list[bytes] = []
        self.files: list[int] = []
        for each in (self.door, inner, link, self.link, self.client, self.served):
            stack.callback(each.close)
        for each in (self.link, self.client):
            each.settimeout(DEADLINE)
        stack.callback(inotify.close)

    def offer(self, *directories: int, kinds: bytes = b"", client: int = -1, channel: int = -1,
              word: bytes = b"o", say: bytes | None = None) -> bytes:
        """The answer to an offer that a process of the test account makes; ``say``: what it says then."""
        answer, report = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                _become_account()
                ours, theirs = socket.socketpair()
                fds = array.array("i", (client if client >= 0 else self.served.fileno(),
                                        channel if channel >= 0 else theirs.fileno(), *directories))
                self.door.sendmsg([word + kinds], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
                os.write(report, b"-")
                theirs.close()
                ours.settimeout(DEADLINE)
                os.write(report, ours.recv(1))
                if say is not None:
                    ours.sendall(say)
                    ours.shutdown(socket.SHUT_WR)
                    os.write(report, ours.recv(1))
            finally:
                os._exit(0)
        os.close(report)
        with open(answer, "rb", buffering=0) as said:
            assert said.read(1) == b"-"
            self.keeper._offers()
            end = time.monotonic() + DEADLINE
            while any(entry.stage == keeper.OFFERED for entry in self.keeper.entries.values()):
                assert time.monotonic() < end
                for entry in list(self.keeper.entries.values()):
                    if entry.stage == keeper.OFFERED:
                        self.keeper._offered(entry)
                    if entry.stage == keeper.ASLEEP:
                        self._listen()
            found = said.read(1) + said.read(1)
        os.waitpid(pid, 0)
        return found

    def _listen(self) -> None:
        """As the listener does: the connection is its own now."""
        data, fds, _, _ = socket.recv_fds(self.link, 100, 4)
        self.slept.append(data)
        with socket.socket(fileno=fds[0]) as channel:
            channel.send(protocol.GOOD)
        os.close(fds[1])
        self.files.append(fds[2])

    def wake(self) -> socket.socket:
        """The channel of the one that is to be woken."""
        self.keeper._wake()
        data, fds, _, _ = socket.recv_fds(self.link, 1000, 4)
        (number,) = self.keeper.entries
        assert protocol.WAKE.unpack(data) == (b"W", number)
        return socket.socket(fileno=fds[0])

    def again(self) -> None:
        """What is to be done later is done."""
        self.keeper.later = [(0.0, number) for _, number in self.keeper.later]
        self.keeper._clock()


def _become_account() -> None:
    uid, gid = account_ids()
    if os.getuid() == 0:
        os.setgroups([gid, 4711])
        os.setgid(gid)
        os.setuid(uid)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack)


LATER = float(int(time.monotonic()) + 1000)


def record(note: bytes, known: bytes, due: float = LATER, every: int = 1, deflated: bool = False) -> bytes:
    return protocol.RECORD.pack(due, every, 7, 0.0, len(note), len(known), deflated) + note + known


def test_an_offer(bench: Bench, tmp_path: Path) -> None:
    """The kernel says who makes it, and the listener hears of it before its process may end."""
    (tmp_path / "cur").mkdir()
    with _opened(tmp_path / "cur", os.O_RDONLY) as fd:
        assert bench.offer(fd, kinds=b"c", say=record(b"who", b"what")) == protocol.KEPT + protocol.GOOD
    (entry,) = bench.keeper.entries.values()
    assert entry.uid == account_ids()[0]
    assert protocol.SLEPT.unpack(bench.slept[0]) == (b"S", entry.number, entry.pid)
    state = protocol.load(bench.files[0])
    assert (state.note, state.known, state.sent, state.due, state.words) == ("who", b"what", 7, LATER, 0)
    (tmp_path / "cur" / "x").touch()
    bench.keeper._changes()
    entry.kept_at -= keeper.APART
    bench.again()
    bench.wake().close()


@pytest.mark.parametrize(("kinds", "stage"), [(b"", keeper.ASLEEP), (b"c", keeper.QUEUED)])
def test_events_that_are_lost_wake_who_is_told_of_changes(bench: Bench, tmp_path: Path, kinds: bytes,
                                                          stage: int) -> None:
    """Not who is silent between two commands, which has no watch."""
    with _opened(tmp_path, os.O_RDONLY) as fd:
        bench.offer(*[fd for _ in kinds], kinds=kinds, say=record(b"who", b"what"))
    bench.keeper.hearing.inotify.add(str(tmp_path), watches.MASK)
    here, there = tmp_path / "here", tmp_path / "there"
    here.touch()
    for _ in range(int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()) // 2):
        os.rename(here, there)         # two events
        here, there = there, here
    (entry,) = bench.keeper.entries.values()
    entry.kept_at -= keeper.APART
    bench.keeper._changes()
    assert entry.stage == stage


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def test_what_is_not_kept(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    inside, outside = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with _opened(tmp_path / "file", os.O_RDONLY) as file, _opened(tmp_path, os.O_RDONLY) as good, \
            _opened(tmp_path, os.O_PATH) as named_only, inside, outside:
        refused = [
            bench.offer(client=file),                                # not a socket
            bench.offer(client=inside.fileno()),                     # not a stream
            bench.offer(named_only, kinds=b"c"),                     # no right to read is needed for it
            bench.offer(file, kinds=b"c"),                           # not a directory
            bench.offer(good, good, good, good, good, kinds=b"ccccc"),
            bench.offer(good, kinds=b""),                            # kinds and descriptors differ
            bench.offer(good, kinds=b"cc"),
            bench.offer(word=b"x"),
            bench.offer(channel=file)]
        assert refused == [b""] * len(refused)
        assert bench.keeper.entries == {}
        assert bench.keeper.hearing.watchers == {}
        before = len(descriptors())
        assert bench.offer(client=file) == b""
        assert len(descriptors()) == before            # nothing stays open


def test_a_watch_that_ends_leaves_no_descriptor(tmp_path: Path) -> None:
    """The keeper has as many instances as it has descriptors of them, and the kernel gives its user 128."""
    instance = Inotify()
    try:
        before = len(descriptors())
        for _ in range(3):
            number = instance.add(str(tmp_path), IN_CREATE)
            hearing.make(hearing.UNWATCH + struct.pack("=I", number), [instance.fd])
        assert len(descriptors()) == before
        (tmp_path / "x").touch()
        assert all(mask & IN_IGNORED for _, mask, _ in instance.events())
    finally:
        instance.close()


def test_one_of_many_that_cannot_be_watched(tmp_path: Path) -> None:
    """Where it is the only one of a request, too: the others are watched, and it is said why it is not."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def keeps() -> None:
        while True:
            data, fds, _, _ = socket.recv_fds(theirs, 65536, 2 * hearing.MOST)
            try:
                if not data:
                    return
                hearing.make(data, fds)
            finally:
                for fd in fds:
                    os.close(fd)

    keeper = threading.Thread(target=keeps)
    keeper.start()
    try:
        instance = hearing.Made(ours.fileno())
        for count in (1, 2, hearing.MOST + 1):
            wanted = [(str(tmp_path), IN_CREATE)] * (count - 1) + [(str(tmp_path), 0)]     # which is no mask
            *numbers, last = instance.add_all(wanted)
            assert all(isinstance(number, int) for number in numbers) and len(numbers) == count - 1
            assert isinstance(last, OSError) and last.errno == errno.EINVAL
        *numbers, last = instance.add_all([(str(tmp_path), IN_CREATE), (str(tmp_path / "none"), IN_CREATE)])
        assert isinstance(last, FileNotFoundError) and isinstance(numbers[0], int)
        with pytest.raises(OSError, match="Invalid argument"):
            instance.add(str(tmp_path), 0)
        instance.close()
    finally:
        ours.close()
        keeper.join()
        theirs.close()


def test_whose_a_socket_is() -> None:
    """A way to a login process has no name: it is known by what it is."""
    own, other = socket.socketpair()
    with own, other, socket.socket(fileno=os.dup(own.fileno())) as copy:
        connection = Connection("::1", ("::1", 7))
        assert not link.is_of(own.fileno(), connection)
        connection.identity = protocol.identity(own.fileno())
        assert link.is_of(copy.fileno(), connection)
        assert not link.is_of(other.fileno(), connection)


def test_who_thinks_better_of_it_keeps_the_client(bench: Bench) -> None:
    """It hangs up before all is said."""
    for said in (b"", record(b"who", b"what")[:-1], b"x", record(b"who", b"what") + b"x",
                 record(b"who", b"what", due=float("nan")), record(b"who", b"what", due=1e300),
                 protocol.RECORD.pack(0.0, 0, 0, 0.0, 1, protocol.MAX_KNOWN, False)):
        assert bench.offer(say=said)[:1] == protocol.KEPT
        assert bench.keeper.entries == {}
    assert bench.client.send(b"x") == 1


@settings(max_examples=30)
@given(st.binary(max_size=100), st.binary(max_size=300))
def test_any_octets_are_a_record_or_refused(before: bytes, known: bytes) -> None:
    with ExitStack() as stack:
        bench = Bench(stack)
        answer = bench.offer(say=before + record(b"n", known))
        assert answer[:1] == protocol.KEPT
        for entry in bench.keeper.entries.values():
            state = protocol.load(entry.file)
            assert protocol.RECORD.size + len(state.known) <= len(before + record(b"n", known))


@pytest.mark.parametrize("times", [1, 20])
def test_a_wake_that_is_refused_is_tried_again(bench: Bench, times: int) -> None:
    """The system has no process for it at the moment: however often, it is not lost."""
    bench.offer(say=record(b"who", b"what"))
    (entry,) = bench.keeper.entries.values()
    bench.keeper._queue(entry)
    for _ in range(times):
        bench.wake().close()
        bench.keeper._woken(entry)
        assert bench.keeper.wakers == set()
        assert all(at < time.monotonic() + keeper.LONGEST_RETRY for at, _ in bench.keeper.later)
        bench.again()
    with bench.wake() as woken:
        bench.keeper._woken(entry)
        assert not entry.taken
        woken.send(protocol.TAKEN)
        bench.keeper._woken(entry)
        assert entry.taken
        assert (entry.client, entry.file) == (-1, -1)
    bench.keeper._woken(entry)
    assert bench.keeper.entries == {}


def test_another_keeper_goes_on(bench: Bench) -> None:
    """With what the listener has: what the client was told meanwhile is in it."""
    bench.offer(say=record(b"who", b"what", due=time.monotonic() - 1))
    (entry,) = bench.keeper.entries.values()
    bench.keeper._clock()
    assert bench.client.recv(100) == b"* OK Still here\r\n"
    file = bench.files[0]
    with ExitStack() as stack:
        other = Bench(stack)
        other.keeper.adopt([(entry.number, os.dup(bench.served.fileno()), file, 65534)])
        (again,) = other.keeper.entries.values()
        assert (again.stage, again.number, again.uid) == (keeper.QUEUED, entry.number, 65534)
        state = protocol.load(file)
        assert (state.words, state.known) == (len(b"* OK Still here\r\n"), b"what")
        assert state.due > time.monotonic()
        with other.wake():
            pass
        other.keeper._goodbye(again.client, state)
    assert bench.client.recv(100) == b"* BYE Courier-IMAP server shut down by signal.\r\n"


def test_who_compresses_is_told_in_blocks(bench: Bench) -> None:
    """RFC 4978: whatever its inflater knows, which the session left at an octet's border."""
    bench.offer(say=record(b"who", b"what", due=time.monotonic() - 1, deflated=True))
    (entry,) = bench.keeper.entries.values()
    bench.keeper._clock()
    assert entry.state is not None
    assert entry.state.words == len(b"* OK Still here\r\n")
    bench.keeper._goodbye(entry.client, entry.state)
    inflate = zlib.decompressobj(-15)
    assert inflate.decompress(until(bench.client, b"signal.\r\n")) \
        == b"* OK Still here\r\n* BYE Courier-IMAP server shut down by signal.\r\n"


def test_an_idle_that_may_last_no_longer_is_woken(bench: Bench) -> None:
    """IMAP_IDLE_KEEPALIVE=0: no words, but an end."""
    bench.offer(say=record(b"who", b"what", due=time.monotonic() - 1, every=0))
    bench.keeper._clock()
    (entry,) = bench.keeper.entries.values()
    assert entry.stage == keeper.QUEUED


# -- what a session knows

keyword_sets = st.frozensets(st.from_regex(rb"[!-~]{1,8}", fullmatch=True), min_size=1, max_size=3)
names = st.text(st.characters(exclude_characters="\0="), min_size=1, max_size=10).filter(
    lambda word: word.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") == word
    if all(not 0xD800 <= ord(char) < 0xE000 for char in word) else False)
numbers = st.integers(0, (1 << 64) - 1)


@st.composite
def states(draw: st.DrawFn) -> Known:
    known = Known()
    known.started = draw(st.floats(allow_nan=False, allow_infinity=False))
    known.rcvd, known.sent, known.headers, known.body = (draw(numbers) for _ in range(4))
    known.errors = draw(st.integers(0, 255))
    known.tag = draw(st.from_regex(rb"[A-Za-z0-9.]{0,20}", fullmatch=True))
    known.cwd = draw(st.binary(max_size=20)).replace(b"\0", b"/")
    known.environ = draw(st.dictionaries(names, names, max_size=5))
    known.enabled = draw(st.sets(st.binary(max_size=8), max_size=2))
    known.kept = draw(st.dictionaries(st.binary(max_size=8), st.binary(max_size=30), max_size=3))
    known.untold = draw(st.sets(st.binary(max_size=8), max_size=2))
    known.objects = draw(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=30)), max_size=3))
    known.layers = draw(st.dictionaries(st.just("deflate"), st.binary(max_size=30)))
    if draw(st.booleans()):
        known.name, known.path = draw(names), "./." + draw(names)
        known.readonly = draw(st.booleans())
        known.uidvalidity, known.uidnext = draw(st.integers(0, (1 << 32) - 1)), draw(numbers)
        uids = sorted(draw(st.sets(st.integers(1, (1 << 32) - 1) | st.integers(1, 30), max_size=40)))
        some = st.sets(st.sampled_from(uids)) if uids else st.just(set[int]())
        known.messages = Messages(array.array("I", uids), bytes(draw(st.integers(0, 31)) for _ in uids),
                                  {uid: draw(keyword_sets) for uid in draw(some)})
        known.told_recent = UidSet.of(sorted(draw(some)))
        known.recent = known.told_recent | UidSet.of(sorted(draw(st.sets(st.integers(1, 100), max_size=3))))
        known.saved = UidSet.of(sorted(draw(st.sets(st.integers(1, 100), max_size=5))))
        known.words = draw(st.lists(st.binary(max_size=8), max_size=3))
    return known


@given(states())
def test_what_is_known_comes_back(known: Known) -> None:
    assert unpack(pack(known)) == known


def plain(known: Known) -> bytes:
    way, data = pack(known)[len(MAGIC):len(MAGIC) + 1], pack(known)[len(MAGIC) + 1:]
    assert way in (PLAIN, PACKED)
    return data if way == PLAIN else zlib.decompress(data)


@given(states(), st.data())
def test_damage_is_refused_or_is_another_state(known: Known, data: st.DataObject) -> None:
    """Nothing but Damaged is raised, and what is taken is consistent."""
    octets = bytearray(plain(known))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(octets) - 1))
        octets[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.just(len(octets)) | st.integers(0, len(octets)))
    try:
        rest = bytes(octets[:end])
        found = unpack(MAGIC + data.draw(st.sampled_from([PLAIN + rest, PACKED + zlib.compress(rest)])))
    except Damaged:
        return
    uids = list(found.messages.uids)
    assert len(uids) == len(found.messages.flags)
    assert uids == sorted(set(uids))
    assert set(found.messages.keywords) <= set(uids)


@given(st.binary(max_size=200))
@example(b"")
@example(MAGIC)
@example(b"courierpy 0\n" + b"x" * 50)
def test_no_octets_do_harm(octets: bytes) -> None:
    for each in (octets, MAGIC + octets, MAGIC + PLAIN + octets, MAGIC + PACKED + octets):
        with pytest.raises(Damaged):
            unpack(each)


@pytest.mark.parametrize("moment", ["nan", "inf", "-inf"])
def test_a_moment_that_is_none(moment: str) -> None:
    known = Known()
    known.tag, known.started = b"a", float(moment)
    with pytest.raises(Damaged):
        unpack(pack(known))


def test_a_record_that_would_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("courierpy.hibernate.record.LIMIT", 1 << 20)
    known = Known()
    known.tag = b"a"
    known.environ = {"A": "x" * (2 << 20)}
    with pytest.raises(Damaged):
        unpack(pack(known))


def test_what_extensions_keep_is_theirs_again(maildir: Path) -> None:
    """The comparator that the client chose (RFC 5255 4.7) is active in the process that goes on."""
    known = Known()
    known.tag, known.kept = b"a", {b"COMPARATOR": b"i;octet", b"of a file that was taken out": b""}
    here = os.getcwd()
    os.chdir(maildir)
    try:
        settings = Settings({})
        session = Session(Conn(), settings, Store.of(settings), "demo")
        sleeper.restore(session, unpack(pack(known)))
        assert collation.active() is collation.OCTET
        assert sleeper.know(session, b"a", 0.0).kept == known.kept
    finally:
        os.chdir(here)
        collation.use(collation.UNICODE)


def test_large_views_are_small_records() -> None:
    known = Known()
    known.tag, known.name, known.path = b"a", "INBOX", "."
    uids = array.array("I", range(1, 100_001))
    del uids[::1000]
    known.messages = Messages(uids, bytes([1]) * len(uids), {})
    assert len(pack(known)) < 2000
    assert unpack(pack(known)) == known
    known.environ = {"A": "x" * 10_000}
    assert len(pack(known)) < 2000 and unpack(pack(known)) == known
