"""What one image of the listener leaves to the next one, which SIGHUP starts in the same process.

Its descriptors keep their numbers and its children stay its children; the rest
is a memory file of lines, named by its descriptor in COURIERPY_HANDOVER.
"""
from __future__ import annotations

import os
import socket

from courierpy.listener.connections import Asleep, Connection
from courierpy.model.numbers import PID_MOST, decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.listener.left import Left

VARIABLE = "COURIERPY_HANDOVER"


class Handover:
    """All that one image of couriertcpd leaves to the next.

    ``connections``: by pid. ``auth``: descriptor and path of the password helpers' socket, -1 without
    helpers. ``lock``: descriptor of the pid file's lock or -1. ``logger``: pid of -stderrlogger or 0.
    ``statistics``: pid, 0 without, and METRICS. ``keeper``: its version, pid and three descriptors, None
    without. ``returns``: two descriptors, of the way back; None without. ``asleep``: by number.
    ``doorway``: of login processes, as listener/doorway.py leaves it; None without. ``argv`` and
    ``environ``: the settings in force."""

    __slots__ = ("argv", "asleep", "auth", "connections", "doorway", "environ", "helpers", "keeper", "lock",
                 "logger", "returns", "sockets", "statistics")

    def __init__(self) -> None:
        self.sockets: list[int] = []
        self.connections: dict[int, Connection] = {}
        self.helpers: set[int] = set()
        self.auth: tuple[int, str] = (-1, "")
        self.keeper: tuple[int, int, int, int, int] | None = None
        self.returns: tuple[int, int] | None = None
        self.asleep: dict[int, Asleep] = {}
        self.doorway: Left | None = None
        self.lock = -1
        self.logger = 0
        self.statistics: tuple[int, str] = (0, "")
        self.argv: list[str] = []
        self.environ: dict[str, str] = {}

    def descriptors(self) -> list[int]:
        kept = self.keeper[2:] if self.keeper is not None else ()
        desks = [each.desk.fileno() for each in self.connections.values() if each.desk is not None]
        door = decimal(self.auth[1].rpartition("/")[2], PID_MOST)
        asleep = [fd for each in self.asleep.values() for fd in (each.client, each.file)]
        doorway = self.doorway.descriptors() if self.doorway is not None else ()
        return [fd for fd in (*self.sockets, *doorway, self.auth[0], -1 if door is None else door, self.lock,
                              *kept, *desks, *asleep, *(self.returns or ())) if fd >= 0]

    def save(self) -> int:
        """The descriptor of the file, inherited by the next image.  OSError."""
        import json
        lines = [*(f"socket {fd}" for fd in self.sockets),
                 *(line for pid, each in self.connections.items() for line in _lines(pid, each)),
                 *(f"sleeper {number} {each.line()}" for number, each in self.asleep.items()),
                 *([f"keeper {' '.join(map(str, self.keeper))}"] if self.keeper is not None else []),
                 *(["returns {} {}".format(*self.returns)] if self.returns is not None else []),
                 *(f"helper {pid}" for pid in self.helpers),
                 f"auth {self.auth[0]} {self.auth[1]}", f"lock {self.lock}", f"logger {self.logger}",
                 "statistics {} {}".format(*self.statistics),
                 *(f"doorway {json.dumps(each.values())}" for each in (self.doorway,) if each is not None),
                 f"argv {json.dumps(self.argv)}", f"environ {json.dumps(self.environ)}"]
        fd = os.memfd_create("handover", 0)
        data = memoryview("\n".join(lines).encode())
        while data:
            data = data[os.write(fd, data):]
        return fd


def _lines(pid: int, connection: Connection) -> list[str]:
    desk = connection.desk.fileno() if connection.desk is not None else -1
    address, port = connection.peer
    device, inode = connection.identity
    return [f"child {pid} {connection.started!r} {connection.address}", f"peer {pid} {desk} {port} {address}",
            f"identity {pid} {device} {inode}"]


def _read(number: str) -> list[str]:
    with open(int(number), "rb", closefd=False) as file:
        file.seek(0)
        return file.read().decode().split("\n")


def before() -> tuple[list[str], dict[str, str]] | None:
    """The arguments and the environment that an earlier image ran with, if this one was started by it."""
    import json
    number = os.environ.get(VARIABLE, "")
    if not number:
        return None
    found = dict(line.partition(" ")[::2] for line in _read(number) if line.startswith(("argv ", "environ ")))
    if len(found) < 2:
        return None
    return json.loads(found["argv"]), json.loads(found["environ"])


def load() -> Handover | None:
    """What an earlier image left, if this one was started by it; takes the variable away."""
    number = os.environ.pop(VARIABLE, "")
    if not number:
        return None
    found = Handover()
    for line in _read(number):
        word, _, value = line.partition(" ")
        first, _, rest = value.partition(" ")
        if word == "socket":
            found.sockets.append(int(first))
        elif word == "child":
            start, _, address = rest.partition(" ")
            found.connections[int(first)] = Connection(address, started=float(start))
        elif word == "peer":
            desk, port, address = rest.split(" ", 2)
            connection = found.connections[int(first)]
            connection.peer = address, int(port)
            if int(desk) >= 0:
                connection.desk = socket.socket(fileno=int(desk))
                connection.desk.setblocking(False)
        elif word == "identity":
            device, inode = map(int, rest.split())
            found.connections[int(first)].identity = device, inode
        elif word == "doorway":
            import json

            from courierpy.listener.left import Left
            found.doorway = Left(json.loads(value))
        elif word == "sleeper":
            found.asleep[int(first)] = Asleep.of(rest)
        elif word == "keeper":
            version, pid, door, inner, link = map(int, value.split())
            found.keeper = version, pid, door, inner, link
        elif word == "returns":
            found.returns = int(first), int(rest)
        elif word == "helper":
            found.helpers.add(int(first))
        elif word == "auth":
            found.auth = (int(first), rest)
        elif word == "lock":
            found.lock = int(first)
        elif word == "statistics":
            found.statistics = int(first), rest
        elif word == "logger":
            found.logger = int(first)
    os.close(int(number))
    return found
