"""Sessions for which the kernel has no instance of inotify left hear all the same, at once."""
from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import socket
import struct
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from courierpy.hibernate import hearing
from courierpy.system import inotify
from tests.account import account_ids
from tests.conftest import descriptors, until
from tests.programs.chain import Chain, chain, eventually
from tests.programs.hibernating import is_keeper
from tests.realtime.windows import deliver

pytestmark = pytest.mark.server

# the keeper makes its own as root; nobody, who the sessions are, has none
NONE_LEFT = """
import errno
from courierpy.system.inotify import Inotify
make = Inotify.__init__
def refuse(self):
    if os.geteuid():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    make(self)
Inotify.__init__ = refuse
"""
# when a keeper ends it is told when that one was started
SINCE = """
from courierpy.hibernate.link import Sleepers
from courierpy.system import log
ended = Sleepers.ended
def tells(self, pid, status):
    if pid == self.pid:
        log.notice(f"it began at {self._started}.")
    return ended(self, pid, status)
Sleepers.ended = tells
"""
SLOW_CLOCK = {"IMAP_HIBERNATE": "0", "IMAP_IDLE_TIMEOUT": "600"}


@pytest.fixture(autouse=True)
def _root() -> None:
    if os.getuid():
        pytest.skip("not root: the keeper and the sessions are the same user")


def maildir(server: Chain) -> Path:
    path = server.home / "Maildir"
    for part in ("tmp", "new", "cur"):
        (path / part).chmod(0o777)
    return path


def told(client: socket.socket, text: bytes) -> bytes:
    said = until(client, text)
    assert text in said, said
    return said


def keeper(server: Chain) -> int:
    found: list[int] = []
    eventually(lambda: found.extend(pid for pid in server.children() if is_keeper(pid)) or found)
    return found[0]


def test_all_is_heard() -> None:
    with chain(before=NONE_LEFT, **SLOW_CLOCK) as server:
        path = maildir(server)
        before = server.children()
        assert not any(is_keeper(pid) for pid in before)       # it is not started before it is wanted
        clients = [server.session(b"SELECT INBOX", b"IDLE") for _ in range(3)]
        other = server.session(b"SELECT INBOX")
        deliver(path, "1800000000.M1P1.host")
        for client in clients:
            told(client, b"* 5 EXISTS\r\n")
        other.sendall(b"a STORE 1 +FLAGS (\\Flagged)\r\nb STORE 2 +FLAGS (word)\r\n")
        for client in clients:
            assert b"* 1 FETCH (FLAGS (\\Flagged" in told(client, b"word))")
        other.sendall(b"c STORE 3 +FLAGS (\\Deleted)\r\nd EXPUNGE\r\n")
        for client in clients:
            told(client, b"* 3 EXPUNGE\r\n")
            client.sendall(b"DONE\r\n")
            told(client, b"s2 OK")
        assert "inotify" not in server.log.read_text()


def test_another_keeper_is_heard_too() -> None:
    with chain(before=NONE_LEFT, **SLOW_CLOCK) as server:
        path = maildir(server)
        clients = [server.session(b"SELECT INBOX", b"IDLE") for _ in range(5)]
        for turn in range(3):
            old = keeper(server)
            os.kill(old, signal.SIGKILL)
            deliver(path, f"180000000{turn}.M1P1.host")
            for client in clients:
                told(client, b"* %d EXISTS\r\n" % (5 + 2 * turn))
            eventually(lambda old=old: keeper(server) != old)  # type: ignore[misc]
            deliver(path, f"190000000{turn}.M1P1.host")
            for client in clients:
                told(client, b"* %d EXISTS\r\n" % (6 + 2 * turn))


def test_a_large_folder_is_up_to_date_at_each_command() -> None:
    """A session that is not idle asks before it looks: nothing is told later than without a keeper."""
    with chain(before=NONE_LEFT, **SLOW_CLOCK) as server:
        path = maildir(server)
        for number in range(400):
            deliver(path, f"17000{number:05}.M1P1.host")
        one, two = server.session(b"SELECT INBOX"), server.session(b"SELECT INBOX")
        one.sendall(b"a STORE 400 +FLAGS.SILENT (\\Seen)\r\nb NOOP\r\n")     # from now on there is a watch
        told(one, b"b OK")
        assert any(is_keeper(pid) for pid in server.children())
        for turn in range(1, 30):
            two.sendall(b"c STORE %d +FLAGS.SILENT (\\Flagged)\r\n" % turn)
            told(two, b"c OK")
            one.sendall(b"d NOOP\r\n")
            assert b"* %d FETCH" % turn in told(one, b"d OK")


