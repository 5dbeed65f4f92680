"""A login process: many clients before their login, and behind TLS also after it, in one loop.

It has no right of its own: its user is nobody else's, its root is an empty folder, and what it
may ask for is in system/channels.py.  The keys of the certificates are in the memory of these
processes, and of no other that lives on.
"""
from __future__ import annotations

import heapq
import select
import signal
import socket
import time
from functools import partial

from courierpy.auth import TemporaryFailure
from courierpy.login.carried import Carried
from courierpy.login.entrant import GONE, Entrant
from courierpy.login.hosts import Hosts
from courierpy.login.inquiries import Inquiries
from courierpy.login.relayed import Relay
from courierpy.system import channels, concluded, confined, haproxy, log, metrics, passing, proc, title
from courierpy.system.settings import from_environ
from courierpy.system.telling import Telling
from courierpy.system.wayback import AGAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from courierpy.login.entrant import Program
    from courierpy.login.remote import Granted
    from courierpy.login.seeking import Seeking
    from courierpy.system.tls import Certificates
    from courierpy.system.tlsmemory import Keys, ServerTls

# loaded when they are first needed, which is too late where no file can be read
MODULES = ("base64", "hashlib", "hmac", "ssl", "traceback", "unicodedata", "courierpy.system.tlsmemory")
ENDING_SECONDS = 8.0           # that sessions have to say their last words through us
SAID_OCTETS = 256 * 1024       # that a session behind TLS may say ahead of us, as far as the kernel lets it
LOOP_SECONDS = 5.0
COUNT_SECONDS = 1.0            # between two messages of counts


