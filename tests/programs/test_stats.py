"""courierpy stats: the table, and who answers; the statistics process' answers to who asks."""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from courierpy.admin import stats
from courierpy.listener import places, statistics
from courierpy.model import measures
from courierpy.system import metrics, proc
from tests.conftest import plain_environ


def sums() -> measures.Sums:
    found = measures.Sums()
    found.add((measures.LOGINS, "IMAP", "PLAIN", "ok"), 1234)
    for seconds in [0.002] * 19 + [0.3]:
        found.observe((measures.COMMAND_SECONDS, "IMAP", "FETCH"), seconds)
    found.numbers[measures.SESSIONS, "143", "asleep"] = 7
    return found


@contextmanager
def keeper(*words: str) -> Iterator[int]:
    """The statistics process, for these places; the pid."""
    ends = metrics.pair()
    reader, writer = map(metrics.descriptor, ends)
    pid = proc.fork(lambda: statistics.run(reader, places.parse(" ".join(words))))
    try:
        meter = metrics.begin({"METRICS": " ".join(words), metrics.VARIABLE: ends[1]}, "IMAP")
        assert meter is not None
        meter.sums = sums()
        metrics.end()
        yield pid
    finally:
        os.kill(pid, signal.SIGTERM)
        assert os.waitpid(pid, 0)[1] == 0
        os.close(reader)
        os.close(writer)


def ask(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(60)
        end.connect(str(path))
        end.sendall(request)
        data = b""
        while piece := end.recv(65536):
            data += piece
        return data


def there(path: Path, pid: int) -> None:
    """Until the process has opened its place."""
    for _ in range(6000):
        try:
            ask(path, b"GET / HTTP/1.0\r\n\r\n")
            return
        except OSError:                # not there, or nobody listens yet
            assert os.waitpid(pid, os.WNOHANG) == (0, 0)
            time.sleep(0.01)
    pytest.fail("nobody listens")


def test_who_asks_is_answered(tmp_path: Path) -> None:
    door = tmp_path / "door"
    with keeper(f"unix:{door}") as pid:
        there(door, pid)
        whole = ask(door, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = whole.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4")
        assert b"Content-Length: %d\r\n" % len(body) in head
        assert b'courierpy_logins_total{protocol="IMAP",mechanism="PLAIN",result="ok"} 1234\n' in body
        assert ask(door, b"HEAD /metrics HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")[2] == b""
        for request, status in ((b"GET /other HTTP/1.0\r\n\r\n", b"404"), (b"\r\n\r\n", b"400"),
                                (b"POST / HTTP/1.0\r\n\r\n", b"400"), (b"\xff\n\n", b"400"),
                                (b"GET /metrics?x=1 HTTP/1.1\n\n", b"200")):
            assert ask(door, request).split(b" ")[1] == status, request
        # who says nothing, or without end, holds up nobody
        with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as noisy:
            for end in (silent, noisy):
                end.connect(str(door))
            noisy.sendall(b"x" * statistics.REQUEST_OCTETS)
            noisy.settimeout(60)
            assert noisy.recv(1) == b""
            assert b"200 OK" in ask(door, b"GET / HTTP/1.0\r\n\r\n")


def test_a_socket_that_was_left_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    door = tmp_path / "door"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(door))
    with keeper(f"unix:{door}") as pid:
        there(door, pid)
    (tmp_path / "file").write_text("mine")
    with keeper(f"unix:{tmp_path}/file", f"unix:{tmp_path}/other") as pid:
        there(tmp_path / "other", pid)
    assert (tmp_path / "file").read_text() == "mine"


def shown(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "courierpy", "stats", *words], env=plain_environ(**environ),
                          capture_output=True, text=True, check=False, timeout=60)


def test_the_table(tmp_path: Path) -> None:
    path = tmp_path / "counts.prom"
    path.write_text(measures.text_of(sums()))
    done = shown("--at", f"file:{path}")
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["logins", "IMAP", "PLAIN", "ok", "1,234"],
        ["command", "seconds", "IMAP", "FETCH", "20", "mean", "16.9", "ms,", "95", "%", "in", "0.0025", "s"],
        ["sessions", "143", "asleep", "7"]]
    assert shown("--at", f"file:{path}", "--raw").stdout == path.read_text()
    (tmp_path / "imapd").write_text(f'METRICS="file:{path}"\n')
    assert shown("-C", str(tmp_path / "imapd"), "--once").stdout == done.stdout


def test_what_changed_is_shown_by_the_second() -> None:
    before, now = sums(), sums()
    now.add((measures.LOGINS, "IMAP", "PLAIN", "ok"), 10)
    lines = [*stats.shown(stats.parse(measures.text_of(now)), stats.parse(measures.text_of(before)))]
    assert lines[0].split() == ["logins", "IMAP", "PLAIN", "ok", "1,244", "5.0/s"]
    assert [line for line in lines if "/s" in line] == lines[:1]


def test_where_nobody_answers_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "imapd").write_text("METRICS=\n")
    for words, status, said in ((["--at", f"unix:{tmp_path}/none"], 1, f"unix:{tmp_path}/none: No such file"),
                                (["--at", f"file:{tmp_path}/none"], 1, f"{tmp_path}/none: No such file"),
                                (["--at", "0.0.0.0:1"], 2, "METRICS: 0.0.0.0:1: expected was"),
                                (["-C", str(tmp_path / "imapd")], 1, "METRICS is empty")):
        done = shown(*words)
        assert done.returncode == status
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
