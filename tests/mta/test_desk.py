"""The desk in this process, with processes that hang and are lost: no question is without an answer."""
from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from courierpy.listener.loop import Loop
from courierpy.mta.desk import Desk
from courierpy.system.settings import Settings
from tests.mta.talk import Asker, netstring

SETTINGS = {"SMMAP_WORKERS": "2", "SMMAP_CONNECTIONS": "10", "SMMAP_TIMEOUT": "90"}


seen = -1                              # descriptor: what each process was asked, with its pid


def work(end: socket.socket) -> int:
    """Does what the question says: dies, hangs, or says yes."""
    end.setblocking(True)
    while data := end.recv(65536):
        if seen >= 0:
            os.write(seen, b"%d %s\n" % (os.getpid(), data.rpartition(b"\0")[2]))
        if data.endswith(b"die"):
            return 1
        if data.endswith(b"hang"):
            signal.pause()
        if data.endswith(b"slow"):
            time.sleep(0.2)
        end.send(b"250 2.1.5 %d" % os.getpid())
    return 0


class Served:
    def __init__(self, desk: Desk, loop: Loop) -> None:
        self.desk = desk
        self.loop = loop
        self.pids: set[int] = set()            # of all processes that were started
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        loop.hear(self.listener.fileno(), lambda: desk.accept(self.listener))

    def asker(self) -> Asker:
        return Asker(socket.create_connection(self.listener.getsockname()))

    def until(self, asked: Callable[[], object]) -> object:
        """What a client hears, while the desk is at work."""
        found: list[object] = []
        client = threading.Thread(target=lambda: found.append(asked()))
        client.start()
        end = time.monotonic() + 60
        while client.is_alive():
            assert time.monotonic() < end
            self.loop.turn(0.05)
            self.desk.tend()
            self.reap()
        return found[0]

    def reap(self, how: int = os.WNOHANG) -> None:
        """Those that have ended; others' children are not ours."""
        self.pids |= set(self.desk._workers)
        for pid in list(self.pids):
            if os.waitpid(pid, how)[0]:
                self.pids.remove(pid)
                self.desk.ended(pid)


@pytest.fixture
def served() -> Iterator[Served]:
    before = signal.getsignal(signal.SIGCHLD)
    loop = Loop()
    made = Served(Desk(loop, work, Settings(SETTINGS)), loop)
    yield made
    made.reap()
    made.desk.stop()
    made.listener.close()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)
    made.reap(0)


def test_a_process_that_is_lost(served: Served) -> None:
    with served.asker() as one:
        assert served.until(lambda: one.map(b"x")) == "OK x"
        for _ in range(3):
            assert str(served.until(lambda: one.map(b"die"))).startswith("TEMP 4.3.0 ")
            assert served.until(lambda: one.map(b"x")) == "OK x"


def test_a_process_that_hangs(served: Served) -> None:
    """It is ended after SMMAP_TIMEOUT, and who waits behind it hears "later" then, too."""
    served.desk.renew(Settings({**SETTINGS, "SMMAP_TIMEOUT": "1"}))
    askers = [served.asker() for _ in range(3)]

    def all_of_them() -> list[bytes]:
        for each in askers:
            each.send(netstring(b"m hang"))
        return [each.map_reply() for each in askers]

    found = served.until(all_of_them)
    assert isinstance(found, list)
    assert [reply[:10] for reply in found] == [b"TEMP 4.3.0"] * 3
    served.desk.renew(Settings(SETTINGS))
    with askers[0] as one:
        assert served.until(lambda: one.map(b"x")) == "OK x"
    for each in askers:
        each.end.close()


def test_other_settings(served: Served) -> None:
    """A process that is at something finishes that, and is asked no more."""
    with served.asker() as one:
        assert served.until(lambda: one.map(b"x")) == "OK x"
        before = set(served.desk._workers)
        one.send(netstring(b"m slow"))
        while not any(worker.client is not None for worker in served.desk._workers.values()):
            served.loop.turn(0.05)
        served.desk.renew(Settings(SETTINGS))
        assert served.until(one.map_reply) == b"OK slow"
        assert served.until(lambda: one.map(b"x")) == "OK x"
        assert not before & set(served.desk._workers)


def test_more_questions_than_processes(served: Served) -> None:
    askers = [served.asker() for _ in range(8)]

    def all_of_them() -> list[bytes]:
        for each in askers:
            each.send(netstring(b"m slow") + netstring(b"m x"))
        return [each.map_reply() for each in askers for _ in range(2)]

    assert served.until(all_of_them) == [b"OK slow", b"OK x"] * 8
    assert len(served.desk._workers) == 2
    for each in askers:
        each.end.close()


def test_of_a_user_one_process_is_asked(served: Served, tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """That keeps what it needs for him; a second one would begin anew."""
    with (tmp_path / "seen").open("ab", buffering=0) as file:
        monkeypatch.setattr(f"{__name__}.seen", file.fileno())
        with served.asker() as one:
            for form in (b"user%d@x", b"User%d@X", b"user%d+lists@x"):
                for number in range(20):
                    assert str(served.until(lambda key=form % number: one.map(key))).startswith("OK ")
    of: dict[bytes, set[bytes]] = {}
    for line in (tmp_path / "seen").read_bytes().splitlines():
        pid, _, address = line.partition(b" ")
        of.setdefault(address.lower().replace(b"+lists", b""), set()).add(pid)
    assert len(of) == 20 and {len(pids) for pids in of.values()} == {1}
    assert len(set.union(*of.values())) == 2
