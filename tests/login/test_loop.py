"""The wait of a listener: what wakes it, and whether that was a signal."""
from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial

import pytest

from courierpy.listener.loop import Loop
from courierpy.system import proc

LONG = 20.0                            # seconds that nothing here takes


@pytest.fixture
def loop() -> Iterator[Loop]:
    before = signal.getsignal(signal.SIGCHLD)
    yield Loop()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)


def test_a_turn_tells_whether_there_was_a_signal(loop: Loop) -> None:
    reader, writer = os.pipe()
    heard: list[bytes] = []
    loop.hear(reader, lambda: heard.append(os.read(reader, 1)))
    os.write(writer, b"a")
    assert not loop.turn(LONG)
    assert not loop.turn(0.0)
    pid = proc.fork(lambda: 0)
    assert loop.turn(LONG)
    assert os.waitpid(pid, 0) == (pid, 0)
    assert not loop.turn(0.0)
    os.write(writer, b"b")
    os.kill(os.getpid(), signal.SIGCHLD)
    assert loop.turn(LONG)             # both in one turn
    assert heard == [b"a", b"b"]
    for fd in (reader, writer):
        os.close(fd)


def test_what_is_heard_beside_ends_no_wait(loop: Loop) -> None:
    """It is heard when something else ends it, and behind that; and at once where that is wanted."""
    pipes = [os.pipe() for _ in range(2)]
    (reader, writer), (beside, tells) = pipes
    heard: list[bytes] = []
    loop.hear(reader, lambda: heard.append(os.read(reader, 1)))
    loop.hear_beside(beside, lambda: heard.append(os.read(beside, 1)))
    os.write(tells, b"a")
    assert not loop.turn(0.0) and heard == [b"a"]
    for letter in (b"b", b"d"):
        loop.hurry(letter == b"d")
        os.write(tells, letter)
        if letter == b"b":
            os.write(writer, b"c")
        loop.turn(LONG)
    assert heard == [b"a", b"c", b"b", b"d"]
    loop.hurry(False)
    os.write(tells, b"e")
    loop.forget((beside,))
    loop.turn(0.0)
    assert len(heard) == 4
    for fd in (fd for pipe in pipes for fd in pipe):
        os.close(fd)


def test_who_hears_what_is_beside_may_want_to_know_more(loop: Loop) -> None:
    """One after the other all the same: what is heard of one is done before the next."""
    pipes = [os.pipe() for _ in range(3)]
    at_once: list[int] = []

    def hears(reader: int) -> None:
        os.read(reader, 1)
        at_once.append(0)
        loop.catch_up()
        assert at_once.pop() == 0 and not at_once
    for reader, writer in pipes:
        loop.hear_beside(reader, partial(hears, reader))
        os.write(writer, b"a")
    loop.catch_up()
    assert not loop._beside.poll(0)
    for fd in (fd for pipe in pipes for fd in pipe):
        os.close(fd)
