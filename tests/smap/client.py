"""imapd over pipes, by a client that speaks SMAP, and messages for it."""
from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.pop3.client import Pop3d

OURS = (sys.executable, "-m", "courierpy.imapd")
SETTINGS = {"PROTOCOL": "SMAP1", "IMAPLOGINTAG": "\\SMAP1", "IMAP_KEYWORDS": "1", "IMAP_ACL": "1",
            "SMAP_CAPABILITY": "SMAP1", "HOSTNAME": "host", "IMAP_ENHANCEDIDLE": "0", "TZ": "UTC",
            "IMAP_IDLE_TIMEOUT": "1", "IMAP_TRASHFOLDERNAME": "Trash", "AUTHADDR": "joe@host"}
PLAIN = b"From: a%d@example.com\nSubject: hello %d\nDate: Sun, 22 Nov 2026 01:55:2%d +0000\n\nbody %d\n.dot\n"
PARTS = b"""From: "A \\"B\\"" <a2@example.com>
To: b@example.com,
\tc@example.com
Subject: hello
 two
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=zz

--zz
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

caf=C3=A9
.dot
--zz
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AAECAwQF
--zz--
"""
FLAGS = ("S", "", "RS")
_PIECES = re.compile(rb"\{(\d+)/\d+\} ")
_NAMES = re.compile(rb'((?:UID|NEWUID)=)[^"]*|(SNAPSHOT(?:EXISTS)? ")[^"]*')


def fill(maildir: Path, count: int = 3) -> None:
    """Messages 0, 1, 2 ... in cur/: plain ones, but for the third, which has parts."""
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = maildir / "cur" / f"17000000{number:02}.M{number}P1.host:2,{FLAGS[number % 3]}"
        path.write_bytes(PARTS if number == 2 else PLAIN % ((number,) * 4))


class Smap(Pop3d):
    """A context manager, which reads the greeting."""

    def __init__(self, maildir: Path, program: tuple[str, ...] = OURS, **environ: str) -> None:
        super().__init__(maildir, program, **{**SETTINGS, **environ})

    def __enter__(self) -> Smap:
        greeting = self.line()
        assert greeting.startswith(b"+OK SMAP1 LOGIN Ok"), greeting
        return self

    def send(self, octets: bytes) -> None:
        """As they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(octets)
        self.process.stdin.flush()

    def answer(self) -> bytes:
        """Up to the last line of an answer, or to what asks for octets."""
        assert self.process.stdout is not None
        found = []
        while True:
            line = self.process.stdout.readline()
            found.append(line)
            if not line or line.startswith((b"+OK", b"-ERR", b"> ")):
                return b"".join(found)
            pieces = _PIECES.match(line)
            size = int(pieces[1]) if pieces is not None else -1
            while size >= 0:
                found.append(self.process.stdout.read(size))
                found.append(self.process.stdout.readline())
                size = int(found[-1]) if found[-1].strip() else -1
            if line.startswith(b"{."):
                while found[-1] not in (b".\n", b""):
                    found.append(self.process.stdout.readline())

    def do(self, command: str | bytes) -> bytes:
        """The answer to a command."""
        self.send((command.encode() if isinstance(command, str) else command) + b"\n")
        return self.answer()


def named_alike(answer: bytes) -> bytes:
    """With the names that servers make up the same for all."""
    return _NAMES.sub(rb"\1\2*", answer)
