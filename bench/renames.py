"""What a change of flags costs the kernel: python -m bench.renames [DIRECTORY [MESSAGES]].

All files of a directory get other names, as STORE does it, and nothing else: with nobody who hears of it,
with a watch by inotify as a session has one in a large mailbox, and with one reading of the directory behind
it, which says the same.  Told are microseconds of CPU a message, by turns.
"""
from __future__ import annotations

import os
import shutil
import sys
import tempfile

from bench.costs import Costs
from courierpy.system.inotify import IN_MOVED_FROM, IN_MOVED_TO, Ear

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MESSAGES = 10_000
ROUNDS = 7
AT_ONCE = 512                      # renames before what was heard of them is read


class Files:
    """``count`` files in a directory; turn() gives each its other name."""

    def __init__(self, folder: str, count: int) -> None:
        self.folder = folder
        inside = os.fsencode(folder)
        self.names = [[b"%s/%d.M%06dP1V000000000000FE00I0000000000A00000_0.mail,S=5000:2,%s" % (
            inside, 1_700_000_000 + at, at % 1_000_000, flags) for at in range(count)]
            for flags in (b"", b"S")]
        for name in self.names[0]:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL, 0o600))

    def turn(self, hear: Callable[[], object] = lambda: None) -> None:
        old, new = self.names
        for start in range(0, len(old), AT_ONCE):
            for _ in map(os.rename, old[start:start + AT_ONCE], new[start:start + AT_ONCE]):
                pass
            hear()
        self.names.reverse()


class Heard:
    """Who hears of all names that change in a directory, and forgets it."""

    def __init__(self, folder: str) -> None:
        self.ear = Ear()
        self.ear.add(folder, IN_MOVED_FROM | IN_MOVED_TO)

    def hear(self) -> None:
        os.read(self.ear.fd, 1 << 20)


def alone(files: Files) -> None:
    files.turn()


def watched(files: Files) -> None:
    heard = Heard(files.folder)
    files.turn(heard.hear)
    heard.ear.close()


def read_again(files: Files) -> None:
    files.turn()
    os.listdir(os.fsencode(files.folder))


WAYS: list[Callable[[Files], None]] = [alone, watched, read_again]


def main(words: list[str]) -> int:
    folder = tempfile.mkdtemp(prefix="courierpy-renames-", dir=words[0] if words else None)
    costs = Costs()
    try:
        files = Files(folder, int(words[1]) if len(words) > 1 else MESSAGES)
        Ear()                          # what makes the first is loaded
        for _ in range(ROUNDS):
            for way in WAYS:
                costs.of(way.__name__, way, files)
    finally:
        shutil.rmtree(folder)
    costs.tell(len(files.names[0]), "message")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
