"""couriertcpd: listen, limit, say who came in TCP* variables, start the login.

``couriertcpd [options] PORTS program [arguments...]``, options as Courier's.
When the program is our own imaplogin the connection's process is a fork that
goes on in it: imports are done once, before; ``-exec`` forces an exec.

SIGHUP starts the program anew in the same process, after a child has tried the
new one: the listening sockets, the connections' processes and their count stay.
"""
from __future__ import annotations

import os
import select
import signal
import socket
import time
from functools import partial

from courierpy.hibernate.link import VARIABLE, Request, Sleepers
from courierpy.imap.capability import starttls_offered
from courierpy.listener import access, admission, children, handover, pidfile, sockets
from courierpy.listener.options import USAGE, Options, UsageError, parse_ports
from courierpy.listener.sockets import shown
from courierpy.system import about, log
from courierpy.system.conn import Conn
from courierpy.system.proc import ProcError, become, confine, execute, interpreter, is_ours, on_signal
from courierpy.system.settings import from_environ
from courierpy.system.tls import TlsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from courierpy.auth.helper import Helpers
    from courierpy.imaplogin import Start

WARN_EVERY = 60.0
HASTY = 0.1                    # a child that lives less than this and crashes was hasty
HASTY_ALLOWED = 20             # so many in a row, then accepting pauses
PAUSE = 1.0
CRASHED = 70                   # exit status of a process that could not do its work (EX_SOFTWARE)
TLS_TIMEOUT = 30.0
TRIAL = "COURIERPY_TRIAL"      # set: only try whether this program and these settings would do
TRIAL_TIME = 60.0
REFUSED = 78                   # exit status of a trial that has said why (EX_CONFIG)
STAYS = "the settings in force stay"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class RehearsalFailed(Exception):
    """The sessions of this program do not work; str() says how."""


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
    try:
        options = Options(argv[1:])
        if options.switches & {"stop", "restart"}:
            path = options.text.get("pid")
            if not path:
                raise UsageError("-pid=FILE is needed")
            return pidfile.stop(path) if "stop" in options.switches else pidfile.restart(path)
        if len(options.rest) < 2:
            raise UsageError(f"{USAGE.splitlines()[1]}; couriertcpd --help tells all")
        listener = Listener(options, environ, image)
        return listener.trial() if TRIAL in environ else listener.run()
    except (UsageError, access.AccessError) as error:
        if TRIAL in environ:
            log.err(f"{error}; {STAYS}")
            return REFUSED
        os.write(2, f"{argv[0]}: {error}\n".encode())
        return 1


