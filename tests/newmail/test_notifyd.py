"""notifyd as a process: what it takes and from whom, the queue over a kill, ends and starts."""
from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courierpy.newmail.event import Event
from courierpy.newmail.queue import Queue
from tests.conftest import account_ids, plain_environ
from tests.lmtp.talk import Post
from tests.newmail.urls import heard
from tests.programs.test_notify import UNITS, Manager

pytestmark = pytest.mark.server


def until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


class Daemon:
    """``queue``: its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.queue = folder / "queue"
        self.socket = folder / "notify"
        self.file = folder / "imapd"
        self.log = folder / "notifyd.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        user = pwd.getpwuid(account_ids()[0]).pw_name
        self.values = {"NOTIFYD_QUEUE": str(self.queue), "NOTIFYD_SOCKET": str(self.socket),
                       "NOTIFYD_USER": user if os.getuid() == 0 else "", "IMAPDSTART": "NO",
                       "NOTIFYD_NETWORKS": "127.0.0.0/8", "NOTIFYD_TIMEOUT": "60"}

    def write(self, **values: str) -> None:
        self.values.update(values)
        self.file.write_text("".join(f'{name}="{value}"\n' for name, value in self.values.items()))

    def start(self, *words: str) -> None:
        self.write()
        words = words or (sys.executable, "-m", "courierpy.notifyd", "-C", str(self.file))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=log,
                                            env=plain_environ(TMPDIR=str(self.folder), IMAP_LOG="courier"))
        self.starts += 1
        until(lambda: self.said().count("new mail is told at") == self.starts or self.ended(), "no start")
        assert not self.ended(), self.said()

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def said(self) -> str:
        return self.log.read_text()

    def stop(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)

    def send(self, data: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(30)
            sender.connect(str(self.socket))
            sender.send(data)

    def waiting(self) -> list[str]:
        return [path.name for path in self.queue.iterdir() if path.name[0].isdigit()]


@pytest.fixture
def daemon(post: Post) -> Iterator[Daemon]:
    made = Daemon(post.folder)
    yield made
    if not made.ended():
        made.stop()


def test_from_a_delivery_to_a_url(post: Post, daemon: Daemon) -> None:
    """Started by courierpy serve; lmtpd tells it; a device is told by its token, which is then gone."""
    with heard(200, 410) as (url, server):
        daemon.write(NOTIFYD_METHODS="log webhook", NOTIFYD_WEBHOOK_URL=url)
        daemon.start(sys.executable, "-m", "courierpy", "serve", "-C", str(daemon.file), "--notify",
                     str(daemon.socket))
        if os.getuid() == 0:
            assert daemon.process is not None
            assert os.stat(f"/proc/{daemon.process.pid}").st_uid == account_ids()[0]
        assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o666
        assert stat.S_IMODE(daemon.queue.stat().st_mode) == 0o700
        with post.client(NOTIFYD_SOCKET=str(daemon.socket)) as client:
            client.hello(b"<ann>")
            assert client.data(b"Subject: secret\r\n\r\n") == ["250 2.1.5"]
        until(lambda: "NOTIFIED, user=ann, mailbox=INBOX, method=webhook" in daemon.said(), "not told")
        assert "NEWMAIL, user=ann, mailbox=INBOX" in daemon.said()
        until(lambda: not daemon.waiting(), "not removed")
        assert daemon.process is not None
        daemon.write(NOTIFYD_METHODS="null", NOTIFYD_TOKEN_URL=url)
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: "settings read again" in daemon.said(), "not read")
        daemon.send(Event("ann", "INBOX", 5, tokens=["fcm:1"]).encode())
        until(lambda: "NOBODY TO NOTIFY" in daemon.said(), "not told")
        until(lambda: (daemon.queue / "gone-tokens").exists(), "not kept")
        daemon.send(Event("ann", "INBOX", 5, tokens=["fcm:1"]).encode())
        daemon.send(Event("ann", "INBOX", 5, tokens=["fcm:2"]).encode())
        until(lambda: daemon.said().count("NOBODY TO NOTIFY") == 2, "not told")
    assert [body for _, _, body in server.seen[1:]] == [b"fcm:1", b"fcm:2"]
    assert "secret" not in daemon.said() and b"secret" not in server.seen[0][2]


def test_tried_again_after_a_start(daemon: Daemon) -> None:
    with heard(503) as (url, server):
        daemon.write(NOTIFYD_METHODS="webhook", NOTIFYD_WEBHOOK_URL=url)
        daemon.start()
        event = Event("ann", "INBOX", 5)
        daemon.send(event.encode())
        until(lambda: "NOTIFIED LATER" in daemon.said(), "not tried")
        daemon.stop()
        entry, = Queue(str(daemon.queue)).load()
        assert entry.tries >= 1 and entry.due > entry.since + 10
        entry.due, server.answers = 0.0, [200]
        Queue(str(daemon.queue)).put(entry)
        os.chown(daemon.queue / entry.name, *account_ids())
        daemon.start()
        until(lambda: "NOTIFIED, user=ann" in daemon.said(), "not told")
        until(lambda: not daemon.waiting(), "not removed")
        daemon.stop()
    assert len(server.seen) >= 2
    assert {headers["Idempotency-Key"] for _, headers, _ in server.seen} == {event.ident}


def test_a_secret_that_root_alone_can_read(daemon: Daemon) -> None:
    """It was read before notifyd became its user.  SIGHUP reads what was written into that file since, and
    keeps it where another file has its name; the other settings are read in each case."""
    secret = daemon.folder / "secret"
    secret.touch(0o600)
    secret.write_text("first\n")
    with heard(200) as (url, server):
        daemon.write(NOTIFYD_METHODS="null", NOTIFYD_SECRET_FILE=str(secret), NOTIFYD_WEBHOOK_URL=url)
        daemon.start()
        assert daemon.process is not None

        def told(number: int) -> str:
            daemon.process.send_signal(signal.SIGHUP)
            until(lambda: daemon.said().count("settings read again") == number, "not read")
            daemon.send(Event("ann", "INBOX", number).encode())
            until(lambda: len(server.seen) == number, "not told")
            return server.seen[-1][1]["Authorization"]

        daemon.write(NOTIFYD_METHODS="webhook")
        assert told(1) == "Bearer first"
        secret.write_text("second\n")
        assert told(2) == "Bearer second"
        other = daemon.folder / "other"
        other.touch(0o600)
        other.write_text("third\n")
        other.rename(secret)
        mine = os.getuid() != 0                # then it can be read, as any file of ours
        assert told(3) == ("Bearer third" if mine else "Bearer second")
        assert daemon.said().count("it is another file now") == (not mine)
        secret.chmod(0o644)                    # its user could read it now, and anybody: it counts no more
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: "mode must be 0600; all stays as it was" in daemon.said(), "not seen")


def test_given_up(daemon: Daemon) -> None:
    with heard(503) as (url, _):
        daemon.write(NOTIFYD_METHODS="webhook", NOTIFYD_WEBHOOK_URL=url, NOTIFYD_HOURS="0")
        daemon.start()
        daemon.send(Event("ann", "INBOX", 5).encode())
        until(lambda: "NOT NOTIFIED, user=ann" in daemon.said(), "not given up")
        until(lambda: not daemon.waiting(), "not removed")


def test_killed_while_a_program_runs(daemon: Daemon) -> None:
    """It ends what it is at, and nobody begins it a second time."""
    count, go = daemon.folder / "count", daemon.folder / "go"
    count.touch()
    count.chmod(0o666)
    program = daemon.folder / "told"
    program.write_text(f"#!/bin/sh\necho begin >>{count}\nn=0\nwhile [ ! -e {go} ] && [ $n -lt 1200 ]\n"
                       f"do sleep 0.05; n=$((n+1)); done\necho end >>{count}\n")
    program.chmod(0o755)
    daemon.write(NOTIFYD_METHODS="external", NOTIFYD_EXTERNAL=str(program))
    daemon.start()
    daemon.send(Event("ann", "INBOX", 5).encode())
    until(lambda: "begin" in count.read_text(), "not begun")
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert ", 1 waiting" in daemon.said()
    go.touch()
    until(lambda: not daemon.waiting(), "not done")
    until(lambda: daemon.said().count("NOTIFIED, user=ann") == 1, "not said")
    daemon.stop()
    assert count.read_text() == "begin\nend\n"


def test_what_hangs_holds_up_nobody_else(daemon: Daemon) -> None:
    """Other methods go on, and it ends in time when it is told to."""
    program = daemon.folder / "told"
    program.write_text("#!/bin/sh\nexec sleep 300\n")
    program.chmod(0o755)
    with heard(200) as (url, _):
        daemon.write(NOTIFYD_METHODS="external webhook", NOTIFYD_EXTERNAL=str(program), NOTIFYD_TIMEOUT="1",
                     NOTIFYD_WEBHOOK_URL=url)
        daemon.start()
        for number in range(8):
            daemon.send(Event(f"user{number}", "INBOX", 5).encode())
        told = re.compile(r"INFO: NOTIFIED, user=user\d, mailbox=INBOX, method=webhook")
        until(lambda: len(told.findall(daemon.said())) == 8, "held up")
        until(lambda: daemon.said().count("it took too long") >= 4, "not ended")
        daemon.stop()
    assert [entry.method for entry in Queue(str(daemon.queue)).load()] == ["external"] * 8


def test_odd_datagrams_and_a_full_queue(daemon: Daemon) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        daemon.write(NOTIFYD_METHODS="webhook", NOTIFYD_QUEUE_MOST="10",
                     NOTIFYD_WEBHOOK_URL=f"http://127.0.0.1:{closed.getsockname()[1]}/")
        daemon.start()
        for data in (b"", b"\0" * 100000, b"{}", b"[" * 60000, b"\xff"):
            daemon.send(data)
        for number in range(30):
            daemon.send(Event(f"user{number % 3}", "INBOX", 5).encode())
        until(lambda: "the queue is full" in daemon.said(), "not told")
        until(lambda: daemon.said().count("NOTIFIED LATER") >= 10, "not tried")
        daemon.stop()
    assert len(daemon.waiting()) == 10
    assert daemon.said().count("is not taken") == daemon.said().count("the queue is full") == 1
    assert "Traceback" not in daemon.said()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be several users")
def test_who_may_tell_of_whose_mail(daemon: Daemon) -> None:
    """Whoever can connect may tell of mail of his own."""
    daemon.write(NOTIFYD_METHODS="log", NOTIFYD_TRUSTED="bin 7777")
    daemon.start()
    for uid, user in ((1, "ann"), (1, "daemon"), (2, "bob"), (7777, "carol"), (54321, "dave"), (0, "last")):
        pid = os.fork()
        if pid == 0:
            try:
                os.setuid(uid)
                daemon.send(Event(user, "INBOX", 5).encode())
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
    until(lambda: "user=last" in daemon.said(), "not told")
    told = [line.partition("user=")[2].partition(",")[0] for line in daemon.said().splitlines()
            if "NEWMAIL" in line]
    assert told == ["daemon", "bob", "carol", "last"]


def test_a_service_from_start_to_end(daemon: Daemon) -> None:
    """As courierpy-notifyd.service has it, with the umask of that; the queue is in no folder yet."""
    unit = dict(line.split("=", 1) for line in (UNITS / "courierpy-notifyd.service").read_text().splitlines()
                if "=" in line and not line.startswith("#"))
    program, *words = unit["ExecStart"].split()
    assert (os.path.basename(program), unit["Type"], unit["NotifyAccess"]) == ("notifyd", "notify", "main")
    there = {"/usr/local/etc/courierpy/imapd": str(daemon.file), "/run/courierpy/notify": str(daemon.socket)}
    daemon.queue = daemon.folder / "spool" / "ours" / "queue"
    daemon.write(NOTIFYD_QUEUE=str(daemon.queue), NOTIFYD_SOCKET="", NOTIFYD_METHODS="log")
    manager = Manager()
    try:
        environ = plain_environ(IMAP_LOG="courier", WATCHDOG_USEC="200000", NOTIFY_SOCKET=f"@{manager.name}")
        with daemon.log.open("ab") as log:
            daemon.process = subprocess.Popen(
                [sys.executable, "-m", "courierpy.notifyd", *(there.get(word, word) for word in words)],
                stdin=subprocess.DEVNULL, stderr=log, umask=int(unit["UMask"], 8),
                env=environ)
        manager.main = daemon.process.pid
        assert "STATUS=0 notifications waiting, 0 on their way" in manager.hears("READY=1")
        manager.hears("WATCHDOG=1")
        daemon.send(Event("ann", "INBOX", 5).encode())
        until(lambda: "NEWMAIL, user=ann" in daemon.said(), "not told")
        daemon.process.send_signal(signal.SIGHUP)
        assert any(line.startswith("MONOTONIC_USEC=") for line in manager.hears("RELOADING=1"))
        manager.hears("READY=1")
        daemon.process.send_signal(signal.SIGTERM)
        manager.hears("STOPPING=1")
        assert daemon.process.wait(60) == 0, daemon.said()
    finally:
        manager.close()


@pytest.mark.parametrize(("values", "why"), [
    ({"NOTIFYD_USER": "no-such-user"}, "there is no user"), ({"NOTIFYD_USER": "root"}, "not root"),
    ({"NOTIFYD_SECRET_FILE": "/nowhere/secret"}, "NOTIFYD_SECRET_FILE"),
    ({"NOTIFYD_QUEUE": "/dev/null/x"}, "NOTIFYD_QUEUE"), ({"NOTIFYD_SOCKET": "/nowhere/notify"}, "/nowhere")])
def test_what_it_cannot_start_with(daemon: Daemon, values: dict[str, str], why: str) -> None:
    daemon.write(**values)
    done = subprocess.run([sys.executable, "-m", "courierpy.notifyd", "-C", str(daemon.file)], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
                          env=plain_environ())
    assert done.returncode == 1 and why in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root must name a user")
def test_it_is_nothing_as_root(daemon: Daemon) -> None:
    daemon.write(NOTIFYD_USER="")
    done = subprocess.run([sys.executable, "-m", "courierpy.notifyd", "-C", str(daemon.file)], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
                          env=plain_environ())
    assert done.returncode == 1 and "NOTIFYD_USER" in done.stderr and not daemon.queue.exists()


def test_two_have_not_one_queue(daemon: Daemon) -> None:
    daemon.start()
    other = daemon.folder / "other"
    words = [sys.executable, "-m", "courierpy.notifyd", "-C", str(daemon.file)]
    for socket_there, why in ((other, "another notifyd has this queue"),
                              (daemon.socket, "another program listens there"),
                              (daemon.file, "something else is there")):
        done = subprocess.run([*words, str(socket_there)], text=True, stdin=subprocess.DEVNULL,
                              capture_output=True, check=False, timeout=60, env=plain_environ())
        assert done.returncode == 1 and why in done.stderr


def test_a_socket_on_descriptor_0(daemon: Daemon) -> None:
    daemon.write(NOTIFYD_SOCKET="")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(daemon.socket))
        with daemon.log.open("ab") as log:
            daemon.process = subprocess.Popen([sys.executable, "-m", "courierpy.notifyd", "-m", "log", "-C",
                                               str(daemon.file)], stdin=made, stderr=log,
                                              env=plain_environ(IMAP_LOG="courier"))
    daemon.send(Event("ann", "INBOX", 5).encode())
    until(lambda: "NEWMAIL, user=ann" in daemon.said(), "not told")
    shutil.rmtree(daemon.queue)                # nothing of it is needed for the log
    daemon.send(Event("bob", "INBOX", 5).encode())
    until(lambda: "NEWMAIL, user=bob" in daemon.said(), "not told")
