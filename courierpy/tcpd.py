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
from courierpy.auth import configured
from courierpy.hibernate.link import VARIABLE, Sleepers, keeper_possible
from courierpy.imap.capability import starttls_offered
from courierpy.imap.grammar.lines import BUSY
from courierpy.listener import access, admission, children, handover, pidfile, sockets
from courierpy.listener.arrival import Arrival
from courierpy.listener.connections import Asleep, Connection, Connections
from courierpy.listener.entrance import Entrance
from courierpy.listener.loop import Loop
from courierpy.listener.options import USAGE, Options, UsageError, parse_ports
from courierpy.listener.renewal import REFUSED, STAYS, TRIAL, Renewal
from courierpy.login import tries
from courierpy.model.numbers import PID_MOST, decimal
from courierpy.system import about, desk, log, title
from courierpy.system.conn import Conn
from courierpy.system.proc import (
    CRASHED,
    become,
    die_with,
    elsewhere,
    fork,
    leave_no_core,
    on_signal,
)
from courierpy.system.programs import find, interpreter
from courierpy.system.seldom import due
from courierpy.system.settings import from_environ
from courierpy.system.tls import TlsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.listener.doorway import Doorway
    from courierpy.listener.helpers import Helpers

LOAD_AGAIN = 0.5               # seconds
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
NOT_PASSED_ON = frozenset((TRIAL, handover.VARIABLE, VARIABLE, desk.VARIABLE, desk.AUTHSOCKET,
                           tries.VARIABLE))


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
    return {"IMAP_LOG": environ.get("IMAP_LOG", ""), "JOURNAL_STREAM": os.environ.get("JOURNAL_STREAM", "")}


