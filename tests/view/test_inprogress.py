"""INPROGRESS: what takes long says how far it is.  RFC 9585."""
from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from courierpy.imap.progress import Progress
from courierpy.system import pulse
from tests.realtime.test_notify import Talk


@pytest.fixture
def talk(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Talk]:
    """A client for which everything takes long."""
    here = os.getcwd()
    os.chdir(maildir)
    monkeypatch.setattr(pulse, "SECONDS", 0.0)
    talk = Talk({})
    talk.say(b"SELECT INBOX")
    try:
        yield talk
    finally:
        pulse.hear(None)
        talk.close()
        os.chdir(here)


@pytest.mark.parametrize("command", [b"SEARCH BODY nowhere", b"SORT (SUBJECT) UTF-8 ALL",
                                     b"THREAD REFERENCES UTF-8 ALL", b"FETCH 1:* (ENVELOPE)",
                                     b"SEARCH HEADER X-None x", b"FETCH 1:* (BODY[])"])
def test_how_far(talk: Talk, command: bytes) -> None:
    """In whole lines, each behind the last, before the tagged one; done is less than all."""
    said = talk.say(command)
    told = re.findall(rb'^\* OK \[INPROGRESS \("t" (\d) (\d)\)\] Still working\.\r$', said, re.M)
    assert told and all(int(done) < int(goal) == 3 for done, goal in told)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    again = said.count(b'* OK [INPROGRESS ("t" NIL NIL)] Still working.\r\n')
    assert said.count(b"INPROGRESS") == len(told) + again
    assert said.splitlines()[-1].startswith(b"t OK ")


def test_what_begins_anew_has_no_number(talk: Talk) -> None:
    said = talk.say(b"SEARCH BODY nowhere HEADER X-None x OR SUBJECT nowhere HEADER X-Other y")
    assert b'INPROGRESS ("t" 0 3)' in said
    assert b't OK ' in said
    progress = Progress(talk.session)
    progress.begin(b"a]b")
    progress.tell(2, 3)
    assert b"INPROGRESS" in talk.told()
    progress.tell(1, 3)
    assert talk.told() == b"* OK [INPROGRESS (NIL NIL NIL)] Still working.\r\n"


def test_nothing_in_the_middle_of_a_line(talk: Talk) -> None:
    talk.session.conn.midway = True
    Progress(talk.session).tell(1, 3)
    talk.session.conn.midway = False
    assert talk.told() == b""


def test_who_is_quick_says_nothing(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "SECONDS", 3600.0)
    assert b"INPROGRESS" not in talk.say(b"SEARCH BODY nowhere")


def test_a_child_has_nothing_to_tell() -> None:
    heard: list[int] = []
    pulse.hear(lambda done, goal: heard.append(done))
    pid = os.fork()
    if pid == 0:
        os._exit(pulse._hears is not None)
    assert os.waitpid(pid, 0)[1] == 0
    pulse.hear(None)