def test_more_idle_sessions_of_a_user_than_the_kernel_has_instances() -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    if limit > 150:
        pytest.skip(f"this kernel has {limit} instances for a user")
    with chain("-maxperip=300", "-maxprocs=300", **SLOW_CLOCK) as server, ExitStack() as stack:
        path = maildir(server)
        clients = [stack.enter_context(server.session(b"SELECT INBOX", b"IDLE")) for _ in range(limit + 32)]
        deliver(path, "1800000000.M1P1.host")
        for client in clients:
            told(client, b"* 5 EXISTS\r\n")
        assert "every 600 seconds" not in server.log.read_text()


def of_another_user() -> tuple[str, str]:
    uid, gid = account_ids()
    return f"-user={uid}", f"-group={gid}"


def test_a_keeper_that_cannot_begin_is_tried_again_less_and_less() -> None:
    """Its user has no instance of inotify left; sessions are served meanwhile."""
    with chain(*of_another_user(), before=NONE_LEFT + SINCE) as server:
        with server.session(b"SELECT INBOX"):
            pass
        log = server.wait_log("CRIT: the keeper of idle connections ended", 3)
        first, second, third = map(float, re.findall(r"it began at ([\d.]+)\.$", log, re.M)[:3])
        assert second - first >= 2 and third - second >= 4


def test_a_user_who_may_not_read_pyinotify_has_no_keeper() -> None:
    """Which is told once, at the start; idle clients hear by the clock."""
    library = Path(tempfile.mkdtemp(prefix="courierpy-test-"))         # which the account may enter
    try:
        library.chmod(0o755)
        (library / "pyinotify.py").touch(0o600)
        with chain(*of_another_user(), before=f"sys.path.insert(0, {str(library)!r})",
                   IMAP_IDLE_TIMEOUT="1") as server:
            with server.session(b"SELECT INBOX", b"IDLE") as client:
                deliver(maildir(server), "1800000000.M1P1.host")
                told(client, b" EXISTS\r\n")
            log = server.log.read_text()
            assert log.count("hear by the clock: pyinotify may not be read by this user\n") == 1
            assert "CRIT" not in log
    finally:
        shutil.rmtree(library)



@pytest.mark.parametrize("stays", [True, False])
def test_the_keeper_keeps_no_instance_of_a_session(tmp_path: Path, stays: bool) -> None:
    """Else the instances of its user are used up by sessions that ended long ago."""
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    before = descriptors()
    ours, theirs = socket.socketpair()
    with theirs:
        if not stays:
            ours.close()
            with pytest.raises(OSError):
                hearing.make(hearing.INSTANCE, [theirs.fileno()])
        else:
            hearing.make(hearing.INSTANCE, [theirs.fileno()])
            _, (instance,), _, _ = socket.recv_fds(ours, 64, 1)
            hearing.make(hearing.WATCH + struct.pack("=I", 0x100), [theirs.fileno(), instance, directory])
            number, = struct.unpack_from("=I", ours.recv(64), 1)
            hearing.make(hearing.UNWATCH + struct.pack("=I", number), [instance])
            os.close(instance)
            ours.close()
    assert descriptors() == before
    os.close(directory)


def test_many_directories_are_watched_at_one_request(tmp_path: Path) -> None:
    """What cannot be watched takes nothing from the others."""
    parts = [tmp_path / f"d{number}" for number in range(5)]
    for part in parts:
        part.mkdir()
    (tmp_path / "file").touch()
    opened = [os.open(path, os.O_RDONLY) for path in (*parts[:2], tmp_path / "file", *parts[2:])]
    instance = inotify.Inotify()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        request = hearing.WATCH + struct.pack("=I", inotify.IN_CREATE) * len(opened)
        assert hearing.descriptors(request) == 2 + len(opened)
        hearing.make(request, [theirs.fileno(), instance.fd, *opened])
        answer = ours.recv(1000)
    numbers = struct.unpack_from(f"={len(opened)}i", answer, 1)
    assert (answer[:1], numbers[2]) == (hearing.NUMBER, -errno.ENOTDIR)
    for part in parts:
        (part / "new").touch()
    watches = [number for number in numbers if number > 0]
    assert [number for number, _, name in instance.events() if name == b"new"] == watches
    assert len({*watches}) == len(parts)
    instance.close()
    for fd in opened:
        os.close(fd)
    assert hearing.descriptors(hearing.WATCH + b"mask" * (hearing.MOST + 1)) == 0


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_events_come_as_they_were(count: int) -> None:
    events = [(number, 0x100, b"x" * (number % 255)) for number in range(count)]
    assert [event for message in hearing.pack(events) for event in hearing.unpack(message)] == events
    assert all(len(message) < 2 * hearing.PACKET for message in hearing.pack(events))
