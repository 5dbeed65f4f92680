"""The files by which sessions say that they are on, and who is believed."""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.listener.runfolder import RunFolder
from courierpy.system import presence, proc, readonly
from courierpy.system.presence import ASLEEP, AWAKE, IDLE, VARIABLE, Presence, Seen
from tests.programs.chain import eventually

OURSELVES = (-1, -1)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """RUNDIRECTORY."""
    return tmp_path / "run"


@pytest.fixture
def folder(base: Path) -> Iterator[Path]:
    """Of a listener, which is this process."""
    found = opened(str(base))
    yield Path(found.path)
    found.close()


def opened(base: str) -> RunFolder:
    found = RunFolder()
    environ = {"RUNDIRECTORY": base}
    found.open(environ, OURSELVES)
    assert environ.get(VARIABLE, "") == found.path
    return found


@pytest.fixture
def clients() -> Iterator[list[socket.socket]]:
    pairs = [end for _ in range(4) for end in socket.socketpair()]
    yield pairs[::2]
    for end in pairs:
        end.close()


def made(folder: Path, client: socket.socket, user: str = "ann", protocol: str = "IMAP") -> Presence:
    found = Presence.of({VARIABLE: str(folder)}, client.fileno(), protocol, user, ("::ffff:192.0.2.1", "7"))
    assert found is not None
    return found


def all_of(base: Path) -> list[Seen]:
    return list(presence.sessions(str(base)))


def test_what_it_is_at(base: Path, folder: Path, clients: list[socket.socket]) -> None:
    mine = made(folder, clients[0])
    assert all_of(base) == []
    mine.enter()
    seen, = all_of(base)
    assert (seen.user, seen.ip, seen.port, seen.protocol) == ("ann", "192.0.2.1", "7", "IMAP")
    assert (seen.mailbox, seen.state, seen.pid, seen.uid) == ("", AWAKE, os.getpid(), os.getuid())
    assert (folder / seen.name).stat().st_mode & 0o777 == 0o600
    name = 'a=b \0\n\udc80ü'.replace("\0", "")
    mine.be(name, idles=True)
    seen, = all_of(base)
    assert (seen.mailbox, seen.state) == (name, IDLE)
    mine.be("x", sleeps=True)
    again = made(folder, clients[0])       # in another process
    again.enter(seen.began)
    woken, = all_of(base)
    assert (woken.name, woken.began, woken.state) == (seen.name, seen.began, AWAKE)
    again.leave()
    assert all_of(base) == [] and sorted(os.listdir(folder)) == ["told"]


def test_the_file_of_one_that_was_killed_is_in_the_way_of_nobody(base: Path, folder: Path,
                                                                 clients: list[socket.socket]) -> None:
    """The inode of its socket may be another one's now."""
    mine = made(folder, clients[0])
    for name in (mine.name, f".{os.getpid()}"):
        (folder / name).write_bytes(b"what is left")
    mine.enter()
    assert [(each.user, each.state) for each in all_of(base)] == [("ann", AWAKE)]
    mine.be("INBOX")
    assert [each.mailbox for each in all_of(base)] == ["INBOX"]
    mine.leave()
    assert not [name for name in os.listdir(folder) if name != "told"]


def test_a_file_that_is_written_over(base: Path, folder: Path, clients: list[socket.socket]) -> None:
    """It stays the same one, and whoever reads meanwhile finds all of one state or of the other."""
    mine = made(folder, clients[0])
    mine.enter()
    path = folder / mine.name
    first = path.stat().st_ino
    reader, writer = os.pipe()
    names = ["x" * 300, "INBOX"]

    def child() -> int:
        os.close(writer)
        os.set_blocking(reader, False)
        while True:
            for name in names:
                mine.be(name)
            try:
                return len(os.read(reader, 1))
            except BlockingIOError:
                continue

    mine.be(names[0])
    pid = proc.fork(child)
    try:
        found = [presence.read(str(folder), mine.name) for _ in range(2000)]
        assert {each.mailbox for each in found if each is not None} <= {*names} and None not in found
    finally:
        os.close(writer)
        os.close(reader)
        assert os.waitpid(pid, 0)[1] == 0
    assert path.stat().st_ino == first
    path.write_bytes(path.read_bytes().replace(b"INBOX", b"OTHER"))
    assert presence.read(str(folder), mine.name) is None


