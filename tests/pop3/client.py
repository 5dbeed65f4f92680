"""pop3d over pipes, and messages for it."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import plain_environ

LOGIN = {"AUTHENTICATED": "joe", "TCPREMOTEIP": "192.0.2.1", "TCPREMOTEPORT": "7"}
MAILS = {
    "one": b"Subject: a\n\nHello.\nBye.\n",
    "crlf": b"Subject: b\r\n\r\nbody\r\n",
    "open": b"Subject: c\n\nno newline",
    "dots": b"Subject: d\n\n.\n..\n.one\na\n.\nlast..",
    "empty": b"",
    "8bit": "Subject: gr\u00fc\u00dfe\n\nGr\u00fc\u00dfe\n".encode(),
    "8bitbody": "Subject: e\nContent-Transfer-Encoding: 8bit\n\nGr\u00fc\u00dfe\n".encode(),
}


def fill(maildir: Path, *mails: str) -> None:
    """These messages in new/, in this order."""
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True, exist_ok=True)
    for number, mail in enumerate(mails, 1):
        (maildir / "new" / f"{1700000000 + number}.M{number}P1.host").write_bytes(MAILS[mail])


class Pop3d:
    """A context manager.  ``errors``: its log, once it has ended."""

    def __init__(self, maildir: Path, program: tuple[str, ...] = (), **environ: str) -> None:
        self.process = subprocess.Popen(
            [*(program or (sys.executable, "-m", "courierpy.pop3d")), str(maildir)], bufsize=-1, cwd=maildir,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=plain_environ(**LOGIN, IMAP_LOG="courier", **environ))
        self.errors = ""

    def __enter__(self) -> Pop3d:
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stderr is not None
        try:
            if self.process.stdin is not None:
                self.process.stdin.close()
            self.errors = self.process.stderr.read().decode()
            self.process.wait(60)
        finally:
            self.process.kill()
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe is not None:
                    pipe.close()

    def say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\r\n")
        self.process.stdin.flush()

    def line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ask(self, line: bytes) -> bytes:
        self.say(line)
        return self.line()

    def rows(self, line: bytes) -> list[bytes]:
        """Of a reply of several lines, which is +OK."""
        assert self.ask(line).startswith(b"+OK")
        found = []
        while (row := self.line()) != b".\r\n":
            assert row
            found.append(row.removesuffix(b"\r\n"))
        return found
