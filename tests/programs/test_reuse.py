"""Sessions one after the other in a process, behind login processes, and what becomes of those that wait."""
from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import account_ids, until
from tests.programs.chain import DEADLINE, Chain, chain, eventually
from tests.programs.test_forks import refusing

pytestmark = pytest.mark.server

ONE = {"IMAP_LOGIN_PROCESSES": "1", "IMAP_LOGIN_DELAY": "0"}


def pids(server: Chain) -> list[int]:
    """Of the processes that served, by session."""
    return [int(pid) for pid in re.findall(r"imapd\[(\d+)\]: LOGIN, ", server.log.read_text())]


def visit(server: Chain, user: str = "demo", commands: bytes = b"") -> int:
    """The pid of the process that served a whole session."""
    with server.greeted() as client:
        client.sendall(b"a LOGIN %s %s\r\n" % (user.encode(), user.encode()) + commands + b"z LOGOUT\r\n")
        assert b"z OK" in until(client, b"z OK")
        client.settimeout(DEADLINE)
        while client.recv(1000):
            continue
    return pids(server)[-1]


def again(server: Chain, pid: int, user: str = "demo") -> None:
    """This process serves another session at last: it may not have waited yet when the next one came, and
    the process that had it instead would have all that follow, as the last that came back."""
    def is_served() -> bool:
        served = visit(server, user)
        if served != pid:
            with suppress(ProcessLookupError):
                os.kill(served, signal.SIGKILL)
            eventually(lambda: served not in server.children(), "it does not end")
        return served == pid
    eventually(is_served, "no session came to it")


@pytest.fixture(scope="module")
def server() -> Iterator[Chain]:
    with chain(IMAP_PREFORK="1", **ONE) as running:
        uid, gid = account_ids()
        with (running.home / "userdb").open("a") as file:
            for name in ("other", "third"):
                file.write(f"{name}\tuid={uid}|gid={gid}|home={running.home}|mail=Maildir|clearpw={name}\n")
        running.greeted().close()
        yield running


def test_a_process_serves_its_account_again(server: Chain) -> None:
    first = visit(server, commands=b"b SELECT INBOX\r\nc FETCH 1 BODY[]\r\n")
    again(server, first)
    assert first not in (visit(server, "other"), visit(server, "third"))
    again(server, first)


def test_a_session_that_ends_without_a_word(server: Chain) -> None:
    with server.session(b"SELECT INBOX") as client:
        pid = pids(server)[-1]
        client.close()
    again(server, pid)


def test_the_file_of_a_reader_goes_from_session_to_session(server: Chain) -> None:
    tmp = server.home / "Maildir/tmp"

    def files(pid: int) -> dict[int, str]:
        return {path.stat().st_ino: path.name.partition("_")[2].partition(".")[0]
                for path in tmp.glob(f"*P{pid}_*")}

    def is_served_again() -> bool:
        with server.session(b"SELECT INBOX") as client:
            pid, found = pids(server)[-1], files(pids(server)[-1])
            client.sendall(b"z LOGOUT\r\n")
            until(client, b"z OK")
        if pid != first:
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: pid not in server.children(), "it does not end")
            return False
        assert [word.rstrip("0123456789") for word in found.values()] == ["reader"] and [*found] == kept
        return True
    first = visit(server, commands=b"b SELECT INBOX\r\n")
    eventually(lambda: "kept" in files(first).values(), "nothing is kept")
    kept = [*files(first)]
    eventually(is_served_again, "no session came to it")
    eventually(lambda: "kept" in files(first).values(), "nothing is kept")
    os.kill(first, signal.SIGTERM)
    eventually(lambda: first not in server.children() and not files(first), "it is left behind")


def test_settings_that_are_read_again_end_those_that_wait(server: Chain) -> None:
    first = visit(server)
    again(server, first)
    with server.session() as session:
        server.hup(1)
        eventually(lambda: first not in server.children() or first == pids(server)[-1], "it waits for ever")
        session.sendall(b"a NOOP\r\n")
        assert b"a OK" in until(session, b"a OK")
        busy = pids(server)[-1]
    eventually(lambda: busy not in server.children(), "it waits for who is no more")
    second = visit(server)
    again(server, second)


def test_accounts_of_one_uid_share_processes_by_setting() -> None:
    with chain(IMAP_REUSE="uid", IMAP_PREFORK="0", **ONE) as server:
        uid, gid = account_ids()
        with (server.home / "userdb").open("a") as file:
            file.write(f"other\tuid={uid}|gid={gid}|home={server.home}|mail=Maildir|clearpw=other\n")
        first = visit(server)
        again(server, first, "other")
        log = server.log.read_text()
        assert f"imapd[{first}]: LOGIN, user=demo" in log and f"imapd[{first}]: LOGIN, user=other" in log