def test_who_writes_a_file_over_is_waited_for(base: Path, folder: Path, clients: list[socket.socket],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have no processor for a while, in the middle of it."""
    mine = made(folder, clients[0])
    mine.enter()
    path = folder / mine.name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"?")
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == presence.READS - 1:
            path.write_bytes(whole)

    monkeypatch.setattr(time, "sleep", sleep)
    found = presence.read(str(folder), mine.name)
    assert found is not None and found.user == "ann"
    assert 0.05 < sum(slept) < 0.5
    mine.leave()


def test_what_others_put_in_the_place_of_a_file(base: Path, folder: Path,
                                                clients: list[socket.socket]) -> None:
    """Nothing but the session's own file is written over."""
    kept = base / "kept"
    kept.write_bytes(b"a file of ours")
    kept.chmod(0o600)
    mine = made(folder, clients[0])
    for put in (os.link, os.symlink):
        put(kept, folder / mine.name)
        mine.enter()
        mine.be("INBOX")
        assert [each.mailbox for each in all_of(base)] == ["INBOX"]
        assert kept.read_bytes() == b"a file of ours"
        mine.leave()
        mine = made(folder, clients[0])


def test_a_session_that_only_reads_is_on_too(base: Path, folder: Path, clients: list[socket.socket]) -> None:
    readonly.begin()
    try:
        mine = made(folder, clients[0])
        mine.enter()
        assert len(all_of(base)) == 1
        with pytest.raises(OSError, match="Read-only"):
            (folder / "other").write_text("")
        mine.leave()
    finally:
        readonly.end()
    assert all_of(base) == []


def test_a_killed_session_is_not_believed(base: Path, folder: Path, clients: list[socket.socket]) -> None:
    """Nor another process that has its number now, nor a process of somebody else."""
    def child() -> int:
        made(folder, clients[0]).enter()
        signal.pause()
        return 0

    pid = proc.fork(child)
    eventually(lambda: all_of(base))
    seen, = all_of(base)
    assert seen.pid == pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert all_of(base) == []              # it has ended, and nobody has waited for it
    os.waitpid(pid, 0)
    assert all_of(base) == [] and (folder / seen.name).exists()

    said = {"user": "ann", "ip": "", "port": "", "protocol": "IMAP", "mailbox": "", "state": AWAKE,
            "began": "1"}
    mine = {**said, "pid": str(os.getpid()), "tick": str(presence.started(os.getpid()))}
    for name, words in {"1.a": mine, "2.b": {**mine, "tick": "1"}, "3.c": {**said, "pid": "0", "tick": "0"},
                        "4.d": {**mine, "pid": "-1"}, "5.e": {**mine, "pid": "x"}, "6.f": said,
                        "7.g": {**mine, "pid": "1" * 30}}.items():
        (folder / name).write_bytes(presence.octets(words))
    assert [each.name for each in all_of(base)] == ["1.a"]
    if os.getuid() == 0:
        os.chown(folder / "1.a", 65534, 65534)
        assert all_of(base) == []


def test_what_no_session_wrote(base: Path, folder: Path) -> None:
    (folder / "1.empty").write_bytes(b"")
    (folder / "2.noise").write_bytes(bytes(range(256)) * 200)
    (folder / "3.folder").mkdir()
    os.mkfifo(folder / "4.pipe")
    (folder / "5.loop").symlink_to("5.loop")
    (folder / "6.gone").symlink_to("nowhere")
    (folder / "no number").write_bytes(b"")
    assert all_of(base) == []


def test_a_listener_that_was_killed(base: Path, folder: Path, clients: list[socket.socket]) -> None:
    """Nobody sleeps there any more, and the next listener clears its folder; but not one that is alive."""
    mine = made(folder, clients[0])
    mine.enter()
    mine.be("INBOX", sleeps=True)
    assert [each.state for each in all_of(base)] == [ASLEEP]
    dead = base / f"{os.getpid()}.1"
    folder.rename(dead)
    assert all_of(base) == []
    (base / "keep.me").mkdir()
    assert opened(str(base)).path == str(folder)
    assert sorted(os.listdir(base)) == sorted(["keep.me", "others", folder.name])
    assert opened(str(base)).path == str(folder)       # another image
    assert folder.stat().st_mode & 0o7777 == 0o1777 == (base / "others").stat().st_mode & 0o7777
    assert (folder / "told").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_no_folder_where_others_may_write(base: Path, mode: int) -> None:
    base.mkdir()
    base.chmod(mode)
    assert opened(str(base)).path == opened("").path == ""
    assert os.listdir(base) == []


def test_limits(base: Path, folder: Path, clients: list[socket.socket]) -> None:
    """Those of the same user and protocol, asleep or not, of all listeners; no dead ones."""
    first, second, third = [made(folder, client) for client in clients[:3]]
    assert first.enter_as_one_of(2)
    first.be("INBOX", sleeps=True)
    made(folder, clients[0], "bob").enter()
    made(folder, clients[0], protocol="POP3").enter()
    assert second.enter_as_one_of(2)
    assert not third.enter_as_one_of(2)
    assert len(all_of(base)) == 4          # the third one has no file
    elsewhere = Presence.of({"RUNDIRECTORY": str(base)}, clients[3].fileno(), "IMAP", "ann", ("", ""))
    assert elsewhere is not None and not elsewhere.enter_as_one_of(2) and elsewhere.enter_as_one_of(3)
    elsewhere.leave()
    second.leave()
    assert third.enter_as_one_of(2)


def test_of_two_that_come_at_once_one_is_the_first(base: Path, folder: Path,
                                                   clients: list[socket.socket]) -> None:
    """Whatever the order in which each has done its steps: never both, and never none."""
    first, second = [made(folder, client) for client in clients[:2]]
    first.enter()
    began = all_of(base)[0].began
    second.enter(began - 1)                # it has read the clock, and then slept until now
    assert second._before_us() == 0 and first._before_us() == 1
    first.enter(began + 5)
    assert (first._before_us(), second._before_us()) == (1, 0)


def test_one_that_has_not_read_the_clock_does_not_hold_others_up(
        base: Path, folder: Path, clients: list[socket.socket]) -> None:
    first, second = [made(folder, client) for client in clients[:2]]
    first._there = True
    first._write()
    assert second.enter_as_one_of(1)


def test_what_cannot_be_written_ends_nothing(tmp_path: Path, clients: list[socket.socket],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(presence.log, "debug", logged.append)
    mine = made(tmp_path / "none", clients[0])
    mine.enter()
    mine.be("INBOX", idles=True)
    mine.leave()
    assert len(logged) == 1
    assert mine.enter_as_one_of(1)
    assert len(logged) == 2, "it is tried once"
    assert Presence.of({}, clients[0].fileno(), "IMAP", "ann", ("", "")) is None
    assert Presence.of({VARIABLE: str(tmp_path)}, 9999, "IMAP", "ann", ("", "")) is None


def test_the_word_of_the_administrator(folder: Path, clients: list[socket.socket]) -> None:
    mine = made(folder, clients[0])
    assert mine.told() == presence.KICKED
    (folder / "told" / mine._name).write_bytes(b"Away\r\n* OK \x1b[2J\xff" + b"x" * 1000)
    assert mine.told().startswith("Away  * OK  [2J") and mine.told().isprintable() and len(mine.told()) <= 400
    (folder / "told" / mine._name).write_bytes(b" \n")
    assert mine.told() == presence.KICKED


# in a namespace of its own: a listener of root's, and a session of somebody else's, who sees no process of
# root's; then no listener any more
HIDDEN = """
import os, signal, sys
from courierpy.listener.runfolder import RunFolder
from courierpy.system import presence

base = sys.argv[1]
def listener():
    found = RunFolder()
    found.open({"RUNDIRECTORY": base}, (-1, -1))
    os.write(1, b"open\\n")
    signal.pause()
    return 0

pid = os.fork()
if not pid:
    os._exit(listener())
sys.stdin.readline()
folder, = (name for name in os.listdir(base) if name != "others")
folder = os.path.join(base, folder)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
assert presence.started(pid) == 0, "root's processes are hidden"
clients = [os.pipe()[0] for _ in range(2)]
def made(client):
    return presence.Presence.of({"COURIERPY_SESSIONS": folder}, client, "IMAP", "ann", ("", ""))
first, second = map(made, clients)
print("one", first.enter_as_one_of(1))
print("two", second.enter_as_one_of(1))
print("hidden", presence.listener_of(folder) == pid, presence.listener_of(os.path.join(base, "99999.5")))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="to mount takes root")
def test_where_a_session_sees_no_process_of_others(tmp_path: Path) -> None:
    """proc mounted with hidepid: limits hold there too."""
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:-2]:
        parent.chmod(parent.stat().st_mode | 0o011)
    script = ("mount -t proc -o hidepid=2 proc /proc && "
              f"exec {sys.executable} -c \"$SCRIPT\" {tmp_path / 'run'}")
    done = subprocess.Popen(["unshare", "-mpf", "--kill-child", "sh", "-c", script], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**os.environ, "SCRIPT": HIDDEN})
    assert done.stdin is not None and done.stdout is not None and done.stderr is not None
    try:
        if done.stdout.readline() != b"open\n":
            why = done.stderr.read().decode()
            if "mount" in why or "unshare" in why:
                pytest.skip(why)
            raise AssertionError(why)
        said, why = done.communicate(b"\n", 60)
    finally:
        done.kill()
    assert said.decode().split("\n")[:3] == ["one True", "two False", "hidden True 0"], why.decode()


@pytest.mark.parametrize("gone", ["removed", "another", "linked"])
def test_a_file_that_is_open_and_is_it_no_more(base: Path, folder: Path, clients: list[socket.socket],
                                               gone: str) -> None:
    """What has its name says how the session is."""
    mine = made(folder, clients[0])
    mine.enter()
    path = folder / mine.name
    if gone == "linked":
        os.link(path, base / "kept")
    else:
        path.unlink()
    if gone == "another":
        path.write_bytes(b"x" * 50)
    mine.be("INBOX")
    assert [each.mailbox for each in all_of(base)] == ["INBOX"]
    assert gone != "linked" or b"mailbox=INBOX" not in (base / "kept").read_bytes()
    mine.be("INBOX.other")
    assert [each.mailbox for each in all_of(base)] == ["INBOX.other"]
    mine.leave()
    assert not path.exists()


def test_no_descriptor_is_left(base: Path, folder: Path, clients: list[socket.socket]) -> None:
    """Of a session that is over, or goes on in another process."""
    before = os.listdir("/proc/self/fd")
    mine = made(folder, clients[0])
    mine.enter()
    mine.be("INBOX", sleeps=True)
    mine.let_go()
    assert os.listdir("/proc/self/fd") == before
    mine.be("INBOX")
    assert [each.state for each in all_of(base)] == [AWAKE]
    mine.leave()
    other = made(folder, clients[1])
    other.enter()
    other.leave()
    assert os.listdir("/proc/self/fd") == before and all_of(base) == []
