"""A program is given a message on its standard input, and told what it says: sendmail."""
from __future__ import annotations

import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SAID_OCTETS = 4096                 # of what it says that are of interest
SLICE = 0.2                        # seconds between looks whether to give up
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Failed(Exception):
    """It did not take the message; str() says why.  ``said``: its own words, "" where it had none."""

    def __init__(self, why: str, said: str = "") -> None:
        super().__init__(why)
        self.said = said


def send(words: list[str], environ: Mapping[str, str], message: Iterable[bytes], seconds: float,
         gives_up: Callable[[], bool]) -> None:
    """Runs the program, which is looked for in PATH, with the message.  Raises Failed where it cannot be
    started, exits with another status than 0, or is not done in time or when ``gives_up`` says so: then it is
    killed, with what it started.  What it leaves of the message unread is no failure."""
    read_in, write_in = os.pipe()
    read_out, write_out = os.pipe()
    try:
        try:
            pid = os.posix_spawnp(
                words[0], words, {"PATH": PATH, **environ}, setsid=True, setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1),
                file_actions=[(os.POSIX_SPAWN_DUP2, read_in, 0), (os.POSIX_SPAWN_DUP2, write_out, 1),
                              (os.POSIX_SPAWN_DUP2, write_out, 2)])
        except OSError as error:
            raise Failed(f"{words[0]}: {error.strerror}") from None
        finally:
            os.close(read_in)
            os.close(write_out)
        read_in = write_out = -1
        running = _Running(pid, write_in, read_out, time.monotonic() + seconds, gives_up)
        write_in = -1                  # it is closed where the message ends
        try:
            running.talk(message)
            status = running.wait()
        except BaseException:
            running.kill()
            raise
    finally:
        for fd in (write_in, read_out):
            if fd >= 0:
                os.close(fd)
    if status:
        why = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise Failed(f"{words[0]}: {why}", running.words)


class _Running:
    """The program, and the pipes to and from it."""

    def __init__(self, pid: int, to: int, out: int, end: float, gives_up: Callable[[], bool]) -> None:
        self._pid = pid
        self._to, self._out = to, out
        self._end = end
        self._gives_up = gives_up
        self._said = b""
        os.set_blocking(to, False)
        os.set_blocking(out, False)

    @property
    def words(self) -> str:
        return self._said.decode("utf-8", "replace").strip()

    def talk(self, message: Iterable[bytes]) -> None:
        """Until the message is written and the program has closed its output."""
        rest = memoryview(b"")
        pieces = filter(None, message)
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        poll.register(self._to, select.POLLOUT)
        try:
            while True:
                self._look()
                for fd, _ in poll.poll(SLICE * 1000):
                    if fd == self._out:
                        if not self._hear():
                            return
                        continue
                    try:
                        rest = rest[os.write(fd, rest):]
                    except BlockingIOError:
                        continue
                    except BrokenPipeError:
                        rest, pieces = memoryview(b""), filter(None, ())
                    rest = rest or memoryview(next(pieces, b""))
                    if not rest:
                        poll.unregister(fd)
                        self._close()
                if self._to < 0 and self._ended():
                    # something that it has started has its output still, or its last words are there
                    self._hear_all()
                    return
        finally:
            self._close()

    def _close(self) -> None:
        if self._to >= 0:
            os.close(self._to)
            self._to = -1

    def _hear(self) -> bool:
        """False at the end of what it says."""
        try:
            data = os.read(self._out, SAID_OCTETS)
        except BlockingIOError:
            return True
        self._said = (self._said + data)[:SAID_OCTETS]
        return data != b""

    def _hear_all(self) -> None:
        """What it has said until now."""
        while len(self._said) < SAID_OCTETS:
            before = len(self._said)
            if not self._hear() or len(self._said) == before:
                return

    def _ended(self) -> bool:
        """Has it ended?  It stays to be waited for."""
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _look(self) -> None:
        if time.monotonic() > self._end:
            raise Failed("it took too long, and was ended", self.words)
        if self._gives_up():
            raise Failed("the session is to end", self.words)

    def wait(self) -> int:
        """The exit status; that of a signal is negative."""
        pause = 0.001
        while not self._ended():
            self._look()
            time.sleep(pause)
            pause = min(2 * pause, SLICE)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def kill(self) -> None:
        """Its whole session: it is waited for still, so its number is nobody else's."""
        try:
            os.killpg(self._pid, signal.SIGKILL)
        except OSError:
            pass                       # all of them have ended
        try:
            os.waitpid(self._pid, 0)
        except ChildProcessError:
            pass
