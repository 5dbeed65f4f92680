"""The process that goes on for a client that slept, and the one that it left: what becomes of both where that
cannot be done."""
from __future__ import annotations

import os
import signal
import socket
import zlib
from pathlib import Path

import pytest

from courierpy import imapd, sessions
from courierpy.hibernate import link, protocol
from courierpy.hibernate.sleeper import Sleeper
from courierpy.imap.grammar import lines
from courierpy.imap.session import Session
from courierpy.listener.connections import Connections
from courierpy.maildir.store import Store
from courierpy.system import passing, presence, proc
from courierpy.system.channels import Order
from courierpy.system.concluded import Common
from courierpy.system.conn import Conn
from courierpy.system.settings import Settings
from tests.conftest import account_ids
from tests.hibernate.bench import record
from tests.programs.hibernating import hibernating, wait_until
from tests.programs.test_compress import Client

WAITS = sessions.Manner(2, 60, lines.BUSY)


@pytest.mark.server
@pytest.mark.parametrize("mode", ["doorway", "fork"])
def test_a_home_that_is_out_of_reach(run_directory: Path, mode: str) -> None:
    """The client hears of the mailbox, and nothing is left of its session."""
    with hibernating(mode, RUNDIRECTORY=str(run_directory)) as running:
        window = running.sleeper()
        assert [session.state for session in presence.sessions(str(run_directory))] == [presence.ASLEEP]
        running.server.home.chmod(0)
        try:
            window.send("DONE")
            assert window.line() == "* BYE [NONEXISTENT] The selected mailbox was deleted."
            wait_until(lambda: not [*presence.sessions(str(run_directory))])
        finally:
            running.server.home.chmod(0o755)
            window.close()


@pytest.mark.server
def test_who_compresses_and_cannot_go_on_is_told_in_blocks() -> None:
    with hibernating() as running, socket.create_connection(("127.0.0.1", running.server.port), 30) as sock:
        client = Client(sock, 0, running.server.log)
        client.until(b"\r\n")
        client.say(b"LOGIN demo demo")
        client.compress()
        client.send(b"i IDLE\r\n")
        client.until(b"\r\n")
        running.wait_asleep()
        running.server.home.chmod(0)
        try:
            client.send(b"DONE\r\n")
            assert client.rest() == b"* BYE [NONEXISTENT] The selected mailbox was deleted.\r\n"
        finally:
            running.server.home.chmod(0o755)


def status_of(state: bytes, client: socket.socket) -> int:
    """The exit status of a process of sessions whose first is to go on with this state."""
    uid, gid = account_ids()
    account = b"UID=%d\nGID=%d\nHOME=/\nADDRESS=demo\n.\n" % (uid, gid)
    ours, theirs = passing.pair()
    keeper, channel = socket.socketpair()
    file = os.memfd_create("asleep")
    os.write(file, state)
    with ours, theirs, keeper, channel:
        order = Order(account, asleep=(channel.fileno(), file))
        pid = proc.fork(lambda: sessions.serve(theirs, order, client.fileno(), 1 + file, (2,), ["imapd"],
                                               Common({}), WAITS))
        os.close(file)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_its_end_tells_that_there_is_no_session() -> None:
    """The listener removes the file of a session whose process ends in another way than it should."""
    theirs, client = socket.socketpair()
    with theirs:
        with client:
            assert status_of(b"nothing that a session knew", client) == 1
        assert theirs.recv(200).startswith(b"* BYE [UNAVAILABLE] ")


def test_an_order_that_is_cut_is_a_session_that_is_not_there() -> None:
    """At the limit of open files: the client is closed, and its file is the listener's to remove."""
    ours, theirs = passing.pair()
    with ours, theirs:
        passing.send(ours, [b"cut"], [2] * 20)
        pid = proc.fork(lambda: sessions.serve(theirs, None, -1, 1 + theirs.fileno(), (2,), ["imapd"],
                                               Common({}), WAITS))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_who_compresses_is_refused_in_a_block() -> None:
    process = object.__new__(sessions.Sessions)
    process.busy = lines.BUSY
    theirs, client = socket.socketpair()
    file = protocol.save(record(b"who", b"what", deflated=True))

    def refuse() -> int:
        for fd in (0, 1):
            os.dup2(client.fileno(), fd)
        client.close()
        process._refuse((-1, file))
        return 0
    with theirs:
        pid = proc.fork(refuse)
        client.close()
        os.close(file)
        assert zlib.decompressobj(-15).decompress(theirs.recv(500)) == lines.BUSY
        os.waitpid(pid, 0)


def test_a_signal_behind_the_sleep(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends no client any more."""
    monkeypatch.chdir(maildir)
    theirs, client = socket.socketpair()
    with theirs, client:
        daemon = imapd._Imapd(["imapd"], {}, Conn(client.fileno(), client.fileno()))
        daemon.folders = Store.of(daemon.settings)
        daemon._session()
        assert daemon.slept() == 0
        daemon._on_signal(signal.SIGTERM, None)
        daemon.close()


def test_nothing_is_done_to_a_client_that_cannot_be_let_go(maildir: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor is left for what takes the client's place here: the process ends where it is."""
    monkeypatch.chdir(maildir)
    theirs, client = socket.socketpair()

    def sleeps() -> int:
        import resource
        settings = Settings({})
        conn = Conn(client.fileno(), client.fileno())
        session = Session(conn, settings, Store.of(settings), "demo")
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        try:
            Sleeper(session, -1, 1, 0, 0.0, "demo")._end()
        except OSError:
            return 1                   # and the client's socket is shut down
    with theirs, client:
        assert os.waitpid(proc.fork(sleeps), 0)[1] == 0


def test_a_keeper_that_could_not_be_asked_is_asked_again() -> None:
    """Where it was busy, and there was no room for the question."""
    sleepers = link.Sleepers(Connections(False, lambda fd: None))
    sleepers.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with sleepers.door, sleepers.inner, sleepers.link, theirs:
        theirs.setblocking(False)
        try:
            while True:
                sleepers.link.send(protocol.DROP + bytes(8), passing.SENDING)
        except BlockingIOError:
            pass
        sleepers._look(0.0)
        try:
            while True:
                assert theirs.recv(64)[:1] == protocol.DROP
        except BlockingIOError:
            pass
        sleepers._look(1.0)
        assert theirs.recv(64) == protocol.ASK
