"""What one image of the listener leaves to the next one, which SIGHUP starts in the same process.

Its descriptors keep their numbers and its children stay its children; the rest
is a memory file of lines, named by its descriptor in COURIERPY_HANDOVER.
"""
from __future__ import annotations

import os

VARIABLE = "COURIERPY_HANDOVER"


class Handover:
    """``children``: pid -> (address, start on the monotonic clock).  ``auth``: descriptor
    and path of the password helpers' socket, -1 without helpers.  ``lock``: descriptor of
    the pid file's lock or -1.  ``logger``: pid of -stderrlogger or 0.  ``keeper``: its
    version, pid and three descriptors, None without.  ``asleep``: number -> as ``children``."""

    __slots__ = ("asleep", "auth", "children", "helpers", "keeper", "lock", "logger", "sockets")

    def __init__(self) -> None:
        self.sockets: list[int] = []
        self.children: dict[int, tuple[str, float]] = {}
        self.helpers: set[int] = set()
        self.auth: tuple[int, str] = (-1, "")
        self.keeper: tuple[int, int, int, int, int] | None = None
        self.asleep: dict[int, tuple[str, float]] = {}
        self.lock = -1
        self.logger = 0

    def descriptors(self) -> list[int]:
        kept = self.keeper[2:] if self.keeper is not None else ()
        return [fd for fd in (*self.sockets, self.auth[0], self.lock, *kept) if fd >= 0]

    def save(self) -> int:
        """The descriptor of the file, inherited by the next image.  OSError."""
        lines = [*(f"socket {fd}" for fd in self.sockets),
                 *(f"child {pid} {start!r} {address}" for pid, (address, start) in self.children.items()),
                 *(f"asleep {number} {start!r} {address}"
                   for number, (address, start) in self.asleep.items()),
                 *([f"keeper {' '.join(map(str, self.keeper))}"] if self.keeper is not None else []),
                 *(f"helper {pid}" for pid in self.helpers),
                 f"auth {self.auth[0]} {self.auth[1]}", f"lock {self.lock}", f"logger {self.logger}"]
        fd = os.memfd_create("handover", 0)
        os.write(fd, "\n".join(lines).encode())
        return fd


def load() -> Handover | None:
    """What an earlier image left, if this one was started by it; takes the variable away."""
    number = os.environ.pop(VARIABLE, "")
    if not number:
        return None
    with open(int(number), "rb") as file:
        file.seek(0)
        lines = file.read().decode().split("\n")
    found = Handover()
    for line in lines:
        word, _, value = line.partition(" ")
        first, _, rest = value.partition(" ")
        if word == "socket":
            found.sockets.append(int(first))
        elif word in ("child", "asleep"):
            start, _, address = rest.partition(" ")
            (found.children if word == "child" else found.asleep)[int(first)] = (address, float(start))
        elif word == "keeper":
            version, pid, door, inner, link = map(int, value.split())
            found.keeper = version, pid, door, inner, link
        elif word == "helper":
            found.helpers.add(int(first))
        elif word == "auth":
            found.auth = (int(first), rest)
        elif word == "lock":
            found.lock = int(first)
        elif word == "logger":
            found.logger = int(first)
    return found
