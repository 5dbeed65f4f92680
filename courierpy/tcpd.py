"""couriertcpd: listen, limit, say who came in TCP* variables, start the login.

``couriertcpd [options] PORTS program [arguments...]``, options as Courier's.
When the program is our own imaplogin the connection's process is a fork that
goes on in it: imports are done once, before; ``-exec`` forces an exec.
"""
from __future__ import annotations

import os
import signal
import socket
import time
from functools import partial

from courierpy import doorway
from courierpy.auth import tries
from courierpy.hibernate.link import VARIABLE
from courierpy.listener import access, admission, children, handover, pidfile, sockets
from courierpy.listener.arrival import Arrival
from courierpy.listener.connections import Asleep, Connection, Connections
from courierpy.listener.entrance import Entrance
from courierpy.listener.loop import Loop
from courierpy.listener.options import USAGE, Options, UsageError, parse_ports
from courierpy.listener.renewal import REFUSED, STAYS, TRIAL, Renewal
from courierpy.model import measures
from courierpy.model.numbers import PID_MOST, decimal
from courierpy.readiness import Readiness
from courierpy.services import Services
from courierpy.system import about, desk, log, metrics, notify, presence, proc, title, wayback
from courierpy.system.channels import Order
from courierpy.system.conn import Conn
from courierpy.system.proc import CRASHED, become, die_with, fork, leave_no_core, on_signal
from courierpy.system.programs import interpreter
from courierpy.system.seldom import due
from courierpy.system.settings import from_environ
from courierpy.system.tls import TlsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TURN = 1.0                     # seconds, after which all is looked after
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)
NOT_PASSED_ON = frozenset((TRIAL, handover.VARIABLE, VARIABLE, desk.VARIABLE, desk.AUTHSOCKET,
                           tries.VARIABLE, presence.VARIABLE, metrics.VARIABLE, metrics.READER,
                           wayback.VARIABLE, wayback.AGAIN,
                           *notify.VARIABLES))


def run() -> None:
    """The ``couriertcpd`` command."""
    import sys
    image = [*interpreter("courierpy.tcpd"), *sys.argv[1:]]
    if not sys.flags.no_site:
        os.execv(image[0], image)      # without all that site loads
    sys.exit(main(["couriertcpd", *sys.argv[1:]], os.environ, image))


def main(argv: list[str], environ: Mapping[str, str], image: list[str]) -> int:
    """``image``: the words that start this program anew, at SIGHUP."""
    status = about.told(argv, USAGE)
    if status is not None:
        return status
    trying = decimal(environ.get(TRIAL, ""), PID_MOST)
    if trying is not None:
        die_with(trying, signal.SIGTERM)
    log.start("couriertcpd", _log_of(environ))
    try:
        options = Options(argv[1:])
        if options.switches & {"stop", "restart"}:
            path = options.text.get("pid")
            if not path:
                raise UsageError("-pid=FILE is needed")
            return pidfile.stop(path) if "stop" in options.switches else pidfile.restart(path)
        if len(options.rest) < 2:
            raise UsageError(f"{USAGE.splitlines()[1]}; couriertcpd --help tells all")
        children.check(options.text)
        listener = Listener(options, environ, argv, image)
        return listener.trial() if listener.trying else listener.run()
    except (UsageError, access.AccessError) as error:
        if trying:
            log.err(f"{error}; {STAYS}")
            return REFUSED
        before = handover.before()
        if before is not None and before[0] != argv:
            log.err(f"{error}; {STAYS}")           # the trial found others
            return main(*before, image)
        os.write(2, f"{argv[0]}: {error}\n".encode())
        return 1


def _log_of(environ: Mapping[str, str]) -> dict[str, str]:
    """What decides the form of the log: the settings, and where systemd says that descriptor 2 leads."""
    return {log.VARIABLE: log.wanted(environ), "JOURNAL_STREAM": os.environ.get("JOURNAL_STREAM", "")}