class House:
    """The process: one loop, with a method for each thing that it may hear, from whomever.

    ``entrants``: by number; ``relays`` the same.  ``heard``: what is done for an event, by descriptor.
    ``gives``: clients may come with the questions whether they may come in, as no other host matters."""

    def __init__(self, link: socket.socket, program: Program, environ: Mapping[str, str], by_tls: bool,
                 table: int) -> None:
        """``by_tls``: clients begin with TLS.  ``table``: of refused logins, -1 without."""
        self.link = link
        self.protocol = program
        self.environ = environ
        self.by_tls = by_tls
        self.table = table
        self._settings = settings = from_environ(environ)
        self.gives = not any(map(settings.flag, ("IMAP_PROXY", "POP3_PROXY", "IMAP_LOGIN_REFERRALS")))
        self.inquiries = Inquiries(self)
        self.hosts = Hosts(self)
        self.offered: Certificates | None = None
        self.keys: Keys | None = None
        self.entrants: dict[int, Entrant] = {}
        self.relays: dict[int, Relay | Carried] = {}
        self.leaving = 0.0             # the moment at which all is over; 0.0: nobody asked for that
        self._handed: dict[int, socket.socket] = {}    # our ends, until the session behind TLS is there
        self._rests: dict[int, bytes] = {}
        self._due: list[tuple[float, int]] = []
        self._again: dict[int, Entrant] = {}       # whose turn is the next one, whatever is heard
        self._poll = select.epoll()
        self.heard: dict[int, Callable[[], None]] = {}
        self.hear(link, self._linked)
        self.telling = Telling(link, "couriertcpd", lambda waits: self._poll.modify(
            link.fileno(), select.EPOLLIN | select.EPOLLOUT if waits else select.EPOLLIN))

    # -- before the first client

    def load(self) -> None:
        """The certificates, as long as they can be read.  Raises TlsError."""
        from courierpy.system import tls, tlsmemory
        settings = from_environ(self.environ)
        tls.load(settings)
        self.offered = tls.certificates(settings)
        self.keys = tlsmemory.Keys(self.offered)

    # -- the loop

    def serve(self) -> None:
        """Until couriertcpd is gone, or wanted the end and all are gone."""
        passing.send(self.link, [channels.HEAD.pack(channels.READY, 0)])
        heard, poll, wait = self.heard, self._poll.poll, 0.0
        while not (self.leaving and self._done()):
            for fd, _ in poll(wait):
                hear = heard.get(fd)
                if hear is not None:
                    hear()
            wait = self._clock()
            if metrics.current is not None:
                metrics.current.turn()
            if title.show is not None:
                title.say(f"({len(self.entrants) + len(self.relays)} connections)")

    def _done(self) -> bool:
        return not (self.entrants or self.relays or self.telling.unsaid) or time.monotonic() > self.leaving

    def _clock(self) -> float:
        """Whose moment has come, and whose turn it is; gives the seconds until there is more to do."""
        if self._again:
            turns, self._again = self._again, {}
            for one in turns.values():
                if one.again:
                    self.let(one, one.ready)
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, number = heapq.heappop(self._due)
            entrant = self.entrants.get(number)
            relay = self.relays.get(number)
            if entrant is not None and entrant.armed <= now:
                entrant.armed = -1.0
                if entrant.due <= now:
                    self.let(entrant, entrant.clock)
                else:
                    self.settle(entrant)
            elif relay is not None:
                if relay.armed <= now:
                    relay.armed = -1.0
                if 0.0 < relay.due <= now:
                    relay.clock()
                    self._carry(relay)
                elif relay.due:        # it was put off, or the moment was of its login
                    self._arm(relay)
            now = time.monotonic()
        if self._again:
            return 0.0
        most = LOOP_SECONDS if metrics.current is None or not metrics.current.sums else COUNT_SECONDS
        return max(0.0, min(self._due[0][0] - now, most)) if self._due else most

    def hear(self, end: socket.socket, heard: Callable[[], None]) -> None:
        self.heard[end.fileno()] = heard
        self._poll.register(end.fileno(), select.EPOLLIN)

    def forget(self, end: socket.socket) -> None:
        if self.heard.pop(end.fileno(), None) is not None:
            try:
                self._poll.unregister(end.fileno())
            except FileNotFoundError:
                return                 # nothing was wanted of it

    def want(self, end: socket.socket, before: int, wanted: int) -> int:
        """Poll it for other events than ``before``; one that nothing is wanted of is not polled: to hang
        up is told always."""
        if wanted != before:
            if not before:
                self._poll.register(end.fileno(), wanted)
            elif wanted:
                self._poll.modify(end.fileno(), wanted)
            else:
                self._poll.unregister(end.fileno())
        return wanted

    # -- clients

    def _client(self, number: int, variables: Mapping[str, str], fds: list[int], behind: bool,
                said: bytes | None = None, greeted: bool = False) -> None:
        """``said``: of one that had a session, what it has said since.  ``greeted``: as of
        Doorway.client()."""
        passing.need(fds, 1)
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fds[0])      # as couriertcpd has it
        environ = dict(self.environ)
        environ.update(variables)
        # an access rule may have set more for its address
        alike = self._settings if variables.keys() <= concluded.CLIENTS_OWN else None
        if greeted:
            environ[AGAIN] = "1"
        entrant = Entrant(self, number, client, environ, alike)
        if greeted:
            entrant.wire.sent = len(concluded.of(self._settings, self.protocol.greeting))
        self.entrants[number] = entrant
        self.heard[client.fileno()] = partial(self.let, entrant, entrant.ready)
        if behind:
            seconds = float(environ.pop(channels.PROXY_SECONDS))
            self.let(entrant, partial(entrant.arrive, seconds))
        elif said is not None:         # its TLS, if any, is carried by who carried that of its session
            entrant.wire.put_back(said)
            self.let(entrant, partial(entrant.start, False))
        else:
            self.let(entrant, partial(entrant.start, self.by_tls, greeted))
        if 0.0 < self.leaving < float("inf"):      # it was on its way here when all was over
            self._dismiss(entrant)

    def arrived(self, entrant: Entrant, ends: haproxy.Ends | None) -> None:
        """Its proxy has said who it is; None: the proxy itself."""
        environ = entrant.stage.environ
        remote, remote_port = environ["TCPREMOTEIP"], int(environ["TCPREMOTEPORT"])
        local, local_port = environ["TCPLOCALIP"], int(environ["TCPLOCALPORT"])
        if ends is not None:
            (remote, remote_port), (local, local_port) = ends.remote, ends.local
        if not self.telling.say([channels.ADDRESS.pack(
                channels.PROXIED, entrant.number, remote.encode(), remote_port, local.encode(), local_port)]):
            entrant.denied()

    def _admitted(self, number: int, data: bytes) -> None:
        entrant = self.entrants.get(number)
        if entrant is not None:
            self.let(entrant, partial(entrant.admitted, channels.unpack(data), self.by_tls))

    def let(self, entrant: Entrant, act: Callable[[], None]) -> None:
        """It moves.  A bug of ours costs this client, and no other."""
        try:
            act()
        except Exception as error:
            import traceback
            for line in traceback.format_exception(error):
                for part in line.rstrip().split("\n"):
                    log.crit(f"bug: {part}")
            if entrant.state != GONE:
                entrant.end()
                self.over(entrant)
        self.settle(entrant)

    def settle(self, entrant: Entrant) -> None:
        """It has moved: what it is polled for, and when it moves next at the latest."""
        if self.entrants.get(entrant.number) is entrant:
            wanted = entrant.wire.wants(entrant.reads)
            if wanted != entrant.events:
                entrant.events = self.want(entrant.wire.socket, entrant.events, wanted)
            if entrant.armed < 0.0 or entrant.due < entrant.armed:
                self._arm(entrant)
            if entrant.again:
                self._again[entrant.number] = entrant

    def _arm(self, who: Entrant | Relay | Carried) -> None:
        """It is to be looked at when it is due.  Where that is put off the moment of before stays, so that
        nothing is kept for each time; nor for who has no moment."""
        if (who.armed < 0.0 or who.due < who.armed) and who.due != float("inf"):
            who.armed = who.due
            heapq.heappush(self._due, (who.due, who.number))

    def over(self, entrant: Entrant) -> None:
        """It is gone without a session."""
        self._leave(entrant)
        entrant.wire.close()
        self.telling.say([channels.HEAD.pack(channels.ENDED, entrant.number)])

    def _leave(self, entrant: Entrant) -> None:
        del self.entrants[entrant.number]
        self.inquiries.give_up(entrant)
        entrant.seeks_no_more()
        self.heard.pop(entrant.wire.socket.fileno(), None)
        entrant.events = self.want(entrant.wire.socket, entrant.events, 0)

    def secure(self, local_ip: str) -> ServerTls:
        from courierpy.system.tls import TlsError
        from courierpy.system.tlsmemory import ServerTls
        if self.offered is None or self.keys is None:
            raise TlsError("there is no certificate")
        return ServerTls(self.offered, self.keys, local_ip)

    def carry(self, entrant: Entrant, found: Seeking, rest: bytes) -> None:
        """The client is logged in at the host of its mail.  ``rest``: what it has said behind its login."""
        stage, forward, accepted = entrant.stage, found.forward, found.accepted
        assert accepted is not None
        who = stage.who(forward.user)
        tail = ", starttls=1" * stage.tls + f", proxy={log.quoted(found.host)}"
        log.info(f"LOGIN, {who}, protocol={forward.protocol}{tail}")
        host = found.take()
        self._leave(entrant)
        entrant.handed()
        relay = self.relays[entrant.number] = Carried(entrant.number, entrant.wire, host, rest, who, tail)
        relay.wire.write(accepted.rest)
        self._relays(relay)

    # -- couriertcpd

    def begin(self, entrant: Entrant, granted: Granted, rest: bytes) -> None:
        """Ask for the session, with what the client has said already."""
        wire = entrant.wire
        number = entrant.number
        if not granted.ticket:         # the helper has asked
            self._give_away(entrant)
            return
        ours = theirs = None
        kept = rest[:channels.REST_OCTETS]
        if wire.tls is not None:
            try:
                ours, theirs = socket.socketpair()
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SAID_OCTETS)
            except OSError as error:
                log.err(f"a session behind TLS: {error.strerror}")
                entrant.fails(TemporaryFailure())
                return
            self._rests[number] = rest[len(kept):]
        environ = entrant.stage.environ
        variables = (channels.packed_in_clear(environ) if wire.tls is None
                     else channels.pack(channels.allowed(environ)))
        letter, fd = (channels.GIVE, wire.socket.fileno()) if theirs is None else \
            (channels.START, theirs.fileno())
        said = (theirs is not None or len(rest) == len(kept)) and self.telling.say(
            [channels.STARTS.pack(letter, number, granted.ticket, len(variables)), variables, kept],
            (fd,))
        if ours is not None and theirs is not None:
            theirs.close()
            self._handed[number] = ours
        if not said:
            self._no_session(number)
        elif theirs is None:
            self._give_away(entrant)

    def _give_away(self, entrant: Entrant) -> None:
        """It is couriertcpd's or its session's now."""
        self._leave(entrant)
        entrant.handed()
        entrant.wire.close()

    def _no_session(self, number: int) -> None:
        ours = self._handed.pop(number, None)
        self._rests.pop(number, None)
        if ours is not None:
            ours.close()
        entrant = self.entrants.get(number)
        if entrant is not None:
            entrant.refused()
            self.settle(entrant)

    def _session(self, number: int) -> None:
        """It is there, and we carry its octets."""
        entrant = self.entrants.get(number)
        if number not in self._handed:         # it is at another host; who leaves says himself that he has
            if entrant is not None and entrant.seeking is not None:
                self.let(entrant, entrant.seeking.welcome)
            return
        ours = self._handed.pop(number)
        rest = self._rests.pop(number, b"")
        if entrant is None:
            return
        self._leave(entrant)
        entrant.handed()
        ours.setblocking(False)
        relay = self.relays[number] = Relay(number, entrant.wire, ours, rest)
        self._relays(relay)

    def _relays(self, relay: Relay | Carried) -> None:
        """Carry the octets of this one from now on."""
        answer = relay.answer if isinstance(relay, Relay) else relay.move
        self.heard[relay.wire.socket.fileno()] = lambda: self._carry(relay)
        self.heard[relay.inner.fileno()] = lambda: self._carry(relay, answer)
        self._carry(relay)

    def _carry(self, relay: Relay | Carried, act: Callable[[], None] | None = None) -> None:
        """It moves by ``act``; None: both ways."""
        inner = relay.inner.fileno()
        try:
            (act or relay.move)()
        except Exception as error:             # a bug of ours costs this client, and no other
            log.crit(f"a relay ends: {type(error).__name__}: {error}")
            relay.over = True
        if relay.inner.fileno() < 0:           # closed, and so not polled
            self.heard.pop(inner, None)
            relay.inner_events = 0
        outer_wanted, inner_wanted = (0, 0) if relay.over else relay.wanted
        relay.events = self.want(relay.wire.socket, relay.events, outer_wanted)
        if relay.inner.fileno() >= 0:
            relay.inner_events = self.want(relay.inner, relay.inner_events, inner_wanted)
        if relay.over:
            del self.relays[relay.number]
            self.heard.pop(relay.wire.socket.fileno(), None)
            self.heard.pop(relay.inner.fileno(), None)
            relay.close()
            if isinstance(relay, Carried):
                log.info(relay.line())
                self.telling.say([channels.HEAD.pack(channels.ENDED, relay.number)])
        elif relay.due:
            self._arm(relay)

    def _linked(self) -> None:
        if self.telling.unsaid:
            self.telling.go_on()
        found = passing.heard(self.link, "couriertcpd")
        if found is None:
            return
        data, fds = found
        if len(data) < channels.HEAD.size:
            self.end()                 # couriertcpd is gone
            self.forget(self.link)
            self.telling.end()
            return
        letter, number = channels.HEAD.unpack_from(data)
        try:
            if letter == channels.AGAIN:
                variables, said = channels.said_before(data)
                self._client(number, variables, fds, False, said)
            else:
                self._said(letter, number, data[channels.HEAD.size:], fds)
        except passing.Refused as error:
            log.err(f"couriertcpd: {error}")

    def _said(self, letter: bytes, number: int, data: bytes, fds: list[int]) -> None:
        if letter in (channels.CLIENT, channels.GREETED, channels.BEHIND):
            self._client(number, channels.unpack(data), fds, letter == channels.BEHIND,
                         greeted=letter == channels.GREETED)
            return
        passing.need(fds, 1 if letter in (channels.HELPER, channels.CONNECTED) else 0)
        if letter in (channels.CONNECTED, channels.UNREACHABLE, channels.TURNED_AWAY):
            self.hosts.told(letter, number, data, fds)
        elif letter == channels.HELPER:
            self.inquiries.meet(socket.socket(fileno=fds[0]))
        elif letter == channels.STARTED:
            self._session(number)
        elif letter == channels.ADMITTED:
            self._admitted(number, data)
        elif letter == channels.DENIED:
            entrant = self.entrants.get(number)
            if entrant is not None:
                entrant.denied()
                self.settle(entrant)
        elif letter == channels.FAILED:
            self._no_session(number)
        elif letter == channels.LEAVE:
            entrant = self.entrants.get(number)
            if entrant is not None:
                entrant.told_to_leave(self.protocol.CROWDED_WORDS)
                self.settle(entrant)
            self._cut(number)
        elif letter == channels.CLOSE:
            self.leaving = self.leaving or float("inf")        # when the last has gone

    def end(self) -> None:
        """Whoever has no session hears that it is over; the sessions hear it themselves."""
        self.leaving = time.monotonic() + ENDING_SECONDS
        for entrant in list(self.entrants.values()):
            self._dismiss(entrant)
        for number in list(self.relays):
            self._cut(number)

    def _dismiss(self, entrant: Entrant) -> None:
        entrant.told_to_leave(self.protocol.STOPPED_WORDS, hurries=True)
        self.settle(entrant)

    def _cut(self, number: int) -> None:
        """A session at another host, where no word of ours may stand in the middle of what that says."""
        relay = self.relays.get(number)
        if isinstance(relay, Carried):
            relay.over = True
            self._carry(relay)