class Listener:
    """From the command line to the end."""

    def __init__(self, options: Options, environ: Mapping[str, str], argv: list[str],
                 image: list[str]) -> None:
        self.options = options
        self.argv = argv
        self.trying = TRIAL in environ
        self.environ = {name: value for name, value in environ.items() if name not in NOT_PASSED_ON}
        self.program, self.arguments = options.rest[1], options.rest[2:]
        ours = find(self.program)
        self.in_process = ours is not None and "exec" not in options.switches
        self.logs_in = ours is not None and ours.logs_in
        self.maxprocs = options.number.get("maxprocs", 40)
        self.warn_at = options.number.get("warn", self.maxprocs - (self.maxprocs // 10 + 1))
        bound = from_environ(self.environ).number("IMAP_MAXPRELOGIN") if self.logs_in else 0
        self.connections = Connections("maxperc" in options.number, max(0, bound),
                                       lambda fd: self.loop.forget((fd,)))
        self.entrance = Entrance(self.connections, self._arrive, bound > 0 or options.haproxy is not None,
                                 options.haproxy is not None,
                                 BUSY if self.logs_in and "tls" not in options.switches else b"")
        self.renewal = Renewal(image)
        self.login_processes = doorway.count(options, self.program, self.arguments, self.environ)
        self.doorway: Doorway | None = None
        self.helpers: Helpers | None = None
        self.sleepers: Sleepers | None = None
        self.logger = 0                # pid of -stderrlogger
        self.rules: dict[str, str] = {}
        self.sockets: list[socket.socket] = []
        self.lock = -1
        self.tries = -1
        self.stopping = False

    # -- start

    def run(self) -> int:
        leave_no_core()
        title.start(from_environ(self.environ))
        on_signal(self._on_signal)       # from here on a signal waits for the loop
        left = handover.load()
        path = self.options.text.get("pid")
        if left is None:
            self._check_modules()
        try:
            if left is None and not self._listen():
                return 1
            self._load(renewed=left is not None)
            self._rehearse()
            if left is not None:
                self._go_on(left)
            elif path:
                pidfile.daemonize()
                lock = pidfile.lock(path)
                if lock is None:
                    return 0             # it runs already: that is what was wanted
                self.lock = lock
                pidfile.write(path)
            self._stderr(left is None)
            self.loop = Loop()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self._count_tries()
            self.doorway = doorway.opened(self.login_processes, self.options, self.program, self.environ,
                                          self.tries, self.connections, self.loop, self._begin,
                                          left.doorway if left is not None else None, self.rules)
            self._start_helpers(left)
            if self.doorway is not None:
                self.doorway.tend()
        except TlsError as error:
            log.crit(str(error))
            return 1
        except OSError as error:
            log.crit("cannot start: " + f"{error.filename}: " * bool(error.filename) + str(error.strerror))
            return 1
        children.drop_privileges(self.options.text)
        self._start_keeper(left)
        if self.in_process:
            from courierpy import preload
            preload.freeze()
        if left is not None and not self.stopping:
            log.info("settings read again")
        self.entrance.above = 1 + max(int(name) for name in os.listdir("/proc/self/fd"))
        title.be(f"couriertcpd {self.options.rest[0]}")
        self._serve()
        self._end()
        if path and self.lock >= 0:
            os.unlink(path)
        return 0

    def trial(self) -> int:
        """Would a start succeed?  The reason why not goes to the log; gives the exit status."""
        self._check_modules()
        try:
            self._load(renewed=False)
            if not self._rehearse():
                return REFUSED
        except (TlsError, access.AccessError) as error:
            log.err(f"{error}; {STAYS}")
            return REFUSED
        return 0

    def _check_modules(self) -> None:
        """UsageError for a module that can let nobody in; what keeps tokens out is logged.  What is loaded
        to see is not loaded here."""
        if self.logs_in:
            words = [word for word in self.arguments if word.startswith("auth") and "/" not in word]
            modules = words or configured(self.environ)

            def look() -> bytes:
                from courierpy.auth import sound
                return "\0".join("\n".join(lines) for lines in (
                    sound.wrong(modules, self.environ), sound.tokens_wrong(self.environ))).encode()

            found, _, tokens = (elsewhere(look)() or b"").decode().partition("\0")
            if found:
                raise UsageError(found.replace("\n", "; "))
            for line in tokens.splitlines():
                log.err(line)

    def _rehearse(self) -> bool:
        """False: the program starts, but its sessions do not work; the log says how."""
        if self.in_process and not self.stopping:
            from courierpy import rehearsal
            try:
                rehearsal.rehearse(self.environ)
            except OSError as error:
                log.warn(f"no rehearsal of a session: {error}")
            except rehearsal.Failed as error:
                if self.trying:
                    log.err(f"rehearsal of a session: {error}; {STAYS}")
                else:
                    log.crit(f"rehearsal of a session: {error}")
                return False
        return True

    def _load(self, renewed: bool) -> None:
        """Rules, certificates and, for connections in this process, the program.  AccessError, TlsError.

        ``renewed``: a trial found them sound a moment ago.  What was broken since then is waited
        for, and connections wait meanwhile: to end would end the sessions.
        """
        while not self.stopping:
            try:
                self._load_files()
                break
            except (TlsError, access.AccessError) as error:
                if not renewed:
                    raise
                if due("load"):
                    log.crit(f"{error}; connections wait until that is mended")
                self.stopping = signal.sigtimedwait((signal.SIGTERM, signal.SIGINT), LOAD_AGAIN) is not None
        if self.in_process:
            from courierpy import preload
            preload.preload()

    def _load_files(self) -> None:
        path = self.options.text.get("access")
        self.rules = access.load(path) if path else {}
        settings = from_environ(self.environ)
        if "tls" in self.options.switches or (self.in_process and starttls_offered(settings, False)):
            if self.login_processes:
                doorway.look_at_certificates(settings)
            else:
                from courierpy.system import tls
                tls.load(settings)

    def _listen(self) -> bool:
        self.sockets = sockets.inherited()
        if self.sockets:
            return True
        for address, port in parse_ports(self.options.rest[0], self.options.text.get("address")):
            try:
                self.sockets.append(sockets.listen_on(address, port))
            except OSError as error:
                log.crit(f"cannot listen on {address or '*'} port {port}: {error.strerror}")
                return False
        return True

    def _stderr(self, fresh: bool) -> None:
        """-stderr is opened anew at SIGHUP; the pipe to -stderrlogger stays.  OSError."""
        text = self.options.text
        if text.get("stderr", "socket") != "socket":
            children.open_log(text["stderr"])
            log.start("couriertcpd", _log_of(self.environ))
        if text.get("stderrlogger") and fresh:
            name = text.get("stderrloggername") or os.path.basename(self.program)
            self.logger = children.start_logger(text["stderrlogger"], name)
            log.start("couriertcpd", {})
        self.environ["IMAP_LOG"] = log.form()      # of programs that are started by exec

    def _count_tries(self) -> None:
        """Refused logins are counted for all connections, of another listener of ours and image too."""
        table = tries.inherited(os.environ)
        self.tries = table if table >= 0 else tries.make()
        if self.tries >= 0:
            self.environ[tries.VARIABLE] = os.environ[tries.VARIABLE] = str(self.tries)

    def _start_helpers(self, left: handover.Handover | None) -> None:
        """Passwords are checked by processes of their own, started once.  OSError."""
        modules = self._auth_modules()
        if modules or (left is not None and left.auth[0] >= 0):
            from courierpy.listener.helpers import Helpers
            self.helpers = Helpers(modules, self.environ, children.owner(self.options.text),
                                   left.auth if left is not None else None,
                                   left.helpers if left is not None else set(),
                                   *((doorway.looker(self.arguments, self.environ), self.doorway.meet)
                                     if self.doorway is not None else ()))
            if not self.stopping:
                self.helpers.tend()
            if not self.login_processes:           # who logs in here asks by a channel of its own
                self.environ[desk.AUTHSOCKET] = self.helpers.path

    def _auth_modules(self) -> list[str]:
        """The modules for the helpers; none when imaplogin asks somebody else, or is not ours."""
        if not self.in_process or not self.logs_in:
            return []
        words = [word for word in self.arguments if word.startswith("auth") and "/" not in word]
        modules = words or configured(self.environ)
        if modules == ["authdaemon"] and not self.login_processes:
            return []
        self.arguments = self.arguments[len(words):]
        return modules

    def _start_keeper(self, left: handover.Handover | None) -> None:
        """One process keeps idle connections (IMAP_HIBERNATE), and hears for sessions that cannot."""
        before = left.keeper if left is not None else None
        if self.in_process or before is not None:
            self.sleepers = Sleepers(self.connections, before, left.asleep if left is not None else {})
            if self.in_process and keeper_possible() and not self.stopping:
                self.environ[VARIABLE] = str(self.sleepers.door.fileno())
                if (self.login_processes or "tls" not in self.options.switches) and \
                        from_environ(self.environ).number("IMAP_HIBERNATE") > 0:
                    self.sleepers.eager = True
                self.sleepers.tend()
                if not self.sleepers.eager:
                    self.loop.hear(self.sleepers.inner.fileno(), self._keeper_wanted)

    def _keeper_wanted(self) -> None:
        """A session asks for what only the keeper can do."""
        if self.sleepers is not None:
            self.loop.forget((self.sleepers.inner.fileno(),))
            self.sleepers.eager = True

    def _on_signal(self, number: int, frame: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self.stopping = True
        elif number == signal.SIGHUP:
            self.renewal.wanted = True

    # -- the loop

    def _serve(self) -> None:
        """Until SIGTERM."""
        loop = self.loop
        for fd in self.connections.desks():
            loop.hear(fd, partial(self._at_desk, fd))
        open_, link = False, -1
        while not self.stopping:
            if self.sleepers is not None and self.sleepers.fileno() != link:
                loop.forget((link,))
                link = self.sleepers.fileno()
                if link >= 0:
                    loop.hear(link, self._keeper_says)
            if self._opens() != open_:
                open_ = not open_
                for sock in self.sockets:
                    if open_:
                        loop.hear(sock.fileno(), partial(self._accept, sock))
                    else:
                        loop.forget((sock.fileno(),))
            loop.turn(1.0)
            self._reap()
            self.connections.see_off()
            if not self.stopping:      # else nothing is started any more
                self._tend()

    def _tend(self) -> None:
        """Start what is missing."""
        if self.helpers is not None:
            self.helpers.tend()
        if self.doorway is not None:
            self.doorway.tend()
        if self.sleepers is not None:
            self.sleepers.tend()
        self.renewal.tend()

    def _connections(self) -> int:
        """Those that logged in, with a process or asleep: who sleeps must be able to wake; and all others,
        where these have no bound of their own."""
        guests = len(self.doorway.guests) if self.doorway is not None and not self.connections.bound else 0
        asleep = len(self.sleepers.asleep) if self.sleepers is not None else 0
        return self.connections.busy() + asleep + guests

    def _opens(self) -> bool:
        way = self.doorway if self.login_processes else None
        if way is not None and not (way.ready() and way.room()):
            return False
        return self._connections() < self.maxprocs and self.entrance.opens()

    def _accept(self, sock: socket.socket) -> None:
        if not self._opens():
            return
        if self.doorway is not None and self.login_processes:
            doorway.take(self.doorway, self.entrance, sock, self.options, self.rules)
            return
        connection = self.entrance.accept(sock)
        if connection is not None:
            if connection.desk is not None:
                fd = connection.desk.fileno()
                self.loop.hear(fd, partial(self._at_desk, fd))
            self._warn()

    def _begin(self, connection: Connection, account: bytes, known: Mapping[str, str], said: bytes,
               rest: bytes, fd: int) -> None:
        """A session.  OSError."""
        kept = [self.sleepers.door.fileno()] if self.sleepers is not None else []
        rooms = (self.entrance, self.sleepers, self.doorway)
        above = max(fd + 1, *(room.above for room in rooms if room is not None))
        pid = fork(partial(doorway.session, fd, above, kept, self.arguments, self.environ, account, known,
                           said, rest, BUSY))
        self.connections.takes_over(pid, connection)
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
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._keeper_says()                # if its connection sleeps, that was said before it ended
            connection = self.connections.ended(pid)
            if connection is not None:
                self.entrance.ended(status, time.monotonic() - connection.started)
            elif pid == self.renewal.pid:
                if self.renewal.tried(status):
                    self.renewal.begin(self._left, lambda: self.stopping, SIGNALS)
            elif pid == self.logger:
                log.crit("the logger ended")
            elif self.sleepers is not None and self.sleepers.ended(pid) \
                    or self.doorway is not None and self.doorway.ended(pid):
                continue
            elif self.helpers is not None:
                self.helpers.ended(pid)

    # -- a new image

    def _left(self) -> handover.Handover:
        """What the next image needs to know."""
        left = handover.Handover()
        left.sockets = [sock.fileno() for sock in self.sockets]
        left.connections = self.connections.by_pid
        if self.helpers is not None:
            left.helpers = self.helpers.all()
            left.auth = self.helpers.address()
        if self.sleepers is not None:
            left.keeper, left.asleep = self.sleepers.left(), self.sleepers.asleep
        if self.doorway is not None:
            left.doorway = self.doorway.left()
        left.lock, left.logger = self.lock, self.logger
        left.argv, left.environ = self.argv, {name: value for name, value in self.environ.items()
                                              if name not in NOT_PASSED_ON}
        return left

    def _go_on(self, left: handover.Handover) -> None:
        for fd in left.descriptors():
            os.set_inheritable(fd, False)
        self.sockets = sockets.adopted(left.sockets)
        self.lock, self.logger = left.lock, left.logger
        for pid, connection in left.connections.items():
            self.connections.add(pid, connection)
        for asleep in left.asleep.values():
            self.connections.counts.add(asleep.address, 1)

    def _end(self) -> None:
        """The sessions say BYE."""
        kept = self.sleepers.end() if self.sleepers is not None else set()
        pids = set(self.connections.by_pid) | ({self.renewal.pid} - {0})
        if self.doorway is not None:
            pids |= self.doorway.pids()
        children.tell_all(pids)
        helpers = self.helpers.stop() if self.helpers is not None else set()
        children.wait_for(pids | kept | helpers, self._keeper_says)
        if self.sleepers is not None:
            self.sleepers.last_words()

    # -- connections that sleep

    def _keeper_says(self) -> None:
        if self.sleepers is not None:
            for wake in self.sleepers.hear():
                self.sleepers.wake(wake, self._woken)

    # -- in the connection's process

    def _serve_only(self, client: int, *more: int) -> None:
        kept, above = [fd for fd in more if fd >= 0], self.entrance.above
        if self.sleepers is not None:
            kept.append(self.sleepers.door.fileno())
            above = max(above, self.sleepers.above)
        if self.doorway is not None:
            above = max(above, self.doorway.above)
        children.serve_only(client, kept, above)

    def _arrive(self, client: int, remote: admission.Address, local: admission.Address | None,
                at_desk: int) -> int:
        self._serve_only(client, at_desk, self.helpers.door() if self.helpers is not None else -1, self.tries)
        if at_desk >= 0:
            self.environ[desk.VARIABLE] = str(at_desk)
        arrival = Arrival(self.options, self.rules, self.environ, self.in_process)
        return arrival.serve(self.program, self.arguments, remote, local, self.connections.counts.of)

    def _woken(self, asleep: Asleep, channel: int) -> int:
        from courierpy import imapd
        from courierpy.hibernate.woken import Woken
        try:
            self._serve_only(asleep.client, asleep.file, channel)
            children.log_to_client(self.options.text, self.environ)
            become(asleep.uid, asleep.gid, None, asleep.groups)
            return imapd.wake(Woken(channel, asleep.file), self.environ.get(VARIABLE, ""), Conn(0, 1))
        except BaseException as error:  # the child must never return into the loop
            log.crit(f"a connection is to go on: {type(error).__name__}: {error}")
            return CRASHED


if __name__ == "__main__":
    run()
