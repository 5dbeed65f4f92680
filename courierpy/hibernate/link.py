"""The listener's side of the keeper: its process, and the connections that sleep there."""
from __future__ import annotations

import array
import os
import resource
import signal
import socket
import struct
import time
from functools import partial

from courierpy.hibernate import keeper, keeping, protocol
from courierpy.imap.grammar import lines
from courierpy.listener.connections import Asleep, Connection
from courierpy.system import log, passing, proc
from courierpy.system.seldom import due

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from courierpy.listener.connections import Connections

VARIABLE = "COURIERPY_KEEPER"  # the descriptor of the door, in the environment of a connection's process
RESTART_AFTER = 1.0            # seconds between two starts
PAUSE_MOST = 60.0              # and between those of keepers that end by themselves
ASK_AFTER = 10.0               # seconds until the keeper is asked again whether it does anything
LOOK_AFTER = 1.0               # seconds between two looks whether it has answered
SILENT_LOOKS = 60              # without an answer, after which it is killed
DESCRIPTORS = 3                # that come with one message, at most


def keeper_possible() -> bool:
    """Is there what a keeper hears by, for who we are now?  Otherwise the log says so."""
    from importlib.machinery import PathFinder
    found = PathFinder.find_spec("pyinotify")
    if found is not None and os.access(found.origin or "", os.R_OK):
        return True
    why = "is not installed" if found is None else "may not be read by this user"
    log.warn(f"idle connections keep their processes, and hear by the clock: pyinotify {why}")
    return False


class Wake:
    """``number`` is to be woken; ``channel`` goes to its process."""

    __slots__ = ("channel", "number")

    def __init__(self, number: int, channel: socket.socket) -> None:
        self.number = number
        self.channel = channel


