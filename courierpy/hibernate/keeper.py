"""The keeper: one process that holds the connections whose processes ended while they idled.

It knows three kinds of descriptors:

* the door, over which a session's process offers its client.  The kernel says whose
  process that is (SCM_CREDENTIALS).
* the clients, which it hands back when there is input, when the folder changes, or by
  the clock.  It reads none of them, and writes only whole fixed lines.
* the link to the listener, which gives who is woken a process, as who the session was.

Whose a client is: at every moment one has the last word, and the listener has a copy of
all that is needed to go on, so that no death of the others loses a connection.

1. The session sends the client's descriptor; the keeper watches the folder and says KEPT.
2. The session looks a last time and sends what it knows.  From then on it waits, and must
   not touch the client.
3. The keeper writes that into a memory file and sends client, file and the session's
   channel to the listener.
4. The listener looks whether that is so, keeps them, and says GOOD: the session ends.  A
   channel that is closed without it says that the session has its client again.
   A session that hears of many folders gives its own instance of inotify too, with all its watches.
   The keeper reads nothing there: who is woken has it again, and what it heard.
5. The keeper asks for a wake.  The listener gives all of it to a process that waits for such a session, or
   forks, and says TAKEN when it has: the client is that process's.  It closes its channel when it stays
   awake, when it has slept and waits again, or by ending.

When the keeper dies, or is killed because it answers nothing, the listener starts another
one with all that it has; since nobody heard of changes meanwhile, all are woken for a look,
one after another.  When the listener dies the keeper says BYE to all.

What a session knows is opaque here, and no mail or password is ever in it.
"""
from __future__ import annotations

import array
import os
import select
import socket
import struct
import time
from collections import deque

from courierpy.hibernate import offers, protocol
from courierpy.hibernate.awake import Awake
from courierpy.hibernate.entry import ASLEEP, DROPPED, OFFERED, QUEUED, REFUSED, WAKING, Entry
from courierpy.hibernate.hearing import ASKS, descriptors, make
from courierpy.hibernate.protocol import (
    DROP,
    EAR,
    END,
    EVENTS,
    GONE,
    KEPT,
    LOG,
    MAX_KNOWN,
    SLEPT,
    TAKEN,
    WAKE,
    State,
    borrowed,
)
from courierpy.hibernate.watches import ALL, Hearing
from courierpy.imap.grammar.lines import STILL_HERE
from courierpy.system import log, passing, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from courierpy.hibernate.watches import Inotify

AT_A_TIME, OF_ONE_USER = 32, 8  # processes that were woken and are at their look
LOOKING = 5.0                  # seconds after which one that has not is not waited for
APART = 0.5                    # seconds between two wakes of one connection by changes
RETRY, LONGEST_RETRY = 0.5, 30.0       # seconds until a wake that was refused is tried again, doubled
LONGEST = 1e6                  # seconds until the next word to a client
SPARE = 128                    # descriptors that stay free, here and in the listener


class Ended(Exception):
    """The listener wants no more, or is gone."""


