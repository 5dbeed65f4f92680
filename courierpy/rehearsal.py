"""A few sessions that the listener holds with itself before the first connection.

They show that sessions work.  And by then the interpreter has rewritten the code that they run (PEP 659)
and filled its caches, in memory that all connections share.  One is held before anything else is loaded for
sessions: what most of them use lies together in memory then, in fewer pages for each to write to and copy.
"""
from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import suppress

from courierpy import sessions, sidebyside
from courierpy.hibernate import hearing, link
from courierpy.listener import sockets
from courierpy.maildir import lately, stores
from courierpy.model import fresh
from courierpy.system import channels, concluded, log, passing, presence, proc, programs, temporary
from courierpy.system.conn import Conn
from courierpy.system.desk import AUTHSOCKET, BY_DESCRIPTOR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.auth import Account

REHEARSALS = 20                # code is rewritten after eight calls; half of them are of a first session
CLIENT = {"TCPREMOTEIP": "::1", "TCPREMOTEPORT": "1", "TCPLOCALPORT": "143"}


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
    with suppress(OSError, Failed):
        rehearse(settings, apart, protocol, times=1)


def gather(settings: Mapping[str, str], apart: bool, protocol: str) -> None:
    """Lay what sessions call side by side.  As load()."""
    def work() -> None:
        with suppress(OSError, Failed):
            rehearse(settings, apart, protocol, times=2)

    try:
        sidebyside.move(sidebyside.called(work))
    except Exception as error:          # a bug: what was not moved yet stays where it is
        log.err(f"what sessions call is not side by side: {type(error).__name__}: {error}")


def rehearse(settings: Mapping[str, str], apart: bool = False, protocol: str = "IMAP",
             times: int = REHEARSALS) -> None:
    """Hold some sessions with ourselves in a small Maildir.  Failed; OSError where there can be none.

    ``apart``: what comes before the login is done by other processes, and left out.
    """
    play = PLAYS[protocol]
    folder = os.path.join(temporary.folder(), f"courierpy-rehearsal-{os.urandom(8).hex()}")
    hearer = proc.on_signal(lambda number, frame: None)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP,
                                                        signal.SIGUSR2))
    umask, look = os.umask(0o077), log.kept()
    here = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    before, null = [os.dup(fd) for fd in (0, 1, 2)], os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 2, inheritable=True)
    log.start("rehearsal", {log.VARIABLE: "lines"})
    beside, door, way = 0, -1, -1
    try:
        beside, door, way = _beside(folder)
        os.mkdir(folder, 0o700)
        for part in ("", "cur", "new", "tmp"):
            os.mkdir(os.path.join(folder, "Maildir", part))
        os.makedirs(os.path.join(folder, "on", presence.TOLD))
        with open(os.path.join(folder, "Maildir", "cur", "1.M1P1.host:2,S"), "wb") as file:
            file.write(b"Subject: rehearsal\n\n")
        settings = {**settings, link.VARIABLE: str(way), presence.VARIABLE: os.path.join(folder, "on")}
        for number in range(times):
            if number % 2 == 0:
                _as_the_first()
            os.chdir(folder)
            spoken = _behind_login(settings, play) if apart else _alone(settings, play, door)
            if not all(answer in spoken for answer in play.answers):
                raise Failed(spoken.decode("ascii", "replace"))
            fresh.forget()
    except (OSError, Failed):
        raise
    except Exception as error:          # a bug: the caller says what becomes of it
        raise Failed(f"{type(error).__name__}: {error}") from error
    finally:
        fresh.forget()
        _as_the_first()
        os.fchdir(here)
        _remove(folder)                # before the one goes that would do it if we were killed
        if beside:
            os.kill(beside, signal.SIGKILL)
            os.waitpid(beside, 0)
        for number, fd in enumerate(before):
            os.dup2(fd, number, inheritable=True)
        log.restore(look)
        for fd in (here, *before, null, door, way):
            if fd >= 0:
                os.close(fd)
        os.umask(umask)
        if hearer is not None:
            proc.on_signal(hearer)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _as_the_first() -> None:
    """The next session is as the first one of its process."""
    for module in (lately, stores, concluded):
        module.forget()


