"""The queue before the lock: the kernel's order, who is stopped, what is left; the file that is kept."""
from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from courierpy.maildir import errors, lockqueue, locks, lockwait
from courierpy.maildir.expunged import Readers
from courierpy.maildir.lockqueue import Queue
from courierpy.maildir.locks import FolderLock
from tests.maildir.children import ended, process, wait_until

HOST = os.uname().nodename


@pytest.fixture
def lock(maildir: Path) -> FolderLock:
    return FolderLock(str(maildir), "host")


@pytest.fixture
def path(maildir: Path) -> Path:
    return maildir / "tmp" / "courier.lock"


@pytest.fixture(autouse=True)
def no_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockqueue, "_doubts", {})


def is_waiting(pid: int) -> bool:
    """Does this process sleep in flock(2)?  proc_locks(5): what waits has an arrow."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f" {pid} " in line for line in lines)


def stopped_in_queue(maildir: Path) -> Callable[[], None]:
    """Has its turn, and is stopped before it takes the lock."""
    def act() -> None:
        assert Queue(str(maildir / "tmp")).attempt()
        os.kill(os.getpid(), signal.SIGSTOP)
        signal.pause()
    return act


def until_stopped(pid: int) -> None:
    done = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    assert done is not None


# -- turns

@pytest.fixture
def only_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a turn is woken, and does not look for itself."""
    def sleep(seconds: float) -> None:
        assert seconds <= lockwait.LAST_SPIN                # for the lock itself, at our turn

    monkeypatch.setattr(locks, "TURN", 600.0)
    monkeypatch.setattr(locks, "PATIENCE", 1000.0)
    monkeypatch.setattr(time, "sleep", sleep)


def test_in_the_order_in_which_they_came(maildir: Path, lock: FolderLock, tmp_path: Path,
                                         request: pytest.FixtureRequest) -> None:
    order = tmp_path / "order"

    def work(number: int) -> Callable[[], None]:
        def act() -> None:
            request.getfixturevalue("only_the_kernel")
            with FolderLock(str(maildir), "host"), order.open("a") as file:
                file.write(f"{number}\n")
        return act

    with ExitStack() as stack:
        with lock:
            pids = []
            for number in range(8):
                pid = stack.enter_context(process(work(number)))
                pids.append(pid)
                wait_until(lambda pid=pid: is_waiting(pid))           # type: ignore[misc]
        assert [ended(pid) for pid in pids] == [0] * 8
    assert order.read_text().split() == [str(number) for number in range(8)]
    assert os.listdir(maildir / "tmp") == []


def test_the_next_is_woken_by_the_death_of_who_is_first(maildir: Path, lock: FolderLock,
                                                        request: pytest.FixtureRequest) -> None:
    def hold() -> None:
        with FolderLock(str(maildir), "host"):
            signal.pause()

    with process(hold) as pid:
        wait_until((maildir / "tmp" / "courier.lock").exists)
        timer = threading.Timer(0.2, os.kill, (pid, signal.SIGKILL))
        timer.start()
        request.getfixturevalue("only_the_kernel")
        assert lock.take()
        timer.join()
        lock.release()


def test_all_whose_work_was_done_go_at_the_same_time(maildir: Path, lock: FolderLock, tmp_path: Path,
                                                     request: pytest.FixtureRequest) -> None:
    """Who has the lock does it for all who wait; the first of them takes its time to see that."""
    done = tmp_path / "done"

    def want(unless: Callable[[], bool]) -> Callable[[], None]:
        def act() -> None:
            request.getfixturevalue("only_the_kernel")
            assert not FolderLock(str(maildir), "host").take(unless, at_once=True)
        return act

    def slow() -> bool:
        signal.pause()
        return True

    def has_ended(pid: int) -> bool:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    with ExitStack() as stack:
        with lock:
            pids = []
            for unless in (slow, done.exists, done.exists, done.exists):
                pid = stack.enter_context(process(want(unless)))
                pids.append(pid)
                wait_until(lambda pid=pid: is_waiting(pid))           # type: ignore[misc]
            done.touch()
        wait_until(lambda: all(map(has_ended, pids[1:])))
        assert [ended(pid) for pid in pids[1:]] == [0, 0, 0]
        assert not has_ended(pids[0])


