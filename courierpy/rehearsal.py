"""A few sessions that the listener holds with itself before the first connection.

They show that sessions work.  And by then the interpreter has rewritten the code that they run (PEP 659)
and filled its caches, in memory that all connections share.  One is held before anything else is loaded for
sessions: what most of them use lies together in memory then, in fewer pages for each to write to and copy.
"""
from __future__ import annotations

import os
import signal
import socket
from functools import partial

from courierpy.listener import sockets
from courierpy.system import inotify, log, proc, programs, temporary
from courierpy.system.conn import Conn
from courierpy.system.desk import AUTHSOCKET, BY_DESCRIPTOR
from courierpy.system.inotify import Instance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from courierpy.auth import Account

REHEARSALS = 12                # code is rewritten after eight calls


class Play:
    """What is said in a session of a protocol.  ``login``: before the login, and with it; ``script``: behind
    it; ``answers``: what must be among those, as the others may be switched off.  ``program``: what follows
    the login, and ``spoken``: the module of its dialogue."""

    def __init__(self, program: str, spoken: str, login: bytes, script: bytes,
                 answers: tuple[bytes, ...]) -> None:
        self.program = program
        self.spoken = spoken
        self.login = login
        self.script = script
        self.answers = answers


PLAYS = {
    "IMAP": Play("imapd", "courierpy.imap.prelogin", b"a CAPABILITY\r\nb LOGIN rehearsal rehearsal\r\n",
                 b"c SELECT INBOX\r\nd UID FETCH 1:* (FLAGS)\r\ne NOOP\r\nf LIST \"\" *\r\n"
                 b"g IDLE\r\nDONE\r\nh LOGOUT\r\n", (b"b OK", b"c OK", b"h OK")),
    "POP3": Play("pop3d", "courierpy.pop3.prelogin", b"CAPA\r\nUSER rehearsal\r\nPASS rehearsal\r\n",
                 b"STAT\r\nLIST\r\nUIDL\r\nTOP 1 0\r\nRETR 1\r\nQUIT\r\n",
                 (b"+OK logged in", b"+OK 1 ", b"+OK Bye"))}


class Failed(Exception):
    """A session that is not as it should be; str() says how."""


def load(settings: Mapping[str, str], apart: bool, protocol: str) -> None:
    """Hold one session for what it loads; whether it goes well those tell that follow.  As rehearse()."""
    try:
        rehearse(settings, apart, protocol, times=1)
    except (OSError, Failed):
        return


def rehearse(settings: Mapping[str, str], apart: bool = False, protocol: str = "IMAP",
             times: int = REHEARSALS) -> None:
    """Hold some sessions with ourselves in a small Maildir.  Failed; OSError where there can be none.

    ``apart``: what comes before the login is done by other processes, and left out.
    """
    play = PLAYS[protocol]
    folder = os.path.join(temporary.folder(), f"courierpy-rehearsal-{os.urandom(8).hex()}")
    hearer = proc.on_signal(lambda number, frame: None)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    umask, look = os.umask(0o077), log.kept()
    here = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    errors, null = os.dup(2), os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, 2, inheritable=True)
    log.start("rehearsal", {log.VARIABLE: "lines"})
    daemon, door = 0, -1
    try:
        daemon, door = _password_daemon(folder)
        os.mkdir(folder, 0o700)
        for part in ("", "cur", "new", "tmp"):
            os.mkdir(os.path.join(folder, "Maildir", part))
        with open(os.path.join(folder, "Maildir", "cur", "1.M1P1.host:2,S"), "wb") as file:
            file.write(b"Subject: rehearsal\n\n")
        inotify.lend(_Silence)
        for _ in range(times):
            os.chdir(folder)
            login = partial(_logged_in, play=play) if apart else partial(_login, play=play, door=door)
            spoken = _session(settings, login, (b"" if apart else play.login) + play.script)
            if not all(answer in spoken for answer in play.answers):
                raise Failed(spoken.decode("ascii", "replace"))
    except (OSError, Failed):
        raise
    except Exception as error:          # a bug: the caller says what becomes of it
        raise Failed(f"{type(error).__name__}: {error}") from error
    finally:
        os.fchdir(here)
        _remove(folder)                # before the one goes that would do it if we were killed
        if daemon:
            os.kill(daemon, signal.SIGKILL)
            os.waitpid(daemon, 0)
        inotify.drop()                 # as a session that ends
        inotify.lend(None)
        os.dup2(errors, 2, inheritable=True)
        log.restore(look)
        for fd in (here, errors, null, door):
            if fd >= 0:
                os.close(fd)
        os.umask(umask)
        if hearer is not None:
            proc.on_signal(hearer)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _password_daemon(folder: str) -> tuple[int, int]:
    """The pid of a process that lets everybody in, and a descriptor that leads to its socket.

    It also removes the folder, when this process ends before it has.  OSError.
    """
    listener, door = sockets.private()

    def answer() -> int:
        proc.keep_open((listener.fileno(),))
        text = f"UID={os.getuid()}\nGID={os.getgid()}\nHOME=.\nADDRESS=rehearsal\n.\n".encode()
        while True:
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(text)

    with listener:
        try:
            # the other signals are held back here
            return proc.fork(answer, signal.SIGUSR1, lambda number, frame: _clean(folder)), door
        except OSError:
            os.close(door)
            raise


