"""Who has a folder open, and messages that are expunged and not told to all of them yet.

A session that selects a folder leaves a file ``..._reader.<host>`` in tmp/ and
touches it when it has told its client what went.  While another one is there,
an expunged message gets a second name in tmp/, ``<base name>_expunged``: its
bytes can be served to clients that know it still.  Whoever comes last removes it.
On a full disk nothing is kept, for who expunges wants room.
"""
from __future__ import annotations

import os
import re
import time

from courierpy.maildir.files import remove
from courierpy.maildir.locks import alive
from courierpy.maildir.names import tmp_name
from courierpy.model.numbers import PID_MOST, decimal

READER = re.compile(rb"\d{1,18}\.M\d{1,18}P(\d{1,18})_reader\.(.*)", re.S)
BURIED = b"_expunged"
LOW_OCTETS, LOW_FILES = 4 << 20, 64     # free on a disk that counts as full
COARSE = 5                         # CLOCK_REALTIME_COARSE of clock_gettime(2)


class Readers:
    """The readers of one folder, ourselves among them after join().  ``waiting``: there
    are expunged messages that some reader has not told yet."""

    def __init__(self, path: str, host: str) -> None:
        self.tmp = os.fsencode(os.path.join(path, "tmp"))
        self.host = host
        self.waiting = False
        self._own = b""

    def join(self) -> None:
        """Without effect where tmp/ takes no file."""
        own = os.path.join(self.tmp, os.fsencode(tmp_name(self.host, "reader")))
        try:
            os.close(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError:
            return
        self._own = own

    def leave(self) -> None:
        if self._own:
            remove(os.fsdecode(self._own))
            self._own = b""
            self._sweep()

    def others(self) -> bool:
        """Has another session the folder open?"""
        own = os.path.basename(self._own)
        return any(name != own for name in self._names(READER) if self._lives(name))

    @staticmethod
    def now() -> int:
        """Nanoseconds, by the clock that files get their times from."""
        return time.clock_gettime_ns(COARSE)

    def told(self, when: int) -> None:
        """Our client knows what was gone at ``when``, a value of now()."""
        if self._own:
            try:
                os.utime(self._own, ns=(when, when))
            except OSError:
                pass                   # cleaned away as garbage: the others do not wait for us
            self._sweep()

    def bury(self, path: bytes, name: bytes) -> None:
        """A second name for the file of the message ``name``; if that cannot be, it is just gone."""
        try:
            os.link(path, self._grave(name), follow_symlinks=True)
        except OSError:
            return

    def keeps(self) -> bool:
        """Are expunged messages to be kept for others?  Not where there is hardly any room left."""
        try:
            disk = os.statvfs(self.tmp)
        except OSError:
            return False
        if disk.f_bavail * disk.f_frsize < LOW_OCTETS or disk.f_files and disk.f_favail < LOW_FILES:
            self.give_up()
            return False
        return self.others()

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

    def _names(self, wanted: re.Pattern[bytes]) -> list[bytes]:
        try:
            return [name for name in os.listdir(self.tmp) if wanted.fullmatch(name)]
        except OSError:
            return []

    def _lives(self, name: bytes) -> bool:
        match = READER.fullmatch(name)
        if match is None:
            return False
        pid = decimal(match[1], PID_MOST)
        return os.fsdecode(match[2]) != self.host or bool(pid and alive(pid))

    def _sweep(self) -> None:
        """Remove what every reader has told, and what was left by readers that were killed."""
        try:
            names = os.listdir(self.tmp)
        except OSError:
            return
        self.waiting = False
        oldest = None
        for name in filter(READER.fullmatch, names):
            path = os.path.join(self.tmp, name)
            try:
                if self._lives(name):
                    seen = os.stat(path).st_mtime_ns
                    oldest = seen if oldest is None else min(oldest, seen)
                else:
                    os.unlink(path)
            except OSError:
                continue               # it left
        for name in names:
            if not name.endswith(BURIED):
                continue
            path = os.path.join(self.tmp, name)
            try:
                if oldest is None or os.stat(path, follow_symlinks=False).st_ctime_ns < oldest:
                    os.unlink(path)
                else:
                    self.waiting = True
            except OSError:
                continue               # another session was first