def test_who_waited_for_others_in_vain_has_a_turn(maildir: Path, lock: FolderLock, tmp_path: Path,
                                                  request: pytest.FixtureRequest) -> None:
    """Nobody did what the lock was wanted for."""
    order = tmp_path / "order"

    def work() -> None:
        request.getfixturevalue("only_the_kernel")
        own = FolderLock(str(maildir), "host")
        assert own.take(lambda: False, at_once=True)
        with order.open("a") as file:
            file.write(".")
        own.release()

    with ExitStack() as stack:
        with lock:
            pids = [stack.enter_context(process(work)) for _ in range(6)]
            wait_until(lambda: all(map(is_waiting, pids)))
        assert [ended(pid) for pid in pids] == [0] * 6
    assert order.read_text() == "." * 6
    assert os.listdir(maildir / "tmp") == []


@contextmanager
def held_elsewhere(maildir: Path) -> Iterator[tuple[int, Callable[[], int]]]:
    """Another process has the lock: its pid, and what makes it let go."""
    (held, has), (free, go) = os.pipe(), os.pipe()

    def hold() -> None:
        with FolderLock(str(maildir), "host"):
            os.write(has, b"x")
            os.read(free, 1)

    try:
        with process(hold) as pid:
            os.read(held, 1)
            yield pid, partial(os.write, go, b"x")
    finally:
        for fd in (held, has, free, go):
            os.close(fd)


