"""couriertcpd's side of the doorway: its login processes, the clients that are there, and their tickets.

What is said is in system/channels.py.  A login process may be in the hands of somebody else: what it
says has a fixed head, which is all that is taken apart here, and a session is started for a ticket
that the helper has given to this very process, within half a minute, and once.
"""
from __future__ import annotations

import os
import socket
import time
from functools import partial
from itertools import islice
from operator import attrgetter

from courierpy.listener import children
from courierpy.listener.connections import Connection
from courierpy.listener.grants import Grants
from courierpy.listener.guests import Grant, Guest, Login
from courierpy.listener.left import Left
from courierpy.listener.outward import Outward
from courierpy.listener.sockets import turn_away
from courierpy.model import measures
from courierpy.system import channels, log, metrics, passing, proc, wayback
from courierpy.system.seldom import due

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from courierpy.listener.beside import Beside
    from courierpy.listener.connections import Connections
    from courierpy.listener.lookups import Lookups
    from courierpy.listener.loop import Loop
    from courierpy.listener.outward import Forwarding

    # the message of a login process, and what was known of the connection -> variables of the client
    Admit = Callable[[bytes, Mapping[str, str]], dict[str, str] | None]
    # adds to the variables what the DNS says of a client; then it is told whether it may come in
    Look = Callable[[dict[str, str], Callable[[bool], object]], object]
    # a session, and the descriptor of its client.  It has a process then.
    Begin = Callable[[Connection, channels.Order, int], None]   # OSError

RESTART_AFTER = 1.0            # seconds between two starts of processes that end
READY_SECONDS = 60.0           # that one has to be ready
PATIENCE = 2.0                 # seconds that an image waits for processes that do not read, before it goes
GRACE = 2.0                    # seconds that a client has for its login, whatever comes meanwhile
MORE_GUESTS = 4                # than another, that a process may have before it gets no more for an address
WORDS = 64                     # of a login process, before it is others' turn
GUESTS, READY = attrgetter("guests"), attrgetter("ready")      # asked for often
# words that bring a client
CLIENTS = (channels.CLIENT, channels.GREETED, channels.BEHIND, channels.AGAIN)


