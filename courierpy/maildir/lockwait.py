"""Waiting for a folder's lock until it may be free.

It is held for milliseconds, so first a few short pauses, without any preparation; then inotify says when
the lock goes, and the holder's descriptor when it dies.
"""
from __future__ import annotations

import os
import time

from courierpy.system import log
from courierpy.system.inotify import IN_DELETE, IN_MOVED_FROM, IN_ONLYDIR, Ear

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.lockholder import Holder

REPORT = 5.0                       # one lock is held for so long: the log should know
FIRST_PAUSE, LONGEST_PAUSE = 0.0005, 0.05      # seconds between two tries; each is half as long again
LAST_SPIN = 0.004                  # a longer pause is a watch, where there can be one: 7 ms have passed
LOOK_AGAIN = 0.25                  # while watching, in case that another host removes the lock


class Waiting:
    """One wait for a lock: what was seen, and the watch once there is one."""

    def __init__(self, tmp: str, lock: str) -> None:
        self.tmp = tmp
        self.lock = lock
        self._name = os.path.basename(lock).encode()
        self._pause = FIRST_PAUSE
        self._ear: Ear | None = None
        self._refused = False
        self._seen: tuple[object, ...] = ()
        self._since = 0.0
        self._told = False

    def close(self) -> None:
        if self._ear is not None:
            self._ear.close()

    def pause(self, holder: Holder, left: float, first: bool) -> None:
        """Return when the lock may be free, or after a short time, ``left`` seconds at most.  At once
        when we are not the ``first``: then we have waited for our turn."""
        self.report(holder)
        if not first:
            return
        # the kernel tells of this host's processes only
        if self._pause <= LAST_SPIN or not holder.pid or self._refused:
            time.sleep(self._pause)
            self._pause = min(self._pause * 1.5, LONGEST_PAUSE)
        elif self._ear is None:
            self._start()              # and try once more: it may have gone before
        else:
            self._hear(self._ear, holder.pid, min(LOOK_AGAIN, left))

    def report(self, holder: Holder) -> None:
        """Name who holds it in the log, once and not before ``REPORT`` seconds have passed."""
        seen = (holder.key, holder.mtime, holder.text)   # the number of an inode is soon used again
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        elif not self._told and time.monotonic() - self._since >= REPORT:
            self._told = True
            log.warn(f"{self.lock}: lock held for {REPORT:.0f} s by {holder}")

    def _start(self) -> None:
        try:
            self._ear = Ear()
            # the folder, not the lock: the watch then outlasts each holder
            self._ear.add(self.tmp, IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR)
        except OSError:
            self._ear, self._refused = None, True       # a limit, or no inotify: by short pauses then

    def _is_sign(self, event: tuple[int, int, bytes]) -> bool:
        return event[2] in (self._name, b"")     # without a name: the folder is gone, or events are lost

    def _hear(self, ear: Ear, pid: int, left: float) -> None:
        import select
        poll = select.poll()
        poll.register(ear.fd, select.POLLIN)
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            time.sleep(FIRST_PAUSE)    # another waiter is about to remove the lock
            return
        except OSError:
            process = -1               # the limit of descriptors: seen when we look again
        try:
            if process >= 0:
                poll.register(process, select.POLLIN)
            end = time.monotonic() + left
            while left > 0:
                ready = [fd for fd, _ in poll.poll(0 if ear.waiting else left * 1000)]
                if process in ready:
                    time.sleep(FIRST_PAUSE)    # it may be a zombie that looks alive: no busy loop
                    return
                # all of them are read: one that stays would end the next pause
                if [event for event in ear.events() if self._is_sign(event)]:
                    return
                left = end - time.monotonic()
        finally:
            if process >= 0:
                os.close(process)
