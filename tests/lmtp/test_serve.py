"""``courierpy serve --lmtp SOCKET``: the socket, who may connect and deliver, reload, the end."""
from __future__ import annotations

import grp
import os
import pwd
import signal
import smtplib
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import account_ids, plain_environ
from tests.faults.nursery import Nursery
from tests.lmtp.talk import Client, Post
from tests.programs.test_forks import refusing

pytestmark = pytest.mark.server
SERVE = (sys.executable, "-m", "courierpy", "serve")
MESSAGE = "Subject: hello\r\nMessage-ID: <%d@example.com>\r\n\r\nbody\r\n"
# the same, as ``courierpy serve`` starts it
LISTENER = """
import os, sys
{hook}
from courierpy import mtaserve
from courierpy.system import log
log.start("lmtpd", dict(os.environ, IMAP_LOG="lines"))
sys.exit(mtaserve.serve(mtaserve.Wanted([sys.argv[1]]), [sys.argv[2]], dict(os.environ)))
"""


class Served:
    def __init__(self, post: Post, process: subprocess.Popen[bytes], path: Path) -> None:
        self.post = post
        self.process = process
        self.path = path

    def client(self) -> Client:
        end = socket.socket(socket.AF_UNIX)
        end.connect(str(self.path))
        return Client(end, 0)


def until(true: object, what: str) -> None:
    end = time.monotonic() + 60
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.02)


@contextmanager
def served(post: Post, more: Sequence[str] = (), hook: str = "", **settings: str) -> Iterator[Served]:
    """``more``: words of the command line.  ``hook``: Python that it runs first."""
    values = {**post.settings, "IMAPDSTART": "NO", "MAILDIRPATH": "Maildir", **settings}
    values.pop("IMAP_LOG")
    file = post.folder / "imapd"
    file.write_text("".join(f'{name}="{value}"\n' for name, value in values.items()))
    path = post.folder / "lmtp"
    words = [*SERVE, "-C", str(file), "--lmtp", str(path), *more]
    if hook:
        words = [sys.executable, "-c", LISTENER.format(hook=hook), str(path), str(file)]
    with post.log.open("ab") as log:
        process = subprocess.Popen(words, stderr=log, env=plain_environ(TMPDIR=str(post.folder)))
    try:
        until(lambda: "LMTP is served at" in post.log.read_text() or process.poll() is not None, "no start")
        assert process.poll() is None, post.log.read_text()
        yield Served(post, process, path)
    finally:
        process.terminate()
        process.wait(60)
    assert not path.exists()


@pytest.fixture
def lmtp(post: Post) -> Iterator[Served]:
    with served(post) as found:
        yield found


def test_a_client_of_the_library_delivers(lmtp: Served) -> None:
    """Several messages over one connection, and a second client beside it.  (It reads one reply of a message:
    one recipient each.)"""
    post = lmtp.post
    with smtplib.LMTP(str(lmtp.path)) as one, smtplib.LMTP(str(lmtp.path)) as other:
        assert one.sendmail("a@b.c", ["ann"], MESSAGE % 1) == {}
        assert other.sendmail("a@b.c", ["bob"], MESSAGE % 2) == {}
        assert one.sendmail("", ["carol@example.org", "nobody"], MESSAGE % 3) == {
            "nobody": (550, b"5.1.1 There is no such user here")}
        assert one.sendmail("a@b.c", ["bob"], MESSAGE % 4, ["SMTPUTF8", "BODY=8BITMIME"]) == {}
    assert [len(post.mail(user)) for user in ("ann", "bob", "carol@example.org")] == [1, 2, 1]
    assert stat.S_IMODE(os.stat(lmtp.path).st_mode) == 0o660


def test_settings_are_read_again(lmtp: Served) -> None:
    """A client that is there goes on, and finds accounts; the next one has the new settings."""
    post, file = lmtp.post, lmtp.post.folder / "imapd"
    with lmtp.client() as early:
        early.hello(b"<ann>")
        file.write_text(file.read_text() + "LMTP_DELIVERED_TO=0\n")
        lmtp.process.send_signal(signal.SIGHUP)
        until(lambda: "settings read again" in post.log.read_text(), "not read")
        assert early.data(b"Subject: early\r\n\r\n") == ["250 2.1.5"]
        early.hello(b"<carol@example.org>")
        with lmtp.client() as late:
            late.hello(b"<bob>")
            assert late.data(b"Subject: late\r\n\r\n") == ["250 2.1.5"]
    assert b"Delivered-To" in post.mail("ann")[0] and b"Delivered-To" not in post.mail("bob")[0]
    file.write_text("no assignment\n")
    lmtp.process.send_signal(signal.SIGHUP)
    until(lambda: "all stays as it was" in post.log.read_text(), "not told")
    with lmtp.client() as last:
        last.hello(b"<bob>")


