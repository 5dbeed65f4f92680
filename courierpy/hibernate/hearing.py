"""Hearing for sessions that are awake: the keeper makes what inotify(7) asks for, or hears for them.

A session does not load what makes instances and watches (see system/inotify.py): it asks
over the keeper's door.  The instance that it gets is its own, and it reads the events
itself.  But the kernel gives each user a number of instances (fs.inotify.max_user_instances,
128), and the keeper's user no more than others: a session for which there is none gets
the use of the one that the keeper has for itself.

Requests over the door, each with a channel for the answer: ``i`` an instance, ``a`` masks, with
instance and a directory for each: watches, answered by ``n`` and their numbers, in place of one that there
cannot be an errno, below 0; ``r`` number, with the instance: it is to end (no answer).
``e``: hear for me, by the channel from then on, which keeps messages apart:

The session asks: ``+`` mask and a directory's descriptor, answered by ``n`` and the watch's
number or ``e`` and an errno; ``-`` number; ``?``, answered by ``!`` when all is told that has
happened until then.  The keeper says ``k`` when it is there, and ``v`` with events as they
come.  Which of them are lost, because the session reads none, it tells by an overflow, as
the kernel does.
"""
from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import stat
import struct
import time

from courierpy.system import passing
from courierpy.system.inotify import (
    IN_DONT_FOLLOW,
    IN_IGNORED,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    Inotify,
    Instance,
    NotInstalled,
    one_by_one,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from courierpy.system.inotify import Ear, Lent

INSTANCE, WATCH, UNWATCH, ASKS = b"i", b"a", b"r", b"e"        # over the door
REQUESTS = {INSTANCE: 1, WATCH: 2, UNWATCH: 1}                 # with so many descriptors
MOST = 32                      # directories that are watched at one request
ADD, REMOVE, SYNC = b"+", b"-", b"?"
HERE, NUMBER, ERROR, EVENTS, SYNCED = b"k", b"n", b"e", b"v", b"!"
ANSWER = 2.0                   # seconds that the keeper has for an answer; it may have to be started
PACKET = 32768                 # octets of events in one message, about
WATCHES = 64                   # of one session
_WORD = struct.Struct("=I")
_NUMBER = struct.Struct("=i")
_EVENT = struct.Struct("=iIH")         # watch, mask, octets of the name
_LOST = (-1, IN_Q_OVERFLOW, b"")


def pack(events: list[tuple[int, int, bytes]]) -> list[bytes]:
    """Messages with these events."""
    messages, size = [[EVENTS]], 0
    for number, mask, name in events:
        if size > PACKET:
            messages.append([EVENTS])
            size = 0
        messages[-1] += _EVENT.pack(number, mask, len(name)), name
        size += _EVENT.size + len(name)
    return [b"".join(pieces) for pieces in messages]


def unpack(message: bytes) -> list[tuple[int, int, bytes]]:
    """Raises struct.error."""
    found, at = [], 1
    while at < len(message):
        number, mask, length = _EVENT.unpack_from(message, at)
        at += _EVENT.size
        found.append((number, mask, message[at:at + length]))
        at += length
    return found


# -- in the keeper

def descriptors(data: bytes) -> int:
    """That come with a request; 0 where it is none."""
    directories = len(data) // _WORD.size if data[:1] == WATCH else 0
    return REQUESTS.get(data[:1], 0) + directories if directories <= MOST else 0


def make(data: bytes, fds: list[int]) -> None:
    """Answer INSTANCE, WATCH or UNWATCH; ``fds`` are the caller's to close.  OSError when nobody hears it."""
    if data[:1] == UNWATCH:
        inotify = Inotify(os.dup(fds[0]))
        try:
            inotify.remove(*_WORD.unpack_from(data, 1))
        finally:
            inotify.close()            # else it would count for our user, when its session is long gone
        return
    rights: list[int] = []
    try:
        if data[:1] == INSTANCE:
            made = Inotify()
            reply, rights = HERE, [made.fd]
        else:
            masks = [mask for mask, in _WORD.iter_unpack(data[1:])]
            reply = NUMBER + b"".join(map(_NUMBER.pack, _watch(fds[1], fds[2:], masks)))
    except OSError as error:
        reply = ERROR + _WORD.pack(error.errno or errno.EIO)
    try:
        with socket.socket(fileno=os.dup(fds[0])) as channel:
            socket.send_fds(channel, [reply], rights, passing.SENDING)
    finally:
        for fd in rights:
            os.close(fd)


def _watch(instance: int, directories: Sequence[int], masks: Iterable[int]) -> list[int]:
    """The watches, as they are answered.  OSError where just one is asked for."""
    inotify, found = Inotify(os.dup(instance)), []
    try:
        for directory, mask in zip(directories, masks, strict=True):
            try:
                _directory(directory)
                found.append(inotify.add(f"/proc/self/fd/{directory}", mask & ~(IN_DONT_FOLLOW | IN_ONLYDIR)))
            except OSError as error:
                if len(directories) == 1:
                    raise
                found.append(-(error.errno or errno.EIO))
    finally:
        inotify.close()                # the session has it open: that is quick
    return found


def _directory(fd: int) -> None:
    """OSError: it is none, or the session may not read it.  To watch takes that right, which this
    process has for all: who has opened it had it."""
    if not stat.S_ISDIR(os.fstat(fd).st_mode) or fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_PATH:
        raise OSError(errno.ENOTDIR, "")


class Listener:
    """One session that is awake, and its ear.  ``lost``: it was not told all."""

    def __init__(self, channel: socket.socket, ear: Ear) -> None:
        self.channel = channel
        self.ear = ear
        self.lost = False
        self._watches = 0
        channel.setblocking(False)

    def close(self) -> None:
        self.ear.close()
        self.channel.close()

    def greet(self) -> None:
        """OSError when the session is gone."""
        self.channel.send(HERE, socket.MSG_NOSIGNAL)

    def tell(self) -> None:
        """Pass on what its ear has heard.  OSError when the session is gone."""
        if not self.ear.waiting and not self.lost:
            return
        events, self.ear.waiting = self.ear.waiting, []
        try:
            if self.lost:
                events = [_LOST]       # whatever else there is
            for message in pack(events):
                self.channel.send(message, socket.MSG_NOSIGNAL)
            self.lost = False
        except BlockingIOError:
            self.lost = True           # told when it asks the next time

    def asked(self) -> None:
        """What the session wants, after what has happened was told.  OSError, also at its end."""
        data, ancillary, flags, _ = self.channel.recvmsg(
            64, socket.CMSG_SPACE(4), passing.RECEIVING)
        fds = array.array("i")
        for _, _, value in ancillary:
            fds.frombytes(value)
        try:
            if not data or flags & socket.MSG_CTRUNC:
                raise ConnectionResetError
            self._do(data, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _do(self, data: bytes, fds: array.array[int]) -> None:
        word = data[:1]
        if word == ADD and len(fds) == 1 and len(data) == 1 + _WORD.size:
            try:
                reply = NUMBER + _WORD.pack(self._add(fds[0], *_WORD.unpack_from(data, 1)))
            except OSError as error:
                reply = ERROR + _WORD.pack(error.errno or errno.EIO)
        elif word == REMOVE and len(data) == 1 + _WORD.size:
            self.ear.remove(*_WORD.unpack_from(data, 1))
            self._watches -= 1
            return
        elif data == SYNC:
            self.ear.waiting = self.ear.events()
            self.tell()
            reply = SYNCED
        else:
            raise ConnectionResetError
        try:
            self.channel.send(reply, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            raise ConnectionResetError from None       # it asks, and does not hear

    def _add(self, directory: int, mask: int) -> int:
        _directory(directory)
        if self._watches >= WATCHES:
            raise OSError(errno.ENOSPC, "")
        number = self.ear.add(f"/proc/self/fd/{directory}", mask & ~(IN_DONT_FOLLOW | IN_ONLYDIR))
        self._watches += 1
        return number


# -- in the session

def instance(door: int, made: int = -1) -> Lent:
    """What stands for this process's instance.  ``door``: descriptor that leads to the keeper.  ``made``:
    that of an instance that another process had.  OSError."""
    try:
        return Made(door, made)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
    return Remote(door)


def _send(door: int, word: bytes, fds: list[int]) -> None:
    with socket.socket(fileno=os.dup(door)) as way:
        socket.send_fds(way, [word], fds, passing.SENDING)


def _ask(door: int, word: bytes, fds: list[int]) -> tuple[bytes, list[int]]:
    """The keeper's answer, and the descriptors with it.  OSError, also one that the keeper met."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            _send(door, word, [theirs.fileno(), *fds])
        ours.settimeout(ANSWER)
        try:
            reply, rights, _, _ = socket.recv_fds(ours, 8 * MOST, 1)
        except TimeoutError:
            raise TimeoutError(errno.ETIMEDOUT, "the keeper does not answer") from None
    if reply[:1] == ERROR:
        number: int = _WORD.unpack_from(reply, 1)[0]
        if number == errno.ENOSYS:
            raise NotInstalled
        raise OSError(number, os.strerror(number))
    if not reply:
        raise ConnectionResetError(errno.ECONNRESET, "the keeper does not answer")
    return reply, list(rights)


def _opened(path: str, mask: int) -> int:
    follow = os.O_NOFOLLOW if mask & IN_DONT_FOLLOW else 0
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow)


class Made(Instance):
    """As inotify.Inotify, made by the keeper.  It outlives the keeper; another one adds to it."""

    def __init__(self, door: int, made: int = -1) -> None:
        """``made``: as for instance().  OSError where there is none left, or nobody answers."""
        self._door = door
        super().__init__(made if made >= 0 else _ask(door, INSTANCE, [])[1][0])

    def add(self, path: str, mask: int) -> int:
        """As Inotify.add."""
        (found,) = self._add([(path, mask)])
        if isinstance(found, OSError):
            raise found
        return found

    def add_all(self, wanted: Sequence[tuple[str, int]]) -> list[int | OSError]:
        """As Inotify.add_all: some at one request."""
        return [found for start in range(0, len(wanted), MOST)
                for found in self._add(wanted[start:start + MOST])]

    def _add(self, wanted: Sequence[tuple[str, int]]) -> list[int | OSError]:
        found: list[int | OSError] = []        # descriptors first, and their watches then
        try:
            for path, mask in wanted:
                try:
                    found.append(_opened(path, mask))
                except OSError as error:
                    found.append(error)
            opened = [fd for fd in found if isinstance(fd, int)]
            numbers = iter(self._watch([mask for (_, mask), fd in zip(wanted, found, strict=True)
                                        if isinstance(fd, int)], opened))
        finally:
            for fd in found:
                if isinstance(fd, int):
                    os.close(fd)
        return [each if isinstance(each, OSError) else number if (number := next(numbers)) >= 0
                else OSError(-number, os.strerror(-number), path)
                for (path, _), each in zip(wanted, found, strict=True)]

    def _watch(self, masks: Sequence[int], directories: list[int]) -> list[int]:
        if not directories:
            return []
        try:
            reply, _ = _ask(self._door, WATCH + b"".join(map(_WORD.pack, masks)), [self.fd, *directories])
        except OSError as error:
            if len(directories) > 1:
                raise
            return [-(error.errno or errno.EIO)]       # the answer to one alone: others are watched already
        return [number for number, in _NUMBER.iter_unpack(reply[1:])]

    def remove(self, number: int) -> None:
        """As Inotify.remove."""
        try:
            _send(self._door, UNWATCH + _WORD.pack(number), [self.fd])
        except OSError:
            return                     # it is told of, and nobody hears it


class Remote:
    """As inotify.Inotify, in the keeper.  ``fd`` stays the same when the keeper is another one: what
    was watched is watched again then, and an overflow says that something may be missing."""

    def __init__(self, door: int) -> None:
        """``door``: the descriptor that leads to the keeper.  OSError where nobody answers."""
        self.fd = -1
        self._door = door
        self._rest: socket.socket | None = None
        self._waiting: list[tuple[int, int, bytes]] = []
        self._wanted: dict[int, tuple[str, int]] = {}      # our number of a watch -> path and mask
        self._theirs: dict[int, int] = {}                  # the keeper's number -> ours
        self._last = 0
        self._here = False
        self._channel = self._open()
        self.fd = self._channel.fileno()
        if not self._await_here(time.monotonic() + ANSWER):
            self.close()
            raise TimeoutError(errno.ETIMEDOUT, "the keeper does not answer")

    def _open(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            _send(self._door, ASKS, [theirs.fileno()])
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    def _await_here(self, until: float) -> bool:
        """Is the keeper there?  Otherwise the descriptor says so when it is."""
        if not self._here:
            self._here = self._receive(until) == HERE
        return self._here

    def _receive(self, until: float) -> bytes:
        """The next message that is no event.  OSError, TimeoutError too."""
        while True:
            self._channel.settimeout(max(0.001, until - time.monotonic()))
            data = self._channel.recv(PACKET * 2)
            if not data:
                raise ConnectionResetError
            if data[:1] != EVENTS:
                return data
            self._hear(data)

    def _hear(self, data: bytes) -> None:
        for number, mask, name in unpack(data):
            if mask & IN_Q_OVERFLOW:
                self._waiting.append(_LOST)
            elif number in self._theirs:
                self._waiting.append((self._theirs[number], mask, name))

    def add_all(self, wanted: Sequence[tuple[str, int]]) -> list[int | OSError]:
        """As Inotify.add_all."""
        return one_by_one(self.add, wanted)

    def add(self, path: str, mask: int) -> int:
        """As Inotify.add."""
        number = self._add(path, mask)
        if number in self._theirs:
            ours = self._theirs[number]
            self._wanted[ours] = path, self._wanted[ours][1] | mask
            return ours
        self._last += 1
        self._theirs[number] = self._last
        self._wanted[self._last] = path, mask
        return self._last

    def _add(self, path: str, mask: int) -> int:
        """The keeper's number."""
        directory = _opened(path, mask)
        try:
            socket.send_fds(self._channel, [ADD + _WORD.pack(mask)], [directory], socket.MSG_NOSIGNAL)
        finally:
            os.close(directory)
        reply = self._receive(time.monotonic() + ANSWER)
        value: int = _WORD.unpack_from(reply, 1)[0]
        if reply[:1] == NUMBER:
            return value
        raise OSError(value, os.strerror(value), path)

    def remove(self, number: int) -> None:
        """As Inotify.remove."""
        self._wanted.pop(number, None)
        for theirs in [theirs for theirs, ours in self._theirs.items() if ours == number]:
            del self._theirs[theirs]
            try:
                self._channel.send(REMOVE + _WORD.pack(theirs), socket.MSG_NOSIGNAL)
            except OSError:
                continue               # the keeper is gone, and its watches with it

    def events(self) -> list[tuple[int, int, bytes]]:
        """As Inotify.events: all that has happened until now."""
        try:
            if self._here or self._await_here(time.monotonic() + 0.001) and self._again():
                self._channel.settimeout(ANSWER)
                self._channel.send(SYNC, socket.MSG_NOSIGNAL)
                self._receive(time.monotonic() + ANSWER)
        except TimeoutError:
            self._waiting.append(_LOST)
            if self._here:
                self._ask()
        except (OSError, struct.error):
            self._waiting.append(_LOST)
            self._ask()
        found, self._waiting = self._waiting, []
        return found

    def _again(self) -> bool:
        """Another keeper is there.  Watch with it what was watched."""
        self._theirs = {}
        self._waiting.append(_LOST)
        for ours, (path, mask) in list(self._wanted.items()):
            try:
                self._theirs[self._add(path, mask)] = ours
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                del self._wanted[ours]
                self._waiting.append((ours, IN_IGNORED, b""))
        return True

    def _ask(self) -> None:
        """The keeper is gone, or does not answer: ask for another ear.  Its first word can be waited for."""
        self._here = False
        try:
            fresh = self._open()
        except OSError:
            fresh, self._rest = socket.socketpair()        # the listener is gone: nobody says anything more
        os.dup2(fresh.fileno(), self.fd, inheritable=False)
        fresh.close()

    def close(self) -> None:
        if self.fd >= 0:
            self._channel.close()
            self.fd = -1
