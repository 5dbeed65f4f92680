"""The folder lock on a real file system: rules of staleness, racers, ways out, waiting."""
from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from courierpy.maildir import errors, lockholder, lockqueue, locks, lockwait
from courierpy.maildir.lockqueue import Queue
from courierpy.maildir.locks import FolderLock
from courierpy.system import inotify
from tests.conftest import fill, plain_environ
from tests.maildir.children import ended, process, wait_until

HOST = os.uname().nodename


@pytest.fixture
def lock(maildir: Path) -> FolderLock:
    return FolderLock(str(maildir), "host")


@pytest.fixture
def path(maildir: Path) -> Path:
    return maildir / "tmp" / "courier.lock"


@pytest.fixture
def log(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    return lambda: capfd.readouterr().err.splitlines()


@pytest.fixture(autouse=True, params=[True, False], ids=["queue", "no queue"])
def queue(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With the queue of this host's processes, and where there is none, as on NFS."""
    monkeypatch.setattr(lockqueue, "_doubts", {})
    if not request.param:
        def flock(fd: int, how: int) -> None:
            if os.path.isdir(f"/proc/self/fd/{fd}"):
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            fcntl.flock(fd, how)

        monkeypatch.setattr(lockqueue, "fcntl", SimpleNamespace(flock=flock, LOCK_EX=fcntl.LOCK_EX,
                                                                LOCK_NB=fcntl.LOCK_NB))
    return bool(request.param)


@pytest.fixture(autouse=True)
def no_ear(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins as a process that has never waited long."""
    monkeypatch.setattr(inotify, "_dispatcher", None)
    yield
    inotify.drop()


def dead_pid() -> int:
    with process(lambda: None) as pid:
        ended(pid)
    return pid


def held_by(path: Path, text: str, age: float = 0.0) -> None:
    path.write_text(text)
    os.utime(path, (time.time() - age,) * 2)


def descriptors() -> list[str]:
    """What is open, by kind."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue                                     # the directory that was just read
    return sorted(found)


def hold_for_ever(maildir: Path) -> None:
    with FolderLock(str(maildir), "host"):
        while True:
            signal.pause()


def no_queue(queue: Queue) -> bool:
    queue.first = True
    return True


# -- as Courier takes it

def test_lock(maildir: Path, path: Path) -> None:
    with FolderLock(str(maildir), "host"):
        assert path.read_text() == f"{os.getpid()}:{os.uname().nodename}"
        assert os.listdir(path.parent) == ["courier.lock"]
        assert path.stat().st_nlink == 1
    assert not path.exists()
    with FolderLock(str(maildir), "host", enabled=False) as lock:
        assert os.listdir(path.parent) == []
        assert lock.take()
        lock.release()


def test_the_file_that_is_linked(maildir: Path, lock: FolderLock, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def link(source: str, target: str) -> None:
        seen.append((source, target, Path(source).read_bytes(), os.stat(source).st_mode & 0o777))
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "link", link)
    before = os.umask(0o022)
    try:
        with pytest.raises(errors.DiskTrouble):
            lock.take()
    finally:
        os.umask(before)
    ((source, target, text, mode),) = seen
    assert Path(source).parent == Path(target).parent == maildir / "tmp"
    head, _, tail = Path(source).name.partition("P")
    assert all(part.isdigit() for part in head.split(".M"))
    assert tail == f"{os.getpid()}_courierlock.host"
    assert (text, mode) == (f"{os.getpid()}:{HOST}".encode(), 0o644)
    assert os.listdir(maildir / "tmp") == []             # gone, though link failed
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_a_link_that_says_it_failed(lock: FolderLock, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS: the answer is lost, the repeated call finds the name taken: by us."""
    real = os.link

    def link(source: str, target: str) -> None:
        real(source, target)
        raise FileExistsError(errno.EEXIST, "exists")

    monkeypatch.setattr(os, "link", link)
    with lock:
        assert path.exists()
        assert os.listdir(path.parent) == ["courier.lock"]
    assert os.listdir(path.parent) == []


def test_reentered(lock: FolderLock, path: Path) -> None:
    with lock:
        inode = path.stat().st_ino
        with lock:
            assert lock.take()
            lock.release()
            assert path.stat().st_ino == inode
        assert path.exists()
    assert not path.exists()
    lock.release()                                       # of nothing: no harm
    with lock:
        assert path.exists()
    assert not path.exists()


# -- stale ones

def test_lock_of_a_dead_process(lock: FolderLock, path: Path, log: Callable[[], list[str]],
                                monkeypatch: pytest.MonkeyPatch) -> None:
    def never(seconds: float) -> None:
        raise AssertionError                             # Courier pauses for 5 seconds

    pid = dead_pid()
    held_by(path, f"{pid}:{HOST}")
    monkeypatch.setattr(time, "sleep", never)
    with lock:
        assert path.read_text() == f"{os.getpid()}:{HOST}"
    assert log() == [f"INFO: {path}: stale, of pid {pid} of host {HOST}"]


def test_lock_of_a_zombie(lock: FolderLock, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.3)
    with process(lambda: None) as pid:
        assert ended(pid) == 0
        os.kill(pid, 0)                                  # to the kernel it is there
        held_by(path, f"{pid}:{HOST}")
        assert lock.take()
        lock.release()


@pytest.mark.parametrize(("text", "age", "stale"), [
    ("1:elsewhere", 100, False), ("1:elsewhere", 130, True),
    ("", 5, False), ("", 15, True),
    ("garbage", 100, False), ("garbage", 130, True),
    (f"0:{HOST}", 100, False), (f"0:{HOST}", 130, True),
    (f"-1:{HOST}", 100, False), (f"-1:{HOST}", 130, True),
    (f"{1 << 31}:{HOST}", 100, False), (f"{'9' * 200}:{HOST}", 130, True),
    ("\0\xff:", 100, False), ("\0\xff:", 130, True)])
def test_by_age(lock: FolderLock, path: Path, text: str, age: float, stale: bool,
                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.03)
    held_by(path, text, age)
    if stale:
        with lock:
            assert path.read_text() == f"{os.getpid()}:{HOST}"
        assert os.listdir(path.parent) == []
    else:
        with pytest.raises(errors.Busy):
            lock.take()
        assert os.listdir(path.parent) == ["courier.lock"]
        assert path.read_text() == text


def test_age_by_the_clock_of_the_files(lock: FolderLock, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file server whose clock differs from ours by an hour."""
    monkeypatch.setattr(locks, "PATIENCE", 0.03)
    held_by(path, "1:elsewhere", 5)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    with pytest.raises(errors.Busy):
        lock.take()


@pytest.mark.parametrize(("age", "stale"), [(0, False), (60, True)])
def test_a_process_younger_than_the_lock(lock: FolderLock, path: Path, age: float, stale: bool,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder died, and its number was given again."""
    monkeypatch.setattr(locks, "PATIENCE", 0.03)
    with process(lambda: time.sleep(600)) as pid:
        held_by(path, f"{pid}:{HOST}", age)
        if stale:
            assert lock.take()
            lock.release()
        else:
            with pytest.raises(errors.Busy):
                lock.take()


def test_an_old_lock_of_an_old_process_is_no_stale_one(lock: FolderLock, path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.03)
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    words = Path("/proc/1/stat").read_text().rpartition(")")[2].split()
    held_by(path, f"1:{HOST}", (began - int(words[19]) / os.sysconf("SC_CLK_TCK")) / 2)
    with pytest.raises(errors.Busy):
        lock.take()


def test_our_own_number(lock: FolderLock, maildir: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held_by(path, f"{os.getpid()}:{HOST}")               # of an earlier process
    with lock:
        # but not what another object of this process holds, by whatever path
        monkeypatch.setattr(locks, "PATIENCE", 0.03)
        other = FolderLock(f"{maildir.parent}/./{maildir.name}/", "host")
        inode = path.stat().st_ino
        with pytest.raises(errors.Busy):
            other.take()
        assert path.stat().st_ino == inode
    with other:
        assert path.exists()
    assert not path.exists()


def test_two_judge_one_stale_lock(maildir: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second wakes when the first has removed it already, and has taken its own, as one may
    that knows nothing of the queue."""
    monkeypatch.setattr(Queue, "attempt", no_queue)
    held_by(path, f"{dead_pid()}:{HOST}")
    first, second = FolderLock(str(maildir), "host"), FolderLock(str(maildir), "host")
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    real, judged = lockholder.alive, []

    def alive(pid: int, age: float = 0.0) -> bool:
        answer = real(pid, age)
        judged.append(pid)
        if len(judged) == 1:                             # the second has judged; now the first comes
            assert first.take()
        return answer

    monkeypatch.setattr(lockholder, "alive", alive)
    with pytest.raises(errors.Busy):
        second.take()
    assert len(judged) >= 2
    assert path.read_text() == f"{os.getpid()}:{HOST}"
    first.release()
    assert os.listdir(path.parent) == []


def test_while_another_removes_it(lock: FolderLock, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    held_by(path, f"{dead_pid()}:{HOST}")
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(errors.Busy):
            lock.take()
        assert path.exists()
    with lock:
        assert path.read_text() == f"{os.getpid()}:{HOST}"


def test_no_flock_on_this_file_system(lock: FolderLock, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def flock(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    held_by(path, f"{dead_pid()}:{HOST}")
    with lock:
        assert path.read_text() == f"{os.getpid()}:{HOST}"


@pytest.mark.parametrize("kind", ["directory", "link", "pipe"])
def test_what_is_no_lock(lock: FolderLock, path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    {"directory": path.mkdir, "link": lambda: path.symlink_to("nowhere"),
     "pipe": lambda: os.mkfifo(path)}[kind]()
    with pytest.raises(errors.Busy if kind == "pipe" else errors.DiskTrouble):
        lock.take()
    assert os.listdir(path.parent) == ["courier.lock"]


# -- racers

COUNTING = """
import sys
from courierpy.maildir.locks import FolderLock
lock = FolderLock(sys.argv[1], "host")
for _ in range(int(sys.argv[3])):
    with lock:
        with open(sys.argv[2], "r+b", 0) as file:
            number = int(file.read())
            file.seek(0)
            file.write(b"%d" % (number + 1))
"""


def test_counting(maildir: Path, tmp_path: Path, path: Path) -> None:
    """No update is lost, no lock either; a stale one at the start that all find."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    held_by(path, f"{dead_pid()}:{HOST}")
    running = [subprocess.Popen([sys.executable, "-c", COUNTING, str(maildir), str(counter), "200"],
                                env=plain_environ(), stderr=subprocess.PIPE) for _ in range(8)]
    told = [one.communicate(timeout=100)[1] for one in running]
    assert [one.returncode for one in running] == [0] * 8, told
    assert counter.read_text() == "1600"
    assert sum(b"stale" in text for text in told) == 1
    assert os.listdir(path.parent) == []


def test_holders_that_are_killed(maildir: Path, tmp_path: Path, path: Path) -> None:
    """Racers die by SIGKILL at any moment; whoever stays goes on and never shares the lock."""
    lock = FolderLock(str(maildir), "host")
    witness = tmp_path / "witness"
    witness.touch()

    def once() -> None:
        with lock, witness.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)     # raises when another is in here too
            os.lstat(path)

    def work() -> None:
        while True:
            once()

    for attempt in range(30):
        with process(work) as one, process(work) as two:
            time.sleep(0.004 + attempt * 0.0007)
            os.kill(one, signal.SIGKILL)
            once()
            os.kill(two, signal.SIGKILL)
            assert (ended(one), ended(two)) == (signal.SIGKILL, signal.SIGKILL)
        once()


# -- ways out

@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_exceptions(lock: FolderLock, path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), lock, lock:
        raise error
    assert os.listdir(path.parent) == []


def test_signals_at_any_moment(maildir: Path, path: Path) -> None:
    """A handler that raises: wherever it comes, no lock stays, and signals are heard again."""
    class Ended(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Ended

    def work() -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, handler)
        lock = FolderLock(str(maildir), "host")
        caught = 0
        while caught < 200:
            try:
                os.write(ready, b".")
                while True:
                    with lock:
                        os.lstat(path)
            except Ended:
                caught += 1
                if path.exists() or locks._held or signal.pthread_sigmask(signal.SIG_BLOCK, ()):
                    raise AssertionError(caught) from None

    heard, ready = os.pipe()
    with process(work) as pid:
        os.close(ready)
        for count in range(200):
            assert os.read(heard, 1) == b"."
            time.sleep(0.0001 * (count % 10) + 0.000007 * count)
            os.kill(pid, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)[count % 3])
        assert ended(pid) == 0
    os.close(heard)


def test_sigterm_while_holding(maildir: Path, path: Path) -> None:
    """It waits for the end of the body; then it has its effect."""
    def work() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with FolderLock(str(maildir), "host"):
            os.write(inside, b".")
            os.read(go, 1)
            os.write(inside, b"whole")
        os.write(inside, b"alive")                       # must not come

    heard, inside = os.pipe()
    go, start = os.pipe()
    with process(work) as pid:
        os.close(inside)
        assert os.read(heard, 1) == b"."
        os.kill(pid, signal.SIGTERM)
        assert path.exists()
        os.write(start, b".")
        assert ended(pid) == signal.SIGTERM
        assert os.read(heard, 100) == b"whole"
        assert os.listdir(path.parent) == []
    for fd in (heard, go, start):
        os.close(fd)


def test_sigterm_while_waiting(maildir: Path, path: Path) -> None:
    held_by(path, f"{os.getpid()}:{HOST}")

    def work() -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
        try:
            FolderLock(str(maildir), "host").take()
        except SystemExit:
            return
        raise AssertionError

    with process(work) as pid:
        wait_until(lambda: len(os.listdir(path.parent)) == 2)
        time.sleep(0.05)                                 # by now it watches
        os.kill(pid, signal.SIGTERM)
        assert ended(pid) == 0
    assert os.listdir(path.parent) == ["courier.lock"]


def test_fork(lock: FolderLock, maildir: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child holds nothing: it releases nothing, and must wait like any other."""
    monkeypatch.setattr(locks, "PATIENCE", 0.05)

    def work() -> None:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
        with pytest.raises(errors.Busy), lock:
            pass
        lock.release()
        lock.release()
        assert path.read_text() == f"{os.getppid()}:{HOST}"

    with lock:
        with process(work) as pid:
            assert ended(pid) == 0
        assert path.exists()
        with process(lambda: lock.__exit__(None, None, None)) as pid:
            assert ended(pid) == 0
        assert path.exists()
    assert not path.exists()
    with process(lambda: lock.__enter__()) as pid:       # and it may take its own
        assert ended(pid) == 0
        assert path.read_text() == f"{pid}:{HOST}"


def test_what_was_blocked_stays_blocked(lock: FolderLock) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        with lock:
            assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGHUP}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- waiting

def test_lock_that_is_held(lock: FolderLock, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    held_by(path, f"{os.getppid()}:{HOST}")
    with pytest.raises(errors.Busy), lock:
        pass
    assert os.listdir(path.parent) == ["courier.lock"]


def test_a_stuck_holder(lock: FolderLock, maildir: Path, path: Path, log: Callable[[], list[str]],
                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockwait, "REPORT", 0.1)
    monkeypatch.setattr(locks, "PATIENCE", 0.8)
    with process(lambda: hold_for_ever(maildir)) as pid:
        wait_until(lambda: os.listdir(path.parent) == ["courier.lock"])      # its private name has gone too
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(errors.Busy, match=f"held by pid {pid} of host {HOST}$"):
            lock.take()
        lines = [line for line in log() if "lock held" in line]
        assert lines == [f"WARN: {path}: lock held for 0 s by pid {pid} of host {HOST}"]
        assert os.listdir(path.parent) == ["courier.lock"]
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    with lock:                                           # it is killed
        assert path.read_text() == f"{os.getpid()}:{HOST}"


def test_patience_is_bounded_and_reports_before() -> None:
    assert 0 < lockwait.REPORT < locks.PATIENCE < 15


@pytest.fixture
def slow_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only an event can end a pause: neither the clock nor short pauses."""
    real = time.sleep

    def sleep(seconds: float) -> None:
        assert seconds <= lockwait.LAST_SPIN
        real(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(lockwait, "LOOK_AGAIN", 600.0)
    monkeypatch.setattr(locks, "TURN", 600.0)
    monkeypatch.setattr(locks, "PATIENCE", 1000.0)


@pytest.mark.usefixtures("slow_look")
def test_woken_by_the_release(lock: FolderLock, path: Path) -> None:
    held_by(path, f"{os.getppid()}:{HOST}")

    def release() -> None:
        (path.parent / "another").write_text("x")        # what else happens in tmp/ is no sign
        (path.parent / "another").unlink()
        threading.Event().wait(0.1)
        path.unlink()

    timer = threading.Timer(0.2, release)
    timer.start()
    with lock:
        assert path.read_text() == f"{os.getpid()}:{HOST}"
    timer.join()


@pytest.mark.usefixtures("slow_look")
def test_woken_by_the_holders_death(lock: FolderLock, maildir: Path, path: Path) -> None:
    with process(lambda: hold_for_ever(maildir)) as pid:
        wait_until(path.exists)
        timer = threading.Timer(0.2, os.kill, (pid, signal.SIGKILL))
        timer.start()
        with lock:                                       # it is a zombie until we ask
            assert path.read_text() == f"{os.getpid()}:{HOST}"
        timer.join()


@pytest.mark.usefixtures("slow_look")
def test_many_waiters(maildir: Path, lock: FolderLock, path: Path) -> None:
    def work() -> None:
        with FolderLock(str(maildir), "host"):
            pass

    with lock, process(work) as one, process(work) as two, process(work) as three:
        wait_until(lambda: len(os.listdir(path.parent)) == 4)
        threading.Event().wait(0.1)
        lock.release()
        assert [ended(pid) for pid in (one, two, three)] == [0, 0, 0]
    assert os.listdir(path.parent) == []


def test_the_folder_goes_while_we_wait(lock: FolderLock, path: Path) -> None:
    held_by(path, f"{os.getppid()}:{HOST}")
    timer = threading.Timer(0.1, path.parent.rename, (path.parent.parent / "away",))
    timer.start()
    with pytest.raises(errors.FolderMissing):
        lock.take()
    timer.join()


def test_without_inotify(lock: FolderLock, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Refusing:
        def __init__(self) -> None:
            made.append(self)
            raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(lockwait, "Ear", Refusing)
    held_by(path, f"{os.getppid()}:{HOST}")
    timer = threading.Timer(0.1, path.unlink)
    timer.start()
    with lock:
        assert path.read_text() == f"{os.getpid()}:{HOST}"
    timer.join()
    assert len(made) == 1                                # asked for once


def test_a_short_wait_makes_no_watch(lock: FolderLock, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> None:
        raise AssertionError

    monkeypatch.setattr(lockwait, "Ear", never)
    held_by(path, f"{os.getppid()}:{HOST}")
    pauses = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            path.unlink()

    monkeypatch.setattr(time, "sleep", sleep)
    with lock:
        assert path.exists()
    assert pauses == sorted(pauses)
    assert sum(pauses) < 0.01


def test_one_descriptor_is_kept(maildir: Path, lock: FolderLock, path: Path,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    """That of inotify: to close it takes long.  Nothing else is left, watches neither."""
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    before = descriptors()
    held_by(path, f"{os.getppid()}:{HOST}")
    for _ in range(3):
        with pytest.raises(errors.Busy):
            lock.take()
    assert descriptors() == sorted([*before, "anon_inode:inotify"])
    assert "inotify wd" not in Path(f"/proc/self/fdinfo/{inotify.Ear().fd}").read_text()
    # events that came too late are no sign of the next lock
    path.unlink()
    fill(maildir.parent / "other", 0)
    held_by(maildir.parent / "other" / "tmp" / "courier.lock", f"{os.getppid()}:{HOST}")
    with pytest.raises(errors.Busy):
        FolderLock(str(maildir.parent / "other"), "host").take()


def test_a_child_hears_for_itself(lock: FolderLock, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()
    monkeypatch.setattr(locks, "PATIENCE", 1.0)     # seconds: it is waited for, however busy
    held_by(path, f"{os.getppid()}:{HOST}")
    with pytest.raises(errors.Busy):
        lock.take()
    parents = inotify._dispatcher
    assert parents is not None

    def work() -> None:
        assert inotify._dispatcher is None
        assert descriptors().count("anon_inode:inotify") == before.count("anon_inode:inotify")
        held_by(path, f"{os.getppid()}:{HOST}")
        with pytest.raises(errors.Busy):
            lock.take()

    with process(work) as pid:
        assert ended(pid) == 0
    assert inotify._dispatcher is parents
    os.fstat(parents.inotify.fd)


def test_unless(lock: FolderLock, path: Path) -> None:
    asked = []

    def unless() -> bool:
        asked.append(path.exists())
        return len(asked) == 3

    assert lock.take(unless)                             # free: it is not asked
    lock.release()
    assert asked == []
    held_by(path, f"{os.getppid()}:{HOST}")
    assert not lock.take(unless)
    assert asked == [True] * 3
    assert os.listdir(path.parent) == ["courier.lock"]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    with pytest.raises(ZeroDivisionError):
        lock.take(lambda: bool(1 / 0))
    assert os.listdir(path.parent) == ["courier.lock"]


# -- errors

@pytest.mark.parametrize(("number", "kind"), [
    (errno.EROFS, errors.Denied), (errno.EACCES, errors.Denied), (errno.ENOSPC, errors.QuotaExceeded),
    (errno.EDQUOT, errors.QuotaExceeded), (errno.EMFILE, errors.DiskTrouble),
    (errno.ENFILE, errors.DiskTrouble), (errno.EIO, errors.DiskTrouble)])
@pytest.mark.parametrize("call", ["open", "write", "link"])
def test_errors(lock: FolderLock, path: Path, call: str, number: int, kind: type[errors.StoreError],
                monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    if call == "write" and kind is errors.QuotaExceeded:   # a full disk locks nobody out
        assert lock.take()
        assert path.read_bytes() == b""                    # it keeps others away too
        lock.release()
    else:
        with pytest.raises(kind):
            lock.take()
    monkeypatch.undo()
    assert os.listdir(path.parent) == []
    assert lock.take()
    lock.release()


def test_a_short_write(lock: FolderLock, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:1]))
    with lock:
        assert path.read_bytes() == f"{os.getpid()}:{os.uname().nodename}".encode()


def test_no_tmp(lock: FolderLock, path: Path) -> None:
    path.parent.rmdir()
    with pytest.raises(errors.FolderMissing):
        lock.take()
    path.parent.touch()                                  # a file of this name
    with pytest.raises(errors.FolderMissing):
        lock.take()


def test_a_lock_that_cannot_be_removed_at_once(lock: FolderLock, path: Path, log: Callable[[], list[str]],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = os.unlink, [1]

    def unlink(name: str) -> None:
        if name == str(path) and failures:
            failures.pop()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(name)

    monkeypatch.setattr(os, "unlink", unlink)
    for count in (1, 3):                                 # of failures: with three it gets another name
        failures.extend([1] * (count - len(failures)))
        with lock:
            pass
        assert not path.exists()
    assert log() == [f"WARN: {path}: Input/output error"] * 4


def test_a_lock_that_is_gone_at_release(lock: FolderLock, path: Path, log: Callable[[], list[str]]) -> None:
    with lock:
        path.unlink()
    assert log() == [f"WARN: {path}: No such file or directory"]
    with lock:
        assert path.exists()


def test_held_for_too_long(lock: FolderLock, path: Path, log: Callable[[], list[str]],
                           monkeypatch: pytest.MonkeyPatch) -> None:
    """Another host has overruled us: what is there is not ours to remove."""
    with lock:
        path.unlink()
        path.write_text("1:elsewhere")
        real = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: real() + 130)
    assert path.read_text() == "1:elsewhere"
    assert log() == [f"WARN: {path}: another has it: we held it for too long"]
    path.unlink()
    with lock:
        monkeypatch.setattr(time, "monotonic", lambda: real() + 260)
    assert not path.exists()                             # long, but ours to the end
