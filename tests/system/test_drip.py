"""Who sends a literal drop by drop does not hold a session for ever; who is only slow is served.  And who
says many commands at once is not answered drop by drop, nor when all of them are done."""
from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from courierpy.imap import dialogue
from courierpy.imap.session import Session
from courierpy.maildir.store import Store
from courierpy.system import conn
from courierpy.system.conn import Conn, TimedOut
from courierpy.system.settings import Settings


def served(maildir: Path, monkeypatch: pytest.MonkeyPatch, drops: list[tuple[bytes, float]]) -> bytes:
    """What a client hears that says the drops, each so many seconds after the last.  Raises TimedOut."""
    monkeypatch.chdir(maildir)
    monkeypatch.setattr(dialogue, "LITERAL_TIMEOUT", 1.0)
    theirs, says = os.pipe()
    hears, ours = os.pipe()

    def talk() -> None:
        for data, seconds in drops:
            time.sleep(seconds)
            try:
                os.write(says, data)
            except OSError:
                return
    session = Session(Conn(theirs, ours), Settings({}), Store(), "demo")
    talker = threading.Thread(target=talk)
    talker.start()
    try:
        session.serve()
        return os.read(hears, 65536)
    finally:
        os.close(theirs)
        talker.join()
        for fd in (says, hears, ours):
            os.close(fd)


def test_drops_are_no_literal(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drops = [(b"a STATUS {40+}\r\n", 0.0)] + [(b"x", 0.2)] * 40
    with pytest.raises(TimedOut):
        served(maildir, monkeypatch, drops)


def test_nor_is_what_follows_one_a_line(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drops = [(b"a STATUS {5+}\r\nINBOX (", 0.0)] + [(b"x", 0.2)] * 40
    with pytest.raises(TimedOut):
        served(maildir, monkeypatch, drops)


def test_a_slow_one_is(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than the time of one word, and as fast as the slowest."""
    monkeypatch.setattr(dialogue, "SLOWEST_OCTETS", 100)
    drops = [(b"a APPEND INBOX {1000+}\r\n", 0.0)] + [(b"x" * 100, 0.3)] * 10 + [(b"\r\nb LOGOUT\r\n", 0.1)]
    assert b"a OK [APPENDUID" in served(maildir, monkeypatch, drops)


@pytest.mark.parametrize(("held", "times"), [(-1.0, 3), (3600.0, 1)])
def test_many_commands_at_once(maildir: Path, monkeypatch: pytest.MonkeyPatch, held: float,
                               times: int) -> None:
    """Answers are written together, unless the first has waited for a while."""
    monkeypatch.setattr(conn, "HELD", held)
    written: list[bytes] = []
    write = Conn._write

    def noted(self: Conn, piece: bytes) -> None:
        written.append(piece)
        write(self, piece)
    monkeypatch.setattr(Conn, "_write", noted)
    heard = served(maildir, monkeypatch, [(b"a NOOP\r\nb NOOP\r\nc LOGOUT\r\n", 0.0)])
    assert b"".join(written) == heard
    assert [tag in heard for tag in (b"a OK", b"b OK", b"c OK")] == [True] * 3
    assert len(written) == times
