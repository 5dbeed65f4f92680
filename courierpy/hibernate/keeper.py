"""The keeper: one process that holds the connections whose processes ended while they idled.

It knows three kinds of descriptors:

* the door, over which a session's process offers its client.  The kernel says whose
  process that is (SCM_CREDENTIALS, SO_PEERGROUPS): only they can be woken for it.
* the clients, which it hands back when there is input, when the folder changes, or by
  the clock.  It reads none of them, and writes only whole fixed lines.
* the link to the listener, which counts who sleeps and forks who is woken.

An offer has four steps, so that a client always has one owner: the session sends the
descriptors, the keeper watches the folder and says KEPT, the session looks a last time
and sends what it knows (from then on it must not touch the client), the keeper says
GOOD once the listener was told.  A wake has two: who is woken says TAKEN before it
touches the client, and closes its channel when it stays awake, or by ending.

What a session knows is opaque here, and no mail or password is ever in it.
"""
from __future__ import annotations

import array
import fcntl
import os
import select
import socket
import stat
import struct
import time
from collections import deque

from courierpy.hibernate.protocol import (
    ALIVE,
    BYE,
    DROP,
    END,
    GONE,
    GOOD,
    KEPT,
    LOG,
    MAX_DIRECTORIES,
    MAX_KNOWN,
    RECORD,
    SLEPT,
    WAKE,
    WOKEN,
    borrowed,
    is_connection,
)
from courierpy.hibernate.watches import ALL, Hearing
from courierpy.system import log, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from courierpy.hibernate.watches import Inotify

AT_A_TIME, OF_ONE_USER = 32, 8  # processes that were woken and are at their look
LOOKING = 5.0                  # seconds after which one that has not is not waited for
APART = 0.5                    # seconds between two wakes of one connection by changes
TRIES = 6                      # of a wake, in growing distance; then the connection is lost
RETRY = 0.25
SO_PEERGROUPS = 59
GROUPS = 1024                  # octets: who is in more than 256 groups stays awake
CREDENTIALS = struct.Struct("=iII")
LONGEST = 1e6                  # seconds until the next word to a client
SPARE = 64                     # descriptors that stay free


class Entry:
    """One connection.  ``stage``: OFFERED, ASLEEP, QUEUED (to be woken), WAKING, FAILED (a wake;
    there will be another) or DROPPED.  ``channel``: to the
    session while it offers, or to the one that is woken.  ``note``: who it is, for the log.
    ``sent``: octets before ``words`` more were sent from here."""

    __slots__ = ("buffer", "changed", "channel", "client", "due", "every", "gid", "groups", "kept_at",
                 "known", "note", "number", "pid", "sent", "stage", "started", "taken", "tries", "uid",
                 "watches", "woken_at", "words")

    def __init__(self, number: int, client: int, channel: socket.socket, pid: int, uid: int, gid: int,
                 groups: tuple[int, ...]) -> None:
        self.number = number
        self.client = client
        self.channel: socket.socket | None = channel
        self.pid, self.uid, self.gid, self.groups = pid, uid, gid, groups
        self.stage = OFFERED
        self.buffer = b""
        self.watches: tuple[int, ...] = ()
        self.due = self.started = self.kept_at = self.woken_at = 0.0
        self.every = self.sent = self.words = self.tries = 0
        self.note = self.known = b""
        self.taken = self.changed = False


OFFERED, ASLEEP, QUEUED, WAKING, FAILED, DROPPED = range(6)


class Ended(Exception):
    """The listener wants no more, or is gone."""


class Refused(Exception):
    """An offer that is not taken; str() says why."""


