"""A listener whose sessions sleep soon, and what is known of its processes from outside."""
from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import Server, serving
from tests.programs.chain import children
from tests.realtime.windows import Window, over_tcp

DEADLINE = 30.0


class Running:
    """A listener whose sessions sleep after a second, and what is known of its processes."""

    def __init__(self, server: Server, stay: int) -> None:
        self.server = server
        self.listener = children(server.process.pid)[0]
        wait_until(lambda: len(children(self.listener)) == stay)
        for part in ("tmp", "new", "cur"):
            (server.maildir / part).chmod(0o777)

    def keeper(self) -> int:
        end = time.monotonic() + DEADLINE
        while True:
            for pid in children(self.listener):
                if is_keeper(pid):
                    return pid
            assert time.monotonic() < end, "there is no keeper"
            time.sleep(0.01)

    def awake(self) -> list[int]:
        """Processes that have a client: one that waits for the next has nothing at its descriptor 0."""
        return [pid for pid in children(self.listener) if process_state(pid) not in "ZX" and has_client(pid)]

    def wait_asleep(self, awake: int = 0) -> None:
        """Until no more than ``awake`` connections have a process."""
        wait_until(lambda: len(self.awake()) <= awake)

    def idler(self, folder: str = "INBOX", command: str = "SELECT") -> Window:
        window = over_tcp(self.server.port)
        if folder:
            window.do(f"{command} {folder}")
        assert window.idle()[0].startswith("+ ")
        return window

    def sleeper(self, folder: str = "INBOX", command: str = "SELECT", awake: int = 0) -> Window:
        window = self.idler(folder, command)
        self.wait_asleep(awake)
        return window

    def readers(self) -> list[str]:
        return [name for name in os.listdir(self.server.maildir / "tmp") if "_reader" in name]


def is_keeper(pid: int) -> bool:
    """It waits for many by one instance of epoll, as login processes do, and for folders."""
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        return all(any(kind in link for link in links) for kind in ("eventpoll", "inotify"))
    except OSError:
        return False                   # it ends


def holds_a_sleeper(pid: int) -> bool:
    try:
        return is_keeper(pid) and any("memfd:asleep" in os.readlink(f"/proc/{pid}/fd/{fd}")
                                      for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def has_client(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/fd/0") != os.devnull
    except OSError:
        return False                   # it ends


def process_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def wait_until(true: object) -> None:
    end = time.monotonic() + DEADLINE
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


@contextmanager
def hibernating(mode: str = "doorway", **values: str) -> Iterator[Running]:
    """Behind login processes a sleep leaves a process that waits for the next session, or to wake one."""
    with serving(mode, **{"IMAP_HIBERNATE": "1", "MAXPERIP": "40", **values}) as server:
        # two password helpers, or two login processes with one and two processes ahead; the keeper
        yield Running(server, (5 if mode == "doorway" else 2) + (values.get("IMAP_HIBERNATE") != "0"))
