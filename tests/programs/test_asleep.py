"""Who sleeps counts as before, hears of every end, and is woken as who it was."""
from __future__ import annotations

import os
import random
import re
import select
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from courierpy.hibernate import keeper
from courierpy.system import presence
from tests.conftest import account_ids, serving, until
from tests.programs.chain import chain, children, eventually
from tests.programs.hibernating import (
    DEADLINE,
    Running,
    hibernating,
    holds_a_sleeper,
    is_keeper,
    process_state,
    wait_until,
)
from tests.programs.test_renewal import renew, wait_log
from tests.realtime.windows import deliver, over_tcp

server_test = pytest.mark.server


@pytest.fixture
def running() -> Iterator[Running]:
    with hibernating() as found:
        yield found


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
    wait_until(lambda: process_state(kept) in "ZX")


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
