"""The folder lock: ``tmp/courier.lock``, as Courier takes it.

A file that holds ``<pid>:<host>`` is linked to the lock's name; who succeeds
holds it, and the file's own name goes.  Or a file is linked that a session has in tmp/
anyway (``own``).  To make and remove one each time would be most of what a lock costs:
ext4 does not use the number of a removed inode again for five seconds, and who makes
a file has to pass over all of these.

Who may be overruled.  The lock of a process of this host that is dead, or was
started after the lock was made, is taken away at once; so is one with our own pid
that we do not hold.  Of another host's process we know only the time: two minutes.
Times are compared by the clock that dates our own file, which may be another
machine's.

How it is waited for.  The processes of this host stand in a queue (lockqueue.py), so
that one of them at a time waits for the lock itself, and mostly finds it free.  It is
held for milliseconds, so first a few short pauses, without any preparation; then
inotify says when the lock goes, and the holder's descriptor when it dies.  Waiting
ends: after ``REPORT`` seconds the log names the holder, after ``PATIENCE`` seconds the
command is refused rather than hanging.

How it is let go.  Signals whose handlers may raise an exception are held back
while it is held: the exception could come between link() and the first line of
the body, or in ``__exit__`` before the first line of it, and the lock would stay.
A child of fork() holds nothing.  So the body is short, does no client I/O and
starts no program.
"""
from __future__ import annotations

import errno
import os
import time

from courierpy.maildir import behind
from courierpy.maildir.errors import Busy, FolderMissing, StoreError, trouble
from courierpy.maildir.files import write_all
from courierpy.maildir.lockholder import STALE_EMPTY, Holder, leads_to, owner
from courierpy.maildir.lockqueue import Queue
from courierpy.maildir.lockwait import Waiting
from courierpy.maildir.names import tmp_name
from courierpy.model import fresh
from courierpy.system import log
from courierpy.system.regular import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from types import TracebackType
    from typing import TypeVar

    Judged = TypeVar("Judged")
else:
    # what signal wraps in enumerations, which would cost 2 us at each lock
    import _signal

PATIENCE = 14.0                    # seconds for which a command waits
TURN = 0.5                         # in the queue, before we look for ourselves; longer while it is held
PASSES = 3                         # of others before us, after which we wait for our own turn
REMOVALS = 3                       # tries to remove the lock
TEXT = 300                         # bytes of a lock that are read
# SIGTSTP has no handler here, but a process that is stopped should not hold a lock
SIGNALS = frozenset({_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM, _signal.SIGTSTP})

# what this process holds: its objects never break each other's lock
_held: set[FolderLock] = behind.held
fresh.forgets(lambda: fresh.spoil() if _held else None)