class Doorway:
    """A method for each word between couriertcpd and its login processes, and for each way to lose one.

    ``count``: how many login processes there are to be.  ``guests``: by number, the oldest first.
    ``bound``: how many there may be, 0 for any number.  ``greeting``: of clients that no rule is about, where
    it is the same for all."""

    def __init__(self, count: int, bound: int, connections: Connections, loop: Loop,
                 serve: Callable[[socket.socket], int], begin: Begin, admit: Admit, look: Look,
                 forwarding: Forwarding, lookups: Lookups | None = None, busy: bytes = b"") -> None:
        """``serve``: what a login process does with its end of the link; its exit status.  ``admit``: the
        variables of a client by what a login process has read of its proxy; None: it may not come in.
        ``forwarding``: of accounts whose mail is elsewhere.  ``lookups``: what ``look`` asks, where it asks
        anybody.  ``busy``: what a client hears that cannot be served."""
        self.count = count
        self.bound = bound
        self.greeting = b""
        self.connections = connections
        self.processes: dict[int, Login] = {}
        self.guests: dict[int, Guest] = {}
        self.lookups = lookups
        self.outward = Outward(forwarding, connections, loop)
        self.grants = Grants(loop, self._given)
        self._loop = loop
        self._serve = serve
        self._begin = begin
        self._admit = admit
        self._look = look
        self._busy = busy
        self._above = 3
        self._number = time.time_ns()          # not used again, by another image neither
        # whom no process knows of yet: descriptors, and what client() is told
        self._orphans: list[tuple[int, Connection, Mapping[str, str], bool, bytes | None]] = []
        self._next_start = 0.0

    @property
    def above(self) -> int:
        """All descriptors from here are below this."""
        return max(self._above, *(each.above for each in self._beside))

    @property
    def _beside(self) -> list[Beside]:
        """Processes that wait for others."""
        return [self.outward.beside, *([self.lookups] if self.lookups is not None else [])]

    def holds(self, fd: int) -> None:
        """This descriptor is one of those that ``above`` is above."""
        self._above = max(self._above, fd + 1)

    # -- the processes

    def tend(self) -> None:
        """Start those that are missing."""
        if self.lookups is not None:
            self.lookups.tend()
        self.outward.tend()
        now = time.monotonic()
        young = [process for process in self.processes.values() if not process.old]
        for process in young:
            if not process.ready and now - process.since > READY_SECONDS:
                children.tell_all((process.pid,), 9)
        if len(young) >= self.count or now < self._next_start:
            return
        self._next_start = now + RESTART_AFTER
        try:
            for _ in range(self.count - len(young)):
                self._start()
        except OSError as error:
            if due("login process"):
                log.crit(f"a login process cannot be started: {error.strerror}")

    def _start(self) -> None:
        ours, theirs = passing.pair()
        try:
            pid = proc.fork(partial(self._serve, theirs))
        except OSError:
            ours.close()
            theirs.close()
            raise
        process = self.processes[pid] = Login(self._loop, pid, ours, theirs)
        self.holds(max(ours.fileno(), theirs.fileno()))
        self._loop.hear(ours.fileno(), partial(self._says, process))
        self._introduce(process)

    def ended(self, pid: int) -> bool:
        """Was this one of them?  Its clients are gone with it, but for those that it did not know of yet."""
        if any(each.ended(pid) for each in self._beside):
            return True
        if pid not in self.processes:
            return False
        self.grants.catch_up()         # clients that were given before are its own until then
        process = self.processes.pop(pid)
        self._says(process, ended=True)            # who had left before
        lost, sessions = process.guests - self._unread(process), self.outward.ended(process)
        if not process.old and due("login process ended"):
            log.crit(f"login process {pid} ended; {lost} clients before their login are gone"
                     + f", and {sessions} sessions at other hosts" * bool(sessions))
        process.telling.end()
        self._loop.forget((process.link.fileno(),))
        process.link.close()
        for number, guest in [item for item in self.guests.items() if item[1].process is process]:
            del self.guests[number]
            self.connections.left(guest.connection.address)
        self._give_again()
        return True

    def _unread(self, process: Login) -> int:
        """Take back the clients that a process has not seen, which has ended.  How many these are."""
        count = 0
        if process.its is not None:
            for data, fds in passing.waiting(process.its, f"login process {process.pid}"):
                letter, number = channels.HEAD.unpack_from(data)
                guest = self.guests.get(number)
                if letter in CLIENTS and guest is not None and len(fds) == 1:
                    self.holds(fds[0])
                    said, variables = None, guest.variables
                    if letter == channels.GREETED:      # as one that had a session, and has said nothing yet
                        said, variables = b"", {**variables, wayback.AGAIN: "1"}
                    elif letter == channels.AGAIN:
                        _, said = channels.said_before(data)
                    self._orphans.append((fds.pop(), guest.connection, variables, letter == channels.BEHIND,
                                          said))
                    count += 1
                passing.close(fds)
            process.its.close()
        return count

    def _give_again(self) -> None:
        """Clients whose process did not see them to another one, as soon as there is one."""
        while self._orphans and self.ready():
            fd, connection, variables, behind, said = self._orphans.pop()
            self.client(fd, connection, variables, behind, said)
            os.close(fd)

    def homeless(self) -> list[tuple[int, Connection, Mapping[str, str], bool, bytes | None]]:
        """Clients whom no process knows of yet, where there are to be none any more; they are the caller's
        then.  As client() is told them."""
        found: list[tuple[int, Connection, Mapping[str, str], bool, bytes | None]] = []
        if not self.count:
            found, self._orphans = self._orphans, found
        return found

    def meet(self, helper: socket.socket) -> None:
        """There is another helper, at the other end of this."""
        self._above = max(self._above, self.grants.meet(helper))
        for process in self.processes.values():
            self._introduce(process)

    def _introduce(self, process: Login) -> None:
        """A login process to the helper, and that to it."""
        try:
            its = self.grants.introduce(process.pid)
            if its is not None:
                with its:
                    passing.send(process.link, [channels.HEAD.pack(channels.HELPER, 0)], (its.fileno(),))
        except OSError as error:
            if not process.old:        # that one may have had no client, and has ended
                log.err(f"login process {process.pid} cannot ask the password helper: {error.strerror}")

    def ready(self) -> bool:
        """Is there one that takes clients?"""
        return any(map(READY, self.processes.values()))

    def pids(self) -> set[int]:
        return set(self.processes) | {each.pid for each in self._beside} - {0}

    # -- clients

    def client(self, fd: int, connection: Connection, variables: Mapping[str, str], behind: bool,
               said: bytes | None = None, greeted: bool = False) -> bool:
        """Give it to the process that its address had before, or that has the fewest.  ``fd`` stays the
        caller's.  False: nobody takes it.

        ``behind``: a proxy says first who it is.  ``said``: of one that had a session, what it has said
        since.  ``greeted``: it has heard the greeting.
        """
        able = [process for process in self.processes.values() if process.ready]
        if not able and said is not None and self.count:       # nobody else waits, as it is not accepted then
            kept = os.dup(fd)
            self.holds(kept)
            self._orphans.append((kept, connection, variables, behind, said))
            return True
        if not able:
            return False
        process = min(able, key=GUESTS)
        # who comes again goes on with the TLS session of before, whose ticket one process can read
        usual = able[hash(connection.address) % len(able)]
        if connection.address and usual.guests <= process.guests + MORE_GUESTS:
            process = usual
        self._number += 1
        letter = channels.BEHIND if behind else channels.AGAIN if said is not None else \
            channels.GREETED if greeted else channels.CLIENT
        packed = channels.pack(variables)
        words = [packed] if said is None else [channels.SAID.pack(len(packed)), packed, said]
        try:
            passing.send(process.link, [channels.HEAD.pack(letter, self._number), *words], (fd,))
        except OSError as error:
            if due("client"):
                log.crit(f"login process {process.pid} takes no client: {error.strerror}")
            return False
        process.guests += 1
        self.guests[self._number] = Guest(connection, process, variables, not behind, packed)
        if connection.address:
            self.connections.counts.add(connection.address, 1)
        self._make_room()
        return True

    def room(self) -> bool:
        """May another one come?  Some who were told to go may not have gone yet; but not without end."""
        count = len(self.guests) + (len(self.lookups.open) if self.lookups is not None else 0)
        if not self.bound or count < self.bound:
            return True
        oldest = next(iter(self.guests.values()), None)
        return count < 2 * self.bound and oldest is not None \
            and time.monotonic() - oldest.connection.started >= GRACE

    def _make_room(self) -> None:
        """The oldest goes when there are too many, but for those at the front who were told to."""
        if not self.bound or len(self.guests) <= self.bound:
            return
        told, (number, guest) = next(each for each in enumerate(self.guests.items())
                                     if not each[1][1].told_to_go)
        if len(self.guests) - told <= self.bound:
            return
        guest.told_to_go = True
        metrics.count(measures.REFUSED, "crowded")
        guest.process.tell(channels.LEAVE, number)
        if due("waiting"):
            log.warn(f"{self.bound} connections have not logged in; the oldest goes")

    # -- what they say

    def _says(self, process: Login, ended: bool = False) -> None:
        """Some of it, as it may say words without pause; all that there is of one that has ``ended``.

        Nothing while it does not hear itself: what it is to be told would take more and more room."""
        if process.telling.unsaid and not ended:
            process.telling.go_on()
            if process.telling.unsaid:
                return
        said = passing.waiting(process.link, f"login process {process.pid}")
        for data, fds in said if ended else islice(said, WORDS):
            if len(data) < channels.HEAD.size:
                self._loop.forget((process.link.fileno(),))        # it ends, and is reaped soon
                passing.close(fds)
                return
            letter, number = channels.HEAD.unpack_from(data)
            if letter in (channels.START, channels.GIVE) and len(fds) == 1 \
                    and len(data) >= channels.STARTS.size:
                begun = self._wanted(process, number, data, fds[0])
                if letter == channels.START:
                    process.tell(channels.STARTED if begun else channels.FAILED, number)
                elif not begun:
                    self._gone(process, number)
                    self._turn_away(process, fds)
            elif letter == channels.READY:
                process.ready = not process.old    # which ends as soon as it has no client
                self._give_again()
            elif letter == channels.PROXIED and len(data) == channels.ADDRESS.size:
                self._proxied(process, number, data)
            elif letter == channels.CONNECT and len(data) == channels.CONNECTS.size \
                    or letter == channels.CARRIES:
                self._leads_on(process, number, letter, data)
            elif letter == channels.ENDED:
                self.outward.gone(process, number)
                self._gone(process, number)
            passing.close(fds)

    def _turn_away(self, process: Login, fds: list[int]) -> None:
        """Who was given away, and has no session.  Takes what is a connection from ``fds``."""
        try:
            client = socket.socket(fileno=fds[0])
        except OSError:
            process.wants("what is no connection turned away")
            return
        del fds[0]
        turn_away(client, self._busy)

    def _proxied(self, process: Login, number: int, data: bytes) -> None:
        """A proxy has said who this client is, and now it counts."""
        guest = self.guests.get(number)
        if guest is None or guest.process is not process or guest.connection.address:
            return
        variables = self._admit(data, guest.variables)
        if variables is None:
            process.tell(channels.DENIED, number)
            return
        guest.variables = variables
        guest.connection.address = variables["TCPREMOTEIP"]
        self.connections.counts.add(guest.connection.address, 1)
        self._look(variables, partial(self._looked, number, guest))

    def _looked(self, number: int, guest: Guest, welcome: bool) -> None:
        """It is known what the DNS says of this client."""
        if self.guests.get(number) is not guest:
            return                     # it is gone
        guest.welcome, guest.known = welcome, channels.pack(guest.variables)        # more by now
        if not welcome:
            guest.process.tell(channels.DENIED, number)
            return
        guest.process.tell(channels.ADMITTED, number, guest.known)

    def _gone(self, process: Login, number: int) -> None:
        guest = self._leaves(process, number)
        if guest is not None:
            self.connections.left(guest.connection.address)

    def _leaves(self, process: Login, number: int) -> Guest | None:
        """The guest, who is none any more; None where it is none of this process."""
        guest = self.guests.get(number)
        if guest is None or guest.process is not process:
            return None
        del self.guests[number]
        process.guests -= 1
        return guest

    # -- sessions

    def _granted_to(self, process: Login, number: int,
                    ticket: bytes) -> tuple[Guest | None, Grant | None, str]:
        """Whose it is that a login process says, and what for; or why that cannot be."""
        grant, guest = self.grants.of(ticket, process.pid), self.guests.get(number)
        if grant is None:
            return None, None, "without a ticket of its own"
        if guest is None or guest.process is not process or not guest.welcome:
            return None, None, "for a client that it does not have"
        return guest, grant, ""

    def _leads_on(self, process: Login, number: int, letter: bytes, data: bytes) -> None:
        """A connection to the host of a client's mail, for a ticket; and a session there."""
        guest = self.guests.get(number)
        ticket = channels.CONNECTS.unpack(data)[2] if letter == channels.CONNECT else \
            guest.ticket if guest is not None else b""
        guest, grant, why = self._granted_to(process, number, ticket)
        if guest is not None and grant is not None:
            if letter == channels.CONNECT:
                why = self.outward.connect(process, number, guest, grant, data)
            elif not guest.inode:
                why = "without a connection"
            elif self.outward.carries(process, number, guest, grant):
                del self.grants.tickets[ticket]
                self._leaves(process, number)
        if why:
            process.wants(f"to lead on {why}")
            process.tell(channels.FAILED, number)

    def _wanted(self, process: Login, number: int, data: bytes, fd: int) -> bool:
        """A session, for a ticket.  False: there is none."""
        _, _, ticket, size = channels.STARTS.unpack_from(data)
        guest, grant, why = self._granted_to(process, number, ticket)
        self.grants.tickets.pop(ticket, None)
        if not why and len(data) < channels.STARTS.size + size:
            why = "in a message that is not whole"
        elif grant is not None and self.outward.own.hosts(grant.account):
            why = "whose mail is elsewhere"
        if why or grant is None or guest is None:
            process.wants(f"a session {why}")
            return False
        variables = data[channels.STARTS.size:channels.STARTS.size + size]
        rest = data[channels.STARTS.size + size:]
        order = channels.Order(grant.account, guest.known, variables, rest)
        return self._session(process, number, guest, order, fd)

    def _given(self, pid: int, number: int, account: bytes, variables: bytes, fds: list[int]) -> None:
        """A helper has let in this client of this login process, and gives it."""
        process, guest = self.processes.get(pid), self.guests.get(number)
        if process is None or guest is None:
            return                     # it is gone
        if guest.process is not process or not guest.welcome:
            process.wants("a session for a client that it does not have")
            return
        if self.outward.own.hosts(account):
            process.wants("a session whose mail is elsewhere")
        elif self._session(process, number, guest, channels.Order(account, guest.known, variables), fds[0]):
            return
        self._gone(process, number)
        self._turn_away(process, fds)

    def _session(self, process: Login, number: int, guest: Guest, order: channels.Order, fd: int) -> bool:
        """Begin the session of a guest.  False where it could not be begun."""
        connection = guest.connection
        try:
            found = os.fstat(fd)       # as hibernate/protocol.py knows it by
            connection.identity = found.st_dev, found.st_ino
            self._leaves(process, number)
            self._begin(connection, order, fd)
        except OSError as error:
            if due("fork"):
                log.crit(f"a session cannot be started: {error.strerror}")
            self.connections.left(connection.address)
            return False
        return True

    # -- another image

    def left(self) -> Left:
        """What the next image of couriertcpd goes on with."""
        if self.lookups is not None:
            self.lookups.finish()      # who was looked up is a guest now
        until = time.monotonic() + PATIENCE
        for process in self.processes.values():
            process.telling.finish(until)
        found = Left()
        found.sessions, found.asked = self.outward.left()
        found.logins = {process.pid: process.link.fileno() for process in self.processes.values()}
        found.helpers = self.grants.all()
        found.guests = [[number, guest.process.pid, guest.connection.address, guest.connection.started,
                         *guest.connection.peer, dict(guest.variables), guest.ticket.hex(), guest.inode]
                        for number, guest in self.guests.items()]
        found.grants = [[ticket.hex(), grant.pid, grant.until, grant.account.decode("latin-1"), grant.which]
                        for ticket, grant in self.grants.tickets.items()]
        found.orphans = [[fd, connection.address, connection.started, *connection.peer, dict(variables),
                          behind, None if said is None else said.decode("latin-1")]
                         for fd, connection, variables, behind, said in self._orphans]
        return found

    def go_on(self, left: Left) -> None:
        """With the processes of the image before: they keep the clients that they have, and take no more."""
        for pid, fd in left.logins.items():
            process = self.processes[pid] = Login(self._loop, pid, socket.socket(fileno=fd))
            process.old = True
            self._loop.hear(fd, partial(self._says, process))
            process.tell(channels.CLOSE, 0, quietly=True)       # one without a client may have ended
        for fd in left.helpers:
            self.grants.go_on(fd)
        for number, pid, address, started, host, port, variables, *more in left.guests:
            connection = Connection(address, (host, port), started=started)
            process = self.processes[pid]
            guest = self.guests[number] = Guest(connection, process, variables, bool(address))
            if more:                   # which an image of before may not have
                guest.ticket, guest.inode = bytes.fromhex(more[0]), more[1]
            process.guests += 1
            if address:
                self.connections.counts.add(address, 1)
        for ticket, pid, until, account, *which in left.grants:
            grant = self.grants.tickets[bytes.fromhex(ticket)] = Grant(account.encode("latin-1"), pid)
            grant.until, grant.which = until, sum(which)
        self.outward.go_on(left.sessions, left.asked, self.processes, self.guests)
        for fd, address, started, host, port, variables, behind, said in left.orphans:
            self._orphans.append((fd, Connection(address, (host, port), started=started), variables, behind,
                                  None if said is None else said.encode("latin-1")))
