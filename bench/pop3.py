"""Row 42: a POP3 client that looks whether there is mail, in a large INBOX."""
from __future__ import annotations

import os
import statistics
import subprocess

from bench import procs
from bench.client import AGAIN
from bench.peers import Courier, Courierpy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bench.lab import At
    from bench.peers import Server
    from bench.rows import Figures

KEYS = {"42a": b"LIST", "42b": b"UIDL"}


def row_list(at: At) -> Figures:
    """Milliseconds of the server's CPU for LIST and for UIDL, in a session after one that asked the same."""
    if not isinstance(at.server, (Courierpy, Courier)):
        return {}
    _session(at)
    found: dict[str, list[float]] = {}
    for _ in range(AGAIN):
        for key, value in _session(at).items():
            found.setdefault(key, []).append(value)
    return {key: statistics.median(values) for key, values in found.items()}


def _session(at: At) -> dict[str, float]:
    server, account, maildir = at.server, at.account("mail"), at.maildir("mail")
    ours = isinstance(server, Courierpy)           # the interpreter may lie where only root may go
    owner, space = None if ours else server.owner(account), server.roots()[-1] if not ours else 0
    process = subprocess.Popen(
        [*_words(server), maildir], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=maildir,
        stderr=subprocess.DEVNULL, preexec_fn=lambda: procs.become(owner, space),         # noqa: PLW1509
        env={"PATH": os.environ["PATH"], "AUTHENTICATED": "bench", "TCPREMOTEIP": "127.0.0.1",
             "TCPREMOTEPORT": "1", "HOME": server.home(account), "IMAP_MAILBOX_SANITY_CHECK": "0"})
    assert process.stdout is not None and process.stdin is not None
    figures = {}
    try:
        if not process.stdout.readline().startswith(b"+OK"):
            raise ValueError(f"row 42: no greeting from {server.name}")
        for key, command in KEYS.items():
            before = _milliseconds(process.pid)
            process.stdin.write(command + b"\r\n")
            process.stdin.flush()
            rows = -1                  # the first line is the +OK
            while process.stdout.readline() not in (b".\r\n", b""):
                rows += 1
            figures[key] = _milliseconds(process.pid) - before
            if rows != at.scale.messages:
                raise ValueError(f"row 42: {server.name} told {rows} messages")
    finally:
        process.communicate(b"QUIT\r\n")
    return figures


def _words(server: Server) -> list[str]:
    if not isinstance(server, Courierpy):
        return ["/usr/lib/courier/courier/courierpop3d"]
    python = server.installed()
    return [python, "-c", "import sys\nfrom courierpy.pop3d import run\nsys.exit(run())\n"]


def _milliseconds(pid: int) -> float:
    """That a process has had a CPU for."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1_000_000
