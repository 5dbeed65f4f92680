"""Who has a folder open, and messages that are expunged and not told to all of them yet.

A session that selects a folder has a file ``<time>P<pid>_reader.<host>`` in tmp/; the
time is when it last told its client what went.  While another one is there,
an expunged message gets a second name in tmp/, ``<base name>_expunged``: its
bytes can be served to clients that know it still.  Whoever comes last removes it.
The file says who we are as a lock does, so that it can be linked to the lock's name.
On a full disk nothing is kept, for who expunges wants room.
"""
from __future__ import annotations

import os
import time

from courierpy.maildir import sparefile
from courierpy.maildir.files import remove
from courierpy.maildir.lockholder import alive, is_used, signed
from courierpy.model.numbers import PID_MOST, decimal
from courierpy.model.regex import later

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

# seconds, microseconds with a number behind them that tells the readers of a process apart, process, host
READER = later(rb"(?s)(\d{1,11})\.M(\d{1,6})\d{0,18}P(\d{1,18})_reader\.(.*)")
BURIED = b"_expunged"
LOW_OCTETS, LOW_FILES = 4 << 20, 64     # free on a disk that counts as full
ALIVE = 5.0                        # seconds for which a process that lived is taken for alive
YOUNG = 5.0                        # seconds since a reader told its client something
CROWD, SELDOM = 8, 0.05            # so many readers look after this less often: seconds for each of them
MANY = 1000                        # processes that are remembered
COARSE = 5                         # CLOCK_REALTIME_COARSE of clock_gettime(2)

_count = 0                         # of the times that this process has joined


