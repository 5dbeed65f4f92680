"""One session with a server of the nursery; keeps the dialogue for the report."""
from __future__ import annotations

import os
import re
import select
import time
from pathlib import Path
from typing import Any

from tests.conftest import plain_environ
from tests.faults.nursery import Nursery

# below the 14 seconds that a server waits for a lock: a lock left behind must not be waited for
DEADLINE = 12.0
KEPT = 2                           # uiddbs: the last, and the one before as a spare


class Dead(Exception):
    """The server closed the connection."""


class Talk:
    """``journal``: a file; then the process has the hook, with this plan."""

    def __init__(self, nursery: Nursery, maildir: Path, log: Path, journal: Path | None = None,
                 plan: dict[str, Any] | None = None, **environ: str) -> None:
        self.dialogue: list[str] = []
        self.buffer = b""
        self.log = log
        theirs_in, self.outfd = os.pipe()
        self.infd, theirs_out = os.pipe()
        logfd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        values = plain_environ(AUTHENTICATED="demo", IMAPLOGINTAG="login", TCPREMOTEIP="127.0.0.1",
                               TCPREMOTEPORT="1", HOSTNAME="host", **environ)
        self.pid = nursery.birth({"maildir": str(maildir), "environ": values, "plan": plan or {},
                                  "journal": str(journal) if journal else ""}, [theirs_in, theirs_out, logfd])
        for fd in (theirs_in, theirs_out, logfd):
            os.close(fd)
        self.until(b"login ")

    def leave(self) -> None:
        """LOGOUT, until the process has put its things away."""
        self.ok(b"LOGOUT")
        try:
            self._more(time.monotonic() + DEADLINE)
        except Dead:
            self.close()

    def close(self) -> None:
        for fd in (self.outfd, self.infd):
            if fd >= 0:
                os.close(fd)
        self.outfd = self.infd = -1

    def _send(self, data: bytes) -> None:
        self.dialogue.append("> " + _short(data))
        try:
            os.write(self.outfd, data)
        except BrokenPipeError:
            raise Dead from None

    def _more(self, end: float) -> None:
        left = end - time.monotonic()
        if left <= 0 or not select.select([self.infd], [], [], left)[0]:
            raise AssertionError(f"no answer within {DEADLINE:.0f} seconds; so far {self.buffer!r}")
        data = os.read(self.infd, 1 << 16)
        if not data:
            self.dialogue.append("< (end)")
            raise Dead
        self.buffer += data

    def response(self, end: float) -> bytes:
        """The next response whole, literals included."""
        size = 0
        while True:
            at = self.buffer.find(b"\r\n", size)
            if at < 0:
                self._more(end)
                continue
            literal = re.search(rb"\{(\d+)\}$", self.buffer[size:at])
            if literal is None:
                found, self.buffer = self.buffer[:at], self.buffer[at + 2:]
                self.dialogue.append("< " + _short(found))
                return found
            size = at + 2 + int(literal[1])
            while len(self.buffer) < size:
                self._more(end)

    def until(self, *start: bytes) -> list[bytes]:
        """Responses up to one that begins so, which is the last.  Raises Dead."""
        end = time.monotonic() + DEADLINE
        found = [self.response(end)]
        while not found[-1].startswith(start):
            found.append(self.response(end))
        return found

    def do(self, command: bytes, tag: bytes = b"t") -> list[bytes]:
        """Send a command whose literals are ``{n}``, LF and the octets; the last line is tagged."""
        rest = tag + b" " + command
        found: list[bytes] = []
        while True:
            literal = re.search(rb"\{(\d+)\}\r\n", rest)
            if literal is None:
                self._send(rest + b"\r\n")
                return found + self.until(tag + b" ")
            self._send(rest[:literal.end()])
            found += self.until(tag + b" ", b"+ ")
            if not found[-1].startswith(b"+"):
                return found
            size = int(literal[1])
            self._send(rest[literal.end():literal.end() + size])
            rest = rest[literal.end() + size:]

    def ok(self, command: bytes) -> list[bytes]:
        """The responses to a command that must succeed."""
        found = self.do(command)
        assert found[-1].startswith(b"t OK"), f"{command!r} was answered {found[-1]!r}"
        return found

    def all_ok(self, *commands: bytes) -> list[list[bytes]]:
        """The same for commands without literals, sent in one piece."""
        self._send(b"".join(b"t " + command + b"\r\n" for command in commands))
        found = [self.until(b"t ") for _ in commands]
        for command, responses in zip(commands, found, strict=True):
            assert responses[-1].startswith(b"t OK"), f"{command!r} was answered {responses[-1]!r}"
        return found

    def descriptors(self) -> int:
        """Those that are open, but for two uiddbs that a session keeps which writes again and again."""
        folder = f"/proc/{self.pid}/fd"
        opened = [os.path.basename(os.readlink(f"{folder}/{fd}")) for fd in os.listdir(folder)]
        kept = sum(name.startswith("courierimapuiddb") or "imapuid_0" in name for name in opened)
        return len(opened) - min(kept, KEPT)

    def logged(self) -> str:
        return self.log.read_text(errors="backslashreplace")


def _short(data: bytes) -> str:
    shown = data if len(data) < 300 else data[:200] + b" ... (%d octets) ... " % len(data) + data[-60:]
    return shown.decode("ascii", "backslashreplace").replace("\r\n", "\\r\\n ")
