"""What was said on connections of a test: kept in turns, told as text."""
from __future__ import annotations

import re
from collections import deque

CLIENT, SERVER = "C", "S"
MOST_TURNS = 2000              # of an account; the oldest go
HEAD, TAIL = 3000, 1000        # octets that are kept of one turn

_LITERAL = re.compile(rb"\{(\d{1,20})(\+?)\}\r?\n\Z")
_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f]")


class Turn:
    """What one side of a connection said until the other did."""

    __slots__ = ("connection", "head", "side", "size", "tail")

    def __init__(self, connection: int, side: str) -> None:
        self.connection = connection
        self.side = side
        self.size = 0
        self.head = b""
        self.tail = b""

    def add(self, data: bytes) -> None:
        self.size += len(data)
        room = HEAD - len(self.head)
        self.head += data[:room] if room > 0 else b""
        rest = data[max(0, room):]
        if rest:
            self.tail = (self.tail + rest)[-TAIL:]

    def octets(self) -> bytes:
        left_out = self.size - len(self.head) - len(self.tail)
        return self.head + (b"\n[%d octets]\n" % left_out if left_out else b"") + self.tail


class Transcript:
    """Of all connections of an account, each of which has a number."""

    def __init__(self) -> None:
        self._turns: deque[Turn] = deque(maxlen=MOST_TURNS)
        self._gone = 0
        self._connections = 0

    def connection(self) -> int:
        """The number of one more."""
        self._connections += 1
        return self._connections

    def add(self, connection: int, side: str, data: bytes) -> None:
        last = self._turns[-1] if self._turns else None
        if last is None or (last.connection, last.side) != (connection, side):
            self._gone += len(self._turns) == MOST_TURNS
            last = Turn(connection, side)
            self._turns.append(last)
        last.add(data)

    def note(self, connection: int, text: str) -> None:
        """What happened there, as "the client is gone"."""
        self.add(connection, "-", text.encode() + b"\n")

    def text(self) -> str:
        """``1 C: a NOOP``: the connection, the side, the line.  What cannot be printed is escaped."""
        lines = [f"[{self._gone} turns before]"] if self._gone else []
        for turn in self._turns:
            plain = turn.octets().decode("utf-8", "backslashreplace").replace("\r\n", "\n")
            for line in plain.removesuffix("\n").split("\n"):
                shown = _CONTROL.sub(lambda octet: f"\\x{ord(octet[0]):02x}", line)
                lines.append(f"{turn.connection} {turn.side}: {shown}")
        return "".join(f"{line}\n" for line in lines)


class Commands:
    """The names of the commands in what a client says, as it comes: literals are passed over."""

    def __init__(self, untagged: bool = False) -> None:
        """``untagged``: a command is a line that begins with its name, as in POP3."""
        self._untagged = untagged
        self._line = b""
        self._literal = 0              # octets of it that are still to come
        self._inside = False           # of a command, behind a literal
        self._asked = b""              # tag of a command whose literal waits for the server
        self.last = ""

    @property
    def between(self) -> bool:
        """Is a command to come next?"""
        return not (self._line or self._literal or self._inside)

    def feed(self, data: bytes) -> list[str]:
        """The commands whose first line ends here, in upper case: ``FETCH``, ``UID FETCH``."""
        found = []
        while data:
            if self._literal:
                self._asked = b""
                taken = min(self._literal, len(data))
                self._literal -= taken
                data = data[taken:]
                continue
            line, end, data = data.partition(b"\n")
            self._line += line + end
            if not end:
                break
            if self._untagged:
                self.last = self._line.split(b" ")[0].strip().decode("ascii", "replace").upper()
                found.append(self.last)
                self._line = b""
                continue
            if not self._inside and (name := _name(self._line)):
                found.append(name)
                self.last = name
            match = _LITERAL.search(self._line)
            tag = self._line.split(b" ", 1)[0] if not self._inside else self._asked
            self._inside = match is not None
            if match is not None:
                self._literal = int(match[1])
                self._asked = b"" if match[2] else tag
            self._line = b""
        return found

    def answered(self, data: bytes) -> None:
        """What the server says: a literal that it refuses never comes."""
        if self._asked and any(line.startswith(self._asked + b" ") for line in data.split(b"\n")):
            self._literal, self._inside, self._asked = 0, False, b""


def _name(line: bytes) -> str:
    words = line.split()
    if len(words) < 2:
        return ""                      # of IDLE, or of a SASL exchange
    uid = words[1].upper() == b"UID" and len(words) > 2
    return b" ".join(words[1:3] if uid else words[1:2]).decode("ascii", "replace").upper()