def test_who_was_held_up_until_its_time_was_over_tries_once_more(maildir: Path, lock: FolderLock,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk, or who stopped us, took all of the time, and the lock is free by now."""
    real, now, turns = Queue.wait, time.monotonic, []

    def wait(self: Queue, seconds: float) -> bool:
        turns.append(seconds)
        if len(turns) == 3:                              # it was tried before
            let_go()
            assert ended(pid) == 0
            monkeypatch.setattr(time, "monotonic", lambda: now() + 1000)
        return real(self, seconds)

    monkeypatch.setattr(Queue, "wait", wait)
    monkeypatch.setattr(locks, "TURN", 0.01)
    with held_elsewhere(maildir) as (pid, let_go):
        assert lock.take(patience=900)
        lock.release()
    assert len(turns) == 3


def test_who_looks_while_it_is_held_waits_longer_the_next_time(maildir: Path, lock: FolderLock,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look costs the place in the queue: on a slow machine nobody would ever come to its turn."""
    real: Callable[[Queue, float], bool] = Queue.wait
    turns: list[float] = []

    def wait(self: Queue, seconds: float) -> bool:
        turns.append(seconds)
        if len(turns) == 4:
            let_go()
            seconds = 600.0                              # and now we are woken
        return real(self, seconds)

    monkeypatch.setattr(Queue, "wait", wait)
    monkeypatch.setattr(locks, "TURN", 0.01)
    with held_elsewhere(maildir) as (pid, let_go):
        assert lock.take(patience=900)
        lock.release()
        assert ended(pid) == 0
    assert turns == [0.01, 0.02, 0.04, 0.08]


def test_attempt_waits_for_nobody(maildir: Path, lock: FolderLock) -> None:
    other = FolderLock(str(maildir), "host")
    with lock:
        assert not other.attempt()
    assert other.attempt()
    other.release()
    with process(stopped_in_queue(maildir)) as pid:
        until_stopped(pid)
        assert not other.attempt()                       # somebody is before us
    assert os.listdir(maildir / "tmp") == []


@contextmanager
def held_for_a_while(maildir: Path) -> Iterator[None]:
    """By another process, until somebody has waited for it."""
    def hold() -> None:
        with FolderLock(str(maildir), "host"):
            os.write(inside, b".")
            wait_until(lambda: is_waiting(parent))

    parent = os.getpid()
    heard, inside = os.pipe()
    with process(hold) as pid:
        assert os.read(heard, 1) == b"."
        yield
        assert ended(pid) == 0
    os.close(heard)
    os.close(inside)


def test_who_asks_whether_anything_is_left_to_do_holds_up_nobody(maildir: Path, lock: FolderLock) -> None:
    """One numbered the messages of all who wait: each of them only has to see that."""
    def unless() -> bool:
        with process(lambda: FolderLock(str(maildir), "host").take()) as pid:      # it can be had meanwhile
            assert ended(pid) == 0
        return True

    with held_for_a_while(maildir):
        assert not lock.take(unless)
    assert lock.take()                                   # of a dead one
    lock.release()
    assert os.listdir(maildir / "tmp") == []


def test_there_is_something_left_to_do(maildir: Path, lock: FolderLock, path: Path) -> None:
    with held_for_a_while(maildir):
        assert lock.take(lambda: False)
        assert path.exists()
        lock.release()
    with held_for_a_while(maildir), pytest.raises(ZeroDivisionError):
        lock.take(lambda: bool(1 // 0))                  # whatever it raises leaves nothing behind
    assert os.listdir(maildir / "tmp") == []
    assert lock.attempt()
    lock.release()


# -- a queue that does not move

def test_a_process_that_was_stopped_at_its_turn(maildir: Path, lock: FolderLock, path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """It has not the lock: who wants it waits for a moment, a few times, and then not at all."""
    monkeypatch.setattr(locks, "TURN", 0.05)
    waits = []
    real = Queue.wait

    def wait(queue: Queue, seconds: float) -> bool:
        waits.append(seconds)
        return real(queue, seconds)

    monkeypatch.setattr(Queue, "wait", wait)
    with process(stopped_in_queue(maildir)) as pid:
        until_stopped(pid)
        for _ in range(10):
            with lock:
                assert path.exists()
        assert waits == [locks.TURN] * lockqueue.DOUBTS
        assert not is_waiting(os.getpid())
    monkeypatch.setattr(lockqueue, "DISTRUST", 0.0)
    with lock, pytest.raises(BlockingIOError):           # it is asked again, and moves
        _flock(maildir / "tmp")
    assert lockqueue._doubts == {}


def _flock(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(fd)


def test_a_process_that_was_stopped_with_the_lock(maildir: Path, lock: FolderLock, path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who stand in the queue give up in time, each of them."""
    monkeypatch.setattr(locks, "PATIENCE", 0.6)

    def hold() -> None:
        with FolderLock(str(maildir), "host"):
            signal.pause()

    def want() -> None:
        with pytest.raises(errors.Busy, match=f"held by pid {holder} of host {HOST}$"):
            FolderLock(str(maildir), "host").take()

    with process(hold) as holder:
        wait_until(path.exists)
        os.kill(holder, signal.SIGSTOP)
        with process(want) as one, process(want) as two, process(want) as three:
            assert [ended(pid) for pid in (one, two, three)] == [0, 0, 0]
    assert lock.take()
    lock.release()


def test_a_lock_that_knows_no_queue_goes(maildir: Path, lock: FolderLock, path: Path) -> None:
    """Courier's: the first of the queue waits for it, the others for the first."""
    path.write_text(f"{os.getppid()}:{HOST}")

    def work() -> None:
        with FolderLock(str(maildir), "host"):
            pass

    with process(work) as one, process(work) as two, process(work) as three:
        wait_until(lambda: sum(map(is_waiting, (one, two, three))) == 2)
        path.unlink()
        assert [ended(pid) for pid in (one, two, three)] == [0, 0, 0]
    assert os.listdir(path.parent) == []


def test_no_descriptor(maildir: Path, lock: FolderLock, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is no reason to refuse anything."""
    real = os.open

    def refuse(name: str, flags: int, *mode: int) -> int:
        if flags & os.O_DIRECTORY:
            raise OSError(24, os.strerror(24))
        return real(name, flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    with lock:
        assert path.exists()


def test_another_thread(maildir: Path, lock: FolderLock) -> None:
    """No timer can wake it: it waits as if there were no queue."""
    taken = []

    def work() -> None:
        other = FolderLock(str(maildir), "host")
        taken.append(other.take())
        other.release()

    with lock:
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.1)
        assert taken == []
    thread.join(20)
    assert taken == [True]


# -- what is left

def test_a_child_has_no_place(maildir: Path, lock: FolderLock) -> None:
    heard, ready = os.pipe()
    go, start = os.pipe()

    def work() -> None:
        os.write(ready, b".")
        os.read(go, 1)

    with lock:
        child = process(work)
        child.__enter__()
        assert os.read(heard, 1) == b"."
    _flock(maildir / "tmp")                              # it is free though the child lives
    os.write(start, b".")
    child.__exit__(None, None, None)
    for fd in (heard, ready, go, start):
        os.close(fd)


def test_an_alarm_before_the_wait_begins_ends_it_too(maildir: Path) -> None:
    """As where the process got no processor between the two."""
    holder = Queue(str(maildir / "tmp"))
    assert holder.attempt()
    for _ in range(10):
        queue = Queue(str(maildir / "tmp"))
        assert not queue.attempt()
        assert not queue.wait(0.000001)
    holder.leave()


def test_the_timer_of_another(maildir: Path, lock: FolderLock) -> None:
    """Who has set an alarm gets it, and by its own handler."""
    rung = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 600)
        with held_for_a_while(maildir), lock:
            pass
        assert 590 < signal.setitimer(signal.ITIMER_REAL, 0.001)[0] <= 600
        wait_until(lambda: bool(rung))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_ends_the_wait(maildir: Path, path: Path) -> None:
    """A handler that raises: no lock, no place, no file of its own."""
    def work() -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: 1 // 0)
        before = signal.getsignal(signal.SIGALRM)
        with pytest.raises(ZeroDivisionError):
            FolderLock(str(maildir), "host").take()
        assert signal.getsignal(signal.SIGALRM) == before
        assert signal.setitimer(signal.ITIMER_REAL, 0) == (0.0, 0.0)

    with FolderLock(str(maildir), "host"), process(work) as pid:
        wait_until(lambda: is_waiting(pid))
        os.kill(pid, signal.SIGTERM)
        assert ended(pid) == 0
        assert os.listdir(path.parent) == ["courier.lock"]
    _flock(maildir / "tmp")


# -- a file that a session has anyway

@pytest.fixture
def readers(maildir: Path) -> Readers:
    readers = Readers(str(maildir), "host")
    readers.join()
    return readers


@pytest.fixture
def lent(maildir: Path, readers: Readers) -> FolderLock:
    return FolderLock(str(maildir), "host", True, readers.own)


def test_one_file_for_many_locks(maildir: Path, readers: Readers, lent: FolderLock, path: Path) -> None:
    own = Path(readers.own())
    inode = own.stat().st_ino
    os.utime(own, (1, 1))
    with lent:
        assert path.stat().st_ino == inode
        assert path.read_text() == f"{os.getpid()}:{HOST}"
        assert path.stat().st_mode & 0o777 == 0o644
        assert time.time() - path.stat().st_mtime < 100  # others go by it
        assert sorted(os.listdir(maildir / "tmp")) == [own.name, "courier.lock"]
    readers.told(readers.now() + 10_000_000)
    assert not own.exists()                              # its name says until when it was told
    with lent:
        assert path.stat().st_ino == inode
    readers.leave()
    assert os.listdir(maildir / "tmp") == []
    with lent:
        assert path.read_text() == f"{os.getpid()}:{HOST}"
        assert os.listdir(maildir / "tmp") == ["courier.lock"]


def test_the_file_was_cleaned_away(maildir: Path, readers: Readers, lent: FolderLock, path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    os.unlink(readers.own())
    with lent:
        assert path.read_text() == f"{os.getpid()}:{HOST}"
    assert os.listdir(maildir / "tmp") == []
    readers.join()
    # in the moment before it is linked
    real = os.link

    def link(source: str, target: str) -> None:
        monkeypatch.setattr(os, "link", real)
        os.unlink(source)
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    with lent:
        assert path.read_text() == f"{os.getpid()}:{HOST}"
    readers.leave()
    assert os.listdir(maildir / "tmp") == []


def test_a_child_has_a_file_of_its_own(maildir: Path, readers: Readers, lent: FolderLock, path: Path) -> None:
    def work() -> None:
        with lent:
            assert path.read_text() == f"{os.getpid()}:{HOST}"

    with process(work) as pid:
        assert ended(pid) == 0
    assert os.listdir(maildir / "tmp") == [os.path.basename(readers.own())]
    readers.leave()


def test_one_that_is_taken_anew_while_it_is_judged(maildir: Path, readers: Readers, lent: FolderLock,
                                                   path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks stale to another host; then its holder has let it go, and has it again: the same file."""
    own = Path(readers.own())
    own.write_text("1:elsewhere")
    os.utime(own, (1, 1))
    os.link(own, path)
    real = fcntl.flock

    def flock(fd: int, how: int) -> None:
        if not os.path.isdir(f"/proc/self/fd/{fd}"):
            path.unlink()
            os.utime(own)
            os.link(own, path)
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    with pytest.raises(errors.Busy):
        FolderLock(str(maildir), "host").take()
    assert path.exists()