class Keeper:
    """One loop, with a method for each thing that it may hear, from whomever.

    ``entries``: by number; ``by_fd``: by client and channel."""

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
        self.awake = Awake(self.poll)
        for fd in (door.fileno(), link.fileno(), inotify.fd):
            self.poll.register(fd, select.EPOLLIN)

    def serve(self) -> None:
        """Until the listener says so, or is gone (Ended)."""
        self._wake()                   # those of an earlier keeper
        while True:
            for fd, _ in self.poll.poll(self._timeout()):
                if fd == self.hearing.fd:
                    self._changes()
                elif fd == self.door.fileno():
                    self._offers()
                elif fd == self.link.fileno():
                    self._listener()
                elif not self.awake.asked(fd) and (entry := self.by_fd.get(fd)) is not None:
                    try:
                        self._of_entry(entry, fd)
                    except OSError as error:
                        if entry.stage == OFFERED:
                            self._forget(entry)        # its session has it again
                        else:
                            self._lose(entry, error.strerror)
            self._clock()
            self._wake()
            if title.show is not None:
                title.say(f"({len(self.entries)} connections)")

    def _of_entry(self, entry: Entry, fd: int) -> None:
        if fd == entry.client:
            if entry.stage == ASLEEP:
                self._queue(entry, first=True)
        elif fd == entry.ear:
            self._deaf(entry)          # it says that until who is woken reads it
            self._changed(entry)
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
        for data, fds, who in offers.received(self.door):
            try:
                if data == ASKS and len(fds) == 1:
                    self.awake.lend(fds.pop(), self.limit - SPARE)
                elif fds and len(fds) == descriptors(data):
                    make(data, list(fds))
                else:
                    self._offer(data, fds, who)
            except (offers.Refused, OSError, struct.error) as error:
                log.debug(f"an offer is refused: {error}")
            finally:
                for fd in fds:
                    os.close(fd)

    def _offer(self, data: bytes, fds: array.array[int], who: passing.Who) -> None:
        """Takes its first two from ``fds``.  Raises Refused or OSError, and then keeps nothing."""
        pid, uid, _ = who
        channel = offers.channel(data, fds, uid, self.limit - SPARE)
        try:
            self.last += 1
            entry = Entry(self.last, fds[0], channel, pid, uid)
            try:
                heard = data[1:].removesuffix(EAR)
                entry.watches = self.hearing.watch(entry.number, fds[2:2 + len(heard)], heard)
                channel.send(KEPT)
                self.poll.register(channel.fileno(), select.EPOLLIN)
            except OSError:
                self._unwatch(entry)
                raise
        except BaseException:
            channel.close()
            raise
        os.close(fds[1])
        if data.endswith(EAR):
            entry.ear = fds.pop()
        del fds[:2]                    # the client is the entry's now
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
        whole = protocol.whole(entry.buffer)
        if not data or whole > MAX_KNOWN or whole and len(entry.buffer) > whole:
            self._forget(entry)
        elif whole == len(entry.buffer):
            self._sleeps(entry)

    def _sleeps(self, entry: Entry) -> None:
        """From here on the listener has the word.  Raises OSError, and then the session has."""
        state, now = State(entry.buffer), time.monotonic()
        if not (0 <= state.started <= now and 0 <= state.due <= now + LONGEST):
            self._forget(entry)        # what else may it not be: a number
            return
        assert entry.channel is not None
        entry.file = protocol.save(entry.buffer)
        entry.state, entry.buffer = state, b""
        state.known = b""              # the file has it
        self._tell([SLEPT.pack(b"S", entry.number, entry.pid)],
                   entry.channel.fileno(), entry.client, entry.file)
        self.offering.pop(entry.pid)
        self._close_channel(entry)
        entry.stage, entry.kept_at = ASLEEP, now
        if entry.changed:
            self.later.append((entry.kept_at + APART, entry.number))
        self.poll.register(entry.client, select.EPOLLIN | select.EPOLLRDHUP)
        self.by_fd[entry.client] = entry
        if entry.ear >= 0:             # not before: its session read it until now
            self.poll.register(entry.ear, select.EPOLLIN)
            self.by_fd[entry.ear] = entry
        if not self.next_look or state.due < self.next_look:
            self.next_look = state.due

    def adopt(self, connections: Iterable[tuple[int, int, int, int]]) -> None:
        """Go on for a keeper that died: (number, client, file, uid) of what it had.  All are woken, as
        nobody heard what happened since."""
        for number, client, file, uid in connections:
            entry = Entry(number, client, None, 0, uid)
            entry.file = file
            self.entries[number] = entry
            try:
                entry.state = protocol.load(file)
                entry.state.known = b""
            except (OSError, struct.error) as error:
                self._lose(entry, str(error))
                continue
            self._queue(entry)

    # -- what wakes

    def _changes(self) -> None:
        for who in self.hearing.heard():
            for entry in [each for each in self.entries.values() if each.watches] if who == ALL \
                    else [self.entries[who]]:          # who has no watch is told nothing
                self._changed(entry)
        self.awake.tell()

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
            self._deaf(entry)
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
                if entry is not None and entry.stage in (ASLEEP, REFUSED):
                    self._queue(entry)
        for entry in [entry for entry in self.offering.values() if now > entry.kept_at + LOOKING]:
            self._forget(entry)
        for entry in [entry for entry in self.wakers if entry.taken and now > entry.woken_at + LOOKING]:
            self._let_go(entry)
        if self.next_look and now >= self.next_look:
            asleep = [entry for entry in self.entries.values() if entry.stage == ASLEEP]
            for entry in asleep:
                if entry.state is not None and entry.state.due <= now:
                    self._due(entry, entry.state, now)
            # not more often than once a second, however many there are
            self.next_look = max(now + 1.0, min(_due_of(entry) for entry in asleep)) if asleep else 0.0

    def _due(self, entry: Entry, state: State, now: float) -> None:
        if not state.every:
            self._queue(entry, first=True)             # it was silent for as long as it may
            return
        state.due = now + state.every
        with borrowed(entry.client) as client:
            try:
                if not state.say(client, STILL_HERE):
                    client.shutdown(socket.SHUT_RDWR)  # nobody may ever say the rest in the right place
                protocol.note_words(entry.file, state.due, state.words)
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
        with theirs:
            if entry.ear >= 0:
                self._give(entry.channel, entry.ear)
            self._tell([WAKE.pack(b"W", entry.number)], theirs.fileno())
        self.by_fd[entry.channel.fileno()] = entry
        self.poll.register(entry.channel.fileno(), select.EPOLLIN)
        self.wakers.add(entry)
        self.waking[entry.uid] = self.waking.get(entry.uid, 0) + 1

    @staticmethod
    def _give(channel: socket.socket, ear: int) -> None:
        """To who is woken, before it is there."""
        try:
            passing.send(channel, [EVENTS], [ear])
        except OSError:
            return                     # too many are on their way: it watches anew, and looks at all

    def _woken(self, entry: Entry) -> None:
        """The listener says TAKEN; the new process closes the channel to stay, or ends."""
        assert entry.channel is not None
        try:
            said = entry.channel.recv(16)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said == TAKEN:
            entry.taken = True
            self._close_client(entry)
        elif not said:
            self._let_go(entry)

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
        """No process can be had at the moment."""
        entry.stage = REFUSED
        pause = min(RETRY * 2 ** min(entry.tries, 9), LONGEST_RETRY)
        self.later.append((time.monotonic() + pause, entry.number))
        entry.tries += 1

    # -- the end of entries

    def _close_channel(self, entry: Entry) -> None:
        if entry.channel is not None:
            # to close it is not enough for the poll, as long as somebody has a copy of it
            self.poll.unregister(entry.channel.fileno())
            self.by_fd.pop(entry.channel.fileno(), None)
            entry.channel.close()
            entry.channel = None

    def _deaf(self, entry: Entry) -> None:
        """The session's own instance is not listened to any more."""
        if self.by_fd.get(entry.ear) is entry:
            del self.by_fd[entry.ear]
            self.poll.unregister(entry.ear)

    def _unwatch(self, entry: Entry) -> None:
        self.hearing.unwatch(entry.number, entry.watches)
        entry.watches = ()

    def _close_client(self, entry: Entry) -> None:
        """Somebody else has it, or nobody any more."""
        if self.by_fd.get(entry.client) is entry:
            del self.by_fd[entry.client]
            if entry.stage == ASLEEP:
                self.poll.unregister(entry.client)
        self._deaf(entry)
        for fd in (entry.client, entry.file, entry.ear):
            if fd >= 0:
                os.close(fd)
        entry.client = entry.file = entry.ear = -1

    def _lose(self, entry: Entry, why: str | None) -> None:
        who = entry.state.note if entry.state is not None else f"pid {entry.pid}"
        log.crit(f"an idle connection is closed, {who}: {why}")
        self._tell([GONE.pack(b"G", entry.number)])
        self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        if self.offering.get(entry.pid) is entry:
            del self.offering[entry.pid]
        self._close_channel(entry)
        self._unwatch(entry)
        self._close_client(entry)
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
                                                      passing.RECEIVING)
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
        elif data == protocol.ASK:
            self._tell([protocol.HERE])
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
            if entry.stage != OFFERED and not entry.taken and entry.state is not None:
                self._goodbye(entry.client, entry.state)

    @staticmethod
    def _goodbye(client: int, state: State) -> None:
        protocol.farewell(client, state)
        log_end(state)


def log_end(state: State, word: str = "Disconnected during shutdown by signal") -> None:
    """As the session would have written it."""
    log.notice(f"{word}, {state.note}, sent={state.sent + state.words}, "
               f"time={int(time.monotonic() - state.started)}")


def _due_of(entry: Entry) -> float:
    return entry.state.due if entry.state is not None else LONGEST
