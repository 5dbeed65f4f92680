"""A process of sessions: becomes the user of the first one, and serves one session after another.

couriertcpd forks it for a session, or ahead of any, and gives it each one by a channel (listener/pool.py).
A second session finds the process as the first one did: what belongs to a session is made
anew for each, what modules keep is forgotten (model/fresh.py), and where something is left that
cannot be told, a descriptor, a child, a timer, the process ends instead.

    ahead ──order──► in session ──over──► clean? ──yes──► waits ──order──► in session
                                             └──no──► ends  ◄──idle too long, signal, channel closed
"""
from __future__ import annotations

import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress

from courierpy.auth import Account, TemporaryFailure, tries
from courierpy.auth.protocol import parse_reply
from courierpy.hibernate import protocol
from courierpy.hibernate.woken import Woken
from courierpy.listener import children
from courierpy.listener.pool import NOBODY
from courierpy.login import start
from courierpy.maildir import lately, sparefile
from courierpy.model import fresh
from courierpy.system import channelbinding, channels, concluded, desk, log, passing, proc, programs, title
from courierpy.system.conn import Conn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from courierpy.system.channels import Order
    from courierpy.system.settings import Settings

USES, IDLE_SECONDS = 250, 60   # by default
SPREAD = 8                     # a part of its uses that a process may serve less, so that not all end at once
GROWTH_OCTETS = 32 << 20       # of memory by which a process may grow and serve another session
PAGE_OCTETS = os.sysconf("SC_PAGE_SIZE")
# variables of the stage before the login that a session does not have; what has the numbers of their
# descriptors here is something else
BEFORE_LOGIN = frozenset((tries.VARIABLE, desk.VARIABLE, desk.AUTHSOCKET, *channelbinding.VARIABLES.values()))
ACCOUNTS = lately.ACCOUNTS + 1 # that need not be read again


class Manner:
    """How such a process lives.  ``uses``: sessions that it serves; ``idle_seconds``: for which it waits for
    the next, 0 for any time.  ``busy``: what a client hears that cannot be served.  ``confines``: each
    session, and of one account."""

    __slots__ = ("busy", "confines", "idle_seconds", "uses")

    def __init__(self, uses: int, idle_seconds: int, busy: bytes, confines: bool = False) -> None:
        self.uses = uses
        self.idle_seconds = idle_seconds
        self.busy = busy
        self.confines = confines

    @classmethod
    def of(cls, arguments: list[str], settings: Settings, busy: bytes) -> Manner:
        """``arguments``: of the program.  Raises ValueError for options that are wrong."""
        uses = programs.value_of(arguments, programs.USES, USES)
        idle = programs.value_of(arguments, programs.IDLE, IDLE_SECONDS)
        return cls(1 if settings.reuse == NOBODY else uses, idle, busy, settings.landlock is not None)