def test_told_to_end_it_says_so_to_who_is_there(post: Post) -> None:
    with served(post) as lmtp, lmtp.client() as idle, lmtp.client() as busy:
        busy.hello(b"<ann>")
        assert busy.say(b"DATA") == ["354 The"]
        lmtp.process.terminate()
        assert idle.replies(1) == ["421 4.3.2"] and idle.ended()
        assert busy.replies(1) == ["421 4.3.2"] and busy.ended()
        lmtp.process.wait(60)
    assert post.mail("ann") == [] and post.left("ann") == []


def test_a_refused_fork(post: Post) -> None:
    """A client hears of it, as does who was in the middle of a message; then all goes on."""
    flag = post.folder / "flag"
    with served(post, hook=refusing(flag)) as lmtp:
        with lmtp.client() as there:
            there.hello(b"<ann>")
            flag.touch()
            for _ in range(2):
                late = lmtp.client()
                assert late.replies(1) == ["421 4.3.2"] and late.ended()
                late.end.close()
            assert there.data(b"Subject: early\r\n\r\n")[0].startswith("451 4.")
            flag.unlink()
            there.hello(b"<ann>")
            assert there.data(b"Subject: then\r\n\r\n") == ["250 2.1.5"]
        with lmtp.client() as after:
            after.hello(b"<bob>")
            assert after.data(b"Subject: after\r\n\r\n") == ["250 2.1.5"]
    said = post.log.read_text()
    assert said.count("no process for a client can be started: ") == 1
    assert "Traceback" not in said


def test_the_name_of_the_socket(post: Post) -> None:
    """One that is left over is replaced; one that somebody listens at, and what is none, are not."""
    path = post.folder / "lmtp"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with served(post):
        words = [*SERVE, "-C", str(post.folder / "imapd"), "--lmtp"]
        second, third = (subprocess.run([*words, str(name)], capture_output=True, text=True, check=False,
                                        timeout=60, env=plain_environ(TMPDIR=str(post.folder)))
                         for name in (path, post.folder / "imapd"))
    assert second.returncode == 1 and "another program listens there" in second.stderr
    assert third.returncode == 1 and "something else is there" in third.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be several users")
@pytest.mark.parametrize("mask", [0o077, 0o022])
def test_who_may_deliver(nursery: Nursery, post: Post, mask: int) -> None:
    """A member of the group, whatever our umask; nobody else who can connect."""
    group = grp.getgrgid(pwd.getpwnam("daemon").pw_gid).gr_name
    before = os.umask(mask)
    try:
        with served(post, LMTP_GROUP=group, LMTP_SOCKET_MODE="0666") as lmtp:
            assert lmtp.path.stat().st_gid == pwd.getpwnam("daemon").pw_gid
            program = ("import smtplib, sys\nwith smtplib.LMTP(sys.argv[1]) as client:\n"
                       "    client.sendmail('a@b', ['ann'], 'Subject: s\\r\\n\\r\\n')\n")
            for user, status in (("daemon", 0), ("nobody", 1)):
                entry = pwd.getpwnam(user)
                done = subprocess.run(
                    ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups",
                     "/usr/bin/python3", "-c", program, str(lmtp.path)], capture_output=True, text=True,
                    check=False, timeout=60, env=plain_environ(PYTHONPATH=""), cwd="/")
                assert done.returncode == status, done.stderr
                assert status == 0 or "530" in done.stderr
    finally:
        os.umask(before)
    assert len(post.mail("ann")) == 1


def peak(pid: int) -> int:
    """KiB of memory that a process had at most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("no VmHWM")


def test_a_large_message_needs_no_more_memory(post: Post) -> None:
    with post.client() as client:
        client.hello(b"<ann>", b"<bob>")
        assert client.data(b"Subject: small\r\n\r\n", 2) == ["250 2.1.5"] * 2
        before = peak(client.pid)
        client.hello(b"<ann>", b"<bob>")
        assert client.say(b"DATA") == ["354 The"]
        client.send(b"Subject: large\r\n\r\n")
        piece = b"0123456789abcdef" * 4095 + b"\r\n"
        for _ in range(600):
            client.send(piece)
        client.send(b".\r\n")
        assert client.replies(2) == ["250 2.1.5"] * 2
        assert peak(client.pid) - before < 8 * 1024
    assert sorted(len(copy) for copy in post.mail("bob"))[-1] > 600 * (len(piece) - 1)
    assert account_ids()[0] == (post.folder / "ann" / "Maildir" / "new").stat().st_uid
