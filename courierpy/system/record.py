"""A record of the dialogue of a session, for who looks for a fault: passwords are blanked."""
from __future__ import annotations

import os

from courierpy.model.regex import later

_LOGIN = later(rb"(?i)(\S+\s+(?:LOGIN|AUTHENTICATE\s+\S+)(?=\s)).*|(PASS(?=\s)).*")
_GOES_ON = later(rb"\{\d{1,20}\+?\}\r?\Z")
BLANKED = b" ..."


class Record:
    """``fd``: of the file, whose own it is; ``room``: octets that it may get, -1 for any number."""

    def __init__(self, fd: int, room: int = -1) -> None:
        self._fd = fd
        self._room = room
        self._begun = b""              # of a line of the client that is not whole yet
        self._secret = False           # the next line goes on with a password

    def read(self, data: bytes) -> None:
        """What the client said."""
        lines, end, self._begun = (self._begun + data).rpartition(b"\n")
        if end:
            self._note(b"READ: ", [self._shown(line) for line in lines.split(b"\n")])

    def write(self, data: bytes) -> None:
        """What it is told."""
        self._note(b"WRITE: ", data.removesuffix(b"\n").split(b"\n"))

    def _shown(self, line: bytes) -> bytes:
        found = _LOGIN.match(line)
        secret = self._secret or found is not None
        self._secret = secret and _GOES_ON.search(line) is not None
        if not secret:
            return line
        return (found[1] or found[2]) + BLANKED if found is not None else BLANKED[1:]

    def _note(self, word: bytes, lines: list[bytes]) -> None:
        text = b"".join([word + line.rstrip(b"\r") + b"\n" for line in lines])
        if self._room >= 0:
            text, self._room = text[:self._room], max(0, self._room - len(text))
        try:
            while text:
                text = text[os.write(self._fd, text):]
        except OSError:
            self._room = 0             # a full disk ends the record, not the session