def run(link: socket.socket, program: Program, environ: Mapping[str, str], table: int, by_tls: bool,
        with_tls: bool, folder: str) -> int:
    """The process, forked by couriertcpd: until that says so, or is gone.  Gives the exit status.

    ``by_tls``: clients begin with TLS; ``with_tls``: they may.  ``folder``: what becomes its root.
    """
    from courierpy.system.tls import TlsError
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    waker, woken = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    counts = metrics.descriptor(environ.get(metrics.VARIABLE, ""))
    proc.keep_open(fd for fd in (link.fileno(), table, waker.fileno(), woken.fileno(), counts) if fd >= 0)
    metrics.begin(environ, program.PROTOCOL, every=COUNT_SECONDS)
    house = House(link, program, environ, by_tls, table)
    told: list[int] = []
    proc.on_signal(lambda number, frame: told.append(number) if number != signal.SIGUSR1 else None)

    def signalled() -> None:
        woken.recv(512)
        if told and (not house.leaving or house.leaving == float("inf")):
            house.end()

    house.hear(woken, signalled)
    _preload()
    try:
        if with_tls:
            house.load()
        if from_environ(environ).flag(f"{program.PROTOCOL}_PROXY"):
            house.hosts.load_trust()
        confined.enter(folder)
    except TlsError as error:
        log.crit(str(error))
        return 1
    except proc.ProcError as error:
        log.crit(f"a login process: {error}")
        return 1
    house.serve()
    metrics.end()
    return 0


def _preload() -> None:
    from importlib import import_module

    from courierpy.auth import mechanisms
    for name in MODULES:
        import_module(name)
    for mechanism in mechanisms.TABLE:
        mechanisms.find(mechanism)
