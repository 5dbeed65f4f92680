"""What the disk allows for APPEND: python -m bench.durable [DIRECTORY [MESSAGES]].

The system calls that bring one message of 5 kB durably to a mailbox, without IMAP, lock or client, by turns
in several orders.  Told are milliseconds a message, and what the disk was asked for: writes, and flushes of
its cache, by the kernel's count for the device, so that nobody else should use it meanwhile.  A file system
with a journal commits it by two flushes, one without flushes at each sync.  Where that is mounted with
discard too, a file that is replaced costs a wait more: the disk is told at once of each block that is free.
"""
from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Way = Callable[["Place"], None]

MESSAGE = b"The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\n" * 62
MESSAGES = 60
ROUNDS = 5
LINE = b"%d 1700000000.M000000P1V000000000000FE00I0000000000A00000_0.mail,S=4898\n"


class Place:
    """A mailbox, and what is open of it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        for part in ("cur", "tmp"):
            os.mkdir(f"{folder}/{part}")
        self.numbers = b""
        self.count = 0
        self.fds = [os.open(f"{folder}/cur", os.O_RDONLY), os.open(folder, os.O_RDONLY),
                    os.open(f"{folder}/uids", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)]
        self.cur, self.top, self.log = self.fds

    def write(self, name: str, data: bytes) -> tuple[str, int]:
        """A file in tmp/: its path and its descriptor."""
        path = f"{self.folder}/tmp/{name}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, data)
        self.fds.append(fd)
        return path, fd

    def message(self) -> tuple[str, int]:
        self.count += 1
        return self.write(f"{self.count}.mail", MESSAGE)

    def number(self) -> bytes:
        """The line of this message in the log of numbers."""
        line = LINE % self.count
        self.numbers += line
        os.write(self.log, line)
        return line

    def uiddb(self) -> None:
        """All numbers, written anew and synced, as Courier's file."""
        path, fd = self.write("uiddb", b"1 1700000000 %d\n%s" % (self.count + 1, self.numbers))
        os.fsync(fd)
        os.rename(path, f"{self.folder}/courierimapuiddb")

    def behind(self, line: bytes) -> None:
        """The same, where the line of this message is put behind the others, and the first one gets the next
        number."""
        fd = os.open(f"{self.folder}/courierimapuiddb", os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(fd, b"1 1700000000 %5d\n" % (self.count + 1), 0)
        os.lseek(fd, 0, os.SEEK_END)
        os.write(fd, line)
        os.fsync(fd)
        os.close(fd)

    def enter(self, path: str) -> None:
        os.rename(path, f"{self.folder}/cur/{os.path.basename(path)}:2,")

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


def one_by_one(place: Place) -> None:
    """The message, the numbers, and the two directories, each synced as soon as it is written."""
    path, fd = place.message()
    os.fsync(fd)
    place.number()
    place.uiddb()
    place.enter(path)
    os.fsync(place.cur)
    os.fsync(place.top)


def together(place: Place) -> None:
    """The message is on its way while the numbers are synced, and one commit has both."""
    path, fd = place.message()
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    place.number()
    place.uiddb()
    os.fsync(fd)
    place.enter(path)
    os.fsync(place.cur)
    os.fsync(place.top)


def behind(place: Place) -> None:
    """As courierpy does: the file of numbers, whose name is on the disk, gets a line more."""
    path, fd = place.message()
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    place.behind(place.number())
    os.fsync(fd)
    place.enter(path)
    os.fsync(place.cur)


def by_log(place: Place) -> None:
    """As one_by_one, where a log of numbers is synced and no file for Courier is written."""
    path, fd = place.message()
    os.fsync(fd)
    place.number()
    os.fdatasync(place.log)
    place.enter(path)
    os.fsync(place.cur)


def unnumbered(place: Place) -> None:
    """The message and its name, and nothing else: what any server does that loses none and shows no half."""
    path, fd = place.message()
    os.fsync(fd)
    place.enter(path)
    os.fsync(place.cur)


WAYS: list[Way] = [one_by_one, together, behind, by_log, unnumbered]


def asked(folder: str) -> tuple[int, int]:
    """(writes, flushes) that the device of this directory was asked for since it is there."""
    device = os.stat(folder).st_dev
    try:
        with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat") as file:
            words = file.read().split()
        return int(words[4]), int(words[15])
    except (OSError, IndexError):
        return 0, 0                    # no block device, or an old kernel


def measure(way: Way, where: str | None, count: int) -> tuple[float, float, float]:
    """Milliseconds, writes and flushes a message."""
    folder = tempfile.mkdtemp(prefix="courierpy-durable-", dir=where)
    place = Place(folder)
    try:
        os.sync()
        writes, flushes = asked(folder)
        start = time.perf_counter()
        for _ in range(count):
            way(place)
        spent = time.perf_counter() - start
        after = asked(folder)
        return 1000 * spent / count, (after[0] - writes) / count, (after[1] - flushes) / count
    finally:
        place.close()
        shutil.rmtree(folder)


def main(words: list[str]) -> int:
    where = words[0] if words else None
    count = int(words[1]) if len(words) > 1 else MESSAGES
    found: dict[str, list[tuple[float, float, float]]] = {}
    for turn in range(ROUNDS):
        for way in WAYS[turn % len(WAYS):] + WAYS[:turn % len(WAYS)]:
            found.setdefault(way.__name__, []).append(measure(way, where, count))
    for name, runs in found.items():
        spent, writes, flushes = map(statistics.median, zip(*runs, strict=True))
        print(f"{name:12s} {spent:7.2f} ms  {1000 / spent:6.0f} messages/s  {writes:5.1f} writes"
              f"  {flushes:5.1f} flushes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
