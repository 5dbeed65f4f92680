"""Connections that idle have no process, and nobody can tell but by looking for one."""
from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator

import pytest

from tests.conftest import until
from tests.programs.hibernating import (
    DEADLINE,
    Running,
    hibernating,
    wait_until,
)
from tests.programs.test_renewal import wait_log
from tests.realtime.windows import deliver, over_tcp

server_test = pytest.mark.server


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
