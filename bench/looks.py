"""What it costs to know that mailboxes are as they were: python -m bench.looks [DIRECTORY [MAILBOXES]].

The looks of a STATUS that is asked again, at one mailbox after the other; and what could stand in their
place, watches of each mailbox that have heard nothing: to ask them, which says it of all, and to set and end
them.  Told are microseconds of CPU a mailbox, by turns.
"""
from __future__ import annotations

import os
import shutil
import sys
import tempfile

from bench.costs import Costs
from bench.limits import LOOKS
from bench.renames import ROUNDS
from courierpy.maildir.watch import INSIDE
from courierpy.system import inotify

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
    costs = Costs()
    inotify.binding()                  # loaded before anything is counted
    folder = tempfile.mkdtemp(prefix="courierpy-looks-", dir=words[0] if words else None)
    try:
        mailboxes = make(folder, int(words[1]) if len(words) > 1 else MAILBOXES)
        for _ in range(ROUNDS):
            costs.of("look", look, mailboxes)
            costs.of("set", watch, mailboxes)
            costs.of("ask", hear, inotify.Ear(), mailboxes)
            costs.of("end", inotify.drop)
    finally:
        shutil.rmtree(folder)
    costs.tell(len(mailboxes), "mailbox")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