class Listener:
    """From the command line to the end, a method for each step."""

    def __init__(self, options: Options, environ: Mapping[str, str], argv: list[str],
                 image: list[str]) -> None:
        self.options = options
        self.argv = argv
        self.trying = TRIAL in environ
        self.environ = {name: value for name, value in environ.items() if name not in NOT_PASSED_ON}
        self._settings = from_environ(self.environ)
        self.maxprocs = options.number.get("maxprocs", 40)
        self.warn_at = options.number.get("warn", self.maxprocs - (self.maxprocs // 10 + 1))
        self.connections = Connections("maxperc" in options.number, lambda fd: self.loop.forget((fd,)))
        services = self.services = Services(options, self.environ, self.connections)
        if services.logs_in:
            self.connections.bound = max(0, self._settings.number("IMAP_MAXPRELOGIN"))
        self.entrance = Entrance(self.connections, self._arrive,
                                 self.connections.bound > 0 or options.haproxy is not None,
                                 options.haproxy is not None,
                                 services.busy if services.logs_in and "tls" not in options.switches else b"")
        self.renewal = Renewal(image)
        self.readiness = Readiness(options, self.environ, services.in_process, services.login_processes > 0,
                                   services.protocol)
        self.sockets: list[socket.socket] = []
        self.lock = -1
        self.stopping = self.dismisses = False
        self.note = ""                     # for the service manager: how the last reload ended

    # -- start

    def run(self) -> int:
        leave_no_core()
        title.start(self._settings)
        on_signal(self._on_signal)       # from here on a signal waits for the loop
        left = handover.load()
        path = self.options.text.get("pid")
        services = self.services
        if left is None:
            children.check_programs(services.program, self.options.text, self.environ)
            if services.logs_in:
                children.check_behind_login(services.program, services.arguments, self.environ)
            self._check_modules()
        try:
            if left is None and not self._listen():
                return 1
            self._load(renewed=left is not None)
            if not self.stopping:
                self.readiness.rehearse(self.trying)
            if left is not None:
                self._go_on(left)
            elif path:
                pidfile.daemonize()
                lock = pidfile.lock(path)
                if lock is None:
                    return 0             # it runs already: that is what was wanted
                self.lock = lock
                pidfile.write(path)
            services.open_log(left is None, _log_of(self.environ))
            services.open_statistics(left)
            metrics.begin(self.environ, services.protocol, every=1.0)
            self.loop = Loop()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            services.count_tries()
            if services.in_process:
                services.run_folder.open(self.environ, children.ids(self.options.text))
            services.open_doorway(self.loop, self._begin, left, self.readiness.rules)
            services.start_helpers(left, self.stopping, self.readiness.rules)
            services.open_returns(self.loop, self._returned, left)      # told before the login too
            if services.doorway is not None:
                doorway.greet(services.doorway, services.program, self.environ, self.options)
                services.doorway.tend()
        except TlsError as error:
            log.crit(str(error))
            return 1
        except OSError as error:
            log.crit("cannot start: " + f"{error.filename}: " * bool(error.filename) + str(error.strerror))
            return 1
        children.drop_privileges(self.options.text)
        services.start_keeper(self.loop, left, self.stopping)
        if services.in_process:
            from courierpy import preload
            preload.freeze(self.environ, services.protocol)
        services.open_pool(self.loop, self._serve_sessions, self._others_say)
        if left is not None and not self.stopping:
            log.info("settings read again")
        self.entrance.above = 1 + max(int(name) for name in os.listdir("/proc/self/fd"))
        title.be(f"couriertcpd {self.options.rest[0]}")
        self._take_in()
        notify.ready(self._status())
        self._serve()
        notify.stopping()
        self.services.stop(set(self.connections.by_pid) | ({self.renewal.pid} - {0}), self._keeper_says)
        if path and self.lock >= 0:
            os.unlink(path)
        return 0

    def trial(self) -> int:
        """Would a start succeed?  The reason why not goes to the log; gives the exit status."""
        self._check_modules()
        try:
            self._load(renewed=False)
            if not self.stopping and not self.readiness.rehearse(self.trying):
                return REFUSED
        except (TlsError, access.AccessError) as error:
            log.err(f"{error}; {STAYS}")
            return REFUSED
        return 0

    def _check_modules(self) -> None:
        if self.services.logs_in:
            self.readiness.check_modules(self.services.arguments)

    def _load(self, renewed: bool) -> None:
        if not self.readiness.load(renewed):       # a signal may have said so meanwhile, too
            self.stopping = True

    def _listen(self) -> bool:
        name = sockets.name_of(self.services.program, "tls" in self.options.switches)
        self.sockets = sockets.inherited(name)
        if self.sockets:
            return True
        for address, port in parse_ports(self.options.rest[0], self.options.text.get("address")):
            try:
                self.sockets.append(sockets.listen_on(address, port))
            except OSError as error:
                log.crit(f"cannot listen on {address or '*'} port {port}: {error.strerror}"
                         f"{sockets.todo(error)}")
                return False
        return True

    def _on_signal(self, number: int, frame: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self.stopping = True
        elif number == signal.SIGHUP:
            self.renewal.wanted = True
        elif number == signal.SIGUSR2:
            self.dismisses = True

    # -- the loop

    def _serve(self) -> None:
        """Until SIGTERM."""
        loop, services, pool = self.loop, self.services, self.services.pool
        for fd in self.connections.desks():
            loop.hear(fd, partial(self._at_desk, fd))
        open_, hurried, link = False, False, -1
        pulse, looks = notify.Pulse(), 0.0
        while not self.stopping:
            if pulse.is_heard:
                pulse.turn(self._status)
            if services.sleepers is not None and services.sleepers.fileno() != link:
                loop.forget((link,))
                link = services.sleepers.fileno()
                if link >= 0:
                    loop.hear(link, self._keeper_says)
            if self._opens() != open_:
                open_ = not open_
                for sock in self.sockets:
                    if open_:
                        loop.hear(sock.fileno(), partial(self._accept, sock))
                    else:
                        loop.forget((sock.fileno(),))
            waits = pool is not None and pool.queue.count > 0
            if hurried != (waits or not open_):        # whose session is over makes room
                hurried = not hurried
                loop.hurry(hurried)
            signalled = loop.turn(pool.seconds(TURN) if waits and pool is not None else TURN)
            if metrics.current is not None:
                metrics.current.turn(self._gauges)
            if self.stopping:          # nothing is started any more, and who ends was told to as well
                break
            services.restock()
            now = time.monotonic()
            if not signalled and now < looks:
                continue               # nobody has ended, and a client is waiting for the next turn
            looks = now + TURN
            self._reap()
            if self.dismisses:
                self.dismisses = False
                services.dismiss()
            self.connections.see_off()
            services.tend()
            self.renewal.tend()

    def _connections(self) -> int:
        """Those that logged in, with a process or asleep: who sleeps must be able to wake; and all others,
        where these have no bound of their own."""
        services, way = self.services, self.services.doorway
        guests = len(way.guests) if way is not None and not self.connections.bound else 0
        queued = services.pool.queue.count if services.pool is not None else 0
        return self.connections.busy() + guests + services.asleep + services.carried + queued

    def _gauges(self, meter: metrics.Meter) -> None:
        """How it is now, for who watches."""
        services, connections = self.services, self.connections
        guests = len(services.doorway.guests) if services.doorway is not None else 0
        listener = self.options.rest[0][:64]
        for name, state, number in ((measures.SESSIONS, ("awake",), connections.busy() + services.carried),
                                    (measures.SESSIONS, ("asleep",), services.asleep),
                                    (measures.BEFORE_LOGIN, (), guests + len(connections.waiting)),
                                    (measures.MOST, (), self.maxprocs), (measures.UP, (), 1)):
            meter.set(name, listener, *state, value=number)

    def _status(self) -> str:
        """For the service manager."""
        return f"port {self.options.rest[0]}: {self._connections()} connections{self.note}"

    def _opens(self) -> bool:
        way = self.services.doorway if self.services.login_processes else None
        if way is not None and not (way.ready() and way.room()):
            return False
        return self._connections() < self.maxprocs and self.entrance.opens()

    def _accept(self, sock: socket.socket) -> None:
        self.loop.catch_up()           # whose session is over counts no more
        if not self._opens():
            return
        if self.services.doorway is not None and self.services.login_processes:
            doorway.take(self.services.doorway, self.entrance, sock, self.options, self.readiness.rules,
                         self._settings)
            return
        self._began(self.entrance.accept(sock))
        self._warn()

    def _began(self, connection: Connection | None) -> None:
        """A client has a process for its login, or was turned away."""
        if connection is not None and connection.desk is not None:
            fd = connection.desk.fileno()
            self.loop.hear(fd, partial(self._at_desk, fd))

    def _begin(self, connection: Connection, order: Order, fd: int) -> None:
        """A session.  OSError."""
        assert self.services.pool is not None
        self.services.pool.begin(connection, order, fd)
        self._warn()

    def _at_desk(self, fd: int) -> None:
        if not self.connections.at_desk(fd):
            self._warn()

    def _warn(self) -> None:
        count = self._connections()
        if count >= self.maxprocs:
            if due("max"):
                log.alert(f"{self.maxprocs} maximum active connections.")
        elif count >= self.warn_at and due("warn"):
            log.warn(f"{count} active connections.")

    def _reap(self) -> None:
        for pid, status in proc.ended():
            self._others_say()                 # if its connection sleeps, that was said before it ended
            if self.services.pool is not None:
                self.services.pool.ended(pid)
            connection = self.connections.ended(pid)
            if connection is not None:
                if status and connection.address:      # else it sleeps again, or has said so
                    self.services.run_folder.forget(connection.identity[1])
                self.entrance.ended(status, time.monotonic() - connection.started)
            elif pid == self.renewal.pid:
                if self.renewal.tried(status):
                    self.renewal.begin(self._left, lambda: self.stopping, SIGNALS)
                self.note = f"; {STAYS}"           # for we go on
                notify.ready(self._status())
            else:
                self.services.ended(pid, status)

    # -- a new image

    def _left(self) -> handover.Handover:
        """What the next image needs to know."""
        self.loop.catch_up()           # processes of sessions end by it: one may have given a client back
        left = handover.Handover()
        left.sockets = [sock.fileno() for sock in self.sockets]
        left.connections = self.connections.by_pid
        self.services.left(left)
        left.lock = self.lock
        left.argv, left.environ = self.argv, {name: value for name, value in self.environ.items()
                                              if name not in NOT_PASSED_ON}
        return left

    def _go_on(self, left: handover.Handover) -> None:
        for fd in left.descriptors():
            os.set_inheritable(fd, False)
        self.sockets = sockets.adopted(left.sockets)
        self.lock, self.services.logger = left.lock, left.logger
        for pid, connection in left.connections.items():
            self.connections.add(pid, connection)
        for asleep in left.asleep.values():
            self.connections.counts.add(asleep.address, 1)

    # -- connections that sleep, or have no session any more

    def _others_say(self) -> None:
        """What they have said by now."""
        sleepers, returns = self.services.sleepers, self.services.returns
        keeper = sleepers.fileno() if sleepers is not None else -1
        way_back = returns.end.fileno() if returns is not None else -1
        for fd in self.loop.saying(keeper, way_back):
            if fd == keeper:
                self._keeper_says()
            else:
                self._returned()

    def _take_in(self) -> None:
        """Clients whom an image with login processes has left, and no such process had yet."""
        way = self.services.doorway
        for fd, connection, variables, behind, said in way.homeless() if way is not None else ():
            remote, local = ((variables[f"TCP{end}IP"], int(variables[f"TCP{end}PORT"]))
                             for end in ("REMOTE", "LOCAL"))
            arrive = partial(self._arrive, said=said, by_tls="IMAP_TLS" in variables)
            self._began(self.entrance.begin(fd, remote, local, connection.peer, arrive, behind))

    def _returned(self) -> None:
        """A session is over, and its client before its login again."""
        returns, way = self.services.returns, self.services.doorway
        for back in returns.hear() if returns is not None else ():
            if way is not None and self.services.login_processes:
                doorway.give_back(way, self.entrance, back, self.options, self.readiness.rules,
                                  self._settings)
            else:
                self._began(self.entrance.begin(back.fd, back.remote, back.local, back.peer,
                                                partial(self._arrive, said=back.said, by_tls=back.by_tls)))
        if returns is not None and returns.is_shut:
            self.services.close_returns(self.loop)

    def _keeper_says(self) -> None:
        sleepers = self.services.sleepers
        if sleepers is not None:
            for wake in sleepers.hear():
                sleepers.wake(wake, self._awake)

    def _awake(self, connection: Connection, asleep: Asleep, channel: int) -> None:
        """OSError."""
        pool = self.services.pool
        if asleep.account and pool is not None:
            pool.begin(connection, Order(asleep.account, asleep=(channel, asleep.file)), asleep.client)
        else:
            self.connections.takes_over(fork(partial(self._woken, asleep, channel)), connection)

    # -- in the connection's process

    def _serve_only(self, client: int, *more: int) -> None:
        kept, above = [fd for fd in more if fd >= 0], max(self.entrance.above, self.services.above)
        children.serve_only(client, kept + self.services.kept(), above)

    def _arrive(self, client: int, remote: admission.Address, local: admission.Address | None,
                at_desk: int, said: bytes | None = None, by_tls: bool = False) -> int:
        """``said``: of one that had a session, what it has said since.  ``by_tls``: a login process of an
        image before carries it through TLS."""
        services = self.services
        if by_tls:
            self.environ["IMAP_TLS"] = "1"
        self._serve_only(client, at_desk, services.helpers.door() if services.helpers is not None else -1,
                         services.tries)
        metrics.begin(self.environ, services.protocol)
        if at_desk >= 0:
            self.environ[desk.VARIABLE] = str(at_desk)
        arrival = Arrival(self.options, self.readiness.rules, self.environ, services.in_process,
                          said)
        try:
            return arrival.serve(services.program, services.arguments, remote, local,
                                 self.connections.counts.of)
        finally:
            metrics.end()

    def _serve_sessions(self, link: socket.socket, order: Order | None, fd: int) -> Callable[[], int]:
        return self.services.serve(link, order, fd, max(fd + 1, self.entrance.above))

    def _woken(self, asleep: Asleep, channel: int) -> int:
        from courierpy import imapd
        from courierpy.hibernate.woken import Woken
        try:
            self._serve_only(asleep.client, asleep.file, channel)
            children.log_to_client(self.options.text, self.environ)
            become(asleep.uid, asleep.gid, None, asleep.groups)
            return imapd.wake(Woken(channel, asleep.file), self.environ, Conn(0, 1))
        except BaseException as error:  # the child must never return into the loop
            log.crit(f"a connection is to go on: {type(error).__name__}: {error}")
            return CRASHED


if __name__ == "__main__":
    run()