class Keeper:
    """``entries``: by number; ``by_fd``: by client and channel."""

    def __init__(self, door: socket.socket, link: socket.socket, inotify: Inotify, limit: int) -> None:
        self.door = door
        self.link = link
        self.hearing = Hearing(inotify)
        self.limit = limit                     # descriptors
        self.entries: dict[int, Entry] = {}
        self.by_fd: dict[int, Entry] = {}
        self.queues: dict[int, deque[Entry]] = {}             # by uid, who is to be woken
        self.offering: dict[int, Entry] = {}                  # by pid
        self.wakers: set[Entry] = set()                       # who was woken and is at its look
        self.waking: dict[int, int] = {}                      # uid -> how many of these
        self.later: list[tuple[float, int]] = []              # entries that are queued at a time
        self.last = time.time_ns()             # numbers are not used again, by another keeper neither
        self.next_look = 0.0
        self.poll = select.epoll()
        for fd in (door.fileno(), link.fileno(), inotify.fd):
            self.poll.register(fd, select.EPOLLIN)

    def serve(self) -> None:
        """Until the listener says so, or is gone (Ended)."""
        while True:
            for fd, _ in self.poll.poll(self._timeout()):
                if fd == self.hearing.fd:
                    self._changes()
                elif fd == self.door.fileno():
                    self._offers()
                elif fd == self.link.fileno():
                    self._listener()
                elif (entry := self.by_fd.get(fd)) is not None:
                    try:
                        self._of_entry(entry, fd)
                    except OSError as error:
                        self._lose(entry, error.strerror)
            self._clock()
            self._wake()

    def _of_entry(self, entry: Entry, fd: int) -> None:
        if fd == entry.client:
            if entry.stage == ASLEEP:
                self._queue(entry, first=True)
        elif entry.stage == OFFERED:
            self._offered(entry)
        elif entry.stage == WAKING:
            self._woken(entry)

    def _timeout(self) -> float | None:
        times = [when for when, _ in self.later]
        if self.next_look:
            times.append(self.next_look)
        times += [entry.woken_at + LOOKING for entry in self.wakers if entry.taken]
        times += [entry.kept_at + LOOKING for entry in self.offering.values()]
        return max(0.0, min(times) - time.monotonic()) + 0.001 if times else None

    # -- offers

    def _offers(self) -> None:
        self._changes()                # what happened so far is no news to who looked before its offer
        for _ in range(64):
            try:
                data, ancillary, flags, _ = self.door.recvmsg(
                    64, socket.CMSG_SPACE(4 * 8) + socket.CMSG_SPACE(CREDENTIALS.size),
                    socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            fds, who = array.array("i"), None
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds.frombytes(value[:len(value) - len(value) % fds.itemsize])
                elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    who = CREDENTIALS.unpack(value)
            try:
                if flags & socket.MSG_CTRUNC or who is None or data[:1] != b"o" or len(fds) != 1 + len(data):
                    raise Refused("not an offer")
                self._offer(data[1:], fds, who)
                del fds[:2]            # they are the entry's now
            except (Refused, OSError) as error:
                log.debug(f"an offer is refused: {error}")
            finally:
                for fd in fds:
                    os.close(fd)

    def _offer(self, kinds: bytes, fds: array.array[int], who: tuple[int, int, int]) -> None:
        """Raises Refused or OSError, and then keeps nothing."""
        client, fd, *directories = fds
        pid, uid, gid = who
        if max(fds) > self.limit - SPARE:
            raise Refused("too many descriptors")
        if uid == 0 or len(directories) > MAX_DIRECTORIES:
            raise Refused("not a session")
        channel = socket.socket(fileno=os.dup(fd))
        try:
            # who made the channel must be who sends it, or its groups are somebody else's
            made_by = CREDENTIALS.unpack(channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if made_by != who or channel.family != socket.AF_UNIX or channel.type != socket.SOCK_STREAM:
                raise Refused("not the maker of its channel")
            groups = array.array("I", channel.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, GROUPS))
            if not is_connection(client):
                raise Refused("not a connection")
            for directory in directories:
                # to watch takes the right to read, which this process has for all: the opener had it
                if not stat.S_ISDIR(os.fstat(directory).st_mode) \
                        or fcntl.fcntl(directory, fcntl.F_GETFL) & os.O_PATH:
                    raise Refused("not a directory that can be read")
            channel.setblocking(False)
            self.last += 1
            entry = Entry(self.last, client, channel, pid, uid, gid, tuple(groups))
            try:
                entry.watches = self.hearing.watch(entry.number, directories, kinds)
                channel.send(KEPT)
                self.poll.register(channel.fileno(), select.EPOLLIN)
            except OSError:
                self._unwatch(entry)
                raise
        except BaseException:
            channel.close()
            raise
        os.close(fd)
        if pid in self.offering:
            self._forget(self.offering[pid])
        self.offering[pid] = self.entries[entry.number] = self.by_fd[channel.fileno()] = entry
        entry.kept_at = time.monotonic()

    def _offered(self, entry: Entry) -> None:
        """The session sends what it knows; one that closes the channel before has thought better of it."""
        assert entry.channel is not None
        try:
            data = entry.channel.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        entry.buffer += data
        whole = 0
        if len(entry.buffer) >= RECORD.size:
            *_, note, known = RECORD.unpack_from(entry.buffer)
            whole = RECORD.size + note + known
        if not data or whole > MAX_KNOWN or whole and len(entry.buffer) > whole:
            self._forget(entry)
        elif whole == len(entry.buffer):
            self._sleeps(entry)

    def _sleeps(self, entry: Entry) -> None:
        entry.due, entry.every, entry.sent, entry.started, note, _ = RECORD.unpack_from(entry.buffer)
        now = time.monotonic()
        if not (0 <= entry.started <= now and 0 <= entry.due <= now + LONGEST):
            self._forget(entry)        # what else may it not be: a number
            return
        self.offering.pop(entry.pid)
        entry.note = entry.buffer[RECORD.size:RECORD.size + note]
        entry.known = entry.buffer[RECORD.size + note:]
        entry.buffer = b""
        self._tell([SLEPT.pack(b"S", entry.number, entry.pid)])
        assert entry.channel is not None
        try:
            entry.channel.send(GOOD)
        except OSError:
            pass                       # its process was killed; the client is here
        self._close_channel(entry)
        entry.stage, entry.kept_at = ASLEEP, now
        if entry.changed:
            self.later.append((entry.kept_at + APART, entry.number))
        self.poll.register(entry.client, select.EPOLLIN | select.EPOLLRDHUP)
        self.by_fd[entry.client] = entry
        if not self.next_look or entry.due < self.next_look:
            self.next_look = entry.due

    # -- what wakes

    def _changes(self) -> None:
        for who in self.hearing.heard():
            for entry in list(self.entries.values()) if who == ALL else [self.entries[who]]:
                self._changed(entry)

    def _changed(self, entry: Entry) -> None:
        if entry.stage == OFFERED:
            entry.changed = True       # perhaps after its session looked the last time
        elif entry.stage == ASLEEP and not entry.changed:
            at = entry.kept_at + APART
            if time.monotonic() >= at:
                self._queue(entry)
            else:
                entry.changed = True
                self.later.append((at, entry.number))

    def _queue(self, entry: Entry, first: bool = False) -> None:
        """``first``: the client waits."""
        if entry.stage == ASLEEP:
            self.poll.unregister(entry.client)
            self._unwatch(entry)       # it will look anyway
        entry.stage = QUEUED
        queue = self.queues.setdefault(entry.uid, deque())
        if first:
            queue.appendleft(entry)
        else:
            queue.append(entry)

    def _clock(self) -> None:
        now = time.monotonic()
        if self.later:
            due = [number for at, number in self.later if at <= now]
            self.later = [item for item in self.later if item[0] > now]
            for number in due:
                entry = self.entries.get(number)
                if entry is not None and entry.stage in (ASLEEP, FAILED):
                    self._queue(entry)
        for entry in [entry for entry in self.offering.values() if now > entry.kept_at + LOOKING]:
            self._forget(entry)
        for entry in [entry for entry in self.wakers if entry.taken and now > entry.woken_at + LOOKING]:
            self._let_go(entry)
        if self.next_look and now >= self.next_look:
            asleep = [entry for entry in self.entries.values() if entry.stage == ASLEEP]
            for entry in asleep:
                if entry.due <= now:
                    self._due(entry, now)
            # not more often than once a second, however many there are
            self.next_look = max(now + 1.0, min(entry.due for entry in asleep)) if asleep else 0.0

    def _due(self, entry: Entry, now: float) -> None:
        if not entry.every:
            self._queue(entry, first=True)             # its IDLE is over
            return
        entry.due = now + entry.every
        with borrowed(entry.client) as client:
            try:
                sent = client.send(ALIVE, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                if sent < len(ALIVE):
                    client.shutdown(socket.SHUT_RDWR)  # nobody may ever say the rest in the right place
                entry.words += sent
            except OSError:
                return                 # it takes nothing at the moment; if it is gone, the poll says so

    # -- waking

    def _wake(self) -> None:
        for uid in list(self.queues):
            queue = self.queues.pop(uid)
            while queue and self.waking.get(uid, 0) < OF_ONE_USER and len(self.wakers) < AT_A_TIME:
                entry = queue.popleft()
                if entry.stage == QUEUED:
                    try:
                        self._start(entry)
                    except OSError:
                        self._again(entry)
            if queue:
                self.queues[uid] = queue       # behind the others
        if not self.entries:
            self.later = []

    def _start(self, entry: Entry) -> None:
        entry.channel, theirs = socket.socketpair()
        entry.channel.setblocking(False)
        entry.stage, entry.woken_at = WAKING, time.monotonic()
        entry.buffer = WOKEN.pack(entry.due, entry.words, len(entry.known)) + entry.known
        message = WAKE.pack(b"W", entry.number, entry.uid, entry.gid, len(entry.groups))
        with theirs:
            self._tell([message, struct.pack(f"!{len(entry.groups)}I", *entry.groups)],
                       entry.client, theirs.fileno())
        self.by_fd[entry.channel.fileno()] = entry
        self.poll.register(entry.channel.fileno(), select.EPOLLIN | select.EPOLLOUT)
        self.wakers.add(entry)
        self.waking[entry.uid] = self.waking.get(entry.uid, 0) + 1

    def _woken(self, entry: Entry) -> None:
        """Its new process reads what is known, says TAKEN, and closes the channel to stay, or ends."""
        assert entry.channel is not None
        try:
            if entry.buffer:
                entry.buffer = entry.buffer[entry.channel.send(entry.buffer):]
                if not entry.buffer:
                    self.poll.modify(entry.channel.fileno(), select.EPOLLIN)
            said = entry.channel.recv(16)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            self._take(entry)
        else:
            self._let_go(entry)

    def _take(self, entry: Entry) -> None:
        entry.taken = True
        self.by_fd.pop(entry.client, None)
        os.close(entry.client)
        entry.client = -1

    def _let_go(self, entry: Entry) -> None:
        """Its process stays, or ended, or takes too long."""
        self._close_channel(entry)
        self.wakers.discard(entry)
        self.waking[entry.uid] -= 1
        if not self.waking[entry.uid]:
            del self.waking[entry.uid]
        if entry.taken:
            self._forget(entry)
        else:
            self._again(entry)

    def _again(self, entry: Entry) -> None:
        entry.tries += 1
        if entry.tries < TRIES:
            entry.stage = FAILED
            self.later.append((time.monotonic() + RETRY * 2 ** entry.tries, entry.number))
            return
        self._lose(entry, "it cannot be woken")

    # -- the end of entries

    def _close_channel(self, entry: Entry) -> None:
        if entry.channel is not None:
            # to close it is not enough for the poll, as long as somebody has a copy of it
            self.poll.unregister(entry.channel.fileno())
            self.by_fd.pop(entry.channel.fileno(), None)
            entry.channel.close()
            entry.channel = None

    def _unwatch(self, entry: Entry) -> None:
        self.hearing.unwatch(entry.number, entry.watches)
        entry.watches = ()

    def _lose(self, entry: Entry, why: str | None) -> None:
        log.crit(f"an idle connection is closed, {entry.note.decode(errors='replace')}: {why}")
        self._tell([GONE.pack(b"G", entry.number)])
        self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        if self.offering.get(entry.pid) is entry:
            del self.offering[entry.pid]
        self._close_channel(entry)
        self._unwatch(entry)
        if entry.stage == ASLEEP and self.by_fd.get(entry.client) is entry:
            self.poll.unregister(entry.client)
        if entry.client >= 0:
            os.close(entry.client)
        self.by_fd.pop(entry.client, None)
        self.entries.pop(entry.number, None)

    # -- the listener

    def _tell(self, words: list[bytes], *fds: int) -> None:
        try:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            self.link.sendmsg(words, rights)
        except OSError:
            raise Ended from None

    def _listener(self) -> None:
        """Raises Ended: it wants no more, or is gone."""
        try:
            data, ancillary, _, _ = self.link.recvmsg(64, socket.CMSG_SPACE(4),
                                                      socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            raise Ended from None
        fds = array.array("i")
        for _, _, value in ancillary:
            fds.frombytes(value)
        if data[:1] == DROP:
            entry = self.entries.get(int.from_bytes(data[1:], "big"))
            if entry is not None:
                self._forget(entry)
                entry.stage = DROPPED
        elif data == LOG and fds:
            os.dup2(fds[0], 2)
        for fd in fds:
            os.close(fd)
        if data in (b"", END):
            raise Ended

    def end(self) -> None:
        """Last words to all.  Who has not handed over yet stays what it is, and hears of the end itself."""
        for entry in list(self.entries.values()):
            try:
                if entry.stage == OFFERED:
                    self._offered(entry)
                elif entry.stage == WAKING:
                    self._woken(entry)
            except (OSError, Ended):
                continue
        for entry in self.entries.values():
            if entry.stage != OFFERED and not entry.taken:
                self._goodbye(entry)

    @staticmethod
    def _goodbye(entry: Entry) -> None:
        sent = entry.sent + entry.words
        with borrowed(entry.client) as client:
            try:
                sent += client.send(BYE, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                client.shutdown(socket.SHUT_WR)
            except OSError:
                pass                   # it is gone, or takes nothing
        log.notice(f"Disconnected during shutdown by signal, {entry.note.decode(errors='replace')}, "
                   f"sent={sent}, time={int(time.monotonic() - entry.started)}")


def run(door: socket.socket, link: socket.socket, inotify: Callable[[], Inotify],
        confine: Callable[[], None]) -> None:
    """The keeper's process, forked by the listener: until the listener says so, or is gone."""
    import resource
    import signal

    for number in proc.TOLD:           # the listener says when to end, or its own end does
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if limit == resource.RLIM_INFINITY:
        limit = 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    proc.keep_open((door.fileno(), link.fileno()))
    os.chdir("/")
    heard = inotify()              # while we are who has few of them: nobody's may be used up
    confine()
    keeper = Keeper(door, link, heard, limit)
    try:
        keeper.serve()
    except Ended:
        pass
    keeper.end()