class _Silence(Instance):
    """An instance in which nothing is ever heard: the listener loads no binding to make one."""

    def __init__(self) -> None:
        end, other = os.pipe()
        os.close(other)
        super().__init__(end)
        self._last = 0

    def add(self, path: str, mask: int) -> int:
        self._last += 1
        return self._last

    def remove(self, number: int) -> None:
        pass

    def events(self) -> list[tuple[int, int, bytes]]:
        return []


def _clean(folder: str) -> None:
    try:
        _remove(folder)
    finally:
        os._exit(0)


def _login(environ: dict[str, str], conn: Conn, play: Play, door: int) -> programs.Next | int:
    """What logs in, by the password daemon behind ``door``."""
    import sys

    from courierpy.login import front
    from courierpy.login.alone import Alone
    from courierpy.login.stage import Stage

    class Rehearsal(Alone):
        """A login that stays who it is."""

        def _look(self, account: Account) -> None:
            pass

        def _become(self, account: Account) -> None:
            pass

        def _forget_keys(self) -> None:
            pass

    environ[AUTHSOCKET] = f"{BY_DESCRIPTOR}{os.dup(door)}"
    __import__(play.spoken)
    spoken: front.Spoken = sys.modules[play.spoken]        # type: ignore[assignment]
    stage = Stage(spoken.PROTOCOL, spoken.PORT, environ, conn)
    return front.serve(Rehearsal(stage, conn, [], [play.program, "Maildir"]), spoken)


def _logged_in(environ: dict[str, str], conn: Conn, play: Play) -> programs.Next:
    """What goes on behind a login process."""
    environ.update({"IMAPLOGINTAG": "b", "AUTHENTICATED": "rehearsal", "MAILDIR": "Maildir"})
    return programs.Next([play.program, "Maildir"], environ, conn, b"")


def _session(settings: Mapping[str, str], login: Callable[[dict[str, str], Conn], programs.Next | int],
             said: bytes) -> bytes:
    """What a session answers to what is ``said``."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(said)
        ours.shutdown(socket.SHUT_WR)
        conn = Conn(theirs.fileno(), theirs.fileno())
        environ = {**settings, "TCPREMOTEIP": "::1", "TCPREMOTEPORT": "1", "TCPLOCALPORT": "143",
                   "IMAP_EMPTYTRASH": "", "IMAPDEBUGFILE": "", "IMAP_LANDLOCK": "",
                   "IMAP_MAILBOX_SANITY_CHECK": "0",
                   "IMAP_TLS_REQUIRED": "0", "POP3_TLS_REQUIRED": "0"}
        following = login(environ, conn)
        if not isinstance(following, int):
            programs.TABLE[following.argv[0]].main()(following.argv, following.environ, conn)
        conn.end()
        spoken = b""
        ours.settimeout(5)
        while piece := ours.recv(65536):
            spoken += piece
        return spoken


def _remove(folder: str) -> None:
    for top, directories, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink(os.path.join(top, name))
        for name in directories:
            os.rmdir(os.path.join(top, name))
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return