# what two accounts of one process are told differently, and what a session may leave behind
ASKED = (b"COMPARATOR", b"NAMESPACE", b"MYRIGHTS INBOX", b"GETQUOTAROOT INBOX", b'LIST "" *',
         b"STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY)", b"SELECT INBOX",
         b"FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])", b"SORT (SUBJECT) UTF-8 ALL")
LEFT = (b"COMPARATOR i;octet", b"ENABLE CONDSTORE", b"LANGUAGE i-default", b"STORE 1 +FLAGS.SILENT (\\Seen)")


def test_accounts_by_turns_in_one_process_hear_what_each_hears_in_its_own() -> None:
    with chain(IMAP_REUSE="uid", IMAP_PREFORK="0", **ONE) as server:
        uid, gid = account_ids()
        own = server.home / "Own"
        for part in ("cur", "new", "tmp", ".Sub/cur", ".Sub/new", ".Sub/tmp"):
            (own / part).mkdir(parents=True)
        for number, subject in enumerate(("alpha", "Beta", "gamma"), 1):
            (own / "cur" / f"{number}.x:2,").write_text(f"Subject: {subject}\n\n{number}\n")
        for path in (own, *own.rglob("*")):
            os.chown(path, uid, gid)
        with (server.home / "userdb").open("a") as file:
            file.write(f"other\tuid={uid}|gid={gid}|home={server.home}|mail=Own|clearpw=other|quota=9000000S"
                       "|options=disableshared\n")

        def hears(user: bytes) -> tuple[int, bytes]:
            """The process, and what a session is told there."""
            with server.greeted() as client:
                client.sendall(b"a LOGIN %s %s\r\n" % (user, user))
                assert b"a OK" in until(client, b"\r\n")
                client.sendall(b"".join(b"b %s\r\n" % each for each in ASKED) + b"c NOOP\r\n")
                said = until(client, b"c OK")
                client.sendall(b"".join(b"d %s\r\n" % each for each in LEFT) + b"z LOGOUT\r\n")
                until(client, b"z OK")
                client.settimeout(DEADLINE)
                while client.recv(1000):
                    continue
            return pids(server)[-1], said

        def ends(pid: int) -> None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            eventually(lambda: pid not in server.children(), "it does not end")

        alone = {}
        for user in (b"demo", b"other", b"demo", b"other"):    # the second time nothing is new to it any more
            pid, alone[user] = hears(user)
            ends(pid)
        assert b"STORAGE" in alone[b"other"] and b"STORAGE" not in alone[b"demo"]

        first, said = hears(b"demo")
        assert said == alone[b"demo"]

        def is_served(user: bytes) -> bool:
            pid, said = hears(user)
            assert said == alone[user]
            if pid != first:           # that did not wait yet
                ends(pid)
            return pid == first
        for user in 3 * (b"other", b"demo"):
            eventually(partial(is_served, user), "no session came to it")


@pytest.mark.parametrize("landlock", ["0", "1"])
def test_what_a_rule_says_is_of_the_clients_that_it_is_about(tmp_path: Path, landlock: str) -> None:
    """Whoever had the process before: whom it has confined to his Maildir has it alone."""
    rules = tmp_path / "rules"
    rules.write_text(f"127.0.0.2\tallow,IMAP_READONLY=1,IMAP_LANDLOCK={landlock}\n")
    with chain(f"-access={rules}", IMAP_REUSE="uid", IMAP_PREFORK="0", **ONE) as server:
        uid, gid = account_ids()
        other = server.home.parent / "other"
        for part in ("cur", "new", "tmp"):
            (other / "Maildir" / part).mkdir(parents=True)
        for path in (other, *other.rglob("*")):
            os.chown(path, uid, gid)
        with (server.home / "userdb").open("a") as file:
            file.write(f"other\tuid={uid}|gid={gid}|home={other}|mail=Maildir|clearpw=other\n")

        def is_served(user: bytes, address: str) -> bool:
            with socket.create_connection(("127.0.0.1", server.port), DEADLINE, (address, 0)) as client:
                client.sendall(b"a LOGIN %s %s\r\nb SELECT INBOX\r\nz LOGOUT\r\n" % (user, user))
                said = until(client, b"z OK")
            assert (b"b OK [READ-ONLY]" if address == "127.0.0.2" else b"b OK [READ-WRITE]") in said, said
            pid = pids(server)[-1]
            if pid != first and landlock == "0":       # that did not wait yet
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                eventually(lambda: pid not in server.children(), "it does not end")
            return pid == first or landlock == "1"

        first = visit(server)
        for turn in range(8):
            user, address = (b"other", b"demo")[turn % 2], f"127.0.0.{(2, 2, 1)[turn % 3]}"
            eventually(partial(is_served, user, address), "no session came to it")