class Sessions:
    """The process.  ``link``: its channel of orders."""

    def __init__(self, link: socket.socket, program: list[str], common: concluded.Common,
                 manner: Manner, of_order: Iterable[int] = (),
                 become: Callable[[Account], None] = start.become) -> None:
        """``program``: the words of what serves a session.  ``common``: of environ_of() that of the listener.
        ``of_order``: descriptors that go with the first order.  ``become``: as start.become, TemporaryFailure
        too."""
        self.link = link
        self._become = become
        self.program = program
        self.environ = common.variables
        self._common = common
        self._accounts: dict[bytes, Account] = {}      # as the helper rendered them
        self.busy = manner.busy
        self.idle_seconds = manner.idle_seconds
        self._uses = max(1, manner.uses - os.getpid() % max(1, manner.uses // SPREAD))
        self._stopped = False
        self._status = 0               # where no order follows
        self._quick = 0                # as of Conn: those who come to one process speak alike, mostly
        self._heard = proc.heard()
        self._whose: tuple[int, int, str] | None = None
        self._resumed: Woken | None = None     # where the session had slept
        self._as_root = os.geteuid() == 0
        self._confines = manner.confines
        # a signal that comes just before the wait ends it
        self._woken, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        for fd in (link.fileno(), self._woken):
            self._poll.register(fd, select.POLLIN)
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._log = log.kept()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        # what is compared before another session: there is none for a process that serves one
        self._descriptors = _descriptors(of_order) if self._uses > 1 else frozenset()
        self._memory = self._octets() if self._uses > 1 else 0

    def run(self, order: Order | None) -> int:
        """Until it ends; the exit status.  ``order``: the first one, whose client is on descriptors 0 and 1
        already; None: it comes by the channel."""
        if self._uses > 1:
            sparefile.begin()
        try:
            return self._run(order)
        finally:
            sparefile.end()

    def _run(self, order: Order | None) -> int:
        if order is None:
            order = self._next()
        while order is not None:
            began = time.monotonic()
            self._uses -= 1
            status, slept = self._serve(order), order.asleep != ()
            if status != 0 or self._uses <= 0 or not self._clean():
                return status if slept else 0      # what such a session left is the listener's to remove
            order = None
            try:
                is_brief = time.monotonic() - began < channels.BRIEF
                passing.send(self.link, [channels.SOON if is_brief else channels.DONE])
            except OSError:            # there is another image of couriertcpd, or none
                return 0
            self._let_go()
            order = self._next()
        return self._status

    def close(self) -> None:
        """Where the process does not end with it, as in a rehearsal."""
        for fd in (self._woken, self._waker, self._null, self._statm):
            os.close(fd)

    # -- between two sessions

    def _next(self) -> Order | None:
        """Wait for an order; its client is on descriptors 0 and 1 then.  None: there will be none."""
        proc.on_signal(self._stop)
        if title.show is not None:
            title.be(f"{os.path.basename(self.program[0])}, waiting")
        poll = self._poll
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        end = time.monotonic() + self.idle_seconds if self.idle_seconds and self._whose is not None else None
        while True:
            ready = dict(poll.poll(None if end is None
                                   else max(0, int((end - time.monotonic()) * 1000 + 0.999))))
            if self._woken in ready:
                os.read(self._woken, 512)          # by now _stop() has been called
            elif not ready:
                # who has the other end hears of it, and what was sent before can still be read
                self.link.shutdown(socket.SHUT_RD)
            try:
                found = passing.receive(self.link)
            except passing.Refused as error:
                log.crit(f"couriertcpd: {error}")
                self._status = 1
                return None
            if found is not None:
                break
        signal.set_wakeup_fd(-1)
        data, fds = found
        if len(fds) not in (1, 3):
            passing.close(fds)
            return None
        client, *asleep = fds
        for fd in (0, 1):
            os.dup2(client, fd)
        os.close(client)
        proc.on_signal(proc.ends)
        if self._stopped:
            if asleep:
                log.err("a connection that slept cannot go on: its process is to end")
                self._status = 1
            self._refuse(asleep)
            return None
        return channels.Order.of(data, tuple(asleep))

    def _stop(self, number: int, frame: object) -> None:
        """A signal, while there is no session: nothing more is taken."""
        if number != signal.SIGUSR1:
            self._stopped = True
            self.link.shutdown(socket.SHUT_RD)

    def _refuse(self, asleep: Sequence[int]) -> None:
        """``asleep``: as of Order."""
        conn, words = Conn(0, 1), self.busy
        if asleep:
            with suppress(OSError, struct.error):
                words = protocol.load(asleep[1]).octets(words)
        conn.say_last(words)
        conn.end()

    def _clean(self) -> bool:
        """Forget the session that is over.  False: something of it is left, and none may follow."""
        proc.on_signal(self._stop)
        log.restore(self._log)
        for fd in (0, 1):
            os.dup2(self._null, fd)
        os.chdir("/")
        os.umask(self._umask)
        fresh.forget()
        gc.collect()                   # objects in circles have descriptors too
        gc.freeze()                    # what is left stays, and need not be looked through again
        # one that came when the session had stopped to hear is meant for us
        told = proc.heard() != self._heard
        if fresh.is_spoiled() or told or any(signal.getitimer(signal.ITIMER_REAL)) or _has_children():
            return False
        if not self._confines and _is_confined():      # for its client, as a rule has it
            return False
        if not _are_open(self._descriptors, [] if self._resumed is None else self._resumed.held()):
            log.warn("a session has left a descriptor open; its process ends")
            return False
        return self._octets() - self._memory <= GROWTH_OCTETS

    def _octets(self) -> int:
        """Octets in memory that are of no file."""
        _, resident, shared = map(int, os.pread(self._statm, 100, 0).split()[:3])
        return (resident - shared) * PAGE_OCTETS

    def _let_go(self) -> None:
        """The keeper may have the next one woken, now that this process can have it."""
        if self._resumed is not None:
            self._resumed.let_go()
            self._resumed = None

    # -- a session

    def _serve(self, order: Order) -> int:
        """The status of the program that served it."""
        account = self._account(order.account)
        lately.turn_to(account.address)
        environ = self._common.of(channels.unpack(order.known), channels.allowed(channels.unpack(order.said)))
        name, *words = self.program
        maildir = start.maildir_of(account, words, environ)
        if not self._is_of(account):
            return self._give_back(order)
        try:
            if self._whose is None:
                self._become(account)
                self._whose = account.uid, account.gid, account.username
            if not order.asleep:       # else it knows where it was
                start.move(account)
        except TemporaryFailure as error:
            peer, port = environ.get("TCPREMOTEIP", ""), environ.get("TCPREMOTEPORT", "")
            log.err(f"{error}, {log.who(peer, port, account.address)}")
            self._refuse(order.asleep)
            return 1
        if order.asleep:
            from courierpy import imapd
            self._resumed = Woken(*order.asleep)
            return imapd.wake(self._resumed, self.environ, Conn(0, 1))
        start.hand_over(account, maildir, environ)
        conn = Conn(0, 1)
        conn.pending, conn.quick = order.rest, self._quick
        try:
            return programs.run([name, *start.with_maildir(words, maildir)], environ, conn, inside=True)
        finally:
            self._quick = conn.quick

    def _account(self, reply: bytes) -> Account:
        """The account.  One that came before need not be read again, unless the system says who it is; and
        of what is secret nothing is kept."""
        found = self._accounts.get(reply)
        if found is None:
            rendered = bytes(bytearray(reply))     # what is read is overwritten
            found = parse_reply(reply)
            if not (found.username or found.passwd or found.passwd2):
                if len(self._accounts) >= ACCOUNTS:
                    self._accounts.clear()
                self._accounts[rendered] = found
        return found

    def _is_of(self, account: Account) -> bool:
        """May this process serve the account, as one that began now could?"""
        whose = account.uid, account.gid, account.username
        # without a name it has no groups that somebody could change
        return self._whose is None or whose == self._whose and (
            not self._as_root or not account.username or proc.is_still(*whose))

    def _give_back(self, order: Order) -> int:
        """The session goes on in another process, and this one ends; the status that it ends with."""
        self._uses = 0
        try:
            passing.send(self.link, [channels.OTHERS, order.rest], (0, *order.asleep))
            is_taken = not any(data for data, _ in passing.orders(self.link))
        except (OSError, passing.Refused):
            is_taken = False
        if is_taken:
            return 0
        log.err("the account has other groups now, and its session cannot have another process")
        self._refuse(order.asleep)
        return 1


def _descriptors(of_client: Iterable[int]) -> frozenset[tuple[int, int, int]]:
    """Those that are open, with device and inode of what is open there; but 0 and 1, and others that came
    with the client."""
    found, others = [], {0, 1, *of_client}
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd not in others:
            try:
                what = os.fstat(fd)
            except OSError:
                continue               # by which they were listed
            found.append((fd, what.st_dev, what.st_ino))
    return frozenset(found)


def _are_open(known: frozenset[tuple[int, int, int]], others: Collection[int]) -> bool:
    """Are these of _descriptors() open still, and no more but 0, 1 and ``others``?"""
    count = os.stat("/proc/self/fd").st_size
    if not count:                      # kernels before 6.2 do not tell it, and to list them takes longer
        return _descriptors(others) == known
    if count != len(known) + len({0, 1, *others}):
        return False
    try:
        for fd, device, inode in known:
            what = os.fstat(fd)
            if (what.st_dev, what.st_ino) != (device, inode):
                return False
    except OSError:
        return False
    return True


def _is_confined() -> bool:
    found = sys.modules.get("courierpy.system.landlock")       # few load it
    return found is not None and found.is_confined()


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def environ_of(environ: Mapping[str, str]) -> dict[str, str]:
    """What a session has of the environment of the listener.  Its words lie side by side: each session
    writes to their counts of references."""
    return channels.unpack(channels.pack((name, value) for name, value in environ.items()
                                         if name not in BEFORE_LOGIN))


def serve(link: socket.socket, order: Order | None, fd: int, above: int, kept: Iterable[int],
          program: list[str], common: concluded.Common, manner: Manner) -> int:
    """What the process does, forked by couriertcpd.  ``fd``: the client of the first order.  ``kept``:
    descriptors that it needs beside the channel; all others are below ``above``.  ``common``: as Sessions
    has it."""
    try:
        kept = [link.fileno(), *kept]
        if order is not None:
            children.serve_only(fd, [*kept, *order.asleep], above)
        else:
            proc.keep_open(kept, above)
        return Sessions(link, program, common, manner, () if order is None else order.asleep).run(order)
    except BaseException as error:     # the child must never return into the loop
        log.crit(f"a session: {type(error).__name__}: {error}")
        return proc.CRASHED
