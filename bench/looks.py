"""What it costs to know that mailboxes are as they were: python -m bench.looks [DIRECTORY [MAILBOXES]].

The looks of a STATUS that is asked again, at one mailbox after the other; and what could stand in their
place, watches of each mailbox that have heard nothing: to ask them, which says it of all, and to set and end
them.  Told are microseconds of CPU a mailbox, by turns.
"""
from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time

from bench.limits import LOOKS
from bench.renames import ROUNDS
from courierpy.maildir.watch import INSIDE
from courierpy.system import inotify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAILBOXES = 200
PARTS = ("", "/new", "/cur")           # where something happens if a count, or who may see it, changes
IN_MODIFY = 0x2                        # numbers are also put behind the others


def make(folder: str, count: int) -> list[str]:
    """So many mailboxes in this directory, with nothing in them but what is looked at."""
    made = [f"{folder}/.F{number:03d}" for number in range(count)]
    for path in made:
        os.mkdir(path)
        os.mkdir(f"{path}/new")
        os.mkdir(f"{path}/cur")
        with open(f"{path}/courierimapuiddb", "xb") as file:
            file.write(b"1 1700000000 21\n")
    return made


def look(mailboxes: list[str]) -> None:
    """As a session looks at each that it is asked about."""
    for path in mailboxes:
        os.access(f"{path}/courierimapacl", os.F_OK)
        for name in LOOKS:
            os.stat(f"{path}/{name}")


def hear(ear: inotify.Ear, mailboxes: list[str]) -> None:
    """Asks once for each of them what was heard of any."""
    for _ in mailboxes:
        ear.listen()


def watch(mailboxes: list[str]) -> inotify.Ear:
    """Who hears of all that look() would see."""
    ear = inotify.Ear()
    for path in mailboxes:
        for part in PARTS:
            ear.add(path + part, INSIDE | IN_MODIFY)
    return ear


def main(words: list[str]) -> int:
    found: dict[str, list[float]] = {}

    def timed(name: str, doing: Callable[..., object], *given: object) -> None:
        start = time.process_time()
        doing(*given)
        found.setdefault(name, []).append(time.process_time() - start)

    inotify.binding()                  # loaded before anything is counted
    folder = tempfile.mkdtemp(prefix="courierpy-looks-", dir=words[0] if words else None)
    try:
        mailboxes = make(folder, int(words[1]) if len(words) > 1 else MAILBOXES)
        for _ in range(ROUNDS):
            timed("look", look, mailboxes)
            timed("set", watch, mailboxes)
            timed("ask", hear, inotify.Ear(), mailboxes)
            timed("end", inotify.drop)
    finally:
        shutil.rmtree(folder)
    for name, runs in found.items():
        print(f"{name:5s} {1e6 * statistics.median(runs) / len(mailboxes):6.2f} us a mailbox")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