def has_room(directory: bytes) -> bool | None:
    """Is there room on its disk for what saves only trouble?  None: the disk does not say."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return None
    return not (disk.f_bavail * disk.f_frsize < LOW_OCTETS or disk.f_files and disk.f_favail < LOW_FILES)


class Readers:
    """The readers of one folder, ourselves among them after join().  ``waiting``: there
    are expunged messages that some reader has not told yet."""

    __slots__ = ("_graves", "_number", "_own", "_pid", "_readers", "_seen", "_swept", "host", "tmp",
                 "waiting")

    def __init__(self, path: str, host: str) -> None:
        self.tmp = os.fsencode(f"{path}/tmp")
        self.host = host
        self.waiting = False
        self._own = b""
        self._number = self._pid = 0
        self._readers = 0                        # as they were counted last, and when that was
        self._swept = 0.0
        self._graves: dict[bytes, int] = {}      # what is kept, and since when (the ctime)
        self._seen: dict[bytes, float] = {}      # processes that lived, and when that was looked at

    def join(self) -> None:
        """Without effect where tmp/ takes no file."""
        global _count
        _count += 1
        self._number, self._pid = _count, os.getpid()
        own = self._name(self.now())
        if sparefile.take(os.fsdecode(own)) or signed(own):
            self._own = own

    def leave(self) -> None:
        if self._own:
            own, self._own = os.fsdecode(self._own), b""
            if not sparefile.keep(own, self.host):
                remove(own)
            if not self.were_many:
                self._seen.clear()     # now it counts who lives; many are followed by others
            self._sweep()

    def own(self) -> str:
        """The path of our file; "" without one, and in a child, whose name it does not say."""
        return os.fsdecode(self._own) if self._pid == os.getpid() else ""

    def _name(self, when: int) -> bytes:
        seconds, rest = divmod(when, 1_000_000_000)
        name = f"{seconds}.M{rest // 1000:06d}{self._number}P{self._pid}_reader.{self.host}"
        return self.tmp + b"/" + os.fsencode(name)

    def others(self) -> bool:
        """Has another session the folder open?"""
        return any(map(self._lives, self._others()))

    def are_many(self) -> bool:
        """Have so many others the folder open that one more or less makes no difference to them?"""
        return sum(map(self._lives, self._others())) >= CROWD

    @property
    def were_many(self) -> bool:
        """Were there so many when they were counted last?"""
        return self._readers >= CROWD

    def _others(self) -> list[re.Match[bytes]]:
        own = os.path.basename(self._own)
        try:
            names = os.listdir(self.tmp)
        except OSError:
            return []
        return [match for name in names if name != own and (match := READER.fullmatch(name))]

    @staticmethod
    def now() -> int:
        """Nanoseconds, by the clock that files get their times from."""
        return time.clock_gettime_ns(COARSE)

    def told(self, when: int) -> None:
        """Our client knows what was gone at ``when``, a value of now()."""
        if not self._own:
            return
        if self.were_many and time.monotonic() - self._swept < SELDOM * self._readers:
            self.waiting = True        # for us to say it later, or for another to sweep
            return
        name = self._name(when)
        try:
            os.rename(self._own, name)
            self._own = name
        except OSError:
            pass                       # cleaned away as garbage: the others do not wait for us
        self._sweep()

    def bury(self, path: bytes, name: bytes) -> None:
        """A second name for the file of the message ``name``; if that cannot be, it is just gone."""
        try:
            os.link(path, self._grave(name), follow_symlinks=True)
        except OSError:
            return

    def keeps(self) -> bool:
        """Are expunged messages to be kept for others?  Not where there is hardly any room left."""
        room = has_room(self.tmp)
        if room is False:
            self.give_up()
        return bool(room) and self.others()

    def give_up(self) -> bool:
        """Room is needed: what is kept goes.  True if there was anything."""
        found = False
        try:
            names = os.listdir(self.tmp)
        except OSError:
            return False
        for name in names:
            if name.endswith(BURIED):
                try:
                    os.unlink(os.path.join(self.tmp, name))
                    found = True
                except OSError:
                    continue           # another session was first
        return found

    def find(self, name: bytes) -> bytes:
        """Where the bytes of an expunged message may be."""
        return self._grave(name)

    def _grave(self, name: bytes) -> bytes:
        return os.path.join(self.tmp, name + BURIED)

    def _lives(self, reader: re.Match[bytes]) -> bool:
        """Does it live, or did it a moment ago?  To ask of each session at each command takes longer
        than the command."""
        if os.fsdecode(reader[4]) != self.host:
            return True
        now, process = time.monotonic(), reader[3]
        if now - self._seen.get(process, -ALIVE) < ALIVE:
            return True
        pid = decimal(process, PID_MOST)
        if not pid or not is_used(pid):
            return False
        # who gave its file this name a moment ago is the process of this number, and mostly lives: to
        # wait for one that does not costs less than to ask for more of each
        if not 0 <= time.time() - int(reader[1]) < YOUNG and not alive(pid):
            return False
        if len(self._seen) >= MANY:
            self._seen.clear()         # most of them have left long ago
        self._seen[process] = now
        return True

    def _sweep(self) -> None:
        """Remove what every reader has told, and what was left by readers that were killed."""
        try:
            names = os.listdir(self.tmp)
        except OSError:
            return
        self.waiting = False
        self._readers, self._swept = 0, time.monotonic()
        oldest = None
        graves: dict[bytes, int] = {}
        for reader in filter(None, map(READER.fullmatch, names)):
            if self._lives(reader):
                self._readers += 1
                seen = int(reader[1]) * 1_000_000_000 + int(reader[2]) * 1000
                oldest = seen if oldest is None else min(oldest, seen)
            else:
                remove(os.fsdecode(self.tmp + b"/" + reader[0]))
        for name in names:
            if not name.endswith(BURIED):
                continue
            path = self.tmp + b"/" + name
            try:
                when = self._graves.get(name) or os.stat(path, follow_symlinks=False).st_ctime_ns
                graves[name] = when
                if oldest is None or when < oldest:
                    os.unlink(path)
                else:
                    self.waiting = True
            except OSError:
                continue               # another session was first
        self._graves = graves
