"""What couriertcpd and a login process say while the other does not listen."""
from __future__ import annotations

import os
import select
import socket
from contextlib import suppress

import pytest

from courierpy.system import passing
from courierpy.system.telling import Telling
from tests.conftest import descriptors


def made(end: socket.socket, poll: select.epoll) -> Telling:
    return Telling(end, "somebody", lambda waits: poll.modify(
        end.fileno(), select.EPOLLIN | select.EPOLLOUT if waits else select.EPOLLIN))


def test_no_word_is_lost_and_each_is_said_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "_BUFFER", 1)
    ours, theirs = passing.pair()
    with ours, theirs, select.epoll() as poll:
        poll.register(ours.fileno(), select.EPOLLIN)
        telling, count, before = made(ours, poll), 0, descriptors()
        while len(telling.unsaid) < 20:
            reading, writing = os.pipe()
            try:
                assert telling.say([b"%d" % count], (writing,))
            finally:
                os.close(writing)      # its own is not needed any more
                os.close(reading)
            count += 1
        heard = []
        while poll.poll(0) or len(heard) < count:
            for data, fds in passing.waiting(theirs, ""):
                heard.append(int(data))
                assert len(fds) == 1
                passing.close(fds)
            telling.go_on()
        assert heard == list(range(count)) and not telling.unsaid
        assert descriptors() == before


def test_what_nobody_hears_any_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "_BUFFER", 1)
    ours, theirs = passing.pair()
    with ours, theirs, select.epoll() as poll:
        poll.register(ours.fileno(), select.EPOLLIN)
        telling, before = made(ours, poll), descriptors()
        while not telling.unsaid:
            assert telling.say([b"a word"], (poll.fileno(),))
        telling.end()
        assert not telling.unsaid
        with suppress(BlockingIOError):
            while True:
                passing.send(ours, [b"a word"])
        telling.say([b"a word"], (poll.fileno(),))
        theirs.close()
        telling.go_on()
        assert not telling.unsaid and not telling.say([b"a word"])
        assert len(descriptors()) == len(before) - 1
