"""Several sessions side by side, each read by its own deadline, as somebody with many windows would."""
from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import plain_environ

DEADLINE = 30.0


class Window:
    """One session.  ``buffer``: what came and was not taken yet.  ``pid``: of its process,
    where it is a child of ours."""

    def __init__(self, infd: int, outfd: int, close: Callable[[], object], pid: int = 0) -> None:
        self.infd = infd
        self.outfd = outfd
        self.close = close
        self.pid = pid
        self.buffer = b""
        self.number = 0

    def send(self, line: str) -> None:
        os.write(self.outfd, line.encode() + b"\r\n")

    def _more(self, end: float) -> None:
        left = end - time.monotonic()
        if left <= 0 or not select.select([self.infd], [], [], left)[0]:
            raise AssertionError(f"nothing within {DEADLINE} seconds; so far {self.buffer!r}")
        data = os.read(self.infd, 65536)
        if not data:
            raise AssertionError(f"the server closed the connection; so far {self.buffer!r}")
        self.buffer += data

    def line(self, deadline: float = DEADLINE) -> str:
        """The next line; literals are not understood here."""
        end = time.monotonic() + deadline
        while b"\r\n" not in self.buffer:
            self._more(end)
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode()

    def response(self) -> bytes:
        """The next line with its literals, without the CRLF at its end."""
        end = time.monotonic() + DEADLINE
        at = 0
        while True:
            stop = self.buffer.find(b"\r\n", at)
            if stop < 0:
                self._more(end)
                continue
            literal = re.search(rb"\{(\d+)\}$", self.buffer[at:stop])
            if literal is None:
                found, self.buffer = self.buffer[:stop], self.buffer[stop + 2:]
                return found
            at = stop + 2 + int(literal[1])
            while len(self.buffer) < at:
                self._more(end)

    def until(self, end: str) -> list[str]:
        """Lines up to one that begins with ``end``, which is the last."""
        found = []
        while True:
            found.append(self.line())
            if found[-1].startswith(end):
                return found

    def do(self, command: str) -> list[str]:
        """The untagged lines of a command that must succeed."""
        self.number += 1
        tag = f"t{self.number}"
        self.send(f"{tag} {command}")
        found = self.until(tag + " ")
        assert found[-1].startswith(f"{tag} OK"), found
        return found[:-1]

    def idle(self) -> list[str]:
        """Enter IDLE; the continuation is the first line."""
        self.number += 1
        self.send(f"t{self.number} IDLE")
        return [self.line()]

    def done(self) -> list[str]:
        """Leave IDLE; what came before its end."""
        self.send("DONE")
        found = self.until(f"t{self.number} ")
        assert found[-1].startswith(f"t{self.number} OK"), found
        return found[:-1]


def over_tcp(port: int) -> Window:
    client = socket.create_connection(("127.0.0.1", port), DEADLINE)
    window = Window(client.fileno(), client.fileno(), client.close)
    assert window.line().startswith("* OK ")
    window.do("LOGIN demo demo")
    return window


def over_pipe(maildir: Path, log: Path | None = None, **environ: str) -> Window:
    return over_program([sys.executable, "-m", "courierpy.imapd", str(maildir)], log, **environ)


def over_program(words: list[str], log: Path | None = None, **environ: str) -> Window:
    """A program that greets PREAUTH on its standard output; with ``log`` as after a login,
    when standard error is the log."""
    if log is not None:
        environ = {"IMAPLOGINTAG": "l", "TCPREMOTEIP": "127.0.0.1", "TCPREMOTEPORT": "9", **environ}
    with open(log or os.devnull, "ab") as stderr:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
                                   bufsize=0, env=plain_environ(**{"AUTHENTICATED": "demo", **environ}))
    assert process.stdin is not None
    assert process.stdout is not None

    def close() -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        process.wait(20)

    window = Window(process.stdout.fileno(), process.stdin.fileno(), close, process.pid)
    assert window.line().startswith("* PREAUTH " if log is None else "l OK ")
    return window


def deliver(maildir: Path, name: str, text: bytes = b"Subject: delivered\n\nx\n") -> None:
    """As a delivery agent does: written in tmp/, then renamed into new/."""
    file = maildir / "tmp" / name
    file.write_bytes(text)
    file.rename(maildir / "new" / name)
