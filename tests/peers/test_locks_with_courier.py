"""The real Courier and ours at one ``tmp/courier.lock``: each waits for the other, and overrules the dead.

A Courier that finds a stale lock pauses for 5 seconds after removing it.
"""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from courierpy.maildir.locks import FolderLock
from courierpy.maildir.moment import Moment
from courierpy.maildir.store import Store
from tests.conftest import need, plain_environ

pytestmark = pytest.mark.peers
HOST = os.uname().nodename
PROGRAMS = ["courier", "ours"]


@contextmanager
def selecting(program: str, maildir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A PREAUTH session that has greeted, and has been given SELECT and LOGOUT."""
    words = ([need("/usr/bin/imapd"), str(maildir)] if program == "courier"
             else [sys.executable, "-m", "courierpy.imapd", str(maildir)])
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               cwd=maildir.parent, bufsize=0,
                               env=plain_environ(AUTHENTICATED="demo", IMAP_KEYWORDS="1", IMAP_ACL="0",
                                                 IMAP_USELOCKS="1", HOSTNAME="host", IMAP_EMPTYTRASH=""))
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert b"PREAUTH" in process.stdout.readline()
        process.stdin.write(b"a SELECT INBOX\r\nz LOGOUT\r\n")
        yield process
    finally:
        process.kill()
        process.communicate()


def whole(process: subprocess.Popen[bytes]) -> str:
    out, told = process.communicate(timeout=60)
    assert process.returncode == 0, told.decode()
    return out.decode()


def it_waits(process: subprocess.Popen[bytes], maildir: Path, text: str) -> None:
    """Nothing is done without the lock."""
    time.sleep(1.0)
    assert process.poll() is None
    assert not (maildir / "courierimapuiddb").exists()
    assert (maildir / "tmp" / "courier.lock").read_text() == text


def dead_pid() -> int:
    with subprocess.Popen(["true"]) as process:
        return process.pid


@pytest.mark.parametrize("program", PROGRAMS)
def test_waits_for_our_lock(program: str, maildir: Path) -> None:
    lock = FolderLock(str(maildir), "host")
    with lock:
        with selecting(program, maildir) as process:
            it_waits(process, maildir, f"{os.getpid()}:{HOST}")
            lock.release()
            answer = whole(process)
        assert "* 3 EXISTS" in answer
        assert "a OK" in answer
    assert (maildir / "courierimapuiddb").exists()
    assert [name for name in os.listdir(maildir / "tmp") if "lock" in name] == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_waits_while_all_mailboxes_are_held(program: str, maildir: Path) -> None:
    """For a copy: withlock, backup."""
    store = Store(str(maildir), host="host")
    with ExitStack() as end:
        with Moment(store, store.names, 60):
            process = end.enter_context(selecting(program, maildir))
            it_waits(process, maildir, f"{os.getpid()}:{HOST}")
        answer = whole(process)
    assert "* 3 EXISTS" in answer
    assert "a OK" in answer
    assert [name for name in os.listdir(maildir / "tmp") if name.startswith("courier")] == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_waits_for_another_host(program: str, maildir: Path) -> None:
    path = maildir / "tmp" / "courier.lock"
    path.write_text("1:elsewhere")
    with selecting(program, maildir) as process:
        it_waits(process, maildir, "1:elsewhere")
        path.unlink()
        assert "* 3 EXISTS" in whole(process)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("stale", ["dead", "another host's"])
def test_takes_over_a_stale_one(program: str, stale: str, maildir: Path) -> None:
    path = maildir / "tmp" / "courier.lock"
    if stale == "dead":
        path.write_text(f"{dead_pid()}:{HOST}")
    else:
        path.write_text("1:elsewhere")
        os.utime(path, (time.time() - 130,) * 2)
    with selecting(program, maildir) as process:
        answer = whole(process)
    assert "* 3 EXISTS" in answer
    assert "a OK" in answer
    assert not path.exists()


def test_couriers_own_lock(maildir: Path) -> None:
    """A Courier that was stopped while it held the lock: we wait; killed: we take over."""
    path = maildir / "tmp" / "courier.lock"
    for number in range(4, 3000):                        # so that it is caught with the lock
        (maildir / "new" / f"{1700000000 + number}.M{number}P1.host").write_bytes(b"Subject: x\n\nx\n")
    with selecting("courier", maildir) as process:
        end = time.monotonic() + 30
        while not path.exists():
            assert process.poll() is None
            assert time.monotonic() < end
        os.kill(process.pid, signal.SIGSTOP)
        assert path.read_text() == f"{process.pid}:{HOST}"
        lock = FolderLock(str(maildir), "host")
        asked = []

        def unless() -> bool:
            asked.append(path.read_text())
            return len(asked) == 10

        assert not lock.take(unless)
        assert asked == [f"{process.pid}:{HOST}"] * 10
        process.kill()
        with lock:                                       # a zombie's now
            assert path.read_text() == f"{os.getpid()}:{HOST}"
    assert not path.exists()