def test_each_session_has_a_process_by_setting() -> None:
    with chain(IMAP_REUSE="no", **ONE) as server:
        for _ in range(4):
            visit(server)
        assert len(set(pids(server))) == 4


def test_how_often_one_serves_and_that_the_oldest_ends() -> None:
    program = ("imaplogin", "imapd", "-U", "2", "-T0", "Maildir")
    with chain(IMAP_PREFORK="0", IMAP_WAITING="1", program=program, **ONE) as server:
        uid, gid = account_ids()
        with (server.home / "userdb").open("a") as file:
            file.write(f"other\tuid={uid}|gid={gid}|home={server.home}|mail=Maildir|clearpw=other\n")
        both = {visit(server), visit(server, "other")}
        eventually(lambda: len(both & set(server.children())) < 2, "two wait")
        for _ in range(6):
            visit(server)
        served = pids(server)
        assert max(served.count(pid) for pid in served) <= 2


def test_options_that_are_wrong() -> None:
    with pytest.raises(AssertionError, match="imapd: -U expects a number, not 'x'"), \
            chain(program=("imaplogin", "imapd", "-U", "x", "Maildir"), **ONE):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_those_that_wait_end_with_the_listener(number: int) -> None:
    with chain(IMAP_PREFORK="2", **ONE) as server:
        again(server, visit(server))
        os.kill(server.process.pid, number)
        server.process.wait(DEADLINE)
        eventually(lambda: not server.processes(), "something is left")


# a file system of its own, where /etc/group is another file, for the listener and all that it starts
OTHER_GROUPS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
private, rec, bind, new_namespace = 1 << 18, 16384, 4096, 0x20000
assert libc.unshare(new_namespace) == 0, "unshare"
assert libc.mount(b"none", b"/", None, rec | private, None) == 0, "mount"
assert libc.mount({group!r}, b"/etc/group", None, bind, None) == 0, "mount"
"""


@pytest.mark.skipif(os.getuid() != 0, reason="to be in other groups takes root")
def test_an_account_that_is_in_other_groups_by_now(tmp_path: Path) -> None:
    """A process cannot change its groups: another one serves it, also where its session slept."""
    group, asks, flag = tmp_path / "group", tmp_path / "asks", tmp_path / "refuse"
    group.write_bytes(Path("/etc/group").read_bytes())
    _, gid = account_ids()
    before = OTHER_GROUPS.format(group=os.fsencode(group))
    try:
        subprocess.run([sys.executable, "-c", before], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(error.stderr.decode())
    with chain(before=before + refusing(flag), IMAP_PREFORK="0", AUTHMODULES="authpipe", AUTHPIPE=str(asks),
               **ONE) as server:
        account = f"USERNAME=nobody\nGID={gid}\nHOME={server.home}\nADDRESS=demo\nMAILDIR=Maildir\n."
        asks.write_text(f"#!/bin/sh\necho '{account}'\n")
        asks.chmod(0o755)

        def belongs_to(number: int) -> None:
            with group.open("a") as file:
                file.write(f"group{number}:x:{number}:nobody\n")

        def groups_of(pid: int) -> list[str]:
            return re.findall(r"\d+", Path(f"/proc/{pid}/status").read_text().partition("Groups:")[2]
                              .partition("\n")[0])

        first = visit(server)
        again(server, first)
        belongs_to(4000001)
        with server.session(b"NOOP") as client:
            second = pids(server)[-1]
            assert second != first and "4000001" in groups_of(second)
            eventually(lambda: first not in server.children(), "it waits on")

            # it sleeps, and its process waits meanwhile
            client.sendall(b"b SELECT INBOX\r\nc IDLE\r\n")
            assert b"+ " in until(client, b"+ ")
            again(server, second)
            belongs_to(4000002)
            client.sendall(b"DONE\r\nd NOOP\r\n")
            assert b"d OK" in until(client, b"d OK")
            third = next(pid for pid in server.children() if "4000002" in groups_of(pid))
            assert third != second
            client.sendall(b"e LOGOUT\r\n")
            assert b"e OK" in until(client, b"e OK")
        assert ": ERR" not in server.log.read_text()

        again(server, third)
        belongs_to(4000003)
        flag.touch()
        with server.greeted() as client:
            client.sendall(b"a LOGIN demo demo\r\n")
            assert until(client, b"never").startswith(b"* BYE [UNAVAILABLE] ")
        flag.unlink()
        assert visit(server) not in (first, second, third)
        assert server.log.read_text().count("CRIT: a session cannot be started") == 1