class Sleepers:
    """couriertcpd's end of the way to the keeper: who is asleep, and who is to be woken.

    ``eager``: the keeper is started before it is asked for.  ``asleep``: by number.  ``door``:
    what sessions offer theirs by.  Both its ends stay here, and outlive a keeper; so do the
    connections."""

    def __init__(self, connections: Connections, left: tuple[int, int, int, int, int] | None = None,
                 asleep: dict[int, Asleep] | None = None,
                 lost: Callable[[int], object] | None = None) -> None:
        """``left``: version, pid and descriptors (door, its other end, link) of an earlier image.  ``lost``:
        is told the inode of the socket of a session that ended without a process."""
        self.connections = connections
        self.asleep: dict[int, Asleep] = asleep or {}
        self.eager = False
        self._lost = lost or (lambda inode: None)
        self._ending = False
        self.pid = 0
        self.link: socket.socket | None = None
        self.above = 0                 # all descriptors from here are below this
        self._started = self._next_start = self._next_look = 0.0
        self._pause = RESTART_AFTER
        self._silent = 0               # looks since it was asked
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))     # two for each that sleeps
        if left is None:
            self.door, self.inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.inner.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            return
        version, pid, door, inner, link = left
        self.door, self.inner = socket.socket(fileno=door), socket.socket(fileno=inner)
        if link >= 0:
            self.pid, self.link = pid, socket.socket(fileno=link)
            self.link.setblocking(False)
        self.eager = self.pid != 0
        if version == protocol.VERSION:
            self._tell(protocol.LOG, 2)
        elif version == protocol.ALONE:
            self._tell(protocol.END)   # those who sleep there hear BYE
        elif self.pid:
            os.kill(self.pid, signal.SIGKILL)  # the next one goes on with what we have

    def left(self) -> tuple[int, int, int, int, int]:
        return (protocol.VERSION, self.pid, self.door.fileno(), self.inner.fileno(), self.fileno())

    def fileno(self) -> int:
        """Of the link; -1 without."""
        return self.link.fileno() if self.link is not None else -1

    def tend(self) -> None:
        """Start the keeper if it is wanted, and there is none; kill one that does nothing any more."""
        now = time.monotonic()
        if self.pid and self.asleep and now >= self._next_look:
            self._look(now)
        if self.pid or not (self.eager or self.asleep) or now < self._next_start:
            return
        self._started, self._next_start = now, now + self._pause
        link = theirs = None
        try:
            link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            # it hears of our end by the link, and has something to say to the clients then
            pid = proc.fork(partial(self._keep, theirs), 0)
        except OSError as error:
            if link is not None:
                link.close()
            if due("keeper"):
                log.crit(f"the keeper of idle connections cannot be started: fork: {error.strerror}")
            return
        finally:
            if theirs is not None:
                theirs.close()
        link.setblocking(False)
        self.pid, self.link = pid, link
        self.above = max(self.above, link.fileno() + 1)

    def _look(self, now: float) -> None:
        """Looks are counted, and not seconds: where the machine has stood still it had no time either."""
        self._next_look = now + LOOK_AFTER
        self._tell(protocol.ASK)       # each time: there may have been no room for it
        self._silent += 1
        if self._silent > SILENT_LOOKS:
            log.crit("the keeper of idle connections answers nothing, and is killed")
            os.kill(self.pid, signal.SIGKILL)      # ended() is told
            self._silent = 0

    def _keep(self, link: socket.socket) -> int:
        left = [(number, each.client, each.file, each.uid) for number, each in self.asleep.items()]
        try:
            keeping.run(self.inner, link, left)
        except BaseException as error:      # never back into the loop
            log.crit(f"keeper: {type(error).__name__}: {error}")
            return proc.CRASHED
        return 0

    def hear(self) -> Iterator[Wake]:
        """Do what the keeper says; who is to be woken."""
        while self.link is not None:
            try:
                data, ancillary, flags, _ = self.link.recvmsg(
                    64, socket.CMSG_SPACE(4 * DESCRIPTORS), passing.RECEIVING)
            except BlockingIOError:
                return
            except OSError:
                data, ancillary, flags = b"", [], 0
            if not data:
                self.link.close()      # it is gone: ended() comes
                self.link = None
                return
            fds = array.array("i")
            for _, _, value in ancillary:
                fds.frombytes(value)
            wake = None
            if data == protocol.HERE:
                self._silent, self._next_look = 0, time.monotonic() + ASK_AFTER
            elif data[:1] == b"S":
                _, number, pid = protocol.SLEPT.unpack(data)
                if not self._sleeps(number, pid, fds, whole=not flags & socket.MSG_CTRUNC):
                    self._tell(protocol.DROP + number.to_bytes(8, "big"))
            elif data[:1] == b"W" and len(fds) == 1:
                _, number = protocol.WAKE.unpack(data)
                if number in self.asleep and not self._ending:
                    wake = Wake(number, socket.socket(fileno=fds.pop()))
            elif data[:1] == b"G":
                _, number = protocol.GONE.unpack(data)
                if number in self.asleep:
                    self._lost(protocol.identity(self.asleep[number].client)[1])
                self._forget(number)
            for fd in fds:
                os.close(fd)
            if wake is not None:
                yield wake

    def _sleeps(self, number: int, pid: int, fds: array.array[int], whole: bool) -> bool:
        """Take the connection of this child of ours.  False: its session goes on with it."""
        connection = self.connections.by_pid.get(pid)
        if not whole or len(fds) != DESCRIPTORS or connection is None or not connection.address:
            return False               # nobody's, or his second
        channel, client, file = fds
        try:
            uid, gid, groups = proc.identity(pid)
            own = is_of(client, connection)
        except OSError:
            return False               # it is gone
        if not own or uid == 0:
            return False               # not his; not who may sleep
        with protocol.borrowed(channel) as said:
            try:
                said.send(protocol.GOOD, passing.SENDING)
            except BlockingIOError:
                return False
            except OSError:
                pass                   # its process was killed; the client is here
        del fds[1:]
        self.above = max(self.above, client + 1, file + 1)
        address = self.connections.takes_place_of(pid)
        self.asleep[number] = Asleep(address, connection.peer, client, file, uid, gid, groups,
                                     connection.account)
        return True

    def _forget(self, number: int) -> None:
        gone = self.asleep.pop(number, None)
        if gone is not None:
            gone.close()
            self.connections.left(gone.address)

    def dismiss(self, words: Mapping[int, tuple[int, str]]) -> list[int]:
        """End the sessions that sleep: inode of the socket -> uid, and what the client is told.  Gives the
        inodes of those that are ended."""
        asleep = {protocol.identity(each.client)[1]: number
                  for number, each in (self.asleep.items() if words else ())}
        ended = []
        for inode, (uid, why) in words.items():
            number = asleep.get(inode, -1)
            each = self.asleep.get(number)
            if each is None or each.uid != uid:
                continue
            try:
                state = protocol.load(each.file)
            except (OSError, struct.error):
                continue               # its keeper says what becomes of it
            protocol.farewell(each.client, state, lines.told(lines.BYE, why))
            keeper.log_end(state, "Ended by the administrator")
            self._tell(protocol.DROP + number.to_bytes(8, "big"))
            self._forget(number)
            ended.append(inode)
        return ended

    def wake(self, wake: Wake, begin: Callable[[Connection, Asleep, int], object]) -> None:
        """A process goes on with a connection that slept.  If there can be none, the keeper asks again.

        ``begin``: gives such a process the connection, and the descriptor of its channel.  OSError.
        """
        asleep = self.asleep[wake.number]
        connection = Connection(asleep.address, asleep.peer)
        connection.identity = protocol.identity(asleep.client)
        connection.account = asleep.account
        try:
            begin(connection, asleep, wake.channel.fileno())
        except OSError as error:
            wake.channel.close()
            if due("fork"):
                log.crit(f"an idle connection cannot be woken: fork: {error.strerror}")
            return
        try:
            wake.channel.send(protocol.TAKEN, passing.SENDING)
        except OSError:
            pass                       # the keeper died meanwhile: it has no say any more
        wake.channel.close()
        self.asleep.pop(wake.number).close()           # it counts on, with a process

    def _tell(self, word: bytes, fd: int = -1) -> None:
        if self.link is not None:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", (fd,)))] if fd >= 0 else []
            try:
                self.link.sendmsg([word], rights, passing.SENDING)
            except OSError:
                return                 # it is gone, and will be missed

    def ended(self, pid: int, status: int) -> bool:
        """Was this process the keeper?  ``status``: as waitpid(2) has it."""
        if pid != self.pid:
            return False
        # one that was not killed could not begin, and the next cannot either: its user has no instance of
        # inotify left, say
        young = time.monotonic() - self._started < PAUSE_MOST
        self._pause = min(2 * self._pause, PAUSE_MOST) if young and os.WIFEXITED(status) else RESTART_AFTER
        self._next_start = self._started + self._pause
        log.crit(f"the keeper of idle connections ended; {len(self.asleep)} go on in another")
        self.pid = self._silent = 0
        if self.link is not None:
            self.link.close()
            self.link = None
        return True

    # -- the end

    def end(self) -> set[int]:
        """Tell the keeper to end; the pid to wait for.  Until it has ended, hear() must go on: there may
        be sessions that wait for our word."""
        self._ending = True
        self._tell(protocol.END)
        return {self.pid} - {0}

    def last_words(self) -> None:
        """To those who heard none from the keeper, because there was none, or it did not come to it."""
        for each in self.asleep.values():
            try:
                state = protocol.load(each.file)
            except (OSError, struct.error):
                continue
            if protocol.farewell(each.client, state):
                keeper.log_end(state)


def is_of(client: int, connection: Connection) -> bool:
    """Is it the socket of this connection?  OSError when it is gone."""
    with protocol.borrowed(client) as sock:
        peer: tuple[str, int] = sock.getpeername()[:2]
    if connection.identity != (0, 0):
        return protocol.identity(client) == connection.identity
    return peer == connection.peer