class Listener:
    """``children``: pid -> (address, time of its start); ``counts``: of their addresses."""

    def __init__(self, options: Options, environ: Mapping[str, str], image: list[str]) -> None:
        self.options = options
        self.image = image
        self.environ = {name: value for name, value in environ.items()
                        if name not in (TRIAL, handover.VARIABLE, VARIABLE)}
        self.program, self.arguments = options.rest[1], options.rest[2:]
        self.start: Start | None = None            # of our own programs, in the connection's process
        self.in_process = is_ours(self.program) and "exec" not in options.switches
        self.maxprocs = options.number.get("maxprocs", 40)
        self.warn_at = options.number.get("warn", self.maxprocs - (self.maxprocs // 10 + 1))
        self.children: dict[int, tuple[str, float]] = {}
        self.counts = admission.Counts("maxperc" in options.number)
        self.logger = 0                # pid of -stderrlogger
        self.helpers: Helpers | None = None
        self.sleepers: Sleepers | None = None
        self.rules: dict[str, str] = {}
        self.sockets: list[socket.socket] = []
        self.lock = -1
        self.above = 3                 # the listener's own descriptors, from 3 on, are below this
        self.pid = 0
        self.trying = (0, 0.0)         # the child that tries a new image, and until when it may
        self.hasty = 0
        self.paused_until = 0.0
        self.stopping = self.reload = False
        self.last_warning: dict[str, float] = {}

    # -- start

    def run(self) -> int:
        self.pid = os.getpid()
        on_signal(self._on_signal)       # from here on a signal waits for the loop
        left = handover.load()
        try:
            if left is None and not self._listen():
                return 1
            self._load()
        except TlsError as error:
            log.crit(str(error))
            return 1
        try:
            self._rehearse()
        except RehearsalFailed as error:
            log.crit(str(error))
        path = self.options.text.get("pid")
        if left is not None:
            self._go_on(left)
        elif path:
            pidfile.daemonize()
            lock = pidfile.lock(path)
            if lock is None:
                return 0                 # it runs already: that is what was wanted
            self.lock = lock
            pidfile.write(path)
        self._stderr(left is None)
        self.pid = os.getpid()
        wake_in, wake_out = os.pipe()
        for fd in (wake_in, wake_out):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)      # the descriptor wakes the loop
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._start_helpers(left)
        children.drop_privileges(self.options.text)
        self._start_keeper(left)
        if self.in_process:
            from courierpy import preload
            preload.freeze()
        if left is not None:
            log.info("settings read again")
        self.above = 1 + max(int(name) for name in os.listdir("/proc/self/fd"))
        self._loop(wake_in)
        self._end()
        if path and self.lock >= 0:
            os.unlink(path)
        return 0

    def trial(self) -> int:
        """Would a start succeed?  The reason why not goes to the log; gives the exit status."""
        try:
            self._load()
            self._rehearse()
        except (TlsError, access.AccessError, RehearsalFailed) as error:
            log.err(f"{error}; {STAYS}")
            return REFUSED
        return 0

    def _rehearse(self) -> None:
        """RehearsalFailed: the program starts, but its sessions do not work."""
        if self.in_process:
            from courierpy import preload
            try:
                preload.rehearse(self.environ)
            except OSError as error:
                log.warn(f"no rehearsal of a session: {error}")
            except preload.Failed as error:
                raise RehearsalFailed(f"rehearsal of a session: {error}") from None

    def _load(self) -> None:
        """Rules, certificates and, for connections in this process, the program.  AccessError, TlsError."""
        path = self.options.text.get("access")
        self.rules = access.load(path) if path else {}
        settings = from_environ(self.environ)
        if "tls" in self.options.switches or (self.in_process and starttls_offered(settings, False)):
            from courierpy.system import tls
            tls.load(settings)
        if self.in_process:
            from courierpy import preload
            preload.preload()
            self.start = preload.program(self.program, self.arguments)

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
        """-stderr is opened anew at SIGHUP; the pipe to -stderrlogger stays."""
        text = self.options.text
        if text.get("stderr", "socket") != "socket":
            children.open_log(text["stderr"])
        if text.get("stderrlogger") and fresh:
            name = text.get("stderrloggername") or os.path.basename(self.program)
            self.logger = children.start_logger(text["stderrlogger"], name)

    def _start_helpers(self, left: handover.Handover | None) -> None:
        """Passwords are checked by processes of their own, started once."""
        modules = self._auth_modules()
        if modules or (left is not None and left.auth[0] >= 0):
            from courierpy.auth.helper import Helpers
            self.helpers = Helpers(modules, self.environ, left.auth if left is not None else None,
                                   left.helpers if left is not None else set())
            self.helpers.tend()
            self.environ["COURIERPY_AUTHSOCKET"] = self.helpers.path

    def _start_keeper(self, left: handover.Handover | None) -> None:
        """Idle connections are kept by one process, where they can be; see IMAP_HIBERNATE."""
        wanted = (self.in_process and "tls" not in self.options.switches
                  and from_environ(self.environ).number("IMAP_HIBERNATE") > 0)
        before = left.keeper if left is not None else None
        if wanted or before is not None:
            from courierpy.system.inotify import Inotify, binding
            try:
                binding()
            except OSError as error:
                log.warn(f"idle connections keep their processes: {error.strerror}")
                wanted = False
            self.sleepers = Sleepers(Inotify, confine, before)
            if left is not None:
                self.sleepers.asleep = left.asleep
            if wanted:
                self.environ[VARIABLE] = str(self.sleepers.door.fileno())
                self.sleepers.tend()

    def _auth_modules(self) -> list[str]:
        """The modules for the helpers; none when imaplogin asks somebody else, or is not ours."""
        if not self.in_process or os.path.basename(self.program) != "imaplogin":
            return []
        words = [word for word in self.arguments if word.startswith("auth") and "/" not in word]
        modules = words or from_environ(self.environ).text("AUTHMODULES").split()
        if modules == ["authdaemon"]:
            return []
        self.arguments = self.arguments[len(words):]
        return modules

    def _on_signal(self, number: int, frame: object) -> None:
        if os.getpid() != self.pid:
            os._exit(0)                # a connection's process, before it hears them itself
        elif number in (signal.SIGTERM, signal.SIGINT):
            self.stopping = True
        elif number == signal.SIGHUP:
            self.reload = True

    # -- the loop

    def _loop(self, wake: int) -> None:
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        by_fd = {sock.fileno(): (sock, _one_address(sock)) for sock in self.sockets}
        listening = False
        link = -1
        while not self.stopping:
            if self.sleepers is not None and self.sleepers.fileno() != link:
                if link >= 0:
                    poll.unregister(link)
                link = self.sleepers.fileno()
                if link >= 0:
                    poll.register(link, select.POLLIN)
            wanted = self._connections() < self.maxprocs and time.monotonic() >= self.paused_until
            if wanted != listening:
                for fd in by_fd:
                    if wanted:
                        poll.register(fd, select.POLLIN)
                    else:
                        poll.unregister(fd)
                listening = wanted
            for fd, _ in poll.poll(1000):
                if fd == wake:
                    while True:
                        try:
                            if not os.read(wake, 512):
                                break
                        except BlockingIOError:
                            break
                elif fd == link:
                    self._keeper_says()
                elif self._connections() < self.maxprocs:
                    self._accept(*by_fd[fd])
            self._reap()
            if self.helpers is not None:
                self.helpers.tend()
            if self.sleepers is not None and VARIABLE in self.environ:
                self.sleepers.tend()
                self.above = max(self.above, self.sleepers.fileno() + 1)
            self._renew()

    # -- a new image

    def _renew(self) -> None:
        """At SIGHUP: first a child tries what a new start would find."""
        pid, until = self.trying
        if pid:
            if time.monotonic() > until:
                os.kill(pid, signal.SIGKILL)       # reaped, and spoken of, as any that fails
        elif self.reload:
            self.reload = False
            try:
                pid = os.posix_spawn(self.image[0], self.image, {**os.environ, TRIAL: "1"})
            except OSError as error:
                log.err(f"{self.image[0]}: {error.strerror}; {STAYS}")
                return
            self.trying = (pid, time.monotonic() + TRIAL_TIME)

    def _tried(self, status: int) -> None:
        self.trying = (0, 0.0)
        if status == 0:
            self._exec()
        elif os.waitstatus_to_exitcode(status) != REFUSED:
            log.err(f"the program does not start again (status {status}); {STAYS}")

    def _exec(self) -> None:
        """Go on as a new image; a signal that comes meanwhile waits for its handlers."""
        left = handover.Handover()
        left.sockets = [sock.fileno() for sock in self.sockets]
        left.children = self.children
        if self.helpers is not None:
            left.helpers = self.helpers.all()
            left.auth = self.helpers.address()
        if self.sleepers is not None:
            left.keeper, left.asleep = self.sleepers.left(), self.sleepers.asleep
        left.lock, left.logger = self.lock, self.logger
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        memory = -1
        try:
            memory = left.save()
            for fd in left.descriptors():
                os.set_inheritable(fd, True)
            os.execve(self.image[0], self.image, {**os.environ, handover.VARIABLE: str(memory)})
        except OSError as error:
            if memory >= 0:
                os.close(memory)
            for fd in left.descriptors():
                os.set_inheritable(fd, False)
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            log.err(f"{self.image[0]}: {error.strerror}; {STAYS}")

    def _go_on(self, left: handover.Handover) -> None:
        for fd in left.descriptors():
            os.set_inheritable(fd, False)
        self.sockets = sockets.adopted(left.sockets)
        self.lock, self.logger = left.lock, left.logger
        self.children = left.children
        for address, _ in (*self.children.values(), *left.asleep.values()):
            if address:
                self.counts.add(address, 1)

    # -- connections

    def _connections(self) -> int:
        """With a process or asleep: who sleeps must be able to wake."""
        return len(self.children) + (len(self.sleepers.asleep) if self.sleepers is not None else 0)

    def _accept(self, listener: socket.socket, local: admission.Address | None) -> None:
        """``local``: our end's address; None when the socket has more than one."""
        try:
            fd, remote = listener._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        address = shown(remote[0])
        pid = os.fork()
        if pid == 0:
            status = CRASHED
            try:
                self._serve_only(fd)
                status = self._child(remote[:2], local)
            except admission.Refused:
                status = 0
            except BaseException as error:  # the child must never return into the loop
                log.crit(f"connection from {address}: {type(error).__name__}: {error}")
            finally:
                os._exit(status)
        os.close(fd)
        self.children[pid] = (address, time.monotonic())
        self.counts.add(address, 1)
        if self._connections() >= self.warn_at:
            self._warn()

    def _serve_only(self, client: int, *more: int) -> None:
        door = () if self.sleepers is None else (self.sleepers.door.fileno(),)
        children.serve_only(client, (*door, *more), self.above)

    def _keeper_says(self) -> None:
        if self.sleepers is None:
            return
        asleep = self.sleepers.asleep
        for request in self.sleepers.read():
            if request.letter == b"W":
                self._wake(request)
            elif request.letter == b"S":
                child = self.children.get(request.pid)
                if child is None or not child[0]:
                    self.sleepers.drop(request.number)         # nobody's, or his second
                else:
                    asleep[request.number] = child
                    self.children[request.pid] = ("", child[1])
            elif request.number in asleep:
                self.counts.add(asleep.pop(request.number)[0], -1)

    def _wake(self, request: Request) -> None:
        """A fork goes on with a connection that slept.  If there can be none, the keeper asks again."""
        assert self.sleepers is not None
        try:
            pid = os.fork()
        except OSError as error:
            request.close()
            self._seldom("fork", partial(log.crit, f"fork: {error.strerror}"))
            return
        if pid == 0:
            status = CRASHED
            try:
                self._serve_only(request.client, request.channel)
                status = self._woken(request)
            except BaseException as error:  # the child must never return into the loop
                log.crit(f"a connection is to go on: {type(error).__name__}: {error}")
            finally:
                os._exit(status)
        address, _ = self.sleepers.asleep.pop(request.number, ("", 0.0))
        if not address:                     # an earlier process was to wake it, and did not
            address = admission.peer(request.client)
            if address:
                self.counts.add(address, 1)
        request.close()
        self.children[pid] = (address, time.monotonic())

    def _warn(self) -> None:
        count = self._connections()
        if count >= self.maxprocs:
            self._seldom("max", lambda: log.alert(f"{self.maxprocs} maximum active connections."))
        elif count >= self.warn_at:
            self._seldom("warn", lambda: log.warn(f"{count} active connections."))

    def _seldom(self, key: str, say: Callable[[], None]) -> None:
        now = time.monotonic()
        if now - self.last_warning.get(key, -WARN_EVERY) >= WARN_EVERY:
            self.last_warning[key] = now
            say()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._keeper_says()                # if its connection sleeps, that was said before it ended
            started = self.children.pop(pid, None)
            if started is not None:
                if started[0]:                 # else its connection goes on without it
                    self.counts.add(started[0], -1)
                self._was_hasty(status, time.monotonic() - started[1])
            elif pid == self.trying[0]:
                self._tried(status)
            elif pid == self.logger:
                log.crit("the logger ended")
            elif self.sleepers is not None and (lost := self.sleepers.ended(pid)) is not None:
                for address in lost:
                    self.counts.add(address, -1)
            elif self.helpers is not None:
                self.helpers.ended(pid)

    def _was_hasty(self, status: int, lived: float) -> None:
        """Processes that crash as soon as they start are not started ever faster."""
        crashed = os.WIFSIGNALED(status) or os.WEXITSTATUS(status) >= CRASHED
        self.hasty = self.hasty + 1 if crashed and lived < HASTY else 0
        if self.hasty >= HASTY_ALLOWED:
            self.hasty = 0
            self.paused_until = time.monotonic() + PAUSE
            log.alert(f"connections die at once; accepting pauses for {PAUSE:.0f} s")

    def _end(self) -> None:
        """The sessions say BYE."""
        kept = self.sleepers.end() if self.sleepers is not None else set()
        pids = set(self.children) | ({self.trying[0]} - {0})
        children.tell_all(pids)
        children.wait_for(pids | kept | (self.helpers.stop() if self.helpers is not None else set()))

    # -- in the connection's process

    def _child(self, remote: admission.Address, local: admission.Address | None) -> int:
        environ, options = self.environ, self.options
        via = ""
        if local is None or options.haproxy is not None:
            client = socket.socket(fileno=os.dup(0))
            local = client.getsockname()[:2]
            if options.haproxy is not None:
                remote, local, via = admission.behind_proxy(client, options.haproxy, remote, local)
            client.close()
        environ["TCPREMOTEIP"] = address = shown(remote[0])
        environ["TCPREMOTEPORT"] = str(remote[1])
        environ["TCPLOCALIP"] = shown(local[0])
        environ["TCPLOCALPORT"] = str(local[1])
        if via:
            environ["TCPREMOTEINFO"] = via
        try:
            admission.admit(options, self.rules, self.counts.of, address, environ)
        except admission.Refused as refused:
            text = options.text.get("denymsg")
            if text and refused.spoken:
                os.write(1, text.encode() + b"\n")
            return 0
        if "nodnslookup" not in options.switches:
            admission.names(environ)
        return self._serve(environ)

    def _woken(self, request: Request) -> int:
        from courierpy import imapd
        from courierpy.hibernate import sleeper
        if self.options.text.get("stderr") == "socket":
            os.dup2(1, 2)
        become(request.uid, request.gid, None, request.groups)
        return imapd.wake(sleeper.Woken(request.channel), self.environ.get(VARIABLE, ""), Conn(0, 1))

    def _serve(self, environ: dict[str, str]) -> int:
        if self.options.text.get("stderr") == "socket":
            os.dup2(1, 2)
        conn = Conn(0, 1)
        if "tls" in self.options.switches:
            from courierpy.system import tls
            try:
                context = tls.server_context(from_environ(environ), environ["TCPLOCALIP"])
                environ.update(tls.handshake(conn, context, TLS_TIMEOUT))
            except TlsError as error:
                log.err(f"TLS, ip=[{environ['TCPREMOTEIP']}]: {error}")
                return 1
        if self.start is not None:
            return self.start([self.program, *self.arguments], environ, conn)
        try:
            execute(self.program, self.arguments, environ, conn)
        except ProcError as error:
            log.crit(str(error))
        return CRASHED


def _one_address(sock: socket.socket) -> admission.Address | None:
    """Where the socket listens; None for the wildcard."""
    address, port = sock.getsockname()[:2]
    return None if address in ("0.0.0.0", "::") else (address, port)


if __name__ == "__main__":
    run()