class FolderLock:
    """``with FolderLock(path, host):`` — re-entered by the same object for free.

    ``path``: the folder.  ``host``: for the name in tmp/; the text has the system's
    own name.  Not ``enabled``: there is no file, and only the queue keeps the processes of this
    host apart, as far as it can.  ``own``: gives the path of a
    file in tmp/ with the text of owner() in it, or "" when there is none now.

    The steps to the lock and back share its depth, its signals and the queue: hence so many methods.
    """

    __slots__ = ("_depth", "_masked", "_own", "_queue", "_since", "enabled", "host", "lock", "tmp")

    def __init__(self, path: str, host: str, enabled: bool = True,
                 own: Callable[[], str] = lambda: "") -> None:
        self.tmp = f"{path}/tmp"
        self.lock = f"{self.tmp}/courier.lock"
        self.host = host
        self.enabled = enabled
        self._depth = 0
        self._since = 0.0
        self._queue = Queue(self.tmp)
        self._own = own
        self._masked: frozenset[int] = SIGNALS   # signals that we hold back

    def __enter__(self) -> FolderLock:
        self.take()
        return self

    def is_held(self) -> bool:
        """Does anybody hold it, as far as one can see?  True where it cannot be looked at."""
        if not self.enabled:
            return self in _held or not self._is_next()
        try:
            return self._holder(lambda fd, holder: not holder.stale(time.time(), _is_ours))
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def _is_next(self) -> bool:
        """Could we be the next of this host now?"""
        try:
            return self._queue.attempt()
        finally:
            self._queue.leave()

    def attempt(self) -> bool:
        """Take the lock if nobody holds it now, and none of this host waits for it.  Raises as take()."""
        return self._try(0.0)

    def take(self, unless: Callable[[], bool] | None = None, at_once: bool = False,
             patience: float | None = None) -> bool:
        """Take the lock; False, without it, when ``unless()`` became true while it was waited for.

        ``at_once``: to ask takes no time, so that it is done each time that another one let the lock go,
        and at our turn; otherwise we ask before it, and hold up nobody.  ``patience``: seconds to wait, other
        than ``PATIENCE``.

        Raises Busy when it is held for too long, FolderMissing without a tmp/,
        another StoreError for what the disk refuses.
        """
        return self._try(PATIENCE if patience is None else patience, unless, at_once)

    def _try(self, patience: float, unless: Callable[[], bool] | None = None, at_once: bool = False) -> bool:
        if self in _held:
            self._depth += 1
            return True
        if not self.enabled:
            return self._queue_only(patience > 0, unless)
        done = False
        try:
            # 1. nobody of this host is before us, or we wait
            if not self._queue.attempt() and not patience:
                return False
            mine, lent = self._file()
            try:
                # 2. a file of our own that says who we are
                if not lent:
                    self._write(mine)
                # 3. link it to the lock's name until that works
                done = self._queue.first and self._link(mine) or \
                    patience > 0 and self._wait(mine, patience, unless, at_once)
            finally:
                # 4. the link is all that counts, or nothing is left
                if not lent:
                    try:
                        os.unlink(mine)
                    except FileNotFoundError:
                        pass                         # it could not be made
                    except OSError as error:
                        log.warn(f"{mine}: {error.strerror}")
            return done
        finally:
            if not done:
                self._queue.leave()

    def _queue_only(self, patient: bool, unless: Callable[[], bool] | None) -> bool:
        """Not enabled: whoever has our turn in the queue of this host does not hold us up for long."""
        if not self._queue.attempt():
            if not patient:
                return False
            self._queue.wait(TURN)
            if unless is not None and unless():
                self._queue.leave()
                return False
        self._depth, self._masked = 1, frozenset()
        _held.add(self)
        return True

    def _file(self) -> tuple[str, bool]:
        """The path of the file that is linked, and is it there?  It is as young then as others
        take the lock to be."""
        own = self._own()
        if own:
            try:
                os.utime(own)
                return own, True
            except OSError:
                pass                             # cleaned away as garbage
        return os.path.join(self.tmp, tmp_name(self.host, "courierlock")), False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 where: TracebackType | None) -> None:
        self.release()

    def release(self) -> None:
        """Undo one take().  In a child of the process that took the lock this does nothing."""
        if self not in _held:
            return
        self._depth -= 1
        if self._depth > 0:
            return
        if not self.enabled:
            _held.discard(self)
            self._queue.leave()
            behind.let_go()
            return
        try:
            # nobody may have overruled us before this time: no need to look
            if time.monotonic() - self._since < STALE_EMPTY or self._is_ours():
                self._remove()
            else:
                log.warn(f"{self.lock}: another has it: we held it for too long")
        except OSError as error_:
            log.warn(f"{self.lock}: {error_.strerror}")
        finally:
            _held.discard(self)
            self._queue.leave()
            try:
                self._unmask()
            finally:
                behind.let_go()

    def _remove(self) -> None:
        """A lock that stayed would stop everybody while we live: a disk that fails once may
        do it the next time, or give the file another name."""
        for _ in range(REMOVALS):
            try:
                os.unlink(self.lock)
                return
            except OSError as error:
                log.warn(f"{self.lock}: {error.strerror}")
                if error.errno == errno.ENOENT:
                    return
        os.rename(self.lock, os.path.join(self.tmp, tmp_name(self.host, "courierlock")))

    def _is_ours(self) -> bool:
        return whole(self.lock, TEXT) == owner()

    def _write(self, mine: str) -> None:
        try:
            fd = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                write_all(fd, owner())         # half a number is another process
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                os.ftruncate(fd, 0)            # an empty one keeps others away too, for STALE_EMPTY
            finally:
                os.close(fd)
        except OSError as error:
            raise self._trouble(mine, error) from None

    def _link(self, mine: str) -> bool:
        """One try.  With True the lock is ours and signals are held back."""
        try:
            before = _signal.pthread_sigmask(_signal.SIG_BLOCK, SIGNALS)
        except BaseException:
            # a handler that was due raised; what was blocked before we do not know now
            _signal.pthread_sigmask(_signal.SIG_UNBLOCK, SIGNALS)
            raise
        self._masked = SIGNALS - before
        done = False
        try:
            try:
                try:
                    os.link(mine, self.lock)
                except FileNotFoundError:
                    self._write(mine)            # it was cleaned away, or the folder is gone
                    os.link(mine, self.lock)
                done = True
            except OSError as error:
                # NFS: the answer to a link that worked may be lost, and the repeated call fails
                done = _links(mine) == 2
                if not done and not isinstance(error, FileExistsError):
                    raise self._trouble(self.lock, error) from None
            if done:
                self._since = time.monotonic()
                self._depth = 1
                _held.add(self)
        finally:
            if not done:
                self._unmask()
        return done

    def _unmask(self) -> None:
        # last: the handler of a signal that came meanwhile runs in here and may raise
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, self._masked)

    def _wait(self, mine: str, patience: float, unless: Callable[[], bool] | None, at_once: bool) -> bool:
        try:
            born = os.lstat(mine).st_mtime
        except OSError as error:
            raise self._trouble(mine, error) from None
        began = time.monotonic()
        waiting = Waiting(self.tmp, self.lock)
        asked = again = late = False
        turn = TURN
        passes = PASSES if at_once and unless is not None else 0
        try:
            while True:
                if passes and not self._queue.first:
                    passes = passes - 1 if self._queue.pass_by(TURN) else 0
                    if unless is not None and unless():
                        return False
                    if not self._queue.again():
                        continue
                if not self._queue.first:
                    came = self._turn(turn, began + patience - time.monotonic())
                    # perhaps nothing is left to do
                    if at_once and unless is not None:
                        if unless():
                            return False
                    elif came and not asked and unless is not None:
                        asked = True
                        self._queue.leave()
                        if unless():
                            return False
                        self._queue.attempt()
                        continue
                waited = time.monotonic() - began
                holder = self._judge(born + waited)
                if waited > patience and (late or holder is not None):
                    if holder is not None:
                        waiting.report(holder)
                    raise Busy(f"{self.lock}: held by {holder or 'others by turns'}")
                late = waited > patience         # it is free: once more
                if not self._queue.first and holder is not None:
                    turn *= 2          # who holds it is slow: to ask again costs the place
                if holder is not None:
                    if again and unless is not None and unless():
                        return False
                    waiting.pause(holder, patience - waited, self._queue.first)
                if self._link(mine):
                    if not self._queue.first:
                        self._queue.doubt()
                    return True
                again = True
        finally:
            waiting.close()

    def _turn(self, seconds: float, left: float) -> bool:
        """Is it our turn, before ``left`` seconds have passed?  False also after ``seconds``, when we
        should look for ourselves."""
        return self._queue.wait(max(0.001, min(left, seconds)))

    def _judge(self, now: float) -> Holder | None:
        """Who holds the lock; None when it is gone, by its holder or by us.  ``now``: of the file system."""
        try:
            return self._holder(lambda fd, holder: None if holder.stale(now, _is_ours)
                                and self._break(fd, holder) else holder)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._trouble(self.lock, error) from None

    def _holder(self, judge: Callable[[int, Holder], Judged]) -> Judged:
        """What ``judge`` says of the lock's file, open, and of who holds it.  Raises OSError."""
        # a link, a directory or a pipe of this name is nobody's lock, but must not stop us
        fd = os.open(self.lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return judge(fd, Holder(os.read(fd, TEXT), os.fstat(fd)))
        finally:
            os.close(fd)

    def _break(self, fd: int, holder: Holder) -> bool:
        """Take a stale lock away, unless another waiter is about to.  ``fd``: its file, as it was judged.

        Two that judge the same lock must not remove each other's fresh one.  So the
        stale file is itself locked, and removed only if the name still leads to it: it
        cannot change between that look and unlink(), because whoever changes it must
        have the same flock.  Not by rename and a look afterwards: if the wrong one was
        caught, its holder may let go before it is put back, and it would stay for ever.
        Courier takes no flock, but pauses for 5 seconds after it removed a lock.
        """
        import fcntl
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass                       # NFS would want to write: the look must do
        if leads_to(self.lock, holder.key, holder.mtime):
            os.unlink(self.lock)
            log.info(f"{self.lock}: stale, of {holder}")
        return True

    def _trouble(self, path: str, error: OSError) -> StoreError:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return FolderMissing(f"{self.tmp}: {error.strerror}")
        return trouble(path, error)


def _in_child() -> None:
    """After fork(): the locks are the parent's.  Signals are ours again."""
    if not _held:
        return                         # most often; and each page that is written to here is copied
    held = [*_held]
    _held.clear()
    behind.let_go()
    for lock in held:
        lock._queue.leave()            # the parent stays in it
        lock._unmask()


os.register_at_fork(after_in_child=_in_child)


def _is_ours(holder: Holder) -> bool:
    return any(leads_to(lock.lock, holder.key) for lock in _held)


def _links(path: str) -> int:
    try:
        return os.lstat(path).st_nlink
    except OSError:
        return 0