def _beside(folder: str) -> tuple[int, int, int]:
    """The pid of a process beside this one; descriptors that lead to its socket, where everybody is let in,
    and to what is the keeper of these sessions, which hears nothing.

    It also removes the folder, when this process ends before it has.  OSError.
    """
    listener, door = sockets.private()
    inner, way = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def answer() -> int:
        proc.keep_open((listener.fileno(), inner.fileno()))
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(inner, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == inner.fileno():
                    _keep(inner)
                    continue
                client, _ = listener.accept()
                with client:
                    client.recv(4096)
                    client.sendall(_account())

    with listener, inner:
        try:
            # the other signals are held back here
            pid = proc.fork(answer, signal.SIGUSR1, lambda number, frame: _clean(folder))
        except OSError:
            os.close(door)
            way.close()
            raise
    return pid, door, way.detach()


def _account() -> bytes:
    return f"UID={os.getuid()}\nGID={os.getgid()}\nHOME=.\nADDRESS=rehearsal\n.\n".encode()


def _keep(inner: socket.socket) -> None:
    """Answer as the keeper does what a session asks for (hibernate/hearing.py): an instance, in which
    nothing is ever heard, or watches of it."""
    data, fds, _, _ = socket.recv_fds(inner, 4096, 1 + hearing.MOST)
    if not fds:
        return
    with socket.socket(fileno=fds.pop(0)) as channel:
        if data[:1] == hearing.INSTANCE:
            fds += os.pipe()           # the other end stays, by which nothing comes
            socket.send_fds(channel, [hearing.HERE], [fds.pop(0)])
            fds.clear()
        elif data[:1] == hearing.WATCH:
            channel.send(hearing.NUMBER + bytes(len(data) - 1))
    passing.close(fds)


def _clean(folder: str) -> None:
    try:
        _remove(folder)
    finally:
        os._exit(0)


def _alone(settings: Mapping[str, str], play: Play, door: int) -> bytes:
    """What a client hears whose login and session have one process.  The password is checked behind
    ``door``."""
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

    environ = {**_of_all(settings), **CLIENT, AUTHSOCKET: f"{BY_DESCRIPTOR}{os.dup(door)}"}
    __import__(play.spoken)
    spoken: front.Spoken = sys.modules[play.spoken]        # type: ignore[assignment]
    ours, theirs = _client(play.login + play.script)
    with ours, theirs:
        conn = Conn(theirs.fileno(), theirs.fileno())
        stage = Stage(spoken.PROTOCOL, spoken.PORT, environ, conn)
        following = front.serve(Rehearsal(stage, conn, [], [play.program, "Maildir"]), spoken)
        if not isinstance(following, int):
            programs.TABLE[following.argv[0]].main()(following.argv, following.environ, conn)
        conn.end()
        return _heard(ours)


def _behind_login(settings: Mapping[str, str], play: Play) -> bytes:
    """What a client hears from a process of sessions, which stays who it is."""
    ours, theirs = _client(play.script)
    orders, channel = passing.pair()
    with ours, orders, channel:
        with theirs:
            order = channels.Order(_account(), channels.pack(CLIENT), channels.pack({"IMAPLOGINTAG": "b"}))
            passing.send(orders, order.parts(), (theirs.fileno(),))
        process = sessions.Sessions(channel, [play.program, "Maildir"], concluded.Common(_of_all(settings)),
                                    sessions.Manner(1, 0, b""), become=lambda account: None)
        process.run(None)
        process.close()
        for fd in (0, 1):
            os.dup2(2, fd)             # so that the client hears the end
        return _heard(ours)


def _of_all(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of the sessions."""
    return {**settings, "IMAP_EMPTYTRASH": "", "IMAPDEBUGFILE": "", "IMAP_LANDLOCK": "",
            "IMAP_MAILBOX_SANITY_CHECK": "0", "IMAP_TLS_REQUIRED": "0", "POP3_TLS_REQUIRED": "0"}


def _client(said: bytes) -> tuple[socket.socket, socket.socket]:
    """The end of a client that has said this, and a session's."""
    ours, theirs = socket.socketpair()
    ours.sendall(said)
    ours.shutdown(socket.SHUT_WR)
    return ours, theirs


def _heard(client: socket.socket) -> bytes:
    spoken = b""
    client.settimeout(5)
    while piece := client.recv(65536):
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
